//! Both ends of a connection that is being served: the stream that says when a request begins, the body that says when an answer is
//! over.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::places::{Place, Share};
use super::protocols::Opening;
use super::registry::{Phase, Progress};
use crate::http::body::{Body, BodyError};
use crate::net::stream::Stream;

/// Whoever wants to know how an answer goes out.
pub trait Listening {
    /// A piece of it was given to the connection; the next is asked for when the visitor may be sent more.
    fn gave(&self) {}

    /// The next piece is asked for.
    fn asked(&self) {}

    /// It is over: whole, or broken off by the visitor.
    fn over(&self, whole: bool);
}

/// An answer's body that tells when it is over.
pub struct Watched<L: Listening> {
    body: Body,
    listening: L,
    ended: bool,
}

impl<L: Listening> Watched<L> {
    /// Tells `listening` about `body`.
    pub const fn new(body: Body, listening: L) -> Self {
        Self { body, listening, ended: false }
    }
}

impl<L: Listening> Drop for Watched<L> {
    fn drop(&mut self) {
        self.listening.over(self.ended || self.body.is_end_stream());
    }
}

impl<L: Listening + Unpin> HttpBody for Watched<L> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.listening.asked();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(_))) = &polled {
            self.listening.gave();
        }
        // An upstream that broke off is not the visitor's doing.
        if let Poll::Ready(None | Some(Err(_))) = &polled {
            self.ended = true;
        }
        // Trailers are the last frame, and nobody asks for one more.
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && frame.is_trailers()
        {
            self.ended = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the first byte that comes on an idle connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// A request begins.
    Requests,
    /// Nothing: HTTP/2 sends frames between requests too.
    AtAnyTime,
}

/// A visitor's stream, which begins with what was read of it already. It tells when a request begins, and when nothing of an answer
/// is taken.
pub struct Wire {
    stream: Stream,
    opening: Opening,
    progress: Arc<Progress>,
    reads: Reads,
    _seat: (Place, Share),
}

impl Wire {
    /// A stream that tells `progress`, and holds `seat` until it ends.
    pub fn new(
        stream: Stream,
        opening: Opening,
        (progress, reads): (Arc<Progress>, Reads),
        seat: (Place, Share),
    ) -> Self {
        Self { stream, opening, progress, reads, _seat: seat }
    }

    /// Does `write`, and notes whether it has to wait for the peer.
    fn watch<T>(self: Pin<&mut Self>, write: impl FnOnce(Pin<&mut Stream>) -> Poll<T>) -> Poll<T> {
        let this = self.get_mut();
        let result = write(Pin::new(&mut this.stream));
        this.progress.sending(result.is_pending());
        result
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.progress.is_blocked() {
            self.stream.reset_when_closed();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.opening.rest();
        let result = if rest.is_empty() {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        } else {
            let count = rest.len().min(buffer.remaining());
            buffer.put_slice(rest.get(..count).unwrap_or_default());
            self.opening.pass(count);
            Poll::Ready(Ok(()))
        };
        if result.is_ready() && self.reads == Reads::Requests && self.progress.is_idle() {
            self.progress.enter(Phase::Head);
        }
        result
    }
}

impl AsyncWrite for Wire {
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
