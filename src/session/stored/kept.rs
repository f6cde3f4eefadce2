//! Opened sessions of the store that this process has seen lately: what spares a request the way to the store, and what goes on while
//! the store is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::Peek;
use crate::base::clock::Timestamp;
use crate::session::model::Session;
use crate::session::store::{RecordKey, Version};

/// The most that opened sessions take, in bytes.
const WEIGHT: u64 = 64 * 1024 * 1024;

/// A session as it was read or written.
#[derive(Debug)]
pub struct Kept {
    session: Arc<Session>,
    /// The writing of its record that this is.
    version: Version,
    /// When the store last said that this is what it has.
    read: AtomicU64,
    /// What [`crate::session::store::Store::interruptions`] was then.
    seen: AtomicU64,
    /// Another gateway has written a newer one.
    outdated: AtomicBool,
    /// When somebody last set out to read it anew.
    claimed: AtomicU64,
    weight: u32,
}

/// What the store said a moment ago of a record that can't be kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Gone,
    Unusable,
}

/// How long such a word counts: long enough for the requests that waited for it, too short for anybody to notice.
const VERDICT: Duration = Duration::from_secs(1);

/// The sessions that were seen lately.
#[derive(Clone, Debug)]
pub(super) struct KeptSessions {
    sessions: Cache<RecordKey, Arc<Kept>>,
    verdicts: Cache<RecordKey, Verdict>,
    /// Records that were taken away here, which the store may not have heard yet.
    removed: Cache<RecordKey, ()>,
    fresh_for: Duration,
    usable_for: Duration,
}

impl Kept {
    pub(super) fn new(session: Arc<Session>, version: Version, bytes: usize, now: Timestamp, seen: u64) -> Self {
        // Opened, a session takes about twice what it takes packed, and never less than a few hundred bytes.
        let weight = u32::try_from(bytes.saturating_mul(2).saturating_add(1024)).unwrap_or(u32::MAX);
        Self {
            session,
            version,
            read: AtomicU64::new(now.seconds()),
            seen: AtomicU64::new(seen),
            outdated: AtomicBool::new(false),
            claimed: AtomicU64::new(0),
            weight,
        }
    }

    /// The same, last used later.
    pub(super) fn used(&self, session: Session) -> Self {
        Self {
            session: Arc::new(session),
            version: self.version,
            read: AtomicU64::new(self.read.load(Ordering::Acquire)),
            seen: AtomicU64::new(self.seen()),
            outdated: AtomicBool::new(self.is_outdated()),
            claimed: AtomicU64::new(0),
            weight: self.weight,
        }
    }

    /// The session.
    pub const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The writing of its record that this is.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// When the store last said that this is what it has.
    pub fn read(&self) -> Timestamp {
        Timestamp::from_seconds(self.read.load(Ordering::Acquire))
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Whether another gateway has written a newer one: to be read anew before it is used, if that can be.
    pub fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    /// Whether the caller is the first of this second to set out to read it anew.
    pub(super) fn claim(&self, now: Timestamp) -> bool {
        self.claimed.fetch_max(now.seconds(), Ordering::AcqRel) < now.seconds()
    }

    /// The store has said once more that this is what it has.
    pub(super) fn confirm(&self, now: Timestamp, seen: u64) {
        self.read.fetch_max(now.seconds(), Ordering::AcqRel);
        self.seen.store(seen, Ordering::Release);
        self.outdated.store(false, Ordering::Release);
    }
}

impl KeptSessions {
    pub(super) fn new(fresh_for: Duration, keep_for: Duration, lifetime: Duration) -> Self {
        let usable_for = fresh_for.saturating_add(keep_for);
        let sessions = Cache::builder()
            .max_capacity(WEIGHT)
            .weigher(|_, kept: &Arc<Kept>| kept.weight)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(usable_for.saturating_add(Duration::from_secs(1)))
            .build();
        let verdicts = Cache::builder().max_capacity(10_000).time_to_live(VERDICT).build();
        let removed = Cache::builder().max_capacity(100_000).time_to_live(lifetime).build();
        Self { sessions, verdicts, removed, fresh_for, usable_for }
    }

    /// What the store said of a record that is not kept.
    pub(super) fn verdict(&self, record: &RecordKey) -> Peek {
        if self.removed.contains_key(record) {
            return Peek::Gone;
        }
        match self.verdicts.get(record) {
            Some(Verdict::Gone) => Peek::Gone,
            Some(Verdict::Unusable) => Peek::Unusable,
            None => Peek::Unknown,
        }
    }

    pub(super) fn note(&self, record: RecordKey, verdict: Verdict) {
        self.verdicts.insert(record, verdict);
    }

    /// When it is to be read anew.
    pub(super) fn due(&self, kept: &Kept) -> Timestamp {
        if kept.is_outdated() { kept.read() } else { kept.read().after(self.fresh_for) }
    }

    /// What is kept of a record and may still be used, though the store were away.
    pub(super) fn usable(&self, record: &RecordKey, now: Timestamp) -> Option<Arc<Kept>> {
        self.sessions.get(record).filter(|kept| now.since(kept.read()) <= self.usable_for)
    }

    /// Whether it need not be read anew yet.
    pub(super) fn is_fresh(&self, kept: &Kept, now: Timestamp) -> bool {
        !kept.is_outdated() && now.since(kept.read()) < self.fresh_for
    }

    pub(super) fn insert(&self, record: RecordKey, kept: Arc<Kept>) {
        self.sessions.insert(record, kept);
    }

    /// The record was taken away, whatever the store says of it from now on.
    pub(super) fn remove(&self, record: &RecordKey) {
        self.removed.insert(*record, ());
    }

    pub(super) fn is_removed(&self, record: &RecordKey) -> bool {
        self.removed.contains_key(record)
    }

    pub(super) fn forget(&self, record: &RecordKey) {
        self.sessions.invalidate(record);
    }

    pub(super) fn holds(&self, record: &RecordKey) -> bool {
        self.sessions.contains_key(record)
    }

    /// Another gateway has written `version` of a record; whether that is news here.
    pub(super) fn outdate(&self, record: &RecordKey, version: Version) -> bool {
        let kept = self.sessions.get(record).filter(|kept| kept.version != version);
        kept.is_some_and(|kept| !kept.outdated.swap(true, Ordering::AcqRel))
    }
}
