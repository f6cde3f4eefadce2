//! Pages that send somebody's browser to write in their name: where a route asks for it, a session's cookie alone is not enough.

use serde_json::json;

use crate::bearer_scene::{AUDIENCE, good};
use crate::refresh_scene;
use crate::scene::{HTTPS, SESSION, Scene, session_value};
use crate::support::answer::Answer;
use crate::support::client::{Request, Response};

const ROUTES: &str = r#"
[[routes]]
path = "/token/*"
allow = "signed-in"
csrf = "token"
bearer = true
[[routes]]
path = "/origin/*"
allow = "signed-in"
csrf = "same-origin"
bearer = true
[[routes]]
path = "/site/*"
allow = "signed-in"
csrf = "same-site"
[[routes]]
path = "/shared/*"
allow = "signed-in"
csrf = "same-origin"
cors = { origins = ["https://front.example.com"], credentials = true }
[[routes]]
path = "/read-only/*"
allow = "signed-in"
csrf = "same-origin"
cors = { origins = ["https://front.example.com"] }
[[routes]]
path = "/public/*"
allow = "everyone"
csrf = "token"
[[routes]]
path = "/admin/*"
allow = { roles = ["admin"] }
csrf = "token"
[[routes]]
path = "/odd/strict/*"
allow = "signed-in"
path_parameters = true
[[routes]]
path = "/odd/*"
allow = "signed-in"
path_parameters = true
csrf = "same-origin"
[[routes]]
path = "/*"
allow = "signed-in"
"#;

const UNSAFE: [&str; 5] = ["POST", "PUT", "PATCH", "DELETE", "PURGE"];

fn scene() -> Scene {
    Scene::https(|config| config.raw(&format!("[bearer.corp]\naudience = [{AUDIENCE:?}]\n{ROUTES}")))
}

struct Person {
    cookie: String,
    token: String,
}

fn person(scene: &Scene, name: &str) -> Person {
    let mut browser = scene.signed_in(name);
    let (status, me) = scene.me(&mut browser);
    assert_eq!(status, 200);
    let token = me["csrf_token"].as_str().expect("/me tells the token").to_owned();
    Person { cookie: format!("{SESSION}={}", session_value(&browser)), token }
}

fn write(scene: &Scene, method: &str, target: &str, cookie: &str) -> Request {
    let host = HTTPS.trim_start_matches("https://");
    scene.gateway.client().named(host).request(method, target).header("Cookie", cookie)
}

fn assert_refused(scene: &Scene, answer: &Response, case: &str) {
    assert_eq!(answer.status, 403, "{case}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
    assert!(answer.header("location").is_none() && answer.head.all("set-cookie").is_empty(), "{case}");
    assert_eq!(scene.upstream.count(), 0, "{case}: the application saw it");
}

/// What other pages can make a browser send: forms, images, scripts of siblings, JSON as plain text.
#[test]
fn class_32_other_pages_write_nothing_in_a_persons_name() {
    let scene = scene();
    let alice = person(&scene, "alice");
    let foreign: [(&str, &[(&str, &str)]); 8] = [
        ("another site's form", &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")]),
        ("a sibling's form", &[("Sec-Fetch-Site", "same-site"), ("Origin", "https://evil.app.example.com")]),
        ("an old browser", &[("Origin", "https://evil.example")]),
        ("an old sibling", &[("Origin", "https://app.example.com.evil.example")]),
        ("a sandbox", &[("Origin", "null")]),
        ("a very old browser", &[("Referer", "https://evil.example/app.example.com")]),
        ("downgraded", &[("Origin", "http://app.example.com")]),
        ("nothing is said", &[]),
    ];
    scene.upstream.forget();
    for (case, lines) in foreign {
        for target in ["/origin/x", "/token/x", "/shared/x", "/read-only/x"] {
            for method in UNSAFE {
                let request = write(&scene, method, target, &alice.cookie).headers(lines);
                assert_refused(&scene, &request.send(), &format!("{case}: {method} {target}"));
            }
            let json = write(&scene, "POST", target, &alice.cookie).headers(lines);
            let json = json.header("Content-Type", "text/plain").body(r#"{"amount": 1000}"#);
            assert_refused(&scene, &json.send(), &format!("{case}: JSON as plain text to {target}"));
        }
    }
    // Reading goes on, and routes that ask for nothing get what they always got.
    for target in ["/origin/x", "/token/x"] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let answer = write(&scene, method, target, &alice.cookie).header("Sec-Fetch-Site", "cross-site").send();
            assert_eq!(answer.status, 200, "{method} {target}");
        }
    }
    assert_eq!(write(&scene, "POST", "/x", &alice.cookie).header("Sec-Fetch-Site", "cross-site").send().status, 200);
}

#[test]
fn class_32_pages_of_this_origin_write() {
    let scene = scene();
    let alice = person(&scene, "alice");
    let status = |target: &str, lines: &[(&str, &str)]| {
        write(&scene, "POST", target, &alice.cookie).headers(lines).body("x").send().status
    };
    for own in [
        &[("Sec-Fetch-Site", "same-origin")][..],
        &[("Sec-Fetch-Site", "none")],
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "https://app.example.com")],
        &[("Origin", "https://app.example.com")],
        &[("Referer", "https://app.example.com/form?x")],
    ] {
        assert_eq!(status("/origin/x", own), 200, "{own:?}");
        assert_eq!(status("/site/x", own), 200, "{own:?}");
    }
    assert_eq!(status("/site/x", &[("Sec-Fetch-Site", "same-site"), ("Origin", "https://b.example.com")]), 200);
    assert_eq!(status("/site/x", &[("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(status("/site/x", &[("Origin", "https://b.example.com")]), 403, "without a word on the site");
    assert_eq!(status("/site/x", &[("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Site", "same-site")]), 403);
    // Whom the route lets come with credentials is one of ours; whom it lets read without is not.
    let front = [("Sec-Fetch-Site", "same-site"), ("Origin", "https://front.example.com")];
    assert_eq!(status("/shared/x", &front), 200);
    assert_eq!(status("/read-only/x", &front), 403);
    assert_eq!(status("/origin/x", &front), 403);
    assert_eq!(status("/shared/x", &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://frontXexample.com")]), 403);
}

#[test]
fn class_32_the_token_is_the_sessions_own_and_goes_no_further() {
    let scene = scene();
    let (alice, again, bob) = (person(&scene, "alice"), person(&scene, "alice"), person(&scene, "bob"));
    assert_ne!(alice.token, again.token, "each session has its own");
    assert_ne!(alice.token, bob.token);
    scene.upstream.forget();
    let with = |tokens: &[&str]| {
        let request = write(&scene, "POST", "/token/x", &alice.cookie).header("Sec-Fetch-Site", "same-origin");
        tokens.iter().fold(request, |request, token| request.header("X-CSRF-Token", token)).body("x").send()
    };
    let cut = &alice.token[..alice.token.len() - 1];
    let longer = format!("{}A", alice.token);
    for (case, tokens) in [
        ("none", &[][..]),
        ("empty", &[""]),
        ("another person's", &[&bob.token]),
        ("another session's", &[&again.token]),
        ("cut", &[cut]),
        ("longer", &[&longer]),
        ("guessed", &["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]),
        ("twice", &[&alice.token, &alice.token]),
        ("beside a wrong one", &[&bob.token, &alice.token]),
    ] {
        assert_refused(&scene, &with(tokens), case);
    }
    let in_query = write(&scene, "POST", &format!("/token/x?csrf_token={}", alice.token), &alice.cookie).send();
    assert_refused(&scene, &in_query, "where addresses are logged");
    let in_cookie =
        write(&scene, "POST", "/token/x", &format!("{}; X-CSRF-Token={}", alice.cookie, alice.token)).send();
    assert_refused(&scene, &in_cookie, "where browsers add it by themselves");
    assert_eq!(with(&[&alice.token]).status, 200);
    let seen = scene.upstream.only_request();
    assert_eq!(seen.header("x-csrf-token"), None, "the application has no use for it");
    assert_eq!(seen.body, b"x");
    assert!(!scene.gateway.logs().contains(&alice.token), "it stands in the log");

    let refused = with(&[]);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.text().contains("X-CSRF-Token") && refused.text().contains("/.auth/me"), "{}", refused.text());
    let window = write(&scene, "POST", "/token/x", &alice.cookie).headers(&[
        ("Accept", "text/html"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ]);
    assert!(window.send().header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
}

#[test]
fn class_32_only_what_browsers_add_by_themselves_has_to_be_shown() {
    let scene = scene();
    let alice = person(&scene, "alice");
    scene.upstream.forget();
    let host = HTTPS.trim_start_matches("https://");
    let bare = |target: &str| scene.gateway.client().named(host).request("POST", target).header("Accept", "*/*");
    let bearer = format!("Bearer {}", good(&scene.provider));
    for target in ["/token/x", "/origin/x"] {
        let answer = bare(target).header("Authorization", &bearer).header("Origin", "https://evil.example").send();
        assert_eq!(answer.status, 200, "no browser adds a token by itself: {}", answer.text());
    }
    assert_eq!(bare("/public/x").send().status, 200, "nobody is signed in");
    assert_eq!(bare("/token/x").send().status, 401, "who is asked first is who it is");
    let signed_in = bare("/public/x").header("Cookie", &alice.cookie).send();
    assert_eq!(signed_in.status, 403, "the application would be told that it is alice");
    let bob = person(&scene, "bob");
    let forbidden = bare("/admin/x").header("Cookie", &bob.cookie).header("X-CSRF-Token", &bob.token).send();
    assert_eq!(forbidden.status, 403, "and the rule still holds");
    assert!(!forbidden.text().contains("X-CSRF-Token"), "{}", forbidden.text());
}

/// An application that reads a path in another way meets another route there; what that route asks for has to be shown too.
#[test]
fn class_32_every_reading_of_a_path_is_asked() {
    let scene = scene();
    let alice = person(&scene, "alice");
    scene.upstream.forget();
    assert_eq!(write(&scene, "POST", "/odd/strict/x", &alice.cookie).send().status, 200);
    scene.upstream.forget();
    assert_refused(&scene, &write(&scene, "POST", "/odd/strict;v=1/x", &alice.cookie).send(), "the other reading");
}

/// A refresh keeps the session, and so the token that a page has had from the beginning; what is sent once more shows it to nobody either.
#[test]
fn the_token_outlives_a_refresh() {
    let scene = refresh_scene::scene(300, |config| {
        config.raw(
            "[[routes]]\npath = \"/guarded/*\"\nallow = \"signed-in\"\nupstream = \"api\"\ncsrf = \"token\"\nretry_unauthorized = true",
        )
    });
    let alice = person(&scene, "alice");
    scene.upstream.forget();
    scene.upstream.on_each("/guarded/x", vec![Answer::status(401), Answer::body("done")]);
    let answer = write(&scene, "DELETE", "/guarded/x", &alice.cookie).header("X-CSRF-Token", &alice.token).send();
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), scene.gateway.logs());
    let seen = scene.upstream.requests();
    assert!(seen.len() == 2 && seen.iter().all(|request| request.header("x-csrf-token").is_none()), "{seen:?}");
    let newest = refresh_scene::new_cookie(&answer);
    assert_ne!(newest, alice.cookie, "it was refreshed on the way");
    let me = write(&scene, "GET", "/.auth/me", &newest).send().json();
    assert_eq!(me["csrf_token"], json!(alice.token));
    let after = write(&scene, "DELETE", "/guarded/x", &newest).header("X-CSRF-Token", &alice.token).send();
    assert_eq!(after.status, 200, "{}", after.text());
}

/// The gateway's own endpoints, which need no setting for it.
#[test]
fn class_32_other_pages_end_and_change_no_session() {
    let scene = scene();
    let alice = person(&scene, "alice");
    let foreign: [&[(&str, &str)]; 4] = [
        &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")],
        &[("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
        &[("Origin", "https://evil.example"), ("Accept", "text/html")],
        &[("Origin", "null"), ("Accept", "*/*")],
    ];
    for lines in foreign {
        for (method, target) in [
            ("GET", "/.auth/logout"),
            ("POST", "/.auth/logout"),
            ("GET", "/.auth/logout?everywhere=1"),
            ("POST", "/.auth/refresh"),
            ("GET", "/.auth/refresh"),
        ] {
            let answer = write(&scene, method, target, &alice.cookie).headers(lines).send();
            assert!(answer.head.all("set-cookie").is_empty(), "{method} {target} {lines:?}: {:?}", answer.head.headers);
            let me = write(&scene, "GET", "/.auth/me", &alice.cookie).send();
            assert_eq!(me.status, 200, "{method} {target} {lines:?} ended the session");
        }
    }
}

/// `/me` tells nobody else, and tells no token of the provider's.
#[test]
fn me_tells_the_token_and_when_it_ends_to_pages_of_this_origin_alone() {
    let scene = scene();
    let mut browser = scene.signed_in("alice");
    let answer = browser.peek(&scene.at("/.auth/me"));
    let me = answer.json();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("vary"), Some("Cookie"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    for span in ["expires_at", "expires_in", "ends_at", "created_at"] {
        assert!(me[span].as_u64().is_some_and(|seconds| seconds > 0), "{span}: {me}");
    }
    assert_eq!(me["csrf_token"].as_str().map(str::len), Some(43), "{me}");
    for secret in ["access_token", "refresh_token", "id_token", "nonce", "sid"] {
        assert!(me.get(secret).is_none(), "{secret}: {me}");
    }
    let again = browser.peek(&scene.at("/.auth/me")).json();
    assert_eq!(again["csrf_token"], me["csrf_token"], "it stays as long as the session");
    let nobody = scene.window("/.auth/me").send();
    assert_eq!((nobody.status, nobody.json().get("csrf_token")), (401, None));
    assert_eq!(nobody.json()["status"], json!(401));
}

/// Renewed cookies and rotated keys are the same session still.
#[test]
fn the_token_lasts_as_long_as_the_session() {
    let keys = [crate::support::SESSION_KEY, "HxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4"];
    let routes = format!("[bearer.corp]\naudience = [{AUDIENCE:?}]\n{ROUTES}");
    let scene = Scene::https(|config| config.raw(&routes));
    let alice = person(&scene, "alice");
    let rotated = scene.another(|config| config.keys(&[keys[1], keys[0]]).raw(&routes));
    let host = HTTPS.trim_start_matches("https://");
    let renewed = rotated.client().named(host).request("GET", "/x").header("Cookie", &alice.cookie).send();
    let cookie = renewed.head.all("set-cookie").into_iter().find(|line| line.starts_with(SESSION));
    let cookie = cookie.expect("the cookie is sealed anew with the first key").split(';').next().unwrap().to_owned();
    assert_ne!(cookie, alice.cookie);
    let write = rotated.client().named(host).request("POST", "/token/x").header("Cookie", &cookie);
    let answer = write.header("X-CSRF-Token", &alice.token).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
}
