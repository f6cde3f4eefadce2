//! Floor 5: the running process: sockets, one worker a core, the back office, and their orderly end.

pub mod accept;
pub mod admin;
pub mod behind;
mod clerk;
pub mod connection;
pub mod guard;
pub mod key_watch;
pub mod malformed;
pub mod notify;
pub mod places;
pub mod plan;
pub mod protocols;
pub mod prove;
pub mod registry;
pub mod secret_watch;
pub mod sockets;
pub mod stop;
pub mod stored;
pub mod streams;
pub mod wire;
pub mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use self::admin::Readiness;
use self::places::Places;
use self::plan::PlanError;
use self::protocols::Protocols;
use self::registry::Patience;
use self::stop::Signals;
use self::worker::Worker;
use crate::base::clock::instant;
use crate::base::office::Office;
use crate::config::settings::{LimitSettings, ListenAddress, LogFormat, Settings};
use crate::net::listen::{ListenError, UnixPath};
use crate::net::tls_server::{TlsServer, TlsServerFault};
use crate::observe::access::AccessLog;
use crate::observe::log::Shape;
use crate::session::stored::{StoredSessions, all_told};

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
    /// The certificates can't be used.
    #[error("[tls]: {0}")]
    Tls(#[from] TlsServerFault),
    /// A thread or runtime can't be made.
    #[error("the system gave no thread or runtime: {0}")]
    System(#[from] io::Error),
}

/// A gateway that serves.
pub struct Running {
    addresses: Vec<String>,
    stop: watch::Sender<bool>,
    readiness: Readiness,
    signals: Signals,
    workers: Vec<JoinHandle<io::Result<()>>>,
    runtime: Runtime,
    /// Our way to it: what it has begun is seen to its end.
    office: Office,
    stored: Option<StoredSessions>,
    drain: Duration,
    _unix_paths: Vec<UnixPath>,
}

/// Starts a gateway: when this returns, every listener accepts.
///
/// # Errors
/// When a socket, certificate, session key or thread can't be had.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    raise_descriptors(&settings.limits);
    let tls = match &settings.tls {
        Some(tls) if !settings.listen.https.is_empty() => Some(Arc::new(TlsServer::new(tls.clone())?)),
        _ => None,
    };
    let count = settings.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    // Before there are other threads: sockets that were handed over are told of in the environment.
    let opened = sockets::open(&settings.listen, tls.as_ref(), count)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(OFFICE_THREADS)
        .thread_name("office")
        .enable_all()
        .build()?;
    let office = Office::new(runtime.handle().clone());
    let plan = Arc::new(plan::assemble(settings, &office)?);
    let stored = plan.site.stored.clone();
    let access = AccessLog::start(shape(settings.log.format))?;
    if let Some(tls) = tls {
        drop(runtime.spawn(TlsServer::keep_fresh(Arc::downgrade(&tls))));
    }
    let readiness = Readiness::default();
    if let Some(ListenAddress::Tcp(address)) = &settings.listen.admin {
        let listener = admin::listen(*address)?;
        let _entered = runtime.enter();
        drop(runtime.spawn(admin::serve(tokio::net::TcpListener::from_std(listener)?, readiness.clone())));
    }
    let (stop, stopped) = watch::channel(false);
    let limits = &settings.limits;
    let places = Places::new(limits.connections, limits.connections_per_address, settings.trusted_proxies.clone());
    let balancers = settings.listen.proxy_protocol.then(|| Arc::from(settings.trusted_proxies.as_slice()));
    let mut workers = Vec::with_capacity(count);
    for (number, sockets) in opened.sockets.into_iter().enumerate() {
        let worker = Worker {
            sockets,
            plan: Arc::clone(&plan),
            access: access.clone(),
            patience: Patience {
                idle: limits.idle_timeout,
                head: limits.header_timeout,
                send: limits.send_timeout,
                request: limits.request_timeout,
            },
            places: Arc::clone(&places),
            balancers: balancers.clone(),
            head: (limits.headers, limits.header_bytes),
            protocols: protocols(settings),
            drain: settings.drain,
            stop: stopped.clone(),
        };
        workers.push(std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || worker.run())?);
    }
    let signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    readiness.set(true);
    notify::tell(notify::State::Ready);
    Ok(Running {
        addresses: opened.addresses,
        stop,
        readiness,
        signals,
        workers,
        runtime,
        office,
        stored,
        drain: settings.drain,
        _unix_paths: opened.unix_paths,
    })
}

const fn shape(format: LogFormat) -> Shape {
    match format {
        LogFormat::Text => Shape::Text,
        LogFormat::Json => Shape::Json,
    }
}

/// Which protocols visitors may speak, and how.
const fn protocols(settings: &Settings) -> Protocols {
    let limits = &settings.limits;
    Protocols {
        h2c: settings.listen.h2c,
        streams: limits.h2_streams,
        bounds: streams::Bounds {
            resets: limits.h2_resets,
            send: limits.send_timeout,
            request: limits.request_timeout,
        },
        window: limits.h2_window,
        header_bytes: limits.header_bytes,
    }
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
    pub fn serve_until_signal(mut self) -> io::Result<()> {
        self.runtime.block_on(self.signals.asked());
        tracing::info!("asked to stop; no new connections, those under way may finish");
        self.stop()
    }

    /// Closes the listeners, lets requests in flight finish within their bound, and ends the threads. Within the same bound what nobody
    /// waits for comes to its end, too: refreshes, tokens that are given back, and what the store has yet to be told.
    ///
    /// # Errors
    /// When a worker ended with an error.
    pub fn stop(self) -> io::Result<()> {
        let asked = instant();
        self.readiness.set(false);
        notify::tell(notify::State::Stopping);
        self.stop.send_replace(true);
        let mut result = Ok(());
        for worker in self.workers {
            match worker.join() {
                Ok(ended) => result = result.and(ended),
                Err(_) => result = Err(io::Error::other("a worker panicked")),
            }
        }
        let left = self.drain.saturating_sub(asked.elapsed());
        let (office, stored) = (self.office, self.stored);
        let rest = async {
            office.is_done().await;
            if let Some(stored) = &stored {
                all_told(stored).await;
            }
        };
        if self.runtime.block_on(async { tokio::time::timeout(left, rest).await }).is_err() {
            tracing::warn!(
                "the time to drain is over; a refresh, or something that the provider or the session store is told, was cut"
            );
        }
        self.runtime.shutdown_background();
        result
    }
}

/// Every connection takes a descriptor, and so does the one that it needs to an upstream. Many systems give a process 1024 unless it asks
/// for more, since older programs can't count further.
fn raise_descriptors(limits: &LimitSettings) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(now) = current else { return };
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::debug!(now, "the system gives us no more descriptors");
    }
    let wanted = u64::try_from(limits.connections).unwrap_or(u64::MAX).saturating_mul(2);
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < wanted => tracing::warn!(
            allowed,
            wanted,
            "the system allows fewer descriptors than `limits.connections` may need; raise it (systemd: LimitNOFILE=) or lower that"
        ),
        _ => {}
    }
}
