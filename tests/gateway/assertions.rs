//! What an application does with a signed token: it reads the key that is published, and believes nothing else.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::support::gateway::Gateway;

/// A part of a token; padding is taken as it comes.
pub(crate) fn decoded(part: &str) -> Vec<u8> {
    let engine = if part.ends_with('=') { &URL_SAFE } else { &URL_SAFE_NO_PAD };
    engine.decode(part).unwrap_or_else(|error| panic!("no base64url: {part}: {error}"))
}

/// A part of a token as JSON.
pub(crate) fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&decoded(token.split('.').nth(index).expect("three parts"))).expect("JSON")
}

/// The claims, unverified: for tokens that somebody else is to verify.
pub(crate) fn claims_of(token: &str) -> Value {
    part(token, 1)
}

/// The JSON at a path of the gateway, asked for as an application does: without any cookie.
pub(crate) fn json_at(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.get(path).send();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Whether the key in this JWK made the token's signature.
pub(crate) fn fits(token: &str, jwk: &Value) -> bool {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let signature = decoded(signature);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap_or_default()).expect("base64url");
    match jwk["alg"].as_str() {
        Some("ES256") => {
            let point = [&[4][..], &bytes("x"), &bytes("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
        }
        Some("EdDSA") => UnparsedPublicKey::new(&ED25519, bytes("x")).verify(signed.as_bytes(), &signature).is_ok(),
        Some("RS256") => RsaPublicKeyComponents { n: bytes("n"), e: bytes("e") }
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .is_ok(),
        other => panic!("no algorithm of ours: {other:?}"),
    }
}

/// The claims of a token whose `kid` is in this set, and whose signature that key made.
pub(crate) fn verified_with(token: &str, set: &Value) -> Value {
    let header = part(token, 0);
    let keys = set["keys"].as_array().expect("a key set").iter();
    let mut named = keys.filter(|key| key["kid"] == header["kid"] && key["alg"] == header["alg"]);
    let key = named.next().unwrap_or_else(|| panic!("no key {} in {set}", header["kid"]));
    assert!(key.get("d").is_none(), "the private key is published");
    assert!(fits(token, key), "the signature does not fit");
    claims_of(token)
}

/// The claims, verified with the key set at its usual place.
pub(crate) fn verified(token: &str, gateway: &Gateway) -> Value {
    verified_with(token, &json_at(gateway, "/.auth/jwks.json"))
}

/// The body of a PEM text.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("PEM")
}
