//! One visitor's connection: HTTP/1.1 over it, request after request, until it ends or is told to.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::registry::{Command, Entry, Phase, Progress};
use crate::gate::Gate;
use crate::http::body::Body;
use crate::http::visit::Peer;
use crate::net::stream::Stream;

/// Serves one connection to its end.
pub async fn serve(gate: Rc<Gate>, peer: Peer, stream: Stream, entry: Rc<Entry>) {
    let facts = Rc::new(peer);
    let service = service_fn(|request: Request<Incoming>| {
        entry.progress().enter(Phase::Busy);
        let (gate, facts, progress) = (Rc::clone(&gate), Rc::clone(&facts), Arc::clone(entry.progress()));
        async move {
            let response = gate.handle(&facts, request).await;
            Ok::<_, Infallible>(response.map(|body| Watched { body, progress }))
        }
    });
    let io = TokioIo::new(Listened { stream, progress: Arc::clone(entry.progress()) });
    let mut connection = pin!(http1::Builder::new().serve_connection(io, service).with_upgrades());
    let mut draining = false;
    // An error here is the visitor's connection failing: nobody is left to tell, and the exchange's own entry is in the access log.
    drop(
        poll_fn(|context| {
            match entry.poll_command(context) {
                Command::Serve => {}
                Command::Drain if draining => {}
                Command::Drain => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                Command::Close => return Poll::Ready(Ok(())),
            }
            connection.as_mut().poll(context)
        })
        .await,
    );
}

/// An answer's body that tells when it has gone out.
struct Watched {
    body: Body,
    progress: Arc<Progress>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.progress.enter(Phase::Idle);
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells when the first byte of a request has come.
struct Listened {
    stream: Stream,
    progress: Arc<Progress>,
}

impl AsyncRead for Listened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_ready() && self.progress.is_idle() {
            self.progress.enter(Phase::Head);
        }
        result
    }
}

impl AsyncWrite for Listened {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
