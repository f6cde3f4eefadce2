//! A request on its way to its upstream: what is ours is taken out, who asks is put in, and the path stays byte for byte what was checked.
//!
//! Everything the visitor could have forged was deleted at the edge, after `Connection` was honoured; what is set here is therefore
//! the only value, and nothing can remove it again (design, invariant 3).

use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST, TE, VIA};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Uri, Version};

use crate::http::body::RequestBody;
use crate::http::forwarded::via;
use crate::http::protected::ProtectedNames;
use crate::token::fixed::StaticCredential;

static TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// Headers that are added to most requests.
const ADDED: usize = 4;

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

/// What proves to the upstream who asks.
#[derive(Debug)]
pub struct Papers {
    /// Which `Authorization` it sees.
    pub authorization: Authorization,
    /// Further headers: a token or an assertion under the names of an identity preset.
    pub headers: [Option<(HeaderName, HeaderValue)>; 2],
    /// A credential of the gateway's own, in the header that it has for it.
    pub credential: Option<Arc<StaticCredential>>,
}

/// What a request gets on its way out, besides what was made before.
pub struct Dressing<'a> {
    /// The path and query that it asks for.
    pub target: PathAndQuery,
    /// `Host` as the visitor asked for it; an address that gets its own puts that in its place.
    pub host: &'a HeaderValue,
    /// The name of the request.
    pub request_id: &'a str,
    /// What was taken off the front of the path, if anything was.
    pub prefix: Option<&'a HeaderValue>,
    /// The certificate that the client showed, where the upstream gets it (RFC 9440, section 2.2).
    pub certificate: Option<&'a HeaderValue>,
    /// What proves who asks.
    pub papers: Papers,
    /// Whether it asks for a WebSocket.
    pub websocket: bool,
    /// Set for a gRPC call: its trailers pass, less those of these names.
    pub grpc: Option<&'a Arc<ProtectedNames>>,
}

/// The request as the upstream gets it, and what the gateway adds to its headers: none of that is among the visitor's. The head must
/// have passed the edge, and lost our cookies. On the heap, since every step of its way would keep room for it.
pub fn dress(
    mut parts: Box<Parts>,
    body: RequestBody,
    dressing: Dressing<'_>,
) -> (Box<Request<RequestBody>>, Vec<(HeaderName, HeaderValue)>) {
    let headers = &mut parts.headers;
    headers.insert(HOST, dressing.host.clone());
    let mut added = Vec::with_capacity(ADDED);
    added.extend(HeaderValue::from_str(dressing.request_id).ok().map(|id| (X_REQUEST_ID, id)));
    added.extend(dressing.prefix.map(|prefix| (X_FORWARDED_PREFIX, prefix.clone())));
    added.extend(dressing.certificate.map(|certificate| (CLIENT_CERT, certificate.clone())));
    let via = via(parts.version);
    if headers.contains_key(VIA) {
        headers.append(VIA, via);
    } else {
        added.push((VIA, via));
    }
    let papers = dressing.papers;
    if let Some(credential) = &papers.credential {
        credential.clear(headers);
        added.push((credential.header().clone(), credential.value()));
    }
    if !matches!(papers.authorization, Authorization::Visitors) {
        headers.remove(AUTHORIZATION);
    }
    if let Authorization::Ours(value) = papers.authorization {
        added.push((AUTHORIZATION, value));
    }
    added.extend(papers.headers.into_iter().flatten());
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
    (Box::new(Request::from_parts(*parts, body)), added)
}
