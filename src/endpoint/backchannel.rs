//! Ends what a provider says has ended there: `POST /backchannel-logout/{provider}` (`OpenID` Connect Back-Channel Logout 1.0).
//!
//! 1. 200 when the token holds, whether or not anybody was signed in; 400 for anything else (section 2.8). Nothing is ever cached.
//! 2. Nothing is asked of anyone while the provider waits: a token whose key is not at hand gets 400, and the keys are read anew behind
//!    its back, at a bounded pace.
//! 3. A session at the provider ends the sessions here that came of it; a person alone ends all that they have (section 2.7).
//! 4. A token counts once, at all gateways that share a store once they have learned of it.
//! 5. A mark is left for what this gateway never saw: the session may live in cookies that another gateway sealed.

use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::json;

use crate::endpoint::form;
use crate::endpoint::site::{Offer, Site};
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::page;
use crate::page::answer::{bare, json as json_answer};
use crate::provider::{LoggedOut, LogoutTokenFault};
use crate::session::ended::Mark;

/// `POST /backchannel-logout/{provider}`.
pub fn backchannel(site: &Site, visit: &Visit, parts: &Parts, body: &[u8], name: &str) -> Response<Body> {
    let Some(offer) = site.offer(name) else { return page::not_found(visit) };
    let Some(form) = form::read(parts, body) else {
        return refuse(visit, name, "is not in a form, or the form has a parameter twice");
    };
    let Some(token) = form.get("logout_token").filter(|token| !token.is_empty()) else {
        return refuse(visit, name, "is missing");
    };
    match offer.provider.logged_out(token) {
        Ok(logged_out) => {
            // This provider's memory holds what was said here; a gateway that shares its marks may have heard it, too.
            let word = Mark::on_word(offer.provider.issuer(), &logged_out.id);
            if site.ended.has(&word) {
                return refuse(visit, name, "was heard before");
            }
            end(site, visit, offer, &logged_out);
            site.ended.end(word, site.clock.now());
            bare(&visit.request_id, StatusCode::OK)
        }
        Err(fault) => {
            if fault == LogoutTokenFault::UnknownKey {
                site.office.start(offer.provider.look_for_keys());
            }
            refuse(visit, name, &fault.to_string())
        }
    }
}

fn end(site: &Site, visit: &Visit, offer: &Offer, logged_out: &LoggedOut) {
    let issuer = offer.provider.issuer();
    let now = site.clock.now();
    let LoggedOut { provider_session, subject, before, id: _ } = logged_out;
    match (provider_session, subject) {
        (Some(sid), subject) => {
            site.ended.end(Mark::on_provider_session(issuer, sid, *before), now);
            if let Some(subject) = subject {
                site.ended.end(Mark::on_nameless(issuer, subject, *before), now);
            }
        }
        (None, Some(subject)) => site.ended.end(Mark::on_person(issuer, subject, *before), now),
        (None, None) => {}
    }
    tracing::info!(
        request_id = &*visit.request_id,
        provider = &**offer.provider.name(),
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
            let response = backchannel(&site, &visit(Caller::Program), &parts, body.as_bytes(), "corp");
            assert_eq!(response.status(), StatusCode::BAD_REQUEST);
            assert_eq!(header_of(&response, "cache-control"), "no-store");
            assert!(text(response).await.starts_with("{\"error\":\"invalid_request\""));
        }
        let parts = request(&Method::POST, "/.auth/backchannel-logout/other", &form);
        let response = backchannel(&site, &visit(Caller::Program), &parts, b"logout_token=a.b.c", "other");
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(site.ended.epoch(), 0);
    }
}
