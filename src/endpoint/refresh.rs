//! `POST /refresh`: new tokens now, for a front end that knows of a change, or for a person with a button.
//!
//! 1. Only a page of this site may ask, like for a sign-out; what can't tell where it comes from is no browser.
//! 2. However often it is asked, one refresh is under way for a session, and who asks with a cookie from before it gets what it brought.
//! 3. The new cookie comes with the answer, unless the session lives in a store and the browser has its key. A provider that can't be
//!    asked costs nobody the session.
//! 4. No token is in the answer.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::base::clock::Timestamp;
use crate::endpoint::fault::{internal, store_away};
use crate::endpoint::form;
use crate::endpoint::login::given;
use crate::endpoint::origin::{Source, source};
use crate::endpoint::outgrown::renewed_cookies;
use crate::endpoint::refreshing::{Outcome, refresh_now};
use crate::endpoint::site::{Carried, Site};
use crate::http::body::Body;
use crate::http::visit::{Caller, Visit};
use crate::page::answer::json as json_answer;
use crate::page::{self, Explanation};
use crate::session::model::Session;
use crate::session::refresh::home::Home;
use crate::session::stored::Place;

/// Seconds after which another try makes sense.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// `POST /refresh`. A form may say in `return_to` where its person goes on; else it is the page that it was on.
pub async fn refresh(site: &Site, visit: &Visit, parts: &Parts, body: &[u8]) -> Response<Body> {
    if source(&parts.headers, &visit.site) == Source::Foreign {
        let explanation = Explanation::new(
            "Nothing was refreshed",
            "This request came from another place.",
            "Use the link of the application.",
        );
        return page::error(visit, StatusCode::FORBIDDEN, &explanation);
    }
    let return_to = site.return_to(visit, wanted(visit, parts, body).as_deref());
    let login = site.login_path(None, &return_to);
    let (session, ticket) = match site.carried(visit, &parts.headers) {
        Carried::Nothing => return page::unauthorized(visit, &login),
        Carried::Unknown => return store_away(visit),
        Carried::Text(session) => (stand_in(site, session), None),
        Carried::Key(session, ticket) => (session, Some(ticket)),
    };
    let host = visit.site.host();
    match refresh_now(site, &session, Place { host, ticket: ticket.as_ref() }).await {
        Outcome::Refreshed(newest) => {
            let now = site.clock.now();
            let cookies = match ticket {
                Some(_) => Ok(Vec::new()),
                None => renewed_cookies(site, &newest, &parts.headers, host, now),
            };
            // Writing the text into cookies notes its use; in a store that is noted elsewhere.
            let is_used = ticket.is_none() && site.refreshes.home(&newest) == Home::Browser;
            let used = if is_used { now } else { newest.used };
            match cookies {
                Ok(cookies) => {
                    let told = Session { used, ..Session::clone(&newest) };
                    page::with_cookies(tell(site, visit, &told, &return_to.location(&visit.site)), cookies)
                }
                Err(cause) => internal(visit, "a session can't be written", &cause),
            }
        }
        Outcome::Over => page::unauthorized(visit, &login),
        Outcome::Impossible => page::error(
            visit,
            StatusCode::CONFLICT,
            &Explanation::new(
                "This session can't be refreshed",
                "The provider gave no refresh token with the sign-in.",
                "Sign in again to get new tokens.",
            )
            .link("Sign in again", login),
        ),
        Outcome::Unavailable => unavailable(visit),
    }
}

/// The newest text, where the browser can't get it: else whoever comes with an older one would be told of it for ever and never get a
/// newer one.
fn stand_in(site: &Site, session: Arc<Session>) -> Arc<Session> {
    let newest = site.refreshes.newest(&session, session.version, site.clock.now());
    newest.filter(|newest| site.refreshes.home(newest) == Home::Nowhere).unwrap_or(session)
}

/// The provider that would give a new token can't be asked: 503 now, and the session stays.
pub fn unavailable(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new(
        "Your sign-in can't be renewed right now",
        "Whoever signed you in can't be reached, or didn't answer in time. You are still signed in.",
        "This is usually over soon. Wait a moment, then try again.",
    );
    let mut response = page::error(visit, StatusCode::SERVICE_UNAVAILABLE, &explanation);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// Times are seconds since the epoch, spans are seconds. The names of the session's times are those of `/me`.
fn tell(site: &Site, visit: &Visit, session: &Session, location: &str) -> Response<Body> {
    if visit.caller == Caller::Browser {
        return page::redirect(visit, StatusCode::SEE_OTHER, location);
    }
    let now = site.clock.now();
    let expires = site.lifetimes.ends(session);
    let value = json!({
        "refreshed": true,
        "access_token_expires_at": session.tokens.access_expires.map(Timestamp::seconds),
        "access_token_expires_in": session.tokens.access_expires.map(|ends| ends.since(now).as_secs()),
        "expires_at": expires.seconds(),
        "expires_in": expires.since(now).as_secs(),
        "ends_at": session.created.after(site.lifetimes.absolute).seconds(),
    });
    json_answer(visit.into(), StatusCode::OK, &value)
}

/// Where a person wants to go on.
fn wanted(visit: &Visit, parts: &Parts, body: &[u8]) -> Option<String> {
    if let Some(given) = form::read(parts, body).as_ref().and_then(|form| given(form, "return_to")) {
        return Some(given.to_owned());
    }
    let referer = parts.headers.get(header::REFERER).and_then(|value| value.to_str().ok())?;
    referer.strip_prefix(visit.site.as_str()).map(str::to_owned)
}
