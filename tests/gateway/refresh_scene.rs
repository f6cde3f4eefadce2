//! A gateway whose provider gives short access tokens and refresh tokens that work once, and two ways to one upstream: `/api` gets the
//! access token, everything else gets none.

use std::time::Duration;

use portcullis::demo::provider::{Endpoint, Lifetimes, ProviderOptions, RefreshTokens};

use crate::scene::{HTTPS, Scene, provider_with, set_cookies};
use crate::support::browser::Browser;
use crate::support::client::Response;
use crate::support::gateway::GatewayConfig;
use crate::support::pause;
use crate::support::provider::Provider;

/// How the log tells of a refresh that went well.
pub(crate) const REFRESHED: &str = "the tokens of a session were refreshed";

/// A provider whose access tokens last for so many seconds.
pub(crate) fn provider(life: u64, refresh_tokens: RefreshTokens) -> Provider {
    provider_with(ProviderOptions {
        refresh_tokens,
        lifetimes: Lifetimes { access_token: Duration::from_secs(life), ..Lifetimes::default() },
        ..ProviderOptions::default()
    })
}

/// As most providers are set up: every sign-in gets a refresh token, and each works once.
pub(crate) const ROTATING: RefreshTokens = RefreshTokens { always: true, reusable: false, leeway: Duration::ZERO };

/// With the routes of this scene.
pub(crate) fn routes(config: GatewayConfig, upstream: &str) -> GatewayConfig {
    config
        .raw(&format!("[upstreams.api]\nurl = {upstream:?}\ntoken = \"access_token\""))
        .route("/api/*", "\"signed-in\"", "api")
        .raw("[[routes]]\npath = \"/again/*\"\nallow = \"signed-in\"\nupstream = \"api\"\nretry_unauthorized = true")
        .route("/admin/*", "{ roles = [\"admin\"] }", "app")
        .route("/open/*", "\"everyone\"", "app")
        .route("/*", "\"signed-in\"", "app")
}

/// At [`HTTPS`], with access tokens of so many seconds.
pub(crate) fn scene(life: u64, dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Scene {
    scene_at(provider(life, ROTATING), dress)
}

/// With this provider.
pub(crate) fn scene_at(provider: Provider, dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Scene {
    Scene::with_upstream(GatewayConfig::new(HTTPS), provider, |config, upstream| dress(routes(config, upstream)))
}

/// What the upstream was given as a token by the latest request for this path.
pub(crate) fn token_at(scene: &Scene, path: &str) -> Option<String> {
    let requests = scene.upstream.requests();
    let latest = requests.iter().rev().find(|request| request.target.starts_with(path));
    latest.unwrap_or_else(|| panic!("nothing came for {path}")).header("authorization").map(str::to_owned)
}

/// How often the token endpoint was asked to refresh.
pub(crate) fn refreshes(scene: &Scene) -> usize {
    let asked = scene.provider.control().requests(Endpoint::Token);
    asked.iter().filter(|request| request.parameter("grant_type") == Some("refresh_token")).count()
}

/// The cookie line of a browser.
pub(crate) fn cookie(scene: &Scene, browser: &Browser) -> String {
    let url = url::Url::parse(&scene.at("/")).expect("a URL");
    browser.jar.field(&url).expect("it has cookies")
}

/// The cookies that an answer sets, as a browser would send them.
pub(crate) fn new_cookie(answer: &Response) -> String {
    let set = set_cookies(answer, "__Host-portcullis");
    assert!(!set.is_empty(), "no session in {:?}", answer.head.headers);
    let pairs: Vec<&str> = set.iter().filter_map(|line| line.split(';').next()).collect();
    pairs.join("; ")
}

/// Lets so many seconds pass, and a little more than the clocks' resolution.
pub(crate) fn seconds(count: u64) {
    pause(Duration::from_secs(count) + Duration::from_millis(200));
}
