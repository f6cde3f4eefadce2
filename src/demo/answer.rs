//! Ready-made answers: pages under a strict content security policy, JSON, redirects, plain refusals.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::demo::body::Body;

/// An answer of the wing.
pub(crate) type Answer = Response<Body>;

/// An answer with this status and body, which no cache keeps and no browser guesses the type of.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", Body::from_bytes(text.into()))
}

/// JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Answer {
    answer(status, "application/json", Body::from_bytes(value.to_string()))
}

/// A page. `policy` is the content security policy that it needs, see [`Policy`].
pub(crate) fn page(status: StatusCode, html: impl Into<String>, policy: &Policy) -> Answer {
    let mut answer = answer(status, "text/html; charset=utf-8", Body::from_bytes(html.into()));
    set(&mut answer, CONTENT_SECURITY_POLICY, &policy.to_string());
    let headers = answer.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}

/// 303: the browser goes on with a GET, whatever it came with.
pub(crate) fn see_other(location: &str) -> Answer {
    let mut answer = text(StatusCode::SEE_OTHER, "");
    set(&mut answer, LOCATION, location);
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// 405 with the methods that work (RFC 9110, section 15.5.6).
pub(crate) fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("This address answers {allowed} only.\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Sets a header, or leaves it out when `value` can't be one.
pub(crate) fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        answer.headers_mut().insert(name, value);
    }
}

/// What a page may do: nothing but be styled by its own style sheet, unless said here.
#[derive(Default)]
pub(crate) struct Policy {
    /// The text of its one `<style>` element.
    pub(crate) style: &'static str,
    /// The text of its one `<script>` element, when it has one.
    pub(crate) script: Option<&'static str>,
    /// Sources that its forms may lead to. Browsers hold redirects after the post to it too.
    pub(crate) form_action: Vec<String>,
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hash = |text: &str| STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
        write!(f, "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; ")?;
        write!(f, "style-src 'sha256-{}'; ", hash(self.style))?;
        if let Some(script) = self.script {
            write!(f, "script-src 'sha256-{}'; ", hash(script))?;
        }
        if self.form_action.is_empty() {
            return write!(f, "form-action 'none'");
        }
        write!(f, "form-action {}", self.form_action.join(" "))
    }
}
