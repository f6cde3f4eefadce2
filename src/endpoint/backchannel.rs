//! Ends what a provider says has ended there: `POST /backchannel-logout/{provider}` (`OpenID` Connect Back-Channel Logout 1.0).
//!
//! 1. 200 when the token holds, whether or not anybody was signed in; 400 for anything else (section 2.8). Nothing is ever cached.
//! 2. Nothing is asked of anyone while the provider waits. Metadata and keys that are being read anyway, as the gateway starts, are waited
//!    for a little.
//! 3. A token that comes before its keys is kept and judged behind the provider's back, since not everyone sends it twice. One whose key
//!    is unknown gets 400; where nothing is known of the provider, nobody can say that it is wrong, and 503 asks for it again.
//! 4. A session at the provider ends the sessions here that came of it; a person alone ends all that they have (section 2.7).
//! 5. A token counts once, at all gateways that share a store once they have learned of it.
//! 6. A mark is left for what this gateway never saw: the session may live in cookies that another gateway sealed.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::base::clock::Timestamp;
use crate::endpoint::form;
use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::page;
use crate::page::answer::{bare, json as json_answer};
use crate::provider::{LoggedOut, LogoutTokenFault, Provider};
use crate::session::ended::{EndedSessions, Mark};

/// Seconds after which the keys of a provider should be there.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// `POST /backchannel-logout/{provider}`.
pub async fn backchannel(site: &Site, visit: &Visit, parts: &Parts, body: &[u8], name: &str) -> Response<Body> {
    let Some(offer) = site.offer(name) else { return page::not_found(visit) };
    let Some(form) = form::read(parts, body) else {
        return refuse(visit, name, "is not in a form, or the form has a parameter twice");
    };
    let Some(token) = form.get("logout_token").filter(|token| !token.is_empty()) else {
        return refuse(visit, name, "is missing");
    };
    let provider = &offer.provider;
    let mut outcome = provider.logged_out(token);
    if outcome == Err(LogoutTokenFault::NoKeys) && provider.is_soon_loaded().await {
        outcome = provider.logged_out(token);
    }
    match outcome {
        Ok(logged_out) => {
            // This provider's memory holds what was said here; a gateway that shares its marks may have heard it, too.
            let word = Mark::on_word(provider.issuer(), &logged_out.id);
            if site.ended.has(&word) {
                return refuse(visit, name, "was heard before");
            }
            end(&site.ended, provider, &visit.request_id, &logged_out, site.clock.now());
            site.ended.end(word, site.clock.now());
            bare(&visit.request_id, StatusCode::OK)
        }
        Err(LogoutTokenFault::UnknownKey) => {
            end_later(site, visit, provider, token);
            refuse(visit, name, &LogoutTokenFault::UnknownKey.to_string())
        }
        Err(LogoutTokenFault::NoKeys) => {
            end_later(site, visit, provider, token);
            ask_again(visit, name)
        }
        Err(fault @ LogoutTokenFault::Invalid(_)) => refuse(visit, name, &fault.to_string()),
    }
}

/// Has a token that came before its keys count when they are there, if it holds.
fn end_later(site: &Site, visit: &Visit, provider: &Arc<Provider>, token: &str) {
    let Some(judged) = provider.logged_out_later(token) else {
        return tracing::warn!(
            request_id = &*visit.request_id,
            provider = &**provider.name(),
            "too many logout tokens wait for the provider's keys; this one is not kept"
        );
    };
    let (ended, clock) = (site.ended.clone(), site.clock.clone());
    let (provider, request_id) = (Arc::clone(provider), Arc::clone(&visit.request_id));
    // Whoever stops meanwhile was told nothing that counts.
    site.office.accompany(async move {
        if let Some(logged_out) = judged.await {
            end(&ended, &provider, &request_id, &logged_out, clock.now());
        }
    });
}

fn end(ended: &EndedSessions, provider: &Provider, request_id: &str, logged_out: &LoggedOut, now: Timestamp) {
    let issuer = provider.issuer();
    let LoggedOut { provider_session, subject, before, id: _ } = logged_out;
    match (provider_session, subject) {
        (Some(sid), subject) => {
            ended.end(Mark::on_provider_session(issuer, sid, *before), now);
            if let Some(subject) = subject {
                ended.end(Mark::on_nameless(issuer, subject, *before), now);
            }
        }
        (None, Some(subject)) => ended.end(Mark::on_person(issuer, subject, *before), now),
        (None, None) => {}
    }
    tracing::info!(
        request_id,
        provider = &**provider.name(),
        everywhere = provider_session.is_none(),
        "the provider ended sessions"
    );
}

/// Section 2.8: 400 with the words of OAuth 2.0 (RFC 6749, section 5.2).
fn refuse(visit: &Visit, provider: &str, reason: &str) -> Response<Body> {
    tracing::warn!(request_id = &*visit.request_id, provider, "a logout token was refused: it {reason}");
    let value = json!({ "error": "invalid_request", "error_description": format!("the logout token {reason}") });
    json_answer(visit.into(), StatusCode::BAD_REQUEST, &value)
}

/// The token was not judged: 503, as for any trouble that passes (RFC 9110, section 15.6.4). A 400 would say that it is wrong, and no
/// provider sends that again.
fn ask_again(visit: &Visit, provider: &str) -> Response<Body> {
    let reason = LogoutTokenFault::NoKeys;
    tracing::warn!(
        request_id = &*visit.request_id,
        provider,
        "a logout token {reason}; it counts when they are, if it holds"
    );
    let value =
        json!({ "error": "temporarily_unavailable", "error_description": format!("the logout token {reason}") });
    let mut response = json_answer(visit.into(), StatusCode::SERVICE_UNAVAILABLE, &value);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::endpoint::kit::{header_of, request, site, text, visit};
    use crate::http::visit::Caller;

    #[tokio::test]
    async fn what_can_not_be_verified_is_400_and_never_cached() {
        let site = site(&["corp"]);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let bodies = ["", "logout_token=", "logout_token=a.b.c", "logout_token=a&logout_token=a", "logout_token=%ff"];
        let cases = bodies.map(|body| (form, body)).into_iter();
        for (headers, body) in cases.chain([([("content-type", "application/json")], "logout_token=a.b.c")]) {
            let parts = request(&Method::POST, "/.auth/backchannel-logout/corp", &headers);
            let response = backchannel(&site, &visit(Caller::Program), &parts, body.as_bytes(), "corp").await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST);
            assert_eq!(header_of(&response, "cache-control"), "no-store");
            assert!(text(response).await.starts_with("{\"error\":\"invalid_request\""));
        }
        let parts = request(&Method::POST, "/.auth/backchannel-logout/other", &form);
        let response = backchannel(&site, &visit(Caller::Program), &parts, b"logout_token=a.b.c", "other").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(site.ended.epoch(), 0);
    }
}
