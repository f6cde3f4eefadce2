//! What a refresh means for one request: whether it waits for it, the cookie on its answer, and the one more try after an upstream's 401.
//!
//! 1. A request waits only when the access token is over. When an earlier try has failed, only one whose upstream needs the token does.
//! 2. A cookie is written with the newest text of the session, or not at all. Of a session in a store only the key is in the cookie, which
//!    takes the place of the text when the session outgrows its cookies.
//! 3. What an upstream refused with a 401 it has not done, so it may be sent once more, if all of it is at hand.

use std::rc::Rc;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method};

use super::credential::Recognised;
use super::handle::Gate;
use super::papers::needs_access_token;
use super::pass::Passage;
use super::plan::Plan;
use super::route::Route;
use crate::base::clock::Timestamp;
use crate::endpoint::outgrown::renewed_cookies;
use crate::endpoint::refreshing::{Outcome, Settled, refresh_now};
use crate::endpoint::site::Site;
use crate::session::model::Session;
use crate::session::refresh::flight::Flight;
use crate::token::plan::Bearer;

/// A token that came of a refresh so short a time ago is not made better by another one.
const TOO_FRESH: Duration = Duration::from_secs(5);

/// Whether a request to this route waits for the refresh of its session.
pub fn waits(plan: &Plan, route: &Route, flight: &Flight) -> bool {
    let upstream = plan.upstreams.get(route.upstream);
    let needs_token = upstream.is_some_and(|upstream| needs_access_token(&upstream.tokens.bearer));
    if route.rule.is_public() { needs_token && flight.is_first() } else { needs_token || flight.is_first() }
}

/// Whether the upstream gets a token of the session, or one that is got for such a token.
fn gets_token_of_session(plan: &Plan, route: &Route) -> bool {
    let upstream = plan.upstreams.get(route.upstream);
    upstream.is_some_and(|upstream| matches!(upstream.tokens.bearer, Bearer::Session(_) | Bearer::Fetched(_)))
}

/// Whether a session whose access token is over gets another one as soon as the provider can be asked: no sign-in brings it sooner.
pub fn comes_later(passage: &Passage<'_>) -> bool {
    let session = passage.who.as_ref().and_then(|who| who.session());
    let comes = session.is_some_and(|session| session.tokens.refresh_token.is_some());
    if comes {
        let request_id = &*passage.admitted.visit.request_id;
        tracing::warn!(request_id, route = &*passage.route.name, "no token to send until the provider gives a new one");
    }
    comes
}

/// A session whose cookies may have to be written anew, and the cookies that the browser has now.
#[derive(Debug)]
pub struct Renewal {
    who: Rc<Recognised>,
    cookies: HeaderMap,
}

/// Whether it is time to note the session's use, to carry it to the first key, or to look for a newer text of it when the answer is
/// there. `headers` are as the visitor sent them.
pub fn renewal(who: &Rc<Recognised>, route: &Route, headers: &HeaderMap, now: Timestamp) -> Option<Box<Renewal>> {
    if now < who.renew_at.get() && !who.may_be_renewed(now) && !route.retry_unauthorized {
        return None;
    }
    let lines = headers.get_all(COOKIE).iter().map(|line| (COOKIE, line.clone()));
    Some(Box::new(Renewal { who: Rc::clone(who), cookies: lines.collect() }))
}

impl Renewal {
    /// The cookies, made only when the answer is there to carry them: none for a session that was ended meanwhile, so that a late
    /// answer can't undo a sign-out, and never a text that a newer one has taken the place of.
    pub fn write(self, site: &Site, host: &str, now: Timestamp) -> Vec<HeaderValue> {
        let who = &*self.who;
        if !who.is_alive(site, now) {
            return Vec::new();
        }
        let Some((session, carried)) = who.carried() else { return Vec::new() };
        if let (Some(at_hand), Some(stored)) = (who.at_hand(), &site.stored) {
            if now < who.renew_at.get() {
                return Vec::new();
            }
            who.renew_at.set(now.after(site.lifetimes.renew_after()));
            at_hand.note_use(&site.office, stored, host);
            let written = at_hand
                .reseal
                .take()
                .then(|| site.sessions.write_ticket(at_hand.ticket(), session.created, &self.cookies, host, now));
            return written.transpose().ok().flatten().unwrap_or_default();
        }
        let Some(newest) = site.refreshes.newest(session, carried, now) else { return Vec::new() };
        if newest.version == carried {
            let is_wanted = now >= who.renew_at.get();
            // The refresh that is under way will be written in its place.
            if !is_wanted || site.refreshes.is_under_way(&newest.id) {
                return Vec::new();
            }
        }
        who.renew_at.set(now.after(site.lifetimes.renew_after()));
        renewed_cookies(site, &newest, &self.cookies, host, now).unwrap_or_else(|error| {
            tracing::warn!(principal = who.principal_id(), %error, "a session could not be renewed; it ends at its idle time");
            Vec::new()
        })
    }
}

/// Whether a 401 of this route's upstream is worth another token.
pub fn may_try_again(gate: &Gate, passage: &Passage<'_>) -> bool {
    let Passage { route, who, now, .. } = passage;
    let is_refreshable = |session: &Session| {
        session.tokens.refresh_token.is_some() && (session.version == 0 || now.since(session.obtained) >= TOO_FRESH)
    };
    route.retry_unauthorized
        && who.as_ref().and_then(|who| who.session()).is_some_and(is_refreshable)
        && gets_token_of_session(&gate.plan, route)
}

/// The same passage with new tokens, after the upstream refused those that it got. `None` when there are none to be had, or the person
/// may not pass any more.
pub async fn with_new_tokens<'a>(gate: &Gate, passage: &Passage<'a>, method: &Method) -> Option<Passage<'a>> {
    let (site, who) = (&gate.plan.site, passage.who.as_ref()?);
    let place = who.place(passage.admitted.visit.site.host());
    let Outcome::Refreshed(session) = refresh_now(site, who.carried()?.0, place).await else { return None };
    let now = site.clock.now();
    if !site.admits(&session, now) {
        return None;
    }
    let asked = site.ended.epoch();
    let settled = Settled { session, look_again: now, flight: None };
    let newer = Rc::new(who.with_newer(site, settled, asked));
    if !gate.admits(passage.admitted, method, Some(&newer)) {
        return None;
    }
    Some(Passage { who: Some(newer), now, ..*passage })
}
