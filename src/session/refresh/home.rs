//! Where the newest text of a session is kept for the browser that comes with an older one.

use std::sync::Arc;

use crate::session::ticket::Ticket;

/// Where the newest text of a session is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Home {
    /// In the browser's cookies, from the next answer on.
    #[default]
    Browser,
    /// In the store, under this key: the browser gets the key in place of what it has.
    Store(Arc<Ticket>),
    /// In this process alone, since it is too large for cookies, and there is no store or it took nothing yet: the browser keeps what it
    /// has.
    Nowhere,
}

impl Home {
    /// In the store, under this key.
    pub fn store(ticket: &Ticket) -> Self {
        Self::Store(Arc::new(ticket.clone()))
    }
}
