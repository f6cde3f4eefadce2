//! What the edge learned about one request: who really calls, under which of our origins, and what kind of answer they can read.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;
use url::Url;

use crate::net::client_certificate::ClientCertificate;

/// One origin that we are configured to be: everything sent to a browser is built from it (design, invariant 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteOrigin {
    url: Url,
    text: String,
    authority: String,
    host: String,
    host_header: HeaderValue,
}

impl SiteOrigin {
    /// The origin of `url`; its path and query are not part of it. `None` when `url` has no host.
    pub fn new(url: &Url) -> Option<Self> {
        let host = url.host_str()?.to_owned();
        let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        let text = format!("{}://{authority}", url.scheme());
        let url = Url::parse(&text).ok()?;
        let host_header = HeaderValue::from_str(&authority).ok()?;
        Some(Self { url, text, authority, host, host_header })
    }

    /// As a URL whose path is `/`.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// `https://app.example.com`, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host, and port unless it is the scheme's own: what a `Host` header says.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The authority, ready to be sent.
    pub const fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// The host alone, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether browsers reach us over TLS.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The absolute URL of `path_and_query` at this origin. The caller vouches that it begins with one slash.
    pub fn at(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.text)
    }
}

/// The two ends of the connection that a request came over.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The other end, as a trusted balancer tells it where one does; absent for a unix socket, and where a balancer does not tell.
    pub remote: Option<SocketAddr>,
    /// The end that the client connected to; absent for a unix socket.
    pub local: Option<SocketAddr>,
    /// Whether the connection itself is TLS.
    pub tls: bool,
    /// The certificate that the client showed in the handshake, verified there.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// What kind of answer the caller can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A browser that shows a page to a person: redirects and HTML.
    Browser,
    /// A script or an API client: status codes and JSON.
    Program,
}

/// What the edge learned about one request.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Names this request in logs, pages and towards the upstream: 32 lower-case hex digits.
    pub request_id: Arc<str>,
    /// The real client's address, found through trusted proxies only; absent on a unix socket without a trusted header.
    pub client: Option<IpAddr>,
    /// The origin of ours that was asked for.
    pub site: Arc<SiteOrigin>,
    /// What kind of answer the caller can read.
    pub caller: Caller,
}
