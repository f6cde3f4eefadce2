//! Keys that sign, for tests: one of each kind, made once, and fresh ones on demand.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::algorithm::{Algorithm, KeyKind};

/// A private key of one kind.
pub(crate) enum TestKey {
    Rsa(RsaKeyPair),
    Ec(KeyKind, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

static KEYS: LazyLock<[TestKey; 5]> = LazyLock::new(|| {
    [
        TestKey::fresh_rsa(),
        TestKey::fresh_p256(),
        TestKey::Ec(KeyKind::P384, EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
        TestKey::Ec(KeyKind::P521, EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap()),
        TestKey::Ed25519(Ed25519KeyPair::generate().unwrap()),
    ]
});

impl TestKey {
    /// The same key at each call for one kind.
    pub(crate) fn for_algorithm(algorithm: Algorithm) -> &'static Self {
        &KEYS[match algorithm.key_kind() {
            KeyKind::Rsa => 0,
            KeyKind::P256 => 1,
            KeyKind::P384 => 2,
            KeyKind::P521 => 3,
            KeyKind::Ed25519 => 4,
        }]
    }

    pub(crate) fn fresh_rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn fresh_p256() -> Self {
        Self::Ec(KeyKind::P256, EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// The public half as a JWK with `use` and `kid`.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(key) => {
                // RSAPublicKey in DER: a sequence of two integers, the first of 2048 bits and a leading zero (RFC 8017, appendix A.1.1).
                let der = key.public_key().as_ref();
                assert_eq!((der[..2].to_vec(), der[4..9].to_vec()), (vec![0x30, 0x82], vec![0x02, 0x82, 1, 1, 0]));
                let (n, e) = (encode(&der[9..9 + 256]), encode(&der[9 + 256 + 2..]));
                json!({"kty": "RSA", "use": "sig", "kid": id, "n": n, "e": e})
            }
            Self::Ec(kind, key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at((key.public_key().as_ref().len() - 1) / 2);
                let curve = match kind {
                    KeyKind::P384 => "P-384",
                    KeyKind::P521 => "P-521",
                    _ => "P-256",
                };
                json!({"kty": "EC", "crv": curve, "use": "sig", "kid": id, "x": encode(x), "y": encode(y)})
            }
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": id, "x": encode(key.public_key().as_ref())})
            }
        }
    }

    /// A signature over `message`.
    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
                    Algorithm::Rs384 => &RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(_, key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A compact token with this header and these claims.
    pub(crate) fn token(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
        let unsigned = compact(header, claims, b"");
        let signed = unsigned.trim_end_matches('.');
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.sign(algorithm, signed.as_bytes())))
    }
}

/// A compact token with a signature that somebody else made.
pub(crate) fn compact(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()), encode(signature))
}
