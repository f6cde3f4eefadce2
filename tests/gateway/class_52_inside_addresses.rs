//! Attack 52: metadata, redirects and tokens that would have us call services inside. Nobody is called.
//!
//! The provider under test is at home on this machine, so only its own origin may be called here: every other loopback port is
//! "inside". A listener on one of them hears of any mistake.

use std::time::{Duration, Instant};

use portcullis::demo::provider::{
    Edit, Endpoint, IdTokenFault, Misbehaviour, ProviderOptions, SigningAlgorithm, Transport,
};
use serde_json::json;

use crate::sign_ins::SignIns;
use crate::support::browser::Browser;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;

/// Several providers in one gateway, each with another wrong.
struct Town {
    gateway: Gateway,
    upstream: Upstream,
    providers: Vec<(String, Provider)>,
}

fn provider() -> Provider {
    Provider::start_with(ProviderOptions { signing: SigningAlgorithm::Es256, ..ProviderOptions::default() })
}

fn town(wrongs: Vec<(String, Misbehaviour)>, more: &str) -> Town {
    let upstream = Upstream::start();
    let mut config = GatewayConfig::on_loopback().top("workers = 1").upstream("app", &upstream.url());
    let mut providers = Vec::new();
    for (number, (what, wrong)) in wrongs.into_iter().enumerate() {
        let provider = provider();
        provider.control().always(wrong);
        config = config.raw(&format!(
            "[providers.p{number}]\nissuer = {:?}\nclient_id = {CLIENT_ID:?}\nclient_secret = {CLIENT_SECRET:?}\n\
             userinfo = \"always\"\ntimeout = \"3s\"\n{more}",
            provider.issuer()
        ));
        providers.push((what, provider));
    }
    Town { gateway: config.start(), upstream, providers }
}

impl Town {
    /// Nobody can sign in with any of them, and it does not take long to say so.
    fn assert_nobody_signs_in(&self) {
        for (number, (what, provider)) in self.providers.iter().enumerate() {
            let began = now();
            let mut browser = Browser::new();
            let page = browser.sign_in("alice", &self.gateway.at(&format!("/.auth/login/p{number}")));
            let status = page.response.status;
            assert!((502..=503).contains(&status), "{what}: {status} {}\n{}", page.url, self.gateway.logs());
            assert!(page.url.as_str().starts_with(self.gateway.url()), "{what}: {}", page.url);
            assert_eq!(browser.peek(&self.gateway.at("/.auth/me")).status, 401, "{what}");
            assert!(provider.control().fired() > 0, "{what} did not take place");
            assert!(began.elapsed() < Duration::from_secs(8), "{what} took {:?}", began.elapsed());
        }
        assert_eq!(self.upstream.connections(), 0);
    }
}

#[allow(clippy::disallowed_methods, reason = "a test measures how long the gateway takes")]
fn now() -> Instant {
    Instant::now()
}

/// Every spelling of this machine's own addresses, and of the networks that only insiders reach.
fn insides(port: u16) -> Vec<String> {
    let mut all: Vec<String> = [
        "127.0.0.1",
        "localhost",
        "x.localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "127.0.0.2",
        "localhost.",
    ]
    .iter()
    .map(|host| format!("http://{host}:{port}/x"))
    .collect();
    all.extend(
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/x",
            "http://192.168.0.1/x",
            "http://[fd00::1]/x",
            "http://100.64.0.1/x",
        ]
        .map(str::to_owned),
    );
    all
}

#[test]
fn an_endpoint_inside_is_never_called() {
    let listener = Upstream::start();
    let port = listener.url().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    for name in ["jwks_uri", "token_endpoint"] {
        let wrongs = insides(port)
            .into_iter()
            .map(|url| (format!("{name} {url}"), Misbehaviour::Metadata(Edit::set(name, url))))
            .collect();
        town(wrongs, "").assert_nobody_signs_in();
    }
    assert_eq!(listener.connections(), 0, "somebody inside was called");
}

#[test]
fn userinfo_inside_is_never_asked_and_no_token_goes_there() {
    let listener = Upstream::start();
    let host = listener.url();
    let urls =
        [format!("{host}/userinfo"), host.replace("127.0.0.1", "localhost"), host.replace("127.0.0.1", "0.0.0.0")];
    let wrongs = urls
        .into_iter()
        .map(|url| (url.clone(), Misbehaviour::Metadata(Edit::set("userinfo_endpoint", url))))
        .collect();
    town(wrongs, "").assert_nobody_signs_in();
    assert_eq!(listener.connections(), 0, "somebody inside was called");
}

#[test]
fn other_schemes_and_odd_urls_are_no_endpoints() {
    let listener = Upstream::start();
    let authority = listener.url().trim_start_matches("http://").to_owned();
    let urls = [
        format!("gopher://{authority}/x"),
        format!("file://{authority}/etc/passwd"),
        "file:///etc/passwd".to_owned(),
        format!("ftp://{authority}/x"),
        format!("unix:{authority}"),
        format!("javascript://{authority}/%0aalert(1)"),
        "data:application/json,{}".to_owned(),
        format!("http://user:password@{authority}/x"),
        format!("http://{authority}/x#fragment"),
        format!("//{authority}/x"),
        "/token".to_owned(),
        String::new(),
        format!("http://{authority}\r\nX: y"),
    ];
    let names = ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"];
    let wrongs = urls
        .iter()
        .enumerate()
        .map(|(number, url)| {
            let name = names[number % names.len()];
            (format!("{name} {url}"), Misbehaviour::Metadata(Edit::set(name, url.as_str())))
        })
        .collect();
    town(wrongs, "").assert_nobody_signs_in();
    assert_eq!(listener.connections(), 0);
}

/// A redirect is followed by nobody: not to a place inside, not along a chain, not at home.
#[test]
fn redirects_of_a_provider_are_not_followed() {
    let listener = Upstream::start();
    let url = format!("{}/x", listener.url());
    let mut wrongs: Vec<(String, Misbehaviour)> = Vec::new();
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token, Endpoint::Userinfo] {
        for (status, hops) in [(301, 0), (302, 0), (303, 0), (307, 0), (308, 0), (302, 30)] {
            let redirect = Transport::Redirect { status, url: url.clone(), hops };
            wrongs.push((format!("{endpoint:?} {status} {hops}"), (endpoint, redirect).into()));
        }
    }
    town(wrongs, "").assert_nobody_signs_in();
    assert_eq!(listener.connections(), 0, "a redirect was followed");
}

/// Claims that name places to fetch more claims from, and keys, are data and nothing else (`OpenID` Connect Core 1.0, section 5.6.2).
#[test]
fn nothing_that_a_token_names_is_fetched() {
    let scene = SignIns::start();
    let listener = Upstream::start();
    let url = format!("{}/claims", listener.url());
    let sources = json!({"src": {"endpoint": url, "access_token": "canary-token-of-another"}});
    for (name, value) in [
        ("_claim_names", json!({"groups": "src"})),
        ("_claim_sources", sources),
        ("picture", json!(url)),
        ("profile", json!(url)),
        ("jku", json!(url)),
    ] {
        scene.control().always(IdTokenFault::claim(name, value));
    }
    let (mut browser, _) = scene.sign_in("distributed claims");
    let me = scene.me(&mut browser).text();
    assert!(!me.contains("canary-token-of-another"), "{me}");
    assert_eq!(listener.connections(), 0);
}

/// A visitor can't choose where we call either: no parameter of ours is a place to fetch from.
#[test]
fn no_parameter_of_a_visitor_makes_us_call_anybody() {
    let scene = SignIns::start();
    let listener = Upstream::start();
    let place = url::form_urlencoded::byte_serialize(format!("{}/x", listener.url()).as_bytes()).collect::<String>();
    for name in
        ["request_uri", "request", "issuer", "iss", "logo_uri", "sector_identifier_uri", "jwks_uri", "return_to"]
    {
        for path in ["/.auth/login", "/.auth/login/corp", "/.auth/callback/corp", "/.auth/logout", "/.auth/signed-out"]
        {
            let answer = Browser::new().peek(&scene.gateway.at(&format!("{path}?{name}={place}")));
            let location = answer.header("location").unwrap_or_default();
            assert!(!location.contains("request_uri=") && !location.contains("jwks_uri="), "{location}");
            assert!(!location.starts_with(&listener.url()), "{path}?{name}: {location}");
        }
    }
    assert_eq!(listener.connections(), 0);
}
