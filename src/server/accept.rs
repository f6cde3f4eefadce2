//! Taking connections from one listener and giving each its own task on this worker.
//!
//! Before a connection speaks HTTP it has found a place ([`Places`]), told by the PROXY protocol whose it is where that is asked for,
//! and done its TLS handshake. All of that is watched by the [`Registry`] as the head of a request is.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use ipnet::IpNet;
use rustls::ServerConnection;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsStream;

use super::connection::{self, Desk, Opened};
use super::places::{Place, Places};
use super::protocols::Protocols;
use super::registry::{Phase, Registry};
use super::sockets::Callers;
use crate::base::tally::Tally;
use crate::gate::Gate;
use crate::http::visit::Peer;
use crate::net::client_certificate::ClientCertificate;
use crate::net::proxy_protocol;
use crate::net::stream::Stream;
use crate::net::tls_server::TlsServer;

/// How long to wait before accepting again when the process has run out of descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// How often room is made while there is no place.
const NUDGE: Duration = Duration::from_millis(100);

/// A listener of one worker.
pub struct Listener {
    /// What it is.
    pub kind: Kind,
    /// TLS on it, where it is an `https` one.
    pub tls: Option<Arc<TlsServer>>,
    /// Who comes there.
    pub callers: Callers,
}

/// The kinds of listener.
pub enum Kind {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// What every connection of a worker shares.
#[derive(Clone)]
pub struct Hall {
    /// Answers requests.
    pub gate: Rc<Gate>,
    /// Knows the connections.
    pub registry: Rc<Registry>,
    /// Counts the connections.
    pub open: Tally,
    /// Bounds the connections.
    pub places: Arc<Places>,
    /// Whose PROXY protocol headers count; nobody sends any when absent.
    pub balancers: Option<Arc<[IpNet]>>,
    /// How HTTP/1.1 is spoken.
    pub http1: Rc<http1::Builder>,
    /// What is spoken on connections.
    pub protocols: Protocols,
}

/// A connection as it was accepted.
enum Accepted {
    Tcp(TcpStream, Peer),
    Unix(UnixStream),
}

/// Accepts for as long as the worker lives; dropped at a stop, which closes the listener.
pub async fn accept(listener: Listener, hall: Hall) {
    loop {
        let accepted = match take(&listener.kind).await {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = place(&hall).await else { return };
        let (hall, tls, callers) = (hall.clone(), listener.tls.clone(), listener.callers);
        drop(tokio::task::spawn_local(async move {
            let _open = hall.open.enter();
            let entry = hall.registry.join();
            entry.progress().enter(Phase::Head);
            let greeted = tokio::select! {
                biased;
                greeted = greet(accepted, (tls.as_deref(), callers), place, &hall) => greeted,
                () = entry.told_to_close() => Err(io::ErrorKind::TimedOut.into()),
            };
            match greeted {
                Ok((peer, opened)) => {
                    entry.progress().enter(Phase::Idle);
                    let spoken = (&*hall.http1, hall.protocols);
                    connection::serve(Desk { gate: hall.gate, callers }, peer, opened, entry, spoken).await;
                }
                Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
            }
        }));
    }
}

/// A place among all connections. While there is none, those that nobody would miss are closed.
async fn place(hall: &Hall) -> Option<Place> {
    if let Some(place) = hall.places.try_take() {
        return Some(place);
    }
    loop {
        if !hall.registry.make_room() {
            hall.places.ask_for_room();
        }
        if let Ok(place) = tokio::time::timeout(NUDGE, hall.places.take()).await {
            return place;
        }
    }
}

async fn take(listener: &Kind) -> io::Result<Accepted> {
    match listener {
        Kind::Tcp(listener) => {
            let (stream, remote) = listener.accept().await?;
            // A peer that is gone already leaves a socket that can't be asked; its first read will tell.
            drop(stream.set_nodelay(true));
            let local = stream.local_addr().ok();
            Ok(Accepted::Tcp(stream, Peer { remote: Some(remote), local, ..Peer::default() }))
        }
        Kind::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
    }
}

/// Whether only this one connection failed (`accept(2)`), so that the next one need not wait.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | PermissionDenied)
}

/// What comes before HTTP: whose connection it is, whether that address may have another one, and TLS.
async fn greet(
    accepted: Accepted,
    (tls, callers): (Option<&TlsServer>, Callers),
    place: Place,
    hall: &Hall,
) -> io::Result<(Peer, Opened)> {
    let (mut stream, mut peer) = match accepted {
        Accepted::Tcp(stream, peer) => (stream, peer),
        Accepted::Unix(stream) => {
            let share = hall.places.share(None).ok_or(io::ErrorKind::QuotaExceeded)?;
            return Ok((Peer::default(), Opened { stream: Stream::Unix(stream), seat: (place, share) }));
        }
    };
    // Envoy comes by itself, whatever stands in front of it.
    if let Some(balancers) = hall.balancers.as_deref().filter(|_| callers == Callers::Visitors) {
        introduce(&mut stream, &mut peer, balancers, &hall.places).await?;
    }
    let share = hall.places.share(peer.remote.map(|remote| remote.ip())).ok_or_else(|| {
        io::Error::new(io::ErrorKind::QuotaExceeded, "its address has as many connections as it may have")
    })?;
    let stream = match tls {
        None => Stream::Tcp(stream),
        Some(tls) => {
            let secured = tls.acceptor().accept(stream).await?;
            peer.tls = true;
            peer.certificate = certificate(secured.get_ref().1);
            Stream::Tls(Box::new(TlsStream::Server(secured)))
        }
    };
    Ok((peer, Opened { stream, seat: (place, share) }))
}

/// Takes the peer's ends from the PROXY protocol header that a balancer has to send, and nobody else may.
///
/// The visitor's address stands in place of the balancer's from here on, also where it is asked whether `X-Forwarded-*` count: a
/// balancer of this kind passes on the visitor's bytes as they are, so what they say is the visitor's word.
async fn introduce(stream: &mut TcpStream, peer: &mut Peer, balancers: &[IpNet], places: &Places) -> io::Result<()> {
    let is_balancer = |address: IpAddr| balancers.iter().any(|network| network.contains(&address.to_canonical()));
    if !peer.remote.is_some_and(|remote| is_balancer(remote.ip())) {
        places.note_stranger();
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the peer is no trusted proxy, so it may tell us nothing",
        ));
    }
    let announced = proxy_protocol::read(stream).await.inspect_err(|error| {
        // Balancers that only look whether we listen close without a word.
        if error.kind() == io::ErrorKind::InvalidData {
            places.note_unannounced();
        }
    });
    match announced? {
        Some(ends) => (peer.remote, peer.local) = (Some(ends.source), Some(ends.destination)),
        None => peer.remote = None,
    }
    Ok(())
}

fn certificate(connection: &ServerConnection) -> Option<Arc<ClientCertificate>> {
    let leaf = connection.peer_certificates()?.first()?;
    ClientCertificate::new(leaf).map(Arc::new)
}

/// Tells, for the worker's sweeps, of connections that were closed because their address had too many, or because it was not said whose
/// they are.
pub fn tell_refused(places: &Places) {
    let count = places.refused();
    if count > 0 {
        tracing::warn!(
            count,
            "connections were closed at once: their addresses have as many as `limits.connections_per_address` allows"
        );
    }
    let (strangers, unannounced) = places.without_introduction();
    if strangers > 0 {
        tracing::warn!(
            count = strangers,
            "connections were closed at once: `listen.proxy_protocol` is on, and their peers are not in `trusted_proxies.networks`; let \
             the balancer alone come here, and name its address there"
        );
    }
    if unannounced > 0 {
        tracing::warn!(
            count = unannounced,
            "connections were closed at once: `listen.proxy_protocol` is on, and their peers sent no PROXY protocol header; have the \
             balancer send one, or turn it off here"
        );
    }
}
