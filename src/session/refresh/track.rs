//! What is known of one session that was refreshed, and which of its texts that makes count.

use std::sync::Arc;
use std::time::Duration;

use super::home::Home;
use crate::base::clock::Timestamp;
use crate::session::model::{Granted, Session};

/// What is known of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// The newest text.
    pub(super) newest: Option<Arc<Session>>,
    /// Where the newest text is kept.
    pub(super) home: Home,
    /// When a browser showed it.
    pub(super) shown: Option<Timestamp>,
    /// Texts of lower versions are no sessions any more.
    pub(super) least: u32,
    /// The provider refused to refresh the text of this version: until a newer one is shown, the session is over.
    pub(super) refused: Option<u32>,
    pub(super) failure: Option<Failure>,
}

#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// Of the text whose refresh failed.
    pub(super) version: u32,
    pub(super) tries: u32,
    pub(super) until: Timestamp,
    pub(super) held: Option<Granted>,
}

/// What becomes of a text.
pub(super) enum State {
    Over,
    /// The text that counts, when it is another than the caller's.
    Current(Option<Arc<Session>>),
}

impl Track {
    /// What becomes of a text of version `carried`, for which the caller has `session`. Older texts are served for `grace`.
    pub(super) fn state(&self, session: &Session, carried: u32, now: Timestamp, grace: Duration) -> State {
        if carried < self.least {
            return State::Over;
        }
        let Some(newest) = &self.newest else {
            let is_refused = self.refused.is_some_and(|refused| carried <= refused);
            return if is_refused { State::Over } else { State::Current(None) };
        };
        if carried < newest.version && self.shown.is_some_and(|shown| now >= shown.after(grace)) {
            return State::Over;
        }
        State::Current((newest.version > session.version).then(|| Arc::clone(newest)))
    }

    /// Where `session` is kept, as far as anything is known of that.
    pub(super) fn home(&self, session: &Session) -> Home {
        let is_newest = self.newest.as_ref().is_some_and(|newest| newest.version == session.version);
        if is_newest { self.home.clone() } else { Home::Browser }
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> u32 {
        let session = self.newest.as_ref().map_or(0, |newest| {
            let tokens = &newest.tokens;
            let tokens = [&tokens.access_token, &tokens.refresh_token, &tokens.id_token];
            let tokens: usize = tokens.into_iter().flatten().map(String::len).sum();
            let who = &newest.principal;
            let names: usize = who.groups.iter().chain(&who.roles).map(|name| name.len() + size_of::<String>()).sum();
            1024 + tokens + names + who.claims.len() * 128
        });
        u32::try_from(256 + session).unwrap_or(u32::MAX)
    }
}
