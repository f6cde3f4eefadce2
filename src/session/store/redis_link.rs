//! Connecting to Redis: to one server, to the primary that the sentinels name, or to a cluster.

use std::path::Path;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo as _, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinSet;

use super::fault::{StoreFault, StoreSetup};
use crate::config::secret::SecretSource;
use crate::config::settings::{OutsideStore, RedisAddress, RedisPlace, RedisServers};

/// How often a cluster's answer "ask another node" is followed.
const CLUSTER_RETRIES: u32 = 3;

/// How connections are made.
pub(super) struct Connector {
    place: RedisPlace,
    password: Option<SecretSource>,
    certificates: Option<TlsCertificates>,
    timeout: Duration,
}

/// A connection that many use at once.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Who we are on one kind of server.
struct Login {
    username: Option<String>,
    password: Option<SecretString>,
}

impl Connector {
    /// Connections as `settings` say.
    ///
    /// # Errors
    /// When a certificate or its key can't be used.
    pub(super) fn new(place: &RedisPlace, settings: &OutsideStore) -> Result<Self, StoreSetup> {
        let connector = Self {
            place: place.clone(),
            password: settings.password.clone().or_else(|| place.password.clone()),
            certificates: place.tls.then(|| certificates(settings)).transpose()?,
            timeout: settings.timeout,
        };
        connector.prove()?;
        Ok(connector)
    }

    /// Makes a client and throws it away, so that what is wrong with certificates is told at the start.
    fn prove(&self) -> Result<(), StoreSetup> {
        let address = RedisAddress::Tcp("localhost".to_owned(), 1);
        let login = Login { username: None, password: None };
        match self.client(&address, &login, 0) {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreSetup::File { key: "ca", cause: text_of(&error) }),
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When none can be had.
    pub(super) async fn connect(&self) -> Result<Link, StoreFault> {
        let login = Login {
            username: self.place.username.clone(),
            password: self.password.as_ref().map(SecretSource::read).transpose()?,
        };
        match &self.place.servers {
            RedisServers::One(address) => self.one(address, &login).await.map(Link::One),
            RedisServers::Sentinels { sentinels, primary } => {
                let address = self.ask_sentinels(sentinels, primary).await?;
                let mut connection = self.one(&address, &login).await?;
                self.is_primary(&mut connection).await?;
                Ok(Link::One(connection))
            }
            RedisServers::Cluster(nodes) => {
                let client = self.cluster(nodes, &login).map_err(|error| fault(&error))?;
                client.get_async_connection().await.map(Link::Cluster).map_err(|error| fault(&error))
            }
        }
    }

    async fn one(&self, address: &RedisAddress, login: &Login) -> Result<MultiplexedConnection, StoreFault> {
        let client = self.client(address, login, self.place.database).map_err(|error| fault(&error))?;
        self.open(&client).await.map_err(|error| fault(&error))
    }

    async fn open(&self, client: &Client) -> RedisResult<MultiplexedConnection> {
        // Each exchange as a whole is bounded by the store; this keeps what it gave up from waiting on.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Asks every sentinel at once where the primary is, and takes the first answer: some of them may be away too.
    async fn ask_sentinels(&self, sentinels: &[RedisAddress], primary: &str) -> Result<RedisAddress, StoreFault> {
        let password = self.place.sentinel_password.as_ref().map(SecretSource::read).transpose()?;
        let login = Login { username: None, password };
        let mut asked = JoinSet::new();
        for sentinel in sentinels {
            let client = self.client(sentinel, &login, 0).map_err(|error| fault(&error))?;
            let (primary, timeout) = (primary.to_owned(), self.timeout);
            asked.spawn(async move {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(timeout))
                    .set_response_timeout(Some(timeout));
                let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                let mut question = redis::cmd("SENTINEL");
                question.arg("get-master-addr-by-name").arg(primary);
                question.query_async::<Option<(String, u16)>>(&mut connection).await
            });
        }
        let mut reason = format!("no sentinel knows of a primary named `{primary}`");
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(Some((host, port)))) => return Ok(RedisAddress::Tcp(host, port)),
                Ok(Err(error)) => reason = format!("no sentinel answers: {}", text_of(&error)),
                Ok(Ok(None)) | Err(_) => {}
            }
        }
        Err(StoreFault::away(reason))
    }

    /// Sentinels may name a server that has just stopped being the primary (Sentinel clients guidelines, step 3).
    async fn is_primary(&self, connection: &mut MultiplexedConnection) -> Result<(), StoreFault> {
        let role: Vec<redis::Value> =
            redis::cmd("ROLE").query_async(connection).await.map_err(|error| fault(&error))?;
        let is_primary =
            role.first().is_some_and(|role| String::from_redis_value_ref(role).is_ok_and(|role| role == "master"));
        if is_primary {
            Ok(())
        } else {
            Err(StoreFault::away("the sentinels name a server that is no primary at present"))
        }
    }

    fn client(&self, address: &RedisAddress, login: &Login, database: u16) -> RedisResult<Client> {
        let info = self.info(address, login, database)?;
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    fn cluster(&self, nodes: &[RedisAddress], login: &Login) -> RedisResult<ClusterClient> {
        let nodes: Vec<ConnectionInfo> =
            nodes.iter().map(|node| self.info(node, login, 0)).collect::<RedisResult<_>>()?;
        let mut builder = ClusterClientBuilder::new(nodes)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(10)
            .max_retry_wait(100)
            .connection_timeout(self.timeout)
            .response_timeout(self.timeout);
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        builder.build()
    }

    fn info(&self, address: &RedisAddress, login: &Login, database: u16) -> RedisResult<ConnectionInfo> {
        let mut settings = RedisConnectionInfo::default().set_db(database.into()).set_skip_set_lib_name();
        if let Some(username) = &login.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &login.password {
            settings = settings.set_password(password.expose_secret());
        }
        Ok(self.address(address).into_connection_info()?.set_redis_settings(settings))
    }

    fn address(&self, address: &RedisAddress) -> ConnectionAddr {
        match address {
            RedisAddress::Unix(path) => ConnectionAddr::Unix(path.clone()),
            RedisAddress::Tcp(host, port) if self.place.tls => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
            RedisAddress::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), *port),
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connector").field(&self.place.servers).finish()
    }
}

impl Link {
    /// Sends one command.
    ///
    /// # Errors
    /// What Redis or the connection says.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::One(connection) => ask(connection, command).await,
            Self::Cluster(connection) => ask(connection, command).await,
        }
    }
}

async fn ask<T: FromRedisValue>(connection: &mut impl ConnectionLike, command: &Cmd) -> RedisResult<T> {
    command.query_async(connection).await
}

fn certificates(settings: &OutsideStore) -> Result<TlsCertificates, StoreSetup> {
    let client_tls = settings.certificate.as_ref().map(|files| {
        Ok(ClientTlsConfig { client_cert: read("cert", &files.cert)?, client_key: read("key", &files.key)? })
    });
    Ok(TlsCertificates {
        client_tls: client_tls.transpose()?,
        root_cert: settings.ca.as_deref().map(|path| read("ca", path)).transpose()?,
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, StoreSetup> {
    std::fs::read(path).map_err(|cause| StoreSetup::File { key, cause: cause.to_string() })
}

/// What Redis says, without what it repeats of our commands.
pub(super) fn text_of(error: &RedisError) -> String {
    match error.code() {
        // An answer of the server: its code says enough, and what follows may repeat an argument.
        Some(code) => format!("Redis answers {code}{}", advice(code)),
        None if error.kind() == ErrorKind::AuthenticationFailed => {
            "Redis refuses the user or the password; check `session.store.url` and `session.store.password`".to_owned()
        }
        None => error.to_string(),
    }
}

/// What a code means for whoever runs us.
fn advice(code: &str) -> &'static str {
    match code {
        "NOAUTH" => ": it wants a password, see `session.store.password`",
        "WRONGPASS" => ": check the user in `session.store.url` and `session.store.password`",
        "NOPERM" => ": let the user do everything with keys that begin with `session.store.prefix`, scripts included",
        "OOM" => ": its memory is full, see its `maxmemory`",
        "READONLY" => ": it is a replica; name the primary, or its sentinels",
        "MISCONF" => ": it can't save to its disk",
        "NOREPLICAS" => ": it has too few replicas",
        "CLUSTERDOWN" => ": its cluster lacks nodes",
        "MOVED" | "ASK" => ": it is a node of a cluster; write `redis+cluster://`",
        "ERR" => ": does `session.store.url` say what it is, one server, a sentinel or a cluster?",
        _ => "",
    }
}

/// The fault that an error of Redis is for whoever asked.
pub(super) fn fault(error: &RedisError) -> StoreFault {
    match error.code() {
        // It is full, a replica, can't save what it has, or has too few replicas: then it takes nothing, and can be read.
        Some("OOM" | "READONLY" | "MISCONF" | "NOREPLICAS") => StoreFault::Refused { reason: text_of(error) },
        _ => StoreFault::away(text_of(error)),
    }
}
