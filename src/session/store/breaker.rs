//! Spares requests the wait for a store that is away: after some faults in a row nobody asks for a moment, then one does for all.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::fault::StoreFault;
use crate::base::clock::instant;

/// Faults in a row after which the store is taken to be away. In a cluster one node may be gone and the others well.
const FAULTS: u32 = 3;
/// How long nobody asks then.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether the store is thought to be away, and since when it was last tried.
#[derive(Debug)]
pub(super) struct Breaker {
    began: Instant,
    open: AtomicBool,
    /// Faults since the store last answered.
    faults: AtomicU32,
    /// Until when nobody asks, in milliseconds since `began`.
    until: AtomicU64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { began: instant(), open: AtomicBool::new(false), faults: AtomicU32::new(0), until: AtomicU64::new(0) }
    }
}

impl Breaker {
    /// Whether the store is taken to be away.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Lets everyone through while the store is well, and one at a time, now and then, while it is away.
    ///
    /// # Errors
    /// At once, when the store is away and somebody else tried a moment ago.
    pub(super) fn admit(&self) -> Result<(), StoreFault> {
        if !self.is_open() {
            return Ok(());
        }
        let now = self.now();
        let until = self.until.load(Ordering::Acquire);
        let next = now.saturating_add(millis(PAUSE));
        if now >= until && self.until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Ok(());
        }
        Err(StoreFault::away("it was away a moment ago"))
    }

    /// Notes a fault; `true` when the store is taken to be away from now on.
    pub(super) fn failed(&self) -> bool {
        if !self.is_open() && self.faults.fetch_add(1, Ordering::AcqRel) + 1 < FAULTS {
            return false;
        }
        self.until.store(self.now().saturating_add(millis(PAUSE)), Ordering::Release);
        !self.open.swap(true, Ordering::AcqRel)
    }

    /// Notes that the store answered; `true` when it was away before.
    pub(super) fn succeeded(&self) -> bool {
        // Read before it is written: all is well most of the time, and a write would have the cores pass it around.
        if self.faults.load(Ordering::Acquire) > 0 {
            self.faults.store(0, Ordering::Release);
        }
        self.is_open() && self.open.swap(false, Ordering::AcqRel)
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tries_for_all_while_the_store_is_away() {
        let breaker = Breaker::default();
        assert!(breaker.admit().is_ok() && !breaker.succeeded());
        assert!(!breaker.failed() && !breaker.failed() && !breaker.succeeded(), "a hiccup is nothing");
        assert!(!breaker.failed() && !breaker.failed() && breaker.admit().is_ok());
        assert!(breaker.failed(), "the third in a row is news");
        assert!(!breaker.failed());
        assert!(breaker.is_open() && breaker.admit().is_err(), "nobody waits for a store that was away a moment ago");
        breaker.until.store(0, Ordering::Release);
        assert!(breaker.admit().is_ok(), "one tries");
        assert!(breaker.admit().is_err(), "and only one");
        assert!(breaker.succeeded(), "that it is back is news");
        assert!(!breaker.succeeded() && breaker.admit().is_ok() && breaker.admit().is_ok());
    }
}
