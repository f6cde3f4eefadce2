//! `/verify`: a proxy asks by a request of its own, and is answered by a status and headers (nginx `auth_request`, Caddy `forward_auth`,
//! Traefik `ForwardAuth`, Envoy `ext_authz` over HTTP, and scripts of `HAProxy` and Apache).
//!
//! | asked | told by | who is signed out gets |
//! |---|---|---|
//! | `/verify` | headers | 401 |
//! | `/verify/redirect` | headers | what the route says: a redirect, or 401 |
//! | `/verify/refusal` | headers | the same |
//! | `/verify/ext_authz/…` | the method, host and path of the question | the same |
//!
//! A yes is 200 (or 202, by config). Everything else is the answer that the visitor would have had from us.
//!
//! `/verify/refusal` is for proxies that hand its answer to the visitor, having been told no before: its answer is never a yes, which
//! names credentials that are for the upstream alone. Where the request may pass by then, it is 503.

use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::door::ask::{Answer, Permit, Question, SignedOut, ask};
use crate::door::described;
use crate::gate::client::is_trusted;
use crate::gate::edge::Malformed;
use crate::gate::{Arrival, Gate};
use crate::http::body::Body;
use crate::http::visit::{Peer, Visit};
use crate::page::{self, Explanation};

/// What is left of the visitor's cookies without ours; absent when nothing is.
static LEFT_COOKIE: HeaderName = HeaderName::from_static("x-portcullis-cookie");
/// Headers that the upstream must not see as the visitor sent them.
static REMOVE: HeaderName = HeaderName::from_static("x-portcullis-remove");
/// The same for Envoy, under the name that it acts upon.
static ENVOY_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
/// Each `Set-Cookie` line once more under a name of its own, for proxies that can read one line of a name only.
static SET_COOKIES: [HeaderName; 8] = [
    HeaderName::from_static("x-portcullis-set-cookie-1"),
    HeaderName::from_static("x-portcullis-set-cookie-2"),
    HeaderName::from_static("x-portcullis-set-cookie-3"),
    HeaderName::from_static("x-portcullis-set-cookie-4"),
    HeaderName::from_static("x-portcullis-set-cookie-5"),
    HeaderName::from_static("x-portcullis-set-cookie-6"),
    HeaderName::from_static("x-portcullis-set-cookie-7"),
    HeaderName::from_static("x-portcullis-set-cookie-8"),
];

/// How a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `/verify`.
    Status,
    /// `/verify/redirect`.
    Redirect,
    /// `/verify/refusal`.
    Refusal,
    /// `/verify/ext_authz/…`.
    Envoy,
}

impl Way {
    /// The way that a request asks, if it asks at all. `prefix` is that of our endpoints.
    pub fn of(path: &str, prefix: &str) -> Option<Self> {
        match path.strip_prefix(prefix)?.strip_prefix("/verify")? {
            "" => Some(Self::Status),
            "/redirect" => Some(Self::Redirect),
            "/refusal" => Some(Self::Refusal),
            rest => rest.starts_with("/ext_authz/").then_some(Self::Envoy),
        }
    }
}

/// Answers a question.
pub async fn answer(gate: &Gate, peer: &Peer, arrival: Arrival, way: Way) -> Response<Body> {
    // The question's body, if it has one, says nothing.
    let Arrival { parts, .. } = arrival;
    let is_head = parts.method == Method::HEAD;
    let response = decide(gate, peer, parts, way).await;
    if is_head { page::to_head(response) } else { response }
}

async fn decide(gate: &Gate, peer: &Peer, parts: Box<Parts>, way: Way) -> Response<Body> {
    let plan = gate.plan();
    let told = if is_trusted(peer, &plan.edge.trusted_proxies) {
        match way {
            Way::Status | Way::Redirect | Way::Refusal => described::by_headers(&parts),
            Way::Envoy => described::by_path(&parts, &plan.site.path("/verify/ext_authz")),
        }
    } else {
        Err(Malformed::untrusted("only proxies that `trusted_proxies` names may ask here"))
    };
    let told = match told {
        Ok(told) => told,
        Err(malformed) => {
            tracing::warn!(peer = ?peer.remote, reason = malformed.reason, "a question of a proxy can't be answered");
            return gate.refuse_malformed(&gate.begin_record(), peer, &parts, &malformed);
        }
    };
    let signed_out = if way == Way::Status { SignedOut::Unauthorized } else { SignedOut::AsRouted };
    // Envoy takes nothing but 200 for a yes.
    let status = if way == Way::Envoy { StatusCode::OK } else { plan.verify_status };
    let question = Question { parts, told, peer, signed_out };
    match ask(gate, question, status).await {
        Answer::Refused(mut response) => {
            // A preflight that is answered: Envoy hands that on, and every other proxy would take it for a yes.
            if way != Way::Envoy && response.status().is_success() {
                *response.status_mut() = StatusCode::FORBIDDEN;
            }
            *response
        }
        Answer::Pass(permit) if way == Way::Refusal => again(&permit.admitted.visit),
        Answer::Pass(permit) => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = status;
            *response.headers_mut() = if way == Way::Envoy { for_envoy(gate, *permit) } else { for_others(*permit) };
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
    }
}

/// What a visitor is told whom the proxy turned away a moment ago, and who may pass now.
fn again(visit: &Visit) -> Response<Body> {
    tracing::warn!(request_id = &*visit.request_id, "a proxy turned a request away that may pass");
    let explanation = Explanation::new(
        "Please try again",
        "This request was turned away a moment ago, for a reason that is gone.",
        "Wait a moment, then load the page again.",
    );
    let mut response = page::error(visit, StatusCode::SERVICE_UNAVAILABLE, &explanation);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What proxies act upon that read our answer by the names of its headers.
fn for_others(mut permit: Permit<'_>) -> HeaderMap {
    let mut headers = std::mem::take(&mut permit.vouched.identity);
    let removed = list(&permit.removed(&headers));
    if let Some(list) = removed {
        headers.insert(&REMOVE, list);
    }
    for (name, value) in [(&AUTHORIZATION, permit.vouched.authorization), (&LEFT_COOKIE, permit.vouched.cookie)] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    for (name, cookie) in SET_COOKIES.iter().zip(&permit.vouched.renewed) {
        headers.insert(name, cookie.clone());
    }
    for cookie in permit.vouched.renewed {
        headers.append(SET_COOKIE, cookie);
    }
    headers
}

/// What Envoy puts into the request as it stands.
fn for_envoy(gate: &Gate, mut permit: Permit<'_>) -> HeaderMap {
    let mut headers = std::mem::take(&mut permit.vouched.identity);
    permit.forwarding(gate, &mut headers);
    let removed: Vec<&str> = permit.removed(&headers).into_iter().filter(|name| !is_envoys_own(name)).collect();
    let removed = list(&removed);
    if let Some(list) = removed {
        headers.insert(&ENVOY_REMOVE, list);
    }
    for (name, value) in [(AUTHORIZATION, permit.vouched.authorization), (COOKIE, permit.vouched.cookie)] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    for cookie in permit.vouched.renewed {
        headers.append(SET_COOKIE, cookie);
    }
    headers
}

/// What Envoy itself says, after having removed what the visitor said under these names.
pub fn is_envoys_own(name: &str) -> bool {
    name.starts_with("x-envoy-") || name == "x-forwarded-client-cert"
}

fn list(names: &[&str]) -> Option<HeaderValue> {
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(",")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_paths_are_questions() {
        let way = |path| Way::of(path, "/.auth");
        assert_eq!(way("/.auth/verify"), Some(Way::Status));
        assert_eq!(way("/.auth/verify/redirect"), Some(Way::Redirect));
        assert_eq!(way("/.auth/verify/refusal"), Some(Way::Refusal));
        assert_eq!(way("/.auth/verify/ext_authz/"), Some(Way::Envoy));
        assert_eq!(way("/.auth/verify/ext_authz/.auth/login"), Some(Way::Envoy));
        for other in [
            "/verify",
            "/.auth/verify/",
            "/.auth/verifyx",
            "/.auth/verify/ext_authz",
            "/.auth/login",
            "/x/.auth/verify",
        ] {
            assert_eq!(way(other), None, "{other}");
        }
    }
}
