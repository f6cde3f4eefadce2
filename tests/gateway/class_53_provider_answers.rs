//! Attack 53: answers without end, bombs, drips, wrong types, JSON that is none. Each is bounded, refused, and forgotten.

use std::time::{Duration, Instant};

use portcullis::demo::provider::{Endpoint, KeysFault, ProviderOptions, SigningAlgorithm, Transport};

use crate::sign_ins::SignIns;
use crate::support::browser::Browser;
use crate::support::gateway::GatewayConfig;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;

/// What a refusal may add to the memory of the gateway, in KiB: buffers and an allocator's slack, not an answer of gigabytes.
const SLACK: u64 = 48 * 1024;

#[allow(clippy::disallowed_methods, reason = "a test measures how long the gateway takes")]
fn now() -> Instant {
    Instant::now()
}

/// How long the gateway waits for a provider.
const TIMEOUT: &str = "timeout = \"2s\"";
/// How long a sign-in may take that meets one wrong answer: that long, and what a busy machine takes for the rest, but less than the
/// usual bound of 10 seconds.
const BOUND: Duration = Duration::from_millis(9_500);

/// What may come in place of the right answer, whatever was asked.
fn wrongs() -> Vec<Transport> {
    let json = |bytes: &[u8]| Transport::Body { content_type: "application/json".to_owned(), bytes: bytes.to_vec() };
    let typed =
        |content_type: &str| Transport::Header { name: "content-type".to_owned(), value: content_type.to_owned() };
    let said = |name: &str, value: &str| Transport::Header { name: name.to_owned(), value: value.to_owned() };
    vec![
        Transport::Endless(5 << 30),
        Transport::GzipBomb(8 << 20),
        Transport::Hang,
        Transport::Trickle(Duration::from_millis(200)),
        Transport::Slow(Duration::from_secs(20)),
        Transport::DeepJson(10_000),
        Transport::DeepJson(1_000_000),
        Transport::NotANumber,
        Transport::ByteOrderMark,
        Transport::Cut,
        Transport::Status(500),
        Transport::Status(404),
        Transport::Status(401),
        Transport::Status(429),
        Transport::Status(204),
        said("content-encoding", "gzip"),
        said("content-encoding", "br, gzip"),
        json(b""),
        json(b"null"),
        json(b"[]"),
        json(b"{"),
        json(b"{}{}"),
        json(b"{\"a\":\"\\ud800\"}"),
        json(b"{\"a\":\"\xff\xfe\"}"),
        json(b"{} \x00"),
        json(&[b'0'; 200_000]),
        typed("text/html"),
        typed("application/jose"),
        typed("text/json, application/json"),
    ]
}

/// The document and the key set may be of any media type, which they are not read by; every other wrong ends the sign-in.
fn matters(endpoint: Endpoint, wrong: &Transport) -> bool {
    let typed = matches!(wrong, Transport::Header { name, .. } if name == "content-type");
    !(typed && matches!(endpoint, Endpoint::Discovery | Endpoint::Jwks))
}

#[test]
fn every_wrong_answer_of_token_and_userinfo_is_bounded() {
    let scene = SignIns::start_with(ProviderOptions::default(), |config| config.provider_line(TIMEOUT));
    scene.assert_accepted("warm");
    let before = scene.gateway.memory();
    for endpoint in [Endpoint::Token, Endpoint::Userinfo] {
        for wrong in wrongs() {
            let what = format!("{endpoint:?} {wrong:?}").chars().take(90).collect::<String>();
            let began = now();
            scene.control().once((endpoint, wrong));
            scene.assert_refused_at_last(&what);
            assert_eq!(scene.control().fired(), 1, "{what} did not take place");
            assert!(began.elapsed() < BOUND, "{what} took {:?}", began.elapsed());
        }
    }
    let after = scene.gateway.memory();
    assert!(after.peak < before.peak + SLACK, "{before:?} {after:?}");
    scene.assert_accepted("a good sign-in after all of them");
}

/// One gateway, a provider for each wrong: what is wrong with the document or the keys is wrong before anybody is sent to sign in.
#[test]
fn every_wrong_document_and_key_set_is_bounded() {
    let upstream = Upstream::start();
    let mut config = GatewayConfig::on_loopback().top("workers = 1").upstream("app", &upstream.url());
    let mut providers = Vec::new();
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks] {
        for wrong in wrongs().into_iter().filter(|wrong| matters(endpoint, wrong)) {
            let what = format!("{endpoint:?} {wrong:?}").chars().take(90).collect::<String>();
            let provider = Provider::start_with(ProviderOptions {
                signing: SigningAlgorithm::Es256,
                ..ProviderOptions::default()
            });
            provider.control().always((endpoint, wrong));
            config = config.raw(&format!(
                "[providers.p{}]\nissuer = {:?}\nclient_id = {CLIENT_ID:?}\nclient_secret = {CLIENT_SECRET:?}\n{TIMEOUT}",
                providers.len(),
                provider.issuer()
            ));
            providers.push((what, provider));
        }
    }
    let gateway = config.start();
    for (number, (what, provider)) in providers.iter().enumerate() {
        let began = now();
        let mut browser = Browser::new();
        let page = browser.open(&gateway.at(&format!("/.auth/login/p{number}")));
        let status = page.response.status;
        assert!(matches!(status, 500 | 502 | 503), "{what}: {status} {}\n{}", page.url, gateway.logs());
        assert_eq!(provider.control().count(Endpoint::Authorize), 0, "{what}: somebody was sent to sign in");
        assert!(provider.control().fired() > 0, "{what} did not take place");
        assert!(began.elapsed() < BOUND, "{what} took {:?}", began.elapsed());
    }
    let memory = gateway.memory();
    assert!(memory.peak < 160 * 1024, "{memory:?}");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn key_sets_with_too_much_in_them_are_bounded() {
    for (what, fault, fits) in [
        ("300 other keys", KeysFault::Many(300), true),
        ("a megabyte of padding", KeysFault::Padding(1 << 20), false),
        ("50 MB of padding", KeysFault::Padding(50 << 20), false),
    ] {
        let provider = Provider::start();
        provider.control().always(fault);
        let scene = SignIns::between(provider, |config| config.provider_line("timeout = \"5s\""));
        let (mut browser, page) = scene.attempt();
        if fits {
            assert!(matches!(page.response.status, 200 | 502), "{what}: {}", page.response.status);
        } else {
            scene.assert_says_no(what, &page);
            scene.assert_opens_nothing(what, &mut browser);
        }
        assert!(scene.control().fired() > 0);
        assert!(scene.gateway.memory().peak < 160 * 1024, "{what}: {:?}", scene.gateway.memory());
    }
}

/// A provider's cookies are nothing to us: we keep none, send none, and hand none on.
#[test]
fn cookies_of_a_provider_are_neither_kept_nor_handed_on() {
    let scene = SignIns::start();
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token, Endpoint::Userinfo] {
        let value = "planted=canary; Path=/".to_owned();
        scene.control().always((endpoint, Transport::Header { name: "set-cookie".to_owned(), value }));
    }
    for round in 0..2 {
        let (browser, seen) = scene.sign_in("with cookies");
        assert!(scene.control().fired() > 0);
        assert!(!browser.jar.all().iter().any(|cookie| cookie.name == "planted"), "{round}");
        assert!(!seen.mentions("planted"), "{:?}", seen.head.headers);
        for endpoint in [Endpoint::Token, Endpoint::Userinfo] {
            for request in scene.control().requests(endpoint) {
                assert_eq!(request.header("cookie"), None, "{endpoint:?}");
            }
        }
    }
}
