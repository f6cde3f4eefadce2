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

use super::places::{Place, Share};
use super::registry::{Command, Entry, Phase, Progress};
use crate::gate::Gate;
use crate::http::body::{Body, BodyError};
use crate::http::visit::Peer;
use crate::net::stream::Stream;

/// How much more of a head is read than may be in it.
const ROOM_FOR_COOKIES: usize = 256 * 1024;
/// How many headers hyper takes unless it is told otherwise.
const USUAL_HEADERS: usize = 100;

/// A connection that is ready for requests.
pub struct Opened {
    /// Its bytes.
    pub stream: Stream,
    /// Its places among all connections, given up when the stream ends, which for a WebSocket is long after the last request.
    pub seat: (Place, Share),
}

/// How HTTP/1.1 is spoken: at most `headers` in a request. More is read of a head than `header_bytes` allow, so that one which is too
/// large can still be answered by a page that clears our cookies: a browser may bring sixty cookies of 4 KiB.
pub fn http1(headers: usize, header_bytes: usize) -> http1::Builder {
    let mut http1 = http1::Builder::new();
    http1.max_buf_size(header_bytes.saturating_add(ROOM_FOR_COOKIES));
    if headers != USUAL_HEADERS {
        // Any number that is set costs an allocation a request.
        http1.max_headers(headers);
    }
    http1
}

/// Serves one connection to its end.
pub async fn serve(gate: Rc<Gate>, peer: Peer, opened: Opened, entry: Rc<Entry>, http1: &http1::Builder) {
    let facts = Rc::new(peer);
    let service = service_fn(|request: Request<Incoming>| {
        entry.progress().enter(Phase::Busy);
        let (gate, facts, progress) = (Rc::clone(&gate), Rc::clone(&facts), Arc::clone(entry.progress()));
        async move {
            let response = gate.handle(&facts, request).await;
            Ok::<_, Infallible>(response.map(|body| Watched { body, progress }))
        }
    });
    let Opened { stream, seat } = opened;
    let io = TokioIo::new(Listened { stream, progress: Arc::clone(entry.progress()), _seat: seat });
    let mut connection = pin!(http1.serve_connection(io, service).with_upgrades());
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
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells when the first byte of a request has come, and when nothing of an answer is taken.
struct Listened {
    stream: Stream,
    progress: Arc<Progress>,
    _seat: (Place, Share),
}

impl Listened {
    /// Does `write`, and notes whether it has to wait for the peer.
    fn watch<T>(self: Pin<&mut Self>, write: impl FnOnce(Pin<&mut Stream>) -> Poll<T>) -> Poll<T> {
        let this = self.get_mut();
        let result = write(Pin::new(&mut this.stream));
        this.progress.sending(result.is_pending());
        result
    }
}

impl Drop for Listened {
    fn drop(&mut self) {
        if self.progress.is_blocked() {
            self.stream.reset_when_closed();
        }
    }
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
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.watch(|stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch(|stream| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(|stream| stream.poll_shutdown(context))
    }
}
