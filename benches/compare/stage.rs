//! Everything that is up during a comparison: the application, the provider, nginx, the gateway, and who is signed in.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis::demo::provider::DevelopmentProvider;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::args::Args;
use crate::load::Runner;
use crate::machine::{self, Cores};
use crate::parts::{self, Parts};
use crate::process::{Running, free_port};
use crate::side::{Side, origin};
use crate::{Outcome, gateway, nginx, open_files, provider, session, upstream, websocket};

/// What the report calls the yardstick.
pub(crate) const NGINX: &str = "nginx raw";
/// What the report calls us.
pub(crate) const GATEWAY: &str = "Portcullis";

/// Connections that nginx has room for where a row does not need more: both ends of 512, and some.
pub(crate) const FEW: usize = 2_048;

/// What both sides stand on. The application stops before its folder goes.
pub(crate) struct Stage {
    /// How to measure.
    pub(crate) args: Args,
    /// Which programs there are.
    pub(crate) parts: Parts,
    /// Which cores do what.
    pub(crate) cores: Cores,
    /// The session key of all gateways.
    pub(crate) key: String,
    /// Files that a process may hold open.
    pub(crate) open_files: usize,
    /// Runs the provider, the echo and the WebSockets.
    pub(crate) runtime: Runtime,
    /// Signs people in.
    pub(crate) provider: DevelopmentProvider,
    upstream_port: u16,
    echo_port: u16,
    _upstream: Running,
    folder: TempDir,
    folders: AtomicU32,
}

/// The two of most rows: one worker each, on the tested core; `alice` is signed in at the gateway.
pub(crate) struct Pair {
    /// The yardstick.
    pub(crate) nginx: Side,
    /// The gateway, without an access log.
    pub(crate) gateway: Side,
}

/// How a gateway differs from that of most rows.
pub(crate) struct Variant {
    /// What the report calls it.
    pub(crate) name: &'static str,
    /// Its workers.
    pub(crate) workers: usize,
    /// Routes besides the two of every gateway.
    pub(crate) routes: usize,
    /// Whether it writes a line a request; they go to `/dev/null`.
    pub(crate) access_log: bool,
    /// Whether a proxy in front may ask it about requests of its own.
    pub(crate) in_front: bool,
    /// Where sessions live; in cookies without.
    pub(crate) store: Option<String>,
    /// Opened sessions that each worker keeps; the default without.
    pub(crate) cache: Option<usize>,
}

impl Variant {
    /// That of most rows.
    pub(crate) const MAIN: Self =
        Self { name: GATEWAY, workers: 1, routes: 0, access_log: false, in_front: false, store: None, cache: None };
}

/// Brings the ground up.
pub(crate) fn set(args: Args) -> Outcome<Stage> {
    let parts = parts::find()?;
    let cores = machine::cores()?;
    let open_files = open_files::raise()?;
    machine::move_to(&cores.load)?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let folder = tempfile::Builder::new().prefix("portcullis-compare-").tempdir()?;
    let upstream_port = free_port()?;
    let upstream = upstream::start(&folder.path().join("upstream"), &cores.load, upstream_port)?;
    Ok(Stage {
        key: gateway::session_key()?,
        provider: runtime.block_on(provider::start())?,
        echo_port: runtime.block_on(websocket::start_echo())?,
        args,
        parts,
        cores,
        open_files,
        runtime,
        upstream_port,
        _upstream: upstream,
        folder,
        folders: AtomicU32::new(0),
    })
}

impl Stage {
    /// The two of most rows. Both get the same requests, byte for byte but for the port, so nginx gets the cookie too.
    pub(crate) fn pair(&self) -> Outcome<Pair> {
        let gateway = self.gateway(&Variant::MAIN, &self.cores.tested)?;
        let nginx = Side { cookie: gateway.cookie.clone(), ..self.nginx(FEW)? };
        Ok(Pair { nginx, gateway })
    }

    /// A folder for scratch files; it goes with the stage.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What runs the load of one slice.
    pub(crate) fn runner(&self) -> Runner<'_> {
        Runner { cores: &self.cores.load, seconds: self.args.seconds, folder: self.folder() }
    }

    /// A new nginx of one worker on the tested core, with room for so many connections: it sets them up at its start.
    pub(crate) fn nginx(&self, connections: usize) -> Outcome<Side> {
        let config = self.nginx_config(true, connections)?;
        let process = nginx::start(&config.file, Some(&self.cores.tested), config.port)?;
        let h2_origin = origin(config.h2_port)?;
        Ok(Side {
            name: NGINX,
            origin: origin(config.port)?,
            h2_origin,
            cookie: String::new(),
            bearer: String::new(),
            process,
        })
    }

    /// A new gateway on these cores, with `alice` signed in.
    pub(crate) fn gateway(&self, variant: &Variant, cores: &str) -> Outcome<Side> {
        let mut side = self.fresh_gateway(variant, cores)?;
        side.cookie = self.runtime.block_on(session::sign_in(&side.origin))?;
        Ok(side)
    }

    /// A new gateway on these cores that nobody has asked anything yet.
    pub(crate) fn fresh_gateway(&self, variant: &Variant, cores: &str) -> Outcome<Side> {
        let config = self.gateway_config(variant, self.provider.issuer())?;
        let process = gateway::start(&self.args.gateway, &config.file, Some(cores), variant.access_log)?;
        let origin = origin(config.port)?;
        Ok(Side {
            name: variant.name,
            h2_origin: origin.clone(),
            origin,
            cookie: String::new(),
            bearer: String::new(),
            process,
        })
    }

    /// The config of a new nginx; without a `master`, one process does it all.
    pub(crate) fn nginx_config(&self, master: bool, connections: usize) -> Outcome<Config> {
        let (port, h2_port) = (free_port()?, free_port()?);
        let (upstream, echo) = (self.upstream_port, self.echo_port);
        let proxy = nginx::Proxy { port, h2_port, upstream, echo, master, connections };
        Ok(Config { file: nginx::write(&self.new_folder(), &proxy)?, port, h2_port })
    }

    /// The config of a new gateway.
    pub(crate) fn gateway_config(&self, variant: &Variant, issuer: &str) -> Outcome<Config> {
        let port = free_port()?;
        let plan = gateway::Plan {
            port,
            workers: variant.workers,
            routes: variant.routes,
            log: if variant.access_log { "info" } else { "warn" },
            issuer: issuer.to_owned(),
            upstream: self.upstream_port,
            echo: self.echo_port,
            in_front: variant.in_front,
            store: variant.store.clone(),
            cache: variant.cache,
        };
        Ok(Config { file: gateway::write(&self.new_folder(), &plan, &self.key)?, port, h2_port: port })
    }

    fn new_folder(&self) -> PathBuf {
        self.folder().join(self.folders.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

/// A config that was written, and the ports in it.
pub(crate) struct Config {
    /// Its file.
    pub(crate) file: PathBuf,
    /// The port for HTTP/1.1.
    pub(crate) port: u16,
    /// The port for HTTP/2 without TLS.
    pub(crate) h2_port: u16,
}
