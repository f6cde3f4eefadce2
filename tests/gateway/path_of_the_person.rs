//! `rewrite` with who is asking in the path: one segment, or no request at all.

use portcullis::demo::provider::{Person, ProviderOptions};
use serde_json::{Value, json};

use crate::sign_ins::SignIns;
use crate::support::browser::Browser;

fn scene() -> SignIns {
    let routes = "[[routes]]\npath = \"/me\"\nallow = \"signed-in\"\nupstream = \"app\"\nrewrite = \"/api/user/{sub}\"\n\
                  [[routes]]\npath = \"/mine/*\"\nallow = \"signed-in\"\nupstream = \"app\"\nrewrite = \"/api/{claims.org.id}/u-{preferred_username}/*\"\n\
                  [[routes]]\npath = \"/admin/*\"\nallow = { roles = [\"admin\"] }\nupstream = \"app\"\n\
                  [[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nupstream = \"app\"";
    SignIns::start_with(ProviderOptions::default(), |config| config.raw(routes))
}

fn browser(scene: &SignIns, claims: Value) -> Browser {
    scene.control().put_person(Person::new("alice", claims));
    scene.sign_in("before").0
}

#[test]
fn each_person_has_their_own_path() {
    let scene = scene();
    for (subject, segment) in [
        ("alice", "alice"),
        ("auth0|1 2", "auth0%7C1%202"),
        ("a/b", "a%2Fb"),
        ("a?b=c&d#e;f", "a%3Fb%3Dc%26d%23e%3Bf"),
        ("%2e%2e%2fadmin", "%252e%252e%252fadmin"),
        ("...", "..."),
    ] {
        let mut browser = browser(&scene, json!({"sub": subject}));
        let answer = browser.peek(&scene.gateway.at("/me?x=%2F&y"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = scene.upstream.last_request();
        assert_eq!(seen.target, format!("/api/user/{segment}?x=%2F&y"));
        assert_eq!(seen.header("x-forwarded-prefix"), None);
    }
}

#[test]
fn the_rest_of_the_path_follows_as_it_came() {
    let scene = scene();
    let mut browser = browser(&scene, json!({"sub": "alice", "preferred_username": "al ice", "org": {"id": 7}}));
    for (path, sent) in [
        ("/mine/a%20b/%C3%BC?q", "/api/7/u-al%20ice/a%20b/%C3%BC?q"),
        ("/mine/", "/api/7/u-al%20ice/"),
        ("/m%69ne/x", "/api/7/u-al%20ice/x"),
    ] {
        assert_eq!(browser.peek(&scene.gateway.at(path)).status, 200, "{path}");
        assert_eq!(scene.upstream.last_request().target, sent);
    }
}

#[test]
fn whoever_could_be_led_elsewhere_is_not_sent_at_all() {
    let scene = scene();
    for subject in [".", "..", "../admin", "x/../../admin/users", "..;/admin", "a//b", "a/", "\\..\\admin", "a\\..\\b"]
    {
        let mut browser = browser(&scene, json!({"sub": subject, "preferred_username": "alice", "org": {"id": 7}}));
        let before = scene.upstream.count();
        let answer = browser.peek(&scene.gateway.at("/me"));
        assert_eq!(answer.status, 403, "{subject}: {}", answer.text());
        assert_eq!(scene.upstream.count(), before, "{subject}");
        assert!(scene.gateway.logs_come_to_hold("`{sub}` has no value that can be one segment"), "{subject}");
    }
    for claims in [
        json!({"sub": "alice"}),
        json!({"sub": "alice", "preferred_username": "alice", "org": {"id": ""}}),
        json!({"sub": "alice", "preferred_username": "alice", "org": {"id": ["a"]}}),
        json!({"sub": "alice", "preferred_username": "alice", "org": "7"}),
        json!({"sub": "alice", "preferred_username": "/../../admin", "org": {"id": 7}}),
    ] {
        let mut browser = browser(&scene, claims.clone());
        let before = scene.upstream.count();
        assert_eq!(browser.peek(&scene.gateway.at("/mine/x")).status, 403, "{claims}");
        assert_eq!(scene.upstream.count(), before, "{claims}");
    }
    let before = scene.upstream.count();
    let answer = scene.gateway.get("/me").send();
    assert!(matches!(answer.status, 302 | 401), "{}", answer.text());
    assert_eq!(scene.upstream.count(), before, "nobody has no path either");
}
