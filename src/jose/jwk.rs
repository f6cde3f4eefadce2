//! Public keys of a provider: a JWK set read strictly, with what we can't use left out (RFC 7517, section 5).

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, KeyKind};
use super::json::{JsonFault, parse_object};

/// The most keys that a set may hold; a set with more is refused whole.
pub const MAX_KEYS: usize = 100;
/// The longest `kid` that is looked at, in bytes.
pub const MAX_KEY_ID: usize = 1024;

/// Why a key set is refused. A single key that can't be used is no fault: it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// The text is no JSON object with each member once.
    #[error("the key set can't be read: {0}")]
    Json(#[from] JsonFault),
    /// `keys` is missing or is no array (RFC 7517, section 5.1).
    #[error("the key set has no array `keys`")]
    NoKeys,
    /// There are more than [`MAX_KEYS`].
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
}

/// The signature does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit the key")]
pub struct BadSignature;

/// One public key that may verify signatures.
#[derive(Clone)]
pub struct Jwk {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    kind: KeyKind,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Point(ParsedPublicKey),
}

impl std::fmt::Debug for Jwk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwk")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Jwk {
    /// The key in this object; `None` when it is not for verifying, of a kind that we don't know, or too weak.
    pub fn parse(object: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        if !may_verify(object) {
            return None;
        }
        let id = match object.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id.clone()),
            Some(_) => return None,
        };
        let (kind, material) = match text("kty")? {
            "RSA" => (KeyKind::Rsa, rsa(&bytes(text("n")?)?, &bytes(text("e")?)?)?),
            "EC" => {
                let (kind, size) = match text("crv")? {
                    "P-256" => (KeyKind::P256, 32),
                    "P-384" => (KeyKind::P384, 48),
                    "P-521" => (KeyKind::P521, 66),
                    _ => return None,
                };
                let (x, y) = (bytes(text("x")?)?, bytes(text("y")?)?);
                // Both coordinates have the curve's full length (RFC 7518, section 6.2.1.2).
                if x.len() != size || y.len() != size {
                    return None;
                }
                (kind, point(kind, &[&[0x04_u8][..], &x, &y].concat())?)
            }
            "OKP" if text("crv")? == "Ed25519" => (KeyKind::Ed25519, point(KeyKind::Ed25519, &bytes(text("x")?)?)?),
            _ => return None,
        };
        let algorithm = match object.get("alg") {
            None => None,
            Some(name) => Some(Algorithm::from_name(name.as_str()?).filter(|found| found.key_kind() == kind)?),
        };
        Some(Self { id, algorithm, kind, material })
    }

    /// `kid`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// `alg`: the one algorithm it is for; any that fits its kind when absent.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// What kind of key it is.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether signatures of `algorithm` can be verified with it: its kind and, when it has one, its `alg` agree.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind == algorithm.key_kind() && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Verifies `signature` over `message`.
    ///
    /// # Errors
    /// When the algorithm does not fit the key, or the signature does not fit the message.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if !self.fits(algorithm) {
            return Err(BadSignature);
        }
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                let parameters = algorithm.rsa().ok_or(BadSignature)?;
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).map_err(|_| BadSignature)
            }
            Material::Point(key) => key.verify_sig(message, signature).map_err(|_| BadSignature),
        }
    }
}

/// `use` is absent or `sig`, and `key_ops` is absent or has `verify` (RFC 7517, sections 4.2 and 4.3).
fn may_verify(object: &Map<String, Value>) -> bool {
    let used = object.get("use").is_none_or(|value| value.as_str() == Some("sig"));
    let allowed = object.get("key_ops").is_none_or(|value| {
        value.as_array().is_some_and(|names| names.iter().any(|name| name.as_str() == Some("verify")))
    });
    used && allowed
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// An RSA key of 2048 to 8192 bits with an odd exponent of 3 to 2^33 (RFC 7518, section 3.3 wants 2048 bits at least).
fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Material> {
    let modulus = without_leading_zeros(modulus);
    let exponent = without_leading_zeros(exponent);
    let bits = (modulus.len() * 8).checked_sub(modulus.first()?.leading_zeros() as usize)?;
    let odd = exponent.last()? & 1 == 1;
    let large_enough = exponent.len() > 1 || exponent.first()? >= &3;
    ((2048..=8192).contains(&bits) && odd && large_enough && exponent.len() <= 5)
        .then(|| Material::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// A point that aws-lc finds to be on its curve.
fn point(kind: KeyKind, encoded: &[u8]) -> Option<Material> {
    ParsedPublicKey::new(kind.point()?, encoded).ok().map(Material::Point)
}

/// The keys of one provider.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Jwk>,
}

impl KeySet {
    /// Reads a JWK set. Keys that we can't use are left out (RFC 7517, section 5).
    ///
    /// # Errors
    /// When the text as a whole is no key set of ours to read; see [`KeySetFault`].
    pub fn parse(text: &[u8]) -> Result<Self, KeySetFault> {
        let object = parse_object(text)?;
        let keys = object.get("keys").and_then(Value::as_array).ok_or(KeySetFault::NoKeys)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetFault::TooMany);
        }
        Ok(Self { keys: keys.iter().filter_map(Value::as_object).filter_map(Jwk::parse).collect() })
    }

    /// The keys that may have signed a token with this header, in the order of the set. A `kid` must match exactly;
    /// without one every key that fits the algorithm may have.
    pub fn candidates<'a>(&'a self, id: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a Jwk> {
        self.keys.iter().filter(move |key| key.fits(algorithm) && (id.is_none() || key.id() == id))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::TestKey;
    use super::*;

    fn parse(value: &Value) -> Option<Jwk> {
        Jwk::parse(value.as_object().unwrap())
    }

    #[test]
    fn a_key_of_each_kind_verifies_what_it_signed_and_nothing_else() {
        for algorithm in Algorithm::ALL {
            let key = TestKey::for_algorithm(algorithm);
            let jwk = parse(&key.jwk("k")).unwrap();
            let signature = key.sign(algorithm, b"message");
            assert_eq!(jwk.verify(algorithm, b"message", &signature), Ok(()), "{algorithm:?}");
            assert_eq!(jwk.verify(algorithm, b"massage", &signature), Err(BadSignature), "{algorithm:?}");
            for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                assert_eq!(jwk.verify(other, b"message", &signature), Err(BadSignature), "{algorithm:?} as {other:?}");
            }
        }
    }

    #[test]
    fn a_key_with_an_alg_is_for_that_one_alone() {
        let key = TestKey::for_algorithm(Algorithm::Rs256);
        let mut value = key.jwk("k");
        value["alg"] = json!("PS256");
        let jwk = parse(&value).unwrap();
        let signature = key.sign(Algorithm::Rs256, b"m");
        assert_eq!(jwk.verify(Algorithm::Rs256, b"m", &signature), Err(BadSignature));
        for unfit in ["ES256", "HS256", "none", "RSA-OAEP"] {
            value["alg"] = json!(unfit);
            assert!(parse(&value).is_none(), "{unfit}");
        }
    }

    #[test]
    fn keys_for_other_uses_and_odd_kinds_are_left_out() {
        let good = TestKey::for_algorithm(Algorithm::Es256).jwk("k");
        assert!(parse(&good).is_some());
        for (name, value) in [
            ("use", json!("enc")),
            ("use", json!(7)),
            ("key_ops", json!(["sign"])),
            ("key_ops", json!("verify")),
            ("kid", json!(1)),
            ("kid", json!("x".repeat(MAX_KEY_ID + 1))),
            ("kty", json!("oct")),
            ("crv", json!("P-384")),
            ("crv", json!("secp256k1")),
            ("x", json!("AAAA")),
            ("x", json!("A".repeat(43))),
            ("y", json!("not base64!")),
        ] {
            let mut changed = good.clone();
            changed[name] = value;
            assert!(parse(&changed).is_none(), "{name}: {}", changed[name]);
        }
        assert!(parse(&json!({"kty": "oct", "k": "AAAA"})).is_none());
        assert!(parse(&json!({"kty": "OKP", "crv": "X25519", "x": "A".repeat(43)})).is_none());
    }

    #[test]
    fn rsa_keys_are_neither_short_nor_huge() {
        let number = |bits: usize| {
            let mut bytes = vec![0_u8; bits.div_ceil(8)];
            bytes[0] = 1 << ((bits - 1) % 8);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let key =
            |bits: usize, exponent: &str| parse(&json!({"kty": "RSA", "n": number(bits), "e": exponent})).is_some();
        assert!(key(2048, "AQAB") && key(8192, "AQAB") && key(2048, "Aw"));
        assert!(!key(2047, "AQAB") && !key(1024, "AQAB") && !key(8193, "AQAB") && !key(65536, "AQAB"));
        assert!(!key(2048, "AQ") && !key(2048, "Ag") && !key(2048, "") && !key(2048, "AAAA"));
        assert!(!key(2048, &URL_SAFE_NO_PAD.encode([0xff; 6])));
    }

    #[test]
    fn a_set_is_bounded_and_leaves_out_what_it_cannot_use() {
        let good = TestKey::for_algorithm(Algorithm::Es256).jwk("good");
        let text = json!({"keys": [good, {"kty": "oct"}, 7, {"kty": "RSA"}]}).to_string();
        let set = KeySet::parse(text.as_bytes()).unwrap();
        assert_eq!(set.keys.len(), 1);
        assert_eq!(set.candidates(Some("good"), Algorithm::Es256).count(), 1);
        assert_eq!(set.candidates(None, Algorithm::Es256).count(), 1);
        assert_eq!(set.candidates(Some("other"), Algorithm::Es256).count(), 0);
        assert_eq!(set.candidates(Some("good"), Algorithm::Rs256).count(), 0);
        let many = json!({"keys": vec![json!({}); MAX_KEYS + 1]}).to_string();
        assert_eq!(KeySet::parse(many.as_bytes()).unwrap_err(), KeySetFault::TooMany);
        assert_eq!(KeySet::parse(b"{}").unwrap_err(), KeySetFault::NoKeys);
        assert_eq!(KeySet::parse(b"[]").unwrap_err(), KeySetFault::Json(JsonFault::NotAnObject));
        assert_eq!(KeySet::parse(br#"{"keys":[],"keys":[]}"#).unwrap_err(), KeySetFault::Json(JsonFault::Duplicate));
    }
}
