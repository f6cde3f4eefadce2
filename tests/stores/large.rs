//! Sessions that no browser could carry: with a store they work, without one the visitor and the operator are told plainly.

use serde_json::{Value, json};

use crate::scene::{Scene, at, cookies};

/// What a person with 300 groups and three fat tokens brings: about 40 KiB that can't be made smaller.
fn much() -> Value {
    let noise = |seed: u64, length: usize| -> String {
        let mut state = seed;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + u8::try_from((state >> 33) % 26).expect("below 26"))
            })
            .collect()
    };
    let groups: Vec<String> = (0..300).map(|number| format!("{}-{number}", noise(number, 40))).collect();
    json!({ "sub": "dora", "groups": groups, "one": noise(1, 9_000), "two": noise(2, 9_000), "three": noise(3, 9_000) })
}

#[test]
fn three_hundred_groups_and_fat_tokens_fit_a_store() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let url = format!("sqlite:{}", folder.path().join("s.db").display());
    for table in [format!("{url:?}"), format!("{{ url = {url:?}, sessions = \"large\" }}")] {
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
    let scene = Scene::new(&format!("{{ url = \"sqlite:{}\", sessions = \"large\" }}", path.display()));
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
