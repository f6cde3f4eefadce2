//! The names of records and locks: hashes, so that they tell nothing and have one length.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Names a record or a lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordKey([u8; 32]);

impl RecordKey {
    /// The name that stands on `parts`. `kind` keeps names of different things apart: `"session"`, `"refresh lock"`.
    pub fn of(kind: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in std::iter::once(&kind.as_bytes()).chain(parts) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.finish().as_ref());
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The name of these bytes, when there are as many as a name has.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As text, in base64url.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell two apart in a log.
        f.write_str(self.text().get(..8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_kinds_and_parts_apart() {
        let name = RecordKey::of("a", &[b"bc", b"d"]);
        assert_eq!(name, RecordKey::of("a", &[b"bc", b"d"]));
        for other in
            [RecordKey::of("a", &[b"b", b"cd"]), RecordKey::of("ab", &[b"c", b"d"]), RecordKey::of("a", &[b"bcd"])]
        {
            assert_ne!(name, other);
        }
        assert_eq!(RecordKey::from_bytes(name.bytes()), Some(name));
        assert_eq!(RecordKey::from_bytes(b"short"), None);
        assert_eq!(name.text().len(), 43);
    }
}
