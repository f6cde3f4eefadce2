//! A request on its way out over HTTP/1.1: the head first, then the body as it comes, within what the head said about its length.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request};
use http_body::Body;
use tokio::io::AsyncWrite as _;

use crate::net::stream::Stream;

/// How the length of a request's body is told (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By `Content-Length`: so many bytes are still to come.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// Why the rest of a request can't be sent.
#[derive(Debug)]
pub(super) enum UploadFault {
    /// The upstream takes no more. It may have answered all the same.
    Write(io::Error),
    /// The body broke off or is not what the head said: what was sent is no whole request.
    Body,
}

/// What is still to be sent of a request.
pub(super) struct Upload<B> {
    /// The head, later the line before a chunk; all but its first `written` bytes wait.
    front: Vec<u8>,
    written: usize,
    /// Whether anything was written.
    touched: bool,
    data: Bytes,
    back: &'static [u8],
    /// What is sent, of which the head is in `front`.
    request: Box<Request<B>>,
    /// Whether the end of its body was read.
    ended: bool,
    framing: Framing,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// The request with the head `head`, whose body is framed as that says.
    pub(super) const fn new(head: Vec<u8>, request: Box<Request<B>>, framing: Framing) -> Self {
        Self { front: head, written: 0, touched: false, data: Bytes::new(), back: b"", request, ended: false, framing }
    }

    /// Sends as much as goes; ready when all of it has gone.
    pub(super) fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<Result<(), UploadFault>> {
        loop {
            ready!(self.poll_waiting(stream, context)).map_err(UploadFault::Write)?;
            if self.ended {
                return Pin::new(stream).poll_flush(context).map_err(UploadFault::Write);
            }
            let Poll::Ready(frame) = Pin::new(self.request.body_mut()).poll_frame(context) else {
                // What was written must not wait for what comes later.
                ready!(Pin::new(stream).poll_flush(context)).map_err(UploadFault::Write)?;
                return Poll::Pending;
            };
            match frame {
                Some(Ok(frame)) => {
                    // Trailers end here (RFC 9110, section 6.5.1): HTTP/1.1 upstreams get none.
                    let Ok(data) = frame.into_data() else { continue };
                    self.take(data)?;
                }
                Some(Err(_)) => return Poll::Ready(Err(UploadFault::Body)),
                None => self.end()?,
            }
        }
    }

    fn take(&mut self, data: Bytes) -> Result<(), UploadFault> {
        if data.is_empty() {
            // In chunks it would be the end.
            return Ok(());
        }
        match &mut self.framing {
            Framing::Length(left) => *left = left.checked_sub(data.len() as u64).ok_or(UploadFault::Body)?,
            Framing::Chunked => {
                write!(self.front, "{:x}\r\n", data.len()).map_err(UploadFault::Write)?;
                self.back = b"\r\n";
            }
        }
        self.data = data;
        Ok(())
    }

    fn end(&mut self) -> Result<(), UploadFault> {
        self.ended = true;
        match self.framing {
            Framing::Length(0) => Ok(()),
            Framing::Length(_) => Err(UploadFault::Body),
            Framing::Chunked => {
                self.back = b"0\r\n\r\n";
                Ok(())
            }
        }
    }

    /// The request as it was, when nothing at all was written.
    pub(super) fn into_unsent(self) -> Option<Box<Request<B>>> {
        (!self.touched).then_some(self.request)
    }

    /// Whether nothing at all was written yet.
    pub(super) const fn is_untouched(&self) -> bool {
        !self.touched
    }

    fn poll_waiting(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let front = self.front.get(self.written..).unwrap_or_default();
            let written = match (front.is_empty(), self.data.is_empty() && self.back.is_empty()) {
                (true, true) => break,
                (false, true) => ready!(Pin::new(&mut *stream).poll_write(context, front))?,
                _ => {
                    let slices = [IoSlice::new(front), IoSlice::new(&self.data), IoSlice::new(self.back)];
                    ready!(Pin::new(&mut *stream).poll_write_vectored(context, &slices))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if !std::mem::replace(&mut self.touched, true) {
                // Nobody asks for these again. What waits for an answer holds as little as it can: the next request finds the room in the
                // processor's cache.
                *self.request.headers_mut() = HeaderMap::new();
            }
            self.advance(written);
        }
        if self.written > 0 && !self.ended {
            self.front = Vec::new();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        let front = written.min(self.front.len() - self.written);
        self.written += front;
        written -= front;
        let data = written.min(self.data.len());
        self.data.advance(data);
        written -= data;
        self.back = self.back.get(written..).unwrap_or_default();
    }
}
