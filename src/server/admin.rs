//! The operator's own listener: is the process alive, and is it ready for visitors. Never on a public socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Whether visitors should be sent here: false before the workers accept and once a stop was asked for.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Answers on `listener` until the office closes.
#[allow(clippy::infinite_loop, reason = "it answers until the office closes, which drops its connections with it")]
pub async fn serve(listener: TcpListener, readiness: Readiness) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let readiness = readiness.clone();
        drop(tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &readiness);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(std::time::Duration::from_secs(10));
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        }));
    }
}

/// Opens the operator's listener.
///
/// # Errors
/// When the address is taken or not ours.
pub fn listen(address: SocketAddr) -> Result<std::net::TcpListener, crate::net::listen::ListenError> {
    let mut listeners = crate::net::listen::tcp(address, 1)?;
    listeners.pop().ok_or_else(|| crate::net::listen::ListenError {
        address: address.to_string(),
        cause: std::io::Error::other("no listener was made"),
    })
}

fn answer(method: &Method, path: &str, readiness: &Readiness) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        _ if method != Method::GET && method != Method::HEAD => (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
        "/healthz" => (StatusCode::OK, "alive\n"),
        "/readyz" if readiness.get() => (StatusCode::OK, "ready\n"),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        _ => (StatusCode::NOT_FOUND, "here are /healthz and /readyz\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_told_so_and_alive_all_the_while() {
        let readiness = Readiness::default();
        assert_eq!(answer(&Method::GET, "/healthz", &readiness).status(), 200);
        assert_eq!(answer(&Method::GET, "/readyz", &readiness).status(), 503);
        readiness.set(true);
        assert_eq!(answer(&Method::GET, "/readyz", &readiness).status(), 200);
        assert_eq!(answer(&Method::POST, "/readyz", &readiness).status(), 405);
        assert_eq!(answer(&Method::GET, "/metrics", &readiness).status(), 404);
    }
}
