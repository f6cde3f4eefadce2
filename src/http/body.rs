//! The body of an answer: streamed as it arrives with back-pressure, never gathered, and never whole when it broke off.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;

pub use super::request_body::{Fault, RequestBody, RequestBodyError, Watch};
use super::trailers;
use crate::base::tally::Counted;
use crate::base::tie::Leash;
use crate::net::pool::{self, Lease};

/// Why an answer's body broke off. It names no source: an upstream's reset code says nothing to the visitor, whose stream is
/// reset as one that we could not finish (RFC 9113, section 7, `INTERNAL_ERROR`).
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection or stream to the upstream failed.
    #[error("the upstream's body broke off: {0}")]
    Upstream(pool::Fault),
    /// The session of whoever asked is over.
    #[error("the session of whoever asked is over")]
    SessionOver,
    /// A file could not be read to its end.
    #[error("a file could not be read to its end: {0}")]
    File(io::Error),
}

/// The body of an answer to a visitor.
#[derive(Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// Bytes of ours: a page, a problem, a redirect's text.
    Own(Full<Bytes>),
    /// An upstream's body, streamed as it arrives.
    Upstream(UpstreamBody),
    /// A file, streamed as it is read.
    Streamed(UnsyncBoxBody<Bytes, io::Error>, Option<Leash>),
}

impl Body {
    /// A body of these bytes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }

    /// This body, to break off when `leash` is cut. Bytes of ours are there already, so they stay whole.
    #[must_use]
    pub fn tied(mut self, leash: Leash) -> Self {
        match &mut self {
            Self::Empty | Self::Own(_) => {}
            Self::Upstream(body) => body.leash = Some(leash),
            Self::Streamed(_, held) => *held = Some(leash),
        }
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Own(full) => Pin::new(full).poll_frame(context).map_err(|never: Infallible| match never {}),
            Self::Upstream(body) => Pin::new(body).poll_frame(context),
            Self::Streamed(_, Some(leash)) if leash.is_cut() => Poll::Ready(Some(Err(BodyError::SessionOver))),
            Self::Streamed(body, leash) => {
                let polled = Pin::new(body).poll_frame(context).map_err(BodyError::File);
                wait(polled, leash, context)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Own(full) => full.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Own(full) => full.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Streamed(body, _) => body.size_hint(),
        }
    }
}

/// A body that waits is woken when its leash is cut.
fn wait(polled: Polled, leash: &mut Option<Leash>, context: &Context<'_>) -> Polled {
    match leash {
        Some(leash) if polled.is_pending() => leash.poll_cut(context).map(|()| Some(Err(BodyError::SessionOver))),
        _ => polled,
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// An upstream's body together with the connection that it comes over, which goes back to its pool once the body was read to its end.
#[derive(Debug)]
pub struct UpstreamBody {
    lease: Option<Lease<RequestBody>>,
    trailers: bool,
    ended: bool,
    leash: Option<Leash>,
    request: Option<Rc<Watch>>,
    _under_way: Option<Counted>,
}

impl UpstreamBody {
    /// The body that arrives over `lease`. Its trailers pass only when `trailers` says so, which is for gRPC alone. `under_way`
    /// is the request's place among those that its address answers; `request` is told when the answer is given up.
    pub const fn new(
        lease: Lease<RequestBody>,
        trailers: bool,
        under_way: Option<Counted>,
        request: Option<Rc<Watch>>,
    ) -> Self {
        Self { lease: Some(lease), trailers, ended: false, leash: None, request, _under_way: under_way }
    }
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.leash.as_ref().is_some_and(Leash::is_cut) {
            self.lease = None;
            return Poll::Ready(Some(Err(BodyError::SessionOver)));
        }
        loop {
            let this = &mut *self;
            let Some(lease) = this.lease.as_mut() else { return Poll::Ready(None) };
            let polled = lease.poll_frame(context);
            if polled.is_pending() {
                return wait(Poll::Pending, &mut this.leash, context);
            }
            let frame = match ready!(polled) {
                Some(Ok(frame)) => frame,
                Some(Err(cause)) => {
                    self.lease = None;
                    return Poll::Ready(Some(Err(BodyError::Upstream(cause))));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
            };
            match frame.into_trailers() {
                Err(data) => return Poll::Ready(Some(Ok(data))),
                Ok(mut passed) if self.trailers => {
                    trailers::clean_answer(&mut passed);
                    return Poll::Ready(Some(Ok(Frame::trailers(passed))));
                }
                Ok(_) => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_over)
    }

    fn size_hint(&self) -> SizeHint {
        self.lease.as_ref().map_or_else(SizeHint::default, Lease::size_hint)
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // hyper doesn't poll once more for the end of a body whose length it knows, so both signs count.
        if let Some(lease) = self.lease.take_if(|lease| self.ended || lease.is_over()) {
            lease.give_back();
        } else if let Some(request) = &self.request {
            request.give_up();
        }
    }
}
