//! Our keys as the crate wants to see them: aws-lc verifies, the crate's own key types are never made.

use openidconnect::core::{CoreJsonWebKeyType, CoreJsonWebKeyUse, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyId, SignatureVerificationError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::jose::algorithm::{Algorithm, KeyKind};
use crate::jose::jwk::Jwk;

/// A key for one verification, or one that verifies nothing.
#[derive(Clone, Debug)]
pub(super) struct VerifyingKey {
    id: Option<JsonWebKeyId>,
    kind: CoreJsonWebKeyType,
    algorithm: Option<CoreJwsSigningAlgorithm>,
    jwk: Option<Jwk>,
}

impl From<&Jwk> for VerifyingKey {
    fn from(jwk: &Jwk) -> Self {
        let kind = match jwk.kind() {
            KeyKind::Rsa => CoreJsonWebKeyType::RSA,
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => CoreJsonWebKeyType::EllipticCurve,
            KeyKind::Ed25519 => CoreJsonWebKeyType::OctetKeyPair,
        };
        Self {
            id: jwk.id().map(|id| JsonWebKeyId::new(id.to_owned())),
            kind,
            algorithm: jwk.algorithm().map(named),
            jwk: Some(jwk.clone()),
        }
    }
}

/// The crate's name of an algorithm.
pub(super) const fn named(algorithm: Algorithm) -> CoreJwsSigningAlgorithm {
    match algorithm {
        Algorithm::Rs256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
        Algorithm::Rs384 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
        Algorithm::Rs512 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
        Algorithm::Ps256 => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
        Algorithm::Ps384 => CoreJwsSigningAlgorithm::RsaSsaPssSha384,
        Algorithm::Ps512 => CoreJwsSigningAlgorithm::RsaSsaPssSha512,
        Algorithm::Es256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        Algorithm::Es384 => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
        Algorithm::Es512 => CoreJwsSigningAlgorithm::EcdsaP521Sha512,
        Algorithm::EdDsa => CoreJwsSigningAlgorithm::EdDsa,
    }
}

fn ours(algorithm: &CoreJwsSigningAlgorithm) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|ours| named(*ours) == *algorithm)
}

impl JsonWebKey for VerifyingKey {
    type KeyUse = CoreJsonWebKeyUse;
    type SigningAlgorithm = CoreJwsSigningAlgorithm;

    fn key_id(&self) -> Option<&JsonWebKeyId> {
        self.id.as_ref()
    }

    fn key_type(&self) -> &CoreJsonWebKeyType {
        &self.kind
    }

    /// Keys for other uses were left out when the set was read.
    fn key_use(&self) -> Option<&CoreJsonWebKeyUse> {
        Some(&CoreJsonWebKeyUse::Signature)
    }

    fn signing_alg(&self) -> JsonWebKeyAlgorithm<&CoreJwsSigningAlgorithm> {
        self.algorithm.as_ref().map_or(JsonWebKeyAlgorithm::Unspecified, JsonWebKeyAlgorithm::Algorithm)
    }

    /// The crate would verify an HMAC with the client's secret: we never let it, and this key verifies nothing.
    fn new_symmetric(_key: Vec<u8>) -> Self {
        Self { id: None, kind: CoreJsonWebKeyType::Symmetric, algorithm: None, jwk: None }
    }

    fn verify_signature(
        &self,
        algorithm: &CoreJwsSigningAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureVerificationError> {
        let unfit = || SignatureVerificationError::InvalidKey("the key is not for this algorithm".to_owned());
        let jwk = self.jwk.as_ref().ok_or_else(unfit)?;
        let algorithm = ours(algorithm).ok_or_else(unfit)?;
        jwk.verify(algorithm, message, signature)
            .map_err(|cause| SignatureVerificationError::CryptoError(cause.to_string()))
    }

    fn hash_bytes(&self, bytes: &[u8], algorithm: &CoreJwsSigningAlgorithm) -> Result<Vec<u8>, String> {
        let algorithm = ours(algorithm).ok_or("no hash is known for this algorithm")?;
        Ok(aws_lc_rs::digest::digest(algorithm.digest(), bytes).as_ref().to_vec())
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Map::<String, Value>::deserialize(deserializer)?;
        Jwk::parse(&object).as_ref().map(Self::from).ok_or_else(|| serde::de::Error::custom("no key that can be used"))
    }
}

/// The crate's trait asks for it; nothing ever writes a key.
impl Serialize for VerifyingKey {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("keys are not written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::testing::TestKey;

    #[test]
    fn every_algorithm_has_a_name_of_its_own_and_a_key_of_its_kind() {
        use openidconnect::JwsSigningAlgorithm as _;
        for algorithm in Algorithm::ALL {
            assert_eq!(ours(&named(algorithm)), Some(algorithm));
            let jwk = Jwk::parse(TestKey::for_algorithm(algorithm).jwk("k").as_object().unwrap()).unwrap();
            assert_eq!(named(algorithm).key_type().as_ref(), Some(VerifyingKey::from(&jwk).key_type()));
        }
        assert_eq!(ours(&CoreJwsSigningAlgorithm::HmacSha256), None);
        assert_eq!(ours(&CoreJwsSigningAlgorithm::None), None);
    }

    #[test]
    fn a_shared_secret_verifies_nothing() {
        let key = VerifyingKey::new_symmetric(b"secret".to_vec());
        assert!(key.verify_signature(&CoreJwsSigningAlgorithm::HmacSha256, b"m", b"s").is_err());
        assert!(key.verify_signature(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, b"m", b"s").is_err());
    }
}
