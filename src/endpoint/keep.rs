//! Where a new session goes: into the browser's cookies, or into the store, as the config and the session's size have it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::endpoint::site::Site;
use crate::http::visit::Visit;
use crate::session::cookie::{SessionTooLarge, WriteError};
use crate::session::model::Session;
use crate::session::store::StoreFault;
use crate::session::stored::{KeepFault, StoredSessions};

/// Why a session was put nowhere.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It doesn't fit into cookies, and there is no store.
    #[error(transparent)]
    TooLarge(#[from] SessionTooLarge),
    /// The store gave no answer, and cookies may not or can't take it.
    #[error(transparent)]
    Away(StoreFault),
    /// It can't be written at all.
    #[error(transparent)]
    Unwritable(WriteError),
    /// It can't be put into the store at all.
    #[error(transparent)]
    Unstorable(KeepFault),
}

impl From<WriteError> for NotKept {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::TooLarge(problem) => Self::TooLarge(problem),
            other => Self::Unwritable(other),
        }
    }
}

/// Puts a new session where it belongs. The `Set-Cookie` values that the browser which sent `headers` gets for it.
///
/// # Errors
/// When it can be put nowhere; see [`NotKept`].
pub async fn keep(
    site: &Site,
    visit: &Visit,
    headers: &HeaderMap,
    session: &Session,
) -> Result<Vec<HeaderValue>, NotKept> {
    let in_cookies = || site.sessions.write(session, headers, visit.site.host(), site.clock.now());
    let Some(stored) = &site.stored else { return Ok(in_cookies()?) };
    if stored.is_for_large_ones() {
        return match in_cookies() {
            Err(WriteError::TooLarge(_)) => in_store(site, stored, visit, headers, session).await,
            written => Ok(written?),
        };
    }
    match in_store(site, stored, visit, headers, session).await {
        Err(NotKept::Away(fault)) if stored.falls_back() => match in_cookies() {
            Ok(cookies) => {
                tracing::warn!(
                    request_id = &*visit.request_id,
                    error = %fault,
                    "a new session was put into cookies, since the session store is away"
                );
                Ok(cookies)
            }
            Err(WriteError::TooLarge(_)) => Err(NotKept::Away(fault)),
            Err(error) => Err(error.into()),
        },
        kept => kept,
    }
}

async fn in_store(
    site: &Site,
    stored: &StoredSessions,
    visit: &Visit,
    headers: &HeaderMap,
    session: &Session,
) -> Result<Vec<HeaderValue>, NotKept> {
    let (sessions, shared, host) = (stored.clone(), Arc::new(session.clone()), visit.site.host().to_owned());
    let created = site.office.run(async move { sessions.create(shared, &host).await }).await;
    let ticket = match created {
        Ok(Ok(ticket)) => ticket,
        Ok(Err(KeepFault::Store(fault))) => return Err(NotKept::Away(fault)),
        Ok(Err(fault)) => return Err(NotKept::Unstorable(fault)),
        Err(dropped) => return Err(NotKept::Away(StoreFault::away(dropped.to_string()))),
    };
    Ok(site.sessions.write_ticket(&ticket, session.created, headers, visit.site.host(), site.clock.now())?)
}
