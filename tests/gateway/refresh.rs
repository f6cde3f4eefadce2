//! Tokens are refreshed ahead of their end, once, and nobody notices: attack class 34, and what oauth2-proxy's users ask for most.

use std::time::Duration;

use portcullis::base::clock::instant;
use portcullis::demo::provider::{Edit, Endpoint, Misbehaviour, Transport};
use serde_json::json;

use crate::refresh_scene::{REFRESHED, cookie, new_cookie, provider, refreshes, routes, scene, seconds, token_at};
use crate::scene::{HTTPS, SESSION, cleared, set_cookies};
use crate::support::answer::Answer;
use crate::support::client::at_once;
use crate::support::gateway::GatewayConfig;
use crate::support::{comes_true, refreshes_since};

fn slow(millis: u64) -> (Endpoint, Transport) {
    (Endpoint::Token, Transport::Slow(Duration::from_millis(millis)))
}

#[test]
fn requests_go_on_with_the_old_token_while_the_new_one_is_fetched() {
    let scene = scene(16, |config| config.session_line("refresh_ahead = \"8s\""));
    let mut browser = scene.signed_in("alice");
    assert_eq!(browser.peek(&scene.at("/api/x")).status, 200);
    let old = token_at(&scene, "/api/x");
    assert_eq!(refreshes(&scene), 0, "nothing is refreshed before its time");
    scene.provider.control().always(slow(6000));
    // The new token is good for long, so that it is not due again however slow a busy machine is.
    scene.provider.control().always(Misbehaviour::TokenAnswer(Edit::set("expires_in", 300)));
    seconds(8);
    let began = instant();
    let answer = browser.peek(&scene.at("/api/x"));
    assert!(began.elapsed() < Duration::from_secs(5), "a request waited for {:?}", began.elapsed());
    assert_eq!((answer.status, token_at(&scene, "/api/x")), (200, old.clone()));
    assert!(set_cookies(&answer, SESSION).is_empty());
    assert!(scene.gateway.logs_come_to_hold(REFRESHED));
    let answer = browser.peek(&scene.at("/api/x"));
    assert_eq!(answer.status, 200);
    assert_eq!(set_cookies(&answer, SESSION).len(), 1, "the new cookie comes with the next answer");
    let new = token_at(&scene, "/api/x");
    assert_ne!(new, old);
    let answer = browser.peek(&scene.at("/api/x"));
    assert!(set_cookies(&answer, SESSION).is_empty(), "once is enough");
    assert_eq!((token_at(&scene, "/api/x"), refreshes(&scene)), (new.clone(), 1));
    let logs = scene.gateway.logs();
    for token in [old, new].into_iter().flatten() {
        assert!(!logs.contains(token.trim_start_matches("Bearer ")), "a token stands in the log");
    }
}

#[test]
fn fifty_requests_at_the_moment_of_expiry_make_one_refresh_and_all_succeed() {
    // Long enough that a busy machine serves all of them before the next refresh is due.
    let scene = scene(8, |config| config.top("workers = 3"));
    let browser = scene.signed_in("alice");
    let old = cookie(&scene, &browser);
    scene.provider.control().always(slow(400));
    seconds(8);
    scene.upstream.forget();
    let began = instant();
    let answers = at_once(vec![scene.window("/api/x").header("Cookie", &old); 50]);
    assert!(answers.iter().all(|answer| answer.status == 200), "{:?}", statuses(&answers));
    let before = refreshes(&scene);
    assert!(refreshes_since(began, Duration::from_secs(6)).contains(&before), "{before} in {:?}", began.elapsed());
    let mut tokens: Vec<_> =
        scene.upstream.requests().iter().map(|one| one.header("authorization").map(str::to_owned)).collect();
    assert!(tokens.len() == 50 && tokens.iter().all(Option::is_some));
    tokens.sort_unstable();
    tokens.dedup();
    assert!(tokens.len() <= before, "each takes the newest along");
    // Every one of them may be the only one that the browser gets to hear.
    let newest = new_cookie(&answers[0]);
    assert!(answers.iter().all(|answer| !set_cookies(answer, SESSION).is_empty()));
    seconds(8);
    let answer = scene.with_cookies("/api/x", &[&newest]);
    assert_eq!((answer.status, refreshes(&scene)), (200, before + 1), "the newest refresh token was kept");
}

fn statuses(answers: &[crate::support::client::Response]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

#[test]
fn a_cookie_from_before_is_served_for_a_while_and_then_no_more_and_nothing_of_the_newer_one_is_lost() {
    let scene = scene(8, |config| config.session_line("refresh_grace = \"6s\"").session_line("refresh_ahead = \"2s\""));
    let mut browser = scene.signed_in("alice");
    let old = cookie(&scene, &browser);
    seconds(8);
    assert_eq!(browser.peek(&scene.at("/api/x")).status, 200);
    let newest = cookie(&scene, &browser);
    assert_ne!(old, newest);
    let answer = scene.with_cookies("/api/x", &[&old]);
    assert_eq!(answer.status, 200, "nobody has shown the new one yet");
    assert_eq!(browser.peek(&scene.at("/x")).status, 200);
    let answer = scene.with_cookies("/api/x", &[&old]);
    assert_eq!(answer.status, 200, "within the grace");
    assert!(!set_cookies(&answer, SESSION).is_empty(), "and gets the new cookie");
    seconds(7);
    let asked = refreshes(&scene);
    let answer = scene.with_cookies("/x", &[&old]);
    assert_eq!(answer.status, 302, "after the grace it is no session any more");
    assert!(!cleared(&answer).iter().any(|name| name == SESSION), "the browser may hold a newer one");
    assert_eq!(refreshes(&scene), asked, "its refresh token was used, and is not sent again");
    assert_eq!(browser.peek(&scene.at("/x")).status, 200, "the newer session goes on");
}

#[test]
fn a_browser_that_missed_the_answer_goes_on_hours_later() {
    let scene = scene(4, |config| config.session_line("refresh_grace = \"1s\""));
    let browser = scene.signed_in("alice");
    let old = cookie(&scene, &browser);
    for round in 1..=3 {
        let before = refreshes(&scene);
        seconds(4);
        let answer = scene.with_cookies("/api/x", &[&old]);
        let logs = scene.gateway.logs();
        assert_eq!((answer.status, refreshes(&scene)), (200, before + 1), "round {round}: an answer was lost: {logs}");
        new_cookie(&answer);
    }
}

#[test]
fn streamed_answers_carry_the_new_cookie_and_what_others_may_be_given_does_not() {
    let scene = scene(6, |config| config);
    let browser = scene.signed_in("alice");
    let old = cookie(&scene, &browser);
    scene
        .upstream
        .on("/events", Answer::events(&["one", "two"], Duration::from_millis(300)).header("Cache-Control", "no-store"));
    scene.upstream.on("/shared", Answer::body("for all").header("Cache-Control", "public, max-age=60"));
    seconds(6);
    let answer = scene.with_cookies("/shared", &[&old]);
    assert_eq!((answer.status, set_cookies(&answer, SESSION).len()), (200, 0));
    let (head, _body) = scene.window("/events").header("Cookie", &old).open().expect("an answer begins");
    assert_eq!(head.status, 200);
    new_cookie(&head);
    assert_eq!(refreshes(&scene), 1);
}

#[test]
fn roles_follow_the_provider_without_another_sign_in() {
    let scene = scene(8, |config| config);
    let mut browser = scene.signed_in("alice");
    assert_eq!(browser.peek(&scene.at("/admin/x")).status, 200);
    scene
        .put_person("alice", json!({"sub": "alice", "name": "Alice", "email": "alice@example.com", "roles": ["user"]}));
    assert_eq!(browser.peek(&scene.at("/admin/x")).status, 200, "nobody told us yet");
    seconds(8);
    assert_eq!(browser.peek(&scene.at("/admin/x")).status, 403);
    let (status, me) = scene.me(&mut browser);
    assert_eq!((status, &me["roles"]), (200, &json!(["user"])));
    assert_eq!(browser.peek(&scene.at("/x")).status, 200);
    assert_eq!(scene.upstream.last_request().header("x-forwarded-roles"), Some("user"));
}

#[test]
fn a_refresh_lengthens_no_absolute_lifetime() {
    let scene = scene(2, |config| config.session_line("idle = \"12s\"").session_line("lifetime = \"12s\""));
    let mut browser = scene.signed_in("alice");
    let mut alive = 0;
    for _ in 0..15 {
        seconds(1);
        if browser.peek(&scene.at("/x")).status != 200 {
            break;
        }
        alive += 1;
    }
    assert!((3..11).contains(&alive), "{alive}");
    assert!(refreshes(&scene) >= 1);
}

#[test]
fn a_session_without_a_refresh_token_ends_with_its_token_as_before() {
    let provider = provider(6, portcullis::demo::provider::RefreshTokens::default());
    let scene = crate::refresh_scene::scene_at(provider, |config| config);
    let mut browser = scene.signed_in("alice");
    assert_eq!(browser.peek(&scene.at("/api/x")).status, 200);
    seconds(6);
    assert_eq!(browser.peek(&scene.at("/x")).status, 200, "an application that needs no token goes on");
    assert_eq!(refreshes(&scene), 0);
}

#[test]
fn a_sign_out_while_the_refresh_is_under_way_stays_one() {
    let scene = scene(6, |config| config);
    let mut browser = scene.signed_in("alice");
    let old = cookie(&scene, &browser);
    scene.provider.control().always(slow(3000));
    seconds(5);
    assert_eq!(browser.peek(&scene.at("/x")).status, 200);
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    browser.peek(&scene.at("/.auth/logout"));
    assert!(comes_true(|| refreshes(&scene) == 1), "{}", scene.gateway.logs());
    seconds(4);
    let answer = scene.with_cookies("/x", &[&old]);
    assert_eq!(answer.status, 302);
    assert!(set_cookies(&answer, "__Host-portcullis=").is_empty(), "what came late opens nothing");
}

#[test]
fn two_gateways_that_share_nothing_never_write_what_is_older() {
    let first = scene(8, |config| config.session_line("refresh_ahead = \"1s\""));
    let upstream = first.upstream.url();
    let second = GatewayConfig::new(HTTPS)
        .client(first.provider.issuer(), crate::support::provider::CLIENT_ID, crate::support::provider::CLIENT_SECRET)
        .upstream("app", &upstream);
    let second = routes(second, &upstream).session_line("refresh_ahead = \"1s\"").start();
    let ask = |cookie: &str| {
        let window = second.client().named("app.example.com").get("/x");
        window.headers(&[("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Cookie", cookie)]).send()
    };
    let mut browser = first.signed_in("alice");
    let old = cookie(&first, &browser);
    assert_eq!(ask(&old).status, 200, "both open the cookie");
    seconds(8);
    assert_eq!(browser.peek(&first.at("/api/x")).status, 200);
    let newest = cookie(&first, &browser);
    // A request that was under way carries the old cookie to the other gateway, whose refresh comes too late.
    let answer = ask(&old);
    assert_eq!(answer.status, 302);
    assert!(
        !cleared(&answer).iter().any(|name| name == SESSION),
        "it must not sign the browser out: {:?}",
        cleared(&answer)
    );
    assert!(set_cookies(&answer, "__Host-portcullis=").is_empty());
    let answer = ask(&newest);
    assert_eq!(answer.status, 200, "the newer cookie opens there too: {}", second.logs());
    let answer = ask(&old);
    assert_eq!(answer.status, 200, "which has learned of the newer session from it");
    new_cookie(&answer);
}
