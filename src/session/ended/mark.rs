//! What ends sessions before their time: a mark on one session, on a session at the provider, or on a person.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::session::model::Session;

/// What a mark is found by: a hash, so that whoever keeps marks learns neither names nor ids from them.
pub type Key = [u8; 32];

/// Ends every session of one kind that was created at or before a time. Small and plain, so that it can be shared with other gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    key: Key,
    before: Timestamp,
}

/// What a mark is on.
enum On<'a> {
    /// One session, by its id.
    Session(&'a [u8; 16]),
    /// The sessions that came of one session at the provider: `sid`.
    ProviderSession(&'a str, &'a str),
    /// The sessions of a person of which it is not known which session at the provider they came of.
    Nameless(&'a str, &'a str),
    /// All sessions of a person.
    Person(&'a str, &'a str),
    /// No session, but a word of a provider that ended some, by its name.
    Word(&'a str, &'a str),
}

impl On<'_> {
    fn key(&self) -> Key {
        let mut hash = Context::new(&SHA256);
        match self {
            Self::Session(id) => {
                hash.update(b"s");
                hash.update(*id);
            }
            Self::ProviderSession(issuer, name) => pair(&mut hash, b"p", issuer, name),
            Self::Nameless(issuer, name) => pair(&mut hash, b"n", issuer, name),
            Self::Person(issuer, name) => pair(&mut hash, b"a", issuer, name),
            Self::Word(issuer, name) => pair(&mut hash, b"w", issuer, name),
        }
        let mut key = [0; 32];
        key.copy_from_slice(hash.finish().as_ref());
        key
    }
}

/// The issuer's length goes along, so that no other issuer and name give the same bytes.
fn pair(hash: &mut Context, kind: &[u8], issuer: &str, name: &str) {
    hash.update(kind);
    hash.update(&issuer.len().to_be_bytes());
    hash.update(issuer.as_bytes());
    hash.update(name.as_bytes());
}

impl Mark {
    /// On this one session, which nobody will ever have again.
    pub fn on_session(id: &[u8; 16]) -> Self {
        Self { key: On::Session(id).key(), before: Timestamp::from_seconds(u64::MAX) }
    }

    /// On the sessions that came, until `before`, of the session `sid` at `issuer`.
    pub fn on_provider_session(issuer: &str, sid: &str, before: Timestamp) -> Self {
        Self { key: On::ProviderSession(issuer, sid).key(), before }
    }

    /// On the sessions that this person began until `before` and of which the provider never said to which of its own they belong.
    pub fn on_nameless(issuer: &str, subject: &str, before: Timestamp) -> Self {
        Self { key: On::Nameless(issuer, subject).key(), before }
    }

    /// On all sessions that this person began until `before`.
    pub fn on_person(issuer: &str, subject: &str, before: Timestamp) -> Self {
        Self { key: On::Person(issuer, subject).key(), before }
    }

    /// On a word of `issuer` that this names, such as the `jti` of a logout token: heard once, it counts no more.
    pub fn on_word(issuer: &str, name: &str) -> Self {
        Self { key: On::Word(issuer, name).key(), before: Timestamp::from_seconds(u64::MAX) }
    }

    /// The same mark for sessions until another second.
    #[must_use]
    pub(super) const fn until(self, before: Timestamp) -> Self {
        Self { key: self.key, before }
    }

    /// The mark that is found by this key.
    pub(super) const fn of(key: Key, before: Timestamp) -> Self {
        Self { key, before }
    }

    /// What it is found by.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The last second in which sessions began that it ends.
    pub const fn before(&self) -> Timestamp {
        self.before
    }
}

/// The keys of every mark that could end `session`.
pub(super) fn keys(session: &Session) -> [Key; 3] {
    let principal = &session.principal;
    let at_provider = match &session.provider_session {
        Some(sid) => On::ProviderSession(&principal.issuer, sid),
        None => On::Nameless(&principal.issuer, &principal.subject),
    };
    [On::Session(&session.id).key(), at_provider.key(), On::Person(&principal.issuer, &principal.subject).key()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_things_share_a_key() {
        let at = Timestamp::from_seconds(1);
        let marks = [
            Mark::on_provider_session("ab", "c", at),
            Mark::on_provider_session("a", "bc", at),
            Mark::on_nameless("ab", "c", at),
            Mark::on_person("ab", "c", at),
            Mark::on_person("a", "bc", at),
            Mark::on_session(&[1; 16]),
            Mark::on_session(&[2; 16]),
        ];
        let keys: BTreeSet<_> = marks.iter().map(|mark| mark.key).collect();
        assert_eq!(keys.len(), marks.len());
    }

    #[test]
    fn a_mark_tells_nothing_of_whom_it_is_on() {
        let bytes = postcard::to_allocvec(&Mark::on_person("https://idp.example", "alice", Timestamp::from_seconds(1)));
        let text = String::from_utf8_lossy(&bytes.unwrap()).into_owned();
        assert!(!text.contains("alice") && !text.contains("idp"));
    }
}
