//! Saying no, in the caller's language: a redirect to sign in, a 401 or 403, a calm page, or a refusal of what can't be read.

use http::header::{ALLOW, CONNECTION, COOKIE, REFERER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::credential::{Credential, Recognised};
use super::edge::{Admitted, Malformed};
use super::route::Route;
use crate::config::settings::{CsrfCheck, SignedOut};
use crate::endpoint::fault::store_away;
use crate::endpoint::login::{begin_sign_in, onward_status};
use crate::endpoint::origin::is_prefetch;
use crate::endpoint::site::Site;
use crate::endpoint::step_up;
use crate::http::body::Body;
use crate::http::caller;
use crate::http::return_to::ReturnTo;
use crate::http::visit::{Caller, Visit};
use crate::page::{self, Explanation};
use crate::policy::wanted::Wanted;
use crate::session::cookie::Broken;

/// A request that the edge refused. One that brought too much loses our cookies when cookies are most of it.
pub fn malformed(site: &Site, malformed: &Malformed, parts: &Parts, request_id: &str) -> Response<Body> {
    let caller = caller::classify(&parts.method, &parts.headers, false);
    let mut response = page::refused(request_id, caller, malformed.status, malformed.reason);
    if malformed.status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE && is_mostly_cookies(&parts.headers) {
        response = page::with_cookies(response, clear_all(site, &parts.headers));
    }
    if let Some(allowed) = malformed.allow() {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if malformed.close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A path that may mean several things, on a route that does not allow it.
pub fn odd_path(visit: &Visit) -> Response<Body> {
    page::refused(
        &visit.request_id,
        visit.caller,
        StatusCode::BAD_REQUEST,
        "The path of this request can be read in more than one way.",
    )
}

/// No route: never an upstream.
pub fn no_route(visit: &Visit) -> Response<Body> {
    page::not_found(visit)
}

/// Files can be read and nothing else (RFC 9110, section 15.5.6).
pub fn read_only(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new("That can't be done here", "This address can be read, and nothing else.", "");
    let mut response = page::error(visit, StatusCode::METHOD_NOT_ALLOWED, &explanation);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Somebody without a session where one is needed.
pub async fn sign_in(
    site: &Site,
    admitted: &Admitted,
    route: &Route,
    credential: &Credential,
    wanted: &Wanted,
    parts: &Parts,
) -> Response<Body> {
    let visit = &admitted.visit;
    let response = match credential {
        // A cookie that somebody else set may come back after every sign-in: a page ends what redirects would repeat for ever.
        Credential::Broken(Broken::Ambiguous) => {
            page::unauthorized(visit, &site.login_path(None, &return_to(site, visit, parts)))
        }
        // Whoever may be signed in already must not be sent to sign in, and keeps their cookies.
        Credential::Unknown => return store_away(visit),
        _ => sign_in_again(site, admitted, route, wanted, parts).await,
    };
    cleared(site, credential, parts, response)
}

/// Somebody who has to sign in, or to sign in anew because the session has no token left for the upstream.
pub async fn sign_in_again(
    site: &Site,
    admitted: &Admitted,
    route: &Route,
    wanted: &Wanted,
    parts: &Parts,
) -> Response<Body> {
    let visit = &admitted.visit;
    let return_to = return_to(site, visit, parts);
    let login = || site.login_path(None, &return_to);
    let is_readable = visit.caller == Caller::Browser;
    match route.signed_out {
        SignedOut::Unauthorized => page::unauthorized(visit, &login()),
        // Asking for the head alone begins no flow; it learns where a flow would begin.
        SignedOut::Auto | SignedOut::Redirect if is_readable && parts.method == Method::HEAD => {
            page::redirect(visit, StatusCode::FOUND, &visit.site.at(&login()))
        }
        SignedOut::Redirect if !is_readable => page::redirect(visit, StatusCode::FOUND, &visit.site.at(&login())),
        SignedOut::Auto | SignedOut::Redirect => begin_sign_in(site, visit, parts, &return_to, wanted).await,
    }
}

/// Somebody who signed in, but not in the way that is wanted (RFC 9470): a browser goes back to the provider, once; everyone else is
/// told what is wanted.
pub async fn step_up(
    site: &Site,
    admitted: &Admitted,
    route: &Route,
    who: Option<&Recognised>,
    wanted: &Wanted,
    parts: &Parts,
) -> Response<Body> {
    let visit = &admitted.visit;
    let session = who.and_then(Recognised::session);
    let (Some(session), SignedOut::Auto | SignedOut::Redirect) = (session, route.signed_out) else {
        return page::insufficient(visit, wanted);
    };
    step_up::begin(site, visit, parts, session, wanted, &return_to(site, visit, parts)).await
}

/// Somebody without a session, told to a proxy that asks for a status alone: 401, whatever the route says.
pub fn unauthorized(site: &Site, visit: &Visit, credential: &Credential, parts: &Parts) -> Response<Body> {
    if matches!(credential, Credential::Unknown) {
        return store_away(visit);
    }
    let response = page::unauthorized(visit, &site.login_path(None, &return_to(site, visit, parts)));
    cleared(site, credential, parts, response)
}

/// Somebody without a session, told to a proxy that hands our answer on: as [`sign_in`] says it, but that the flow begins at the login
/// endpoint, where its cookie has no other proxy to pass.
pub fn lead_to_sign_in(
    site: &Site,
    visit: &Visit,
    route: &Route,
    credential: &Credential,
    parts: &Parts,
) -> Response<Body> {
    if matches!(credential, Credential::Unknown) {
        return store_away(visit);
    }
    let login = site.login_path(None, &return_to(site, visit, parts));
    let response = match route.signed_out {
        _ if matches!(credential, Credential::Broken(Broken::Ambiguous)) => page::unauthorized(visit, &login),
        SignedOut::Unauthorized => page::unauthorized(visit, &login),
        _ if sends_to_sign_in(route, visit, &parts.headers) => {
            page::redirect(visit, onward_status(parts), &visit.site.at(&login))
        }
        SignedOut::Auto | SignedOut::Redirect => page::unauthorized_json(visit, &login),
    };
    cleared(site, credential, parts, response)
}

/// Whether somebody without a session is sent to sign in; everyone else gets 401.
pub fn sends_to_sign_in(route: &Route, visit: &Visit, headers: &HeaderMap) -> bool {
    match route.signed_out {
        SignedOut::Unauthorized => false,
        SignedOut::Auto => visit.caller != Caller::Program && !is_prefetch(headers),
        SignedOut::Redirect => true,
    }
}

/// The answer, which also clears a cookie of ours that is of no use.
fn cleared(site: &Site, credential: &Credential, parts: &Parts, response: Response<Body>) -> Response<Body> {
    match credential {
        Credential::Broken(_) => page::with_cookies(response, site.sessions.clear(&parts.headers)),
        Credential::Absent
        | Credential::Unknown
        | Credential::Over
        | Credential::Session(_)
        | Credential::Bearer(_) => response,
    }
}

/// Signed in, but not admitted.
pub fn forbidden(site: &Site, visit: &Visit, who: Option<&Recognised>, parts: &Parts) -> Response<Body> {
    let principal = who.map(Recognised::principal);
    let name = principal.map(|principal| {
        let names = [&principal.preferred_username, &principal.email, &principal.name];
        names.into_iter().flatten().next().unwrap_or(&principal.subject).as_str()
    });
    page::forbidden(visit, name, &site.switch_path(&return_to(site, visit, parts)), &site.path("/logout"))
}

/// A WebSocket handshake that another site's page began (RFC 6455, section 10.2).
pub fn foreign_origin(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new(
        "That connection isn't allowed",
        "Another site's page tried to open a connection in your name.",
        "",
    );
    page::error(visit, StatusCode::FORBIDDEN, &explanation)
}

/// A request that would change something, and doesn't show that a page of ours sent it.
pub fn forged(site: &Site, visit: &Visit, check: CsrfCheck) -> Response<Body> {
    let (what, advice) = match check {
        CsrfCheck::Token => (
            "This request would change something, and doesn't have the token that pages of this site send along.",
            format!(
                "Reload the page and try again. Scripts send the csrf_token of {} as X-CSRF-Token.",
                site.path("/me")
            ),
        ),
        CsrfCheck::SameOrigin | CsrfCheck::SameSite => (
            "This request would change something, and another site's page sent it in your name, as far as can be told.",
            "Go to the page itself and try again.".to_owned(),
        ),
    };
    page::error(visit, StatusCode::FORBIDDEN, &Explanation::new("That was not sent from here", what, advice))
}

/// Signed in and admitted, but with nothing that could stand in the path of this page.
pub fn no_path(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new(
        "This page isn't there for you",
        "The address behind this page has your name in it, and your account has no name that fits there.",
        "Ask whoever runs this site, or use another account.",
    );
    page::error(visit, StatusCode::FORBIDDEN, &explanation)
}

/// A body larger than the limit.
pub fn too_large(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new(
        "That is too large",
        "What you sent is larger than this site takes.",
        "Send something smaller, or ask whoever runs this site.",
    );
    page::error(visit, StatusCode::PAYLOAD_TOO_LARGE, &explanation)
}

/// A body of which nothing came for too long (RFC 9110, section 15.5.9).
pub fn too_slow(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new("That took too long", "What you sent arrived too slowly.", "Try again.");
    let mut response = page::error(visit, StatusCode::REQUEST_TIMEOUT, &explanation);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body that ended before it should have.
pub fn body_broke_off(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new("That broke off", "What you sent ended too early.", "Try again.");
    page::error(visit, StatusCode::BAD_REQUEST, &explanation)
}

fn is_mostly_cookies(headers: &HeaderMap) -> bool {
    let all: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let cookies: usize = headers.get_all(COOKIE).iter().map(HeaderValue::len).sum();
    cookies > all / 2
}

/// Every cookie of ours that the request brought, expired.
fn clear_all(site: &Site, headers: &HeaderMap) -> Vec<HeaderValue> {
    let mut cleared = site.sessions.clear(headers);
    cleared.extend(site.flows.clear_all(headers));
    cleared
}

/// Where a sign-in leads back to: the page asked for; after a form was sent, the page that it was on.
fn return_to(site: &Site, visit: &Visit, parts: &Parts) -> ReturnTo {
    if parts.method == Method::GET || parts.method == Method::HEAD {
        return site.return_to(visit, parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str));
    }
    let referer = parts.headers.get(REFERER).and_then(|value| value.to_str().ok());
    site.return_to(visit, referer.and_then(|referer| referer.strip_prefix(visit.site.as_str())))
}
