//! A store in Redis or Valkey.
//!
//! ```text
//! {prefix}:r:{key}        version (8) ‖ value, ends with its life      a record
//! {prefix}:l:{key}        holder (16), ends with its life              a lock
//! {prefix}:ends, :changes streams of entries with one field            news
//! ```
//!
//! Each command and script touches one key, so that a cluster can do it. Needs Redis 6.2 or any Valkey.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tokio::sync::Mutex;

use super::fault::{StoreFault, StoreSetup};
use super::journal::{Channel, Cursor, Entries, PAGE};
use super::key::RecordKey;
use super::redis_link::{Connector, Link, fault};
use super::{Expected, MAX_RECORD, Stored, Version};
use crate::base::clock::Clock;
use crate::config::settings::{OutsideStore, RedisPlace};

/// Writes when the version is the expected one, or is already the one to be written: then this very script ran before, and only its
/// answer was lost. Arguments: expected version or nothing, version, value, life in ms.
const SAVE: &str = "local seen = redis.call('GETRANGE', KEYS[1], 0, 7)
if seen == ARGV[2] then return 1 end
if seen ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2] .. ARGV[3], 'PX', ARGV[4])
return 1";
/// Arguments: holder, life in ms.
const LOCK: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0";
/// Arguments: holder.
const UNLOCK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1";
/// Arguments: entry, how long entries are kept in ms. The server's clock decides what is too old, as it makes the entries' ids.
const TELL: &str = "local time = redis.call('TIME')
local oldest = time[1] * 1000 - ARGV[2]
if oldest < 0 then oldest = 0 end
redis.call('XADD', KEYS[1], 'MINID', '~', string.format('%.0f', oldest), '*', 'e', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1";

/// A store in Redis.
#[derive(Debug)]
pub(super) struct RedisStore {
    connector: Connector,
    prefix: String,
    lifetime: Duration,
    link: Mutex<Option<Numbered>>,
    connections: AtomicU64,
}

/// The connection in use, with a number that tells it from the one before.
struct Numbered {
    number: u64,
    link: Link,
}

impl std::fmt::Debug for Numbered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "connection {}", self.number)
    }
}

impl RedisStore {
    pub(super) fn new(place: &RedisPlace, settings: &OutsideStore, lifetime: Duration) -> Result<Self, StoreSetup> {
        Ok(Self {
            connector: Connector::new(place, settings)?,
            prefix: settings.prefix.clone(),
            lifetime,
            link: Mutex::new(None),
            connections: AtomicU64::new(0),
        })
    }

    pub(super) async fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StoreFault> {
        let mut command = redis::cmd("GET");
        command.arg(self.record(key));
        let Some(mut bytes) = self.ask::<Option<Vec<u8>>>(&command).await? else { return Ok(None) };
        let version = bytes.first_chunk().map(|version| u64::from_be_bytes(*version));
        let version = version.filter(|version| *version != 0 && bytes.len() <= MAX_RECORD + 8);
        let version = version.ok_or(StoreFault::Unusable { what: "something that is no record of ours" })?;
        bytes.drain(..8);
        Ok(Some(Stored { bytes, version: Version(version) }))
    }

    pub(super) async fn save(
        &self,
        key: &RecordKey,
        version: Version,
        bytes: &[u8],
        life: Duration,
        expected: Expected,
    ) -> Result<bool, StoreFault> {
        let mut command = script(SAVE, &self.record(key));
        match expected {
            Expected::Absent => command.arg(""),
            Expected::Version(version) => command.arg(&version.bytes()),
        };
        command.arg(&version.bytes()).arg(bytes).arg(millis(life));
        self.ask(&command).await
    }

    pub(super) async fn remove(&self, key: &RecordKey) -> Result<(), StoreFault> {
        let mut command = redis::cmd("DEL");
        command.arg(self.record(key));
        self.ask(&command).await
    }

    pub(super) async fn lock(&self, name: &RecordKey, holder: &[u8], life: Duration) -> Result<bool, StoreFault> {
        let mut command = script(LOCK, &self.lock_name(name));
        command.arg(holder).arg(millis(life));
        self.ask(&command).await
    }

    pub(super) async fn unlock(&self, name: &RecordKey, holder: &[u8]) -> Result<(), StoreFault> {
        let mut command = script(UNLOCK, &self.lock_name(name));
        command.arg(holder);
        self.ask(&command).await
    }

    pub(super) async fn tell(&self, channel: Channel, entry: &[u8]) -> Result<(), StoreFault> {
        let mut command = script(TELL, &self.stream(channel));
        command.arg(entry).arg(millis(channel.kept(self.lifetime)));
        self.ask(&command).await
    }

    pub(super) async fn news(&self, channel: Channel, cursor: &Cursor) -> Result<Entries, StoreFault> {
        let kept = millis(channel.kept(self.lifetime));
        let oldest = Clock::System.now().seconds().saturating_mul(1000).saturating_sub(kept);
        let after = if (cursor.time, cursor.number) == (0, 0) {
            // What is older is kept only because streams are cut in whole blocks.
            oldest.to_string()
        } else {
            format!("({}-{}", cursor.time, cursor.number)
        };
        let mut command = redis::cmd("XRANGE");
        command.arg(self.stream(channel)).arg(after).arg("+").arg("COUNT").arg(PAGE);
        let found: Vec<(String, Vec<Vec<u8>>)> = self.ask(&command).await?;
        let more = found.len() >= usize::from(PAGE);
        let mut cursor = cursor.clone();
        let mut entries = Vec::with_capacity(found.len());
        for (id, fields) in found {
            let unusable = StoreFault::Unusable { what: "a stream that is none of ours" };
            cursor = parse_id(&id).ok_or(unusable)?;
            entries.extend(fields.into_iter().nth(1));
        }
        Ok(Entries { entries, cursor, more })
    }

    pub(super) async fn has(&self, channel: Channel, cursor: &Cursor) -> Result<bool, StoreFault> {
        let id = format!("{}-{}", cursor.time, cursor.number);
        let mut command = redis::cmd("XRANGE");
        command.arg(self.stream(channel)).arg(&id).arg(&id);
        let found: Vec<(String, Vec<Vec<u8>>)> = self.ask(&command).await?;
        Ok(!found.is_empty())
    }

    /// How many connections were begun so far.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Drops the connection.
    pub(super) async fn hang_up(&self) {
        *self.link.lock().await = None;
    }

    /// Sends one command; once more over a new connection when this one is of no use any more. All our commands may be sent twice.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreFault> {
        let (number, mut link) = self.link(None).await?;
        match link.ask(command).await {
            Ok(answer) => Ok(answer),
            Err(error) if is_stale(&error) => {
                let (_, mut link) = self.link(Some(number)).await?;
                link.ask(command).await.map_err(|error| fault(&error))
            }
            Err(error) => Err(fault(&error)),
        }
    }

    /// The connection in use, made when there is none, or when it is still the one that is of no `use` any more.
    async fn link(&self, useless: Option<u64>) -> Result<(u64, Link), StoreFault> {
        let mut held = self.link.lock().await;
        if let Some(numbered) = held.as_ref().filter(|numbered| useless != Some(numbered.number)) {
            return Ok((numbered.number, numbered.link.clone()));
        }
        *held = None;
        // Counted before it is made: what was read over the one before is from before an interruption.
        let next = self.connections.fetch_add(1, Ordering::AcqRel) + 1;
        let link = self.connector.connect().await?;
        *held = Some(Numbered { number: next, link: link.clone() });
        drop(held);
        Ok((next, link))
    }

    fn record(&self, key: &RecordKey) -> String {
        format!("{}:r:{}", self.prefix, key.text())
    }

    fn lock_name(&self, key: &RecordKey) -> String {
        format!("{}:l:{}", self.prefix, key.text())
    }

    fn stream(&self, channel: Channel) -> String {
        format!("{}:{}", self.prefix, channel.name())
    }
}

/// Whether another connection may do what this one can't: it broke, or its server is no primary any more.
fn is_stale(error: &RedisError) -> bool {
    let moved = matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading)
    );
    moved || error.is_unrecoverable_error() || (error.is_io_error() && !error.is_timeout())
}

fn script(source: &str, key: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(source).arg(1).arg(key);
    command
}

/// At least one, since Redis takes no life of nothing.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX) * 1000)
}

fn parse_id(id: &str) -> Option<Cursor> {
    let (time, number) = id.split_once('-')?;
    Some(Cursor { time: time.parse().ok()?, number: number.parse().ok()? })
}
