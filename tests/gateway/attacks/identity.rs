//! Class 12 and row 45: claims are data. They split no header and equal no one else's name by accident.

use portcullis::demo::provider::Person;
use serde_json::{Value, json};

use super::{Arena, cookie_of};
use crate::support::browser::Browser;

/// Signs in who has these claims; the session's cookie, if there is one.
fn sign_in(arena: &Arena, claims: Value) -> Option<String> {
    arena.provider.control().put_person(Person::new("odd", claims));
    let mut browser = Browser::new();
    let page = browser.sign_in("odd", &arena.gateway.at("/app/"));
    arena.upstream.forget();
    (page.response.status == 200).then(|| cookie_of(&browser, arena.gateway.url()))
}

#[test]
fn class_12_a_claim_never_splits_a_header() {
    let arena = Arena::with(|config| config.raw("[upstreams.app.headers]\nX-Team = \"{claims.team}\""));
    let mut sessions = 0;
    for evil in [
        "a\r\nX-Injected: root",
        "a\nX-Injected: root",
        "a\rX-Injected: root",
        "a\0b",
        "a\tb",
        "a\u{7f}b",
        "a\u{85}X-Injected: root",
        "a\u{2028}X-Injected: root",
        "\u{1b}[31mred",
        "\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let claims = json!({
            "sub": "odd", "name": evil, "preferred_username": evil, "email": format!("{evil}@example.com"), "email_verified": true,
            "groups": ["staff", evil], "roles": [evil, "user"], "team": evil,
        });
        // Either there is no session, or there is one that says nothing of it.
        let Some(cookie) = sign_in(&arena, claims) else { continue };
        sessions += 1;
        let answer = arena.get("/app/x").header("Cookie", &cookie).send();
        assert_eq!(answer.status, 200, "{evil:?}: {}", answer.text());
        let seen = arena.upstream.only_request();
        assert_eq!(seen.header("x-injected"), None, "{evil:?}");
        assert_eq!(seen.head.all("x-forwarded-user"), ["odd"]);
        for (name, value) in &seen.head.headers {
            assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{evil:?}: {name}: {value:?}");
        }
        for name in ["x-forwarded-preferred-username", "x-forwarded-email", "x-team"] {
            let value = seen.header(name);
            if evil.chars().any(char::is_control) {
                assert_eq!(value, None, "{evil:?}: {name}: no header rather than a cut or encoded one");
            } else {
                assert!(value.is_none_or(|value| value.contains('%')), "{evil:?}: {name}: {value:?}");
            }
        }
        let me = arena.get("/.auth/me").header("Cookie", &cookie).send();
        assert_eq!(me.status, 200, "{evil:?}");
        me.json();
    }
    assert!(sessions > 5, "only {sessions} sign-ins worked: this tried too little");
    assert!(
        arena.gateway.logs().lines().all(|line| !line.starts_with("X-Injected")),
        "a claim wrote a line of the log"
    );
}

#[test]
fn class_12_letters_beyond_ascii_are_encoded() {
    let arena = Arena::new();
    let cookie = sign_in(
        &arena,
        json!({ "sub": "odd", "preferred_username": "Zo\u{eb} \u{20ac}", "groups": ["Stra\u{df}e", "a,b", "c"] }),
    );
    let cookie = cookie.expect("an ordinary name");
    assert_eq!(arena.get("/app/x").header("Cookie", &cookie).send().status, 200);
    let seen = arena.upstream.only_request();
    assert_eq!(seen.header("x-forwarded-preferred-username"), Some("Zo%C3%AB %E2%82%AC"));
    let groups: Vec<&str> = seen.header("x-forwarded-groups").unwrap_or_default().split(',').collect();
    assert!(groups.contains(&"c") && !groups.contains(&"a") && !groups.contains(&"b"), "a name became two: {groups:?}");
}

/// A claim of 64 KiB fits into no cookie and no header: whatever becomes of the sign-in, no request is broken by it.
#[test]
fn class_12_a_huge_claim_breaks_nothing() {
    let arena = Arena::new();
    for claims in [
        json!({ "sub": "odd", "name": "a".repeat(64 * 1024) }),
        json!({ "sub": "odd", "preferred_username": "a".repeat(9 * 1024) }),
        json!({ "sub": "odd", "groups": (0..5_000).map(|number| format!("group-{number}")).collect::<Vec<_>>() }),
        json!({ "sub": "odd", "other": "a".repeat(64 * 1024) }),
    ] {
        arena.provider.control().put_person(Person::new("odd", claims));
        let mut browser = Browser::new();
        let page = browser.sign_in("odd", &arena.gateway.at("/app/"));
        let status = page.response.status;
        assert!(matches!(status, 200 | 400 | 403 | 500 | 502), "{status} {}", page.text());
        assert!(browser.jar.refused().is_empty(), "{:?}", browser.jar.refused().len());
        if status == 200 {
            assert!(arena.upstream.last_request().head.raw.len() < 64 * 1024);
            assert_eq!(arena.upstream.last_request().head.all("x-forwarded-user"), ["odd"]);
        }
    }
    assert_eq!(arena.get("/public/next").send().status, 200);
}

/// Row 45: who is on a list is there by the very name.
#[test]
fn class_12_no_look_alike_is_on_a_list() {
    let arena = Arena::with(|config| {
        config
            .route("/bob/*", "{ emails = [\"bob@example.com\"] }", "app")
            .route("/house/*", "{ email_domains = [\"example.com\"] }", "app")
            .route("/role/*", "{ roles = [\"boss\"] }", "app")
            .route("/group/*", "{ groups = [\"Boss\"] }", "app")
    });
    let ask = |cookie: &str, target: &str| arena.get(target).header("Cookie", cookie).send().status;
    let bob = sign_in(
        &arena,
        json!({ "sub": "odd", "email": "bob@example.com", "email_verified": true, "roles": ["boss"], "groups": ["Boss"] }),
    );
    let bob = bob.expect("bob himself");
    for target in ["/bob/x", "/house/x", "/role/x", "/group/x"] {
        assert_eq!(ask(&bob, target), 200, "{target}: bob himself is on every list");
    }
    let mut sessions = 0;
    for email in [
        "b\u{43e}b@example.com",
        "bob @example.com",
        " bob@example.com ",
        "bob@example.com\0",
        "bob@example.com\n",
        "bob@example.com.",
        "bob@example.com (comment)",
        "bob(comment)@example.com",
        "\"bob@example.com\"",
        "\"bob\"@example.com",
        "bob@example.com,evil@evil.example",
        "evil@evil.example@example.com",
        "bob@evil.example@example.com",
        "bob@ex\u{430}mple.com",
        "bob@example.com.evil.example",
        "bob@evilexample.com",
        "bob@\u{ff45}xample.com",
        "bob@example\u{3002}com",
        "bob%40example.com",
        "bob@xn--xample-2of.com",
    ] {
        let claims = json!({ "sub": "odd", "email": email, "email_verified": true });
        let Some(cookie) = sign_in(&arena, claims) else { continue };
        sessions += 1;
        assert_eq!(ask(&cookie, "/bob/x"), 403, "{email:?}");
        assert_eq!(ask(&cookie, "/house/x"), 403, "{email:?}");
    }
    assert!(sessions > 10, "only {sessions} sign-ins worked: this tried too little");
    for verified in [json!(false), Value::Null, json!("no"), json!(0)] {
        let claims = json!({ "sub": "odd", "email": "bob@example.com", "email_verified": verified });
        let Some(cookie) = sign_in(&arena, claims) else { continue };
        assert_eq!(ask(&cookie, "/bob/x"), 403, "{verified}");
        assert_eq!(ask(&cookie, "/house/x"), 403, "{verified}");
    }
    for name in ["Boss ", " boss", "BOSS", "bo\u{455}s", "boss\0", "boss,Boss", "b%6fss", "boss/Boss", "boss\u{200b}"] {
        let Some(cookie) = sign_in(&arena, json!({ "sub": "odd", "roles": [name], "groups": [name] })) else {
            continue;
        };
        assert_eq!(ask(&cookie, "/role/x"), 403, "{name:?}");
        assert_eq!(ask(&cookie, "/group/x"), 403, "{name:?}");
    }
}
