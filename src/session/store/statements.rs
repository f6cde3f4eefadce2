//! What is said in SQL: the same for `SQLite` and `PostgreSQL` but for types and the clock.
//!
//! ```text
//! {prefix}_records   key, version, value, expires      a record a row
//! {prefix}_locks     name, holder, expires             a lock a row
//! {prefix}_news      number, channel, entry, written, expires
//! ```
//!
//! Times are milliseconds of the database's own clock, so that gateways whose clocks differ agree. The arguments of each statement
//! stand beside it.

use std::time::Duration;

/// What differs between the two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// The statements of one store.
#[derive(Debug)]
pub(super) struct Statements {
    /// What makes the tables where they are missing.
    pub(super) create: Vec<String>,
    /// The names of the tables.
    pub(super) tables: [String; 3],
    /// key → version, value
    pub(super) load: String,
    /// key, version, value, life → a row when nothing was there
    pub(super) save_new: String,
    /// key, version, value, life, expected version → a row when it was there
    pub(super) save_over: String,
    /// key
    pub(super) remove: String,
    /// name, holder, life → a row when it was taken
    pub(super) lock: String,
    /// name, holder
    pub(super) unlock: String,
    /// channel, entry, how long it is kept
    pub(super) tell: String,
    /// channel, number to go on after, earliest time, most rows → number, written, entry
    pub(super) news: String,
    /// channel, number, written → a row when that entry is there
    pub(super) has: String,
    /// What takes away what has ended.
    pub(super) tidy: [String; 3],
}

impl Statements {
    /// The statements for tables whose names begin with `prefix`, which is a plain name: see the check of `session.store.prefix`.
    pub(super) fn new(prefix: &str, dialect: Dialect) -> Self {
        let (bytes, number, now) = match dialect {
            Dialect::Sqlite => {
                ("BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT", "CAST(unixepoch('subsec') * 1000 AS INTEGER)")
            }
            Dialect::Postgres => (
                "BYTEA",
                "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
                "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
            ),
        };
        let (records, locks, news) = (format!("{prefix}_records"), format!("{prefix}_locks"), format!("{prefix}_news"));
        Self {
            create: vec![
                format!(
                    "CREATE TABLE IF NOT EXISTS {records} (key {bytes} PRIMARY KEY, version BIGINT NOT NULL, value {bytes} NOT NULL, expires BIGINT NOT NULL)"
                ),
                format!("CREATE INDEX IF NOT EXISTS {records}_expires ON {records} (expires)"),
                format!(
                    "CREATE TABLE IF NOT EXISTS {locks} (name {bytes} PRIMARY KEY, holder {bytes} NOT NULL, expires BIGINT NOT NULL)"
                ),
                format!(
                    "CREATE TABLE IF NOT EXISTS {news} (number {number}, channel TEXT NOT NULL, entry {bytes} NOT NULL, written BIGINT NOT NULL, expires BIGINT NOT NULL)"
                ),
                format!("CREATE INDEX IF NOT EXISTS {news}_written ON {news} (channel, written)"),
                format!("CREATE INDEX IF NOT EXISTS {news}_number ON {news} (channel, number)"),
            ],
            load: format!("SELECT version, value FROM {records} WHERE key = $1 AND expires > {now}"),
            // A row with the very version that is to be written is this statement's own: only its answer was lost.
            save_new: format!(
                "INSERT INTO {records} (key, version, value, expires) VALUES ($1, $2, $3, {now} + $4) \
                 ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value, expires = excluded.expires \
                 WHERE {records}.expires <= {now} OR {records}.version = excluded.version"
            ),
            save_over: format!(
                "UPDATE {records} SET version = $2, value = $3, expires = {now} + $4 \
                 WHERE key = $1 AND expires > {now} AND version IN ($2, $5)"
            ),
            remove: format!("DELETE FROM {records} WHERE key = $1"),
            lock: format!(
                "INSERT INTO {locks} (name, holder, expires) VALUES ($1, $2, {now} + $3) \
                 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires \
                 WHERE {locks}.expires <= {now} OR {locks}.holder = excluded.holder"
            ),
            unlock: format!("DELETE FROM {locks} WHERE name = $1 AND holder = $2"),
            tell: format!("INSERT INTO {news} (channel, entry, written, expires) VALUES ($1, $2, {now}, {now} + $3)"),
            news: format!(
                "SELECT number, written, entry FROM {news} \
                 WHERE channel = $1 AND number > $2 AND written >= $3 AND expires > {now} ORDER BY number LIMIT $4"
            ),
            has: format!(
                "SELECT 1 FROM {news} WHERE channel = $1 AND number = $2 AND written = $3 AND expires > {now}"
            ),
            tidy: [&records, &locks, &news].map(|table| format!("DELETE FROM {table} WHERE expires <= {now}")),
            tables: [records, locks, news],
        }
    }
}

/// A span as the statements take it.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}
