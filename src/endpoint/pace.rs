//! How often one address may ask for what needs no proof.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// The most that one address gets within [`SPAN`]. An office behind one address has fewer sign-outs than that.
const ALLOWED: u32 = 120;
const SPAN: Duration = Duration::from_mins(1);
/// The most addresses that are counted.
const ADDRESSES: u64 = 10_000;

/// Counts what addresses ask for. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Pace {
    counts: Cache<Option<IpAddr>, Arc<AtomicU32>>,
}

impl Default for Pace {
    fn default() -> Self {
        let counts =
            Cache::builder().max_capacity(ADDRESSES).eviction_policy(EvictionPolicy::lru()).time_to_live(SPAN).build();
        Self { counts }
    }
}

impl Pace {
    /// Whether this address may ask once more. Those of which none is known share one count.
    pub fn admits(&self, client: Option<IpAddr>) -> bool {
        let count = self.counts.get_with(client, Arc::default);
        count.fetch_add(1, Ordering::Relaxed) < ALLOWED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_count() {
        let pace = Pace::default();
        let (one, two) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        assert_eq!((0..ALLOWED * 2).filter(|_| pace.admits(one)).count(), usize::try_from(ALLOWED).unwrap());
        assert!(pace.admits(two) && pace.admits(None));
    }
}
