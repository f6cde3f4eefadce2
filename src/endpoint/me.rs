//! `GET /me`: who is signed in, for a front end. No tokens, no cookie values, and no longer life for the session.

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::page;
use crate::page::answer::json as json_answer;
use crate::session::model::Session;

/// 200 with the principal and the times of the session, or 401; JSON in either case, whoever asks.
pub fn me(site: &Site, visit: &Visit, parts: &Parts) -> Response<Body> {
    let mut response = match site.session(visit, &parts.headers) {
        Some(session) => json_answer(visit.into(), StatusCode::OK, &describe(site, &session)),
        None => page::unauthorized_json(visit, &site.path("/login")),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Cookie"));
    response
}

/// Times are seconds since the epoch, spans are seconds. `expires_at` is when the session ends unless it is used,
/// `ends_at` when it ends in any case.
fn describe(site: &Site, session: &Session) -> Value {
    let who = &session.principal;
    let now = site.clock.now();
    let expires = site.lifetimes.ends(session);
    json!({
        "provider": who.provider,
        "issuer": who.issuer,
        "sub": who.subject,
        "email": who.email,
        "email_verified": who.email_verified,
        "name": who.name,
        "preferred_username": who.preferred_username,
        "groups": who.groups,
        "roles": who.roles,
        "claims": who.claims,
        "authenticated_at": session.authenticated.map(Timestamp::seconds),
        "created_at": session.created.seconds(),
        "expires_at": expires.seconds(),
        "expires_in": expires.since(now).as_secs(),
        "ends_at": session.created.after(site.lifetimes.absolute).seconds(),
    })
}
