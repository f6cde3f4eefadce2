//! What the store has yet to be told: sent in order, and again until the store has heard it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::session::store::{Channel, RecordKey, Store, StoreFault};

/// The most errands that wait while the store is away. A mark on an ended session is worth keeping, memory is too.
const MOST: usize = 100_000;

/// Something that the store is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// News for all gateways.
    Tell(Channel, Vec<u8>),
    /// A record that is to go.
    Remove(RecordKey),
}

/// What the store has yet to be told.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<VecDeque<Errand>>,
    more: Notify,
}

impl Outbox {
    /// Has `errand` done as soon as it can be. Never waits; when too many wait, the oldest is given up.
    pub(super) fn send(&self, errand: Errand) {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST {
            drop(waiting.pop_front());
            tracing::error!("the session store has been away for so long that ends of sessions are forgotten");
        }
        waiting.push_back(errand);
        drop(waiting);
        self.more.notify_one();
    }

    /// Waits until there is an errand.
    pub(super) async fn wait(&self) {
        while self.is_empty() {
            self.more.notified().await;
        }
    }

    /// Whether the store has been told everything.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// Does what waits, in order.
    ///
    /// # Errors
    /// At the first that the store can't be told; it stays in its place. A store that takes nothing new is told at least what is to go.
    pub(super) async fn empty(&self, store: &Store) -> Result<(), StoreFault> {
        loop {
            let Some(errand) = self.waiting().front().cloned() else { return Ok(()) };
            let done = match &errand {
                Errand::Tell(channel, entry) => store.tell(*channel, entry).await,
                Errand::Remove(record) => store.remove(record).await,
            };
            match done {
                // What can never be done must not hold up the rest.
                Ok(()) | Err(StoreFault::Unusable { .. }) => {}
                Err(fault @ StoreFault::Refused { .. }) => {
                    self.remove_all(store).await?;
                    return Err(fault);
                }
                Err(fault) => return Err(fault),
            }
            let mut waiting = self.waiting();
            if waiting.front() == Some(&errand) {
                drop(waiting.pop_front());
            }
        }
    }

    /// Takes away what is to go, though there is something before it that the store does not take: other gateways then find nothing.
    async fn remove_all(&self, store: &Store) -> Result<(), StoreFault> {
        let removals = |errand: &Errand| matches!(errand, Errand::Remove(_));
        let gone: Vec<Errand> = self.waiting().iter().filter(|errand| removals(errand)).cloned().collect();
        for errand in gone {
            if let Errand::Remove(record) = &errand {
                store.remove(record).await?;
            }
            self.waiting().retain(|waiting| *waiting != errand);
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Errand>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
