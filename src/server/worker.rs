//! One worker: one core, one thread, its own runtime, listeners, connections, upstream pools and opened sessions.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::accept::{self, Hall, Listener, accept, tell_refused};
use super::connection;
use super::places::Places;
use super::protocols::Protocols;
use super::registry::{Patience, Registry};
use super::sockets::{self, Socket};
use crate::base::tally::Tally;
use crate::gate::{Gate, Plan};
use crate::observe::access::AccessLog;

/// How often connections are looked through; [`Registry`] counts time in these.
const SWEEP: Duration = Duration::from_secs(1);

/// How long news of ended sessions are gathered before somebody looks what they have open.
const GATHER: Duration = Duration::from_millis(100);

/// Closes what ended sessions have open as soon as they end.
async fn cut_what_ends(gate: Rc<Gate>, mut news: watch::Receiver<u64>) {
    while news.changed().await.is_ok() {
        tokio::time::sleep(GATHER).await;
        news.mark_unchanged();
        gate.cut_what_is_over();
    }
}

/// What a worker starts with.
pub struct Worker {
    /// The sockets to accept on.
    pub sockets: Vec<Socket>,
    /// Everything compiled from the config.
    pub plan: Arc<Plan>,
    /// Where requests are told.
    pub access: AccessLog,
    /// Bounds on connections' phases.
    pub patience: Patience,
    /// Bounds on connections, shared by all workers.
    pub places: Arc<Places>,
    /// Whose PROXY protocol headers count; nobody sends any when absent.
    pub balancers: Option<Arc<[IpNet]>>,
    /// Headers of a request, and their bytes.
    pub head: (usize, usize),
    /// What is spoken on connections.
    pub protocols: Protocols,
    /// How long requests in flight may go on after a stop was asked for.
    pub drain: Duration,
    /// Becomes true when a stop is asked for.
    pub stop: watch::Receiver<bool>,
}

impl Worker {
    /// Serves until a stop is asked for and everything under way has ended, or the bound is reached.
    ///
    /// # Errors
    /// When the runtime can't be made or a socket can't be used.
    pub fn run(self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.serve())
    }

    async fn serve(mut self) -> io::Result<()> {
        let tunnels = Tally::default();
        let gate = Rc::new(Gate::new(Arc::clone(&self.plan), self.access, tunnels.clone()));
        let hall = Hall {
            gate: Rc::clone(&gate),
            registry: Rc::new(Registry::new(self.patience)),
            open: Tally::default(),
            places: self.places,
            balancers: self.balancers,
            http1: Rc::new(connection::http1(self.head.0, self.head.1)),
            protocols: self.protocols,
        };
        let mut listeners = JoinSet::new();
        for socket in self.sockets {
            let kind = match socket.kind {
                sockets::Kind::Tcp(listener) => accept::Kind::Tcp(tokio::net::TcpListener::from_std(listener)?),
                sockets::Kind::Unix(listener) => accept::Kind::Unix(tokio::net::UnixListener::from_std(listener)?),
            };
            listeners.spawn_local(accept(Listener { kind, tls: socket.tls, callers: socket.callers }, hall.clone()));
        }
        drop(tokio::task::spawn_local(cut_what_ends(Rc::clone(&gate), self.plan.site.ended.news())));
        let mut sweeps = tokio::time::interval(SWEEP);
        let mut shortage = hall.places.shortage();
        loop {
            tokio::select! {
                // The sender lives as long as the gateway: an error means that it is gone, which is a stop too.
                stopped = self.stop.wait_for(|stop| *stop) => { drop(stopped); break; }
                Ok(()) = shortage.changed() => { hall.registry.make_room(); }
                _ = sweeps.tick() => { hall.registry.sweep(); gate.sweep(); tell_refused(&hall.places); }
            }
        }
        listeners.shutdown().await;
        hall.registry.drain();
        let quiet = async {
            hall.open.none_left().await;
            tunnels.none_left().await;
        };
        if tokio::time::timeout(self.drain, quiet).await.is_err() {
            tracing::warn!(
                connections = hall.open.count(),
                tunnels = tunnels.count(),
                "the time to drain is over; closing what is still open"
            );
        }
        Ok(())
    }
}
