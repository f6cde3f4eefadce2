//! What the tests of sign-ins share: one gateway, the development provider, a recording upstream, and an oracle of our own.
//!
//! A provider under test can't see whether a refusal was one. So this looks at what counts: no cookie that opens the application,
//! a page that says so, nothing at the upstream, and no `UserInfo` request before the ID token holds.

#![allow(unreachable_pub, reason = "a module of a test crate has no outside")]

use portcullis::demo::provider::{Control, Endpoint, ProviderOptions};
use url::Url;

use crate::support::browser::{Browser, Page};
use crate::support::client::Response;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::{Recorded, Upstream};

/// A gateway between a development provider and an upstream. It asks `UserInfo` at every sign-in, so that asking too early shows.
pub struct SignIns {
    pub gateway: Gateway,
    pub provider: Provider,
    pub upstream: Upstream,
}

impl SignIns {
    /// With the provider's usual people and an upstream that gets the access token.
    pub fn start() -> Self {
        Self::start_with(ProviderOptions::default(), |config| config)
    }

    /// With other options and a further dress of the config.
    pub fn start_with(options: ProviderOptions, dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        Self::between(Provider::start_with(options), dress)
    }

    /// With a provider that is there already.
    pub fn between(provider: Provider, dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        let upstream = Upstream::start();
        let config = GatewayConfig::on_loopback()
            .client(provider.issuer(), CLIENT_ID, CLIENT_SECRET)
            .provider_line("userinfo = \"always\"")
            .top("workers = 1")
            .raw(&format!("[upstreams.app]\nurl = {:?}\ntoken = \"access_token\"", upstream.url()));
        let gateway = dress(config).start();
        Self { gateway, provider, upstream }
    }

    /// Tells the provider what to do wrong, and what it was asked.
    pub fn control(&self) -> &Control {
        self.provider.control()
    }

    /// A fresh browser in which alice tries to sign in, and the page that she ends at.
    pub fn attempt(&self) -> (Browser, Page) {
        let mut browser = Browser::new();
        let page = browser.sign_in("alice", &self.gateway.at("/app"));
        (browser, page)
    }

    /// A sign-in that must be refused before `UserInfo` is asked. What the provider was asked before is forgotten.
    pub fn assert_refused(&self, what: &str) -> Page {
        let page = self.assert_refused_at_last(what);
        assert_eq!(self.control().count(Endpoint::Userinfo), 0, "{what}: UserInfo was asked before the ID token held");
        page
    }

    /// A sign-in that must be refused, at whichever step.
    pub fn assert_refused_at_last(&self, what: &str) -> Page {
        self.control().forget();
        let seen = self.upstream.count();
        let (mut browser, page) = self.attempt();
        self.assert_says_no(what, &page);
        self.assert_opens_nothing(what, &mut browser);
        assert_eq!(self.upstream.count(), seen, "{what}: something reached the upstream");
        page
    }

    /// A page of ours that says no, for this visitor alone.
    pub fn assert_says_no(&self, what: &str, page: &Page) {
        let answer = &page.response;
        assert!(
            (400..600).contains(&answer.status) && answer.status != 500,
            "{what}: {} {}\n{}",
            answer.status,
            page.url,
            self.gateway.logs()
        );
        assert!(page.url.as_str().starts_with(self.gateway.url()), "{what}: ended at {}", page.url);
        let has = |name: &str, start: &str| answer.header(name).is_some_and(|value| value.starts_with(start));
        assert!(has("content-type", "text/html"), "{what}: {:?}", answer.head.headers);
        assert!(has("cache-control", "no-store") && has("referrer-policy", "no-referrer"), "{what}");
        assert!(answer.header("location").is_none(), "{what}: a refusal must not send anyone on");
    }

    /// Whatever cookies this browser holds, they open neither the application nor `/me`.
    pub fn assert_opens_nothing(&self, what: &str, browser: &mut Browser) {
        assert_eq!(self.me(browser).status, 401, "{what}: there is a session");
        let answer = browser.peek(&self.gateway.at("/app"));
        let location = answer.header("location").unwrap_or_default();
        assert!(
            matches!(answer.status, 302 | 502 | 503) && !location.starts_with(self.gateway.url()),
            "{what}: the application opens: {} {location}",
            answer.status
        );
    }

    /// A sign-in that must end at the application; gives what the upstream saw.
    pub fn assert_accepted(&self, what: &str) -> Recorded {
        self.sign_in(what).1
    }

    /// The same, with the browser.
    pub fn sign_in(&self, what: &str) -> (Browser, Recorded) {
        self.control().forget();
        let seen = self.upstream.count();
        let (browser, page) = self.attempt();
        assert_eq!(page.response.status, 200, "{what}: {}\n{}\n{}", page.url, page.text(), self.gateway.logs());
        assert_eq!(self.upstream.count(), seen + 1, "{what}: the application was not asked once");
        (browser, self.upstream.last_request())
    }

    /// What the gateway says of who is signed in.
    pub fn me(&self, browser: &mut Browser) -> Response {
        browser.peek(&self.gateway.at("/.auth/me"))
    }
}

/// The only value of a parameter of `url`.
pub fn parameter(url: &Url, name: &str) -> String {
    let values: Vec<String> =
        url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect();
    assert_eq!(values.len(), 1, "{name} must be there once: {url}");
    values.concat()
}
