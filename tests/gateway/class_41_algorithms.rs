//! Attack 41, and rows 17 and 18 of the peers' advisories: tokens that nobody signed, or that somebody else did.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis::demo::provider::{IdTokenFault, ProviderOptions, SigningAlgorithm};
use serde_json::{Value, json};

use crate::sign_ins::SignIns;
use crate::support::client::Client;
use crate::support::upstream::Upstream;

/// Everything that the development provider knows to do wrong to an ID token, one after the other.
#[test]
fn nothing_that_no_careful_relying_party_accepts_is_accepted() {
    let listener = Upstream::start();
    let scene = SignIns::start();
    let all = IdTokenFault::every_refusable(&format!("{}/keys", listener.url()));
    assert!(all.len() > 50);
    for (what, fault) in all {
        scene.control().once(fault);
        scene.assert_refused(&what);
        assert_eq!(scene.control().fired(), 1, "{what} did not take place");
    }
    assert_eq!(listener.connections(), 0, "a URL in a token was asked");
    scene.assert_accepted("a good sign-in after all of them");
}

/// Row 17: `aud`, `iss` and `exp` are checked and can't be left out.
#[test]
fn audiences_issuers_and_ends_that_do_not_fit_are_refused() {
    let scene = SignIns::start();
    let issuer = scene.provider.issuer().to_owned();
    let slash = format!("{issuer}/");
    let upper = issuer.to_uppercase();
    for (name, value) in [
        ("aud", json!("PORTCULLIS")),
        ("aud", json!("portcullis ")),
        ("aud", json!("portcullis,other")),
        ("aud", json!(["other"])),
        ("aud", json!(["other", "portcullis"])),
        ("aud", json!(["portcullis", "other"])),
        ("aud", json!([["portcullis"]])),
        ("aud", json!({"portcullis": true})),
        ("aud", json!(1)),
        ("azp", json!("other")),
        ("azp", json!(["portcullis"])),
        ("iss", json!(slash)),
        ("iss", json!(upper)),
        ("iss", json!("")),
        ("iss", json!(["https://honest.example", issuer])),
        ("iss", json!(format!("{issuer}/.well-known/openid-configuration"))),
        ("exp", json!(0)),
        ("nbf", json!(99_999_999_999_u64)),
        ("auth_time", json!(99_999_999_999_u64)),
        ("iat", json!(99_999_999_999_u64)),
        ("iat", json!(1)),
    ] {
        let what = format!("{name}: {value}");
        scene.control().once(IdTokenFault::claim(name, value));
        scene.assert_refused(&what);
        assert_eq!(scene.control().fired(), 1, "{what}");
    }
    // One member in a list is as good as that member alone.
    scene.control().once(IdTokenFault::claim("aud", json!(["portcullis"])));
    scene.assert_accepted("aud as a list of us alone");
}

/// The public key is public: no reading of its bytes may serve as a key of HMAC (RFC 8725, section 2.1).
#[test]
fn no_spelling_of_the_public_key_is_a_shared_secret() {
    let scene = SignIns::start();
    let jwk = Client::new(scene.provider.issuer()).get("/jwks").send().json()["keys"][0].clone();
    for (what, secret) in spellings(&jwk) {
        for algorithm in ["HS256", "hs256", "HS384"] {
            let secret = secret.clone();
            scene.control().rewrite(move |token| macced(&token, algorithm, &secret));
            scene.assert_refused(&format!("{algorithm} with {what}"));
        }
    }
    scene.control().behave();
    scene.assert_accepted("signed as it should be");
}

/// A key fits its own algorithm alone.
#[test]
fn a_key_of_one_kind_verifies_no_other() {
    for (signing, others) in [
        (SigningAlgorithm::Es256, ["ES384", "RS256", "HS256", "EdDSA", "ES256K", "none"]),
        (SigningAlgorithm::EdDsa, ["ES256", "RS256", "HS256", "PS256", "Ed448", "none"]),
    ] {
        let scene = SignIns::start_with(ProviderOptions { signing, ..ProviderOptions::default() }, |config| config);
        for other in others {
            scene.control().once(IdTokenFault::AlgorithmSays(other.to_owned()));
            scene.assert_refused(&format!("{signing:?} that says {other}"));
            assert_eq!(scene.control().fired(), 1);
        }
        scene.assert_accepted("its own algorithm");
    }
}

/// The config's list decides, not the token's header.
#[test]
fn an_algorithm_that_the_config_leaves_out_is_refused() {
    let scene = SignIns::start_with(ProviderOptions::default(), |config| {
        config.provider_line("signing_algorithms = [\"ES256\", \"PS256\"]")
    });
    scene.assert_refused("RS256, which is not listed");
}

/// The token with this `alg`, and a MAC with `secret` in the signature's place.
fn macced(token: &str, algorithm: &str, secret: &[u8]) -> String {
    let mut parts = token.split('.');
    let header = URL_SAFE_NO_PAD.decode(parts.next().expect("a header")).expect("base64url");
    let mut header: Value = serde_json::from_slice(&header).expect("JSON");
    header["alg"] = json!(algorithm);
    let head = URL_SAFE_NO_PAD.encode(header.to_string());
    let input = format!("{head}.{}", parts.next().expect("claims"));
    let kind = if algorithm == "HS384" { hmac::HMAC_SHA384 } else { hmac::HMAC_SHA256 };
    let mac = hmac::sign(&hmac::Key::new(kind, secret), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
}

/// What a careless verifier may take for the bytes of the key.
fn spellings(jwk: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let text = |name: &str| jwk[name].as_str().expect("it is there").to_owned();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)).expect("base64url");
    let pkcs1 = der(0x30, &[der_number(&number("n")), der_number(&number("e"))].concat());
    // rsaEncryption and NULL (RFC 8017, appendix A.1).
    let kind = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let spki = der(0x30, &[kind.to_vec(), der(0x03, &[vec![0], pkcs1.clone()].concat())].concat());
    let pem = |label: &str, bytes: &[u8], end: &str| {
        let body = STANDARD.encode(bytes);
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----{end}", lines.join("\n")).into_bytes()
    };
    vec![
        ("SPKI as PEM", pem("PUBLIC KEY", &spki, "\n")),
        ("SPKI as PEM without its last line end", pem("PUBLIC KEY", &spki, "")),
        (
            "SPKI as PEM with CRLF",
            String::from_utf8(pem("PUBLIC KEY", &spki, "\n")).expect("ASCII").replace('\n', "\r\n").into(),
        ),
        ("SPKI as DER", spki.clone()),
        ("SPKI as base64", STANDARD.encode(&spki).into()),
        ("PKCS #1 as PEM", pem("RSA PUBLIC KEY", &pkcs1, "\n")),
        ("PKCS #1 as PEM without its last line end", pem("RSA PUBLIC KEY", &pkcs1, "")),
        ("PKCS #1 as DER", pkcs1.clone()),
        ("PKCS #1 as base64", STANDARD.encode(&pkcs1).into()),
        ("the modulus", number("n")),
        ("the modulus as text", text("n").into()),
        ("the exponent", number("e")),
        ("the exponent as text", text("e").into()),
        ("kty", text("kty").into()),
        ("alg", b"RS256".to_vec()),
        ("kid", text("kid").into()),
        ("the JWK as text", jwk.to_string().into()),
        ("nothing", Vec::new()),
    ]
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 128 => bytes.push(short),
        _ => {
            let long: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | u8::try_from(long.len()).expect("a few bytes"));
            bytes.extend(long);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

fn der_number(bytes: &[u8]) -> Vec<u8> {
    let positive = bytes.first().is_some_and(|first| *first >= 0x80);
    der(0x02, &if positive { [vec![0], bytes.to_vec()].concat() } else { bytes.to_vec() })
}
