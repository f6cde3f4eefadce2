//! Taking connections from one listener and giving each its own task on this worker.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::connection;
use super::registry::Registry;
use crate::base::tally::Tally;
use crate::gate::Gate;
use crate::http::visit::Peer;
use crate::net::stream::Stream;

/// How long to wait before accepting again when the process has run out of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener of one worker.
pub enum Listener {
    /// TCP, with TLS on it where the listener is an `https` one.
    Tcp(TcpListener, Option<TlsAcceptor>),
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
    pub places: Arc<Semaphore>,
    /// Bound on a TLS handshake.
    pub handshake: Duration,
}

/// Accepts for as long as the worker lives; dropped at a stop, which closes the listener.
pub async fn accept(listener: Listener, hall: Hall) {
    loop {
        let Ok(place) = Arc::clone(&hall.places).acquire_owned().await else { return };
        let (stream, peer, tls) = match take(&listener).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let hall = hall.clone();
        drop(tokio::task::spawn_local(async move {
            let _place = place;
            let _open = hall.open.enter();
            let entry = hall.registry.join();
            let stream = match tls {
                None => stream,
                Some(acceptor) => match secure(stream, &acceptor, hall.handshake).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::debug!(%error, "a TLS handshake failed");
                        return;
                    }
                },
            };
            connection::serve(hall.gate, peer, stream, entry).await;
        }));
    }
}

async fn take(listener: &Listener) -> io::Result<(Stream, Peer, Option<TlsAcceptor>)> {
    match listener {
        Listener::Tcp(listener, tls) => {
            let (stream, remote) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let local = stream.local_addr()?;
            let peer = Peer { remote: Some(remote), local: Some(local), tls: tls.is_some() };
            Ok((Stream::Tcp(stream), peer, tls.clone()))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            Ok((Stream::Unix(stream), Peer { remote: None, local: None, tls: false }, None))
        }
    }
}

async fn secure(stream: Stream, acceptor: &TlsAcceptor, limit: Duration) -> io::Result<Stream> {
    let Stream::Tcp(tcp) = stream else { return Ok(stream) };
    let handshake = tokio::time::timeout(limit, acceptor.accept(tcp));
    let tls = handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Stream::Tls(Box::new(TlsStream::Server(tls))))
}
