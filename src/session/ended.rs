//! Sessions that were ended before their time: a sealed cookie can't be taken back, so its id is remembered until it would have ended.
//!
//! The memory is this process's alone. A gateway beside this one, or this one after a restart, knows nothing of it: there a copied cookie
//! is good until its own lifetimes end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

/// The most ended sessions that are remembered; past that the oldest are forgotten first.
const CAPACITY: u64 = 1_000_000;

/// Ids of sessions that were ended before their time. Clones share one memory.
#[derive(Clone, Debug)]
pub struct EndedSessions {
    ids: Cache<[u8; 16], ()>,
    epoch: Arc<AtomicU64>,
}

impl EndedSessions {
    /// An empty memory. No session lives longer than `lifetime`, so nothing is remembered for longer.
    pub fn new(lifetime: Duration) -> Self {
        let ids = Cache::builder().max_capacity(CAPACITY).time_to_live(lifetime).build();
        Self { ids, epoch: Arc::default() }
    }

    /// Ends the session of this id.
    pub fn end(&self, id: [u8; 16]) {
        self.ids.insert(id, ());
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether the session of this id was ended.
    pub fn holds(&self, id: &[u8; 16]) -> bool {
        self.epoch() > 0 && self.ids.contains_key(id)
    }

    /// Grows with every session that ends: who has asked at this epoch need not ask again.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_session_is_known_to_every_clone() {
        let ended = EndedSessions::new(Duration::from_mins(1));
        let elsewhere = ended.clone();
        assert!(!elsewhere.holds(&[1; 16]));
        let before = elsewhere.epoch();
        ended.end([1; 16]);
        assert!(elsewhere.epoch() > before);
        assert!(elsewhere.holds(&[1; 16]) && !elsewhere.holds(&[2; 16]));
    }
}
