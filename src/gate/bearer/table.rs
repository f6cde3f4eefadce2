//! The tokens that this worker has had verified, by their SHA-256, so that the next request with one costs a look-up instead of a
//! signature's verification. No token is kept.
//!
//! 1. An entry counts only where the same issuers' tokens are taken as where it was made.
//! 2. It never outlives the token, nor the issuer's keys: whoever takes it out checks both.
//! 3. The table is bounded, as [`SecondChance`] is.

use std::cell::RefCell;
use std::rc::Rc;

use crate::gate::credential::Recognised;
use crate::gate::second_chance::SecondChance;

/// What an entry is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// SHA-256 of the token.
    pub token: [u8; 32],
    /// Which issuers' tokens are taken.
    pub issuers: u64,
}

/// Verified tokens.
#[derive(Debug)]
pub struct TokenTable {
    verified: RefCell<SecondChance<Key, Rc<Recognised>>>,
}

impl TokenTable {
    /// A table that finds at most `capacity` tokens.
    pub fn new(capacity: usize) -> Self {
        Self { verified: RefCell::new(SecondChance::new(capacity)) }
    }

    /// Whom a token speaks for, if it was verified here before.
    pub fn find(&self, key: &Key) -> Option<Rc<Recognised>> {
        self.verified.borrow().find(key, |who| Some(Rc::clone(who)))
    }

    /// Keeps whom a token speaks for.
    pub fn keep(&self, key: Key, who: Rc<Recognised>) {
        self.verified.borrow_mut().insert(key, who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::identity::principal::Principal;
    use crate::identity::vouched::{Binding, Vouched};

    fn somebody() -> Rc<Recognised> {
        let until = Timestamp::from_seconds(100);
        let (principal, binding) = (Principal::default(), Binding::default());
        let vouched = Vouched { issuer: 0, keys: 1, principal, authenticated: None, until, binding };
        Rc::new(Recognised::bearer_of(vouched, 0))
    }

    fn key(number: u8, issuers: u64) -> Key {
        Key { token: [number; 32], issuers }
    }

    #[test]
    fn an_entry_counts_for_its_token_and_its_issuers_alone() {
        let table = TokenTable::new(8);
        table.keep(key(1, 1), somebody());
        assert!(table.find(&key(1, 1)).is_some());
        assert!(table.find(&key(1, 2)).is_none() && table.find(&key(2, 1)).is_none());
    }

    #[test]
    fn it_holds_so_many_and_forgets_those_that_nobody_asks_for() {
        let table = TokenTable::new(8);
        for number in 0..100 {
            table.keep(key(number, 1), somebody());
            assert!(table.find(&key(0, 1)).is_some(), "{number}");
        }
        assert!(table.find(&key(50, 1)).is_none() && table.find(&key(99, 1)).is_some());
    }
}
