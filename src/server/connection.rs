//! One visitor's connection: HTTP/1.1 or HTTP/2 over it, request after request, until it ends or is told to.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::clerk::{Abandoned, Counter};
use super::guard::Guard;
use super::malformed::is_malformed;
use super::places::{Place, Share};
use super::protocols::{self, Protocols};
use super::registry::{Command, Entry, Phase, Progress};
use super::sockets::Callers;
use super::streams::{Streams, Tasks};
use super::wire::{Listening, Watched, Wire};
use crate::door::{self, ext_authz};
use crate::forward::upgrade::Hold;
use crate::gate::{Arrival, Gate};
use crate::http::body::Body;
use crate::http::visit::Peer;
use crate::net::stream::Stream;

/// How much more of a head is read than may be in it.
const ROOM_FOR_COOKIES: usize = 256 * 1024;
/// How often an HTTP/2 visitor is asked whether they are still there, and how long they may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How many streams' windows a connection has, so that one slow upload doesn't hold up the visitor's other requests.
const WINDOWS: u32 = 4;
/// The largest window there is (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = 0x7fff_ffff;
/// What is held of an answer that the visitor doesn't take yet, for each stream.
const SEND_BUFFER: usize = 128 * 1024;
/// What HTTP/2 counts for headers beyond their bytes (RFC 9113, section 6.5.2), so that it is the gate that says "too large".
const HEADER_LIST_ROOM: usize = 16 * 1024;
/// How long an idle HTTP/2 connection has to take its leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// How many headers hyper takes unless it is told otherwise.
const USUAL_HEADERS: usize = 100;

/// A connection that is ready for requests.
pub struct Opened {
    /// Its bytes.
    pub stream: Stream,
    /// Its places among all connections, given up when the stream ends, which for a WebSocket is long after the last request.
    pub seat: (Place, Share),
}

/// Who answers requests, and whose.
#[derive(Clone)]
pub struct Desk {
    /// This worker's way of answering.
    pub gate: Rc<Gate>,
    /// Who comes to this connection's listener.
    pub callers: Callers,
}

impl Desk {
    async fn answer(&self, peer: &Peer, arrival: Arrival) -> Response<Body> {
        match self.callers {
            Callers::Visitors => door::answer(&self.gate, peer, arrival).await,
            Callers::Envoy => Box::pin(ext_authz::answer(&self.gate, peer, arrival)).await,
        }
    }
}

/// How HTTP/1.1 is spoken: at most `headers` in a request. More is read of a head than `header_bytes` allow, so that one which is too
/// large can still be answered by a page that clears our cookies: a browser may bring sixty cookies of 4 KiB.
pub fn http1(headers: usize, header_bytes: usize) -> http1::Builder {
    let mut http1 = http1::Builder::new();
    http1.max_buf_size(header_bytes.saturating_add(ROOM_FOR_COOKIES));
    if headers != USUAL_HEADERS {
        // Any number that is set costs an allocation a request.
        http1.max_headers(headers);
    }
    http1
}

/// Serves one connection to its end.
pub async fn serve(
    desk: Desk,
    peer: Peer,
    opened: Opened,
    entry: Rc<Entry>,
    (http1, protocols): (&http1::Builder, Protocols),
) {
    let Opened { mut stream, seat } = opened;
    let found = {
        let mut spoken = pin!(protocols::is_http2(&mut stream, protocols.h2c || desk.callers == Callers::Envoy));
        poll_fn(|context| match (spoken.as_mut().poll(context), entry.poll_command(context)) {
            (Poll::Ready(found), Command::Serve | Command::Drain) => Poll::Ready(found.ok()),
            (Poll::Pending, Command::Serve) => Poll::Pending,
            (Poll::Pending, Command::Drain) | (_, Command::Close) => Poll::Ready(None),
        })
        .await
    };
    // Nobody is left to tell: the connection ended, or dawdled, before it had said anything.
    let Some((is_http2, opening)) = found else { return };
    let guard = is_http2.then(|| Box::new(Guard::new(opening.has_preface())));
    let wire = TokioIo::new(Wire::new(stream, opening, (Arc::clone(entry.progress()), guard), seat));
    if is_http2 {
        // Boxed, because its state is the larger one, and every connection would have room for it.
        Box::pin(serve_http2(desk, peer, wire, &entry, protocols)).await;
    } else if desk.callers == Callers::Visitors {
        serve_http1(desk, peer, wire, &entry, http1).await;
    }
}

async fn serve_http1(desk: Desk, peer: Peer, wire: TokioIo<Wire>, entry: &Entry, http1: &http1::Builder) {
    let hints = Arc::clone(wire.inner().hints());
    let counter = Counter::new();
    let clerk = pin!(async {
        loop {
            let arrival = counter.next().await;
            let answer = desk.answer(&peer, arrival).await;
            if hints.are_waiting() {
                // They came with the answer itself: this is the last moment to write them.
                tokio::task::yield_now().await;
            }
            hints.close();
            counter.hand_out(answer);
        }
    });
    let clerk = RefCell::new(clerk);
    let service = service_fn(|request: Request<Incoming>| {
        entry.progress().enter(Phase::Busy);
        let mut arrival = Arrival::from(request);
        // Whoever speaks HTTP/1.0 knows of one head alone (RFC 9110, section 15.2).
        if arrival.parts.version == Version::HTTP_11 {
            hints.open();
            arrival.visitor_side.takes(Arc::clone(&hints));
        }
        let answering = counter.hand_in(arrival, &clerk);
        let progress = Arc::clone(entry.progress());
        async move { Ok::<_, Abandoned>(answering?.await.map(|body| Watched::new(body, Alone(progress)))) }
    });
    let mut connection = pin!(http1.serve_connection(wire, service).with_upgrades());
    let mut draining = false;
    // An error here is the visitor's connection failing: nobody is left to tell, and the exchange's own entry is in the access log.
    drop(
        poll_fn(|context| {
            match entry.poll_command(context) {
                Command::Serve => {}
                Command::Drain if draining => {}
                Command::Drain => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                Command::Close => return Poll::Ready(Ok(())),
            }
            connection.as_mut().poll(context)
        })
        .await,
    );
}

/// The one answer of an HTTP/1.1 connection.
struct Alone(Arc<Progress>);

impl Listening for Alone {
    fn broke(&self) {
        self.0.broke();
    }

    fn over(&self, _whole: bool) {
        self.0.enter(Phase::Idle);
    }
}

async fn serve_http2(desk: Desk, peer: Peer, wire: TokioIo<Wire>, entry: &Entry, protocols: Protocols) {
    let remote = peer.remote;
    let facts = Rc::new(peer);
    let streams = Streams::new(Arc::clone(entry.progress()), protocols.bounds);
    let counting = Rc::clone(&streams);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let stream = counting.enter();
        let malformed = is_malformed(&request);
        if request.method() == Method::CONNECT && !malformed {
            hold_open(&mut request, &counting);
        }
        let (desk, facts, arrival) = (desk.clone(), Rc::clone(&facts), Arrival::from(request));
        async move {
            if malformed {
                return Err(h2::Error::from(Reason::PROTOCOL_ERROR));
            }
            // Boxed, since hyper moves it to a task of the stream's own.
            let response = Box::pin(desk.answer(&facts, arrival)).await;
            Ok(response.map(|body| Watched::new(body, stream)))
        }
    });
    let mut connection = pin!(builder(protocols, Tasks(Rc::clone(&streams))).serve_connection(wire, service));
    let mut leaving = false;
    let mut farewell: Option<Pin<Box<tokio::time::Sleep>>> = None;
    // As over HTTP/1.1, an error here leaves nobody to tell.
    drop(
        poll_fn(|context| {
            if streams.is_flooded() {
                tracing::info!(client = ?remote, "closing an HTTP/2 connection whose visitor cancels one request after the other");
                return Poll::Ready(Ok(()));
            }
            streams.end_late();
            let command = entry.poll_command(context);
            if command != Command::Serve && !leaving {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            if command == Command::Close {
                // A request that is on its way already is told that it was not looked at (RFC 9113, section 6.8).
                let over = farewell.get_or_insert_with(|| Box::pin(tokio::time::sleep(FAREWELL)));
                if over.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
            }
            connection.as_mut().poll(context)
        })
        .await,
    );
}

fn builder(protocols: Protocols, tasks: Tasks) -> http2::Builder<Tasks> {
    let header_list = protocols.header_bytes.saturating_add(ROOM_FOR_COOKIES).saturating_add(HEADER_LIST_ROOM);
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(protocols.streams)
        .initial_stream_window_size(protocols.window)
        .initial_connection_window_size(protocols.window.saturating_mul(WINDOWS).min(MAX_WINDOW))
        .max_header_list_size(u32::try_from(header_list).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .enable_connect_protocol();
    builder
}

/// Keeps the stream of a tunnel counted for as long as the tunnel lives: its answer is over as soon as it has begun.
fn hold_open(request: &mut Request<Incoming>, streams: &Rc<Streams>) {
    let (held, released) = oneshot::channel::<Infallible>();
    request.extensions_mut().insert(Hold::new(held));
    let tunnel = streams.enter_tunnel();
    drop(tokio::task::spawn_local(async move {
        drop(released.await);
        drop(tunnel);
    }));
}
