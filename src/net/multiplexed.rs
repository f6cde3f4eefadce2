//! One HTTP/2 connection to an upstream, shared by many exchanges at once.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::Body;
use hyper::client::conn::http2::{self, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use tokio::sync::{Notify, oneshot};

use super::executor::Watched;
use super::stream::Stream;
use crate::base::clock;

/// The most exchanges at once over one connection, whatever the upstream allows.
const MAX_STREAMS: usize = 512;
/// What an upstream may send on one stream before the visitor has taken any of it: what one slow visitor can make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What it may send on all streams together. More than all streams have room for, so that slow visitors never hold up the others, and
/// neither do the small pieces that wait for them: h2 ends a connection on which pieces wait that are together half of this short of 256
/// bytes each. An application that streams events in small pieces to some visitors who are slow comes to that.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// What is held of a request's body that the upstream does not take yet.
const SEND_BUFFER: usize = 128 * 1024;
/// Bytes of an answer's headers; as much as over HTTP/1.1.
const MAX_HEADER_LIST: u32 = 256 * 1024;
/// How often an upstream is asked whether it is still there while exchanges are under way, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The most exchanges over one connection in all: each takes a stream id, of which there are 2^30, and hyper goes on with a connection
/// that has none left (RFC 9113, section 5.1.1).
const MOST_EXCHANGES: u32 = 1 << 29;

type Driven<B> = Connection<TokioIo<Stream>, B, Watched>;

/// Why a connection could not be used.
#[derive(Debug)]
pub(super) enum NotBegun {
    /// It broke off.
    Broken(hyper::Error),
    /// The upstream closed it before it said how many streams it allows.
    Closed,
}

/// Why an exchange over HTTP/2 broke off, in words for an operator: hyper itself says no more than "http2 error". What an upstream adds
/// to its farewell is left out.
pub(super) fn spelled_out(error: &hyper::Error) -> String {
    let Some(cause) = error.source() else { return error.to_string() };
    let Some(h2) = cause.downcast_ref::<h2::Error>() else { return format!("{error}: {cause}") };
    match h2.reason() {
        Some(reason) if h2.is_remote() && h2.is_reset() => format!("it reset the stream: {reason}"),
        Some(reason) if h2.is_remote() => format!("it ended the connection: {reason}"),
        Some(reason) if h2.is_library() => format!("its HTTP/2 breaks a rule: {reason}"),
        Some(reason) => format!("{error}: {reason}"),
        None => h2.get_io().map_or_else(|| error.to_string(), ToString::to_string),
    }
}

/// The connection.
pub(super) struct Multiplexed<B: Body + 'static>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    sender: SendRequest<B>,
    /// Gone once the connection has ended.
    connection: Rc<RefCell<Option<Driven<B>>>>,
    streams: Cell<usize>,
    /// How many exchanges may still begin.
    left: Cell<u32>,
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
    /// Begins to speak HTTP/2 over `stream`, for `max_requests` exchanges, and waits for what the upstream allows: it refuses streams
    /// above its limit, and says the limit in its first frame (RFC 9113, sections 3.4 and 5.1.2). Whoever shares the connection before
    /// that is known is refused as soon as there are more visitors than streams. One that allows no stream yet is waited for, too.
    ///
    /// Takes as long as the upstream does; the caller bounds it.
    pub(super) async fn begin(stream: Stream, max_requests: Option<NonZeroU32>) -> Result<Rc<Self>, NotBegun> {
        let moved = Rc::new(Notify::new());
        let watched = Watched::new(&moved);
        let (sender, connection) = http2::Builder::new(watched.clone())
            .timer(TokioTimer::new())
            // Until the upstream has said its own number.
            .initial_max_send_streams(0)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEADER_LIST)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(NotBegun::Broken)?;
        let connection = Rc::new(RefCell::new(Some(connection)));
        let driven = Rc::clone(&connection);
        // Once it has begun, a connection that ends with an error tells its exchanges, which report it.
        let (end, ended) = oneshot::channel();
        let mut end = Some(end);
        drop(tokio::task::spawn_local(poll_fn(move |context| {
            let mut slot = driven.borrow_mut();
            let Some(connection) = slot.as_mut() else { return Poll::Ready(()) };
            let result = ready!(Pin::new(connection).poll(context));
            *slot = None;
            drop(end.take().map(|end| end.send(result)));
            Poll::Ready(())
        })));
        let allowed = async {
            loop {
                let moved = moved.notified();
                if allowed(&connection) > 0 {
                    return;
                }
                moved.await;
            }
        };
        tokio::select! {
            biased;
            () = allowed => {}
            ended = ended => return Err(match ended { Ok(Err(error)) => NotBegun::Broken(error), _ => NotBegun::Closed }),
        }
        watched.rest();
        Ok(Rc::new(Self {
            sender,
            connection,
            streams: Cell::new(0),
            left: Cell::new(max_requests.map_or(MOST_EXCHANGES, |most| most.get().min(MOST_EXCHANGES))),
            retired: Cell::new(false),
            since: Cell::new(clock::instant()),
        }))
    }

    /// A place for one more exchange, when it takes one.
    pub(super) fn enter(self: &Rc<Self>) -> Option<Place<B>> {
        if self.is_over() || self.streams.get() >= allowed(&self.connection).min(MAX_STREAMS) {
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        self.retired.set(left == 0);
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

/// How many streams at once the upstream allows: none before it said so, and none when the connection has ended.
fn allowed<B>(connection: &RefCell<Option<Driven<B>>>) -> usize
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    connection.borrow().as_ref().map_or(0, Connection::current_max_send_streams)
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
