//! Bodies in both directions: streamed as they arrive with back-pressure, never gathered, trailers of requests left behind.

use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::base::clock;
use crate::base::tally::Counted;
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
    /// A file, streamed as it is read.
    Streamed(UnsyncBoxBody<Bytes, io::Error>),
}

/// Why the body of an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream's connection failed.
    #[error("the upstream's body broke off: {0}")]
    Upstream(#[from] hyper::Error),
    /// A file could not be read to its end.
    #[error("a file could not be read to its end: {0}")]
    File(#[from] io::Error),
}

impl Body {
    /// A body of these bytes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Own(full) => Pin::new(full).poll_frame(context).map_err(|never: Infallible| match never {}),
            Self::Upstream(body) => Pin::new(body).poll_frame(context).map_err(BodyError::Upstream),
            Self::Streamed(body) => Pin::new(body).poll_frame(context).map_err(BodyError::File),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Own(full) => full.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Own(full) => full.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}

/// An upstream's body together with the connection that it comes over, which goes back to its pool once the body was read to its end.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease<RequestBody>>,
    ended: bool,
    _under_way: Option<Counted>,
}

impl UpstreamBody {
    /// The body that arrives over `lease`. `under_way` counts the exchange until the body is gone.
    pub const fn new(incoming: Incoming, lease: Lease<RequestBody>, under_way: Option<Counted>) -> Self {
        Self { incoming, lease: Some(lease), ended: false, _under_way: under_way }
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

/// How the body of a request is getting on: when a piece of it last moved, and whose turn it is.
#[derive(Debug)]
pub struct Upload {
    began: Instant,
    /// Milliseconds since `began`.
    moved: AtomicU64,
    visitors_turn: AtomicBool,
    /// How long the visitor may stand still.
    patience: Duration,
}

impl Upload {
    fn new(patience: Duration) -> Self {
        Self { began: clock::instant(), moved: AtomicU64::new(0), visitors_turn: AtomicBool::new(false), patience }
    }

    /// What is left of the time for an upstream that has `limit` from the last piece of the request on. While it is the visitor's
    /// turn the body counts by itself, so the visitor's patience is put on top and the body is the first to give up.
    pub fn left(&self, limit: Duration) -> Duration {
        let whole = if self.waits_for_visitor() { limit.saturating_add(self.patience) } else { limit };
        whole.saturating_sub(self.still_for())
    }

    /// How long nothing has moved.
    fn still_for(&self) -> Duration {
        clock::instant().duration_since(self.began).saturating_sub(Duration::from_millis(self.moved.load(Relaxed)))
    }

    /// Whether the upstream waits for the visitor to send more.
    pub fn waits_for_visitor(&self) -> bool {
        self.visitors_turn.load(Relaxed)
    }

    fn note(&self, visitors_turn: bool) {
        self.visitors_turn.store(visitors_turn, Relaxed);
        if !visitors_turn {
            let since = clock::instant().duration_since(self.began).as_millis();
            self.moved.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
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
    /// Absent when there is nothing to send.
    upload: Option<Arc<Upload>>,
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
    pub fn new(incoming: Incoming, limit: Option<u64>, patience: Duration) -> Self {
        let upload = if incoming.is_end_stream() { None } else { Some(Arc::new(Upload::new(patience))) };
        Self { incoming: Some(incoming), left: limit, patience, deadline: None, stands_still: false, upload }
    }

    /// No body.
    pub const fn empty() -> Self {
        Self { incoming: None, left: None, patience: Duration::MAX, deadline: None, stands_still: false, upload: None }
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

    /// How it is getting on; absent when there is nothing to send.
    pub const fn upload(&self) -> Option<&Arc<Upload>> {
        self.upload.as_ref()
    }

    fn poll_visitor(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
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
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let polled = self.poll_visitor(context);
        if let Some(upload) = &self.upload {
            upload.note(polled.is_pending());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
