//! The connections of one worker: what each is doing and since when, so that one sweep a second can end those that take too long.
//!
//! Time is counted in sweeps, not read from a clock, so that keeping watch costs a request nothing but a few stores.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the first byte of a request.
    Idle,
    /// Receiving the head of a request.
    Head,
    /// Answering a request.
    Busy,
    /// Carrying tunnels alone, which may last.
    Tunnel,
}

/// What a connection was told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Go on.
    Serve,
    /// Finish what is under way, then close.
    Drain,
    /// Close now.
    Close,
}

/// Bounds on the phases of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a connection may wait between requests.
    pub idle: Duration,
    /// How long the head of a request may take; a handshake too.
    pub head: Duration,
    /// How long an answer may stand still because nothing of it is taken.
    pub send: Duration,
    /// How long a request may take as a whole; unbounded when absent.
    pub request: Option<Duration>,
}

/// What a request has beyond its time as a whole before it is cut: whoever answers it keeps the same time, and may say so first.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What one connection is doing, and since which sweep. It travels with the stream, which hyper wants to be able to send to
/// another thread when it is upgraded: hence atomics, though one thread uses them.
#[derive(Debug)]
pub struct Progress {
    ticks: Arc<AtomicU64>,
    /// The sweep's number, shifted by two bits, and the phase in those.
    state: AtomicU64,
    /// One more than the number of the sweep since which nothing can be written; 0 when something can.
    blocked: AtomicU64,
    /// The same of the head of a request that is being received over HTTP/2, whatever else the connection is doing.
    heading: AtomicU64,
    /// Whether the window of some answer holds it back.
    holds_back: AtomicBool,
    /// Whether an answer has broken off.
    broken: AtomicBool,
    /// Whether requests share the connection, so that one which takes too long ends alone.
    shared: AtomicBool,
}

impl Progress {
    /// Notes what the connection is doing from now on.
    pub fn enter(&self, phase: Phase) {
        self.enter_since(phase, self.now());
    }

    /// Notes what the connection has been doing since the sweep `since`.
    pub fn enter_since(&self, phase: Phase, since: u64) {
        self.state.store(since << 2 | phase as u64, Ordering::Relaxed);
    }

    /// The number of the latest sweep.
    pub fn now(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Notes whether some answer is held back, though the connection itself could be written to: over HTTP/2 the peer says for each
    /// answer how much of it may come (RFC 9113, section 5.2). The connection is woken at each sweep as long as that is so.
    pub fn holding_back(&self, some: bool) {
        self.holds_back.store(some, Ordering::Relaxed);
    }

    /// Notes that requests share the connection. Where one of them takes too long, the connection is woken at each sweep to end it.
    pub fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// Notes that the connection's only answer has broken off: nothing follows it.
    pub fn broke(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Whether the connection ends with an answer that broke off.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Notes whether the peer takes nothing more for now.
    pub fn sending(&self, blocked: bool) {
        if blocked != self.is_blocked() {
            let since = if blocked { self.ticks.load(Ordering::Relaxed) + 1 } else { 0 };
            self.blocked.store(since, Ordering::Relaxed);
        }
    }

    /// Notes whether the head of a request has begun, over HTTP/2, and not ended.
    pub fn receiving_head(&self, some: bool) {
        if some != (self.heading.load(Ordering::Relaxed) != 0) {
            self.heading.store(if some { self.now() + 1 } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Whether the peer takes nothing of what waits to be sent.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) != 0
    }

    /// Whether the connection waits between requests.
    pub fn is_idle(&self) -> bool {
        self.read().0 == Phase::Idle
    }

    /// Whether the connection, or one of its streams, has an answer under way.
    pub fn is_busy(&self) -> bool {
        self.read().0 == Phase::Busy
    }

    fn read(&self) -> (Phase, u64) {
        let state = self.state.load(Ordering::Relaxed);
        let phase = match state & 3 {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Tunnel,
        };
        (phase, state >> 2)
    }

    /// Whether it has outlasted its phase at the sweep `now`. What began within a sweep has lasted less than the count says.
    fn is_overdue(&self, now: u64, patience: &Patience) -> bool {
        let outlasts = |since: u64, bound: Duration| now.saturating_sub(since) > bound.as_secs();
        let goes_on = |since: &AtomicU64, bound| {
            since.load(Ordering::Relaxed).checked_sub(1).is_some_and(|since| outlasts(since, bound))
        };
        if goes_on(&self.blocked, patience.send) || goes_on(&self.heading, patience.head) {
            return true;
        }
        let (phase, since) = self.read();
        match phase {
            Phase::Idle => outlasts(since, patience.idle),
            Phase::Head => outlasts(since, patience.head),
            Phase::Busy => !self.shared.load(Ordering::Relaxed) && is_late(now, since, patience.request),
            Phase::Tunnel => false,
        }
    }

    /// Whether the connection has to look after its requests by itself.
    fn wants_a_look(&self, now: u64, patience: &Patience) -> bool {
        if self.holds_back.load(Ordering::Relaxed) {
            return true;
        }
        let (phase, since) = self.read();
        phase == Phase::Busy && is_late(now, since, patience.request)
    }
}

/// Whether a request that began at the sweep `since` has outlasted `bound`, and the time to say so.
pub fn is_late(now: u64, since: u64, bound: Option<Duration>) -> bool {
    bound.is_some_and(|bound| now.saturating_sub(since) > bound.saturating_add(LAST_WORD).as_secs())
}

/// One connection's entry.
#[derive(Debug)]
pub struct Entry {
    progress: Arc<Progress>,
    command: Cell<Command>,
    waker: RefCell<Option<Waker>>,
}

impl Entry {
    /// What the connection is doing.
    pub const fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// What it was told to do; the task is woken when that changes.
    pub fn poll_command(&self, context: &Context<'_>) -> Command {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.command.get()
    }

    /// Waits until it is told to close.
    pub async fn told_to_close(&self) {
        poll_fn(|context| match self.poll_command(context) {
            Command::Close => Poll::Ready(()),
            Command::Serve | Command::Drain => Poll::Pending,
        })
        .await;
    }

    fn tell(&self, command: Command) {
        self.command.set(command);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// The connections of one worker.
#[derive(Debug)]
pub struct Registry {
    ticks: Arc<AtomicU64>,
    patience: Patience,
    connections: RefCell<Vec<Weak<Entry>>>,
    draining: Cell<bool>,
}

/// A connection that waits for this many sweeps has to make room for others when there is none left. One that has only just begun to
/// wait may have a request on its way.
const OLD_WAIT: u64 = 1;
/// A head that is as old as this, in sweeps, has to make room too.
const OLD_HEAD: u64 = 2;

impl Registry {
    /// A registry without connections.
    pub fn new(patience: Patience) -> Self {
        Self { ticks: Arc::default(), patience, connections: RefCell::default(), draining: Cell::default() }
    }

    /// A new connection's entry; it leaves when it is dropped.
    pub fn join(&self) -> Rc<Entry> {
        let progress = Progress {
            ticks: Arc::clone(&self.ticks),
            state: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            heading: AtomicU64::new(0),
            holds_back: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            shared: AtomicBool::new(false),
        };
        progress.enter(Phase::Idle);
        let entry = Rc::new(Entry {
            progress: Arc::new(progress),
            command: Cell::new(if self.draining.get() { Command::Drain } else { Command::Serve }),
            waker: RefCell::default(),
        });
        self.connections.borrow_mut().push(Rc::downgrade(&entry));
        entry
    }

    /// Counts one second and closes the connections that have outlasted their phase.
    pub fn sweep(&self) {
        let now = self.ticks.fetch_add(1, Ordering::Relaxed) + 1;
        self.connections.borrow_mut().retain(|weak| {
            let Some(entry) = weak.upgrade() else { return false };
            if entry.progress.is_overdue(now, &self.patience) {
                entry.tell(Command::Close);
            } else if entry.progress.wants_a_look(now, &self.patience) {
                entry.wake();
            }
            true
        });
    }

    /// Closes the connection that has waited longest between requests; where none does, the one whose head has taken longest, if
    /// it is an old one. Whether there was any.
    pub fn make_room(&self) -> bool {
        let now = self.ticks.load(Ordering::Relaxed);
        let entries = self.connections.borrow();
        let open = entries.iter().filter_map(Weak::upgrade).filter(|entry| entry.command.get() != Command::Close);
        let dispensable = open.filter_map(|entry| match entry.progress.read() {
            (Phase::Idle, since) if now.saturating_sub(since) >= OLD_WAIT => Some(((Phase::Idle as u64, since), entry)),
            (Phase::Head, since) if now.saturating_sub(since) >= OLD_HEAD => Some(((Phase::Head as u64, since), entry)),
            _ => None,
        });
        let chosen = dispensable.min_by_key(|(order, _)| *order);
        chosen.inspect(|(_, entry)| entry.tell(Command::Close)).is_some()
    }

    /// Tells every connection to finish what is under way and close.
    pub fn drain(&self) {
        self.draining.set(true);
        for entry in self.connections.borrow().iter().filter_map(Weak::upgrade) {
            entry.tell(Command::Drain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(5),
        head: Duration::from_secs(2),
        send: Duration::from_secs(3),
        request: None,
    };

    fn command(entry: &Entry) -> Command {
        entry.poll_command(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_head_that_dawdles_is_closed_and_a_long_answer_is_not() {
        let registry = Registry::new(PATIENCE);
        let (slow, busy, idle) = (registry.join(), registry.join(), registry.join());
        slow.progress().enter(Phase::Head);
        busy.progress().enter(Phase::Busy);
        for _ in 0..3 {
            registry.sweep();
        }
        assert_eq!((command(&slow), command(&busy), command(&idle)), (Command::Close, Command::Serve, Command::Serve));
        for _ in 0..3 {
            registry.sweep();
        }
        assert_eq!((command(&busy), command(&idle)), (Command::Serve, Command::Close));
    }

    #[test]
    fn draining_reaches_everyone_and_the_gone_are_forgotten() {
        let registry = Registry::new(PATIENCE);
        let stays = registry.join();
        drop(registry.join());
        registry.drain();
        assert_eq!(command(&stays), Command::Drain);
        assert_eq!(command(&registry.join()), Command::Drain, "one that was still in its handshake");
        registry.sweep();
        assert_eq!(registry.connections.borrow().len(), 1);
    }

    #[test]
    fn an_answer_that_nobody_takes_ends_and_one_that_moves_goes_on() {
        let registry = Registry::new(PATIENCE);
        let (stuck, moving) = (registry.join(), registry.join());
        for entry in [&stuck, &moving] {
            entry.progress().enter(Phase::Busy);
            entry.progress().sending(true);
        }
        for _ in 0..4 {
            registry.sweep();
            stuck.progress().sending(true);
            moving.progress().sending(false);
            moving.progress().sending(true);
        }
        assert_eq!((command(&stuck), command(&moving)), (Command::Close, Command::Serve));
        assert!(stuck.progress().is_blocked());
    }

    #[test]
    fn a_head_between_answers_is_bounded_too() {
        let registry = Registry::new(PATIENCE);
        let (open, whole) = (registry.join(), registry.join());
        for entry in [&open, &whole] {
            entry.progress().enter(Phase::Busy);
            entry.progress().receiving_head(true);
        }
        for _ in 0..3 {
            registry.sweep();
            open.progress().receiving_head(true);
            whole.progress().receiving_head(false);
            whole.progress().receiving_head(true);
        }
        assert_eq!((command(&open), command(&whole)), (Command::Close, Command::Serve));
    }

    #[test]
    fn a_request_has_one_bound_over_all() {
        let registry = Registry::new(Patience { request: Some(Duration::from_secs(2)), ..PATIENCE });
        let entry = registry.join();
        entry.progress().enter(Phase::Busy);
        for expected in [Command::Serve, Command::Serve, Command::Serve, Command::Close] {
            registry.sweep();
            assert_eq!(command(&entry), expected);
        }
    }

    #[test]
    fn those_that_wait_longest_make_room_first() {
        let registry = Registry::new(PATIENCE);
        let (head, busy, first) = (registry.join(), registry.join(), registry.join());
        head.progress().enter(Phase::Head);
        busy.progress().enter(Phase::Busy);
        assert!(!registry.make_room(), "a request may be on its way");
        registry.sweep();
        let second = registry.join();
        second.progress().enter(Phase::Idle);
        assert!(registry.make_room());
        assert_eq!((command(&first), command(&second)), (Command::Close, Command::Serve));
        assert!(!registry.make_room(), "the second one only just began to wait");
        head.progress().enter(Phase::Head);
        registry.sweep();
        assert!(registry.make_room());
        assert_eq!((command(&second), command(&head)), (Command::Close, Command::Serve));
        assert!(!registry.make_room(), "the head is not old yet");
        registry.sweep();
        assert!(registry.make_room());
        assert_eq!((command(&head), command(&busy)), (Command::Close, Command::Serve));
        assert!(!registry.make_room());
    }
}
