//! A sign-in of which a rule or an upstream wants more: the provider is asked for it once, and then a page explains (RFC 9470).
//!
//! 1. The session that a provider's answer made remembers what was asked of it. When the same is wanted again soon after, asking
//!    again would go round in circles.
//! 2. Two rules that can't be met together would send the browser to and fro, so only so many are asked for in a row.
//! 3. An answer that has not what was asked never takes the place of a session of the same person.

use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};

use crate::base::clock::Timestamp;
use crate::endpoint::login::{Ask, begin_with, may_begin};
use crate::endpoint::site::{Offer, Site};
use crate::http::body::Body;
use crate::http::return_to::ReturnTo;
use crate::http::visit::Visit;
use crate::page::{self, Explanation};
use crate::policy::wanted::Wanted;
use crate::session::model::Session;

/// So long after a sign-in the same is not asked for again by itself.
const SOON: Duration = Duration::from_mins(1);
/// The most that are begun in a row.
const MOST_ROUNDS: u8 = 3;

/// Sends a browser back to the provider of its session, or explains why not.
pub async fn begin(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    session: &Session,
    wanted: &Wanted,
    return_to: &ReturnTo,
) -> Response<Body> {
    let Some(offer) = site.offer(&session.principal.provider) else { return page::not_found(visit) };
    if !may_begin(visit, parts) {
        return page::insufficient(visit, wanted);
    }
    let Some(round) = next_round(session, wanted, site.clock.now()) else {
        return unmet(site, visit, offer, return_to);
    };
    let ask = Ask { parameters: Vec::new(), wanted: wanted.clone(), round };
    begin_with(site, visit, parts, offer, ask, return_to).await
}

/// The place in the row that another sign-in would have; none when the provider was asked enough.
fn next_round(session: &Session, wanted: &Wanted, now: Timestamp) -> Option<u8> {
    // Half of a short age is over before the same can be wanted again.
    let soon = wanted.max_age.map_or(SOON, |max_age| SOON.min(max_age / 2));
    if now.since(session.created) > soon {
        return Some(1);
    }
    (session.asked != *wanted && session.round < MOST_ROUNDS).then(|| session.round.saturating_add(1))
}

/// The page that ends what another redirect would repeat: the provider's answer has not what was asked of it.
pub fn unmet(site: &Site, visit: &Visit, offer: &Offer, return_to: &ReturnTo) -> Response<Body> {
    let provider = &offer.provider;
    tracing::warn!(
        request_id = &*visit.request_id,
        provider = &**provider.name(),
        "a provider did not give what was wanted of a sign-in"
    );
    let again = site.login_path_with(Some(provider.name()), &[("prompt", "login"), ("return_to", return_to.as_str())]);
    let explanation = Explanation::new(
        "This page needs another sign-in",
        format!("You are signed in, but {} didn't sign you in in the way that this page asks for.", provider.label()),
        "Try again, and choose a stronger way to sign in there, such as a second factor. If it doesn't help, ask whoever runs \
         this site.",
    )
    .link("Try again", again)
    .link("Go to the start", "/");
    page::error(visit, StatusCode::FORBIDDEN, &explanation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::kit::session;

    #[test]
    fn the_same_is_asked_for_once_and_only_so_many_in_a_row() {
        let gold = Wanted { acr: vec!["gold".to_owned()], ..Wanted::default() };
        let fresh = Wanted { max_age: Some(Duration::from_secs(30)), ..Wanted::default() };
        let made = session();
        let at = |seconds| made.created.after(Duration::from_secs(seconds));
        assert_eq!(next_round(&made, &gold, at(0)), Some(1), "nobody asked for it yet");
        let asked = |wanted: &Wanted, round| Session { asked: wanted.clone(), round, ..made.clone() };
        assert_eq!(next_round(&asked(&gold, 1), &gold, at(60)), None);
        assert_eq!(next_round(&asked(&gold, 1), &gold, at(61)), Some(1));
        assert_eq!(next_round(&asked(&gold, 1), &fresh, at(15)), Some(2));
        assert_eq!(next_round(&asked(&fresh, 2), &gold, at(15)), Some(3));
        assert_eq!(next_round(&asked(&gold, 3), &fresh, at(15)), None, "to and fro");
        assert_eq!(next_round(&asked(&fresh, 1), &fresh, at(15)), None);
        assert_eq!(next_round(&asked(&fresh, 1), &fresh, at(16)), Some(1), "its time may be over again");
    }
}
