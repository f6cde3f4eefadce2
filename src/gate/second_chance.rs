//! What a worker keeps at hand of what cost it something to find out, within bounds: a second-chance cache.
//!
//! 1. Entries stand in a queue in the order they came. When there is no room, the first one goes, but for those that were found since they
//!    were last looked at: these are sent to the end of the queue once more. So finding one costs a mark, and nothing is moved.
//! 2. What is forgotten is found no more from then on, and given back a little at a time: a million entries are never dropped in one go
//!    while requests wait.
//! 3. Only what was opened or verified here is put in. So no visitor chooses what keys there are, and the hash need not withstand one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap, IntoIter};
use std::hash::Hash;

use foldhash::fast::RandomState;

/// How many entries at the head of the queue get a second chance before the next one goes, found or not: a bound on what putting in one
/// more costs.
const CHANCES: usize = 8;
/// How many forgotten entries are given back for each that is put in.
const GIVEN_BACK: usize = 2;

/// Entries, no more than there is room for.
#[derive(Debug)]
pub(super) struct SecondChance<K, V> {
    capacity: usize,
    entries: HashMap<K, Kept<V>, RandomState>,
    /// The keys of all entries, each once; the first is the next that goes.
    queue: VecDeque<K>,
    /// What was forgotten and not given back yet.
    forgotten: Vec<IntoIter<K, Kept<V>>>,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    /// Whether it was found since the queue last brought it to the front.
    found: Cell<bool>,
}

impl<K: Copy + Eq + Hash, V> SecondChance<K, V> {
    /// Room for so many entries, one at the least.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: HashMap::default(), queue: VecDeque::new(), forgotten: Vec::new() }
    }

    /// What `read` finds in the entry of `key`.
    pub(super) fn find<T>(&self, key: &K, read: impl Fn(&V) -> Option<T>) -> Option<T> {
        let kept = self.entries.get(key)?;
        let read = read(&kept.value)?;
        // A mark that is there is not written again: it would cost the line of memory that other marks are on.
        if !kept.found.get() {
            kept.found.set(true);
        }
        Some(read)
    }

    /// Puts an entry in, in place of that of the same key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.give_back();
        let kept = Kept { value, found: Cell::new(false) };
        match self.entries.entry(key) {
            Entry::Occupied(mut entry) => {
                entry.insert(kept);
            }
            Entry::Vacant(entry) => {
                entry.insert(kept);
                self.queue.push_back(key);
                if self.entries.len() > self.capacity {
                    self.make_room();
                }
            }
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.queue.clear();
        self.forgotten.push(std::mem::take(&mut self.entries).into_iter());
    }

    fn make_room(&mut self) {
        for chance in 0..=CHANCES {
            let Some(first) = self.queue.pop_front() else { return };
            let was_found = self.entries.get(&first).is_some_and(|kept| kept.found.take());
            if !was_found || chance == CHANCES {
                self.entries.remove(&first);
                return;
            }
            self.queue.push_back(first);
        }
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

    fn find<V: Clone>(entries: &SecondChance<usize, V>, key: usize) -> Option<V> {
        entries.find(&key, |value| Some(value.clone()))
    }

    #[test]
    fn they_stay_bounded_and_keep_what_is_used() {
        let mut entries = SecondChance::new(8);
        entries.insert(0, 0);
        for number in 1..100 {
            entries.insert(number, number);
            assert_eq!(find(&entries, 0), Some(0), "after {number}");
            assert!(entries.entries.len() <= 8 && entries.queue.len() == entries.entries.len(), "after {number}");
        }
        assert_eq!(find(&entries, 1), None);
        assert_eq!(entries.find(&99, |_| None::<i32>), None, "its reader made nothing of it");
    }

    #[test]
    fn there_is_room_for_as_many_as_it_says() {
        let mut entries = SecondChance::new(100);
        for round in 0..3 {
            for number in 0..100 {
                assert_eq!(find(&entries, number).is_some(), round > 0, "{number} in round {round}");
                entries.insert(number, number);
            }
        }
        // The one that nobody asked for since it was put in goes.
        (0..100).filter(|number| *number != 40).for_each(|number| assert!(find(&entries, number).is_some()));
        (100..110).for_each(|number| entries.insert(number, number));
        assert_eq!(find(&entries, 40), None);
    }

    #[test]
    fn what_everybody_uses_makes_room_within_its_bound() {
        let mut entries = SecondChance::new(1_000);
        for number in 0..1_000 {
            entries.insert(number, number);
            assert!(find(&entries, number).is_some());
        }
        entries.insert(1_000, 1_000);
        assert_eq!(entries.entries.len(), 1_000);
        let marked = entries.entries.values().filter(|kept| kept.found.get()).count();
        assert_eq!(marked, 1_000 - 1 - CHANCES, "no more were looked at");
        assert_eq!(find(&entries, 1_000), Some(1_000), "the newcomer is in");
    }

    #[test]
    fn an_entry_takes_the_place_of_that_of_its_key() {
        let mut entries = SecondChance::new(2);
        (0..10).for_each(|value| entries.insert(7, value));
        assert_eq!((find(&entries, 7), entries.queue.len()), (Some(9), 1));
    }

    #[test]
    fn what_is_forgotten_is_given_back_a_little_at_a_time() {
        const COUNT: usize = 100;
        let mut entries = SecondChance::new(COUNT);
        let values: Vec<Rc<usize>> = (0..COUNT).map(Rc::new).collect();
        let held = || values.iter().map(|value| Rc::strong_count(value) - 1).sum::<usize>();
        values.iter().enumerate().for_each(|(number, value)| entries.insert(number, Rc::clone(value)));
        assert_eq!(held(), COUNT);
        entries.forget();
        assert!((0..COUNT).all(|number| find(&entries, number).is_none()), "they are found no more");
        assert_eq!(held(), COUNT, "and not dropped yet");
        let mut before = held();
        for number in 0..COUNT {
            entries.insert(number, Rc::clone(&values[0]));
            assert!(before <= held() + GIVEN_BACK, "after {number}");
            before = held();
        }
        assert_eq!(held(), COUNT, "by now all of them are");
    }
}
