//! A store in a file of `SQLite`, for the gateways of one machine.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::Mutex;

use super::fault::StoreFault;
use super::journal::{Channel, Cursor, Entries, PAGE};
use super::key::RecordKey;
use super::statements::{Dialect, Statements, millis};
use super::{Expected, MAX_RECORD, Stored, Version};
use crate::config::settings::OutsideStore;

/// Connections at once: one can write, the others read.
const CONNECTIONS: u32 = 3;
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_mins(1);

/// A store in a file.
#[derive(Debug)]
pub(super) struct SqliteStore {
    path: PathBuf,
    timeout: Duration,
    lifetime: Duration,
    statements: Statements,
    opened: Mutex<Option<Opened>>,
    replaced: AtomicU64,
}

/// Connections to the file that was at its path when they were made.
#[derive(Debug)]
struct Opened {
    pool: SqlitePool,
    file: FileId,
}

/// What tells one file from another one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl From<Metadata> for FileId {
    fn from(found: Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

impl SqliteStore {
    pub(super) fn new(path: &Path, settings: &OutsideStore, lifetime: Duration) -> Self {
        Self {
            path: path.to_owned(),
            timeout: settings.timeout,
            lifetime,
            statements: Statements::new(&settings.prefix, Dialect::Sqlite),
            opened: Mutex::default(),
            replaced: AtomicU64::new(0),
        }
    }

    pub(super) async fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StoreFault> {
        let pool = self.pool().await?;
        let query = sqlx::query_as(sql(&self.statements.load)).bind(key.bytes().as_slice());
        let row: Option<(i64, Vec<u8>)> = query.fetch_optional(&pool).await.map_err(|error| fault(&error))?;
        let Some((version, bytes)) = row else { return Ok(None) };
        let version = u64::try_from(version).ok().filter(|_| bytes.len() <= MAX_RECORD);
        let version = version.ok_or(StoreFault::Unusable { what: "a row that is none of ours" })?;
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
        let pool = self.pool().await?;
        let statement = match expected {
            Expected::Absent => &self.statements.save_new,
            Expected::Version(_) => &self.statements.save_over,
        };
        let mut query = sqlx::query(sql(statement))
            .bind(key.bytes().as_slice())
            .bind(version.signed())
            .bind(bytes)
            .bind(millis(life));
        if let Expected::Version(expected) = expected {
            query = query.bind(expected.signed());
        }
        Ok(query.execute(&pool).await.map_err(|error| fault(&error))?.rows_affected() == 1)
    }

    pub(super) async fn remove(&self, key: &RecordKey) -> Result<(), StoreFault> {
        let query = sqlx::query(sql(&self.statements.remove)).bind(key.bytes().as_slice());
        query.execute(&self.pool().await?).await.map(drop).map_err(|error| fault(&error))
    }

    pub(super) async fn lock(&self, name: &RecordKey, holder: &[u8], life: Duration) -> Result<bool, StoreFault> {
        let query =
            sqlx::query(sql(&self.statements.lock)).bind(name.bytes().as_slice()).bind(holder).bind(millis(life));
        Ok(query.execute(&self.pool().await?).await.map_err(|error| fault(&error))?.rows_affected() == 1)
    }

    pub(super) async fn unlock(&self, name: &RecordKey, holder: &[u8]) -> Result<(), StoreFault> {
        let query = sqlx::query(sql(&self.statements.unlock)).bind(name.bytes().as_slice()).bind(holder);
        query.execute(&self.pool().await?).await.map(drop).map_err(|error| fault(&error))
    }

    pub(super) async fn tell(&self, channel: Channel, entry: &[u8]) -> Result<(), StoreFault> {
        let kept = millis(channel.kept(self.lifetime));
        let query = sqlx::query(sql(&self.statements.tell)).bind(channel.name()).bind(entry).bind(kept);
        query.execute(&self.pool().await?).await.map(drop).map_err(|error| fault(&error))
    }

    pub(super) async fn news(&self, channel: Channel, cursor: &Cursor) -> Result<Entries, StoreFault> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // Who has a number to go on after needs no time: it may be smaller than that of an entry before.
        let earliest = if cursor.number == 0 { signed(cursor.time) } else { 0 };
        let query = sqlx::query_as(sql(&self.statements.news)).bind(channel.name());
        let query = query.bind(signed(cursor.number)).bind(earliest).bind(i64::from(PAGE));
        let rows: Vec<(i64, i64, Vec<u8>)> =
            query.fetch_all(&self.pool().await?).await.map_err(|error| fault(&error))?;
        let more = rows.len() >= usize::from(PAGE);
        let mut entries = Entries { entries: Vec::with_capacity(rows.len()), cursor: cursor.clone(), more };
        for (number, written, entry) in rows {
            let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
            entries.cursor = Cursor { time: unsigned(written), number: unsigned(number) };
            entries.entries.push(entry);
        }
        Ok(entries)
    }

    pub(super) async fn has(&self, channel: Channel, cursor: &Cursor) -> Result<bool, StoreFault> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let query = sqlx::query(sql(&self.statements.has)).bind(channel.name());
        let query = query.bind(signed(cursor.number)).bind(signed(cursor.time));
        Ok(query.fetch_optional(&self.pool().await?).await.map_err(|error| fault(&error))?.is_some())
    }

    pub(super) async fn tidy(&self) -> Result<(), StoreFault> {
        let pool = self.pool().await?;
        for statement in &self.statements.tidy {
            sqlx::query(sql(statement)).execute(&pool).await.map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    /// How often another file was found in its place so far.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Acquire)
    }

    /// Closes the file; the next use opens it, with the tables made where they are missing.
    pub(super) async fn hang_up(&self) {
        *self.opened.lock().await = None;
    }

    /// The connections, opened at the first use, with the tables made where they are missing. A file that was taken away or replaced is
    /// opened anew: whoever started later has that one, and there must be no two minds of who is signed in.
    async fn pool(&self) -> Result<SqlitePool, StoreFault> {
        let mut held = self.opened.lock().await;
        if let Some(opened) = &*held {
            if self.file().is_some_and(|file| file == opened.file) {
                return Ok(opened.pool.clone());
            }
            tracing::warn!(
                path = %self.path.display(),
                "the file of the session store was taken away or replaced; what is there now is used"
            );
            // Counted before the new one is opened: what was read from the one before is from before an interruption.
            self.replaced.fetch_add(1, Ordering::AcqRel);
        }
        *held = None;
        // A little less than anybody waits, so that it is known why. With a write-ahead log readers don't wait for whoever writes. What a
        // power cut takes are the last moments.
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(self.timeout * 4 / 5);
        make_private(&self.path)?;
        let file = self.file().ok_or_else(|| StoreFault::away(format!("{} is gone", self.path.display())))?;
        let pool =
            SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(self.timeout).idle_timeout(IDLE);
        let pool = pool.connect_lazy_with(options);
        for statement in &self.statements.create {
            sqlx::query(sql(statement)).execute(&pool).await.map_err(|error| fault(&error))?;
        }
        *held = Some(Opened { pool: pool.clone(), file });
        drop(held);
        Ok(pool)
    }

    /// What is at the path now.
    fn file(&self) -> Option<FileId> {
        std::fs::metadata(&self.path).ok().map(FileId::from)
    }
}

/// Makes the file where it is missing, for nobody else's eyes; `SQLite` gives its further files the same permissions.
fn make_private(path: &Path) -> Result<(), StoreFault> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map(drop).map_err(|cause| StoreFault::away(format!("{}: {cause}", path.display())))
}

fn fault(error: &sqlx::Error) -> StoreFault {
    let sqlx::Error::Database(error) = error else { return StoreFault::away(error.to_string()) };
    let reason = error.message().to_owned();
    // The lowest byte of a result code is its kind (SQLite, "Result and Error Codes"): busy, read-only, full.
    let kind = error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    match kind {
        Some(5 | 8 | 13) => StoreFault::Refused { reason },
        _ => StoreFault::away(reason),
    }
}

/// A statement of [`Statements`]: made of a checked prefix and nothing else that is not written there.
fn sql(statement: &str) -> AssertSqlSafe<&str> {
    AssertSqlSafe(statement)
}
