//! Brings a browser the newest of its session: the text in cookies, or where it outgrew those, the key to it.
//!
//! Most sessions that outgrow their cookies do so at a refresh and have moved before anybody writes them (`session/stored/lodging.rs`). One
//! that fits by a few bytes may not do so when its time of last use is noted: it moves from here, and the browser keeps what it has until
//! the next answer.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::base::clock::Timestamp;
use crate::endpoint::site::Site;
use crate::session::cookie::{SessionTooLarge, WriteError};
use crate::session::model::Session;
use crate::session::refresh::flight::Turn;
use crate::session::refresh::home::Home;
use crate::session::refresh::refreshes::Taken;
use crate::session::stored::{Chance, Lodging, Place, tell_of_size};

/// The `Set-Cookie` values that bring the browser which sent `headers` the session's `newest` text, used now. None while it is nowhere but
/// in this process.
///
/// # Errors
/// When it can't be sealed.
pub fn renewed_cookies(
    site: &Site,
    newest: &Arc<Session>,
    headers: &HeaderMap,
    host: &str,
    now: Timestamp,
) -> Result<Vec<HeaderValue>, WriteError> {
    match site.refreshes.home(newest) {
        Home::Nowhere => Ok(Vec::new()),
        Home::Store(ticket) => site.sessions.write_ticket(&ticket, newest.created, headers, host, now),
        Home::Browser => {
            let used = Session { used: now, ..Session::clone(newest) };
            match site.sessions.write(&used, headers, host, now) {
                Err(WriteError::TooLarge(problem)) => {
                    outgrow(site, newest, used, host, problem);
                    Ok(Vec::new())
                }
                written => written,
            }
        }
    }
}

/// Has a session moved that no refresh made larger. `used` is its text, used now.
fn outgrow(site: &Site, newest: &Arc<Session>, used: Session, host: &str, problem: SessionTooLarge) {
    if site.stored.is_none() {
        tell_of_size(&site.refreshes, newest, &problem);
        return;
    }
    // While its refresh token is in use, what comes of that counts.
    let Taken::Yours(turn) = site.refreshes.take(newest, newest.version, site.clock.now()) else { return };
    let lodging = site.lodging(Place { host, ticket: None }).of(&turn);
    let moved = Arc::new(Session { version: newest.version.saturating_add(1), ..used });
    site.office.start(async move { move_out(&lodging, turn, &moved, &problem).await });
}

async fn move_out(lodging: &Lodging, turn: Turn, moved: &Arc<Session>, problem: &SessionTooLarge) {
    match lodging.chance(turn.session()).await {
        Ok(Chance::Yours(hold)) => {
            Box::pin(hold.during(lodging.move_out(turn, moved, problem))).await;
            hold.release().await;
        }
        Ok(Chance::Alone) => drop(lodging.move_out(turn, moved, problem).await),
        Ok(Chance::Newer(newest, ticket)) => turn.landed(newest, Home::store(&ticket)),
        Ok(Chance::Over) => turn.refused(),
        Err(_) => turn.unchanged(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::kit::{session, site};
    use crate::session::cookie::Reading;
    use crate::session::store::tests::{settings_in, store_in};
    use crate::session::stored::{Foundations, StoredSessions};

    const HOST: &str = "app.example.com";

    /// A session that no cookies hold, though nobody has noticed yet.
    fn too_large() -> Arc<Session> {
        let mut session = session();
        session.principal.groups = (0..600).map(|_| crate::base::random::token().unwrap()).collect();
        Arc::new(session)
    }

    fn written(site: &Site, newest: &Arc<Session>) -> Vec<HeaderValue> {
        renewed_cookies(site, newest, &HeaderMap::new(), HOST, site.clock.now()).unwrap()
    }

    #[tokio::test]
    async fn what_does_not_fit_when_it_is_renewed_moves_to_the_store_and_the_next_answer_brings_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let mut site = site(&["corp"]);
        let foundations = Foundations {
            clock: site.clock.clone(),
            lifetimes: site.lifetimes,
            cookie_name: site.sessions.names().session().to_owned(),
            ended: site.ended.clone(),
        };
        let stored = StoredSessions::new(store_in(&folder), &settings_in(&folder), foundations);
        site.stored = Some(stored.clone());
        let first = too_large();
        assert!(written(&site, &first).is_empty(), "the browser keeps what it has");
        let newest = loop {
            let newest = site.refreshes.newest(&first, 0, site.clock.now()).unwrap();
            if newest.version > 0 {
                break newest;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let set = written(&site, &newest);
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_str(&crate::endpoint::kit::jar(&set)).unwrap());
        let Reading::Stored(opened) = site.sessions.read(&headers, HOST, site.clock.now()) else { panic!("no key") };
        let found = stored.reread(&opened.ticket, HOST).await.unwrap().unwrap();
        assert_eq!(found.session().principal, first.principal);
        assert_eq!((found.session().version, found.session().tokens.clone()), (1, first.tokens.clone()));
    }

    #[tokio::test]
    async fn without_a_store_nothing_is_written_and_the_log_tells_of_it_once() {
        let site = site(&["corp"]);
        let session = too_large();
        assert!(written(&site, &session).is_empty() && written(&site, &session).is_empty());
        assert!(!site.refreshes.tells_size(&session.id), "it was told");
        assert!(!written(&site, &Arc::new(crate::endpoint::kit::session())).is_empty());
    }
}
