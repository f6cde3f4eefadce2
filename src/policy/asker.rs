//! Who asks for what, as far as a rule may look: only what was checked before.

use std::net::IpAddr;

use crate::base::clock::Timestamp;
use crate::identity::principal::Principal;
use crate::net::client_certificate::ClientCertificate;

/// One request, as rules see it.
///
/// Query and headers are not here: they are the visitor's own words, an upstream may read them otherwise than we would, and a rule
/// over them could be met by whoever writes them.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Who is signed in, or whom a bearer token speaks for.
    pub principal: Option<&'a Principal>,
    /// When the person last proved to the provider who they are (`auth_time`), if it said so.
    pub authenticated: Option<Timestamp>,
    /// The certificate that the client showed in its TLS handshake.
    pub certificate: Option<&'a ClientCertificate>,
    /// The real client's address, through trusted proxies only; absent where it can't be known.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for: one of ours, in lower case, without a port.
    pub host: &'a str,
    /// The path in the form for matching ([`crate::http::path::CanonicalPath::matching`]).
    pub path: &'a str,
    /// When it asks.
    pub now: Timestamp,
}

impl Asker<'_> {
    /// Nobody known, asking for `GET /` at the beginning of time: a start for tests and tools.
    pub const NOBODY: Asker<'static> = Asker {
        principal: None,
        authenticated: None,
        certificate: None,
        client: None,
        method: "GET",
        host: "",
        path: "/",
        now: Timestamp::from_seconds(0),
    };
}
