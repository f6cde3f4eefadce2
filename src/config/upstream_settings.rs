//! The checked settings of what is behind us: applications at their addresses, directories of files, fixed answers.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode};
use url::Url;

use super::settings::CertificateFiles;
use super::token_settings::{AssertionSettings, TokenSettings};

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: chosen by ALPN over TLS (RFC 9113, section 3.2), by prior knowledge without TLS (section 3.3).
    Http2,
    /// What ALPN chooses over TLS, HTTP/1.1 without TLS.
    Auto,
}

/// One thing behind us.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// The name in the config's table.
    pub name: Arc<str>,
    /// What it is.
    pub kind: UpstreamKind,
    /// Name of the identity header preset, known to exist.
    pub identity: String,
    /// Own headers: name and template such as `{claims.team}`; no name twice.
    pub headers: Vec<(HeaderName, String)>,
    /// The token it gets.
    pub token: TokenSettings,
    /// The signed token that it gets in a header of its preset's, if it asks for one or asks for it to be different.
    pub assertion: Option<AssertionSettings>,
}

/// What an upstream is.
#[derive(Clone, Debug)]
pub enum UpstreamKind {
    /// An application or API that is asked over HTTP.
    Application(Box<ApplicationSettings>),
    /// A directory whose files we serve ourselves.
    Files(PathBuf),
    /// One answer for everything.
    Answer(AnswerSettings),
    /// What another proxy reaches, which asks us whether a request may pass.
    Elsewhere,
}

/// An application or API behind us, at one address or at several that are equal.
#[derive(Clone, Debug)]
pub struct ApplicationSettings {
    /// Where it is; at least one address, none of them twice.
    pub addresses: Vec<UpstreamAddress>,
    /// Which of them gets a request.
    pub balance: Balance,
    /// How its addresses are looked after; not at all when absent.
    pub health: Option<HealthSettings>,
    /// Faults in a row after which an address is left out for a while; never when absent.
    pub eject_after: Option<NonZeroU32>,
    /// How long an address is left out the first time; each time after that twice as long, up to sixteenfold.
    pub eject_for: Duration,
    /// What it speaks. WebSockets go over HTTP/1.1 whatever this says.
    pub protocol: UpstreamProtocol,
    /// Whether it sees the host that the visitor asked for, rather than its own.
    pub pass_host: bool,
    /// PEM bundle of authorities that replaces the system's for this upstream.
    pub ca: Option<PathBuf>,
    /// What we show to it when it asks who we are.
    pub client_certificate: Option<CertificateFiles>,
    /// The name that its certificate must bear, and that we ask for; the URL's host when absent.
    pub server_name: Option<String>,
    /// Bound on connecting, TLS included.
    pub connect_timeout: Duration,
    /// Bound on the time from the request's end to the head of the answer.
    pub response_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections that one worker keeps to one address.
    pub max_idle: usize,
    /// Requests over one connection, after which it is replaced; any number when absent.
    pub max_requests: Option<NonZeroU32>,
    /// Whether it gets the certificate that the client showed, in `Client-Cert` (RFC 9440).
    pub client_cert_header: bool,
}

/// Where an application can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// `http://` or `https://`, host and port, no path.
    Web(Url),
    /// `unix:/run/app.sock`: plain HTTP over a unix socket.
    Unix(PathBuf),
}

/// Which of several addresses gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests of this worker under way.
    LeastRequests,
    /// One after the other.
    RoundRobin,
}

/// How the addresses of an upstream are looked after.
#[derive(Clone, Debug)]
pub struct HealthSettings {
    /// What is asked for with GET: a path, perhaps with a query.
    pub path: PathAndQuery,
    /// The time between two questions to one address.
    pub interval: Duration,
    /// Bound on one question, connecting included.
    pub timeout: Duration,
    /// Right answers in a row after which an address that was out is in again.
    pub healthy_after: u32,
    /// Wrong or missing answers in a row after which an address is out.
    pub unhealthy_after: u32,
    /// Status codes that are right.
    pub expect: RangeInclusive<u16>,
}

/// One answer for everything.
#[derive(Clone, Debug)]
pub struct AnswerSettings {
    /// Its status: a final one that needs no further headers.
    pub status: StatusCode,
    /// Its body.
    pub body: String,
    /// The media type of its body.
    pub content_type: HeaderValue,
}
