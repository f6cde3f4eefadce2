//! npm's oidc-provider with refresh tokens that work once, and reuse detection: one refresh for many requests, and no alarm.

use std::time::Duration;

use portcullis::base::clock::instant;
use url::Url;

use crate::support::browser::Browser;
use crate::support::client::at_once;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::parts::{self, OidcProvider, Part};
use crate::support::upstream::Upstream;
use crate::support::{comes_true, pause, refreshes_since};

/// After this an access token is over.
const OVER: Duration = Duration::from_millis(7200);
/// When the refresh of a new one is due at the earliest: a second before its end, and times are in whole seconds.
const AGAIN: Duration = Duration::from_secs(5);

struct Scene {
    gateway: Gateway,
    provider: OidcProvider,
    upstream: Upstream,
    public_url: String,
}

fn scene(test: &str) -> Option<Scene> {
    if !parts::are_there(test, &[Part::OidcProvider]) {
        return None;
    }
    let config = GatewayConfig::on_loopback();
    let public_url = config.public_url().to_owned();
    let variables = [("REFRESH_TOKENS", "rotating"), ("ACCESS_TOKEN_SECONDS", "7")];
    let provider = OidcProvider::start_with(&public_url, &variables);
    let upstream = Upstream::start();
    let gateway = dress(config, &provider, &upstream).start();
    Some(Scene { gateway, provider, upstream, public_url })
}

fn dress(config: GatewayConfig, provider: &OidcProvider, upstream: &Upstream) -> GatewayConfig {
    config
        .top("workers = 3")
        .provider(provider.issuer(), OidcProvider::SECRET)
        .provider_line("scopes = [\"openid\", \"profile\", \"email\", \"groups\"]")
        .raw(&format!("[upstreams.api]\nurl = {:?}\ntoken = \"access_token\"", upstream.url()))
}

impl Scene {
    fn refreshes(&self) -> usize {
        self.provider.logs().matches("granted refresh_token").count()
    }

    fn cookie(&self, browser: &Browser) -> String {
        browser.jar.field(&Url::parse(&self.gateway.at("/")).expect("a URL")).expect("it has cookies")
    }
}

#[test]
fn fifty_requests_at_each_expiry_make_one_refresh_and_raise_no_alarm() {
    let Some(scene) = scene("interop::refresh_rotating") else { return };
    let mut browser = Browser::new();
    assert_eq!(browser.sign_in("alice", &scene.gateway.at("/x")).response.status, 200);
    let mut tokens = Vec::new();
    for round in 1..=3 {
        pause(OVER);
        let cookie = scene.cookie(&browser);
        let (before, began) = (scene.refreshes(), instant());
        let answers =
            at_once(vec![scene.gateway.get("/x").headers(&[("Accept", "text/html"), ("Cookie", &cookie)]); 50]);
        assert!(answers.iter().all(|answer| answer.status == 200), "round {round}: {}", scene.gateway.logs());
        let asked = scene.refreshes() - before;
        assert!(
            refreshes_since(began, AGAIN).contains(&asked),
            "{asked} in {:?}: {}",
            began.elapsed(),
            scene.provider.logs()
        );
        let url = Url::parse(&scene.gateway.at("/x")).expect("a URL");
        for field in answers[0].head.all("set-cookie") {
            browser.jar.set(&url, field);
        }
        tokens.push(scene.upstream.last_request().header("authorization").map(str::to_owned));
    }
    tokens.dedup();
    assert!(tokens.len() == 3 && tokens.iter().all(Option::is_some));
    assert!(!scene.provider.logs().contains("grant.revoked"), "{}", scene.provider.logs());
    let seen = scene.upstream.last_request();
    assert_eq!(seen.header("x-forwarded-email"), Some("alice@example.com"));
    assert!(
        seen.header("x-forwarded-groups").is_some_and(|groups| groups.contains("admins")),
        "from UserInfo, each time"
    );
}

#[test]
fn a_refresh_token_that_another_gateway_used_costs_one_clean_sign_in() {
    let Some(scene) = scene("interop::refresh_reuse") else { return };
    let mut browser = Browser::new();
    browser.sign_in("alice", &scene.gateway.at("/x"));
    let old = scene.cookie(&browser);
    let other = dress(GatewayConfig::new(&scene.public_url), &scene.provider, &scene.upstream).start();
    pause(OVER);
    assert_eq!(browser.peek(&scene.gateway.at("/x")).status, 200);
    let host = scene.public_url.trim_start_matches("http://");
    let stale = other.client().named(host).get("/x").headers(&[("Accept", "text/html"), ("Cookie", &old)]).send();
    assert_eq!(stale.status, 302, "{}", other.logs());
    assert!(comes_true(|| scene.provider.logs().contains("grant.revoked")), "this provider ends the whole grant then");
    // The session that was refreshed in time goes on until its token ends, and one sign-in sets all right.
    assert_eq!(browser.peek(&scene.gateway.at("/.auth/me")).status, 200);
    pause(OVER);
    let page = browser.sign_in("alice", &scene.gateway.at("/x"));
    assert_eq!((page.response.status, page.url.path()), (200, "/x"), "{}", scene.gateway.logs());
    assert_eq!(browser.peek(&scene.gateway.at("/x")).status, 200);
}
