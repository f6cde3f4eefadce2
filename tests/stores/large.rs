//! Sessions that no browser could carry: with a store they work, without one the visitor and the operator are told plainly.

use portcullis::demo::provider::{Edit, Misbehaviour};
use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::scene::{Scene, at, cookies, patient};
use crate::support::parts::{Part, are_there};

/// So many letters that can't be made smaller.
pub(crate) fn noise(seed: u64, length: usize) -> String {
    let mut state = seed;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((state >> 33) % 26).expect("below 26"))
        })
        .collect()
}

fn groups() -> Vec<String> {
    (0..300).map(|number| format!("{}-{number}", noise(number, 40))).collect()
}

/// What a person with 300 groups and three fat claims brings: about 40 KiB.
fn much() -> Value {
    json!({ "sub": "dora", "groups": groups(), "one": noise(1, 9_000), "two": noise(2, 9_000), "three": noise(3, 9_000) })
}

/// Gateways with these lines in `[session]`, where a person of 300 groups gets three fat tokens: about 10 KiB each.
fn with_fat_tokens(count: usize, lines: &[&str]) -> Scene {
    let mut scene = Scene::with(0, lines);
    let control = scene.provider.control();
    control.mint(|_, claims| {
        claims.insert("fat".to_owned(), json!(noise(4, 7_000)));
        // It would name the access token that is replaced below.
        claims.shift_remove("at_hash");
    });
    control.always(Misbehaviour::TokenAnswer(Edit::set("access_token", noise(5, 10_000))));
    control.always(Misbehaviour::TokenAnswer(Edit::set("refresh_token", noise(6, 10_000))));
    // Nobody would know that access token there.
    control.always(Misbehaviour::Metadata(Edit::remove("userinfo_endpoint")));
    scene.put_person("dora", json!({ "sub": "dora", "groups": groups() }));
    for _ in 0..count {
        let gateway = scene.gateway();
        scene.gateways.push(gateway);
    }
    scene
}

/// Every kind of store that is on this machine.
pub(crate) fn in_each_store(test: &str, check: impl Fn(&str)) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    check(&format!("sqlite:{}", folder.path().join("s.db").display()));
    if are_there(test, &[Part::Redis]) {
        let redis = Redis::start();
        check(&format!("redis://127.0.0.1:{}", redis.port()));
    }
    if are_there(test, &[Part::Postgres]) {
        let postgres = Postgres::start();
        check(&postgres.url());
    }
}

#[test]
fn three_hundred_groups_and_three_fat_tokens_go_to_an_upstream_at_either_gateway() {
    in_each_store("stores::three_fat_tokens", |url| {
        let scene = with_fat_tokens(2, &[&format!("store = {{ url = {url:?}, timeout = \"10s\" }}")]);
        let mut browser = scene.signed_in("dora", 0);
        assert!(cookies(&browser).len() < 400, "{} bytes of cookies", cookies(&browser).len());
        for gateway in [0, 1, 0] {
            scene.reach(&mut browser, gateway);
            let answer = browser.peek(&at("/api/x"));
            assert_eq!(answer.status, 200, "{}\n{}", answer.text(), scene.gateways[gateway].logs());
            let expected = format!("Bearer {}", noise(5, 10_000));
            assert_eq!(scene.upstream.last_request().header("authorization"), Some(expected.as_str()));
            let me = browser.peek(&at("/.auth/me")).json();
            assert_eq!(me["groups"].as_array().map(Vec::len), Some(300));
        }
    });
}

#[test]
fn without_a_store_fat_tokens_are_told_in_one_clear_line() {
    let scene = with_fat_tokens(1, &[]);
    let mut browser = scene.browser(0);
    let page = browser.sign_in("dora", &at("/"));
    assert_eq!((page.response.status, cookies(&browser).as_str()), (500, ""));
    assert!(page.text().contains("session.store"), "{}", page.text());
    assert!(scene.gateways[0].logs_come_to_hold("doesn't fit the cookies"));
    let logs = scene.gateways[0].logs();
    let told: Vec<&str> = logs.lines().filter(|line| line.contains("doesn't fit the cookies")).collect();
    assert_eq!(told.len(), 1, "{logs}");
    assert!(told[0].contains("`session.store`") && told[0].contains("token"), "{}", told[0]);
    assert!([5, 6].iter().all(|seed| !logs.contains(&noise(*seed, 40))), "a token stands in the log");
}

#[test]
fn three_hundred_groups_and_fat_tokens_fit_a_store() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let url = format!("sqlite:{}", folder.path().join("s.db").display());
    for table in [patient(&url), format!("{{ url = {url:?}, sessions = \"large\", timeout = \"10s\" }}")] {
        let scene = Scene::new(&table);
        scene.put_person("dora", much());
        let mut browser = scene.signed_in("dora", 0);
        assert!(cookies(&browser).len() < 400, "{} bytes of cookies", cookies(&browser).len());
        for gateway in [0, 1] {
            scene.reach(&mut browser, gateway);
            let me = browser.peek(&at("/.auth/me")).json();
            assert_eq!(me["groups"].as_array().map(Vec::len), Some(300));
            assert_eq!(me["claims"]["three"].as_str().map(str::len), Some(9_000));
        }
    }
}

#[test]
fn what_fits_stays_in_cookies_when_the_store_is_for_large_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("s.db");
    let scene =
        Scene::new(&format!("{{ url = \"sqlite:{}\", sessions = \"large\", timeout = \"10s\" }}", path.display()));
    let mut browser = scene.signed_in("alice", 0);
    assert_eq!(scene.status(&mut browser, 1), 200);
    std::fs::remove_file(&path).expect("the gateways have opened it");
    let another = scene.gateway();
    browser.reach(crate::scene::SITE, another.url());
    assert_eq!(browser.peek(&at("/page")).status, 200, "nothing of this session is in the store");
}

#[test]
fn without_a_store_the_line_and_the_page_say_what_to_do() {
    let scene = Scene::with(1, &[]);
    scene.put_person("dora", much());
    let mut browser = scene.browser(0);
    let page = browser.sign_in("dora", &at("/"));
    assert_eq!(page.response.status, 500);
    assert!(page.text().contains("session.store"), "{}", page.text());
    assert_eq!(cookies(&browser), "");
    let logs = scene.gateways[0].logs();
    let told: Vec<&str> = logs.lines().filter(|line| line.contains("doesn't fit the cookies")).collect();
    assert_eq!(told.len(), 1, "{logs}");
    assert!(told[0].contains("`session.store`") && told[0].contains("bytes of cookies"), "{}", told[0]);
    assert!(!logs.contains("dora"), "nobody's name");
}
