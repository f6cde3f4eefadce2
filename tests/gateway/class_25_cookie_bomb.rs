//! Cookies without end: ours stay few, the way out stays open, and what is too much is refused with a page that mends it.

use std::time::Duration;

use crate::scene::{CALLBACK, FLOW, SESSION, Scene, assert_calm, cleared, cookies, session_value, set_cookies};

#[test]
fn eighty_sign_ins_leave_six_cookies_and_the_newest_still_works() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.browser();
    let mut begun = Vec::new();
    for tab in 0..80 {
        let answer = browser.peek(&scene.at(&format!("/{tab}")));
        assert_eq!(answer.status, 302, "{}", answer.text());
        begun.push(answer.header("location").expect("to the provider").to_owned());
        assert!(cookies(&browser, FLOW).len() <= 6);
    }
    browser.stop_before = Some(CALLBACK.to_owned());
    let login = browser.open(&begun[79]);
    let form = login.forms().remove(0);
    let newest = browser.submit(&login, &form, &form.filled_for("alice"));
    let oldest = browser.open(&begun[0]);
    assert_calm(&browser.peek(oldest.url.as_str()), "the oldest was dropped");
    assert_eq!(browser.peek(newest.url.as_str()).header("location"), Some(&*scene.at("/79")));
}

#[test]
fn flows_that_pile_up_elsewhere_are_cleared_at_the_next_chance() {
    let scene = Scene::https(|config| config);
    // As eighty tabs bring them home that were opened before any had an answer.
    let flows: Vec<String> = (0..80)
        .map(|_| {
            let set = set_cookies(&scene.window("/").send(), FLOW);
            set[0].split(';').next().expect("a pair").to_owned()
        })
        .collect();
    let line = flows.join("; ");
    let answer = scene.with_cookies("/next", &[&line]);
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert_eq!(cleared(&answer).len(), 75, "five and the new one are left");
    let out = scene.with_cookies("/.auth/logout", &[&line]);
    assert_eq!((out.status, cleared(&out).len()), (200, 80), "signing out clears them all");
}

#[test]
fn signing_out_works_with_as_many_cookies_as_any_request_may_have() {
    let scene = Scene::https(|config| config);
    let own = session_value(&scene.signed_in("alice"));
    let others: Vec<String> = (0..15).map(|n| format!("app{n}={}", "x".repeat(4_000))).collect();
    let line = format!("{}; {SESSION}={own}", others.join("; "));
    let answer = scene.with_cookies("/.auth/logout", &[&line]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(cleared(&answer), [SESSION]);
}

#[test]
fn headers_that_are_too_large_get_a_page_that_clears_our_cookies() {
    let scene = Scene::https(|config| config);
    let own = session_value(&scene.signed_in("alice"));
    scene.upstream.forget();
    let flow = format!("{FLOW}abcdefghijkl");
    let others: Vec<String> = (0..60).map(|n| format!("app{n}={}", "x".repeat(4_096))).collect();
    let line = format!("{SESSION}={own}; {SESSION}.1=x; {flow}=x; {}", others.join("; "));
    for target in ["/", "/.auth/logout", "/.auth/login"] {
        let answer = scene.with_cookies(target, &[&line]);
        assert_eq!(answer.status, 431, "{target}");
        let mut gone = cleared(&answer);
        gone.sort();
        assert_eq!(gone, [SESSION.to_owned(), flow.clone(), format!("{SESSION}.1")], "{target}: ours alone");
        let page = answer.text();
        assert!(page.contains("cookies in the browser"), "{target}: it says what helps: {page}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{target}");
    }
    assert_eq!(scene.upstream.count(), 0);
    assert_eq!(scene.with_cookies("/", &[&format!("{SESSION}={own}")]).status, 200, "others are served");
}

#[test]
fn headers_beyond_all_measure_cost_little_and_hurt_nobody_else() {
    let scene = Scene::https(|config| config);
    scene.signed_in("alice");
    let before = scene.gateway.memory().resident;
    let many = (0..64).map(|n| format!("{SESSION}.{n}=x; ")).collect::<Vec<_>>().concat().repeat(6_000);
    for head in [
        format!("GET / HTTP/1.1\r\nHost: app.example.com\r\nCookie: {many}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: app.example.com\r\n{}\r\n", "Cookie: a=b\r\n".repeat(5_000)),
    ] {
        let answers = scene.gateway.client().raw_all(head.as_bytes(), Duration::from_secs(5));
        assert!(answers.iter().all(|answer| matches!(answer.status, 400 | 431)), "{answers:?}");
    }
    let grown = scene.gateway.memory().resident.saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    assert_eq!(scene.window("/").send().status, 302);
    assert_eq!(scene.upstream.count(), 1);
}

#[test]
fn a_count_of_pieces_is_never_believed() {
    let scene = Scene::https(|config| config);
    for count in ["99999999", "64", "4294967297", "18446744073709551617"] {
        let pieces: Vec<String> = (1..64).map(|n| format!("{SESSION}.{n}=x")).collect();
        let answer = scene.with_cookies("/", &[&format!("{SESSION}={count}.x; {}", pieces.join("; "))]);
        assert_eq!(answer.status, 302, "{count}");
        assert_eq!(cleared(&answer).len(), 64, "{count}: all of it is cleared");
    }
}
