//! The vulnerability classes that auth proxies are known for, tried from outside. The number in a test's name is the class's place
//! in the catalogue of classes; the peers' advisories that belong to a class are tried with it.

mod answers;
mod answers_broken;
mod early_hints;
mod forwarding;
mod headers;
mod hosts;
mod hyper;
mod identity;
mod paths;
mod routes;
mod smuggling;
mod streams;
mod upgrades;

use std::io::Write as _;
use std::time::Duration;

use url::Url;

use crate::support::browser::Browser;
use crate::support::client::{Request, Response, read_response};
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;
use crate::support::wire::Reader;

/// A gateway with everything around it: `/public/*` is everyone's, `/app/*` is for the signed-in, `/admin/*` for administrators;
/// any other path has no route.
struct Arena {
    gateway: Gateway,
    upstream: Upstream,
    provider: Provider,
}

impl Arena {
    fn new() -> Self {
        Self::with(|config| config)
    }

    /// With further settings; routes of one's own are to stand below other paths.
    fn with(dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        Self::bare(|config| {
            dress(config).route("/public/*", "\"everyone\"", "app").route("/app/*", "\"signed-in\"", "app").route(
                "/admin/*",
                "{ roles = [\"admin\"] }",
                "app",
            )
        })
    }

    /// Without any route but one's own; the upstream is `app`.
    fn bare(dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        Self::of(GatewayConfig::on_loopback(), dress)
    }

    /// Where browsers reach it at this URL, and without any route but one's own.
    fn named(public_url: &str, dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        Self::of(GatewayConfig::new(public_url), dress)
    }

    fn of(config: GatewayConfig, dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        let provider = Provider::start();
        let upstream = Upstream::start();
        let config = config.client(provider.issuer(), CLIENT_ID, CLIENT_SECRET);
        let gateway = dress(config).raw(&format!("[upstreams.app]\nurl = {:?}", upstream.url())).start();
        Self { gateway, upstream, provider }
    }

    /// `user` signs in; gives their browser. The requests that this took are forgotten.
    fn browser(&self, user: &str) -> Browser {
        let mut browser = Browser::new();
        let page = browser.sign_in(user, &self.gateway.at("/app/"));
        assert_eq!(page.response.status, 200, "{user} can't sign in: {}\n{}", page.text(), self.gateway.logs());
        self.upstream.forget();
        browser
    }

    /// `user` signs in; gives the value of their `Cookie` field.
    fn cookie(&self, user: &str) -> String {
        cookie_of(&self.browser(user), self.gateway.url())
    }

    fn get(&self, target: &str) -> Request {
        self.gateway.get(target)
    }

    fn request(&self, method: &str, target: &str) -> Request {
        self.gateway.client().request(method, target)
    }

    /// What `Host` says when somebody asks for the gateway itself.
    fn host(&self) -> &str {
        self.gateway.url().strip_prefix("http://").expect("plain HTTP")
    }

    /// Sends exactly `text`, in which `HOST` stands for the gateway's own host, and reads one answer.
    fn raw(&self, text: &str) -> Response {
        self.raw_bytes(text.replace("HOST", self.host()).as_bytes())
    }

    fn raw_bytes(&self, bytes: &[u8]) -> Response {
        let shown = String::from_utf8_lossy(bytes).into_owned();
        self.gateway.client().raw(bytes).unwrap_or_else(|error| panic!("{shown:?}: no answer: {error}"))
    }

    /// Sends exactly `bytes` over one connection and reads `count` answers, or fewer when the gateway closes before.
    fn answers(&self, bytes: &[u8], count: usize) -> Vec<Response> {
        let mut stream = self.gateway.client().connect();
        let _answered_early = stream.write_all(bytes);
        let mut reader = Reader::new(stream);
        let mut answers = Vec::new();
        while answers.len() < count
            && let Ok(answer) = read_response(&mut reader, "GET")
        {
            answers.push(answer);
        }
        answers
    }

    #[track_caller]
    fn assert_nothing_passed(&self, what: &str) {
        let seen: Vec<String> = self.upstream.requests().into_iter().map(|one| one.head.first_line).collect();
        assert!(seen.is_empty(), "{what}: {seen:?} reached the upstream");
    }
}

/// The cookies of ours that `browser` sends to `url`; a provider on the same host has cookies there as well.
fn cookie_of(browser: &Browser, url: &str) -> String {
    let field = browser.jar.field(&Url::parse(url).expect("a URL")).expect("a session has a cookie");
    field.split("; ").filter(|pair| !pair.starts_with("development-provider")).collect::<Vec<_>>().join("; ")
}

/// Asks until `holds`, since some things come a moment after the answer.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let tick = Duration::from_millis(20);
    let mut left = crate::support::PATIENCE;
    while !holds() {
        assert!(!left.is_zero(), "{what}: it never came so");
        crate::support::pause(tick);
        left = left.saturating_sub(tick);
    }
}

/// What was not let through: refused, or sent to sign in; with no byte of the upstream.
#[track_caller]
fn assert_denied(answer: &Response, what: &str) {
    assert!(
        matches!(answer.status, 302 | 400 | 401 | 403 | 404 | 405 | 421),
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
}
