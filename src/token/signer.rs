//! The keys that sign our assertions: the first of its algorithm signs, all are published, and they change without a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::config::secret::{SecretError, SecretSource};
use crate::identity::preset::KeysForm;
use crate::jose::algorithm::Algorithm;
use crate::jose::signing::{Padding, SIGNING_ALGORITHMS, SigningKey, SigningKeyFault};

/// The most keys that may be named: those who verify read all of them.
const MOST_KEYS: usize = 16;

/// Why keys can't be used. Never holds any of one.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// A key can't be read.
    #[error("signing key {number}: {cause}")]
    Secret {
        /// Its place in the list, from 1.
        number: usize,
        /// Why.
        cause: SecretError,
    },
    /// A key is none.
    #[error("signing key {number} {cause}")]
    Key {
        /// Its place in the list, from 1.
        number: usize,
        /// Why.
        cause: SigningKeyFault,
    },
    /// A key is there twice.
    #[error("signing key {number} is there twice; leave one of them out")]
    Twice {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// There are more than [`MOST_KEYS`].
    #[error("there are more than {MOST_KEYS} signing keys; leave out those that nothing was signed with lately")]
    TooMany,
    /// No key is for an algorithm that an upstream's assertion has.
    #[error(
        "an upstream gets assertions signed by {algorithm}, and no signing key is for it; make one with `portcullis keygen --signing={algorithm}`"
    )]
    NoKey {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// No key could be made.
    #[error("no signing key can be made: {0}")]
    Made(SigningKeyFault),
}

/// Keys, and what is shown of them.
#[derive(Debug)]
pub struct SigningKeys {
    keys: Vec<SigningKey>,
    jwks: String,
    pem_by_id: String,
    jwks_and_pem: String,
}

/// The one that signs.
#[derive(Debug)]
pub struct Signer {
    keys: ArcSwap<SigningKeys>,
    needed: Vec<Algorithm>,
    epoch: AtomicU64,
}

impl SigningKeys {
    /// The keys that the config names, as they stand now.
    ///
    /// # Errors
    /// When one can't be read or used, or an algorithm that is `needed` has none.
    pub fn read(sources: &[SecretSource], needed: &[Algorithm]) -> Result<Self, SignerError> {
        let texts: Vec<SecretString> = sources
            .iter()
            .enumerate()
            .map(|(index, source)| source.read().map_err(|cause| SignerError::Secret { number: index + 1, cause }))
            .collect::<Result<_, _>>()?;
        Self::of(&texts, needed)
    }

    /// The keys in these PEM texts.
    ///
    /// # Errors
    /// When one can't be used, or an algorithm that is `needed` has none.
    pub fn of(texts: &[SecretString], needed: &[Algorithm]) -> Result<Self, SignerError> {
        if texts.len() > MOST_KEYS {
            return Err(SignerError::TooMany);
        }
        let mut keys: Vec<SigningKey> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let number = index + 1;
            let key = SigningKey::parse(text.expose_secret()).map_err(|cause| SignerError::Key { number, cause })?;
            if keys.iter().any(|known| known.id() == key.id()) {
                return Err(SignerError::Twice { number });
            }
            keys.push(key);
        }
        if let Some(algorithm) = needed.iter().find(|needed| !keys.iter().any(|key| key.algorithm() == **needed)) {
            return Err(SignerError::NoKey { algorithm: algorithm.name() });
        }
        Ok(Self::showing(keys))
    }

    fn showing(keys: Vec<SigningKey>) -> Self {
        let jwks: Vec<&Map<String, Value>> = keys.iter().map(SigningKey::jwk).collect();
        let pem_by_id: Map<String, Value> =
            keys.iter().map(|key| (key.id().to_owned(), Value::from(key.pem()))).collect();
        let pems: Vec<Value> = keys.iter().map(|key| json!({"kid": key.id(), "cert": key.pem()})).collect();
        let mut with_pem = json!({"keys": jwks, "public_certs": pems});
        if let (Some(members), Some(first)) = (with_pem.as_object_mut(), pems.first()) {
            members.insert("public_cert".to_owned(), first.clone());
        }
        Self {
            jwks: json!({"keys": jwks}).to_string(),
            pem_by_id: json!(pem_by_id).to_string(),
            jwks_and_pem: with_pem.to_string(),
            keys,
        }
    }

    /// Whether these are the same keys in the same order.
    pub fn is_same(&self, other: &Self) -> bool {
        self.keys.iter().map(SigningKey::id).eq(other.keys.iter().map(SigningKey::id))
    }
}

impl Signer {
    /// A signer with the keys that the config names; when it names none, with a new key for each algorithm that is needed, which nobody
    /// else knows. `needed` holds the algorithms of every assertion of the config: `None` takes any key.
    ///
    /// # Errors
    /// When a key can't be read, used or made.
    pub fn load(sources: &[SecretSource], needed: &[Option<Algorithm>]) -> Result<Self, SignerError> {
        let named = Self::named(needed);
        let keys = if sources.is_empty() { Self::make(needed, &named)? } else { SigningKeys::read(sources, &named)? };
        Ok(Self { keys: ArcSwap::from_pointee(keys), needed: named, epoch: AtomicU64::new(0) })
    }

    /// What `needed` asks for by name, each once.
    pub fn named(needed: &[Option<Algorithm>]) -> Vec<Algorithm> {
        let mut named: Vec<Algorithm> = Vec::new();
        for algorithm in needed.iter().flatten() {
            if !named.contains(algorithm) {
                named.push(*algorithm);
            }
        }
        named
    }

    fn make(needed: &[Option<Algorithm>], named: &[Algorithm]) -> Result<SigningKeys, SignerError> {
        let any = SIGNING_ALGORITHMS.first().filter(|_| named.is_empty() && !needed.is_empty());
        let made: Result<Vec<SigningKey>, SigningKeyFault> =
            named.iter().chain(any).map(|algorithm| SigningKey::parse(&SigningKey::generate(*algorithm)?)).collect();
        Ok(SigningKeys::showing(made.map_err(SignerError::Made)?))
    }

    /// The algorithms that some key must be for.
    pub fn needed(&self) -> &[Algorithm] {
        &self.needed
    }

    /// Puts `keys` in the place of those it has. What was signed before stays good as long as its key is among them.
    pub fn replace(&self, keys: SigningKeys) {
        self.keys.store(Arc::new(keys));
        // After the keys: whoever sees the new epoch signs with the new keys.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether these are its keys already.
    pub fn holds(&self, keys: &SigningKeys) -> bool {
        self.keys.load().is_same(keys)
    }

    /// How often its keys were replaced. What was signed in an earlier epoch is signed anew, since its key may be gone.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A signed token in compact form, by the first key for `algorithm`, or the first of all. `None` when there is no such key, or the
    /// cryptographic library fails.
    pub fn sign(
        &self,
        algorithm: Option<Algorithm>,
        header: Map<String, Value>,
        claims: &Map<String, Value>,
        padding: Padding,
    ) -> Option<Zeroizing<String>> {
        let keys = self.keys.load();
        let key = keys.keys.iter().find(|key| algorithm.is_none_or(|algorithm| key.algorithm() == algorithm))?;
        key.token(header, claims, padding).ok()
    }

    /// The public halves of all keys, as JSON.
    pub fn shown(&self, form: KeysForm) -> String {
        let keys = self.keys.load();
        match form {
            KeysForm::Jwks => keys.jwks.clone(),
            KeysForm::PemById => keys.pem_by_id.clone(),
            KeysForm::JwksAndPem => keys.jwks_and_pem.clone(),
        }
    }

    /// The public half of the key with this id, as PEM.
    pub fn pem(&self, id: &str) -> Option<String> {
        self.keys.load().keys.iter().find(|key| key.id() == id).map(|key| key.pem().to_owned())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn key(algorithm: Algorithm) -> SecretString {
        SecretString::from(SigningKey::generate(algorithm).unwrap().to_string())
    }

    pub(crate) fn ids(signer: &Signer) -> Vec<String> {
        let set: Value = serde_json::from_str(&signer.shown(KeysForm::Jwks)).unwrap();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    fn signed_by(signer: &Signer, algorithm: Option<Algorithm>) -> Option<String> {
        use base64::Engine as _;
        let token = signer.sign(algorithm, Map::new(), &Map::new(), Padding::Never)?;
        let header = token.split('.').next().unwrap();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        Some(header["kid"].as_str().unwrap().to_owned())
    }

    #[test]
    fn the_first_key_of_its_algorithm_signs_and_all_are_shown() {
        let texts = [key(Algorithm::EdDsa), key(Algorithm::Es256), key(Algorithm::Es256)];
        let sources: Vec<SecretSource> = texts.iter().cloned().map(SecretSource::Inline).collect();
        let signer = Signer::load(&sources, &[None, Some(Algorithm::Es256)]).unwrap();
        let ids = ids(&signer);
        assert_eq!(ids.len(), 3);
        assert_eq!(signed_by(&signer, None).as_ref(), ids.first());
        assert_eq!(signed_by(&signer, Some(Algorithm::Es256)).as_ref(), ids.get(1));
        assert_eq!(signed_by(&signer, Some(Algorithm::Rs256)), None);
        assert!(ids.iter().all(|id| signer.pem(id).unwrap().starts_with("-----BEGIN PUBLIC KEY-----")));
        assert_eq!(signer.pem("other"), None);
        let by_id: Value = serde_json::from_str(&signer.shown(KeysForm::PemById)).unwrap();
        assert_eq!(by_id[&ids[2]], signer.pem(&ids[2]).unwrap());
        let both: Value = serde_json::from_str(&signer.shown(KeysForm::JwksAndPem)).unwrap();
        assert_eq!((&both["keys"][1]["kid"], &both["public_cert"]["kid"]), (&json!(ids[1]), &json!(ids[0])));
        let exchanged = SigningKeys::of(&[texts[1].clone()], signer.needed()).unwrap();
        assert!(!signer.holds(&exchanged));
        signer.replace(exchanged);
        assert_eq!((signer.epoch(), signed_by(&signer, None)), (1, Some(ids[1].clone())));
    }

    #[test]
    fn without_keys_those_that_are_needed_are_made() {
        assert_eq!(ids(&Signer::load(&[], &[]).unwrap()), Vec::<String>::new());
        assert_eq!(ids(&Signer::load(&[], &[None]).unwrap()).len(), 1);
        let signer = Signer::load(&[], &[None, Some(Algorithm::EdDsa), Some(Algorithm::EdDsa)]).unwrap();
        assert_eq!(ids(&signer).len(), 1);
        assert!(signed_by(&signer, Some(Algorithm::EdDsa)).is_some());
    }

    #[test]
    fn what_is_wrong_with_keys_is_told_by_their_place() {
        let (good, other) = (key(Algorithm::Es256), key(Algorithm::EdDsa));
        for (texts, told) in [
            (vec![good.clone(), SecretString::from("hush".to_owned())], "signing key 2 is no private key"),
            (vec![good.clone(), good.clone()], "signing key 2 is there twice"),
            (vec![other], "keygen --signing=ES256"),
            (vec![good; MOST_KEYS + 1], "more than 16"),
        ] {
            let error = SigningKeys::of(&texts, &[Algorithm::Es256]).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("hush"), "{error}");
        }
    }
}
