//! Floor 5: the running process: sockets, one worker a core, the back office, and their orderly end.

pub mod accept;
pub mod admin;
pub mod connection;
pub mod key_watch;
pub mod plan;
pub mod prove;
pub mod registry;
pub mod stop;
pub mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::admin::Readiness;
use self::plan::PlanError;
use self::registry::Patience;
use self::worker::{Socket, Worker};
use crate::base::office::Office;
use crate::config::settings::{ListenAddress, LogFormat, Settings, TlsSettings};
use crate::net::listen::{self, ListenError, UnixPath};
use crate::observe::access::AccessLog;
use crate::observe::log::Shape;

/// Threads of the back office: few, because it waits more than it works.
const OFFICE_THREADS: usize = 2;

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket can't be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The settings can't be made into a plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The certificate or key can't be used.
    #[error("[tls]: {0}")]
    Tls(String),
    /// A thread or runtime can't be made.
    #[error("the system gave no thread or runtime: {0}")]
    System(#[from] io::Error),
}

/// A gateway that serves.
pub struct Running {
    addresses: Vec<String>,
    stop: watch::Sender<bool>,
    readiness: Readiness,
    workers: Vec<JoinHandle<io::Result<()>>>,
    office: Runtime,
    _unix_paths: Vec<UnixPath>,
}

/// Starts a gateway: when this returns, every listener accepts.
///
/// # Errors
/// When a socket, certificate, session key or thread can't be had.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    let office = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(OFFICE_THREADS)
        .thread_name("office")
        .enable_all()
        .build()?;
    // Sockets first: a start that fails because a port is taken has asked no provider for anything.
    let count = settings.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let opened = open(settings, count)?;
    let plan = Arc::new(plan::assemble(settings, &Office::new(office.handle().clone()))?);
    let shape = match settings.log.format {
        LogFormat::Text => Shape::Text,
        LogFormat::Json => Shape::Json,
    };
    let access = AccessLog::start(shape)?;
    let readiness = Readiness::default();
    if let Some(ListenAddress::Tcp(address)) = &settings.listen.admin {
        let listener = admin::listen(*address)?;
        let _entered = office.enter();
        drop(office.spawn(admin::serve(tokio::net::TcpListener::from_std(listener)?, readiness.clone())));
    }
    let (stop, stopped) = watch::channel(false);
    let mut workers = Vec::with_capacity(count);
    for (number, sockets) in opened.sockets.into_iter().enumerate() {
        let worker = Worker {
            sockets,
            plan: Arc::clone(&plan),
            access: access.clone(),
            patience: Patience { idle: settings.limits.idle_timeout, head: settings.limits.header_timeout },
            connections: settings.limits.connections,
            drain: settings.drain,
            stop: stopped.clone(),
        };
        workers.push(std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || worker.run())?);
    }
    readiness.set(true);
    Ok(Running { addresses: opened.addresses, stop, readiness, workers, office, _unix_paths: opened.unix_paths })
}

impl Running {
    /// Where visitors are accepted, as URLs; a unix socket as `unix:/path`.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Serves until the process is asked to stop by SIGTERM or SIGINT, then stops in good order.
    ///
    /// # Errors
    /// When signals can't be listened for, or a worker ended with an error.
    pub fn serve_until_signal(self) -> io::Result<()> {
        self.office.block_on(stop::asked())?;
        tracing::info!("asked to stop; no new connections, those under way may finish");
        self.stop()
    }

    /// Closes the listeners, lets requests in flight finish within their bound, and ends the threads.
    ///
    /// # Errors
    /// When a worker ended with an error.
    pub fn stop(self) -> io::Result<()> {
        self.readiness.set(false);
        self.stop.send_replace(true);
        let mut result = Ok(());
        for worker in self.workers {
            match worker.join() {
                Ok(ended) => result = result.and(ended),
                Err(_) => result = Err(io::Error::other("a worker panicked")),
            }
        }
        self.office.shutdown_background();
        result
    }
}

struct Opened {
    /// For each worker, its sockets.
    sockets: Vec<Vec<Socket>>,
    addresses: Vec<String>,
    unix_paths: Vec<UnixPath>,
}

fn open(settings: &Settings, count: usize) -> Result<Opened, StartError> {
    let mut opened =
        Opened { sockets: (0..count).map(|_| Vec::new()).collect(), addresses: Vec::new(), unix_paths: Vec::new() };
    let tls = match &settings.tls {
        Some(tls) if !settings.listen.https.is_empty() => Some(acceptor(tls)?),
        _ => None,
    };
    let plain = settings.listen.http.iter().map(|address| (address, None));
    let secured = settings.listen.https.iter().map(|address| (address, tls.clone()));
    for (address, tls) in plain.chain(secured) {
        match address {
            ListenAddress::Tcp(address) => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                let listeners = listen::tcp(*address, count)?;
                if let Some(bound) = listeners.first().and_then(|listener| listener.local_addr().ok()) {
                    opened.addresses.push(format!("{scheme}://{bound}"));
                }
                for (sockets, listener) in opened.sockets.iter_mut().zip(listeners) {
                    sockets.push(Socket::Tcp(listener, tls.clone()));
                }
            }
            ListenAddress::Unix(path) => {
                let listener = listen::unix(path)?;
                opened.addresses.push(format!("unix:{}", path.display()));
                opened.unix_paths.push(UnixPath(path.clone()));
                for sockets in &mut opened.sockets {
                    sockets.push(Socket::Unix(listener.try_clone()?));
                }
            }
        }
    }
    Ok(opened)
}

fn acceptor(tls: &TlsSettings) -> Result<TlsAcceptor, StartError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect)
        .map_err(|error| StartError::Tls(format!("can't read the certificates in {}: {error}", tls.cert.display())))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| StartError::Tls(format!("can't read the private key in {}: {error}", tls.key.display())))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| {
            StartError::Tls(format!("{} and {} don't fit: {error}", tls.cert.display(), tls.key.display()))
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
