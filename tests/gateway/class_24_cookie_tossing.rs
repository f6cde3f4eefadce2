//! Cookies that a sibling host or another path planted beside ours: the attacker's never counts, and nobody is sent in circles.

use crate::scene::{CALLBACK, FLOW, SESSION, Scene, assert_calm, cleared, cookies, session_value};
use crate::support::forms;

#[test]
fn two_sessions_are_none_and_a_page_says_so() {
    let scene = Scene::https(|config| config);
    let own = format!("{SESSION}={}", session_value(&scene.signed_in("alice")));
    let tossed = format!("{SESSION}={}", session_value(&scene.signed_in("bob")));
    scene.upstream.forget();
    for lines in [
        vec![format!("{tossed}; {own}")],
        vec![format!("{own}; {tossed}")],
        vec![own.clone(), tossed.clone()],
        vec![tossed.clone(), own.clone()],
        vec![format!("a=1; {own};{tossed}; b=2")],
        vec![own.clone(), format!("{SESSION}=1.garbage")],
        vec![own.clone(), format!("{SESSION}=")],
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = scene.with_cookies("/private?x=1", &lines);
        assert_eq!(answer.status, 401, "a redirect could go round in circles: {lines:?}");
        assert_eq!(answer.header("location"), None);
        assert!(cleared(&answer).contains(&SESSION.to_owned()), "{:?}", answer.head.headers);
        let offered = forms::links(&answer.text());
        assert!(offered.iter().any(|link| link.contains("/.auth/login?return_to=%2Fprivate%3Fx%3D1")), "{offered:?}");
        assert_eq!(scene.with_cookies("/.auth/me", &lines).status, 401, "{lines:?}");
    }
    assert_eq!(scene.upstream.count(), 0);
    assert_eq!(scene.with_cookies("/", &[&format!("{own}; {own}")]).status, 200, "twice the same is no contradiction");
}

#[test]
fn other_spellings_are_never_read_and_never_passed_on() {
    let scene = Scene::https(|config| config);
    let own = format!("{SESSION}={}", session_value(&scene.signed_in("alice")));
    let value = session_value(&scene.signed_in("bob"));
    let spellings = [
        format!("__host-portcullis={value}"),
        format!("__HOST-PORTCULLIS={value}"),
        format!("__Host-Portcullis={value}"),
        format!("={SESSION}={value}"),
        format!("=={SESSION}={value}"),
        SESSION.to_owned(),
        format!("{SESSION}.0={value}"),
        format!("{SESSION}.01={value}"),
        format!("{SESSION}.1={value}"),
        format!("{SESSION}.99999={value}"),
        format!("\"{SESSION}\"={value}"),
        format!("{SESSION}%20={value}"),
    ];
    for tossed in spellings {
        scene.upstream.forget();
        for line in [format!("{tossed}; {own}; app=1"), format!("app=1; {own}; {tossed}")] {
            let answer = scene.with_cookies("/x", &[&line]);
            assert_eq!(answer.status, 200, "{tossed}: {}", answer.text());
            let seen = scene.upstream.last_request();
            assert_eq!(seen.header("x-forwarded-user"), Some("alice"), "{tossed}");
            assert_eq!(seen.header("cookie"), Some("app=1"), "{tossed}");
        }
        scene.upstream.forget();
        let alone = scene.with_cookies("/x", &[&tossed]);
        assert!(matches!(alone.status, 302 | 401), "{tossed}: {}", alone.status);
        assert_eq!(scene.upstream.count(), 0, "{tossed}");
    }
    // The names without the prefix are an application's own at an https address, and mean nothing to us.
    for name in ["portcullis", "__Secure-portcullis"] {
        let line = format!("{name}={value}");
        assert_eq!(scene.with_cookies("/x", &[&line]).status, 302, "{name}");
    }
}

#[test]
fn a_flow_that_was_planted_beside_ours_ends_no_sign_in() {
    let scene = Scene::https(|config| config);
    let (_, attackers) = scene.almost_signed_in("bob", "/");
    let (attacker, _) = scene.almost_signed_in("bob", "/evil");
    let (mut victim, callback) = scene.almost_signed_in("alice", "/");
    let (name, own) = cookies(&victim, FLOW).remove(0);
    let planted = cookies(&attacker, FLOW).remove(0).1;
    let target = callback.url.as_str().trim_start_matches("https://app.example.com").to_owned();
    for line in [
        format!("{name}={planted}; {name}={own}"),
        format!("{name}={own}; {name}={planted}"),
        format!("{name}={planted}"),
    ] {
        let answer = scene.with_cookies(&target, &[&line]);
        assert_calm(&answer, &line);
    }
    assert_eq!(scene.redeemed(), 0);
    assert!(attackers.url.path().starts_with(CALLBACK));
    assert_eq!(victim.peek(callback.url.as_str()).status, 303, "the right one alone still works");
}
