//! The opened sessions of this worker: what a cookie turned out to hold, kept so that the next request with it costs a comparison
//! instead of decryption.
//!
//! 1. An entry is found by the host and the cookie's whole text; a tag only leads to it.
//! 2. It never outlives the session: whoever takes it out checks the times first.
//! 3. It never outlives its key: when the keys change, all are forgotten and opened anew.
//! 4. It is bounded, as [`SecondChance`] is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::second_chance::SecondChance;

/// Bytes at a cookie's end that lead to its entry; they belong to the seal's authentication tag, so they are spread evenly.
const TAG: usize = 16;

/// Opened sessions by their cookie.
#[derive(Debug)]
pub struct Table<T> {
    epoch: Cell<u64>,
    sessions: RefCell<SecondChance<Tag, Entry<T>>>,
}

type Tag = [u8; TAG];

#[derive(Debug)]
struct Entry<T> {
    /// The cookie, and the host after it: one piece of memory to look at.
    text: Box<[u8]>,
    opened: Rc<T>,
}

impl<T> Entry<T> {
    fn is_for(&self, host: &str, cookie: &[u8]) -> bool {
        self.text.split_at_checked(cookie.len()) == Some((cookie, host.as_bytes()))
    }
}

impl<T> Table<T> {
    /// A table that finds at most `capacity` sessions.
    pub fn new(capacity: usize) -> Self {
        Self { epoch: Cell::new(0), sessions: RefCell::new(SecondChance::new(capacity)) }
    }

    /// Forgets everything when `epoch`, the keyring's own, is another than at the last call. Ask before each [`Table::find`].
    pub fn meet(&self, epoch: u64) {
        if self.epoch.replace(epoch) != epoch {
            self.sessions.borrow_mut().forget();
        }
    }

    /// What `cookie` holds at `host`, if it was opened here before.
    pub fn find(&self, host: &str, cookie: &[u8]) -> Option<Rc<T>> {
        let read = |entry: &Entry<T>| entry.is_for(host, cookie).then(|| Rc::clone(&entry.opened));
        self.sessions.borrow().find(&tag(cookie)?, read)
    }

    /// Keeps what `cookie` holds at `host`.
    pub fn keep(&self, host: &str, cookie: &[u8], opened: Rc<T>) {
        if let Some(tag) = tag(cookie) {
            let entry = Entry { text: [cookie, host.as_bytes()].concat().into(), opened };
            self.sessions.borrow_mut().insert(tag, entry);
        }
    }
}

fn tag(cookie: &[u8]) -> Option<Tag> {
    cookie.last_chunk::<TAG>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(number: usize) -> Vec<u8> {
        format!("head-{number:032}").into_bytes()
    }

    #[test]
    fn only_the_very_same_cookie_is_found() {
        let table = Table::new(8);
        table.keep("a", &cookie(1), Rc::new("alice"));
        assert_eq!(table.find("a", &cookie(1)).as_deref(), Some(&"alice"));
        let mut same_tag = cookie(1);
        same_tag[0] ^= 1;
        assert!(table.find("a", &same_tag).is_none());
        assert!(table.find("a", b"short").is_none());
        assert!(table.find("b", &cookie(1)).is_none(), "a session is good at its own host only");
    }

    #[test]
    fn nothing_outlives_the_keys_it_was_opened_with() {
        let table = Table::new(2);
        table.keep("a", &cookie(1), Rc::new("alice"));
        table.keep("a", &cookie(2), Rc::new("bob"));
        table.meet(0);
        assert!(table.find("a", &cookie(1)).is_some() && table.find("a", &cookie(2)).is_some());
        table.meet(1);
        assert!(table.find("a", &cookie(1)).is_none() && table.find("a", &cookie(2)).is_none());
    }

    #[test]
    fn the_table_stays_bounded_and_keeps_what_is_used() {
        let table = Table::new(8);
        table.keep("a", &cookie(0), Rc::new(0));
        for number in 1..100 {
            table.keep("a", &cookie(number), Rc::new(number));
            assert_eq!(table.find("a", &cookie(0)).as_deref(), Some(&0), "after {number}");
        }
        assert!(table.find("a", &cookie(50)).is_none() && table.find("a", &cookie(99)).is_some());
    }
}
