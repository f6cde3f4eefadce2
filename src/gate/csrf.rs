//! Whether a request that changes something was sent by whom it is for: browsers add cookies and certificates whatever page sends it.
//!
//! 1. What only reads (RFC 9110, section 9.2.1) shows nothing, and neither does whoever brought a token in `Authorization`, which no
//!    browser adds by itself.
//! 2. `token`: the header has what `/me` told the pages of this origin.
//! 3. `same-origin`: the browser says that a page of this origin sent it, or the person by their own hand. `same-site` takes pages of
//!    sibling hosts as well. A page that the route's `cors` lets come with credentials is one of ours, by name.
//! 4. What a browser leaves unsaid speaks against the request: programs with a session's cookie say where they come from.

use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::edge::Admitted;
use super::route::{Other, Route};
use crate::config::settings::CsrfCheck;
use crate::endpoint::origin::{Source, is_same_site, source};
use crate::http::visit::Visit;

/// What carries the token. It goes no further.
pub static CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// Who sends a request, as far as it matters here.
#[derive(Clone, Copy)]
pub enum Sender<'s> {
    /// Nobody is signed in.
    Nobody,
    /// Whoever has a session; tells whether a token is that session's.
    Session(&'s dyn Fn(&[u8]) -> bool),
    /// Whoever brought a token in `Authorization`.
    Bearer,
}

/// What the request should have shown and did not; nothing when it may go on. Where its path can be read in several ways, the routes of
/// all readings are asked.
pub fn lacking(
    (route, also): (&Route, &[Other<'_>]),
    sender: Sender<'_>,
    admitted: &Admitted,
    parts: &Parts,
) -> Option<CsrfCheck> {
    if parts.method.is_safe() || matches!(sender, Sender::Bearer) {
        return None;
    }
    let routes = std::iter::once(route).chain(also.iter().map(|other| &**other.route));
    let mut asked = routes.filter_map(|route| Some((route, route.csrf?)));
    let lacking = asked.find(|(route, check)| !is_shown(route, *check, sender, admitted, parts));
    lacking.map(|(_, check)| check)
}

fn is_shown(route: &Route, check: CsrfCheck, sender: Sender<'_>, admitted: &Admitted, parts: &Parts) -> bool {
    let (visit, headers) = (&admitted.visit, &parts.headers);
    let is_sessions = match sender {
        Sender::Session(is_sessions) => is_sessions,
        // A certificate is sent by itself as well; most who have one are programs, and say nothing of where they come from.
        Sender::Nobody => {
            let is_foreign = admitted.certificate.is_some() && source(headers, &visit.site) == Source::Foreign;
            return !is_foreign || is_named(route, headers);
        }
        Sender::Bearer => return true,
    };
    match check {
        CsrfCheck::Token => {
            let mut shown = headers.get_all(&CSRF_TOKEN).iter();
            let token = shown.next().filter(|_| shown.next().is_none());
            token.is_some_and(|token| is_sessions(token.as_bytes()))
        }
        CsrfCheck::SameOrigin => is_ours(route, headers, visit),
        CsrfCheck::SameSite => is_same_site(headers) || is_ours(route, headers, visit),
    }
}

fn is_ours(route: &Route, headers: &HeaderMap, visit: &Visit) -> bool {
    source(headers, &visit.site) == Source::Own || is_named(route, headers)
}

/// Whether the page is of an origin that the route lets come with credentials. No page can forge `Origin`.
fn is_named(route: &Route, headers: &HeaderMap) -> bool {
    let Some(cors) = &route.cors else { return false };
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none());
    origin.is_some_and(|origin| cors.trusts(origin.as_bytes()))
}
