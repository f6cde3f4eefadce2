//! A request's body on its way to an upstream: streamed as it arrives with back-pressure and within its bound.
//!
//! 1. A body that broke off never looks like one that ended: an upstream must not take half of it for the whole.
//! 2. Trailers end here, but for those of a gRPC call, cleaned ([`crate::http::trailers`]).
//! 3. Whoever waits for the answer can see whether the body is still on its way ([`Watch`]), and why it broke off.
//! 4. The beginning of a body can be sent once more, when an upstream refused the stream before it looked at it (RFC 9113,
//!    section 8.7). That is kept for HTTP/2 alone, and no more than [`MAX_KEPT`] of it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::base::clock;
use crate::base::tie::Leash;
use crate::http::protected::ProtectedNames;
use crate::http::trailers;

/// The most of a body that is kept to be sent again.
pub const MAX_KEPT: usize = 64 * 1024;

/// The body of a request on its way to an upstream.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    watch: Option<Rc<Watch>>,
    trailers: bool,
    leash: Option<Leash>,
}

#[derive(Debug)]
enum Source {
    Nothing,
    Visitor(Visitor),
    /// A copy of the number it has, and how many of the kept pieces it has passed on.
    Again(Rc<Kept>, usize, usize),
}

/// What the visitor sends.
#[derive(Debug)]
struct Visitor {
    incoming: Incoming,
    /// How many bytes may still pass; unbounded when absent.
    left: Option<u64>,
    /// How long it may stand still.
    patience: Duration,
    /// When that is over, while it stands still; made when it first does.
    deadline: Option<Pin<Box<Sleep>>>,
    stands_still: bool,
    /// Whether it comes over HTTP/2, where hyper tells some cancellations as an end.
    http2: bool,
    /// Present when trailers pass.
    trailers: Option<Arc<ProtectedNames>>,
}

/// A body whose beginning is kept.
#[derive(Debug)]
struct Kept {
    visitor: RefCell<Visitor>,
    pieces: RefCell<Vec<Bytes>>,
    bytes: Cell<usize>,
    /// Only the latest copy may read on.
    latest: Cell<usize>,
}

/// How far a request's body has come, for whoever waits for the answer.
#[derive(Debug)]
pub struct Watch {
    /// When a piece last moved.
    moved: Cell<Instant>,
    visitors_turn: Cell<bool>,
    /// How long the visitor may stand still.
    patience: Duration,
    /// Whether a call's answer has begun.
    answered: Cell<bool>,
    /// Whether the answer was given up before its end.
    given_up: Cell<bool>,
    /// Who waits for the next piece.
    reader: RefCell<Option<Waker>>,
    fault: Cell<Option<Fault>>,
}

/// Why a request's body broke off, without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The visitor's connection failed, or the visitor cancelled the request.
    Visitor,
    /// It is larger than the limit.
    TooLarge,
    /// Nothing of it came for too long.
    TooSlow,
    /// The session of the visitor is over.
    SessionOver,
}

/// Why a request's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The visitor's connection failed, or the visitor cancelled the request. An HTTP/2 upstream is told CANCEL by this.
    #[error("the visitor's body broke off")]
    Visitor(#[source] h2::Error),
    /// It is larger than the limit.
    #[error("the visitor's body is larger than the limit")]
    TooLarge,
    /// Nothing of it came for too long.
    #[error("nothing came of the visitor's body for too long")]
    TooSlow,
    /// The session of the visitor is over. An HTTP/2 upstream is told CANCEL by this.
    #[error("the session of the visitor is over")]
    SessionOver(#[source] h2::Error),
}

impl RequestBodyError {
    fn cancelled() -> Self {
        Self::Visitor(h2::Error::from(h2::Reason::CANCEL))
    }

    fn session_over() -> Self {
        Self::SessionOver(h2::Error::from(h2::Reason::CANCEL))
    }
}

impl Watch {
    fn new(patience: Duration) -> Self {
        let moved = Cell::new(clock::instant());
        Self {
            moved,
            visitors_turn: Cell::new(false),
            patience,
            answered: Cell::new(false),
            given_up: Cell::new(false),
            reader: RefCell::default(),
            fault: Cell::new(None),
        }
    }

    /// The answer to a gRPC call has begun: from now on the visitor may be silent for as long as the call lasts, since streams of calls
    /// go both ways and a side that has nothing to say says nothing.
    pub fn answered(&self) {
        self.answered.set(true);
    }

    /// What is left of the time for an upstream that has `limit` from the last piece of the request on. While it is the visitor's
    /// turn the body counts by itself, so the visitor's patience is put on top and the body is the first to give up.
    pub fn left(&self, limit: Duration) -> Duration {
        let whole = if self.waits_for_visitor() { limit.saturating_add(self.patience) } else { limit };
        whole.saturating_sub(clock::instant().duration_since(self.moved.get()))
    }

    /// Whether the upstream waits for the visitor to send more.
    pub const fn waits_for_visitor(&self) -> bool {
        self.visitors_turn.get()
    }

    fn note(&self, visitors_turn: bool) {
        self.visitors_turn.set(visitors_turn);
        if !visitors_turn {
            self.moved.set(clock::instant());
        }
    }

    /// The answer was given up before its end, so the rest of the body is of no use. A stream of HTTP/2 ends only when both its
    /// directions are let go.
    pub fn give_up(&self) {
        self.given_up.set(true);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wait(&self, context: &Context<'_>) {
        let mut reader = self.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
            *reader = Some(context.waker().clone());
        }
    }

    /// Why the body broke off, when it did.
    pub const fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }
}

impl RequestBody {
    /// What the visitor sends over HTTP/2 or not, at most `limit` bytes of it, which may stand still for `patience` at most. Only the
    /// time during which somebody waits for more of it counts: a slow upstream is not the visitor's fault.
    pub fn new(incoming: Incoming, limit: Option<u64>, patience: Duration, http2: bool) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let visitor =
            Visitor { incoming, left: limit, patience, deadline: None, stands_still: false, http2, trailers: None };
        Self {
            source: Source::Visitor(visitor),
            watch: Some(Rc::new(Watch::new(patience))),
            trailers: false,
            leash: None,
        }
    }

    /// No body.
    pub const fn empty() -> Self {
        Self { source: Source::Nothing, watch: None, trailers: false, leash: None }
    }

    /// Lets trailers pass, without those that `protected` covers.
    #[must_use]
    pub fn with_trailers(mut self, protected: &Arc<ProtectedNames>) -> Self {
        if let Source::Visitor(visitor) = &mut self.source {
            visitor.trailers = Some(Arc::clone(protected));
        }
        self.trailers = true;
        self
    }

    /// Breaks off when `leash` is cut, as long as something of it is still to come.
    #[must_use]
    pub fn tied(mut self, leash: impl FnOnce() -> Leash) -> Self {
        if !matches!(self.source, Source::Nothing) {
            self.leash = Some(leash());
        }
        self
    }

    /// Whether trailers pass, which is so for gRPC calls alone.
    pub const fn passes_trailers(&self) -> bool {
        self.trailers
    }

    /// How far it has come; `None` when there is no body.
    pub fn watch(&self) -> Option<Rc<Watch>> {
        self.watch.clone()
    }

    /// Begins to keep what passes, for [`Self::again`].
    #[must_use]
    pub fn keeping(self) -> Self {
        let Self { source, watch, trailers, leash } = self;
        let visitor = match source {
            Source::Visitor(visitor) => visitor,
            source => return Self { source, watch, trailers, leash },
        };
        let kept = Kept {
            visitor: RefCell::new(visitor),
            pieces: RefCell::default(),
            bytes: Cell::new(0),
            latest: Cell::new(0),
        };
        Self { source: Source::Again(Rc::new(kept), 0, 0), watch, trailers, leash }
    }

    /// A copy that starts at the beginning, as long as all of that is kept when it is read. Only the latest copy can be read.
    #[must_use]
    pub fn again(&self) -> Self {
        let source = match &self.source {
            Source::Nothing | Source::Visitor(_) => Source::Nothing,
            Source::Again(kept, number, _) => Source::Again(Rc::clone(kept), number + 1, 0),
        };
        Self {
            source,
            watch: self.watch.clone(),
            trailers: self.trailers,
            leash: self.leash.as_ref().map(Leash::again),
        }
    }

    /// Whether it can be sent from its beginning.
    pub fn is_whole(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Visitor(_) => false,
            Source::Again(kept, ..) => kept.bytes.get() <= MAX_KEPT && self.fault().is_none(),
        }
    }

    /// Why it broke off, when it did.
    pub fn fault(&self) -> Option<Fault> {
        self.watch.as_ref().and_then(|watch| watch.fault())
    }
}

impl Visitor {
    /// The next piece; `unhurried` when it may take any time.
    fn poll(
        &mut self,
        unhurried: bool,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        loop {
            let Poll::Ready(polled) = Pin::new(&mut self.incoming).poll_frame(context) else {
                return if unhurried { Poll::Pending } else { self.wait(context) };
            };
            self.stands_still = false;
            let frame = match polled {
                // A stream that was reset with NO_ERROR ends without END_STREAM (RFC 9113, section 8.1).
                None if self.http2 && !self.incoming.is_end_stream() => {
                    return Poll::Ready(Some(Err(RequestBodyError::cancelled())));
                }
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(RequestBodyError::cancelled()))),
                Some(Ok(frame)) => frame,
            };
            let Some(data) = frame.data_ref() else {
                match (&self.trailers, frame.into_trailers()) {
                    (Some(protected), Ok(mut trailers)) => {
                        trailers::clean_request(&mut trailers, protected);
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    // Merged into headers they could name an identity (RFC 9112, section 7.1.2).
                    (None, _) | (_, Err(_)) => continue,
                }
            };
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

impl Kept {
    /// The next piece of the latest copy: one that was kept, or what the visitor sends. Nothing more is kept for the last copy.
    fn poll(
        &self,
        passed: &mut usize,
        (is_last, unhurried): (bool, bool),
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(piece) = self.pieces.borrow().get(*passed) {
            *passed += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        let polled = ready!(self.visitor.borrow_mut().poll(unhurried, context));
        if let Some(Ok(frame)) = &polled {
            // Trailers come last: who has read them has read all, and can't be sent again.
            let kept = frame.data_ref().filter(|_| !is_last);
            let length = kept.map_or(MAX_KEPT + 1, Bytes::len);
            self.bytes.set(self.bytes.get().saturating_add(length));
            let mut pieces = self.pieces.borrow_mut();
            match kept {
                Some(data) if self.bytes.get() <= MAX_KEPT => {
                    pieces.push(data.clone());
                    *passed += 1;
                }
                _ => {
                    pieces.clear();
                    *passed = 0;
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_at_end(&self, passed: usize) -> bool {
        passed >= self.pieces.borrow().len() && self.visitor.borrow().incoming.is_end_stream()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        let unhurried = this.watch.as_ref().is_some_and(|watch| watch.answered.get());
        let given_up = this.watch.as_ref().is_some_and(|watch| watch.given_up.get());
        let polled = match &mut this.source {
            Source::Nothing => return Poll::Ready(None),
            _ if given_up => Poll::Ready(Some(Err(RequestBodyError::cancelled()))),
            _ if this.leash.as_ref().is_some_and(Leash::is_cut) => {
                Poll::Ready(Some(Err(RequestBodyError::session_over())))
            }
            Source::Visitor(visitor) => visitor.poll(unhurried, context),
            Source::Again(kept, number, _) if *number < kept.latest.get() => {
                return Poll::Ready(Some(Err(RequestBodyError::cancelled())));
            }
            Source::Again(kept, number, passed) => {
                kept.latest.set(*number);
                let is_last = Rc::strong_count(kept) == 1;
                kept.poll(passed, (is_last, unhurried), context)
            }
        };
        let polled = match &mut this.leash {
            Some(leash) if polled.is_pending() => {
                leash.poll_cut(context).map(|()| Some(Err(RequestBodyError::session_over())))
            }
            _ => polled,
        };
        if let Some(watch) = &this.watch {
            watch.note(polled.is_pending());
            if polled.is_pending() {
                watch.wait(context);
            }
            if let Poll::Ready(Some(Err(error))) = &polled {
                watch.fault.set(Some(match error {
                    RequestBodyError::Visitor(_) => Fault::Visitor,
                    RequestBodyError::TooLarge => Fault::TooLarge,
                    RequestBodyError::TooSlow => Fault::TooSlow,
                    RequestBodyError::SessionOver(_) => Fault::SessionOver,
                }));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Visitor(visitor) => visitor.incoming.is_end_stream(),
            Source::Again(kept, _, passed) => kept.is_at_end(*passed),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Visitor(visitor) => visitor.incoming.size_hint(),
            Source::Again(kept, _, passed) => {
                let ahead: usize = kept.pieces.borrow().iter().skip(*passed).map(Bytes::len).sum();
                let mut hint = kept.visitor.borrow().incoming.size_hint();
                if let Some(exact) = hint.exact() {
                    hint.set_exact(exact + ahead as u64);
                }
                hint
            }
        }
    }
}
