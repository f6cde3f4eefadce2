//! Sessions that live in a store, brought to hand before a request is judged, so that judging asks nobody.
//!
//! A session that this worker knows costs two comparisons. One that was read a while ago is read anew in the background and used
//! meanwhile; a request waits for the store only when nothing usable is known here.

use std::cell::Cell;
use std::sync::Arc;

use http::HeaderMap;

use super::credential::Recognised;
use super::table::Table;
use crate::base::clock::Timestamp;
use crate::base::office::Office;
use crate::endpoint::site::Site;
use crate::session::chunks::RawSession;
use crate::session::cookie::Reading;
use crate::session::stored::{Kept, Peek, StoredSessions};
use crate::session::ticket::Ticket;

/// What a worker keeps of a session that lives in a store, beside the session.
#[derive(Clone, Debug)]
pub(super) struct AtHand {
    ticket: Ticket,
    kept: Arc<Kept>,
    /// When to look whether it should be read anew.
    look_at: Cell<Timestamp>,
    /// The epoch of the store's sessions at which it was looked at.
    looked: Cell<u64>,
    /// Whether the cookie with its key is to be written anew.
    pub(super) reseal: Cell<bool>,
}

impl AtHand {
    /// A session as it was found, looked at just now. `epoch` is from before that.
    pub(super) fn new(ticket: Ticket, kept: Arc<Kept>, reseal: bool, stored: &StoredSessions, epoch: u64) -> Self {
        let look_at = Cell::new(stored.look_at(&kept));
        Self { ticket, kept, look_at, looked: Cell::new(epoch), reseal: Cell::new(reseal) }
    }

    /// Notes in the store that the session is used. Nobody waits for that.
    pub(super) fn note_use(&self, office: &Office, stored: &StoredSessions, host: &str) {
        let (sessions, ticket, host) = (stored.clone(), self.ticket.clone(), host.to_owned());
        office.start(async move {
            if let Err(fault) = sessions.note_use(&ticket, &host).await {
                tracing::debug!(error = %fault, "that a session is used could not be noted in the store");
            }
        });
    }

    /// What leads to it.
    pub(super) const fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Whether it may be old, or another text may have taken its place.
    pub(super) fn is_due(&self, stored: &StoredSessions, now: Timestamp) -> bool {
        now >= self.look_at.get() || self.looked.get() != stored.epoch()
    }

    /// Looks again: `None` when this is still what is known of it, else what is known instead.
    pub(super) fn look(&self, stored: &StoredSessions) -> Option<Peek> {
        let epoch = stored.epoch();
        match stored.peek(&self.ticket) {
            Peek::Here(kept) if Arc::ptr_eq(&kept, &self.kept) => {
                self.look_at.set(stored.look_at(&kept));
                self.looked.set(epoch);
                None
            }
            other => Some(other),
        }
    }
}

/// Brings the session to hand that the request's cookies are the key to, if they are one. Waits for the store when nothing usable is
/// known; how that went is found by whoever looks next.
pub async fn bring(site: &Site, stored: &StoredSessions, table: &Table<Recognised>, headers: &HeaderMap, host: &str) {
    let RawSession::Whole(raw) = site.sessions.raw(headers) else { return };
    let now = site.clock.now();
    table.meet(site.sessions.epoch());
    let ticket = match table.find(host, &raw) {
        Some(known) => match known.at_hand() {
            Some(at_hand) if at_hand.is_due(stored, now) => at_hand.ticket().clone(),
            _ => return,
        },
        None => match site.sessions.open(&raw, host, now) {
            Reading::Stored(opened) => opened.ticket,
            Reading::Absent | Reading::Broken(_) | Reading::Open(_) => return,
        },
    };
    // Boxed, since every request would keep room for it.
    Box::pin(site.fetch(stored, ticket, host)).await;
}
