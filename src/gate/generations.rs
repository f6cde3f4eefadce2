//! What a worker keeps at hand of what cost it something to find out, within bounds.
//!
//! 1. When the young generation is full it becomes the old one, and the old one is forgotten. What is found in the old one is young again.
//! 2. What is forgotten is found no more from then on, and given back a little at a time: a million entries are never dropped in one go
//!    while requests wait.
//! 3. Only what was opened or verified here is put in. So no visitor chooses what keys there are, and the hash need not withstand one.

use std::collections::hash_map::{HashMap, IntoIter};
use std::hash::Hash;

use foldhash::fast::RandomState;

/// How many forgotten entries are given back for each that is put in: enough to be through before the next generation is forgotten.
const GIVEN_BACK: usize = 2;

/// Entries of two generations.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    half: usize,
    young: HashMap<K, V, RandomState>,
    old: HashMap<K, V, RandomState>,
    /// What was forgotten and not given back yet.
    forgotten: Vec<IntoIter<K, V>>,
}

impl<K: Copy + Eq + Hash, V> Generations<K, V> {
    /// Room for as many entries as can be found at once.
    pub(super) fn new(capacity: usize) -> Self {
        Self { half: (capacity / 2).max(1), young: HashMap::default(), old: HashMap::default(), forgotten: Vec::new() }
    }

    /// What `read` finds in the entry of `key`. An old one of which it makes nothing is gone.
    pub(super) fn find<T>(&mut self, key: &K, read: impl Fn(&V) -> Option<T>) -> Option<T> {
        if let Some(entry) = self.young.get(key) {
            return read(entry);
        }
        let entry = self.old.remove(key)?;
        let found = read(&entry)?;
        self.insert(*key, entry);
        Some(found)
    }

    /// Puts an entry in, in place of that of the same key.
    pub(super) fn insert(&mut self, key: K, entry: V) {
        if self.young.len() >= self.half {
            let room = HashMap::with_capacity_and_hasher(self.half, RandomState::default());
            let aged = std::mem::replace(&mut self.young, room);
            self.forgotten.push(std::mem::replace(&mut self.old, aged).into_iter());
        }
        self.young.insert(key, entry);
        self.give_back();
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        let Self { young, old, forgotten, .. } = self;
        forgotten.extend([young, old].map(|generation| std::mem::take(generation).into_iter()));
    }

    fn give_back(&mut self) {
        for _ in 0..GIVEN_BACK {
            let Some(last) = self.forgotten.last_mut() else { return };
            if last.next().is_none() {
                self.forgotten.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn they_stay_bounded_and_keep_what_is_used() {
        let mut entries = Generations::new(8);
        entries.insert(0, 0);
        for number in 1..100 {
            entries.insert(number, number);
            assert_eq!(entries.find(&0, |entry| Some(*entry)), Some(0), "after {number}");
            assert!(entries.young.len() + entries.old.len() <= 8, "after {number}");
        }
        assert_eq!(entries.find(&1, |entry| Some(*entry)), None);
        assert_eq!(entries.find(&99, |_| None::<i32>), None, "its reader made nothing of it");
    }

    #[test]
    fn what_is_forgotten_is_given_back_a_little_at_a_time() {
        const HALF: usize = 50;
        let mut entries = Generations::new(2 * HALF);
        let values: Vec<Rc<usize>> = (0..10 * HALF).map(Rc::new).collect();
        let held = || values.iter().filter(|value| Rc::strong_count(value) > 1).count();
        let mut before = 0;
        for (number, value) in values.iter().enumerate() {
            entries.insert(number, Rc::clone(value));
            assert!(before <= held() + GIVEN_BACK, "after {number}");
            assert!(held() <= 3 * HALF, "after {number}");
            before = held();
        }
        entries.forget();
        assert!((0..values.len()).all(|number| entries.find(&number, |value| Some(Rc::clone(value))).is_none()));
        assert!(held() > HALF, "they are found no more, and not all dropped yet");
        for (number, value) in values.iter().enumerate().take(2 * HALF) {
            entries.insert(number, Rc::clone(value));
        }
        assert!(held() <= 2 * HALF, "by now all of them are");
    }
}
