//! A store in `PostgreSQL`.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::sync::{Mutex, watch};

use super::fault::{StoreFault, StoreSetup};
use super::journal::{Channel, Cursor, Entries, PAGE};
use super::key::RecordKey;
use super::statements::{Dialect, Statements, millis};
use super::{Expected, MAX_RECORD, Stored, Version};
use crate::config::secret::SecretSource;
use crate::config::settings::{OutsideStore, PostgresPlace};

/// Connections at once, of each gateway.
const CONNECTIONS: u32 = 6;
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_mins(5);
/// How long the first connection may take, in times of the bound on one exchange: a server that comes back has everybody connect at once,
/// and what is given up and begun anew each time never comes to its end.
const FIRST_CONNECTION: u32 = 4;
/// Lets one gateway at a time make the tables: a number that other programs hardly use.
const ADVISORY_LOCK: i64 = 0x706f_7274_6375_6c6c;

/// A store in a database.
#[derive(Debug)]
pub(super) struct PostgresStore {
    options: PgConnectOptions,
    password: Option<SecretSource>,
    timeout: Duration,
    lifetime: Duration,
    statements: Arc<Statements>,
    pool: Mutex<Option<Making>>,
}

/// Connections that are made once for all who wait for them, though each of them stop waiting.
type Making = watch::Receiver<Option<Result<PgPool, StoreFault>>>;

impl PostgresStore {
    pub(super) fn new(place: &PostgresPlace, settings: &OutsideStore, lifetime: Duration) -> Result<Self, StoreSetup> {
        let options = PgConnectOptions::from_str(&place.url).map_err(|error| StoreSetup::Url(error.to_string()))?;
        let mut options = options.application_name("portcullis");
        if let Some(ca) = &settings.ca {
            options = options.ssl_root_cert(ca);
            if !place.url.contains("sslmode=") {
                options = options.ssl_mode(PgSslMode::VerifyFull);
            }
        }
        if let Some(files) = &settings.certificate {
            options = options.ssl_client_cert(&files.cert).ssl_client_key(&files.key);
        }
        Ok(Self {
            options,
            password: settings.password.clone().or_else(|| place.password.clone()),
            timeout: settings.timeout,
            lifetime,
            statements: Arc::new(Statements::new(&settings.prefix, Dialect::Postgres)),
            pool: Mutex::new(None),
        })
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

    /// Forgets the connections: nothing moves on them, and waiting for each to end would hold up whoever comes next. Those that are being
    /// made are waited for by the next one.
    pub(super) async fn hang_up(&self) {
        let mut held = self.pool.lock().await;
        if held.as_ref().is_some_and(|making| making.borrow().is_some()) {
            *held = None;
        }
    }

    /// The connections, made at the first use, with the tables where they are missing.
    async fn pool(&self) -> Result<PgPool, StoreFault> {
        let mut making = {
            let mut held = self.pool.lock().await;
            match held.as_ref().filter(|making| !matches!(*making.borrow(), Some(Err(_)))) {
                Some(making) => making.clone(),
                None => held.insert(self.make()?).clone(),
            }
        };
        let made = making.wait_for(Option::is_some).await.ok().and_then(|made| made.clone());
        made.unwrap_or_else(|| Err(StoreFault::away("nobody connects to it any more")))
    }

    /// Begins to connect.
    fn make(&self) -> Result<Making, StoreFault> {
        let mut options = self.options.clone();
        if let Some(password) = &self.password {
            options = options.password(password.read()?.expose_secret());
        }
        let bound = self.timeout.saturating_mul(FIRST_CONNECTION);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(bound).idle_timeout(IDLE);
        let pool = pool.connect_lazy_with(options);
        let statements = Arc::clone(&self.statements);
        let (made, making) = watch::channel(None);
        drop(tokio::spawn(async move {
            let result = match tokio::time::timeout(bound, make_tables(&pool, &statements)).await {
                Ok(made) => made.map(|()| pool).map_err(|error| fault(&error)),
                Err(_) => Err(StoreFault::Slow { bound }),
            };
            made.send_replace(Some(result));
        }));
        Ok(making)
    }
}

/// Makes the tables, unless they are there: then we need no right to make any.
async fn make_tables(pool: &PgPool, statements: &Statements) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let mut missing = false;
    for table in &statements.tables {
        let there: bool =
            sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(&mut *connection).await?;
        missing |= !there;
    }
    if !missing {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ADVISORY_LOCK).execute(&mut *transaction).await?;
    for statement in &statements.create {
        transaction.execute(sql(statement)).await?;
    }
    transaction.commit().await
}

fn fault(error: &sqlx::Error) -> StoreFault {
    match error {
        // A transaction that may only read, and a full disk (PostgreSQL, appendix A).
        sqlx::Error::Database(error) if matches!(error.code().as_deref(), Some("25006" | "53100")) => {
            StoreFault::Refused { reason: error.message().to_owned() }
        }
        sqlx::Error::Database(error) => StoreFault::away(error.message().to_owned()),
        sqlx::Error::PoolTimedOut => StoreFault::away("it gave no connection in time"),
        other => StoreFault::away(other.to_string()),
    }
}

/// A statement of [`Statements`]: made of a checked prefix and nothing else that is not written there.
fn sql(statement: &str) -> AssertSqlSafe<&str> {
    AssertSqlSafe(statement)
}
