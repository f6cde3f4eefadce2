//! When something that a decision needs is gone or answers nonsense, nobody passes.

use portcullis::demo::provider::{Edit, Endpoint, KeysFault, Misbehaviour, Transport};
use serde_json::json;

use crate::scene::{HTTPS, SESSION, Scene, cookies, provider};
use crate::support::comes_true;
use crate::support::gateway::GatewayConfig;

#[test]
fn without_the_provider_nobody_passes_and_nobody_is_sent_in_circles() {
    let provider = provider();
    provider.pause();
    let scene = Scene::with(GatewayConfig::new(HTTPS), provider, |config| config);
    let answer = scene.window("/private").send();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None));
    assert!(answer.header("retry-after").is_some() && answer.text().contains("Try again"), "{}", answer.text());
    let script = scene.gateway.client().named("app.example.com").get("/private").header("Accept", "application/json");
    assert_eq!(script.send().status, 401);
    assert_eq!(scene.upstream.count(), 0);
    scene.provider.resume();
    // It is asked again after a few seconds, as Retry-After said.
    assert!(comes_true(|| scene.window("/private").send().status == 302), "{}", scene.gateway.logs());
    scene.signed_in("alice");
}

#[test]
fn a_provider_that_fails_while_someone_comes_back_signs_nobody_in() {
    let faults = [
        Misbehaviour::Transport(Endpoint::Token, Transport::Status(500)),
        Misbehaviour::Transport(Endpoint::Token, Transport::Cut),
        Misbehaviour::TokenRefused { error: "invalid_grant".to_owned(), description: "<b>x</b>".to_owned() },
        Misbehaviour::TokenAnswer(Edit::remove("id_token")),
        Misbehaviour::TokenAnswer(Edit::Whole(json!([]))),
        Misbehaviour::Transport(Endpoint::Jwks, Transport::Status(500)),
        Misbehaviour::Keys(KeysFault::Edit(Edit::set("keys", json!([])))),
    ];
    for fault in faults {
        // A gateway of its own, which has not read the keys yet.
        let provider = provider();
        if matches!(fault, Misbehaviour::Transport(Endpoint::Jwks, _) | Misbehaviour::Keys(_)) {
            provider.control().always(fault.clone());
        }
        let scene = Scene::with(GatewayConfig::new(HTTPS), provider, |config| config);
        scene.provider.control().always(fault.clone());
        let mut browser = scene.browser();
        let page = browser.sign_in("alice", &scene.at("/private"));
        assert!((400..=503).contains(&page.response.status), "{fault:?}: {}", page.response.status);
        assert!(!page.text().contains("<b>"), "{fault:?}: {}", page.text());
        assert_eq!(cookies(&browser, SESSION), [], "{fault:?}");
        assert_eq!(scene.me(&mut browser).0, 401, "{fault:?}");
        assert_eq!(scene.upstream.count(), 0, "{fault:?}");
        assert!(scene.provider.control().fired() > 0, "{fault:?} never took place");
    }
}

#[test]
fn cookies_that_are_no_session_are_nobody() {
    let scene = Scene::https(|config| config);
    let garbage = [
        "",
        "1",
        "1.",
        "1.x",
        "1.%00",
        "1.\u{e9}",
        "{}",
        "null",
        "true",
        "1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.",
        "99999999.x",
        "64.x",
        "-1.x",
        "2.x",
        "\"1.x\"",
        "alice",
    ];
    for value in garbage {
        for extra in ["", "; __Host-portcullis.1=x", "; __Host-portcullis.63=x"] {
            let answer = scene.with_cookies("/private", &[&format!("{SESSION}={value}{extra}")]);
            assert_eq!(answer.status, 302, "{value}{extra}: {}", answer.text());
            let me = scene.with_cookies("/.auth/me", &[&format!("{SESSION}={value}{extra}")]);
            assert_eq!(me.status, 401, "{value}{extra}");
        }
    }
    assert_eq!(scene.upstream.count(), 0);
}
