//! The streams of one HTTP/2 connection: how many are open, and how many their visitor has cancelled of late.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::rt::Executor;
use tokio::task::AbortHandle;

use super::registry::{Phase, Progress, is_late};
use super::wire::Listening;
use crate::base::clock;

/// The span within which cancelled streams are counted.
const SPAN: Duration = Duration::from_secs(10);

/// The streams of one connection.
#[derive(Debug)]
pub struct Streams {
    progress: Arc<Progress>,
    /// The open requests by number; the oldest one's age is the connection's.
    requests: RefCell<BTreeMap<u64, Request>>,
    /// Open tunnels, which may last.
    tunnels: Cell<usize>,
    /// Requests whose answer is held back by the visitor.
    held_back: Cell<usize>,
    last: Cell<u64>,
    /// The request that has no task yet.
    newest: Cell<Option<u64>>,
    /// The sweep at which they were last looked at.
    looked: Cell<u64>,
    bounds: Bounds,
    resets: Cell<u32>,
    since: Cell<Option<Instant>>,
}

/// What a visitor may do with their streams.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Streams that they may cancel within ten seconds.
    pub resets: u32,
    /// How long an answer may stand still because nothing of it is taken.
    pub send: Duration,
    /// How long a request may take as a whole; unbounded when absent.
    pub request: Option<Duration>,
}

/// One open request.
#[derive(Debug)]
struct Request {
    /// The sweep at which it began.
    since: u64,
    /// The sweep since which its answer is held back.
    held_back: Option<u64>,
    /// What answers it.
    task: Option<AbortHandle>,
    /// Whether it was ended here, and not by the visitor.
    ended: bool,
}

impl Streams {
    /// Of a new connection.
    pub fn new(progress: Arc<Progress>, bounds: Bounds) -> Rc<Self> {
        progress.share();
        Rc::new(Self {
            progress,
            requests: RefCell::default(),
            tunnels: Cell::default(),
            held_back: Cell::default(),
            last: Cell::default(),
            newest: Cell::default(),
            looked: Cell::default(),
            bounds,
            resets: Cell::default(),
            since: Cell::default(),
        })
    }

    /// A request's stream begins.
    pub fn enter(self: &Rc<Self>) -> OpenStream {
        let number = self.last.get() + 1;
        self.last.set(number);
        self.newest.set(Some(number));
        let request = Request { since: self.progress.now(), held_back: None, task: None, ended: false };
        self.requests.borrow_mut().insert(number, request);
        self.note();
        OpenStream { streams: Rc::clone(self), number, whole: Cell::new(false), held_back: Cell::new(false) }
    }

    /// Ends the requests whose visitor has taken nothing of the answer for too long, and those that take too long as a whole. The
    /// others are left alone. What ends a request's task resets its stream.
    pub fn end_late(&self) {
        let now = self.progress.now();
        // Time is counted in sweeps, and without a bound there is nothing to see.
        if (self.held_back.get() == 0 && self.bounds.request.is_none()) || self.looked.replace(now) == now {
            return;
        }
        for request in self.requests.borrow_mut().values_mut() {
            let stuck = request.held_back.map_or(0, |since| now.saturating_sub(since));
            if (stuck > self.bounds.send.as_secs() || is_late(now, request.since, self.bounds.request))
                && let Some(task) = request.task.take()
            {
                request.ended = true;
                task.abort();
            }
        }
    }

    /// A stream may become a tunnel.
    pub fn enter_tunnel(self: &Rc<Self>) -> OpenTunnel {
        self.tunnels.set(self.tunnels.get() + 1);
        self.note();
        OpenTunnel(Rc::clone(self))
    }

    /// Whether the visitor cancels streams faster than anybody needs to: a flood of them makes work that nobody waits for
    /// (CVE-2023-44487).
    pub const fn is_flooded(&self) -> bool {
        self.resets.get() > self.bounds.resets
    }

    /// Tells what the connection as a whole is doing.
    fn note(&self) {
        match self.requests.borrow().first_key_value() {
            Some((_, request)) => self.progress.enter_since(Phase::Busy, request.since),
            None if self.tunnels.get() > 0 => self.progress.enter(Phase::Tunnel),
            None => self.progress.enter(Phase::Idle),
        }
    }

    fn note_reset(&self, now: Instant) {
        if self.is_flooded() {
            return;
        }
        if self.since.get().is_none_or(|since| now.duration_since(since) >= SPAN) {
            self.since.set(Some(now));
            self.resets.set(0);
        }
        self.resets.set(self.resets.get().saturating_add(1));
    }
}

/// One request's stream, for as long as it is open.
#[derive(Debug)]
pub struct OpenStream {
    streams: Rc<Streams>,
    number: u64,
    whole: Cell<bool>,
    held_back: Cell<bool>,
}

impl OpenStream {
    fn hold_back(&self, held_back: bool) {
        if self.held_back.replace(held_back) == held_back {
            return;
        }
        let streams = &self.streams;
        let count = streams.held_back.get();
        let count = if held_back { count + 1 } else { count.saturating_sub(1) };
        streams.held_back.set(count);
        streams.progress.holding_back(count > 0);
        if let Some(request) = streams.requests.borrow_mut().get_mut(&self.number) {
            request.held_back = held_back.then(|| streams.progress.now());
        }
    }
}

impl Listening for OpenStream {
    fn gave(&self) {
        self.hold_back(true);
    }

    fn asked(&self) {
        self.hold_back(false);
    }

    fn over(&self, whole: bool) {
        self.whole.set(whole);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.hold_back(false);
        // Dropping its task's handle ends nothing.
        let request = self.streams.requests.borrow_mut().remove(&self.number);
        self.streams.note();
        if !self.whole.get() && !request.is_some_and(|request| request.ended) {
            self.streams.note_reset(clock::instant());
        }
    }
}

/// Runs the tasks of one connection on its own worker, and keeps a hand on those that answer requests.
#[derive(Clone, Debug)]
pub struct Tasks(pub Rc<Streams>);

impl<F> Executor<F> for Tasks
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        let task = tokio::task::spawn_local(task);
        // hyper starts the task of a request right after it has called the service for it.
        if let Some(number) = self.0.newest.take()
            && let Some(request) = self.0.requests.borrow_mut().get_mut(&number)
        {
            request.task = Some(task.abort_handle());
        }
    }
}

/// A tunnel, for as long as it is open.
#[derive(Debug)]
pub struct OpenTunnel(Rc<Streams>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get().saturating_sub(1));
        self.0.note();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::server::registry::{Command, Entry, Patience, Registry};

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(1),
        head: Duration::from_secs(1),
        send: Duration::from_secs(3),
        request: Some(Duration::from_secs(5)),
    };

    fn bounds(resets: u32) -> Bounds {
        Bounds { resets, send: PATIENCE.send, request: PATIENCE.request }
    }

    fn streams(resets: u32) -> Rc<Streams> {
        Streams::new(Arc::clone(Registry::new(PATIENCE).join().progress()), bounds(resets))
    }

    fn command(entry: &Entry) -> Command {
        entry.poll_command(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_connection_is_idle_when_its_last_stream_is_over() {
        let streams = streams(1);
        let (one, two) = (streams.enter(), streams.enter());
        drop(one);
        assert!(!streams.progress.is_idle());
        drop(two);
        assert!(streams.progress.is_idle());
    }

    #[test]
    fn only_cancelled_streams_count_towards_a_flood() {
        let streams = streams(2);
        for _ in 0..10 {
            streams.enter().over(true);
        }
        drop(streams.enter());
        drop(streams.enter());
        assert!(!streams.is_flooded());
        streams.enter().over(false);
        assert!(streams.is_flooded());
    }

    #[test]
    fn what_was_cancelled_long_ago_counts_no_more() {
        let streams = streams(2);
        let start = clock::instant();
        for second in [0, 4, 8, 12, 16, 20, 24] {
            streams.note_reset(start + Duration::from_secs(second * 2));
        }
        assert!(!streams.is_flooded());
    }

    /// A request with a task that holds it until the task is ended.
    fn begin(streams: &Rc<Streams>) -> Rc<OpenStream> {
        let stream = Rc::new(streams.enter());
        let held = Rc::clone(&stream);
        Tasks(Rc::clone(streams)).execute(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        stream
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_of_which_nothing_is_taken_ends_and_no_other_does() {
        let registry = Registry::new(Patience { request: None, ..PATIENCE });
        let entry = registry.join();
        let streams = Streams::new(Arc::clone(entry.progress()), Bounds { request: None, ..bounds(1) });
        let sweep = || {
            registry.sweep();
            streams.end_late();
        };
        let local = tokio::task::LocalSet::new();
        let begin = || begin(&streams);
        let (stuck, moving, quiet) = {
            let _entered = local.enter();
            (begin(), begin(), begin())
        };
        stuck.gave();
        for _ in 0..3 {
            moving.asked();
            moving.gave();
            sweep();
        }
        local.run_until(tokio::task::yield_now()).await;
        assert_eq!([&stuck, &moving, &quiet].map(Rc::strong_count), [2, 2, 2]);
        moving.asked();
        sweep();
        local.run_until(tokio::task::yield_now()).await;
        assert_eq!([&stuck, &moving, &quiet].map(Rc::strong_count), [1, 2, 2]);
        assert_eq!(command(&entry), Command::Serve);
        drop(stuck);
        assert_eq!(streams.held_back.get(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_that_takes_too_long_ends_alone_and_is_no_cancelled_one() {
        let registry = Registry::new(PATIENCE);
        let entry = registry.join();
        let streams = Streams::new(Arc::clone(entry.progress()), bounds(1));
        let tunnel = streams.enter_tunnel();
        for _ in 0..10 {
            registry.sweep();
            streams.enter().over(true);
        }
        assert_eq!(command(&entry), Command::Serve);
        let local = tokio::task::LocalSet::new();
        let begin = || begin(&streams);
        let entered = local.enter();
        let old = begin();
        registry.sweep();
        let young = begin();
        for _ in 0..6 {
            streams.end_late();
            local.run_until(tokio::task::yield_now()).await;
            assert_eq!([&old, &young].map(Rc::strong_count), [2, 2]);
            registry.sweep();
        }
        streams.end_late();
        local.run_until(tokio::task::yield_now()).await;
        assert_eq!([&old, &young].map(Rc::strong_count), [1, 2]);
        assert_eq!(command(&entry), Command::Serve);
        drop(old);
        assert_eq!(streams.resets.get(), 0);
        drop((young, tunnel, entered));
        drop(local);
        assert!(streams.progress.is_idle());
        assert_eq!(streams.resets.get(), 1);
    }
}
