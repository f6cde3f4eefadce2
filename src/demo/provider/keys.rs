//! Signing keys: made at start, shown as JWKs, used to sign whatever is asked for.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::base::random;
use crate::demo::provider::guard;
use crate::demo::provider::options::SigningAlgorithm;
use crate::jose::der;

/// One signing key.
pub(crate) struct Key {
    /// `kid`.
    pub(crate) id: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// aws-lc could not make a key or a signature.
fn broken<E>(_: E) -> io::Error {
    io::Error::other("the cryptographic library failed")
}

impl Key {
    /// A new key. RSA takes a noticeable fraction of a second: not on a thread that others wait for.
    pub(crate) fn generate(algorithm: SigningAlgorithm) -> io::Result<Self> {
        let pair = match algorithm {
            SigningAlgorithm::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).map_err(broken)?)),
            SigningAlgorithm::Es256 => {
                Pair::P256(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(broken)?))
            }
            SigningAlgorithm::EdDsa => Pair::Ed25519(Box::new(Ed25519KeyPair::generate().map_err(broken)?)),
        };
        let id = URL_SAFE_NO_PAD.encode(random::bytes::<12>().map_err(io::Error::other)?);
        Ok(Self { id, pair })
    }

    /// `alg`.
    pub(crate) const fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The signature over `message` in the form of RFC 7518, section 3, and RFC 8037.
    pub(crate) fn sign(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(broken)?;
                Ok(signature)
            }
            Pair::P256(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(broken)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, public): (&'static dyn VerificationAlgorithm, &[u8]) = match &self.pair {
            Pair::Rsa(pair) => (&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()),
            Pair::P256(pair) => (&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()),
            Pair::Ed25519(pair) => (&ED25519, pair.public_key().as_ref()),
        };
        UnparsedPublicKey::new(algorithm, public).verify(message, signature).is_ok()
    }

    /// The public half as a JWK (RFC 7517, section 4).
    pub(crate) fn jwk(&self) -> Map<String, Value> {
        let mut jwk = Map::new();
        let mut put = |name: &str, value: &str| jwk.insert(name.to_owned(), Value::from(value));
        put("kid", &self.id);
        put("use", "sig");
        put("alg", self.algorithm());
        match &self.pair {
            Pair::Rsa(pair) => {
                put("kty", "RSA");
                if let Some((modulus, exponent)) = der::rsa_public(pair.public_key().as_ref()) {
                    put("n", &URL_SAFE_NO_PAD.encode(modulus));
                    put("e", &URL_SAFE_NO_PAD.encode(exponent));
                }
            }
            Pair::P256(pair) => {
                put("kty", "EC");
                put("crv", "P-256");
                // An uncompressed point: 0x04, then both coordinates (SEC 1, section 2.3.3).
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                if let Some((x, y)) = point.split_at_checked(32) {
                    put("x", &URL_SAFE_NO_PAD.encode(x));
                    put("y", &URL_SAFE_NO_PAD.encode(y));
                }
            }
            Pair::Ed25519(pair) => {
                put("kty", "OKP");
                put("crv", "Ed25519");
                put("x", &URL_SAFE_NO_PAD.encode(pair.public_key()));
            }
        }
        jwk
    }

    /// The public half as `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
    pub(crate) fn spki(&self) -> io::Result<Vec<u8>> {
        let der: Result<PublicKeyX509Der<'_>, _> = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::P256(pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
        };
        Ok(der.map_err(broken)?.as_ref().to_vec())
    }

    /// The public half as a PEM file has it.
    pub(crate) fn pem(&self) -> io::Result<String> {
        let text = STANDARD.encode(self.spki()?);
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Ok(pem)
    }
}

/// The keys of one provider: the one that signs, those that did, and one that it never published.
pub(crate) struct Keys {
    algorithm: SigningAlgorithm,
    current: Mutex<Arc<Key>>,
    retired: Mutex<Vec<Arc<Key>>>,
    attacker: OnceLock<Arc<Key>>,
}

impl Keys {
    /// Makes the first key.
    pub(crate) fn new(algorithm: SigningAlgorithm) -> io::Result<Self> {
        let current = Mutex::new(Arc::new(Key::generate(algorithm)?));
        Ok(Self { algorithm, current, retired: Mutex::default(), attacker: OnceLock::new() })
    }

    /// The key that signs.
    pub(crate) fn current(&self) -> Arc<Key> {
        Arc::clone(&guard(&self.current))
    }

    /// Puts a new key in the place of the one that signs. The old one is published no more.
    pub(crate) fn rotate(&self) -> io::Result<()> {
        let next = Arc::new(Key::generate(self.algorithm)?);
        let old = std::mem::replace(&mut *guard(&self.current), next);
        guard(&self.retired).push(old);
        Ok(())
    }

    /// An RSA key that no JWKS of the provider has ever held, made when it is first asked for.
    pub(crate) fn attacker(&self) -> io::Result<Arc<Key>> {
        if let Some(key) = self.attacker.get() {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(Key::generate(SigningAlgorithm::Rs256)?);
        Ok(Arc::clone(self.attacker.get_or_init(|| key)))
    }

    /// The claims of a token that this provider signed, now or before a rotation, even when it has expired: an
    /// `id_token_hint` (OpenID Connect RP-Initiated Logout 1.0, section 2).
    pub(crate) fn own_claims(&self, token: &str) -> Option<Value> {
        let (message, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let known = |key: &Key| key.verifies(message.as_bytes(), &signature);
        if !known(&self.current()) && !guard(&self.retired).iter().any(|key| known(key)) {
            return None;
        }
        let (_, payload) = message.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

/// A JWS in compact form, signed by `key` (RFC 7515, section 7.1).
pub(crate) fn compact(key: &Key, header: &Map<String, Value>, claims: &Map<String, Value>) -> io::Result<String> {
    let encode = |part: &Map<String, Value>| URL_SAFE_NO_PAD.encode(json!(part).to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())?);
    Ok(format!("{message}.{signature}"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};

    use super::*;

    #[test]
    fn every_algorithm_signs_and_its_jwk_is_complete() {
        for (algorithm, parts) in [
            (SigningAlgorithm::Rs256, &["n", "e"][..]),
            (SigningAlgorithm::Es256, &["x", "y"]),
            (SigningAlgorithm::EdDsa, &["x"]),
        ] {
            let key = Key::generate(algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert!(key.verifies(b"message", &signature));
            assert!(!key.verifies(b"massage", &signature));
            assert!(parts.iter().all(|part| key.jwk().contains_key(*part)), "{algorithm:?}");
            assert!(
                ParsedPublicKey::new(&ED25519, key.spki().unwrap()).is_ok() || algorithm != SigningAlgorithm::EdDsa
            );
        }
    }

    #[test]
    fn the_published_rsa_numbers_verify_what_the_key_signs() {
        let key = Key::generate(SigningAlgorithm::Rs256).unwrap();
        let jwk = key.jwk();
        let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        assert_eq!(number("n").len(), 256);
        let public = RsaPublicKeyComponents { n: number("n"), e: number("e") };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, b"message", &key.sign(b"message").unwrap()).unwrap();
    }

    #[test]
    fn a_rotated_key_still_knows_its_own_tokens() {
        let keys = Keys::new(SigningAlgorithm::Es256).unwrap();
        let claims = Map::from_iter([("sid".to_owned(), json!("s"))]);
        let token = compact(&keys.current(), &Map::new(), &claims).unwrap();
        keys.rotate().unwrap();
        assert_eq!(keys.own_claims(&token).unwrap()["sid"], "s");
        let stranger = compact(&keys.attacker().unwrap(), &Map::new(), &claims).unwrap();
        assert!(keys.own_claims(&stranger).is_none());
    }
}
