//! The connections of one worker to one address of an upstream.
//!
//! 1. An HTTP/1.1 connection is lent for one exchange and comes back when the answer's body has been read to its end; one that is
//!    dropped before that is closed, so bytes of an abandoned answer can never be taken for the next one. Last in, first out, so
//!    that few stay warm and the rest age out.
//! 2. An HTTP/2 connection is shared: an exchange has a stream of its own on it. Another connection is opened when the streams are
//!    used up, and by one visitor at a time, since those who wait for it can share it.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::{Body, Incoming};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::dial::{Dial, DialError};
use super::http1::{self, Connection};
use super::multiplexed::{self, Multiplexed, NotBegun, Place};
use super::ready::Added;
use super::stream::Stream;
use crate::base::clock;
use crate::config::settings::UpstreamProtocol;

/// The connections of one worker to one address of an upstream.
pub struct Pool<B: Body + 'static>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    dial: Dial,
    keep: Keep,
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Multiplexed<B>>>>,
    /// Whether the upstream speaks HTTP/2, as far as that is known.
    speaks_http2: Cell<Option<bool>>,
    turn: Turn,
}

/// Which connections are kept for the next exchange.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// How long one that nobody uses is.
    pub idle_timeout: Duration,
    /// How many of HTTP/1.1 that nobody uses are.
    pub max_idle: usize,
    /// After how many exchanges one is replaced; never when absent.
    pub max_requests: Option<NonZeroU32>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
    served: u32,
}

/// Whose turn it is to open a connection that others can share.
#[derive(Default)]
struct Turn {
    taken: Cell<bool>,
    failed: Cell<bool>,
    over: Notify,
}

/// One connection, or one stream of a shared one, lent for one exchange.
pub struct Lease<B: Body + 'static>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    way: Way<B>,
    home: Weak<Pool<B>>,
    /// How many exchanges it has served before; of a shared one, whether any.
    served: u32,
}

enum Way<B: Body + 'static>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// HTTP/1.1.
    Alone(Box<Connection>),
    /// HTTP/2. On the heap, or every exchange over HTTP/1.1 would keep room for it at each step of its way.
    Shared(Box<SharedStream<B>>),
}

/// One stream of a shared connection.
struct SharedStream<B: Body + 'static>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    place: Place<B>,
    /// The body of the answer once its head is there.
    answer: Option<Incoming>,
}

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] http1::Fault),
    /// Over HTTP/2.
    #[error("{}", multiplexed::spelled_out(.0))]
    Http2(#[from] hyper::Error),
    /// The answer ended, and the upstream did not say that this was its end: hyper tells a reset with `NO_ERROR` so, but only
    /// `END_STREAM` ends a body (RFC 9113, section 8.1).
    #[error("the answer was cut short")]
    CutShort,
}

/// There is no answer.
#[derive(Debug)]
pub struct NoAnswer<B> {
    /// Why.
    pub fault: Fault,
    /// The request, when none of it was sent.
    pub unsent: Option<Box<Request<B>>>,
}

/// Why no connection could be lent.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// It could not be made.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It closed before it could be used.
    #[error(
        "the connection closed before it could be used: {}; an upstream that does not speak HTTP/2 needs protocol = \"http1\"",
        multiplexed::spelled_out(.0)
    )]
    Handshake(#[source] hyper::Error),
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool that connects by `dial`.
    pub fn new(dial: Dial, keep: Keep) -> Rc<Self> {
        let speaks_http2 = match dial.protocol {
            UpstreamProtocol::Http1 => Some(false),
            UpstreamProtocol::Http2 => Some(true),
            UpstreamProtocol::Auto if dial.tls.is_none() => Some(false),
            UpstreamProtocol::Auto => None,
        };
        Rc::new(Self {
            dial,
            keep,
            idle: RefCell::default(),
            shared: RefCell::default(),
            speaks_http2: Cell::new(speaks_http2),
            turn: Turn::default(),
        })
    }

    /// Whether the upstream is reached over TLS.
    pub const fn is_tls(&self) -> bool {
        self.dial.tls.is_some()
    }

    /// A connection that is ready for a request: a kept or shared one, or else a new one.
    ///
    /// # Errors
    /// When a new one can't be made.
    pub async fn lend(self: &Rc<Self>) -> Result<Lease<B>, PoolError> {
        loop {
            if let Some(lease) = self.take() {
                return Ok(lease);
            }
            if self.speaks_http2.get() == Some(false) {
                return Box::pin(self.connect()).await;
            }
            if !self.turn.taken.get() {
                let _ended = self.turn.begin();
                let made = Box::pin(self.connect()).await;
                self.turn.failed.set(made.is_err());
                return made;
            }
            self.turn.over.notified().await;
            if self.turn.failed.get() {
                // Each learns for itself why, rather than one after the other.
                return Box::pin(self.connect()).await;
            }
        }
    }

    /// A connection of HTTP/1.1 whatever else the upstream speaks, for an exchange that will take it over.
    ///
    /// # Errors
    /// When a new one can't be made.
    pub async fn lend_http1(self: &Rc<Self>) -> Result<Lease<B>, PoolError> {
        if let Some(lease) = self.take_idle() {
            return Ok(lease);
        }
        if self.dial.protocol == UpstreamProtocol::Http1 {
            return Box::pin(self.connect()).await;
        }
        Ok(self.begin_http1(self.dial.over_http1().connect().await?))
    }

    /// A new connection, whatever is kept.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn connect(self: &Rc<Self>) -> Result<Lease<B>, PoolError> {
        let begun = clock::instant();
        let stream = self.dial.connect().await?;
        let is_http2 = self.dial.is_http2(&stream);
        self.speaks_http2.set(Some(is_http2));
        if !is_http2 {
            return Ok(self.begin_http1(stream));
        }
        let left = self.dial.timeout.saturating_sub(clock::instant().duration_since(begun));
        let connection = match timeout(left, Multiplexed::begin(stream, self.keep.max_requests)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(NotBegun::Broken(cause))) => return Err(PoolError::Handshake(cause)),
            Ok(Err(NotBegun::Closed)) => return Err(self.closed_at_once()),
            // An upstream that allows no stream at all is as good as none.
            Err(_) => return Err(self.dial.took_too_long().into()),
        };
        let place = connection.enter().ok_or_else(|| self.closed_at_once())?;
        self.shared.borrow_mut().push(connection);
        Ok(self.multiplexed(place, 0))
    }

    /// Another connection in place of one that did not take a request: never the same one.
    ///
    /// # Errors
    /// When a new one can't be made.
    pub async fn replace(self: &Rc<Self>, spent: Lease<B>) -> Result<Lease<B>, PoolError> {
        match &spent.way {
            Way::Alone(_) => self.connect().await,
            Way::Shared(stream) => {
                stream.place.retire();
                drop(spent);
                self.lend().await
            }
        }
    }

    /// Closes what has been unused for too long, or was closed by the upstream.
    pub fn sweep(&self) {
        let now = clock::instant();
        self.idle.borrow_mut().retain_mut(|kept| self.is_fresh(kept, now));
        self.shared
            .borrow_mut()
            .retain(|connection| !connection.is_over() && !connection.is_stale(now, self.keep.idle_timeout));
    }

    fn begin_http1(self: &Rc<Self>, stream: Stream) -> Lease<B> {
        self.alone(Box::new(Connection::new(stream)), 0)
    }

    fn multiplexed(self: &Rc<Self>, place: Place<B>, served: u32) -> Lease<B> {
        let stream = SharedStream { place, answer: None };
        Lease { way: Way::Shared(Box::new(stream)), home: Rc::downgrade(self), served }
    }

    fn alone(self: &Rc<Self>, connection: Box<Connection>, served: u32) -> Lease<B> {
        Lease { way: Way::Alone(connection), home: Rc::downgrade(self), served }
    }

    /// A kept connection, or a place on a shared one.
    pub fn take(self: &Rc<Self>) -> Option<Lease<B>> {
        if self.speaks_http2.get() != Some(false)
            && let Some(place) = self.take_place()
        {
            return Some(self.multiplexed(place, 1));
        }
        self.take_idle()
    }

    /// The first connection that has room: those after it age out.
    fn take_place(&self) -> Option<Place<B>> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.is_over());
        shared.iter().find_map(Multiplexed::enter)
    }

    fn take_idle(self: &Rc<Self>) -> Option<Lease<B>> {
        let now = clock::instant();
        let mut idle = self.idle.borrow_mut();
        while let Some(mut kept) = idle.pop() {
            if self.is_fresh(&mut kept, now) {
                return Some(self.alone(kept.connection, kept.served));
            }
        }
        None
    }

    fn is_fresh(&self, kept: &mut Idle, now: Instant) -> bool {
        now.duration_since(kept.since) < self.keep.idle_timeout && kept.connection.is_quiet()
    }

    fn closed_at_once(&self) -> PoolError {
        PoolError::Dial(DialError::Connect {
            target: self.dial.target.clone(),
            cause: std::io::Error::new(
                std::io::ErrorKind::ConnectionAborted,
                "it closed the connection at once; an upstream that does not speak HTTP/2 needs protocol = \"http1\"",
            ),
        })
    }
}

impl Turn {
    /// Takes the turn until what comes back is dropped, however that comes about.
    fn begin(&self) -> impl Drop + '_ {
        struct Ended<'t>(&'t Turn);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                self.0.taken.set(false);
                self.0.over.notify_waiters();
            }
        }
        self.taken.set(true);
        self.failed.set(false);
        Ended(self)
    }
}

impl<B> Lease<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Sends `request`, with what is `added` to its headers, and awaits the head of the answer, whose body is then read from this lease.
    ///
    /// # Errors
    /// When there is no answer; with the request itself when none of it was written.
    pub async fn send(&mut self, mut request: Box<Request<B>>, added: &Added<'_>) -> Result<Response<()>, NoAnswer<B>> {
        if self.is_http2() {
            added.set(request.headers_mut());
        }
        match &mut self.way {
            Way::Alone(connection) => connection.send(request, added).await.map_err(|none| {
                let http1::NoAnswer { fault, unsent } = none;
                NoAnswer { fault: Fault::Http1(fault), unsent }
            }),
            Way::Shared(stream) => match Box::pin(stream.place.sender().try_send_request(*request)).await {
                Ok(response) => {
                    let (head, incoming) = response.into_parts();
                    stream.answer = Some(incoming);
                    Ok(Response::from_parts(head, ()))
                }
                Err(mut none) => {
                    let unsent = none.take_message().map(Box::new);
                    Err(NoAnswer { fault: Fault::Http2(none.into_error()), unsent })
                }
            },
        }
    }
}

impl<B> Lease<B>
where
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The next piece of the answer's body; trailers come last.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut self.way {
            Way::Alone(connection) => connection.poll_frame(context).map_err(Fault::Http1),
            Way::Shared(stream) => {
                let Some(incoming) = &mut stream.answer else { return Poll::Ready(None) };
                match ready!(Pin::new(&mut *incoming).poll_frame(context)) {
                    None if !incoming.is_end_stream() => Poll::Ready(Some(Err(Fault::CutShort))),
                    frame => Poll::Ready(frame.map(|frame| frame.map_err(Fault::Http2))),
                }
            }
        }
    }

    /// Whether the answer's body was read to its end.
    pub fn is_over(&self) -> bool {
        match &self.way {
            Way::Alone(connection) => connection.is_over(),
            Way::Shared(stream) => stream.answer.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    /// What is known of the length of the answer's body.
    pub fn size_hint(&self) -> SizeHint {
        match &self.way {
            Way::Alone(connection) => connection.size_hint(),
            Way::Shared(stream) => stream.answer.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint),
        }
    }

    /// Whether the exchange goes over HTTP/2.
    pub const fn is_http2(&self) -> bool {
        matches!(self.way, Way::Shared(..))
    }

    /// Whether it has served before: only then can the upstream have closed it unseen.
    pub const fn is_reused(&self) -> bool {
        self.served > 0
    }

    /// Makes sure that a connection of HTTP/1.1 serves nobody else.
    pub fn spend(&mut self) {
        self.home = Weak::new();
    }

    /// The connection itself once the upstream changed protocols on it, and what it has sent since.
    pub fn into_tunnel(self) -> Option<(Stream, BytesMut)> {
        match self.way {
            Way::Alone(connection) => connection.into_tunnel(),
            Way::Shared(..) => None,
        }
    }

    /// Gives the connection back. One whose exchange has not ended, or after which nothing may follow, is closed.
    pub fn give_back(self) {
        let Way::Alone(mut connection) = self.way else { return };
        let Some(home) = self.home.upgrade() else { return };
        let served = self.served.saturating_add(1);
        if !connection.is_reusable() || home.keep.max_requests.is_some_and(|most| served >= most.get()) {
            return;
        }
        let mut idle = home.idle.borrow_mut();
        if idle.len() < home.keep.max_idle {
            connection.rest();
            idle.push(Idle { connection, since: clock::instant(), served });
        }
    }
}

impl<B> std::fmt::Debug for Lease<B>
where
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("http2", &self.is_http2()).field("served", &self.served).finish_non_exhaustive()
    }
}
