//! What a worker keeps at hand of what cost it something to find out, within bounds: a second-chance cache with a short queue for
//! newcomers (as 2Q and S3-FIFO have).
//!
//! 1. Entries stand in a queue in the order they came. When there is no room, the first one goes, but for those that were found since they
//!    were last looked at: these are sent to the end of the queue once more. So finding one costs a mark, and nothing is moved.
//! 2. When everything is taken, a newcomer has to be found once more while it stands among the latest few, or to come again soon after it
//!    went, before another one makes room for it. So those who come once only push nobody out who comes often, and the memory of one is
//!    used for the next while it is still in the processor's cache, which is a quarter of what opening a session anew costs.
//! 3. What is forgotten is found no more from then on, and given back a little at a time: a million entries are never dropped in one go
//!    while requests wait.
//! 4. Only what was opened or verified here is put in. So no visitor chooses what keys there are, and the hash need not withstand one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap, IntoIter};
use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;

/// How many entries at the head of the queue get a second chance before the next one goes, found or not: a bound on what putting in one
/// more costs.
const CHANCES: usize = 8;
/// How many forgotten entries are given back for each that is put in.
const GIVEN_BACK: usize = 2;
/// How many newcomers there are at the most when everything is taken. A session takes some 3 KiB, so this many of them stay in a core's
/// own cache, and yet all that one page asks for at once is asked within the time of so many.
const NEWCOMERS: usize = 128;
/// One in so many places is a newcomer's, where there are few.
const NEWCOMERS_SHARE: usize = 8;

/// Entries, no more than there is room for.
#[derive(Debug)]
pub(super) struct SecondChance<K, V> {
    capacity: usize,
    entries: HashMap<K, Kept<V>, RandomState>,
    /// The keys of the latest entries, each once, in the order they came.
    newcomers: VecDeque<K>,
    /// The keys of all other entries, each once; the first is the next that goes.
    queue: VecDeque<K>,
    gone: Gone,
    /// What was forgotten and not given back yet.
    forgotten: Vec<IntoIter<K, Kept<V>>>,
}

/// Which newcomers went not long ago: a few bits of the hash of each, where later ones take the place of earlier ones. It may take one
/// for another, which then only stays a little longer than it should.
#[derive(Debug, Default)]
struct Gone(Box<[u32]>);

impl Gone {
    /// Notes the one with this hash down. `room` is how many are remembered at the most.
    fn note(&mut self, hash: u64, room: usize) {
        if self.0.is_empty() {
            self.0 = vec![0; room].into();
        }
        let (place, mark) = self.place(hash);
        if let Some(slot) = self.0.get_mut(place) {
            *slot = mark;
        }
    }

    /// Whether the one with this hash is remembered; it is not any more then.
    fn take(&mut self, hash: u64) -> bool {
        let (place, mark) = self.place(hash);
        self.0.get_mut(place).is_some_and(|slot| *slot == mark && std::mem::take(slot) == mark)
    }

    fn place(&self, hash: u64) -> (usize, u32) {
        let [a, b, c, d, mark @ ..] = hash.to_be_bytes();
        let high = u64::from(u32::from_be_bytes([a, b, c, d]));
        let place = (high * self.0.len() as u64) >> 32;
        // No mark is that of an empty place.
        (usize::try_from(place).unwrap_or_default(), u32::from_be_bytes(mark) | 1)
    }
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
        Self {
            capacity: capacity.max(1),
            entries: HashMap::default(),
            newcomers: VecDeque::new(),
            queue: VecDeque::new(),
            gone: Gone::default(),
            forgotten: Vec::new(),
        }
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
                self.admit(key);
            }
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.newcomers.clear();
        self.queue.clear();
        self.gone = Gone::default();
        self.forgotten.push(std::mem::take(&mut self.entries).into_iter());
    }

    /// Gives a new entry its place in a queue, and makes room for it.
    fn admit(&mut self, key: K) {
        if self.gone.take(self.entries.hasher().hash_one(key)) {
            self.queue.push_back(key);
        } else {
            self.newcomers.push_back(key);
        }
        let is_full = self.entries.len() > self.capacity;
        if self.newcomers.len() > NEWCOMERS.min(self.capacity / NEWCOMERS_SHARE).max(1)
            && let Some(first) = self.newcomers.pop_front()
        {
            let was_found = self.entries.get(&first).is_some_and(|kept| kept.found.get());
            if is_full && !was_found {
                self.entries.remove(&first);
                self.gone.note(self.entries.hasher().hash_one(first), self.capacity);
                return;
            }
            self.queue.push_back(first);
        }
        if is_full {
            self.make_room();
        }
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
            assert!(entries.entries.len() <= 8, "after {number}");
            assert_eq!(entries.newcomers.len() + entries.queue.len(), entries.entries.len(), "after {number}");
        }
        assert_eq!(find(&entries, 50), None);
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
    fn those_who_come_once_push_nobody_out() {
        let mut entries = SecondChance::new(1_000);
        // Nobody was found yet, and still they stay: there was room when they came.
        (0..1_000).for_each(|number| entries.insert(number, number));
        (1_000..50_000).for_each(|number| entries.insert(number, number));
        assert!((0..1_000 - NEWCOMERS).all(|number| find(&entries, number).is_some()));
        assert_eq!(entries.entries.len(), 1_000);
        let latest = (0..50_000).rev().take_while(|number| find(&entries, *number).is_some()).count();
        assert_eq!(latest, 1_000 / NEWCOMERS_SHARE, "the latest are at hand");
    }

    #[test]
    fn a_newcomer_stays_that_is_found_or_comes_again() {
        let mut entries = SecondChance::new(1_000);
        (0..2_000).for_each(|number| entries.insert(number, number));
        entries.insert(5_000, 5_000);
        assert!(find(&entries, 5_000).is_some());
        let again = 6_000..6_050;
        let found =
            |entries: &SecondChance<usize, usize>| again.clone().filter(|key| find(entries, *key).is_some()).count();
        again.clone().for_each(|number| entries.insert(number, number));
        (10_000..10_200).for_each(|number| entries.insert(number, number));
        assert!(find(&entries, 5_000).is_some(), "it was found in time");
        assert_eq!(found(&entries), 0, "they were not");
        again.clone().for_each(|number| entries.insert(number, number));
        (10_200..10_800).for_each(|number| entries.insert(number, number));
        // Of one in ten or so, what was remembered has made room for a later one.
        assert!(found(&entries) > 25, "they came again: {}", found(&entries));
        assert_eq!(entries.entries.len(), 1_000);
        entries.forget();
        entries.insert(10_100, 0);
        assert_eq!(entries.newcomers.len(), 1, "nobody remembers who went before");
    }

    #[test]
    fn the_smallest_ones_keep_the_latest() {
        for capacity in 0..20 {
            let mut entries = SecondChance::new(capacity);
            for number in 0..100 {
                entries.insert(number, number);
                assert!(find(&entries, number).is_some(), "{number} of {capacity}");
                assert!(entries.entries.len() <= capacity.max(1), "{number} of {capacity}");
            }
        }
    }

    #[test]
    fn an_entry_takes_the_place_of_that_of_its_key() {
        let mut entries = SecondChance::new(2);
        (0..10).for_each(|value| entries.insert(7, value));
        assert_eq!((find(&entries, 7), entries.newcomers.len() + entries.queue.len()), (Some(9), 1));
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
