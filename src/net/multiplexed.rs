//! One HTTP/2 connection to an upstream, shared by many exchanges at once.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::body::Body;
use hyper::client::conn::http2::{self, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::executor::Local;
use super::stream::Stream;
use crate::base::clock;

/// The most exchanges at once over one connection, whatever the upstream allows.
const MAX_STREAMS: usize = 512;
/// What an upstream may send on one stream before the visitor has taken any of it: what one slow visitor can make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What it may send on all streams together. Room for every stream, so that slow visitors never hold up the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 512;
/// What is held of a request's body that the upstream does not take yet.
const SEND_BUFFER: usize = 128 * 1024;
/// Bytes of an answer's headers; as much as over HTTP/1.1.
const MAX_HEADER_LIST: u32 = 256 * 1024;
/// How often an upstream is asked whether it is still there while exchanges are under way, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

type Driven<B> = Connection<TokioIo<Stream>, B, Local>;

/// The connection.
pub(super) struct Multiplexed<B: Body + 'static>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    sender: SendRequest<B>,
    /// Gone once the connection has ended.
    connection: Rc<RefCell<Option<Driven<B>>>>,
    streams: Cell<usize>,
    /// How many exchanges may still begin; any number when absent.
    left: Cell<Option<u32>>,
    /// Whether it takes no new exchange, though those under way may go on (RFC 9113, section 6.8).
    retired: Cell<bool>,
    /// When the last exchange ended.
    since: Cell<Instant>,
}

impl<B> Multiplexed<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Begins to speak HTTP/2 over `stream`, for `max_requests` exchanges.
    pub(super) async fn begin(stream: Stream, max_requests: Option<NonZeroU32>) -> hyper::Result<Rc<Self>> {
        let (sender, connection) = http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEADER_LIST)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await?;
        let connection = Rc::new(RefCell::new(Some(connection)));
        let driven = Rc::clone(&connection);
        drop(tokio::task::spawn_local(poll_fn(move |context| {
            let mut slot = driven.borrow_mut();
            let ended = slot.as_mut().map(|connection| Pin::new(connection).poll(context));
            // A connection that ends with an error tells its exchanges, which report it; here is nobody to tell.
            ended.map_or(std::task::Poll::Ready(()), |ended| ended.map(|_| *slot = None))
        })));
        Ok(Rc::new(Self {
            sender,
            connection,
            streams: Cell::new(0),
            left: Cell::new(max_requests.map(NonZeroU32::get)),
            retired: Cell::new(false),
            since: Cell::new(clock::instant()),
        }))
    }

    /// A place for one more exchange, when it takes one.
    pub(super) fn enter(self: &Rc<Self>) -> Option<Place<B>> {
        let allowed = self.connection.borrow().as_ref().map_or(0, Connection::current_max_send_streams);
        if self.is_over() || self.streams.get() >= allowed.min(MAX_STREAMS) {
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        let left = self.left.get().map(|left| left.saturating_sub(1));
        self.left.set(left);
        self.retired.set(left == Some(0));
        Some(Place { connection: Rc::clone(self), sender: self.sender.clone() })
    }
}

impl<B> Multiplexed<B>
where
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Whether it takes no more exchanges.
    pub(super) fn is_over(&self) -> bool {
        self.retired.get() || self.sender.is_closed()
    }

    /// Whether it has been unused for at least `idle_timeout`.
    pub(super) fn is_stale(&self, now: Instant, idle_timeout: Duration) -> bool {
        self.streams.get() == 0 && now.duration_since(self.since.get()) >= idle_timeout
    }
}

/// One exchange's place on a connection.
pub(super) struct Place<B: Body + 'static>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    connection: Rc<Multiplexed<B>>,
    sender: SendRequest<B>,
}

impl<B> Place<B>
where
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// To send the request with.
    pub(super) const fn sender(&mut self) -> &mut SendRequest<B> {
        &mut self.sender
    }

    /// No exchange begins on this connection any more.
    pub(super) fn retire(&self) {
        self.connection.retired.set(true);
    }
}

impl<B> Drop for Place<B>
where
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn drop(&mut self) {
        let left = self.connection.streams.get().saturating_sub(1);
        self.connection.streams.set(left);
        if left == 0 {
            self.connection.since.set(clock::instant());
        }
    }
}
