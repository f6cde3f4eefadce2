//! The edge: makes one canonical request of what a client sent, or refuses it before any rule is looked at.
//!
//! 1. A method is an upper-case token (RFC 9110, section 9.1, takes case as part of the name); CONNECT and TRACE are refused, but for
//!    a WebSocket over HTTP/2 (RFC 8441), which is judged and forwarded as the GET that it is over HTTP/1.1.
//! 2. A target is in origin-form, or in absolute-form that agrees with `Host` (RFC 9112, section 3.2).
//! 3. There is exactly one valid host, and it is one of ours: 400, or 421 (RFC 9110, section 15.5.20).
//! 4. A body is framed in one way only (RFC 9112, sections 6.1 to 6.3); else 400, and the connection closes.
//! 5. The path has one meaning ([`crate::http::path`]).
//! 6. What trusted proxies say is taken down, then hop-by-hop headers go, then every protected header goes.
//!
//! After this nothing a client sent can be taken for something that the gateway said. Forwarding and identity headers are not set
//! yet: that comes after the decision.

pub use self::request_id::fresh as fresh_request_id;
pub use self::told::{Overheard, Told, admit_told};

mod host;
mod request_id;
mod survey;
mod told;

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use hyper::ext::Protocol;
use ipnet::IpNet;

use crate::gate::client::{self, Client};
use crate::gate::edge::host::Authority;
use crate::gate::edge::survey::Survey;
use crate::http::path::{CanonicalPath, MAX_TARGET_BYTES, PathRefusal};
use crate::http::protected::ProtectedNames;
use crate::http::visit::{Peer, SiteOrigin, Visit};
use crate::net::client_certificate::ClientCertificate;

/// What the edge goes by; compiled once per config.
#[derive(Debug)]
pub struct EdgeRules {
    /// The origins that we are: the public URL first, then the hosts of routes. Never empty.
    pub sites: Vec<Arc<SiteOrigin>>,
    /// Peers whose forwarding headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Names that only the gateway may speak.
    pub protected: Arc<ProtectedNames>,
    /// The most headers of one request; every HTTP/1.1 connection has this bound too, and HTTP/2 has none of its own.
    pub headers: usize,
    /// The most bytes of all headers together.
    pub header_bytes: usize,
}

/// A request that has one meaning.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who calls, for which site, and what they can read.
    pub visit: Visit,
    /// The path, with the target to send byte for byte.
    pub path: CanonicalPath,
    /// Whether it is a WebSocket handshake (RFC 6455, section 4.1, or RFC 8441 over HTTP/2). `Connection` and `Upgrade` are gone;
    /// whoever forwards it sets them.
    pub websocket: bool,
    /// Whether a browser asks in advance for what a person may never want to see.
    pub in_advance: bool,
    /// Whether the client takes trailers (`TE: trailers`), which gRPC upstreams ask for.
    pub takes_trailers: bool,
    /// The trusted proxies between the client and us, the nearest last.
    pub proxies: Vec<IpAddr>,
    /// The certificate that the client showed us in its TLS handshake.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// A request that is refused whatever the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// The status of the answer.
    pub status: StatusCode,
    /// What is wrong. Holds nothing of the request, so it may be shown and logged.
    pub reason: &'static str,
    /// Whether the connection has to close, since nobody knows where the next request begins.
    pub close: bool,
}

impl Malformed {
    /// 400, for this reason.
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, close: false }
    }

    /// 403, for this reason.
    pub const fn untrusted(reason: &'static str) -> Self {
        Self::with(StatusCode::FORBIDDEN, reason)
    }

    const fn close(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, close: true }
    }

    /// This status, for this reason.
    pub const fn with(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, close: false }
    }

    /// The value of `Allow`, which a 405 has to carry (RFC 9110, section 15.5.6).
    pub fn allow(&self) -> Option<&'static str> {
        (self.status == StatusCode::METHOD_NOT_ALLOWED).then_some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    }
}

/// Makes one canonical request of `parts`, or says why not.
///
/// # Errors
/// When the request is malformed, too large, or for a host that we are not. `parts` are then left as they came.
pub fn admit(parts: &mut Parts, peer: &Peer, rules: &EdgeRules) -> Result<Admitted, Malformed> {
    let extended = is_extended_connect(parts);
    let method = if extended { Method::GET } else { parts.method.clone() };
    check_method(&method)?;
    // Before the headers are counted: a long link must not pass for cookies that are too many, which costs the visitor theirs.
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES) {
        return Err(refuse_path(PathRefusal::TooLong));
    }
    let survey = Survey::of(&parts.headers, rules)?;
    survey.check_framing(parts.version)?;
    let path = CanonicalPath::parse(target(&parts.uri)?).map_err(refuse_path)?;
    let client = client::find(&parts.headers, peer, &rules.trusted_proxies);
    let site = match site_as_written(&parts.uri, &survey, &client, rules) {
        Some(site) => Arc::clone(site),
        None => find_site(&authority(&parts.uri, &survey, parts.version)?, &client, peer, rules)?,
    };
    let websocket = if extended { survey.check_extended()? } else { survey.is_websocket(&method, parts.version)? };
    let visit = Visit {
        request_id: request_id::choose(survey.request_id.filter(|_| client.behind_trusted)),
        client: client.address,
        site,
        caller: survey.signs.caller(&method, websocket),
    };
    let in_advance = survey.signs.ask_in_advance();
    let takes_trailers = survey.takes_trailers;
    survey.into_cleaning().apply(&mut parts.headers);
    parts.method = method;
    if parts.uri.authority().is_some() {
        // Nothing that comes later can take the target's host for one that was checked.
        parts.uri = Uri::from(path.target().clone());
    }
    Ok(Admitted {
        visit,
        path,
        websocket,
        in_advance,
        takes_trailers,
        proxies: client.proxies,
        certificate: peer.certificate.clone(),
    })
}

/// Whether this asks for a WebSocket over HTTP/2 (RFC 8441, section 4). No other protocol has a CONNECT that passes.
fn is_extended_connect(parts: &Parts) -> bool {
    parts.method == Method::CONNECT
        && parts.version == Version::HTTP_2
        && parts.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

fn check_method(method: &Method) -> Result<(), Malformed> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        let refused = Malformed::with(StatusCode::METHOD_NOT_ALLOWED, "this method is not for a gateway");
        return Err(Malformed { close: *method == Method::CONNECT, ..refused });
    }
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if method.as_str().bytes().all(is_plain) {
        Ok(())
    } else {
        Err(Malformed::bad("a method is written in upper case"))
    }
}

/// The target's path and query; only origin-form and absolute-form have one (RFC 9112, section 3.2).
fn target(uri: &Uri) -> Result<&PathAndQuery, Malformed> {
    uri.path_and_query()
        .filter(|target| target.as_str().starts_with('/'))
        .ok_or(Malformed::bad("the request target is not a path"))
}

/// The one host that the request names in target and headers.
fn authority<'r>(uri: &'r Uri, survey: &Survey<'r>, version: Version) -> Result<Authority<'r>, Malformed> {
    const NO_HOST: Malformed = Malformed::bad("the request names no host");
    let header = match survey.host {
        Some(value) => Some(Authority::parse(value.as_bytes()).ok_or(Malformed::bad("the Host header is not a host"))?),
        None => None,
    };
    let Some(named) = uri.authority() else { return header.ok_or(NO_HOST) };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Malformed::bad("the request target is not a path"));
    }
    let named =
        Authority::parse(named.as_str().as_bytes()).ok_or(Malformed::bad("the request target names no valid host"))?;
    match header {
        Some(header) if header.agrees_with(&named) => Ok(named),
        Some(_) => Err(Malformed::bad("the request target and the Host header name different hosts")),
        // RFC 9113, section 8.3.1: HTTP/2 has `:authority` in its place. RFC 9112, section 3.2: HTTP/1.1 has to have both.
        None if version >= Version::HTTP_2 => Ok(named),
        None => Err(NO_HOST),
    }
}

/// The site whose name the request bears letter for letter, and in one place alone: what most clients do, and it needs no parsing.
fn site_as_written<'r>(
    uri: &Uri,
    survey: &Survey<'_>,
    client: &Client,
    rules: &'r EdgeRules,
) -> Option<&'r Arc<SiteOrigin>> {
    let host = survey.host.filter(|_| uri.authority().is_none() && client.host.is_none())?;
    rules.sites.iter().find(|site| site.host_header() == host)
}

fn find_site(
    named: &Authority<'_>,
    client: &Client,
    peer: &Peer,
    rules: &EdgeRules,
) -> Result<Arc<SiteOrigin>, Malformed> {
    let forwarded = match &client.host {
        Some(host) => {
            Some(Authority::parse(host.as_bytes()).ok_or(Malformed::bad("the forwarded host is not a host"))?)
        }
        None => None,
    };
    let asked = forwarded.as_ref().unwrap_or(named);
    let known = rules.sites.iter().find(|site| asked.is(site));
    // Straight to our own address: health checks and a look from the machine itself.
    let direct = || if forwarded.is_none() && named.is_own_address(peer) { rules.sites.first() } else { None };
    known
        .or_else(direct)
        .cloned()
        .ok_or(Malformed::with(StatusCode::MISDIRECTED_REQUEST, "this host is not served here"))
}

const fn refuse_path(refusal: PathRefusal) -> Malformed {
    match refusal {
        PathRefusal::TooLong => Malformed::with(StatusCode::URI_TOO_LONG, refusal.reason()),
        _ => Malformed::bad(refusal.reason()),
    }
}

/// What has to go once everything was looked at.
struct Cleaning {
    hops: crate::http::headers::HopByHop,
    doomed: Vec<http::HeaderName>,
}

impl Cleaning {
    /// Hop-by-hop headers first, with what `Connection` names, so that it can't name anything that is set later.
    fn apply(&self, headers: &mut HeaderMap) {
        self.hops.remove_from(headers);
        for name in &self.doomed {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
