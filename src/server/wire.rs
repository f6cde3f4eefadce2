//! Both ends of a connection that is being served: the stream that says when a request begins, the body that says when an answer is
//! over.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::guard::Guard;
use super::places::{Place, Share};
use super::protocols::Opening;
use super::registry::{Phase, Progress};
use crate::http::body::{Body, BodyError};
use crate::net::hints::Hints;
use crate::net::stream::Stream;

/// The most bytes that a guard misses at once: all but one of a frame's header.
const LONGEST_MISSING: usize = 8;

/// How long a visitor has to read the last word, and how much of what they still send is read meanwhile: a connection that is closed
/// over bytes that nobody has read is reset, and the last word with it (RFC 9112, section 9.6).
const LAST_WORD: Duration = Duration::from_secs(1);
const LAST_BYTES: usize = 256 * 1024;

/// Whoever wants to know how an answer goes out.
pub trait Listening {
    /// A piece of it was given to the connection; the next is asked for when the visitor may be sent more.
    fn gave(&self) {}

    /// The next piece is asked for.
    fn asked(&self) {}

    /// There is no more of it, though it is not whole.
    fn broke(&self) {}

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
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.listening.broke();
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

/// A visitor's stream, which begins with what was read of it already. It tells when a request begins, and when nothing of an answer
/// is taken.
pub struct Wire {
    stream: Stream,
    opening: Opening,
    progress: Arc<Progress>,
    /// Of HTTP/2, where the first byte on an idle connection begins no request: frames come between requests too.
    guard: Option<Box<Guard>>,
    /// Of HTTP/1.1: early hints that wait to be written.
    hints: Arc<Hints>,
    lingering: Option<Box<Lingering>>,
    _seat: (Place, Share),
}

/// A connection of HTTP/2 that has said its last word.
struct Lingering {
    over: Pin<Box<Sleep>>,
    left: usize,
}

impl Wire {
    /// A stream that tells `progress`, and holds `seat` until it ends. `guard` looks at what is read after the opening.
    pub fn new(
        stream: Stream,
        opening: Opening,
        (progress, guard): (Arc<Progress>, Option<Box<Guard>>),
        seat: (Place, Share),
    ) -> Self {
        Self { stream, opening, progress, guard, hints: Arc::default(), lingering: None, _seat: seat }
    }

    /// Where hints at an answer go that has not begun. They are written when nothing else is.
    pub const fn hints(&self) -> &Arc<Hints> {
        &self.hints
    }

    /// Does `write` with the stream, and notes whether it has to wait for the peer.
    fn watch<T>(&mut self, write: impl FnOnce(Pin<&mut Stream>) -> Poll<T>) -> Poll<T> {
        let result = write(Pin::new(&mut self.stream));
        self.progress.sending(result.is_pending());
        result
    }

    fn write_hints(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let hints = Arc::clone(&self.hints);
        self.watch(|stream| hints.poll_write(stream.get_mut(), context))
    }

    /// Writes `slices` by `write`, or what the guard has to say in their place.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.hints.are_begun() {
            ready!(self.write_hints(context))?;
        }
        let amended = self.guard.as_ref().and_then(|guard| guard.amended(slices));
        let result = self.watch(|stream| match amended {
            None => write(stream, context),
            Some(bytes) => stream.poll_write(context, &bytes),
        });
        if let (Some(guard), Poll::Ready(Ok(count))) = (&mut self.guard, &result) {
            guard.wrote(slices, *count);
        }
        result
    }
}

/// Waits until the visitor has closed their side too, and reads what they still send.
fn linger(stream: &mut Stream, lingering: &mut Lingering, context: &mut Context<'_>) -> Poll<()> {
    let mut room = [0; 4096];
    while lingering.left > 0 {
        let mut dropped = ReadBuf::new(&mut room);
        match Pin::new(&mut *stream).poll_read(context, &mut dropped) {
            Poll::Pending => return lingering.over.as_mut().poll(context),
            Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {
                lingering.left = lingering.left.saturating_sub(dropped.filled().len());
            }
            Poll::Ready(_) => break,
        }
    }
    Poll::Ready(())
}

/// Reads what `guard` lets pass.
fn read_guarded(
    stream: &mut Stream,
    guard: &mut Guard,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    loop {
        if !guard.ready().is_empty() {
            let count = guard.ready().len().min(buffer.remaining());
            buffer.put_slice(guard.ready().get(..count).unwrap_or_default());
            guard.handed_on(count);
            return Poll::Ready(Ok(()));
        }
        if guard.is_over() {
            return Poll::Ready(Ok(()));
        }
        if guard.missing() > 0 {
            let mut room = [0; LONGEST_MISSING];
            let mut missing = ReadBuf::new(room.get_mut(..guard.missing()).unwrap_or_default());
            ready!(Pin::new(&mut *stream).poll_read(context, &mut missing))?;
            if missing.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            guard.complete(missing.filled());
            continue;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *stream).poll_read(context, buffer))?;
        let Some(fresh) = buffer.filled_mut().get_mut(before..).filter(|fresh| !fresh.is_empty()) else {
            return Poll::Ready(Ok(()));
        };
        let count = guard.inspect(fresh);
        buffer.set_filled(before + count);
        if count > 0 {
            return Poll::Ready(Ok(()));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // What was not taken is not kept. And an answer that ends with its connection would look whole if that ended in order
        // (RFC 9112, section 8), whether its upstream broke off or we gave it up. Over HTTP/2 each answer says itself where it ends.
        let is_cut = self.guard.is_none() && self.progress.is_busy();
        if self.progress.is_blocked() || self.progress.is_broken() || is_cut {
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
        let this = &mut *self;
        let rest = this.opening.rest();
        if !rest.is_empty() {
            let count = rest.len().min(buffer.remaining());
            buffer.put_slice(rest.get(..count).unwrap_or_default());
            this.opening.pass(count);
        } else if let Some(guard) = &mut this.guard {
            let polled = read_guarded(&mut this.stream, guard, context, buffer);
            this.progress.receiving_head(guard.is_in_head());
            return polled;
        } else {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        }
        if this.guard.is_none() && this.progress.is_idle() {
            this.progress.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(context, &[IoSlice::new(bytes)], |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(context, slices, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Nothing else is left to write when hyper asks for this.
        if this.hints.are_waiting() {
            ready!(this.write_hints(context))?;
        }
        this.watch(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(lingering) = &mut this.lingering else {
            ready!(this.watch(|stream| stream.poll_shutdown(context)))?;
            if this.guard.is_none() {
                return Poll::Ready(Ok(()));
            }
            let over = Box::pin(tokio::time::sleep(LAST_WORD));
            this.lingering = Some(Box::new(Lingering { over, left: LAST_BYTES }));
            return Pin::new(this).poll_shutdown(context);
        };
        linger(&mut this.stream, lingering, context).map(Ok)
    }
}
