//! Where sessions live, as checked settings: in the browser's cookies, or in a store that several gateways may share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::secret::SecretSource;
use super::settings::CertificateFiles;

/// Where sessions live.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// In the browser, sealed.
    Cookie,
    /// In a store; the browser holds the key to its session alone.
    Outside(Arc<OutsideStore>),
}

/// A store outside the browser.
#[derive(Clone, Debug)]
pub struct OutsideStore {
    /// What it is, and where.
    pub place: StorePlace,
    /// The password in place of the URL's; read anew for each connection.
    pub password: Option<SecretSource>,
    /// PEM with the authorities that its certificate is checked by, in place of the system's.
    pub ca: Option<PathBuf>,
    /// What we show when it asks who we are.
    pub certificate: Option<CertificateFiles>,
    /// Bound on each exchange with it, connecting included.
    pub timeout: Duration,
    /// How long an opened session is used before it is read anew, in the background.
    pub fresh_for: Duration,
    /// How long a session that was read once is used while the store is away.
    pub keep_for: Duration,
    /// What the names of our records, or of our tables, begin with: `[a-z][a-z0-9_]*`.
    pub prefix: String,
    /// Whether a new session that fits into cookies goes there while the store is away.
    pub cookie_fallback: bool,
    /// Whether the store gets those sessions alone that do not fit into cookies.
    pub only_large: bool,
}

/// What a store is, and where.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// Redis, or Valkey, which is spoken to in the same way.
    Redis(RedisPlace),
    /// A file of this machine.
    Sqlite(PathBuf),
    /// A database of `PostgreSQL`, as a URL without its password.
    Postgres(PostgresPlace),
}

/// Where Redis is.
#[derive(Clone, Debug)]
pub struct RedisPlace {
    /// Its servers, and how they belong together.
    pub servers: RedisServers,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// The user; the default one when absent.
    pub username: Option<String>,
    /// The password of the URL.
    pub password: Option<SecretSource>,
    /// The password of the sentinels.
    pub sentinel_password: Option<SecretSource>,
    /// The number of the database; always 0 in a cluster.
    pub database: u16,
}

/// Servers of Redis, and how they belong together. No list is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServers {
    /// One server.
    One(RedisAddress),
    /// Sentinels, which know where the primary of this name is at present.
    Sentinels {
        /// Where they are.
        sentinels: Vec<RedisAddress>,
        /// The primary's name.
        primary: String,
    },
    /// A cluster, by some of its nodes.
    Cluster(Vec<RedisAddress>),
}

/// Where one server of Redis listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    /// Host, without the brackets of an IPv6 address, and port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// A database of `PostgreSQL`.
#[derive(Clone, Debug)]
pub struct PostgresPlace {
    /// The URL without its password.
    pub url: String,
    /// The password of the URL.
    pub password: Option<SecretSource>,
}
