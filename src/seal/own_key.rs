//! A key of one record's own: drawn at random or derived from what was, held by one browser's cookie alone, never by the place where the
//! record lies.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use super::aead::{Purpose, RingKey, SealError, Sealed};
use crate::base::random::{self, NoRandomness};

/// Bytes of the secret.
pub const SECRET_LEN: usize = 32;

/// The key of one record: names it, seals it and opens it. Its name tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnKey {
    secret: Zeroizing<[u8; SECRET_LEN]>,
}

impl OwnKey {
    /// A key that nobody else has.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn draw() -> Result<Self, NoRandomness> {
        Ok(Self::from_secret(random::bytes()?))
    }

    /// The key of this secret.
    pub fn from_secret(secret: [u8; SECRET_LEN]) -> Self {
        Self { secret: Zeroizing::new(secret) }
    }

    /// The key that whoever knows `root` can come to, and nobody else: for a record that is found by what a browser had before. `root` is
    /// drawn at random and as secret as the key is to be.
    ///
    /// # Errors
    /// When the cryptographic library refuses, which it does only when it is out of memory.
    pub fn derived(root: &[u8; 16]) -> Result<Self, SealError> {
        let mut secret = [0; SECRET_LEN];
        let extracted = Salt::new(HKDF_SHA256, b"portcullis derived own key 1").extract(root);
        extracted
            .expand(&[b"own key"], HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut secret))
            .map_err(|_| SealError::Library)?;
        Ok(Self::from_secret(secret))
    }

    /// Its secret.
    pub fn secret(&self) -> &[u8; SECRET_LEN] {
        &self.secret
    }

    /// What its record may be found by: derived beside the key that seals, so that whoever has the one can't come to the other.
    ///
    /// # Errors
    /// When the cryptographic library refuses, which it does only when it is out of memory.
    pub fn name(&self) -> Result<[u8; SECRET_LEN], SealError> {
        let mut name = [0; SECRET_LEN];
        let root = Salt::new(HKDF_SHA256, b"portcullis own key 1").extract(&*self.secret);
        root.expand(&[b"record name"], HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut name))
            .map_err(|_| SealError::Library)?;
        Ok(name)
    }

    /// Seals `plain` for its record; see [`super::keyring::Keyring::seal`].
    ///
    /// # Errors
    /// When there is no randomness, or the cryptographic library refuses.
    pub fn seal(&self, purpose: Purpose, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        RingKey::new(&*self.secret)?.seal(purpose, context, plain)
    }

    /// What `sealed` holds, if this key sealed it for this purpose and context.
    pub fn open(&self, purpose: Purpose, context: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        let key = RingKey::new(&*self.secret).ok()?;
        let sealed = Sealed::parse(sealed).filter(|sealed| sealed.id == key.id())?;
        key.open(purpose, context, &sealed)
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_opens_its_record_for_its_purpose_and_place() {
        let (key, other) = (OwnKey::draw().unwrap(), OwnKey::draw().unwrap());
        let sealed = key.seal(Purpose::Record, &[b"name", b"host"], b"value").unwrap();
        assert_eq!(key.open(Purpose::Record, &[b"name", b"host"], &sealed).unwrap(), b"value");
        assert!(other.open(Purpose::Record, &[b"name", b"host"], &sealed).is_none());
        assert!(key.open(Purpose::Session, &[b"name", b"host"], &sealed).is_none());
        assert!(key.open(Purpose::Record, &[b"name", b"elsewhere"], &sealed).is_none());
        for index in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[index] ^= 1;
            assert!(key.open(Purpose::Record, &[b"name", b"host"], &forged).is_none(), "byte {index}");
        }
    }

    #[test]
    fn a_derived_key_is_the_same_for_who_knows_its_root_and_tells_nothing_of_it() {
        let key = OwnKey::derived(&[7; 16]).unwrap();
        assert_eq!(key, OwnKey::derived(&[7; 16]).unwrap());
        assert_ne!(key, OwnKey::derived(&[8; 16]).unwrap());
        assert_ne!(key.secret(), aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[7; 16]).as_ref());
        assert_ne!(key.name().unwrap(), *key.secret());
    }

    #[test]
    fn its_name_is_its_own_and_tells_nothing() {
        let key = OwnKey::from_secret([7; SECRET_LEN]);
        let name = key.name().unwrap();
        assert_eq!(name, OwnKey::from_secret([7; SECRET_LEN]).name().unwrap());
        assert_ne!(name, *key.secret());
        assert_ne!(name, OwnKey::from_secret([8; SECRET_LEN]).name().unwrap());
        assert_ne!(OwnKey::from_secret(name).name().unwrap(), name);
        assert!(!format!("{key:?}").contains('7'));
    }
}
