//! What the browser holds of a session that lives in a store: the key that finds and opens it there, and the session's id.
//!
//! ```text
//! format (1) ‖ secret (32) ‖ session id (16)   a session that was stored at its sign-in
//! format (1) ‖ session id (16)                 one that outgrew its cookies and moved
//! ```
//!
//! The secret stands nowhere else. So a copy of the store opens nothing, and nothing that is in the store can be made into a cookie. The
//! id is here too, so that a session can be ended while the store is away. Of a session that moved the secret is derived from the id,
//! which is random, and which stands sealed in the cookies from before and nowhere else: whoever is shown those finds the session.

use std::fmt;

use crate::seal::aead::SealError;
use crate::seal::own_key::{OwnKey, SECRET_LEN};
use crate::session::store::RecordKey;

/// The first byte: no format of [`super::encode`], so that the two are never taken for each other.
const FORMAT: u8 = 0x54;
/// As [`FORMAT`], of a session that moved.
const MOVED: u8 = 0x4D;
const ID_LEN: usize = 16;

/// The key to a session in a store.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    key: OwnKey,
    id: [u8; ID_LEN],
    record: RecordKey,
    is_moved: bool,
}

impl Ticket {
    /// A ticket for the new session of this id, with a key that nobody has had.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn draw(id: [u8; ID_LEN]) -> Result<Self, SealError> {
        Self::of(OwnKey::draw()?, id, false)
    }

    /// The ticket for the session of this id after it outgrew its cookies: the same at every gateway.
    ///
    /// # Errors
    /// When the cryptographic library refuses, which it does only when it is out of memory.
    pub fn of_moved(id: [u8; ID_LEN]) -> Result<Self, SealError> {
        Self::of(OwnKey::derived(&id)?, id, true)
    }

    fn of(key: OwnKey, id: [u8; ID_LEN], is_moved: bool) -> Result<Self, SealError> {
        let record = RecordKey::of("session", &[&key.name()?]);
        Ok(Self { key, id, record, is_moved })
    }

    /// The key that seals the session.
    pub const fn key(&self) -> &OwnKey {
        &self.key
    }

    /// The session's id.
    pub const fn id(&self) -> &[u8; ID_LEN] {
        &self.id
    }

    /// What the session's record is found by.
    pub const fn record(&self) -> &RecordKey {
        &self.record
    }

    /// Whether the session lived in the browser's cookies before.
    pub const fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// Its bytes, to be sealed into the browser's cookie.
    pub fn encode(&self) -> Vec<u8> {
        if self.is_moved {
            return [[MOVED].as_slice(), &self.id].concat();
        }
        let mut bytes = Vec::with_capacity(1 + SECRET_LEN + ID_LEN);
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.key.secret());
        bytes.extend_from_slice(&self.id);
        bytes
    }

    /// The ticket that `bytes` are.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if let Some(id) = bytes.strip_prefix(&[MOVED]) {
            return Self::of_moved(id.try_into().ok()?).ok();
        }
        let rest = bytes.strip_prefix(&[FORMAT])?;
        let (secret, id) = rest.split_first_chunk::<SECRET_LEN>()?;
        Self::of(OwnKey::from_secret(*secret), id.try_into().ok()?, false).ok()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.record).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_cookies_from_before_finds_a_session_that_moved() {
        let ticket = Ticket::of_moved([9; 16]).unwrap();
        let bytes = ticket.encode();
        assert_eq!(Ticket::decode(&bytes).unwrap(), ticket);
        assert_eq!(Ticket::of_moved([9; 16]).unwrap(), ticket);
        assert!(ticket.is_moved() && !Ticket::draw([9; 16]).unwrap().is_moved());
        assert_ne!(Ticket::of_moved([8; 16]).unwrap().record(), ticket.record());
        assert!(!ticket.record().bytes().windows(4).any(|part| part == [9; 4]), "its name tells nothing of the id");
        assert!(Ticket::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(Ticket::decode(&[bytes.as_slice(), &[0]].concat()).is_none());
    }

    #[test]
    fn a_ticket_survives_whole_or_not_at_all() {
        let ticket = Ticket::draw([9; 16]).unwrap();
        let bytes = ticket.encode();
        assert_eq!(Ticket::decode(&bytes).unwrap(), ticket);
        assert!(Ticket::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(Ticket::decode(&[bytes.as_slice(), &[0]].concat()).is_none());
        let mut other = bytes;
        other[0] = 1;
        assert!(Ticket::decode(&other).is_none());
        assert_ne!(Ticket::draw([9; 16]).unwrap().record(), ticket.record(), "each sign-in has a key of its own");
    }
}
