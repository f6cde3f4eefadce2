//! The provider goes away and comes back: whoever is signed in stays, what is public stays open, newcomers read why not, and
//! nobody restarts anything.

use std::time::Duration;

use portcullis::demo::provider::{Endpoint, ProviderOptions, Transport};

use crate::sign_ins::SignIns;
use crate::support::browser::{Browser, Page};
use crate::support::gateway::GatewayConfig;
use crate::support::provider::Provider;
use crate::support::{PATIENCE, pause};

const TICK: Duration = Duration::from_millis(200);

fn with_public(config: GatewayConfig) -> GatewayConfig {
    config.route("/public/*", "\"everyone\"", "app").route("/*", "\"signed-in\"", "app")
}

fn try_to_sign_in(scene: &SignIns) -> Page {
    Browser::new().open(&scene.gateway.at("/app?x=1"))
}

/// A clear page: 503, when to come back, a link to try again that leads to where the person wanted to go.
fn assert_not_now(scene: &SignIns, page: &Page) {
    scene.assert_says_no("the provider is away", page);
    assert_eq!(page.response.status, 503, "{}", page.text());
    let seconds = page.response.header("retry-after").and_then(|value| value.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{:?}", page.response.head.headers);
    let text = page.text();
    let again = crate::support::forms::links(&text).into_iter().find(|link| link.contains("/.auth/login"));
    assert!(again.is_some_and(|link| link.contains("return_to=%2Fapp%3Fx%3D1")), "{text}");
    assert!(text.contains("Try again") && !text.contains("http-equiv"), "a page must not reload itself: {text}");
}

/// Tries again and again, as people do, until it works.
fn assert_recovers(scene: &SignIns) {
    let mut left = PATIENCE;
    loop {
        let (_, page) = scene.attempt();
        if page.response.status == 200 {
            return;
        }
        assert_eq!(page.response.status, 503, "{}", page.text());
        assert!(!left.is_zero(), "it never recovered:\n{}", scene.gateway.logs());
        pause(TICK);
        left = left.saturating_sub(TICK);
    }
}

#[test]
fn a_gateway_starts_and_serves_without_its_provider_and_recovers() {
    let provider = Provider::start();
    provider.pause();
    let scene = SignIns::between(provider, with_public);
    assert_eq!(scene.gateway.get("/public/x").send().status, 200);
    for _ in 0..3 {
        assert_not_now(&scene, &try_to_sign_in(&scene));
    }
    let program = scene.gateway.get("/app").header("Accept", "application/json").send();
    assert_eq!(program.status, 401, "a program is told to sign in, and waits for nobody");
    scene.provider.resume();
    assert_recovers(&scene);
}

#[test]
fn sessions_and_public_routes_go_on_while_the_provider_is_away() {
    let scene = SignIns::start_with(ProviderOptions::default(), with_public);
    let (mut alice, _) = scene.sign_in("before");
    scene.provider.pause();
    let mut left = PATIENCE;
    // A provider that answered a moment ago is believed to be there for a few seconds.
    let page = loop {
        let answer = Browser::new().peek(&scene.gateway.at("/app?x=1"));
        if answer.status != 302 {
            break try_to_sign_in(&scene);
        }
        assert!(!left.is_zero(), "people are still sent to a provider that is away");
        pause(TICK);
        left = left.saturating_sub(TICK);
    };
    assert_not_now(&scene, &page);
    for _ in 0..3 {
        assert_eq!(alice.peek(&scene.gateway.at("/app")).status, 200, "who is signed in stays signed in");
        assert_eq!(scene.me(&mut alice).status, 200);
        assert_eq!(scene.gateway.get("/public/x").send().status, 200);
        assert_not_now(&scene, &try_to_sign_in(&scene));
    }
    scene.provider.resume();
    assert_recovers(&scene);
    assert_eq!(alice.peek(&scene.gateway.at("/app")).status, 200);
}

/// It goes away between the two halves of a sign-in, or answers with an error of its own: a page, and another try works.
#[test]
fn a_sign_in_that_the_provider_drops_can_be_tried_again() {
    let scene = SignIns::start();
    let mut browser = Browser::new();
    browser.stop_before = Some("/.auth/callback/".to_owned());
    let callback = browser.sign_in("alice", &scene.gateway.at("/app?x=1")).url;
    scene.provider.pause();
    browser.stop_before = None;
    let page = browser.open(callback.as_str());
    assert_not_now(&scene, &page);
    scene.provider.resume();
    assert_eq!(browser.sign_in("alice", &scene.gateway.at("/app")).response.status, 200);
    for status in [500, 502, 503, 429] {
        scene.control().once((Endpoint::Token, Transport::Status(status)));
        let page = Browser::new().sign_in("alice", &scene.gateway.at("/app?x=1"));
        assert_not_now(&scene, &page);
    }
    scene.assert_accepted("a good sign-in after it");
}

/// Many who want to sign in at once at a provider that hangs all get their answer in bounded time, and others are served meanwhile.
#[test]
fn a_provider_that_hangs_holds_up_nobody_else() {
    let provider = Provider::start();
    provider.control().always((Endpoint::Discovery, Transport::Hang));
    let scene = SignIns::between(provider, |config| with_public(config).provider_line("timeout = \"2s\""));
    let url = scene.gateway.at("/app?x=1");
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || Browser::new().open(&url))
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(scene.gateway.get("/public/x").send().status, 200);
    }
    for thread in waiting {
        assert_not_now(&scene, &thread.join().expect("an answer comes"));
    }
    scene.control().behave();
    assert_recovers(&scene);
}
