//! Sessions end on our clock, whatever the browser keeps: unused ones after `idle`, all of them after `lifetime`.

use std::time::{Duration, Instant};

use crate::scene::{SESSION, Scene, cleared, session_value, set_cookies};
use crate::support::pause;

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test watches the real clock")]
    Instant::now()
}

#[test]
fn an_unused_session_ends_after_its_idle_time() {
    let scene = Scene::https(|config| config.session_line("idle = \"4s\"").session_line("lifetime = \"1h\""));
    let mut browser = scene.signed_in("alice");
    let kept = session_value(&browser);
    scene.upstream.forget();
    pause(Duration::from_millis(5_100));
    let answer = browser.peek(&scene.at("/x"));
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert!(cleared(&answer).contains(&SESSION.to_owned()), "{:?}", answer.head.headers);
    // Max-Age is only a request to the browser; whoever kept the cookie has nothing either.
    let line = format!("{SESSION}={kept}");
    assert_eq!(scene.with_cookies("/x", &[&line]).status, 302);
    assert_eq!(scene.with_cookies("/.auth/me", &[&line]).status, 401);
    assert_eq!(scene.upstream.count(), 0);
}

#[test]
fn a_used_session_is_written_anew_and_ends_after_its_lifetime_all_the_same() {
    let scene = Scene::https(|config| config.session_line("idle = \"4s\"").session_line("lifetime = \"6s\""));
    let before = now();
    let mut browser = scene.signed_in("alice");
    let (begun, first) = (now(), session_value(&browser));
    let (mut last, mut written, mut slow) = (now(), 0, false);
    loop {
        pause(Duration::from_millis(900));
        slow |= last.elapsed() > Duration::from_millis(2_900);
        last = now();
        let asked = begun.elapsed();
        let answer = browser.peek(&scene.at("/x"));
        if answer.status == 302 {
            // On a machine that stood still the idle time may have been over first.
            assert!(slow || before.elapsed() >= Duration::from_secs(5), "ended after {:?}", before.elapsed());
            break;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        for line in set_cookies(&answer, SESSION) {
            let seconds = line.split("Max-Age=").nth(1).and_then(|rest| rest.split(';').next()?.parse::<u64>().ok());
            assert!(seconds.is_some_and(|seconds| seconds <= 4), "{seconds:?}");
            written += 1;
        }
        assert!(asked < Duration::from_secs(9), "it lives after {asked:?}");
    }
    assert!(slow || written >= 2, "written anew {written} times");
    assert_ne!(session_value_or_nothing(&browser), Some(first));
    assert_eq!(scene.me(&mut browser).0, 401);
}

fn session_value_or_nothing(browser: &crate::support::browser::Browser) -> Option<String> {
    browser.jar.all().iter().find(|cookie| cookie.name == SESSION).map(|cookie| cookie.value.clone())
}

#[test]
fn use_within_the_idle_time_writes_the_cookie_anew_now_and_then() {
    // A use is noted after a tenth of it.
    let scene = Scene::https(|config| config.session_line("idle = \"1m\"").top("workers = 1"));
    let mut browser = scene.signed_in("alice");
    let first = session_value(&browser);
    assert_eq!(set_cookies(&browser.peek(&scene.at("/x")), SESSION).len(), 0, "not with every request");
    pause(Duration::from_millis(7_100));
    let answer = browser.peek(&scene.at("/x"));
    let set = set_cookies(&answer, SESSION);
    assert_eq!(set.len(), 1, "{:?}", answer.head.headers);
    for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(set[0].contains(part), "{part}");
    }
    assert_eq!(answer.header("cache-control"), Some("private"), "a cookie is kept out of shared caches");
    assert_ne!(session_value(&browser), first);
    assert_eq!(scene.me(&mut browser).1["sub"], "alice");
    assert_eq!(set_cookies(&browser.peek(&scene.at("/.auth/me")), SESSION).len(), 0, "asking who I am is no use");
}

#[test]
fn a_proof_that_is_too_old_ends_the_session_and_the_provider_is_asked_for_a_new_one() {
    let scene = Scene::https(|config| config.provider_line("max_age = \"8s\"").provider_line("clock_skew = \"0s\""));
    let mut browser = scene.signed_in("alice");
    assert_eq!(scene.me(&mut browser).0, 200);
    pause(Duration::from_millis(9_200));
    assert_eq!(scene.me(&mut browser).0, 401, "however much it is used");
    let answer = browser.peek(&scene.at("/x"));
    let location = answer.header("location").unwrap_or_default().to_owned();
    assert!(answer.status == 302 && location.contains("max_age=8"), "{} {location}", answer.status);
    // The provider knows the browser still, and asks for the password all the same.
    let login = browser.open(&scene.at("/x"));
    assert!(login.forms().iter().any(|form| form.has("password")), "{}", login.text());
    let form = login.forms().remove(0);
    assert_eq!(browser.submit(&login, &form, &form.filled_for("alice")).response.status, 200);
}

/// A provider that does not heed `max_age` would send the browser round in circles.
#[test]
fn an_old_proof_at_the_sign_in_ends_in_a_page() {
    let scene = Scene::https(|config| config.provider_line("max_age = \"1h\""));
    scene.provider.control().mint(|_, claims| {
        let hours_ago = claims.get("iat").and_then(serde_json::Value::as_u64).unwrap_or_default() - 7_300;
        claims.insert("auth_time".to_owned(), hours_ago.into());
    });
    let mut browser = scene.browser();
    let page = browser.sign_in("alice", &scene.at("/x"));
    assert_eq!((page.response.status, page.response.header("location")), (502, None), "{}", page.text());
    assert_eq!(scene.me(&mut browser).0, 401);
}
