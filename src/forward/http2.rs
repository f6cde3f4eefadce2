//! What is different about an exchange over HTTP/2: how the request names its host, and when an upstream has not looked at it.

use std::error::Error;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version, uri};

use crate::http::body::RequestBody;
use crate::net::pool::Fault;

/// Says host and scheme as HTTP/2 does, in `:authority` and `:scheme` in place of `Host` (RFC 9113, section 8.3.1). Without a
/// usable `Host` the request stays as it is, and hyper sends none.
pub fn adapt<B>(request: &mut Request<B>, is_tls: bool) {
    let host = request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(authority) = host else { return };
    let mut parts = uri::Parts::default();
    parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query =
        Some(request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(HOST);
    }
}

/// A copy of `request` to send once more, and `request` itself made to keep the beginning of its body for that.
pub fn spare(request: &mut Request<RequestBody>) -> Request<RequestBody> {
    let body = std::mem::replace(request.body_mut(), RequestBody::empty()).keeping();
    let mut spare = Request::new(body.again());
    *request.body_mut() = body;
    request.method().clone_into(spare.method_mut());
    request.uri().clone_into(spare.uri_mut());
    *spare.version_mut() = request.version();
    request.headers().clone_into(spare.headers_mut());
    spare
}

/// Why an upstream says that it has not looked at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untouched {
    /// The stream was refused (RFC 9113, section 8.7).
    Refused,
    /// It came after the last stream that the upstream looks at before it closes the connection (section 6.8), or when no more could
    /// begin on it.
    GoingAway,
}

/// Whether the upstream says that it has not looked at the request, and why.
pub fn untouched(fault: &Fault) -> Option<Untouched> {
    let Fault::Http2(error) = fault else { return None };
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>())?;
    if !cause.is_remote() {
        return None;
    }
    // h2 gives the error of a GOAWAY to the streams above its last one alone; those below it go on, or break with the connection.
    if cause.is_go_away() {
        return Some(Untouched::GoingAway);
    }
    (cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM)).then_some(Untouched::Refused)
}
