//! A store that is away when somebody wants to sign in, or when somebody comes whom this gateway has not seen.

use std::time::Duration;

use portcullis::base::clock::instant;

use crate::redis::{Redis, until};
use crate::scene::{SITE, Scene, at, cookies};
use crate::support::parts::{Part, are_there};
use crate::support::{PATIENCE, pause};

#[test]
fn new_sessions_go_to_cookies_while_the_store_is_away() {
    if !are_there("stores::new_sessions_go_to_cookies", &[Part::Redis]) {
        return;
    }
    let mut redis = Redis::start();
    let scene = Scene::new(&format!("{{ url = \"redis://127.0.0.1:{}\", timeout = \"4s\" }}", redis.port()));
    let stored = cookies(&scene.signed_in("bob", 0)).len();
    redis.kill();
    let mut browser = scene.signed_in("alice", 0);
    assert!(cookies(&browser).len() > stored, "the session itself");
    assert_eq!(scene.status(&mut browser, 1), 200, "a cookie needs no store");
    let told = |what: &str| assert!(scene.gateways[0].logs_come_to_hold(what), "{what}:\n{}", scene.gateways[0].logs());
    told("put into cookies");
    // It has to be away for a moment: what one request meets may be a hiccup, of which nothing is told.
    told("the session store is away; sessions seen lately go on");
    redis.restart();
    assert_eq!(scene.status(&mut browser, 1), 200);
    until("new sessions go to the store again", || cookies(&scene.signed_in("alice", 0)).len() == stored);
    told("the session store is back");
}

#[test]
fn without_that_a_sign_in_is_told_to_come_back_and_does() {
    if !are_there("stores::without_that", &[Part::Redis]) {
        return;
    }
    let mut redis = Redis::start();
    let table =
        format!("{{ url = \"redis://127.0.0.1:{}\", timeout = \"4s\", cookie_fallback = false }}", redis.port());
    let scene = Scene::new(&table);
    redis.kill();
    let mut browser = scene.browser(0);
    let page = browser.sign_in("alice", &at("/deep/page?x=1"));
    assert_eq!(page.response.status, 503, "{}", page.text());
    assert_eq!(page.response.header("retry-after"), Some("5"));
    assert_eq!(page.response.header("cache-control"), Some("no-store"));
    assert_eq!(cookies(&browser), "");
    assert!(
        page.text().contains("return_to=%2Fdeep%2Fpage%3Fx%3D1"),
        "where it was to lead is not lost: {}",
        page.text()
    );
    redis.restart();
    until("new sessions can be kept again", || {
        let page = scene.browser(0).sign_in("bob", &at("/"));
        page.response.status == 200
    });
    let page = browser.sign_in("alice", &at("/.auth/login/corp?return_to=%2Fdeep%2Fpage%3Fx%3D1"));
    assert_eq!((page.response.status, page.url.as_str()), (200, &*at("/deep/page?x=1")));
}

#[test]
fn whom_this_gateway_has_not_seen_waits_for_the_store_and_is_not_signed_out() {
    if !are_there("stores::whom_this_gateway_has_not_seen", &[Part::Redis]) {
        return;
    }
    let redis = Redis::start();
    let scene = Scene::new(&format!("{{ url = \"redis://127.0.0.1:{}\", timeout = \"4s\" }}", redis.port()));
    let mut browser = scene.signed_in("alice", 0);
    let before = cookies(&browser);
    redis.freeze();
    for _ in 0..5 {
        let began = instant();
        scene.reach(&mut browser, 1);
        let answer = browser.peek(&at("/page"));
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(answer.head.all("set-cookie").len(), 0, "nobody's session is taken away");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    // Once the store is known to be away, nobody waits for it but one who tries, now and then.
    let waits = (0..6).map(|_| {
        let began = instant();
        let program = scene.gateways[1].client().named(&SITE[7..]).get("/page").header("Cookie", &before);
        let program = program.header("Accept", "application/json").send();
        assert_eq!(program.status, 503);
        assert_eq!(program.header("content-type"), Some("application/problem+json"));
        began.elapsed()
    });
    let quickest = waits.min().expect("there were some");
    assert!(quickest < Duration::from_millis(1_500), "everybody waits for the store: {quickest:?}");
    assert_eq!(browser.peek(&at("/.auth/me")).status, 503);
    assert_eq!(browser.peek(&at("/open")).status, 200, "what everyone may see needs no session");
    assert_eq!(cookies(&browser), before);
    redis.thaw();
    until("the session is served again", || scene.status(&mut scene.copy(&browser, 1), 1) == 200);
}

#[test]
fn signing_out_counts_though_the_store_is_away_and_reaches_the_others_when_it_is_back() {
    if !are_there("stores::signing_out_counts", &[Part::Redis]) {
        return;
    }
    let redis = Redis::start();
    let scene = Scene::new(&format!("{{ url = \"redis://127.0.0.1:{}\", timeout = \"4s\" }}", redis.port()));
    let mut browser = scene.signed_in("alice", 0);
    assert_eq!(scene.status(&mut browser, 1), 200);
    let copied = scene.copy(&browser, 0);
    redis.freeze();
    scene.reach(&mut browser, 0);
    let answer = browser.peek(&at("/.auth/logout"));
    assert!(answer.status < 400, "{}", answer.text());
    assert!(!cookies(&browser).contains("portcullis=1."), "the browser's cookie goes");
    assert_eq!(scene.status(&mut scene.copy(&copied, 0), 0), 302, "this gateway refuses it at once");
    redis.thaw();
    until("the other one refuses it too", || scene.status(&mut scene.copy(&copied, 1), 1) == 302);
    until("the record is gone", || redis.ask(&["KEYS", "portcullis:r:*"]).is_empty());
}

/// A sign-out that the store has not heard of yet goes no further with a gateway that is gone.
#[test]
fn a_gateway_that_is_asked_to_stop_tells_first_who_signed_out() {
    if !are_there("stores::tells_first_who_signed_out", &[Part::Redis]) {
        return;
    }
    let mut redis = Redis::start();
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let mut scene = Scene::new(&format!("{{ url = {url:?}, sessions = \"large\", timeout = \"10s\" }}"));
    let mut browser = scene.signed_in("alice", 0);
    let copied = scene.copy(&browser, 1);
    assert_eq!(scene.status(&mut copied.clone(), 1), 200);
    redis.kill();
    let answer = browser.peek(&at("/.auth/logout"));
    assert!(answer.status < 400, "{}", answer.text());
    let process = scene.gateways[0].process();
    process.signal("TERM");
    pause(Duration::from_millis(500));
    redis.restart();
    assert!(process.wait(PATIENCE).is_some_and(|status| status.success()));
    until("the other one refuses it", || scene.status(&mut copied.clone(), 1) == 302);
}
