//! Where sessions live outside the browser: one small interface over Redis or Valkey, `SQLite` and `PostgreSQL`.
//!
//! All of it waits for a network or a disk, so it runs in the back office: a worker sends a future there and awaits it.
//!
//! 1. A fault is never taken for "not there": whoever asks gets [`StoreFault`], and leaves the session as it was.
//! 2. Nothing waits for longer than the configured bound, and nothing at all while the store is known to be away ([`breaker`]).
//! 3. What is stored tells a thief nothing: keys are hashes, values are sealed by whoever puts them here.
//! 4. What one gateway writes, every other one that shares the store can read, at once or after a failover of the store.
//! 5. Nothing is connected, opened or started before it is asked for.

mod breaker;
mod fault;
mod journal;
mod key;
mod postgres;
mod redis;
mod redis_link;
mod sqlite;
mod statements;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use self::fault::{StoreFault, StoreSetup};
pub use self::journal::{Channel, Cursor, Entries};
pub use self::key::RecordKey;

use self::breaker::Breaker;
use self::postgres::PostgresStore;
use self::redis::RedisStore;
use self::sqlite::SqliteStore;
use crate::base::random;
use crate::config::settings::{OutsideStore, StorePlace};

/// The most that one record may hold, in bytes: more than any session that can be encoded.
pub const MAX_RECORD: usize = 512 * 1024;

/// A store of records, locks and news. Clones share one.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    backend: Backend,
    breaker: Breaker,
    faults: AtomicU64,
    /// It is there, and takes nothing new.
    refuses: AtomicBool,
    timeout: Duration,
    name: &'static str,
}

#[derive(Debug)]
enum Backend {
    Redis(RedisStore),
    Sqlite(SqliteStore),
    Postgres(Box<PostgresStore>),
}

/// A record as it is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its value.
    pub bytes: Vec<u8>,
    /// Names this writing of it: another writing has another version.
    pub version: Version,
}

/// Names one writing of a record: drawn at random, so that no two are ever taken for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(u64);

/// What must be there for a record to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the record is new.
    Absent,
    /// This very writing of it.
    Version(Version),
}

/// What became of a writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The record is there, as this version.
    Written(Version),
    /// Something else is there than was expected; nothing was written. Read it, and decide anew.
    Conflict,
}

/// A lock that is held: by this holder alone, for as long as it was taken for, unless it is released before. A holder that dies holds
/// it no longer than that.
#[derive(Debug)]
pub struct Lock {
    name: RecordKey,
    holder: [u8; 16],
}

impl Version {
    /// Its bytes, for telling others of it.
    pub const fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The version of these bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// A version that no other writing has.
    fn draw() -> Result<Self, StoreFault> {
        // Zero is left out, and the top bit too: `PostgreSQL` and `SQLite` count with a sign.
        let bytes = random::bytes().map_err(|cause| StoreFault::away(cause.to_string()))?;
        Ok(Self((u64::from_be_bytes(bytes) >> 1).max(1)))
    }

    fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl Store {
    /// The store that `settings` describe, not connected yet. Reads the certificates that they name; touches no network. News are
    /// kept for `lifetime`, the longest that a session may last.
    ///
    /// # Errors
    /// When a certificate, a key or the address can't be used.
    pub fn new(settings: &OutsideStore, lifetime: Duration) -> Result<Self, StoreSetup> {
        let (backend, name) = match &settings.place {
            StorePlace::Redis(place) => (Backend::Redis(RedisStore::new(place, settings, lifetime)?), "redis"),
            StorePlace::Sqlite(path) => (Backend::Sqlite(SqliteStore::new(path, settings, lifetime)), "sqlite"),
            StorePlace::Postgres(place) => {
                (Backend::Postgres(Box::new(PostgresStore::new(place, settings, lifetime)?)), "postgres")
            }
        };
        let shared = Shared {
            backend,
            breaker: Breaker::default(),
            faults: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
            timeout: settings.timeout,
            name,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The record of `key`; `None` when the store is there and has none.
    ///
    /// # Errors
    /// When the store can't be asked, or what it has is no record. Says nothing of whether there is a record.
    pub async fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StoreFault> {
        self.guarded(Box::pin(async {
            match &self.shared.backend {
                Backend::Redis(redis) => redis.load(key).await,
                Backend::Sqlite(sqlite) => sqlite.load(key).await,
                Backend::Postgres(postgres) => postgres.load(key).await,
            }
        }))
        .await
    }

    /// Writes `bytes` as the record of `key`, to be there for `life`, if what is there is what is `expected`. With
    /// [`Expected::Absent`] it tells who came first, which is how something is done once over all gateways.
    ///
    /// # Errors
    /// When the store can't be asked. The record may have been written, or not.
    pub async fn save(
        &self,
        key: &RecordKey,
        bytes: &[u8],
        life: Duration,
        expected: Expected,
    ) -> Result<Saved, StoreFault> {
        if bytes.len() > MAX_RECORD {
            return Err(StoreFault::Unusable { what: "a record that is larger than any may be" });
        }
        let version = Version::draw()?;
        let written = self
            .adding(Box::pin(async {
                match &self.shared.backend {
                    Backend::Redis(redis) => redis.save(key, version, bytes, life, expected).await,
                    Backend::Sqlite(sqlite) => sqlite.save(key, version, bytes, life, expected).await,
                    Backend::Postgres(postgres) => postgres.save(key, version, bytes, life, expected).await,
                }
            }))
            .await?;
        Ok(if written { Saved::Written(version) } else { Saved::Conflict })
    }

    /// Takes the record of `key` away. One that is not there is no fault.
    ///
    /// # Errors
    /// When the store can't be asked. The record may be there still.
    pub async fn remove(&self, key: &RecordKey) -> Result<(), StoreFault> {
        self.guarded(Box::pin(async {
            match &self.shared.backend {
                Backend::Redis(redis) => redis.remove(key).await,
                Backend::Sqlite(sqlite) => sqlite.remove(key).await,
                Backend::Postgres(postgres) => postgres.remove(key).await,
            }
        }))
        .await
    }

    /// Takes the lock of this name for `life`; `None` when somebody else has it. It excludes others as long as the store keeps what it
    /// was told, which one that fails over may not: what must never happen twice needs [`Self::save`] with a version besides.
    ///
    /// # Errors
    /// When the store can't be asked. The lock may have been taken, and then ends with its life.
    pub async fn try_lock(&self, name: &RecordKey, life: Duration) -> Result<Option<Lock>, StoreFault> {
        let holder = random::bytes::<16>().map_err(|cause| StoreFault::away(cause.to_string()))?;
        let lock = Lock { name: *name, holder };
        Ok(self.lengthen(&lock, life).await?.then_some(lock))
    }

    /// Lets a lock live for `life` from now on, also one that has ended and that nobody else has taken. Whether the caller has it.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn lengthen(&self, lock: &Lock, life: Duration) -> Result<bool, StoreFault> {
        let Lock { name, holder } = lock;
        self.adding(Box::pin(async {
            match &self.shared.backend {
                Backend::Redis(redis) => redis.lock(name, holder, life).await,
                Backend::Sqlite(sqlite) => sqlite.lock(name, holder, life).await,
                Backend::Postgres(postgres) => postgres.lock(name, holder, life).await,
            }
        }))
        .await
    }

    /// Gives a lock back. One that has ended meanwhile, and that another holder has now, is left alone.
    ///
    /// # Errors
    /// When the store can't be asked; the lock ends by itself.
    pub async fn unlock(&self, lock: Lock) -> Result<(), StoreFault> {
        let Lock { name, holder } = lock;
        self.guarded(Box::pin(async {
            match &self.shared.backend {
                Backend::Redis(redis) => redis.unlock(&name, &holder).await,
                Backend::Sqlite(sqlite) => sqlite.unlock(&name, &holder).await,
                Backend::Postgres(postgres) => postgres.unlock(&name, &holder).await,
            }
        }))
        .await
    }

    /// Tells all gateways that share the store. They read it with [`Self::news`], those that start later included, for as long as the
    /// channel keeps what it is told. `entry` is a few bytes that tell a thief nothing, and reading it twice must do no harm.
    ///
    /// # Errors
    /// When the store can't be asked. The others may have been told, or not: tell them again.
    pub async fn tell(&self, channel: Channel, entry: &[u8]) -> Result<(), StoreFault> {
        self.adding(Box::pin(async {
            match &self.shared.backend {
                Backend::Redis(redis) => redis.tell(channel, entry).await,
                Backend::Sqlite(sqlite) => sqlite.tell(channel, entry).await,
                Backend::Postgres(postgres) => postgres.tell(channel, entry).await,
            }
        }))
        .await
    }

    /// What was told on `channel` after `cursor`, oldest first, and where to go on; from the beginning with [`Cursor::default`].
    /// What was told a moment before the cursor may come again, since a store may show it late.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn news(&self, channel: Channel, cursor: &Cursor) -> Result<Entries, StoreFault> {
        self.guarded(Box::pin(async {
            match &self.shared.backend {
                Backend::Redis(redis) => redis.news(channel, cursor).await,
                Backend::Sqlite(sqlite) => sqlite.news(channel, cursor).await,
                Backend::Postgres(postgres) => postgres.news(channel, cursor).await,
            }
        }))
        .await
    }

    /// Whether the entry is there still at which `cursor` stands. One that is not was kept for as long as the channel keeps any, or the store
    /// lost it, and then may count anew what it is told next.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn has(&self, channel: Channel, cursor: &Cursor) -> Result<bool, StoreFault> {
        self.guarded(Box::pin(async {
            match &self.shared.backend {
                Backend::Redis(redis) => redis.has(channel, cursor).await,
                Backend::Sqlite(sqlite) => sqlite.has(channel, cursor).await,
                Backend::Postgres(postgres) => postgres.has(channel, cursor).await,
            }
        }))
        .await
    }

    /// Takes away what has ended, where the store does not do so by itself. To be called now and then.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn tidy(&self) -> Result<(), StoreFault> {
        self.guarded(Box::pin(async {
            match &self.shared.backend {
                Backend::Redis(_) => Ok(()),
                Backend::Sqlite(sqlite) => sqlite.tidy().await,
                Backend::Postgres(postgres) => postgres.tidy().await,
            }
        }))
        .await
    }

    /// How often it was away, or was connected to anew, so far: what was read at the same number, it can't have lost since.
    pub fn interruptions(&self) -> u64 {
        let connections = match &self.shared.backend {
            Backend::Redis(redis) => redis.connections(),
            Backend::Sqlite(sqlite) => sqlite.replaced(),
            Backend::Postgres(_) => 0,
        };
        self.shared.faults.load(Ordering::Acquire).saturating_add(connections)
    }

    /// As [`Store::guarded`], where something new is left in the store; tells when it takes that again.
    async fn adding<T>(&self, work: impl Future<Output = Result<T, StoreFault>>) -> Result<T, StoreFault> {
        let result = self.guarded(work).await;
        let Shared { refuses, name, .. } = &*self.shared;
        // Read before it is written, since all is well most of the time.
        if result.is_ok() && refuses.load(Ordering::Acquire) && refuses.swap(false, Ordering::AcqRel) {
            tracing::info!(store = name, "the session store takes new sessions again");
        }
        result
    }

    /// Has something done within the bound, unless the store is known to be away, and learns from how it went.
    async fn guarded<T>(&self, work: impl Future<Output = Result<T, StoreFault>>) -> Result<T, StoreFault> {
        let shared = &*self.shared;
        shared.breaker.admit()?;
        let bounded = tokio::time::timeout(shared.timeout, work).await;
        let result = bounded.unwrap_or(Err(StoreFault::Slow { bound: shared.timeout }));
        match &result {
            Err(fault @ (StoreFault::Away { .. } | StoreFault::Slow { .. })) => {
                shared.faults.fetch_add(1, Ordering::AcqRel);
                self.hang_up(fault).await;
                if shared.breaker.failed() {
                    tracing::warn!(
                        store = shared.name,
                        error = %fault,
                        "the session store is away; sessions seen lately go on; bring back what `session.store.url` names"
                    );
                }
            }
            Ok(_) | Err(StoreFault::Unusable { .. } | StoreFault::Refused { .. }) => {
                if shared.breaker.succeeded() {
                    tracing::info!(store = shared.name, "the session store is back");
                }
            }
        }
        if let Err(fault @ StoreFault::Refused { .. }) = &result
            && !shared.refuses.swap(true, Ordering::AcqRel)
        {
            tracing::error!(
                store = shared.name,
                error = %fault,
                "the session store can only be read; sessions in it go on, and none is refreshed; give it room, or let us write to what \
                 `session.store.url` names"
            );
        }
        result
    }

    /// Drops connections on which nothing moves: new ones may come through where these never will. A database is looked at anew after any
    /// fault, since its file or its tables may have gone.
    async fn hang_up(&self, fault: &StoreFault) {
        match &self.shared.backend {
            Backend::Redis(redis) if matches!(fault, StoreFault::Slow { .. }) => redis.hang_up().await,
            Backend::Redis(_) => {}
            Backend::Sqlite(sqlite) => sqlite.hang_up().await,
            Backend::Postgres(postgres) => postgres.hang_up().await,
        }
    }
}

#[cfg(test)]
impl Store {
    /// As if it had been away for a moment.
    pub(crate) fn note_interruption(&self) {
        self.shared.faults.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
pub(crate) mod tests;
