//! Bodies in both directions: streamed as they arrive with back-pressure, never gathered, trailers of requests left behind.

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::net::pool::Lease;

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
}

impl Body {
    /// A body of these bytes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Own(full) => Pin::new(full).poll_frame(context).map_err(|never: Infallible| match never {}),
            Self::Upstream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Own(full) => full.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Own(full) => full.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

/// An upstream's body together with the connection that it comes over, which goes back to its pool once the body was read to its end.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease<RequestBody>>,
    ended: bool,
}

impl UpstreamBody {
    /// The body that arrives over `lease`.
    pub const fn new(incoming: Incoming, lease: Lease<RequestBody>) -> Self {
        Self { incoming, lease: Some(lease), ended: false }
    }
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(context));
        match &frame {
            None => self.ended = true,
            Some(Err(_)) => self.lease = None,
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // hyper doesn't poll once more for the end of a body whose length it knows, so both signs count.
        if (self.ended || self.incoming.is_end_stream())
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

/// The body of a request on its way to an upstream.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Option<Incoming>,
    /// How many bytes may still pass; unbounded when absent.
    left: Option<u64>,
    /// How long it may stand still.
    patience: Duration,
    /// When that is over, while it stands still; made when it first does.
    deadline: Option<Pin<Box<Sleep>>>,
    stands_still: bool,
}

/// Why a request's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The visitor's connection failed.
    #[error("the visitor's body broke off: {0}")]
    Visitor(#[from] hyper::Error),
    /// It is larger than the limit.
    #[error("the visitor's body is larger than the limit")]
    TooLarge,
    /// Nothing of it came for too long.
    #[error("nothing came of the visitor's body for too long")]
    TooSlow,
}

impl RequestBody {
    /// What the visitor sends, at most `limit` bytes of it, which may stand still for `patience` at most. Only the time during which
    /// somebody waits for more of it counts: a slow upstream is not the visitor's fault.
    pub const fn new(incoming: Incoming, limit: Option<u64>, patience: Duration) -> Self {
        Self { incoming: Some(incoming), left: limit, patience, deadline: None, stands_still: false }
    }

    /// No body.
    pub const fn empty() -> Self {
        Self { incoming: None, left: None, patience: Duration::MAX, deadline: None, stands_still: false }
    }

    /// What becomes of waiting for more.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let began = !std::mem::replace(&mut self.stands_still, true);
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        if began {
            deadline.set(sleep(patience));
        }
        deadline.as_mut().poll(context).map(|()| Some(Err(RequestBodyError::TooSlow)))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        loop {
            let Some(incoming) = self.incoming.as_mut() else { return Poll::Ready(None) };
            let frame = match Pin::new(incoming).poll_frame(context) {
                Poll::Pending => return self.wait(context),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            self.stands_still = false;
            // Trailers of a request end here: merged into headers they could name an identity (RFC 9112, section 7.1.2).
            let Some(data) = frame.data_ref() else { continue };
            let length = data.len() as u64;
            if let Some(left) = self.left.as_mut() {
                match left.checked_sub(length) {
                    Some(rest) => *left = rest,
                    None => return Poll::Ready(Some(Err(RequestBodyError::TooLarge))),
                }
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
