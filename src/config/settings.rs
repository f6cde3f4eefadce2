//! The checked settings: everything an operator said, as typed values. Nothing after this holds a text that still means something.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use ipnet::IpNet;
use url::Url;

pub use super::bearer_settings::{BearerSettings, Introspection, TokenFormat};
pub use super::rule_settings::{Account, Allow, ClaimCondition, ClaimTest, Conditions, Pattern, Scalar};
use super::secret::SecretSource;
pub use super::store_settings::{
    OutsideStore, PostgresPlace, RedisAddress, RedisPlace, RedisServers, StorePlace, StoreSettings,
};
pub use super::token_settings::{
    AssertionSettings, ClientCredentialsSettings, ExchangeSettings, RequestedToken, ResourceSettings, StaticScheme,
    StaticSettings, SubjectToken, Target, TokenSettings,
};
pub use super::upstream_settings::{
    AnswerSettings, ApplicationSettings, Balance, HealthSettings, UpstreamAddress, UpstreamKind, UpstreamProtocol,
    UpstreamSettings,
};
pub use super::web_settings::{CorsOrigins, CorsSettings, CsrfCheck};

/// Identity header presets. What they say is data in `config/identity/`.
pub const KNOWN_IDENTITY_PRESETS: [&str; 17] = [
    "portcullis",
    "oauth2-proxy",
    "authelia",
    "authentik",
    "pomerium",
    "vouch",
    "mod_auth_openidc",
    "mod_auth_openidc-dashed",
    "aws-alb",
    "google-iap",
    "cloudflare-access",
    "azure-easyauth",
    "gatekeeper",
    "caddy-security",
    "traefik",
    "remote-user",
    "grafana",
];

/// One config, checked as a whole.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where browsers reach us: scheme, host and port, never a path.
    pub public_url: Url,
    /// The path below which our own endpoints live, without a slash at its end: `/.auth`.
    pub prefix: String,
    /// How many cores serve requests; one per core of the machine when absent.
    pub workers: Option<NonZeroUsize>,
    /// The sockets to accept on.
    pub listen: ListenSettings,
    /// What the `https` listeners show and ask for; present when there is one.
    pub tls: Option<TlsSettings>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` count; nobody when empty.
    pub trusted_proxies: Vec<IpNet>,
    /// How sessions are kept.
    pub session: SessionSettings,
    /// Private keys of our assertions, in PEM: the first of its algorithm signs, all are published. Empty: keys are made at start when
    /// they are needed.
    pub signing_keys: Vec<SecretSource>,
    /// Who signs people in, in the order of their names.
    pub providers: Vec<ProviderSettings>,
    /// Whose access tokens callers may bring, in the order of their names.
    pub bearer: Vec<BearerSettings>,
    /// What is behind us, in the order of their names.
    pub upstreams: Vec<UpstreamSettings>,
    /// Who may pass where; the one implied route when the config has none.
    pub routes: Vec<RouteSettings>,
    /// Other origins that `return_to` may lead to, each without a path.
    pub return_to_origins: Vec<Url>,
    /// Bounds on what visitors send.
    pub limits: LimitSettings,
    /// What a proxy that asks over HTTP is told when a request may pass: 200 or 202.
    pub verify_status: StatusCode,
    /// How we log.
    pub log: LogSettings,
    /// How long requests in flight may go on after a stop was asked for.
    pub drain: Duration,
    /// Settings whose name begins with `insecure_`, as `key: what it gives up`, for the list at start.
    pub dangers: Vec<String>,
    /// What an operator should mend though it does not stop us, each with its fix.
    pub warnings: Vec<String>,
}

/// The sockets to accept on.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// Plain HTTP.
    pub http: Vec<ListenAddress>,
    /// HTTP over TLS.
    pub https: Vec<ListenAddress>,
    /// Health and readiness; never shared with visitors. Always a TCP address.
    pub admin: Option<ListenAddress>,
    /// Permissions of the unix sockets that we make; as the process's mask leaves them when absent.
    pub unix_mode: Option<u32>,
    /// Whether every connection of visitors begins with a PROXY protocol header, which trusted proxies alone may send.
    pub proxy_protocol: bool,
    /// Where Envoy asks us over gRPC (`ext_authz`); never a unix socket.
    pub ext_authz: Vec<ListenAddress>,
    /// Whether plain listeners take HTTP/2 from clients that begin with it (RFC 9113, section 3.3).
    pub h2c: bool,
}

/// One socket to accept on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `"127.0.0.1:8080"`, `"[::]:8080"`; port 0 takes a free one.
    Tcp(SocketAddr),
    /// `"unix:/run/portcullis.sock"`.
    Unix(PathBuf),
    /// `"fd:3"` or `"fd:web"`: a listening socket that whoever started us opened (socket activation).
    Inherited(Inherited),
}

/// Which of the sockets that were handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// By the number of its descriptor; the first one is 3.
    Number(u32),
    /// By its name in `LISTEN_FDNAMES`.
    Name(String),
}

/// What `https` listeners show, and what they ask of clients.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Chosen by the name that a client asks for. The first is for those that ask for none, or for another. Never empty.
    pub certificates: Vec<CertificateFiles>,
    /// Certificates that clients show; they are asked for none when absent.
    pub clients: Option<ClientCertificateSettings>,
}

/// Certificates that clients show.
#[derive(Clone, Debug)]
pub struct ClientCertificateSettings {
    /// PEM with the authorities that issue them.
    pub ca: PathBuf,
    /// Whether a client without one is turned away in the handshake.
    pub required: bool,
}

/// Files of one certificate that we show, as a server or as a client.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// PEM with the certificate chain, leaf first.
    pub cert: PathBuf,
    /// PEM with the private key.
    pub key: PathBuf,
}

/// How sessions are kept.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// The first key seals, every one opens. Empty: an ephemeral key is made at start.
    pub keys: Vec<SecretSource>,
    /// Where sessions live.
    pub store: StoreSettings,
    /// A session unused for this long is over.
    pub idle: Duration,
    /// A session this old is over, however much it is used.
    pub lifetime: Duration,
    /// The cookie's name without its `__Host-` prefix; chunks and flows derive theirs from it.
    pub cookie_name: String,
    /// The most that all cookies of one session may add up to, in bytes.
    pub max_cookie_bytes: usize,
    /// How long a sign-in may take.
    pub flow_lifetime: Duration,
    /// How long before an access token ends it is refreshed; a share of its life when absent.
    pub refresh_ahead: Option<Duration>,
    /// How long requests that carry the cookie from before a refresh are served once the browser has shown the new one.
    pub refresh_grace: Duration,
    /// Opened sessions that each worker keeps, and as many verified access tokens.
    pub cache: usize,
}

/// How the gateway proves itself to a provider's token endpoint (`OpenID` Connect Core 1.0, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_secret_basic`: HTTP Basic with form-encoded id and secret (RFC 6749, section 2.3.1).
    Basic,
    /// `client_secret_post`: id and secret in the form.
    Post,
    /// `none`: a public client, PKCE alone.
    None,
}

/// When the provider's `UserInfo` endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserInfo {
    /// At every sign-in.
    Always,
    /// When the ID token lacks a claim that the preset or config names.
    IfMissing,
    /// Never.
    Never,
}

/// One `OpenID` provider.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// The name in the config's table and in URLs: `[a-z0-9_-]+`.
    pub name: Arc<str>,
    /// What people read on the sign-in page.
    pub label: String,
    /// The issuer identifier, compared byte for byte with `iss` (`OpenID` Connect Discovery 1.0, section 4.3).
    pub issuer: String,
    /// Our client identifier there.
    pub client_id: String,
    /// Our client secret there; absent for a public client.
    pub client_secret: Option<SecretSource>,
    /// How we prove ourselves.
    pub client_authentication: ClientAuthentication,
    /// What is asked for; always has `openid`.
    pub scopes: Vec<String>,
    /// Resources that upstreams get access tokens for (RFC 8707): every sign-in names them.
    pub resources: Vec<String>,
    /// Signature algorithms an ID token may have, by their JOSE names; never `none` or an HMAC.
    pub signing_algorithms: Vec<String>,
    /// When `UserInfo` is asked.
    pub userinfo: UserInfo,
    /// Where the groups stand in the claims: names from the outside in.
    pub groups_claim: Vec<String>,
    /// Where the roles stand in the claims, each a path of names.
    pub roles_claims: Vec<Vec<String>>,
    /// Further parameters for the authorization request, such as `prompt` or `acr_values`.
    pub authorization_parameters: BTreeMap<String, String>,
    /// Parameters that a visitor may give to `/login`, such as `login_hint`.
    pub allowed_login_parameters: Vec<String>,
    /// PEM bundle of further authorities for this provider's TLS.
    pub ca: Option<PathBuf>,
    /// Origins besides the issuer's that may be reached at private addresses.
    pub private_endpoints: Vec<Url>,
    /// Bound on each call to the provider.
    pub timeout: Duration,
    /// Leeway for clocks that differ.
    pub clock_skew: Duration,
    /// Whether tokens are given back at a sign-out (RFC 7009), where the provider takes them.
    pub revoke_tokens: bool,
    /// How long ago a person may have proved who they are to the provider; unbounded when absent.
    pub max_age: Option<Duration>,
}

/// What somebody without a session gets where one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedOut {
    /// A redirect to sign in, whoever asks.
    Redirect,
    /// A 401, whoever asks.
    Unauthorized,
    /// A redirect for a browser's navigation, a 401 for scripts and API clients.
    Auto,
}

/// The paths of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// `/x`: this path alone.
    Exact(String),
    /// `/x/*`: kept as `/x/`, matches it and all below it; `/*` is kept as `/`.
    Below(String),
}

/// Path oddities that a route lets through for a legacy application (design, invariant 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathAllowances {
    /// `%2f` and `%5c` inside a segment.
    pub encoded_slash: bool,
    /// `;` parameters in a segment.
    pub path_parameters: bool,
    /// `//`.
    pub empty_segments: bool,
}

/// What becomes of a path on its way to the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteSettings {
    /// Its front is another one. At least one of the two is not empty.
    Prefixes {
        /// What is taken from its front: whole segments such as `/app`, without a slash at the end, or nothing. Every path of the
        /// route begins with it.
        strip: String,
        /// What is put before the rest: whole segments, without a slash at the end, or nothing.
        add: String,
    },
    /// It is another one as a whole.
    Whole {
        /// The new path: segments with placeholders such as `/api/user/{sub}`, without a slash at the end where the rest follows.
        template: String,
        /// What of the path that came is left out when its rest follows: the route's own path, without a slash at the end. Absent when
        /// nothing follows.
        below: Option<String>,
    },
}

/// Who may pass where, and to which upstream.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// How logs name it: the config's `name`, else the pattern as written.
    pub name: Arc<str>,
    /// The host it is for, in lower case, without a port; any of ours when absent.
    pub host: Option<String>,
    /// Its paths.
    pub path: PathPattern,
    /// Its methods; all when absent.
    pub methods: Option<Vec<Method>>,
    /// Who may pass.
    pub allow: Allow,
    /// Who may not, whatever `allow` says: those who meet every key of one of these tables.
    pub deny: Vec<Conditions>,
    /// Whether those whom the rule would forbid pass all the same, and the log says so.
    pub report_only: bool,
    /// What the others get.
    pub signed_out: SignedOut,
    /// Index into [`Settings::upstreams`].
    pub upstream: usize,
    /// What becomes of the path; it is sent as it came when absent.
    pub rewrite: Option<RewriteSettings>,
    /// Odd paths it lets through.
    pub allowances: PathAllowances,
    /// Bytes of a request body; the bound of [`LimitSettings`] when absent.
    pub body_bytes: Option<u64>,
    /// Whose access tokens it takes beside sessions: indices into [`Settings::bearer`]. With none of them, `Authorization` is no
    /// credential of ours.
    pub bearer: Vec<usize>,
    /// Whether an upstream's 401 has the session's tokens refreshed, and the request sent once more.
    pub retry_unauthorized: bool,
    /// Which pages of other origins may read its answers; when absent, that is left to the upstream.
    pub cors: Option<CorsSettings>,
    /// What a request that changes something has to show; nothing when absent.
    pub csrf: Option<CsrfCheck>,
}

/// Bounds on what visitors send.
#[derive(Clone, Debug)]
pub struct LimitSettings {
    /// Bytes of all request headers together.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// How long the head of a request may take to arrive; for TLS, how long the handshake may take.
    pub header_timeout: Duration,
    /// Bytes of a request body; unbounded when absent.
    pub body_bytes: Option<u64>,
    /// How long a request body may stand still.
    pub body_timeout: Duration,
    /// How long an answer may stand still because the visitor takes nothing of it.
    pub send_timeout: Duration,
    /// How long a request may take, from its head to the last byte of its answer; unbounded when absent.
    pub request_timeout: Option<Duration>,
    /// How long a kept-alive connection may stay silent between requests.
    pub idle_timeout: Duration,
    /// Connections of visitors at once, over all workers.
    pub connections: usize,
    /// Of these, how many may come from one address.
    pub connections_per_address: usize,
    /// Streams at once on one HTTP/2 connection (RFC 9113, section 5.1.2).
    pub h2_streams: u32,
    /// Streams that a visitor may cancel on one HTTP/2 connection within ten seconds.
    pub h2_resets: u32,
    /// Bytes that one HTTP/2 stream may send before we have read any (RFC 9113, section 5.2).
    pub h2_window: u32,
}

/// How we log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The shape of a line.
    pub format: LogFormat,
    /// A filter such as `info` or `portcullis=debug`.
    pub level: String,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
