//! The opened sessions of this worker: what a cookie turned out to hold, kept so that the next request with it costs a comparison
//! instead of decryption.
//!
//! 1. An entry is found by the host and the cookie's whole text; a tag only leads to it.
//! 2. It never outlives the session: whoever takes it out checks the times first.
//! 3. It never outlives its key: when the keys change, all are forgotten and opened anew.
//! 4. It is bounded: when the young generation is full it becomes the old one, and the old one is forgotten.
//! 5. What is forgotten is found no more from then on, and given back a little at a time: a million sessions are never dropped in one go
//!    while requests wait.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::{HashMap, IntoIter};
use std::rc::Rc;

use foldhash::fast::RandomState;

/// Bytes at a cookie's end that lead to its entry; they belong to the seal's authentication tag, so they are spread evenly.
const TAG: usize = 16;
/// How many forgotten entries are given back for each that is kept: enough to be through before the next generation is forgotten.
const GIVEN_BACK: usize = 2;

/// Opened sessions by their cookie.
#[derive(Debug)]
pub struct Table<T> {
    half: usize,
    epoch: Cell<u64>,
    generations: RefCell<Generations<T>>,
}

#[derive(Debug)]
struct Generations<T> {
    young: Generation<T>,
    old: Generation<T>,
    /// What was forgotten and not given back yet.
    forgotten: Vec<IntoIter<Tag, Entry<T>>>,
}

/// Entries by their tag. Nobody but us puts one in, so the hash need not withstand whoever chooses keys.
type Generation<T> = HashMap<Tag, Entry<T>, RandomState>;
type Tag = [u8; TAG];

#[derive(Debug)]
struct Entry<T> {
    host: Box<str>,
    cookie: Box<[u8]>,
    opened: Rc<T>,
}

impl<T> Entry<T> {
    fn is_for(&self, host: &str, cookie: &[u8]) -> bool {
        *self.cookie == *cookie && *self.host == *host
    }
}

impl<T> Table<T> {
    /// A table that finds at most `capacity` sessions.
    pub fn new(capacity: usize) -> Self {
        Self { half: (capacity / 2).max(1), epoch: Cell::new(0), generations: RefCell::default() }
    }

    /// Forgets everything when `epoch`, the keyring's own, is another than at the last call. Ask before each [`Table::find`].
    pub fn meet(&self, epoch: u64) {
        if self.epoch.replace(epoch) != epoch {
            let mut generations = self.generations.borrow_mut();
            let Generations { young, old, forgotten } = &mut *generations;
            forgotten.extend([young, old].map(|generation| std::mem::take(generation).into_iter()));
        }
    }

    /// What `cookie` holds at `host`, if it was opened here before.
    pub fn find(&self, host: &str, cookie: &[u8]) -> Option<Rc<T>> {
        let tag = tag(cookie)?;
        let mut generations = self.generations.borrow_mut();
        if let Some(entry) = generations.young.get(&tag) {
            return entry.is_for(host, cookie).then(|| Rc::clone(&entry.opened));
        }
        let entry = generations.old.remove(&tag)?;
        if !entry.is_for(host, cookie) {
            return None;
        }
        let opened = Rc::clone(&entry.opened);
        self.insert(&mut generations, tag, entry);
        Some(opened)
    }

    /// Keeps what `cookie` holds at `host`.
    pub fn keep(&self, host: &str, cookie: &[u8], opened: Rc<T>) {
        if let Some(tag) = tag(cookie) {
            let entry = Entry { host: host.into(), cookie: cookie.into(), opened };
            self.insert(&mut self.generations.borrow_mut(), tag, entry);
        }
    }

    fn insert(&self, generations: &mut Generations<T>, tag: Tag, entry: Entry<T>) {
        if generations.young.len() >= self.half {
            let room = HashMap::with_capacity_and_hasher(self.half, RandomState::default());
            let aged = std::mem::replace(&mut generations.young, room);
            let forgotten = std::mem::replace(&mut generations.old, aged);
            generations.forgotten.push(forgotten.into_iter());
        }
        generations.young.insert(tag, entry);
        generations.give_back();
    }
}

impl<T> Generations<T> {
    fn give_back(&mut self) {
        for _ in 0..GIVEN_BACK {
            let Some(last) = self.forgotten.last_mut() else { return };
            if last.next().is_none() {
                self.forgotten.pop();
            }
        }
    }
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), forgotten: Vec::new() }
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
        let generations = table.generations.borrow();
        assert!(generations.young.len() + generations.old.len() <= 8);
        assert!(table.half == 4);
    }

    #[test]
    fn what_is_forgotten_is_given_back_a_little_at_a_time() {
        const HALF: usize = 50;
        let table = Table::new(2 * HALF);
        let sessions: Vec<Rc<usize>> = (0..10 * HALF).map(Rc::new).collect();
        let held = || sessions.iter().filter(|session| Rc::strong_count(session) > 1).count();
        let mut before = 0;
        for (number, session) in sessions.iter().enumerate() {
            table.keep("a", &cookie(number), Rc::clone(session));
            assert!(before <= held() + GIVEN_BACK, "after {number}");
            assert!(held() <= 3 * HALF, "after {number}");
            before = held();
        }
        table.meet(1);
        assert!(sessions.iter().enumerate().all(|(number, _)| table.find("a", &cookie(number)).is_none()));
        assert!(held() > HALF, "they are found no more, and not all dropped yet");
        for (number, session) in sessions.iter().enumerate().take(2 * HALF) {
            table.keep("a", &cookie(number), Rc::clone(session));
        }
        assert!(held() <= 2 * HALF, "by now all of them are");
    }
}
