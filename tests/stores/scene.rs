//! Two gateways with one store behind one address, a provider and an upstream.

use portcullis::demo::provider::{Person, ProviderOptions, SigningAlgorithm};
use serde_json::Value;

use crate::support::SESSION_KEY;
use crate::support::browser::Browser;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;

/// Where browsers reach either gateway.
pub(crate) const SITE: &str = "http://app.localhost:4180";

/// The session's cookie there.
pub(crate) const SESSION: &str = "portcullis";

/// What stands after `store =` for a store at this address that a busy machine may take seconds to answer for.
pub(crate) fn patient(url: &str) -> String {
    format!("{{ url = {url:?}, timeout = \"10s\" }}")
}

pub(crate) struct Scene {
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) upstream: Upstream,
    pub(crate) provider: Provider,
    lines: Vec<String>,
    keys: Vec<String>,
}

impl Scene {
    /// Two gateways; `store` is what stands after `store =`.
    pub(crate) fn new(store: &str) -> Self {
        Self::with(2, &[&format!("store = {store}")])
    }

    /// So many gateways with these lines in `[session]`.
    pub(crate) fn with(count: usize, lines: &[&str]) -> Self {
        Self::of(ProviderOptions::default(), count, lines)
    }

    /// As [`Self::with`], with a provider of these options.
    pub(crate) fn of(options: ProviderOptions, count: usize, lines: &[&str]) -> Self {
        let provider = Provider::start_with(ProviderOptions {
            clients: vec![portcullis::demo::provider::Client {
                redirects: portcullis::demo::provider::Redirects::LoopbackOr(vec![SITE.to_owned()]),
                post_logout: portcullis::demo::provider::Redirects::LoopbackOr(vec![SITE.to_owned()]),
                ..portcullis::demo::provider::Client::development(CLIENT_ID, CLIENT_SECRET)
            }],
            signing: SigningAlgorithm::Es256,
            ..options
        });
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let mut scene = Self {
            gateways: Vec::new(),
            upstream: Upstream::start(),
            provider,
            lines,
            keys: vec![SESSION_KEY.to_owned()],
        };
        for _ in 0..count {
            let gateway = scene.gateway();
            scene.gateways.push(gateway);
        }
        scene
    }

    /// One more gateway.
    pub(crate) fn gateway(&self) -> Gateway {
        let mut config = GatewayConfig::new(SITE)
            .client(self.provider.issuer(), CLIENT_ID, CLIENT_SECRET)
            .upstream("app", &self.upstream.url())
            .raw(&format!("[upstreams.api]\nurl = {:?}\ntoken = \"access_token\"", self.upstream.url()))
            .route("/api/*", "\"signed-in\"", "api")
            .top("workers = 2")
            .route("/*", "\"signed-in\"", "app")
            .route("/open", "\"everyone\"", "app");
        for line in &self.lines {
            config = config.session_line(line);
        }
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        config.keys(&keys).start()
    }

    /// Has gateways that start from now on use these keys; the first seals.
    pub(crate) fn use_keys(&mut self, keys: &[String]) {
        self.keys = keys.to_vec();
    }

    /// A browser whose requests reach the gateway of this number.
    pub(crate) fn browser(&self, gateway: usize) -> Browser {
        let mut browser = Browser::new();
        self.reach(&mut browser, gateway);
        browser
    }

    /// Has the requests of `browser` reach another gateway from now on, as a balancer might.
    pub(crate) fn reach(&self, browser: &mut Browser, gateway: usize) {
        browser.reach(SITE, self.gateways[gateway].url());
    }

    /// A browser in which `user` is signed in, at the gateway of this number.
    pub(crate) fn signed_in(&self, user: &str, gateway: usize) -> Browser {
        let mut browser = self.browser(gateway);
        let page = browser.sign_in(user, &at("/"));
        assert_eq!(page.response.status, 200, "{}\n{}", page.text(), self.gateways[gateway].logs());
        browser
    }

    /// The status that a GET of `/` gets at the gateway of this number.
    pub(crate) fn status(&self, browser: &mut Browser, gateway: usize) -> u16 {
        self.reach(browser, gateway);
        browser.peek(&at("/page")).status
    }

    /// Another browser with the same cookies, whose requests reach the gateway of this number.
    pub(crate) fn copy(&self, browser: &Browser, gateway: usize) -> Browser {
        let mut copy = self.browser(gateway);
        for pair in cookies(browser).split("; ").filter(|pair| !pair.is_empty()) {
            copy.jar.set(&at("/").parse().expect("a URL"), &format!("{pair}; Path=/"));
        }
        copy
    }

    /// Adds a person, or changes one.
    pub(crate) fn put_person(&self, name: &str, claims: Value) {
        self.provider.control().put_person(Person::new(name, claims));
    }
}

/// An address of the site.
pub(crate) fn at(path: &str) -> String {
    format!("{SITE}{path}")
}

/// What a browser would send as `Cookie` to the site.
pub(crate) fn cookies(browser: &Browser) -> String {
    browser.jar.field(&at("/").parse().expect("a URL")).unwrap_or_default()
}
