//! The streams of one HTTP/2 connection: how many are open, and how many their visitor has cancelled of late.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::registry::{Phase, Progress};
use super::wire::Listening;
use crate::base::clock;

/// The span within which cancelled streams are counted.
const SPAN: Duration = Duration::from_secs(10);

/// The streams of one connection.
#[derive(Debug)]
pub struct Streams {
    progress: Arc<Progress>,
    /// The sweeps at which the open requests began; the oldest one's age is the connection's.
    requests: RefCell<BTreeMap<u64, u64>>,
    /// Open tunnels, which may last.
    tunnels: Cell<usize>,
    /// Requests whose answer is held back by the visitor.
    held_back: Cell<usize>,
    last: Cell<u64>,
    allowed: u32,
    resets: Cell<u32>,
    since: Cell<Option<Instant>>,
}

impl Streams {
    /// Of a new connection, whose visitor may cancel `allowed` streams within ten seconds.
    pub fn new(progress: Arc<Progress>, allowed: u32) -> Rc<Self> {
        Rc::new(Self {
            progress,
            requests: RefCell::default(),
            tunnels: Cell::default(),
            held_back: Cell::default(),
            last: Cell::default(),
            allowed,
            resets: Cell::default(),
            since: Cell::default(),
        })
    }

    /// A request's stream begins.
    pub fn enter(self: &Rc<Self>) -> OpenStream {
        let number = self.last.get() + 1;
        self.last.set(number);
        self.requests.borrow_mut().insert(number, self.progress.now());
        self.note();
        OpenStream { streams: Rc::clone(self), number, whole: Cell::new(false), held_back: Cell::new(false) }
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
        self.resets.get() > self.allowed
    }

    /// Tells what the connection as a whole is doing.
    fn note(&self) {
        let requests = self.requests.borrow();
        match requests.first_key_value() {
            Some((_, since)) => self.progress.enter_since(Phase::Busy, *since),
            None if self.tunnels.get() > 0 => self.progress.enter(Phase::Tunnel),
            None => self.progress.enter(Phase::Idle),
        }
        let all = self.tunnels.get() == 0 && !requests.is_empty() && self.held_back.get() >= requests.len();
        self.progress.holding_back(all);
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
        let count = &self.streams.held_back;
        count.set(if held_back { count.get() + 1 } else { count.get().saturating_sub(1) });
        self.streams.note();
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
        self.streams.requests.borrow_mut().remove(&self.number);
        self.hold_back(false);
        self.streams.note();
        if !self.whole.get() {
            self.streams.note_reset(clock::instant());
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

    fn streams(allowed: u32) -> Rc<Streams> {
        Streams::new(Arc::clone(Registry::new(PATIENCE).join().progress()), allowed)
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

    #[test]
    fn a_visitor_who_takes_nothing_of_any_answer_is_closed() {
        let registry = Registry::new(Patience { request: None, ..PATIENCE });
        let entry = registry.join();
        let streams = Streams::new(Arc::clone(entry.progress()), 1);
        let (one, two) = (streams.enter(), streams.enter());
        one.gave();
        for _ in 0..5 {
            registry.sweep();
        }
        assert_eq!(command(&entry), Command::Serve, "the other answer is not held back");
        two.gave();
        for _ in 0..3 {
            registry.sweep();
        }
        two.asked();
        two.gave();
        for _ in 0..3 {
            registry.sweep();
        }
        assert_eq!(command(&entry), Command::Serve, "some of it was taken");
        registry.sweep();
        assert_eq!(command(&entry), Command::Close);
    }

    #[test]
    fn the_oldest_request_is_what_counts_and_tunnels_last() {
        let registry = Registry::new(PATIENCE);
        let entry = registry.join();
        let streams = Streams::new(Arc::clone(entry.progress()), 1);
        let tunnel = streams.enter_tunnel();
        for _ in 0..10 {
            registry.sweep();
            streams.enter().over(true);
        }
        assert_eq!(command(&entry), Command::Serve);
        let old = streams.enter();
        for _ in 0..6 {
            assert_eq!(command(&entry), Command::Serve);
            registry.sweep();
            streams.enter().over(true);
        }
        assert_eq!(command(&entry), Command::Close);
        drop((old, tunnel));
        assert!(streams.progress.is_idle());
    }
}
