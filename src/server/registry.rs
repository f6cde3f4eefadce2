//! The connections of one worker: what each is doing and since when, so that one sweep a second can end those that take too long.
//!
//! Time is counted in sweeps, not read from a clock, so that keeping watch costs a request nothing but a few stores.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
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
    /// How long the head of a request may take.
    pub head: Duration,
}

/// What one connection is doing, and since which sweep. It travels with the stream, which hyper wants to be able to send to
/// another thread when it is upgraded: hence atomics, though one thread uses them.
#[derive(Debug)]
pub struct Progress {
    ticks: Arc<AtomicU64>,
    /// The sweep's number, shifted by two bits, and the phase in those.
    state: AtomicU64,
}

impl Progress {
    /// Notes what the connection is doing from now on.
    pub fn enter(&self, phase: Phase) {
        let now = self.ticks.load(Ordering::Relaxed);
        self.state.store(now << 2 | phase as u64, Ordering::Relaxed);
    }

    /// Whether the connection waits between requests.
    pub fn is_idle(&self) -> bool {
        self.read().0 == Phase::Idle
    }

    fn read(&self) -> (Phase, u64) {
        let state = self.state.load(Ordering::Relaxed);
        let phase = match state & 3 {
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Busy,
        };
        (phase, state >> 2)
    }
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

    fn tell(&self, command: Command) {
        self.command.set(command);
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
}

impl Registry {
    /// A registry without connections.
    pub fn new(patience: Patience) -> Self {
        Self { ticks: Arc::default(), patience, connections: RefCell::default() }
    }

    /// A new connection's entry; it leaves when it is dropped.
    pub fn join(&self) -> Rc<Entry> {
        let progress = Progress { ticks: Arc::clone(&self.ticks), state: AtomicU64::new(0) };
        progress.enter(Phase::Idle);
        let entry = Rc::new(Entry {
            progress: Arc::new(progress),
            command: Cell::new(Command::Serve),
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
            let (phase, since) = entry.progress.read();
            let bound = match phase {
                Phase::Idle => self.patience.idle,
                Phase::Head => self.patience.head,
                Phase::Busy => return true,
            };
            // A phase that began within a tick has lasted less than the count says.
            if now.saturating_sub(since) > bound.as_secs() {
                entry.tell(Command::Close);
            }
            true
        });
    }

    /// Tells every connection to finish what is under way and close.
    pub fn drain(&self) {
        for entry in self.connections.borrow().iter().filter_map(Weak::upgrade) {
            entry.tell(Command::Drain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(entry: &Entry) -> Command {
        entry.poll_command(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_head_that_dawdles_is_closed_and_a_long_answer_is_not() {
        let registry = Registry::new(Patience { idle: Duration::from_secs(5), head: Duration::from_secs(2) });
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
        let registry = Registry::new(Patience { idle: Duration::from_secs(5), head: Duration::from_secs(2) });
        let stays = registry.join();
        drop(registry.join());
        registry.drain();
        assert_eq!(command(&stays), Command::Drain);
        registry.sweep();
        assert_eq!(registry.connections.borrow().len(), 1);
    }
}
