//! One seal under one ring key: a key of its own for every message, then AES-256-GCM.
//!
//! AES-GCM has a nonce of 96 bits, too short to be drawn at random for as many cookies as one key seals. So each message
//! gets 192 random bits, from which HKDF-SHA256 (RFC 5869) derives a key that seals this one message: the derive-key
//! construction that `XChaCha20` also stands on. With a key per message the nonce of the cipher itself is always zero,
//! and a repeat of key and nonce would need two equal draws of 192 bits.
//!
//! ```text
//! version (1) ‖ key id (4) ‖ salt (24) ‖ ciphertext (as long as the plaintext) ‖ tag (16)
//! ```

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};

use crate::base::random;

/// The first byte of every seal. A change of format takes the next number, and old seals stop opening.
const VERSION: u8 = 1;
/// Bytes of a key's id.
pub(super) const ID_LEN: usize = 4;
/// Bytes of the salt: 192 bits, wide enough to draw at random without counting.
const SALT_LEN: usize = 24;
/// Bytes of the tag of AES-GCM.
const TAG_LEN: usize = 16;
/// Bytes of a keyed hash.
pub(super) const MAC_LEN: usize = 32;
/// How many bytes a seal is longer than what it seals.
pub const OVERHEAD: usize = 1 + ID_LEN + SALT_LEN + TAG_LEN;

/// What a value is sealed for. A seal made for one purpose never opens for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// A session in the browser.
    Session = 1,
    /// A sign-in on its way.
    Flow = 2,
    /// A logout on its way to the provider and back.
    Logout = 3,
    /// A token against cross-site requests, shown to the person's own pages.
    Csrf = 4,
    /// A session in a store, under a key that its browser holds.
    Record = 16,
}

/// Why nothing was sealed. Says nothing of what was to be.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no randomness for a salt.
    #[error(transparent)]
    Random(#[from] random::NoRandomness),
    /// The cryptographic library refused, which it does only when it is out of memory.
    #[error("the cryptographic library could not seal")]
    Library,
}

/// A key of the ring, ready for use. Its bytes are wiped when it is dropped, and it has no `Debug`.
pub(super) struct RingKey {
    id: [u8; ID_LEN],
    /// The pseudorandom key of the message keys, ready for HMAC: HKDF would get it ready anew for every message.
    message_keys: Box<hmac::Key>,
    /// Makes and checks keyed hashes; never a key of a seal.
    macs: Box<hmac::Key>,
}

impl RingKey {
    /// The ring key that stands on `secret`, whose strength the caller has checked.
    pub(super) fn new(secret: &[u8]) -> Result<Self, SealError> {
        let root = Salt::new(HKDF_SHA256, b"portcullis seal 1").extract(secret);
        // The id is derived beside the key, so that it tells nothing of it.
        let mut id = [0; ID_LEN];
        root.expand(&[b"key id"], IdLength).and_then(|okm| okm.fill(&mut id)).map_err(|_| SealError::Library)?;
        let message_keys = root.expand(&[b"message keys"], HMAC_SHA256).map_err(|_| SealError::Library)?.into();
        let macs = root.expand(&[b"keyed hashes"], HMAC_SHA256).map_err(|_| SealError::Library)?.into();
        Ok(Self { id, message_keys: Box::new(message_keys), macs: Box::new(macs) })
    }

    /// The id that its seals carry.
    pub(super) const fn id(&self) -> [u8; ID_LEN] {
        self.id
    }

    /// The keyed hash of these parts, for one purpose (HMAC-SHA256, RFC 2104).
    pub(super) fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; MAC_LEN] {
        let tag = hmac::sign(&self.macs, &self.bound(purpose, parts));
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// Whether `mac` is the keyed hash of these parts; it takes as long for a wrong one.
    pub(super) fn is_mac(&self, purpose: Purpose, parts: &[&[u8]], mac: &[u8]) -> bool {
        hmac::verify(&self.macs, &self.bound(purpose, parts), mac).is_ok()
    }

    /// Seals `plain`. The context is not part of the seal, yet must be the same when it is opened.
    pub(super) fn seal(&self, purpose: Purpose, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let salt = random::bytes::<SALT_LEN>()?;
        let key = self.message_key(purpose, &salt).ok_or(SealError::Library)?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(&salt);
        let head = sealed.len();
        sealed.extend_from_slice(plain);
        let body = sealed.get_mut(head..).ok_or(SealError::Library)?;
        let tag = key
            .seal_in_place_separate_tag(only_nonce(), Aad::from(self.bound(purpose, context)), body)
            .map_err(|_| SealError::Library)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// What `sealed` holds, if it was sealed under this key, for this purpose and context, and is whole.
    pub(super) fn open(&self, purpose: Purpose, context: &[&[u8]], sealed: &Sealed<'_>) -> Option<Vec<u8>> {
        let key = self.message_key(purpose, sealed.salt)?;
        let mut plain = sealed.body.to_vec();
        let length = key.open_in_place(only_nonce(), Aad::from(self.bound(purpose, context)), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    /// The key that seals one message, and no other: the first block of HKDF-Expand (RFC 5869, section 2.3), which is all of a key of
    /// 32 bytes.
    fn message_key(&self, purpose: Purpose, salt: &[u8; SALT_LEN]) -> Option<LessSafeKey> {
        // Both parts of the info have a fixed length, so no two messages meet in one text.
        let mut block = [0; 1 + SALT_LEN + 1];
        let [first, middle @ .., last] = &mut block;
        (*first, *last) = (purpose as u8, 1);
        middle.copy_from_slice(salt);
        let key = hmac::sign(&self.message_keys, &block);
        UnboundKey::new(&AES_256_GCM, key.as_ref()).ok().map(LessSafeKey::new)
    }

    /// What is authenticated beside the value. Every part of the context goes with its length before it, so that a byte
    /// that moves from one part to its neighbour makes another text.
    fn bound(&self, purpose: Purpose, context: &[&[u8]]) -> Vec<u8> {
        let mut bound = Vec::with_capacity(64);
        bound.extend_from_slice(&[VERSION, purpose as u8]);
        bound.extend_from_slice(&self.id);
        for part in context {
            bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bound.extend_from_slice(part);
        }
        bound
    }
}

/// A seal taken apart, not yet opened.
pub(super) struct Sealed<'a> {
    /// The id of the key that it says it was made with.
    pub(super) id: [u8; ID_LEN],
    salt: &'a [u8; SALT_LEN],
    body: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// The parts of `bytes`, when they are of this version and long enough.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (id, rest) = rest.split_first_chunk::<ID_LEN>()?;
        let (salt, body) = rest.split_first_chunk::<SALT_LEN>()?;
        (body.len() >= TAG_LEN).then_some(Self { id: *id, salt, body })
    }
}

/// The nonce of AES-GCM. A constant, because no key seals twice.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// The length of a key's id, as HKDF wants to be told.
struct IdLength;

impl aws_lc_rs::hkdf::KeyType for IdLength {
    fn len(&self) -> usize {
        ID_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_and_each_salt_has_a_message_key_of_its_own() {
        let ring = RingKey::new(&[3; 32]).unwrap();
        let seal = |purpose, salt: [u8; SALT_LEN]| {
            let mut body = b"the same text for all".to_vec();
            let key = ring.message_key(purpose, &salt).unwrap();
            key.seal_in_place_append_tag(only_nonce(), Aad::empty(), &mut body).unwrap();
            body
        };
        assert_eq!(seal(Purpose::Session, [9; SALT_LEN]), seal(Purpose::Session, [9; SALT_LEN]));
        assert_ne!(seal(Purpose::Session, [9; SALT_LEN]), seal(Purpose::Flow, [9; SALT_LEN]));
        assert_ne!(seal(Purpose::Session, [9; SALT_LEN]), seal(Purpose::Session, [8; SALT_LEN]));
    }

    #[test]
    fn a_message_key_is_what_hkdf_expands_to() {
        let ring = RingKey::new(&[3; 32]).unwrap();
        let salt = [9; SALT_LEN];
        let root = Salt::new(HKDF_SHA256, b"portcullis seal 1").extract(&[3; 32]);
        let prk: aws_lc_rs::hkdf::Prk = root.expand(&[b"message keys"], HKDF_SHA256).unwrap().into();
        let info: [&[u8]; 2] = [&[Purpose::Flow as u8], &salt];
        let key = LessSafeKey::new(UnboundKey::from(prk.expand(&info, &AES_256_GCM).unwrap()));
        let tag = |key: &LessSafeKey| {
            let mut body = *b"text";
            key.seal_in_place_separate_tag(only_nonce(), Aad::empty(), &mut body).unwrap().as_ref().to_vec()
        };
        assert_eq!(tag(&key), tag(&ring.message_key(Purpose::Flow, &salt).unwrap()));
    }

    #[test]
    fn the_context_is_bound_with_its_boundaries() {
        let ring = RingKey::new(&[3; 32]).unwrap();
        let one = ring.bound(Purpose::Session, &[b"ab", b"c"]);
        assert_ne!(one, ring.bound(Purpose::Session, &[b"a", b"bc"]));
        assert_ne!(one, ring.bound(Purpose::Session, &[b"ab", b"c", b""]));
        assert_ne!(one, RingKey::new(&[4; 32]).unwrap().bound(Purpose::Session, &[b"ab", b"c"]));
    }
}
