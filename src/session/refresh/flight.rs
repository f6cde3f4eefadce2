//! One refresh that is under way: whoever makes it holds the turn, everyone else waits for its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::home::Home;
use super::refreshes::Refreshes;
use crate::base::clock::Timestamp;
use crate::session::model::{Granted, Session};

/// A refresh that is under way.
#[derive(Clone, Debug)]
pub struct Flight {
    ended: watch::Receiver<()>,
    is_first: bool,
}

impl Flight {
    pub(super) const fn new(ended: watch::Receiver<()>, is_first: bool) -> Self {
        Self { ended, is_first }
    }

    /// Whether no try before it failed: what follows on a failure may take as long as the provider lets us wait.
    pub const fn is_first(&self) -> bool {
        self.is_first
    }

    /// Waits for its end, however it ends, and no longer than `bound`. Whether it ended.
    pub async fn landed(mut self, bound: Duration) -> bool {
        tokio::time::timeout(bound, async { while self.ended.changed().await.is_ok() {} }).await.is_ok()
    }
}

/// The right, and the duty, to make one refresh. Dropped without a word of how it went, it counts as failed.
#[derive(Debug)]
pub struct Turn {
    pub(super) refreshes: Arc<Refreshes>,
    pub(super) session: Arc<Session>,
    pub(super) home: Home,
    pub(super) held: Option<Box<Granted>>,
    pub(super) is_forced: bool,
    pub(super) now: Timestamp,
    /// Dropped with the turn, which is how those who wait hear of the end.
    pub(super) _ended: watch::Sender<()>,
    pub(super) is_told: bool,
}

impl Turn {
    /// The session to refresh.
    pub const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Where it is kept; of one whose text stands in a browser's cookies, or whose key was not asked for here, that is the browser.
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// Where it is noted what became of it.
    pub const fn refreshes(&self) -> &Arc<Refreshes> {
        &self.refreshes
    }

    /// What the provider gave at an earlier try that could not be verified then. The refresh token of the session was used up for it,
    /// so it must not be sent again.
    pub fn take_held(&mut self) -> Option<Granted> {
        self.held.take().map(|held| *held)
    }

    /// It went well: `newest`, which is kept at `home`, takes the session's place.
    pub fn landed(mut self, newest: Arc<Session>, home: Home) {
        self.is_told = true;
        self.refreshes.note_landed(newest, home, self.is_forced);
    }

    /// The provider says that there is nothing to refresh any more, or its answer is about somebody else: the session is over.
    pub fn refused(mut self) {
        self.is_told = true;
        self.refreshes.note_refused(&self.session);
    }

    /// The refresh token was used for something else, and is as good as before.
    pub fn unchanged(mut self) {
        self.is_told = true;
    }

    /// It did not work out, and may at another try. `held` is what came, if anything did.
    pub fn failed(mut self, now: Timestamp, held: Option<Granted>) {
        self.is_told = true;
        self.refreshes.note_failed(&self.session, now, held);
    }

    /// The provider was not asked, since the session's store gave no answer: that is no reason for a longer pause than before.
    pub fn postponed(mut self, now: Timestamp) {
        self.is_told = true;
        let held = self.take_held();
        self.refreshes.note_postponed(&self.session, now, held);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_told {
            let held = self.take_held();
            self.refreshes.note_failed(&self.session, self.now, held);
        }
        // What became of it is noted before those who wait are told.
        self.refreshes.clear_flight(&self.session.id);
    }
}
