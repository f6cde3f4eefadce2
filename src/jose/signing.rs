//! Private keys that sign what the gateway says itself: read from PEM, made anew, shown to others by their public half.
//!
//! Rules, each with a test:
//! 1. A key is for one algorithm: P-256 signs ES256 (RFC 7518, section 3.4), Ed25519 signs `EdDSA` (RFC 8037, section 3.1), RSA of
//!    2048 bits and more signs RS256 (RFC 7518, section 3.3).
//! 2. Its id comes from the key itself (RFC 7638), so that every instance with the same key gives it the same id. It has the form of a
//!    UUID (RFC 9562, section 5.8), since some verifiers take key ids of that form alone.
//! 3. Nothing of a private key is ever in an error or in `Debug`.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::der;

/// The algorithms that we sign with, the one for new keys first.
pub const SIGNING_ALGORITHMS: [Algorithm; 3] = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];

/// The least bits of an RSA key (RFC 7518, section 3.3).
const LEAST_RSA_BITS: usize = 2048;

/// Why a text is no key to sign with. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyFault {
    /// It is no PEM with a private key.
    #[error("is no private key in PEM (`-----BEGIN PRIVATE KEY-----`); make one with `portcullis keygen --signing`")]
    NoPem,
    /// It is a key of a kind that we don't sign with.
    #[error(
        "is neither a P-256, an Ed25519 nor an RSA key of 2048 bits or more; make one with `portcullis keygen --signing`"
    )]
    Kind,
    /// The cryptographic library failed.
    #[error("can't be used: the cryptographic library failed")]
    Broken,
}

/// How the three parts of a compact token are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Without, as RFC 7515, section 2 says.
    #[default]
    Never,
    /// With `=` at their ends, as some gateways do and their applications expect.
    Always,
}

/// One private key.
pub struct SigningKey {
    id: String,
    algorithm: Algorithm,
    pair: Pair,
    jwk: Map<String, Value>,
    pem: String,
}

enum Pair {
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
    Rsa(Box<RsaKeyPair>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The first private key in a PEM text: PKCS #8, SEC 1 or PKCS #1.
    ///
    /// # Errors
    /// When there is none, or it is of a kind that we don't sign with.
    pub fn parse(pem: &str) -> Result<Self, SigningKeyFault> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| SigningKeyFault::NoPem)?;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(der) => Pair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Sec1(der) => {
                let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_sec1_der());
                pair.ok().map(|pair| Pair::P256(Box::new(pair)))
            }
            PrivateKeyDer::Pkcs1(der) => Pair::of_rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()).ok()),
            _ => None,
        };
        Self::of(pair.ok_or(SigningKeyFault::Kind)?)
    }

    /// A new key, as PEM (PKCS #8), for one of [`SIGNING_ALGORITHMS`].
    ///
    /// # Errors
    /// When the algorithm is none of those, or there is no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<String>, SigningKeyFault> {
        let random = SystemRandom::new();
        let broken = |_| SigningKeyFault::Broken;
        match algorithm {
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(broken)?;
                Ok(pem("PRIVATE KEY", key.as_ref()))
            }
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::generate_pkcs8v1(&random).map_err(broken)?;
                Ok(pem("PRIVATE KEY", key.as_ref()))
            }
            Algorithm::Rs256 => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(broken)?;
                let der: Pkcs8V1Der<'_> = key.as_der().map_err(broken)?;
                Ok(pem("PRIVATE KEY", der.as_ref()))
            }
            _ => Err(SigningKeyFault::Kind),
        }
    }

    fn of(pair: Pair) -> Result<Self, SigningKeyFault> {
        let (algorithm, mut jwk) = pair.public().ok_or(SigningKeyFault::Broken)?;
        // Exactly the members that the kind of key requires, in the order of their names (RFC 7638, section 3.3); the map has them so.
        let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, json!(jwk).to_string().as_bytes());
        let id = uuid(thumbprint.as_ref()).ok_or(SigningKeyFault::Broken)?;
        for (name, value) in [("kid", id.as_str()), ("use", "sig"), ("alg", algorithm.name())] {
            jwk.insert(name.to_owned(), Value::from(value));
        }
        let spki = pair.spki().ok_or(SigningKeyFault::Broken)?;
        let pem = pem("PUBLIC KEY", &spki).to_string();
        Ok(Self { id, algorithm, pair, jwk, pem })
    }

    /// `kid`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The one algorithm that it is for.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half as a JWK (RFC 7517, section 4).
    pub const fn jwk(&self) -> &Map<String, Value> {
        &self.jwk
    }

    /// The public half as PEM (RFC 7468, section 13).
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A signed token in compact form (RFC 7515, section 7.1). `header` is completed with `alg` and `kid`.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn token(
        &self,
        mut header: Map<String, Value>,
        claims: &Map<String, Value>,
        padding: Padding,
    ) -> Result<Zeroizing<String>, SigningKeyFault> {
        header.insert("alg".to_owned(), Value::from(self.algorithm.name()));
        header.insert("kid".to_owned(), Value::from(self.id.as_str()));
        let base64 = match padding {
            Padding::Never => &URL_SAFE_NO_PAD,
            Padding::Always => &URL_SAFE,
        };
        let mut token = Zeroizing::new(String::with_capacity(1024));
        base64.encode_string(json!(header).to_string(), &mut token);
        token.push('.');
        base64.encode_string(json!(claims).to_string(), &mut token);
        let signature = self.pair.sign(token.as_bytes()).ok_or(SigningKeyFault::Broken)?;
        token.push('.');
        base64.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl Pair {
    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Some(Self::P256(Box::new(pair)));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Some(Self::Ed25519(Box::new(pair)));
        }
        Self::of_rsa(RsaKeyPair::from_pkcs8(der).ok())
    }

    fn of_rsa(pair: Option<RsaKeyPair>) -> Option<Self> {
        pair.filter(|pair| pair.public_modulus_len() * 8 >= LEAST_RSA_BITS).map(|pair| Self::Rsa(Box::new(pair)))
    }

    /// The algorithm, and the members that its public key requires in the order of their names.
    fn public(&self) -> Option<(Algorithm, Map<String, Value>)> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (algorithm, members) = match self {
            Self::P256(pair) => {
                // An uncompressed point: 0x04, then both coordinates (SEC 1, section 2.3.3).
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                (Algorithm::Es256, json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)}))
            }
            Self::Ed25519(pair) => {
                let x = encode(pair.public_key().as_ref());
                (Algorithm::EdDsa, json!({"crv": "Ed25519", "kty": "OKP", "x": x}))
            }
            Self::Rsa(pair) => {
                let (modulus, exponent) = der::rsa_public(pair.public_key().as_ref())?;
                (Algorithm::Rs256, json!({"e": encode(exponent), "kty": "RSA", "n": encode(modulus)}))
            }
        };
        Some((algorithm, members.as_object()?.clone()))
    }

    fn spki(&self) -> Option<Vec<u8>> {
        let der: Result<PublicKeyX509Der<'_>, _> = match self {
            Self::P256(pair) => pair.public_key().as_der(),
            Self::Ed25519(pair) => pair.public_key().as_der(),
            Self::Rsa(pair) => pair.public_key().as_der(),
        };
        der.ok().map(|der| der.as_ref().to_vec())
    }

    /// Signatures in the forms of RFC 7518, section 3, and RFC 8037.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::P256(pair) => pair.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Self::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok().map(|()| signature)
            }
        }
    }
}

/// The first 16 bytes of a hash in the form of a UUID of version 8 (RFC 9562, section 5.8).
fn uuid(hash: &[u8]) -> Option<String> {
    let mut bytes: [u8; 16] = *hash.first_chunk()?;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    let part = |from: usize, to: usize| digits.get(from..to);
    Some([part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?].join("-"))
}

/// The textual encoding of RFC 7468, section 2.
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 64));
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;

    use super::super::jwk::Jwk;
    use super::super::jws::Jws;
    use super::*;

    fn claims() -> Map<String, Value> {
        json!({"sub": "alice", "groups": ["a", "b"]}).as_object().unwrap().clone()
    }

    fn header() -> Map<String, Value> {
        json!({"typ": "JWT"}).as_object().unwrap().clone()
    }

    #[test]
    fn what_a_new_key_signs_its_own_jwk_verifies() {
        for algorithm in SIGNING_ALGORITHMS {
            let text = SigningKey::generate(algorithm).unwrap();
            let key = SigningKey::parse(&text).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            let token = key.token(header(), &claims(), Padding::Never).unwrap();
            let jws = Jws::parse(&token, 4096, &["JWT"]).unwrap();
            assert_eq!((jws.algorithm(), jws.key_id()), (algorithm, Some(key.id())));
            let jwk = Jwk::parse(key.jwk()).unwrap();
            assert_eq!(jws.verify(&jwk).unwrap(), &claims());
            assert_eq!(jwk.algorithm(), Some(algorithm));
            assert!(!json!(key.jwk()).to_string().contains("\"d\""), "the private half is shown");
            assert!(key.pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
            assert!(!format!("{key:?}").contains("PRIVATE"));
        }
    }

    #[test]
    fn an_id_comes_of_the_key_and_looks_like_a_uuid() {
        let text = SigningKey::generate(Algorithm::Es256).unwrap();
        let (one, same) = (SigningKey::parse(&text).unwrap(), SigningKey::parse(&text).unwrap());
        assert_eq!(one.id(), same.id());
        let other = SigningKey::parse(&SigningKey::generate(Algorithm::Es256).unwrap()).unwrap();
        assert_ne!(one.id(), other.id());
        let parts: Vec<usize> = one.id().split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(one.id().bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
    }

    #[test]
    fn padding_is_signed_along() {
        let key = SigningKey::parse(&SigningKey::generate(Algorithm::Es256).unwrap()).unwrap();
        let token = key.token(header(), &claims(), Padding::Always).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert!(token.split('.').all(|part| part.len() % 4 == 0), "{:?}", *token);
        let jwk = Jwk::parse(key.jwk()).unwrap();
        assert!(jwk.verify(Algorithm::Es256, signed.as_bytes(), &URL_SAFE.decode(signature).unwrap()).is_ok());
    }

    #[test]
    fn other_keys_and_other_texts_are_told_apart() {
        let random = SystemRandom::new();
        let p384 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
        for (text, fault) in [
            (pem("PRIVATE KEY", p384.as_ref()).to_string(), SigningKeyFault::Kind),
            (pem("PRIVATE KEY", b"nonsense").to_string(), SigningKeyFault::Kind),
            (pem("RSA PRIVATE KEY", b"nonsense").to_string(), SigningKeyFault::Kind),
            (pem("PUBLIC KEY", b"nonsense").to_string(), SigningKeyFault::NoPem),
            (String::new(), SigningKeyFault::NoPem),
            ("c2Vzc2lvbi1rZXk".to_owned(), SigningKeyFault::NoPem),
        ] {
            assert_eq!(SigningKey::parse(&text).err(), Some(fault), "{text}");
        }
        assert!(SigningKey::generate(Algorithm::Es384).is_err());
    }
}
