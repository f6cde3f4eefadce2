//! What people are told when a provider fails, and what operators read in the log.

use http::{HeaderValue, Response, StatusCode, header};

use crate::base::office::Dropped;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::page::{Explanation, error};
use crate::provider::ProviderFault;
use crate::session::store::StoreFault;

/// Seconds after which another try makes sense.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The answer to a fault of `label`'s provider. `retry` is a path of ours that begins the sign-in anew; nobody is sent
/// there by themselves, so that a fault can't become a loop.
pub fn provider_fault(visit: &Visit, fault: &ProviderFault, label: &str, retry: &str) -> Response<Body> {
    let request_id = &*visit.request_id;
    match fault {
        ProviderFault::Refused { error, provider } if error == "access_denied" => {
            tracing::info!(request_id, provider = &**provider, "the provider denied the sign-in");
        }
        ProviderFault::Misconfigured { .. } => tracing::error!(request_id, error = %fault, "a sign-in failed"),
        _ => tracing::warn!(request_id, error = %fault, "a sign-in failed"),
    }
    let (status, explanation) = explain(fault, label);
    let mut response = error(visit, status, &explanation.link("Try again", retry).link("Go to the start", "/"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// The answer when the back office dropped the task: it panicked, or the process is stopping.
pub fn dropped(visit: &Visit, cause: &Dropped, retry: &str) -> Response<Body> {
    tracing::error!(request_id = &*visit.request_id, error = %cause, "a sign-in was dropped");
    let explanation = Explanation::new("The sign-in broke off", "Something failed on our side.", "Please try again.")
        .link("Try again", retry)
        .link("Go to the start", "/");
    come_back(error(visit, StatusCode::SERVICE_UNAVAILABLE, &explanation))
}

/// The answer to somebody of whom nobody can tell whether they are signed in: their session lives in a store that gives no answer. Their
/// cookies stay as they are.
pub fn store_away(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new(
        "Your session can't be looked up",
        "The place where this site keeps its sessions can't be reached right now. You are still signed in.",
        "Please try again in a moment.",
    );
    come_back(error(visit, StatusCode::SERVICE_UNAVAILABLE, &explanation))
}

/// The answer to a sign-in whose session can't be kept anywhere: the store gives no answer.
pub fn not_kept(visit: &Visit, fault: &StoreFault, retry: &str) -> Response<Body> {
    tracing::error!(request_id = &*visit.request_id, error = %fault, "a sign-in failed because its session can't be kept");
    let explanation = Explanation::new(
        "You can't be signed in right now",
        "The place where this site keeps its sessions can't be reached.",
        "Please try again in a moment: you will get to where you wanted to go.",
    )
    .link("Try again", retry)
    .link("Go to the start", "/");
    come_back(error(visit, StatusCode::SERVICE_UNAVAILABLE, &explanation))
}

fn come_back(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// The answer when something of ours failed that another try may not mend; the cause is in the log.
pub fn internal(visit: &Visit, what: &'static str, cause: &dyn std::error::Error) -> Response<Body> {
    tracing::error!(request_id = &*visit.request_id, error = %cause, "{what}");
    let explanation = Explanation::new(
        "Something failed on our side",
        "This can't be done right now.",
        "If it happens again, tell whoever runs this site, with the request's name below.",
    )
    .link("Go to the start", "/");
    error(visit, StatusCode::INTERNAL_SERVER_ERROR, &explanation)
}

fn explain<'a>(fault: &'a ProviderFault, label: &str) -> (StatusCode, Explanation<'a>) {
    match fault {
        ProviderFault::Unavailable { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            Explanation::new(
                "Signing in isn't possible right now",
                format!("{label} can't be reached, so nobody can be signed in at the moment."),
                "This is usually over soon. Wait a moment, then try again.",
            ),
        ),
        ProviderFault::Refused { error, .. } if error == "access_denied" => (
            StatusCode::FORBIDDEN,
            Explanation::new(
                "You were not signed in",
                format!("The sign-in at {label} was cancelled or denied."),
                "Try again, or use another account.",
            ),
        ),
        ProviderFault::Refused { error, .. } => (
            // RFC 6749, section 4.1.2.1: two of the errors are the provider's own trouble, the rest is about this request.
            match error.as_str() {
                "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
                "server_error" => StatusCode::BAD_GATEWAY,
                _ => StatusCode::BAD_REQUEST,
            },
            Explanation::new(
                "You were not signed in",
                reason(label, error),
                "Try again. If it happens again, tell whoever runs this site.",
            ),
        ),
        ProviderFault::BadAnswer { .. } => (
            StatusCode::BAD_REQUEST,
            Explanation::new(
                "You were not signed in",
                format!("What came back from {label} doesn't belong to this sign-in, so it was not used."),
                "Try again. If it happens again, tell whoever runs this site, with the request's name below.",
            ),
        ),
        ProviderFault::Untrusted { .. } => (
            StatusCode::BAD_GATEWAY,
            Explanation::new(
                "You were not signed in",
                format!("The answer of {label} didn't pass our checks, so it was not used."),
                "Try again. If it happens again, tell whoever runs this site, with the request's name below.",
            ),
        ),
        ProviderFault::Misconfigured { .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Explanation::new(
                "Signing in isn't set up properly",
                format!("This site's own settings for {label} need mending."),
                "Tell whoever runs this site, with the request's name below.",
            ),
        ),
    }
}

/// Only what looks like an error code is shown: a sentence of somebody else's has no place on a page of ours.
fn reason(label: &str, error: &str) -> String {
    let is_code = error.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_code && !error.is_empty() {
        format!("{label} refused the sign-in and gave this reason: {error}.")
    } else {
        format!("{label} refused the sign-in.")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::endpoint::kit::{browser, header_of, text};

    #[tokio::test]
    async fn each_fault_has_its_status_and_a_way_on_that_nobody_is_pushed_along() {
        let provider: Arc<str> = Arc::from("corp");
        let reason = "inner <details>".to_owned();
        let refused = |error: &str| ProviderFault::Refused { provider: Arc::clone(&provider), error: error.to_owned() };
        let cases = [
            (ProviderFault::Unavailable { provider: Arc::clone(&provider), reason: reason.clone() }, 503),
            (refused("access_denied"), 403),
            (refused("server_error"), 502),
            (refused("temporarily_unavailable"), 503),
            (refused("invalid_<error>"), 400),
            (refused("Call <error> 555 for help"), 400),
            (ProviderFault::BadAnswer { provider: Arc::clone(&provider), reason: reason.clone() }, 400),
            (ProviderFault::Untrusted { provider: Arc::clone(&provider), reason: reason.clone() }, 502),
            (ProviderFault::Misconfigured { provider: Arc::clone(&provider), reason }, 500),
        ];
        for (fault, status) in cases {
            let response = provider_fault(&browser(), &fault, "Corp & Co", "/.auth/login/corp");
            assert_eq!(response.status().as_u16(), status, "{fault}");
            assert_eq!(header_of(&response, "location"), "");
            assert_eq!(header_of(&response, "retry-after").is_empty(), status != 503, "{fault}");
            let html = text(response).await;
            assert!(!html.contains("http-equiv"), "{fault}");
            assert!(html.contains("href=\"/.auth/login/corp\"") && html.contains("href=\"/\""), "{fault}");
            assert!(!html.contains("inner"), "the reason is for the log alone");
            assert!(!html.contains("error&#62;") && !html.contains("555"), "what is no code is not shown: {html}");
        }
        let html = text(provider_fault(&browser(), &refused("invalid_scope"), "Corp", "/")).await;
        assert!(html.contains("this reason: invalid_scope."));
    }
}
