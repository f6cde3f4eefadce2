//! The one task that keeps this gateway and the others of its store of one mind: reads what they tell, and tells what happens here.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::outbox::Errand;
use super::{Inner, StoredSessions, restore};
use crate::session::ended::Mark;
use crate::session::store::{Channel, Cursor, RecordKey, StoreFault, Version};

/// How often news are read: what happens at one gateway is known at the others well within a second.
const PACE: Duration = Duration::from_millis(250);
/// Every so many readings one goes back a little, to find what the store shows late.
const GO_BACK_EVERY: u32 = 4;
/// Entries of the last moments that are remembered, so that what is read again does nothing.
const REMEMBERED: usize = 10_000;
/// How often what has ended is tidied away.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// Between two looks whether everything was told, as a process stops.
const SOON: Duration = Duration::from_millis(20);
/// How long to wait before what could not be told is told again.
const AGAIN: Duration = Duration::from_millis(500);

/// Keeps `sessions` and those of other gateways of one mind, until nobody has them any more.
pub async fn watch(sessions: StoredSessions) {
    let inner = Arc::downgrade(&sessions.inner);
    share_ends(&sessions, &inner);
    drop(sessions);
    tokio::join!(
        read(Weak::clone(&inner)),
        tell(Weak::clone(&inner)),
        restore::restore(Weak::clone(&inner)),
        tidy(inner)
    );
}

/// Waits until the store has been told everything that happened here; whoever keeps `sessions` of one mind with others tells it.
pub async fn all_told(sessions: &StoredSessions) {
    while !sessions.inner.outbox.is_empty() {
        tokio::time::sleep(SOON).await;
    }
}

/// Has the marks that are made here told to the others.
fn share_ends(sessions: &StoredSessions, inner: &Weak<Inner>) {
    let inner = Weak::clone(inner);
    sessions.inner.ended.share_with(move |mark| {
        if let (Some(inner), Ok(entry)) = (inner.upgrade(), postcard::to_allocvec(&mark)) {
            inner.outbox.send(Errand::Tell(Channel::Ends, entry));
        }
    });
}

/// What is told of a record that was written anew.
pub(super) fn change(record: &RecordKey, version: Version) -> Vec<u8> {
    [record.bytes().as_slice(), &version.bytes()].concat()
}

fn read_change(entry: &[u8]) -> Option<(RecordKey, Version)> {
    let (record, version) = entry.split_last_chunk::<8>()?;
    Some((RecordKey::from_bytes(record)?, Version::from_bytes(*version)))
}

async fn read(inner: Weak<Inner>) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let sessions = StoredSessions { inner };
        let mut reader = sessions.inner.reader.lock().await;
        // The store itself tells of its being away.
        drop(reader.round(&sessions).await);
    }
}

async fn tell(inner: Weak<Inner>) {
    loop {
        let Some(inner) = inner.upgrade() else { return };
        // Not for ever: whoever waits keeps the sessions from being let go of.
        let waited = tokio::time::timeout(TIDY_EVERY, inner.outbox.wait()).await;
        if waited.is_ok() && inner.outbox.empty(&inner.store).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn tidy(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        drop(inner.store.tidy().await);
    }
}

/// How far the news were read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    ends: Cursor,
    changes: Cursor,
    /// What was read lately, the oldest first.
    recent: VecDeque<Vec<u8>>,
    known: HashSet<Vec<u8>>,
    rounds: u32,
    /// The interruptions of the store after which it was last known to have all that was told.
    interruptions: Option<u64>,
}

impl Reader {
    /// Reads what is new on both channels.
    ///
    /// # Errors
    /// When the store can't be asked; the next round goes on where this one stopped.
    pub(super) async fn round(&mut self, sessions: &StoredSessions) -> Result<(), StoreFault> {
        self.rounds = self.rounds.wrapping_add(1);
        let interruptions = sessions.inner.store.interruptions();
        if self.rounds.is_multiple_of(GO_BACK_EVERY) {
            self.look_for_losses(sessions).await?;
        }
        for channel in [Channel::Ends, Channel::Changes] {
            let read = self.cursor(channel).clone();
            let mut next = if self.rounds.is_multiple_of(GO_BACK_EVERY) { read.back() } else { read };
            loop {
                let page = sessions.inner.store.news(channel, &next).await?;
                for entry in page.entries {
                    self.take(sessions, channel, entry);
                }
                next = page.cursor;
                let cursor = self.cursor(channel);
                *cursor = next.clone().max(std::mem::take(cursor));
                if !page.more {
                    break;
                }
            }
        }
        if self.interruptions.replace(interruptions).is_some_and(|before| before != interruptions) {
            sessions.inner.losses.notify_one();
        }
        Ok(())
    }

    /// Begins anew where the last entry that was read is not there any more: what a store tells after it lost all may stand before that.
    async fn look_for_losses(&mut self, sessions: &StoredSessions) -> Result<(), StoreFault> {
        for channel in [Channel::Ends, Channel::Changes] {
            let cursor = self.cursor(channel).clone();
            if cursor == Cursor::default() || sessions.inner.store.has(channel, &cursor).await? {
                continue;
            }
            *self.cursor(channel) = Cursor::default();
            self.known.clear();
            self.recent.clear();
            if channel == Channel::Ends {
                sessions.inner.losses.notify_one();
            }
        }
        Ok(())
    }

    const fn cursor(&mut self, channel: Channel) -> &mut Cursor {
        match channel {
            Channel::Ends => &mut self.ends,
            Channel::Changes => &mut self.changes,
        }
    }

    fn take(&mut self, sessions: &StoredSessions, channel: Channel, entry: Vec<u8>) {
        if self.known.contains(&entry) {
            return;
        }
        match channel {
            Channel::Ends => {
                if let Ok(mark) = postcard::from_bytes::<Mark>(&entry) {
                    sessions.inner.ended.learn(mark);
                }
            }
            Channel::Changes => {
                if let Some((record, version)) = read_change(&entry) {
                    sessions.outdate(&record, version);
                }
            }
        }
        self.known.insert(entry.clone());
        self.recent.push_back(entry);
        if self.recent.len() > REMEMBERED
            && let Some(oldest) = self.recent.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
