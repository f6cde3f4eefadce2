//! Keeps the marks of several gateways in step through the store that they share.
//!
//! 1. A mark that is made here is told in order, and told again until the store has it; while the store is away marks wait in a bounded
//!    line.
//! 2. What others told is read several times a second, from the beginning after a start: a gateway that was away for long, or that is
//!    new, learns what ended before.
//! 3. A mark is a hash and a time, so the store learns of nobody.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::{EndedSessions, Inner, Mark};
use crate::session::store::{Channel, Cursor, Store};

/// How often the others' marks are asked for. A mark reaches everyone within a second.
const EVERY: Duration = Duration::from_millis(300);
/// The wait before another try when the store is away.
const PAUSE: Duration = Duration::from_millis(500);
/// The most marks that wait to be told.
const LINE: usize = 100_000;

/// Shares `ended` through `store`. The future is for the back office, and ends when nobody else needs `ended` any more.
pub fn share(ended: &EndedSessions, store: Store) -> impl Future<Output = ()> + Send + use<> {
    let (sender, line) = mpsc::channel(LINE);
    ended.share_with(move |mark| {
        if sender.try_send(mark).is_err() {
            tracing::error!(
                "more ended sessions wait for the store than there is room for; other gateways won't learn of one"
            );
        }
    });
    let inner = Arc::downgrade(&ended.inner);
    async move {
        tokio::join!(tell(store.clone(), line), listen(inner, store));
    }
}

async fn tell(store: Store, mut line: mpsc::Receiver<Mark>) {
    while let Some(mark) = line.recv().await {
        let Ok(entry) = postcard::to_allocvec(&mark) else { continue };
        while let Err(fault) = store.tell(Channel::Ends, &entry).await {
            tracing::debug!(%fault, "an ended session can't be told yet");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn listen(inner: Weak<Inner>, store: Store) {
    let mut cursor = Cursor::default();
    while inner.strong_count() > 0 {
        match store.news(Channel::Ends, &cursor).await {
            Ok(news) => {
                let Some(inner) = inner.upgrade() else { return };
                let ended = EndedSessions { inner };
                // What is no mark is of another release: it is for others.
                let marks = news.entries.iter().filter_map(|entry| postcard::from_bytes(entry).ok());
                marks.for_each(|mark| ended.learn(mark));
                drop(ended);
                cursor = news.cursor;
                if news.more {
                    continue;
                }
                tokio::time::sleep(EVERY).await;
            }
            Err(fault) => {
                tracing::debug!(%fault, "can't read yet which sessions ended elsewhere");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
