//! `GET /me`: who is signed in, for a front end, and what shows that the front end is ours. No tokens of the provider, no cookie values, and no longer life for the session.

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::endpoint::fault::store_away;
use crate::endpoint::site::{Held, Site};
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::page;
use crate::page::answer::json as json_answer;
use crate::session::csrf;
use crate::session::model::Session;

/// 200 with the principal and the times of the session, or 401; JSON in either case, whoever asks. 503 when the store in which the
/// session lives gives no answer.
pub fn me(site: &Site, visit: &Visit, parts: &Parts) -> Response<Body> {
    let mut response = match site.held(visit, &parts.headers) {
        Held::Session(session) => json_answer(visit.into(), StatusCode::OK, &describe(site, &session)),
        Held::Nothing => page::unauthorized_json(visit, &site.path("/login")),
        Held::Unknown => store_away(visit),
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
        "csrf_token": csrf::token(&site.sessions, &session.id),
        "created_at": session.created.seconds(),
        "expires_at": expires.seconds(),
        "expires_in": expires.since(now).as_secs(),
        "ends_at": session.created.after(site.lifetimes.absolute).seconds(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::kit::{NOW, browser, cookies, get, header_of, session, signed_in, site, text};

    #[tokio::test]
    async fn tells_who_and_until_when_and_no_token() {
        let site = site(&["corp"]);
        let parts = get("/.auth/me", &[("cookie", &signed_in(&site))]);
        let response = me(&site, &browser(), &parts);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header_of(&response, "vary"), "Cookie");
        assert_eq!(header_of(&response, "cache-control"), "no-store");
        assert_eq!(header_of(&response, "content-type"), "application/json");
        assert!(cookies(&response).is_empty(), "asking who I am doesn't lengthen the session");
        let body = text(response).await;
        assert!(!body.contains("TOKEN"), "{body}");
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["sub"], "alice-1");
        assert_eq!(value["csrf_token"], csrf::token(&site.sessions, &session().id));
        assert_eq!(value["roles"][0], "admin");
        assert_eq!(value["claims"]["team"], "red");
        assert_eq!(value["expires_at"], NOW + 8 * 3600);
        assert_eq!(value["expires_in"], 8 * 3600);
        assert_eq!(value["ends_at"], NOW + 168 * 3600);
    }

    #[tokio::test]
    async fn nobody_is_a_401_in_json_even_for_a_browser() {
        for cookie in ["", "__Host-s=garbage", "portcullis=x; portcullis=y"] {
            let response = me(&site(&["corp"]), &browser(), &get("/.auth/me", &[("cookie", cookie)]));
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(header_of(&response, "content-type"), "application/problem+json");
            assert_eq!(header_of(&response, "www-authenticate"), "Bearer realm=\"portcullis\"");
            assert_eq!(header_of(&response, "vary"), "Cookie");
        }
    }
}
