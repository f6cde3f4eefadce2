//! Gives the store back what it lost of ended sessions: a gateway that starts later has nobody else to hear it from, and would open the
//! cookies of who signed out.
//!
//! A store loses what it was told when it comes back empty or from a copy, and its last moments when another one takes its place. Whether it
//! has is looked at when it was away or connected to anew, and when the last entry that was read is gone.

use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

use super::{Inner, StoredSessions};
use crate::session::ended::{Key, Mark};
use crate::session::store::{Channel, Cursor, StoreFault};

/// How long to wait before what could not be told is told again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long news are waited for at once.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// The least time between two looks at all that the store has.
const PAUSE: Duration = Duration::from_secs(5);

/// Looks whenever the store may have lost something, until nobody has the sessions any more.
pub(super) async fn restore(inner: Weak<Inner>) {
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let sessions = StoredSessions { inner };
        // Not for ever: whoever waits keeps the sessions from being let go of.
        if tokio::time::timeout(LONGEST_WAIT, sessions.inner.losses.notified()).await.is_err() {
            continue;
        }
        // Every gateway looks. Those that look later find what the first one told.
        let is_done = sessions.restore().await.is_ok();
        if !is_done {
            sessions.inner.losses.notify_one();
        }
        drop(sessions);
        tokio::time::sleep(if is_done { PAUSE } else { AGAIN }).await;
    }
}

impl StoredSessions {
    /// Tells the store of each mark that it has not.
    ///
    /// # Errors
    /// When the store can't be asked. What it was told by then it has.
    pub(super) async fn restore(&self) -> Result<(), StoreFault> {
        let store = &self.inner.store;
        let mut there: HashSet<(Key, u64)> = HashSet::new();
        let mut cursor = Cursor::default();
        loop {
            let page = store.news(Channel::Ends, &cursor).await?;
            for mark in page.entries.iter().filter_map(|entry| postcard::from_bytes::<Mark>(entry).ok()) {
                there.insert((*mark.key(), mark.before().seconds()));
                self.inner.ended.learn(mark);
            }
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        let mut told = 0_u64;
        for mark in self.inner.ended.marks() {
            if there.contains(&(*mark.key(), mark.before().seconds())) {
                continue;
            }
            let Ok(entry) = postcard::to_allocvec(&mark) else { continue };
            store.tell(Channel::Ends, &entry).await?;
            told += 1;
        }
        if told > 0 {
            tracing::warn!(
                told,
                "the session store had lost which sessions ended, and was told again; let it keep its data over restarts"
            );
        }
        Ok(())
    }
}
