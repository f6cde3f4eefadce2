//! A refresh before its time: `POST /.auth/refresh`, and the one more try after an upstream's 401.

use std::time::Duration;

use portcullis::demo::provider::{Endpoint, Misbehaviour, RefreshTokens, Transport};
use serde_json::json;

use crate::refresh_scene::{cookie, new_cookie, provider, refreshes, scene, scene_at, token_at};
use crate::scene::{SESSION, Scene, cleared, set_cookies};
use crate::support::answer::Answer;
use crate::support::client::{Request, at_once};
use crate::support::comes_true;

const REFRESH: &str = "/.auth/refresh";

/// A front end's call from a page of this site.
fn call(scene: &Scene, cookie: &str) -> Request {
    let request = scene.gateway.client().named("app.example.com").request("POST", REFRESH);
    let fields = [("Accept", "application/json"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")];
    request.headers(&fields).header("Sec-Fetch-Dest", "empty").header("Cookie", cookie)
}

#[test]
fn a_front_end_gets_new_tokens_and_claims_now_and_is_told_for_how_long() {
    let scene = scene(300, |config| config);
    let mut browser = scene.signed_in("alice");
    browser.peek(&scene.at("/api/x"));
    let old = (cookie(&scene, &browser), token_at(&scene, "/api/x"));
    scene
        .put_person("alice", json!({"sub": "alice", "name": "Alice", "email": "alice@example.com", "roles": ["user"]}));
    let answer = call(&scene, &old.0).send();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let told = answer.json();
    assert!(
        told["refreshed"] == true && told["access_token_expires_in"].as_u64().is_some_and(|left| left > 290),
        "{told}"
    );
    assert!(told["expires_in"].as_u64().is_some_and(|left| left > 8 * 3600 - 10), "{told}");
    assert_eq!(refreshes(&scene), 1);
    let newest = new_cookie(&answer);
    assert_eq!(scene.with_cookies("/admin/x", &[&newest]).status, 403, "the roles are those of now");
    assert_eq!(scene.with_cookies("/api/x", &[&newest]).status, 200);
    assert_ne!(token_at(&scene, "/api/x"), old.1);
    // The old cookie leads to the new session on every worker, though it was not due.
    assert_eq!(scene.with_cookies("/admin/x", &[&old.0]).status, 403);
    assert!(!answer.text().contains(old.1.unwrap().trim_start_matches("Bearer ")));
}

#[test]
fn fifty_calls_at_once_are_one_refresh() {
    let scene = scene(300, |config| config.top("workers = 3"));
    let browser = scene.signed_in("alice");
    let request = call(&scene, &cookie(&scene, &browser));
    scene.provider.control().always((Endpoint::Token, Transport::Slow(Duration::from_millis(300))));
    let answers = at_once(vec![request; 50]);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(answers.iter().all(|answer| !set_cookies(answer, SESSION).is_empty()));
    assert_eq!(refreshes(&scene), 1);
}

#[test]
fn a_persons_button_leads_back_to_a_page_of_this_site() {
    let scene = scene(300, |config| config);
    let mut browser = scene.signed_in("alice");
    let url = url::Url::parse(&scene.at(REFRESH)).expect("a URL");
    for (fields, location) in [
        (vec![("return_to".to_owned(), "/account?x=1".to_owned())], "/account?x=1"),
        (vec![("return_to".to_owned(), "https://evil.example/".to_owned())], "/"),
        (vec![("return_to".to_owned(), "/.auth/logout".to_owned())], "/"),
        (Vec::new(), "/page"),
    ] {
        let referer = scene.at("/page");
        let dress = |request: Request| {
            request.header("Referer", &referer).header("Sec-Fetch-Site", "same-origin").form(&fields)
        };
        let answer = browser.send(&url, dress, "POST");
        assert_eq!((answer.status, answer.header("location")), (303, Some(scene.at(location).as_str())), "{fields:?}");
        assert!(!set_cookies(&answer, SESSION).is_empty());
    }
    assert_eq!(refreshes(&scene), 4);
}

#[test]
fn only_this_site_may_ask_and_only_for_a_session() {
    let scene = scene(300, |config| config);
    let mut browser = scene.signed_in("alice");
    let cookie = cookie(&scene, &browser);
    let bare = |method: &str| {
        scene.gateway.client().named("app.example.com").request(method, REFRESH).header("Cookie", &cookie)
    };
    for foreign in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
    ] {
        let answer = bare("POST").header(foreign.0, foreign.1).send();
        assert_eq!((answer.status, set_cookies(&answer, SESSION).len()), (403, 0), "{foreign:?}");
    }
    for method in ["GET", "PUT", "HEAD"] {
        let answer = bare(method).send();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(refreshes(&scene), 0);
    for nobody in ["theme=dark", "__Host-portcullis=garbage"] {
        let answer = call(&scene, nobody).send();
        assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/problem+json")), "{nobody}");
    }
    assert_eq!(bare("POST").header("Accept", "application/json").send().status, 200, "a program that has no origin");
    assert_eq!(scene.me(&mut browser).0, 200);
}

#[test]
fn what_a_refresh_on_demand_may_come_to() {
    let scene = scene(300, |config| config);
    let mut browser = scene.signed_in("alice");
    let control = scene.provider.control();
    control.always((Endpoint::Token, Transport::Status(503)));
    let answer = call(&scene, &cookie(&scene, &browser)).send();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    let asked = control.count(Endpoint::Token);
    for _ in 0..4 {
        assert_eq!(call(&scene, &cookie(&scene, &browser)).send().status, 503);
    }
    // The pauses between two tries grow from a second that may have been nearly over.
    assert!(control.count(Endpoint::Token) < asked + 4, "a provider in trouble is left alone for a while");
    assert_eq!(scene.me(&mut browser).0, 200, "that costs nobody the session");
    control.behave();
    control.always(Misbehaviour::TokenRefused { error: "invalid_grant".to_owned(), description: String::new() });
    let mut answers = Vec::new();
    comes_true(|| {
        answers.push(call(&scene, &cookie(&scene, &browser)).send());
        answers.last().is_some_and(|answer| answer.status != 503)
    });
    let answer = answers.pop().expect("there is one");
    assert_eq!((answer.status, cleared(&answer).len()), (401, 0));
    assert_eq!(browser.peek(&scene.at("/x")).status, 302);
    assert_eq!(scene.me(&mut browser).0, 401);

    let scene = scene_at(provider(300, RefreshTokens::default()), |config| config);
    let browser = scene.signed_in("alice");
    let answer = call(&scene, &cookie(&scene, &browser)).send();
    assert_eq!(answer.status, 409, "there is nothing to refresh with: {}", answer.text());
}

#[test]
fn an_upstreams_401_brings_a_new_token_and_one_more_try_where_the_route_says_so() {
    let scene = scene(300, |config| config);
    let mut browser = scene.signed_in("alice");
    scene.upstream.on_each("/again/x", vec![Answer::status(401), Answer::body("done")]);
    scene.upstream.forget();
    let answer = browser.peek(&scene.at("/again/x?a=b"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"), "{}", scene.gateway.logs());
    assert_eq!(set_cookies(&answer, SESSION).len(), 1, "the cookie that goes with the new token");
    let seen = scene.upstream.requests();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.target == "/again/x?a=b" && request.header("cookie").is_none()));
    assert_ne!(seen[0].header("authorization"), seen[1].header("authorization"));
    assert_eq!(refreshes(&scene), 1);

    scene.upstream.forget();
    scene.upstream.on("/again/never", Answer::status(401));
    assert_eq!(
        browser.peek(&scene.at("/again/never")).status,
        401,
        "the upstream's own word, after one more try at most"
    );
    assert!(scene.upstream.count() <= 2);
    scene.upstream.on("/api/x", Answer::status(401));
    scene.upstream.forget();
    assert_eq!(browser.peek(&scene.at("/api/x")).status, 401);
    assert_eq!((scene.upstream.count(), refreshes(&scene)), (1, 1), "no route said so");
}

#[test]
fn a_body_is_sent_again_whole_or_not_at_all() {
    let scene = scene(300, |config| config);
    for (length, tries) in [(0, 2), (10, 2), (60_000, 2), (500_000, 1)] {
        let browser = scene.signed_in("alice");
        let cookie = cookie(&scene, &browser);
        scene.upstream.on_each("/again/post", vec![Answer::status(401), Answer::body("done")]);
        scene.upstream.forget();
        let request = scene.gateway.client().named("app.example.com").request("POST", "/again/post");
        let answer = request.header("Cookie", &cookie).body(vec![b'x'; length]).send();
        assert_eq!(answer.status, if tries == 2 { 200 } else { 401 }, "{length}");
        let seen = scene.upstream.requests();
        assert_eq!(seen.len(), tries, "{length}");
        for request in seen {
            assert_eq!((request.body_bytes, request.whole), (length as u64, true), "{length}");
        }
    }
}

#[test]
fn a_new_token_that_takes_the_role_away_takes_the_way_in_along() {
    let scene = scene(300, |config| {
        config.raw("[[routes]]\npath = \"/again/admin/*\"\nallow = { roles = [\"admin\"] }\nupstream = \"api\"\nretry_unauthorized = true")
    });
    let mut browser = scene.signed_in("alice");
    scene
        .put_person("alice", json!({"sub": "alice", "name": "Alice", "email": "alice@example.com", "roles": ["user"]}));
    scene.upstream.on_each("/again/admin/x", vec![Answer::status(401), Answer::body("secret")]);
    scene.upstream.forget();
    let answer = browser.peek(&scene.at("/again/admin/x"));
    assert_eq!((answer.status, scene.upstream.count()), (401, 1));
    assert_eq!(browser.peek(&scene.at("/again/admin/x")).status, 403);
}
