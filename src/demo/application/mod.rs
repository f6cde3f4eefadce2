//! The sample application: shows what the gateway sends to an upstream, and gives tests something to proxy.
//!
//! | path | answer |
//! |---|---|
//! | `/` and every other | a page: who is signed in, the request, its headers |
//! | `/form` | the same page; a POST shows what was posted |
//! | `/echo` | JSON: `method`, `target`, `headers`, `body_bytes`, `body_sha256` |
//! | `/events` | server-sent events: the time, each second |
//! | `/ws` | a WebSocket that sends back what it gets |
//! | `/upload` | JSON: `bytes` and `sha256` of a body of any length |
//! | `/download?bytes=N` | N bytes; the byte at position i is i modulo 251 |
//! | `/status/NNN` | that status |
//! | `/slow?ms=N` | an answer after N milliseconds |

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use crate::demo::listen::{self, Listening};

mod echo;
mod page;
mod route;
mod stream;
#[cfg(test)]
mod tests;
mod websocket;

/// A running sample application. It stops when it is dropped.
pub struct SampleApplication {
    address: SocketAddr,
    listening: Listening,
}

/// WebSockets that are open; they end with the application.
pub(crate) type Sockets = Arc<Mutex<JoinSet<()>>>;

/// Starts the application on the present Tokio runtime. Port 0 takes any free port.
///
/// # Errors
/// When the address is not a loopback address (the application believes every header) or can't be listened on.
pub async fn start(address: SocketAddr) -> io::Result<SampleApplication> {
    let listener = listen::bind(address).await?;
    let address = listener.local_addr()?;
    let sockets = Sockets::default();
    let listening = Listening::start(listener, move |request| route::answer(Arc::clone(&sockets), request));
    Ok(SampleApplication { address, listening })
}

impl SampleApplication {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes its port and cuts its connections.
    pub async fn stop(self) {
        self.listening.stop().await;
    }
}
