//! How one address of an upstream is doing: what its own answers tell, and what a question every few seconds tells.
//!
//! 1. An address that faults several times in a row is left out for a while, and for longer the sooner it happens again.
//! 2. An address that fails several health checks in a row is out until it passes several.
//! 3. Neither ever stops a request by itself: when all addresses are out, all are used ([`super::balance`]).
//!
//! One state is shared by all workers and the back office. A request that goes well reads it and writes nothing.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::clock;

/// How often the time that an address is left out doubles.
const MOST_DOUBLINGS: u32 = 4;

/// When an address is left out for its faults.
#[derive(Clone, Copy, Debug)]
pub struct Ejection {
    /// Faults in a row after which it is; never when absent.
    pub after: Option<NonZeroU32>,
    /// How long the first time.
    pub first: Duration,
}

/// How one address is doing.
#[derive(Debug)]
pub struct AddressHealth {
    /// How logs name it: `upstream at address`.
    label: Arc<str>,
    ejection: Ejection,
    began: Instant,
    /// Failed its checks.
    unhealthy: AtomicBool,
    /// Faults in a row.
    faults: AtomicU32,
    /// How often the time doubled.
    doublings: AtomicU32,
    /// Milliseconds since `began` until when it is left out; 0 when it never was.
    out_until: AtomicU64,
}

impl AddressHealth {
    /// An address of which nothing bad is known.
    pub fn new(label: Arc<str>, ejection: Ejection) -> Self {
        Self {
            label,
            ejection,
            began: clock::instant(),
            unhealthy: AtomicBool::new(false),
            faults: AtomicU32::new(0),
            doublings: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
        }
    }

    /// How logs name it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it should get requests.
    pub fn is_in(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed) && {
            let until = self.out_until.load(Ordering::Relaxed);
            until == 0 || self.now() >= until
        }
    }

    /// It answered, whatever it answered.
    pub fn answered(&self) {
        if self.faults.load(Ordering::Relaxed) != 0 {
            self.faults.store(0, Ordering::Relaxed);
        }
    }

    /// It could not be connected to, or broke off.
    pub fn faulted(&self) {
        self.faulted_at(self.now());
    }

    fn faulted_at(&self, now: u64) {
        let faults = self.faults.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let Some(after) = self.ejection.after else { return };
        let until = self.out_until.load(Ordering::Relaxed);
        if faults < after.get() || now < until {
            return;
        }
        // One that did well for as long as it was left out last begins anew.
        let doublings = self.doublings.load(Ordering::Relaxed);
        let again = until != 0 && now <= until.saturating_add(self.span(doublings));
        let doublings = if again { (doublings + 1).min(MOST_DOUBLINGS) } else { 0 };
        let span = self.span(doublings);
        // Whoever is first leaves it out; the others saw the same faults.
        if self.out_until.compare_exchange(until, now + span.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.doublings.store(doublings, Ordering::Relaxed);
            tracing::warn!(
                address = &*self.label,
                faults,
                milliseconds = span,
                "an address is left out for its faults"
            );
        }
    }

    /// What the health checks say of it from now on.
    pub fn set_healthy(&self, healthy: bool) {
        self.unhealthy.store(!healthy, Ordering::Relaxed);
    }

    fn span(&self, doublings: u32) -> u64 {
        let first = u64::try_from(self.ejection.first.as_millis()).unwrap_or(u64::MAX);
        first.saturating_mul(1 << doublings.min(MOST_DOUBLINGS))
    }

    fn now(&self) -> u64 {
        u64::try_from(clock::instant().duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(after: u32) -> AddressHealth {
        let ejection = Ejection { after: NonZeroU32::new(after), first: Duration::from_millis(100) };
        AddressHealth::new(Arc::from("app at a"), ejection)
    }

    fn out_until(health: &AddressHealth) -> u64 {
        health.out_until.load(Ordering::Relaxed)
    }

    #[test]
    fn faults_count_in_a_row_only() {
        let health = health(2);
        health.faulted();
        health.answered();
        health.faulted();
        assert!(health.is_in());
        health.faulted();
        assert!(!health.is_in());
    }

    #[test]
    fn the_time_grows_while_it_keeps_happening_and_only_then() {
        let health = health(1);
        health.faulted_at(10);
        assert_eq!(out_until(&health), 110);
        health.faulted_at(50);
        assert_eq!(out_until(&health), 110, "a late answer of one that is out already changes nothing");
        let mut until = 110;
        for span in [200, 400, 800, 1600, 1600] {
            health.faulted_at(until);
            assert_eq!(out_until(&health), until + span);
            until += span;
        }
        health.faulted_at(until + 1601);
        assert_eq!(out_until(&health), until + 1601 + 100, "it did well for long enough");
    }

    #[test]
    fn it_is_never_left_out_where_the_config_says_so() {
        let health = health(0);
        for _ in 0..1000 {
            health.faulted();
        }
        assert!(health.is_in());
        health.set_healthy(false);
        assert!(!health.is_in(), "checks are another matter");
        health.set_healthy(true);
        assert!(health.is_in());
    }
}
