//! What a provider may do at a refresh: be away, be wrong, be brief. Only its own word ends a session.

use std::time::Duration;

use portcullis::base::clock::instant;
use portcullis::demo::provider::{Edit, Endpoint, IdTokenFault, Misbehaviour, RefreshTokens, Transport};
use serde_json::{Value, json};

use crate::refresh_scene::{ROTATING, cookie, provider, refreshes, scene, seconds, token_at};
use crate::scene::{SESSION, Scene, cleared, set_cookies};
use crate::support::browser::Browser;
use crate::support::comes_true;

fn refused(error: &str) -> Misbehaviour {
    Misbehaviour::TokenRefused { error: error.to_owned(), description: String::new() }
}

/// Asserts that nobody is signed in by the browser's cookie, and that a sign-in helps at once.
fn assert_over(scene: &Scene, browser: &mut Browser, case: &str) {
    scene.upstream.forget();
    let answer = browser.peek(&scene.at("/x"));
    assert_eq!(answer.status, 302, "{case}: {}", scene.gateway.logs());
    assert!(answer.header("location").is_some_and(|to| to.starts_with(scene.provider.issuer())), "{case}");
    assert!(!cleared(&answer).iter().any(|name| name == SESSION), "{case}: another gateway may have been faster");
    assert_eq!(scene.upstream.count(), 0, "{case}");
    assert_eq!(scene.me(browser).0, 401, "{case}");
    scene.provider.control().behave();
    let page = browser.sign_in("alice", &scene.at("/api/x"));
    assert_eq!(page.response.status, 200, "{case}: one sign-in, and no loop");
}

#[test]
fn a_provider_that_is_away_ends_no_session_and_what_needs_the_token_waits_for_it() {
    let scene = scene(12, |config| config.session_line("refresh_ahead = \"6s\""));
    let mut browser = scene.signed_in("alice");
    scene.provider.pause();
    seconds(6);
    for _ in 0..3 {
        assert_eq!(browser.peek(&scene.at("/api/x")).status, 200, "the old token is good still");
    }
    seconds(6);
    let began = instant();
    let answer = browser.peek(&scene.at("/api/x"));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.header("retry-after").is_some() && answer.text().contains("You are still signed in"),
        "{}",
        answer.text()
    );
    assert!(cleared(&answer).is_empty());
    let program =
        scene.gateway.client().named("app.example.com").get("/api/x").header("Cookie", &cookie(&scene, &browser));
    let answer = program.header("Accept", "application/json").send();
    assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/problem+json")));
    let answer = browser.peek(&scene.at("/x"));
    assert_eq!(answer.status, 200, "an application that needs no token goes on");
    assert_eq!(browser.peek(&scene.at("/open/x")).status, 200);
    assert!(began.elapsed() < Duration::from_secs(8), "nobody waits long for a provider that is away");
    scene.provider.resume();
    assert!(comes_true(|| browser.peek(&scene.at("/api/x")).status == 200), "{}", scene.gateway.logs());
    assert_eq!(refreshes(&scene), 1, "the refresh token was kept for this");
}

#[test]
fn nonsense_and_trouble_of_the_provider_end_no_session() {
    let scene = scene(3, |config| config);
    let mut browser = scene.signed_in("alice");
    let garbage = |kind: &str, bytes: &[u8]| Transport::Body { content_type: kind.to_owned(), bytes: bytes.to_vec() };
    let json = "application/json";
    let faults: Vec<Misbehaviour> = vec![
        (Endpoint::Token, Transport::Status(500)).into(),
        (Endpoint::Token, Transport::Status(503)).into(),
        (Endpoint::Token, Transport::Status(429)).into(),
        (Endpoint::Token, Transport::Status(404)).into(),
        (Endpoint::Token, garbage("text/html", b"<html>")).into(),
        (Endpoint::Token, garbage(json, b"\xff\xfe")).into(),
        (Endpoint::Token, garbage(json, b"{}")).into(),
        (Endpoint::Token, garbage(json, b"")).into(),
        (Endpoint::Token, Transport::Endless(1 << 24)).into(),
        (Endpoint::Token, Transport::Redirect { status: 307, url: scene.upstream.url(), hops: 0 }).into(),
        refused("invalid_client"),
        refused("server_error"),
        refused("invalid_request"),
    ];
    seconds(3);
    for fault in faults {
        let case = format!("{fault:?}");
        let before = scene.provider.control().count(Endpoint::Token);
        scene.provider.control().behave();
        scene.provider.control().always(fault);
        assert!(
            comes_true(|| {
                assert_eq!(browser.peek(&scene.at("/x")).status, 200, "{case}");
                scene.provider.control().count(Endpoint::Token) > before
            }),
            "{case}"
        );
        assert_eq!(browser.peek(&scene.at("/x")).status, 200, "{case}");
        assert_eq!(scene.me(&mut browser).0, 200, "{case}");
        // The pause after failures grows; a session of its own keeps this test short.
        scene.provider.control().behave();
        browser = scene.signed_in("alice");
        seconds(3);
    }
}

#[test]
fn the_providers_word_that_the_grant_is_over_ends_the_session_at_the_next_request() {
    let scene = scene(3, |config| config.session_line("refresh_ahead = \"1s\""));
    for error in ["invalid_grant", "interaction_required"] {
        let mut browser = scene.signed_in("alice");
        scene.provider.control().always(refused(error));
        seconds(2);
        assert!(comes_true(|| browser.peek(&scene.at("/x")).status != 200), "{error}");
        assert_over(&scene, &mut browser, error);
    }
}

#[test]
fn an_answer_about_somebody_else_or_of_somebody_else_ends_the_session_and_nothing_of_it_is_used() {
    let scene = scene(3, |config| config);
    let faults: Vec<(&str, Misbehaviour)> = vec![
        ("another subject", IdTokenFault::claim("sub", "bob").into()),
        ("another issuer", IdTokenFault::WrongIssuer.into()),
        ("another audience", IdTokenFault::WrongAudience.into()),
        ("another party", IdTokenFault::OtherAzp.into()),
        ("a nonce that nobody sent", IdTokenFault::WrongNonce.into()),
        ("no signature", IdTokenFault::NoAlgorithm { spelling: "none".to_owned(), signature: false }.into()),
        ("a bad signature", IdTokenFault::BadSignature.into()),
        ("a stranger's key", IdTokenFault::StrangerKey.into()),
        ("expired", IdTokenFault::Expired.into()),
        ("no token at all", Misbehaviour::TokenAnswer(Edit::set("id_token", "a.b.c"))),
    ];
    for (case, fault) in faults {
        let mut browser = scene.signed_in("alice");
        scene.upstream.forget();
        scene.provider.control().always(Misbehaviour::TokenAnswer(Edit::set("access_token", "not-to-be-used")));
        scene.provider.control().always(fault);
        seconds(3);
        let answer = browser.peek(&scene.at("/api/x"));
        assert_eq!(answer.status, 302, "{case}: {}", scene.gateway.logs());
        assert!(scene.upstream.requests().iter().all(|request| !request.mentions("not-to-be-used")), "{case}");
        assert_over(&scene, &mut browser, case);
    }
    assert!(!scene.gateway.logs().contains("not-to-be-used"));
}

#[test]
fn what_a_brief_answer_leaves_out_stays() {
    let scene = scene(5, |config| config);
    let control = scene.provider.control();
    let mut browser = scene.signed_in("alice");
    let mut before = scene.me(&mut browser).1;
    for (case, edits) in [
        ("no new refresh token", vec![Edit::remove("refresh_token")]),
        ("no ID token", vec![Edit::remove("id_token")]),
        ("no life", vec![Edit::remove("expires_in")]),
        ("a narrower scope", vec![Edit::set("scope", "openid")]),
        ("an odd spelling of the type", vec![Edit::set("token_type", "bEARER")]),
        (
            "as little as there can be",
            vec![Edit::remove("id_token"), Edit::remove("expires_in"), Edit::remove("scope")],
        ),
    ] {
        control.forget();
        seconds(5);
        for edit in edits {
            control.once(Misbehaviour::TokenAnswer(edit));
        }
        let answer = browser.peek(&scene.at("/api/x"));
        assert_eq!((answer.status, refreshes(&scene)), (200, 1), "{case}: {}", scene.gateway.logs());
        assert!(!set_cookies(&answer, SESSION).is_empty(), "{case}");
        let after = scene.me(&mut browser).1;
        for name in ["sub", "roles", "groups", "email", "authenticated_at", "created_at"] {
            assert_eq!(after[name], before[name], "{case}: {name}");
        }
        if case == "no new refresh token" {
            // This provider ended the one that it was sent, and gave no other: the session lives on the access token alone.
            browser = scene.signed_in("alice");
            before = scene.me(&mut browser).1;
        }
    }
}

#[test]
fn what_providers_write_in_their_own_way_ends_neither_a_sign_in_nor_a_session() {
    let reusable = RefreshTokens { reusable: true, ..ROTATING };
    let scene = crate::refresh_scene::scene_at(provider(5, reusable), |config| config);
    let control = scene.provider.control();
    let peculiar = |name: &str, value: Value| Misbehaviour::TokenAnswer(Edit::set(name, value));
    control.once(peculiar("expires_in", json!("5")));
    let mut browser = scene.signed_in("alice");
    let sub = scene.me(&mut browser).1["sub"].clone();
    for (name, value) in [
        ("expires_in", json!("5")),
        ("refresh_token", json!("")),
        ("id_token", json!("")),
        ("scope", json!(["openid", "profile"])),
        ("expires_in", json!("soon")),
        ("expires_in", json!(-1)),
        ("expires_in", json!(0)),
        ("expires_in", json!(5.5)),
    ] {
        control.forget();
        seconds(5);
        control.once(peculiar(name, value.clone()));
        let answer = browser.peek(&scene.at("/api/x"));
        assert_eq!((answer.status, refreshes(&scene)), (200, 1), "{name} {value}: {}", scene.gateway.logs());
        assert_eq!(scene.me(&mut browser).1["sub"], sub, "{name} {value}");
        assert_eq!(browser.peek(&scene.at("/api/x")).status, 200, "{name} {value}");
        assert_eq!(refreshes(&scene), 1, "{name} {value}: its token lasts as long as the one before");
    }
    control.once(peculiar("refresh_token", json!("")));
    let mut without = scene.signed_in("alice");
    assert_eq!(
        without.peek(&scene.at("/api/x")).status,
        200,
        "a sign-in that brings an empty refresh token brings none"
    );
    seconds(5);
    control.forget();
    assert_eq!((without.peek(&scene.at("/x")).status, refreshes(&scene)), (200, 0));
}

#[test]
fn groups_from_userinfo_never_vanish_because_it_is_away() {
    let scene = scene(6, |config| config.provider_line("userinfo = \"always\""));
    let control = scene.provider.control();
    let claims = json!({"sub": "alice", "name": "Alice", "email": "alice@example.com", "roles": ["admin"]});
    scene.put_person("alice", claims);
    let mut browser = scene.signed_in("alice");
    control.always((Endpoint::Userinfo, Transport::Status(503)));
    seconds(6);
    assert_eq!(browser.peek(&scene.at("/admin/x")).status, 200);
    assert_eq!(browser.peek(&scene.at("/api/x")).status, 200);
    assert_eq!(refreshes(&scene), 1, "the new tokens are used all the same");
    control.behave();
    control.always(Misbehaviour::Userinfo(Edit::set("sub", "bob")));
    seconds(6);
    assert_eq!(browser.peek(&scene.at("/api/x")).status, 302);
    assert_over(&scene, &mut browser, "somebody else's claims");
    assert!(token_at(&scene, "/api/x").is_some());
}
