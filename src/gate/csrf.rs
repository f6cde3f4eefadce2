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

use super::credential::Credential;
use super::edge::Admitted;
use super::route::{Other, Route};
use crate::config::settings::CsrfCheck;
use crate::endpoint::origin::{Source, is_same_site, source};
use crate::endpoint::site::Site;
use crate::http::visit::Visit;
use crate::session::csrf;

/// What carries the token. It goes no further.
pub static CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// What the request should have shown and did not; nothing when it may go on. Where its path can be read in several ways, the routes of
/// all readings are asked.
pub fn lacking(
    site: &Site,
    (route, also): (&Route, &[Other<'_>]),
    credential: &Credential,
    admitted: &Admitted,
    parts: &Parts,
) -> Option<CsrfCheck> {
    if parts.method.is_safe() || matches!(credential, Credential::Bearer(_)) {
        return None;
    }
    let routes = std::iter::once(route).chain(also.iter().map(|other| &**other.route));
    let mut asked = routes.filter_map(|route| Some((route, route.csrf?)));
    let lacking = asked.find(|(route, check)| !is_shown(site, route, *check, credential, admitted, parts));
    lacking.map(|(_, check)| check)
}

fn is_shown(
    site: &Site,
    route: &Route,
    check: CsrfCheck,
    credential: &Credential,
    admitted: &Admitted,
    parts: &Parts,
) -> bool {
    let (visit, headers) = (&admitted.visit, &parts.headers);
    let Some(session) = credential.who().and_then(|who| who.session()) else {
        // A certificate is sent by itself as well; most who have one are programs, and say nothing of where they come from.
        return admitted.certificate.is_none()
            || source(headers, &visit.site) != Source::Foreign
            || is_named(route, headers);
    };
    match check {
        CsrfCheck::Token => {
            let mut shown = headers.get_all(&CSRF_TOKEN).iter();
            let token = shown.next().filter(|_| shown.next().is_none());
            token.is_some_and(|token| csrf::is_token(&site.sessions, &session.id, token.as_bytes()))
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
