//! The shape of every answer of our own: the headers that keep it out of caches, frames, logs and guesses.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;

use crate::http::body::Body;
use crate::http::grpc;
use crate::http::visit::{Caller, Visit};
use crate::page::style::{Forms, policy};

/// The header that names a request in our answers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
/// The header that says who may load an answer as a part of a page (Fetch, section 3.7).
pub const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Who an answer is for: what is known of a request even when the edge refused it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Names the request.
    pub request_id: &'a str,
    /// What kind of answer the caller can read.
    pub caller: Caller,
    /// How people know the site; absent when the request was refused before that was known.
    pub site: Option<&'a str>,
}

impl<'a> From<&'a Visit> for Asker<'a> {
    fn from(visit: &'a Visit) -> Self {
        Self { request_id: &visit.request_id, caller: visit.caller, site: Some(visit.site.authority()) }
    }
}

/// An answer of ours without a body: never stored (RFC 9111, section 5.2.2.5), never framed, never guessed at, and the
/// next request doesn't tell where it came from (RFC 9700, section 4.2.4).
pub fn bare(request_id: &str, status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // For these, where to go, and a cookie.
    headers.reserve(10);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(Forms::None));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// An answer with a body of ours.
pub fn full(
    request_id: &str,
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = bare(request_id, status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    *response.body_mut() = Body::from_bytes(body);
    response
}

/// JSON for programs.
pub fn json(asker: Asker<'_>, status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    full(asker.request_id, status, "application/json", value.to_string())
}

/// Sends the browser elsewhere. `location` is an absolute URL or a path of ours that the caller vouches for; one that
/// fits no header gives a plain 500.
pub fn redirect(visit: &Visit, status: StatusCode, location: &str) -> Response<Body> {
    let Ok(location) = HeaderValue::from_str(location) else {
        tracing::error!(request_id = &*visit.request_id, "a redirect's target fits no header");
        return bare(&visit.request_id, StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = bare(&visit.request_id, status);
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// Adds one `Set-Cookie` line per cookie, never combined (RFC 6265, section 3).
#[must_use]
pub fn with_cookies(mut response: Response<Body>, cookies: impl IntoIterator<Item = HeaderValue>) -> Response<Body> {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// What a gRPC call gets in place of a refusal of ours: its status in the only way that gRPC has, an answer of headers alone
/// (gRPC over HTTP2, "Trailers-Only").
#[must_use]
pub fn to_grpc(response: &Response<Body>) -> Response<Body> {
    let (code, message) = grpc::status_of(response.status());
    let mut refusal = Response::new(Body::Empty);
    let headers = refusal.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(&grpc::GRPC_STATUS, HeaderValue::from(code));
    headers.insert(&grpc::GRPC_MESSAGE, HeaderValue::from_static(message));
    for name in [&REQUEST_ID, &header::WWW_AUTHENTICATE, &header::ALLOW] {
        if let Some(value) = response.headers().get(name) {
            headers.insert(name, value.clone());
        }
    }
    for cookie in response.headers().get_all(header::SET_COOKIE) {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
    refusal
}

/// What a `HEAD` gets: the same head, with the length of the body that stays away (RFC 9110, section 9.3.2).
#[must_use]
pub fn to_head(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::Empty;
    response
}
