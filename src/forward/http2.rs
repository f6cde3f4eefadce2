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

/// Whether the upstream says that it has not looked at the request: the stream was refused (RFC 9113, section 8.7), or came after
/// the last that the upstream will look at before it closes (section 6.8).
pub fn was_not_processed(fault: &Fault) -> bool {
    let Fault::Http2(error) = fault else { return false };
    let Some(cause) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else { return false };
    let refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    // h2 gives the error of a GOAWAY to the streams above its last one alone; those below it go on, or break with the connection.
    cause.is_remote() && (refused || cause.is_go_away())
}
