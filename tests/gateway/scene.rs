//! A gateway between a browser, the development provider and a recording upstream, at an https address or on loopback.

use portcullis::demo::provider::{Client, Endpoint, Person, ProviderOptions, Redirects, SigningAlgorithm};
use serde_json::Value;

use crate::support::browser::{Browser, Page};
use crate::support::client::{Request, Response};
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;

/// Where browsers reach the gateway when a front of it ends TLS.
pub(crate) const HTTPS: &str = "https://app.example.com";

/// The session's cookie at [`HTTPS`].
pub(crate) const SESSION: &str = "__Host-portcullis";

/// How the names of flow cookies begin at [`HTTPS`].
pub(crate) const FLOW: &str = "__Host-portcullis-flow-";

/// Where the provider sends browsers back to.
pub(crate) const CALLBACK: &str = "/.auth/callback/corp";

pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
    pub(crate) provider: Provider,
    public_url: String,
}

/// The provider of a scene, before there is a gateway.
pub(crate) fn provider() -> Provider {
    provider_with(ProviderOptions::default())
}

/// The same with other options; its clients and its signatures are a scene's.
pub(crate) fn provider_with(options: ProviderOptions) -> Provider {
    Provider::start_with(ProviderOptions {
        clients: vec![Client {
            redirects: Redirects::LoopbackOr(vec![HTTPS.to_owned()]),
            post_logout: Redirects::LoopbackOr(vec![HTTPS.to_owned()]),
            ..Client::development(CLIENT_ID, CLIENT_SECRET)
        }],
        signing: SigningAlgorithm::Es256,
        ..options
    })
}

impl Scene {
    /// At [`HTTPS`], with TLS ended in front of the gateway.
    pub(crate) fn https(dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        Self::with(GatewayConfig::new(HTTPS), provider(), dress)
    }

    /// At `http://127.0.0.1:PORT`.
    pub(crate) fn loopback(dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        Self::with(GatewayConfig::on_loopback(), provider(), dress)
    }

    /// With a provider that was prepared before.
    pub(crate) fn with(
        config: GatewayConfig,
        provider: Provider,
        dress: impl FnOnce(GatewayConfig) -> GatewayConfig,
    ) -> Self {
        Self::with_upstream(config, provider, |config, _| dress(config))
    }

    /// The same; `dress` is told the address of the upstream, for further ways to it.
    pub(crate) fn with_upstream(
        config: GatewayConfig,
        provider: Provider,
        dress: impl FnOnce(GatewayConfig, &str) -> GatewayConfig,
    ) -> Self {
        let upstream = Upstream::start();
        let config = config.client(provider.issuer(), CLIENT_ID, CLIENT_SECRET).upstream("app", &upstream.url());
        let config = dress(config, &upstream.url());
        let public_url = config.public_url().to_owned();
        Self { gateway: config.start(), upstream, provider, public_url }
    }

    /// Another gateway at the same public URL, with the same provider and upstream.
    pub(crate) fn another(&self, dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Gateway {
        let config = GatewayConfig::new(&self.public_url)
            .client(self.provider.issuer(), CLIENT_ID, CLIENT_SECRET)
            .upstream("app", &self.upstream.url());
        dress(config).start()
    }

    /// An address as browsers write it.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.public_url)
    }

    /// A browser that reaches this gateway.
    pub(crate) fn browser(&self) -> Browser {
        let mut browser = Browser::new();
        if self.public_url == HTTPS {
            browser.reach(HTTPS, self.gateway.url());
        }
        browser
    }

    /// A browser in which `user` is signed in.
    pub(crate) fn signed_in(&self, user: &str) -> Browser {
        let mut browser = self.browser();
        let page = browser.sign_in(user, &self.at("/"));
        assert_eq!(page.response.status, 200, "{}\n{}", page.text(), self.gateway.logs());
        browser
    }

    /// Goes as far as the provider's answer, and doesn't deliver it.
    pub(crate) fn almost_signed_in(&self, user: &str, path: &str) -> (Browser, Page) {
        let mut browser = self.browser();
        browser.stop_before = Some(CALLBACK.to_owned());
        let page = browser.sign_in(user, &self.at(path));
        assert!(page.url.path().starts_with(CALLBACK), "{}", page.url);
        browser.stop_before = None;
        (browser, page)
    }

    /// A request that a browser's window would send, with exactly these cookie lines.
    pub(crate) fn with_cookies(&self, target: &str, lines: &[&str]) -> Response {
        let request = self.window(target);
        lines.iter().fold(request, |request, line| request.header("Cookie", line)).send()
    }

    /// A request that a browser's window would send, without cookies.
    pub(crate) fn window(&self, target: &str) -> Request {
        let host = self.public_url.split_once("://").map_or("", |(_, host)| host);
        self.gateway.client().named(host).get(target).headers(&[
            ("Accept", "text/html,*/*;q=0.8"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ])
    }

    /// What `/.auth/me` says: the status, and the principal.
    pub(crate) fn me(&self, browser: &mut Browser) -> (u16, Value) {
        let answer = browser.peek(&self.at("/.auth/me"));
        (answer.status, answer.json())
    }

    /// Adds a person, or changes one.
    pub(crate) fn put_person(&self, name: &str, claims: Value) {
        self.provider.control().put_person(Person::new(name, claims));
    }

    /// How often the provider's token endpoint was asked.
    pub(crate) fn redeemed(&self) -> u64 {
        self.provider.control().count(Endpoint::Token)
    }
}

/// Asserts that `answer` is a page that helps: no redirect, no page that goes on by itself, no session, a way to try again.
pub(crate) fn assert_calm(answer: &Response, case: &str) {
    assert_eq!(answer.status, 400, "{case}: {}", answer.text());
    assert_eq!(answer.header("location"), None, "{case}: a loop could begin here");
    let page = answer.text();
    assert!(!page.contains("http-equiv"), "{case}: a loop could begin here");
    assert!(page.contains("Try again") || page.contains("Sign in again"), "{case}: {page}");
    assert!(page.contains("/.auth/login"), "{case}: {page}");
    assert_eq!(set_cookies(answer, SESSION), Vec::<String>::new(), "{case}");
}

/// The `Set-Cookie` lines of cookies whose name begins with `start`, and which are set rather than cleared.
pub(crate) fn set_cookies(answer: &Response, start: &str) -> Vec<String> {
    let lines = answer.head.all("set-cookie").into_iter().filter(|line| line.starts_with(start));
    lines.filter(|line| !line.contains("Max-Age=0")).map(str::to_owned).collect()
}

/// The names that an answer clears.
pub(crate) fn cleared(answer: &Response) -> Vec<String> {
    let lines = answer.head.all("set-cookie").into_iter().filter(|line| line.contains("Max-Age=0"));
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned()).collect()
}

/// The cookies of a browser whose names begin with `start`: name and value.
pub(crate) fn cookies(browser: &Browser, start: &str) -> Vec<(String, String)> {
    let ours = browser.jar.all().iter().filter(|cookie| cookie.name.starts_with(start));
    ours.map(|cookie| (cookie.name.clone(), cookie.value.clone())).collect()
}

/// The one session cookie of a browser at [`HTTPS`].
pub(crate) fn session_value(browser: &Browser) -> String {
    let found = browser.jar.all().iter().find(|cookie| cookie.name == SESSION);
    found.unwrap_or_else(|| panic!("no session in {:?}", browser.jar)).value.clone()
}

/// Text of this many characters that hardly compresses.
pub(crate) fn noise(length: usize) -> String {
    let blocks = (0..length.div_ceil(64)).map(|n| crate::support::sha256(n.to_string().as_bytes()));
    let mut text: String = blocks.collect();
    text.truncate(length);
    text
}
