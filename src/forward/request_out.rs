//! A request on its way to its upstream: what is ours is taken out, who asks is put in, and the path stays byte for byte what was checked.
//!
//! Everything the visitor could have forged was deleted at the edge, after `Connection` was honoured; what is set here is therefore
//! the only value, and nothing can remove it again (design, invariant 3).

use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST, TE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};

use crate::http::body::RequestBody;
use crate::http::protected::ProtectedNames;

static TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Which `Authorization` the upstream sees.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// The visitor's own, if any: the route sets none.
    Visitors,
    /// This one.
    Ours(HeaderValue),
    /// None: the route sets one, and there is none to set.
    Nobodys,
}

/// What a request gets on its way out.
pub struct Dressing<'a> {
    /// The path and query that it asks for.
    pub target: PathAndQuery,
    /// What was taken off the front of the path, if anything was.
    pub prefix: Option<&'a HeaderValue>,
    /// `Host` as the visitor asked for it; an address that gets its own puts that in its place.
    pub host: &'a HeaderValue,
    /// Who asks: names and ready values.
    pub identity: &'a [(HeaderName, HeaderValue)],
    /// The token.
    pub authorization: Authorization,
    /// Whether it asks for a WebSocket.
    pub websocket: bool,
    /// Set for a gRPC call: its trailers pass, less those of these names.
    pub grpc: Option<&'a Arc<ProtectedNames>>,
}

/// The request as the upstream gets it. Its head must have passed the edge, and lost our cookies.
pub fn dress(mut parts: Parts, body: RequestBody, dressing: Dressing<'_>) -> Request<RequestBody> {
    let headers = &mut parts.headers;
    headers.insert(HOST, dressing.host.clone());
    if let Some(prefix) = dressing.prefix {
        headers.insert(&X_FORWARDED_PREFIX, prefix.clone());
    }
    for (name, value) in dressing.identity {
        headers.insert(name, value.clone());
    }
    authorize(headers, dressing.authorization);
    if dressing.websocket {
        super::upgrade::announce(headers);
    }
    let body = match dressing.grpc {
        Some(protected) => {
            // A gRPC server refuses calls whose way there may lose trailers.
            headers.insert(TE, TRAILERS.clone());
            body.with_trailers(protected)
        }
        None => body,
    };
    // Path and query alone: origin-form (RFC 9112, section 3.2.1).
    parts.uri = Uri::from(dressing.target);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Request::from_parts(parts, body)
}

fn authorize(headers: &mut HeaderMap, authorization: Authorization) {
    match authorization {
        Authorization::Visitors => {}
        Authorization::Ours(value) => drop(headers.insert(AUTHORIZATION, value)),
        Authorization::Nobodys => drop(headers.remove(AUTHORIZATION)),
    }
}
