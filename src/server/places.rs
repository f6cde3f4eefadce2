//! How many connections there may be: in all, and from one address, counted over all workers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Parts of the count, so that two workers seldom want the same one.
const PARTS: usize = 64;

/// The places of the whole process.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    per_address: usize,
    exempt: Vec<IpNet>,
    parts: Vec<Mutex<HashMap<IpAddr, usize>>>,
    refused: AtomicU64,
    /// Peers without the PROXY protocol's leave to speak, and those that did not speak it.
    strangers: AtomicU64,
    unannounced: AtomicU64,
    shortage: watch::Sender<()>,
}

/// A connection's place among all.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A connection's place among those of its address.
#[derive(Debug)]
pub struct Share {
    counted: Option<(Arc<Places>, IpAddr)>,
}

impl Places {
    /// `all` connections, of which `per_address` may come from one address; those in `exempt` are not counted, since many visitors
    /// come from there.
    pub fn new(all: usize, per_address: usize, exempt: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            per_address,
            exempt,
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            refused: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            unannounced: AtomicU64::new(0),
            shortage: watch::Sender::new(()),
        })
    }

    /// A place among all, if one is free.
    pub fn try_take(&self) -> Option<Place> {
        Arc::clone(&self.all).try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// A place among all, once one is free.
    pub async fn take(&self) -> Option<Place> {
        Arc::clone(&self.all).acquire_owned().await.ok().map(|permit| Place { _permit: permit })
    }

    /// Asks every worker to make room, because one that has a connection to place can't make any itself.
    pub fn ask_for_room(&self) {
        self.shortage.send_replace(());
    }

    /// Hears when room is asked for.
    pub fn shortage(&self) -> watch::Receiver<()> {
        self.shortage.subscribe()
    }

    /// A place among those of `address`; `None` when it has too many already.
    pub fn share(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Share> {
        let address = address.map(|address| address.to_canonical());
        let Some(address) = address.filter(|address| !self.exempt.iter().any(|network| network.contains(address)))
        else {
            return Some(Share { counted: None });
        };
        let key = household(address);
        let mut part = self.part(key).lock().unwrap_or_else(PoisonError::into_inner);
        let count = part.entry(key).or_insert(0);
        if *count >= self.per_address {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        drop(part);
        Some(Share { counted: Some((Arc::clone(self), key)) })
    }

    /// How many were refused since this was last asked.
    pub fn refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Notes a peer that may send no PROXY protocol header, where one is needed.
    pub fn note_stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a peer that began with something else than a PROXY protocol header.
    pub fn note_unannounced(&self) {
        self.unannounced.fetch_add(1, Ordering::Relaxed);
    }

    /// How many of either were noted since this was last asked.
    pub fn without_introduction(&self) -> (u64, u64) {
        (self.strangers.swap(0, Ordering::Relaxed), self.unannounced.swap(0, Ordering::Relaxed))
    }

    fn part(&self, key: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        let mixed = match key {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let part = usize::try_from(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58).unwrap_or(0);
        // The six highest bits are less than the number of parts.
        #[allow(clippy::indexing_slicing, reason = "64 parts, and a number of six bits")]
        &self.parts[part]
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((places, key)) = self.counted.take() else { return };
        let mut part = places.part(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = part.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                part.remove(&key);
            }
        }
    }
}

/// One IPv4 address, or the network of 64 bits that one customer is given at least (RFC 6177).
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let places = Places::new(10, 2, vec!["10.0.0.0/8".parse().unwrap()]);
        let (one, two) = (places.share(address("192.0.2.1")), places.share(address("::ffff:192.0.2.1")));
        assert!(one.is_some() && two.is_some());
        assert!(places.share(address("192.0.2.1")).is_none());
        assert!(places.share(address("192.0.2.2")).is_some(), "the others notice nothing");
        assert_eq!((places.refused(), places.refused()), (1, 0));
        drop(one);
        assert!(places.share(address("192.0.2.1")).is_some());
        drop(two);
        assert!(places.parts.iter().all(|part| part.lock().unwrap().is_empty()), "what is gone takes no memory");
    }

    #[test]
    fn a_customer_with_many_addresses_is_one() {
        let places = Places::new(10, 1, Vec::new());
        let _one = places.share(address("2001:db8::1")).unwrap();
        assert!(places.share(address("2001:db8::ffff:1")).is_none());
        assert!(places.share(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn trusted_proxies_and_unix_sockets_are_not_counted() {
        let places = Places::new(10, 1, vec!["10.0.0.0/8".parse().unwrap()]);
        let many: Vec<Option<Share>> = (0..5).map(|_| places.share(address("10.1.2.3"))).collect();
        assert!(many.iter().all(Option::is_some));
        let many: Vec<Option<Share>> = (0..5).map(|_| places.share(None)).collect();
        assert!(many.iter().all(Option::is_some));
    }

    #[tokio::test]
    async fn all_of_them_are_bounded() {
        let places = Places::new(1, 9, Vec::new());
        let first = places.try_take();
        assert!(first.is_some() && places.try_take().is_none());
        drop(first);
        assert!(places.take().await.is_some());
    }
}
