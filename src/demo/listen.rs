//! One loopback listener and its connections, answered by one function until it is stopped.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::demo::answer::Answer;

/// Connections that are open at once; more wait in the queue of the kernel.
const MOST_CONNECTIONS: usize = 1024;

/// A listener that is being answered.
pub(crate) struct Listening {
    task: JoinHandle<()>,
}

/// Takes hold of `address`, which must be a loopback address; port 0 takes any free port.
///
/// # Errors
/// `PermissionDenied` when other machines could reach the address: whoever reaches the wing may be anyone they like.
/// Else what the operating system says.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the demo listens on loopback addresses only, and {address} is none; use 127.0.0.1 or [::1]"),
        ));
    }
    TcpListener::bind(address).await
}

impl Listening {
    /// Answers everything that comes to `listener` with `handler`.
    pub(crate) fn start<H, F>(listener: TcpListener, handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self { task: tokio::spawn(accept(listener, handler)) }
    }

    /// Closes the listener and cuts every connection; returns when the port is free.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        // The result is the cancellation that was just asked for.
        let _cancelled = (&mut self.task).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[allow(clippy::infinite_loop, reason = "it listens until its task is aborted, which drops the connections with it")]
async fn accept<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MOST_CONNECTIONS {
            connections.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, say: connections that end give some back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Small answers go out at once; the kernel refuses only on a connection that is gone already.
        let _gone = stream.set_nodelay(true);
        let handler = handler.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .max_headers(256)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // A client that hangs up is no fault of ours, and there is nobody to tell.
            let _ended = connection.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_addresses_are_listened_on() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let fault = bind(address.parse().unwrap()).await.unwrap_err();
            assert_eq!(fault.kind(), io::ErrorKind::PermissionDenied, "{address}");
        }
        assert!(bind("127.0.0.1:0".parse().unwrap()).await.is_ok());
    }
}
