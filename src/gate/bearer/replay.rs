//! The proofs of possession that were there before (RFC 9449, section 11.1): each may come once, at whichever worker.
//!
//! 1. A proof is remembered for as long as one made at that moment could be taken.
//! 2. Memory is bounded, and nothing is forgotten early to make room: when it is full, proofs are refused.
//! 3. What served for nothing may be taken back: a proxy that was told no asks once more for what its visitor is told.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};

use crate::base::clock::Timestamp;
use crate::jose::proof::{NEWEST_SECONDS, OLDEST_SECONDS, Proven};

/// Parts that are locked each by itself.
const PARTS: usize = 16;
/// Proofs of one part and generation; 16 bytes each, and as much again for the table.
const MOST: usize = 64 * 1024;
/// How long a generation is the young one, in seconds: the longest that a proof can be taken.
const SPAN: u64 = OLDEST_SECONDS + NEWEST_SECONDS + 1;

/// What became of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It was not there before.
    New,
    /// It was.
    Known,
    /// Nobody knows, for there is no room to remember it.
    Full,
}

/// What a proof goes by here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name([u8; 16]);

impl Name {
    /// Its key and its own name together, so that nobody can use up another's.
    pub fn of(proven: &Proven) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(proven.thumbprint.as_bytes());
        context.update(b" ");
        context.update(proven.id.as_bytes());
        Self(context.finish().as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// The proofs that were there before.
#[derive(Debug, Default)]
pub struct Replays {
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    began: u64,
    young: HashSet<Name>,
    old: HashSet<Name>,
}

impl Replays {
    /// Notes that a proof came.
    pub fn note(&self, name: Name, now: Timestamp) -> Noted {
        let Some(part) = self.part(name) else { return Noted::Full };
        part.lock().unwrap_or_else(PoisonError::into_inner).note(name, now.seconds())
    }

    /// Takes back a [`Noted::New`]: whoever brought the proof got nothing for it.
    pub fn forget(&self, name: Name) {
        if let Some(part) = self.part(name) {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.young.remove(&name);
            part.old.remove(&name);
        }
    }

    fn part(&self, Name(name): Name) -> Option<&Mutex<Part>> {
        self.parts.get(usize::from(name.first().copied().unwrap_or_default()) % PARTS)
    }
}

impl Part {
    fn note(&mut self, name: Name, now: u64) -> Noted {
        let age = now.saturating_sub(self.began);
        if age >= SPAN {
            self.old = if age >= 2 * SPAN { HashSet::new() } else { std::mem::take(&mut self.young) };
            self.young = HashSet::new();
            self.began = now;
        }
        if self.young.contains(&name) || self.old.contains(&name) {
            return Noted::Known;
        }
        if self.young.len() >= MOST {
            return Noted::Full;
        }
        self.young.insert(name);
        Noted::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(key: &str, id: &str) -> Name {
        Name::of(&Proven { thumbprint: key.to_owned(), id: id.to_owned() })
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    #[test]
    fn a_proof_comes_once_as_long_as_it_could_be_taken() {
        let replays = Replays::default();
        assert_eq!(replays.note(proven("k", "1"), at(0)), Noted::New);
        for later in [0, 1, SPAN - 1, SPAN, SPAN + 1] {
            assert_eq!(replays.note(proven("k", "1"), at(later)), Noted::Known, "{later}");
        }
        assert_eq!(replays.note(proven("other", "1"), at(0)), Noted::New);
        assert_eq!(replays.note(proven("k", "2"), at(0)), Noted::New);
        // The boundary: noted just before a change of generations, and asked for just before it ends.
        let replays = Replays::default();
        assert_eq!(replays.note(proven("k", "a"), at(0)), Noted::New);
        assert_eq!(replays.note(proven("k", "b"), at(SPAN - 1)), Noted::New);
        assert_eq!(replays.note(proven("k", "b"), at(2 * SPAN - 2)), Noted::Known);
    }

    #[test]
    fn a_proof_that_served_for_nothing_may_come_again_and_no_other() {
        let replays = Replays::default();
        assert_eq!(replays.note(proven("k", "1"), at(0)), Noted::New);
        assert_eq!(replays.note(proven("k", "2"), at(0)), Noted::New);
        replays.forget(proven("k", "1"));
        assert_eq!(replays.note(proven("k", "2"), at(1)), Noted::Known);
        assert_eq!(replays.note(proven("k", "1"), at(1)), Noted::New);
        assert_eq!(replays.note(proven("k", "1"), at(1)), Noted::Known);
    }

    #[test]
    fn a_full_memory_refuses_and_forgets_nothing_early() {
        let mut part = Part { began: 1_000_000, ..Part::default() };
        for number in 0..MOST as u64 {
            let mut name = [0; 16];
            name[..8].copy_from_slice(&number.to_be_bytes());
            assert_eq!(part.note(Name(name), 1_000_000), Noted::New);
        }
        assert_eq!(part.note(Name([0xff; 16]), 1_000_000), Noted::Full);
        assert_eq!(part.note(Name([0; 16]), 1_000_000), Noted::Known);
        assert_eq!(part.note(Name([0xff; 16]), 1_000_000 + SPAN), Noted::New);
    }
}
