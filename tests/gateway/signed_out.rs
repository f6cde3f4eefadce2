//! Somebody without a session: the answer depends on who asks, and nothing reaches the upstream.

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::client::Response;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::upstream::Upstream;

const PUBLIC: &str = "https://app.example.com";

/// A provider that has metadata and no more: enough to be sent to, not to come back from.
fn provider_of_metadata() -> Upstream {
    let provider = Upstream::start();
    let issuer = provider.url();
    provider.on(
        "/.well-known/openid-configuration",
        Answer::json(&json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
        })),
    );
    provider.on("/jwks", Answer::json(&json!({ "keys": [] })));
    provider
}

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    provider: Upstream,
}

fn scene(dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Scene {
    let provider = provider_of_metadata();
    let upstream = Upstream::start();
    let config =
        GatewayConfig::new(PUBLIC).provider(&provider.url(), "a client secret").upstream("app", &upstream.url());
    let gateway = dress(config).start();
    Scene { gateway, upstream, provider }
}

impl Scene {
    /// Sent to sign in: at the login endpoint of the configured URL, or straight to the provider.
    fn assert_sent_to_sign_in(&self, answer: &Response) {
        assert_eq!(answer.status, 302, "{} {}", answer.head.first_line, answer.text());
        let location = answer.header("location").expect("a redirect says where to");
        let expected =
            [format!("{PUBLIC}/.auth/login"), format!("{}/authorize?", self.provider.url()), "/.auth/login".to_owned()];
        assert!(expected.iter().any(|start| location.starts_with(start)), "{location}");
        assert_eq!(
            answer.header("cache-control").map(|value| value.contains("no-store")),
            Some(true),
            "a redirect to sign in is never kept"
        );
    }

    fn assert_refused(answer: &Response) {
        assert_eq!(answer.status, 401, "{} {}", answer.head.first_line, answer.text());
        assert!(answer.header("www-authenticate").is_some(), "RFC 9110, section 15.5.2: {:?}", answer.head.headers);
        assert!(answer.header("location").is_none());
        assert_eq!(answer.header("cache-control").map(|value| value.contains("no-store")), Some(true));
    }

    fn assert_nothing_reached_the_upstream(&self) {
        assert_eq!(self.upstream.count(), 0, "{:?}", self.upstream.requests());
        assert_eq!(self.upstream.connections(), 0, "not even a connection is opened");
    }
}

#[test]
fn a_plain_request_is_sent_to_sign_in() {
    let scene = scene(|config| config);
    scene.assert_sent_to_sign_in(&scene.gateway.get("/").send());
    scene.assert_sent_to_sign_in(&scene.gateway.get("/x?y=1").send());
    scene.assert_nothing_reached_the_upstream();
}

#[test]
fn a_browser_that_opens_a_page_is_sent_to_sign_in() {
    let scene = scene(|config| config);
    let page =
        scene.gateway.get("/x").headers(&[("Accept", "text/html,*/*;q=0.8"), ("Sec-Fetch-Mode", "navigate")]).send();
    scene.assert_sent_to_sign_in(&page);
    scene.assert_nothing_reached_the_upstream();
}

#[test]
fn scripts_and_api_clients_get_401() {
    let scene = scene(|config| config);
    for fields in [
        ("Accept", "application/json"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Mode", "same-origin"),
        ("X-Requested-With", "XMLHttpRequest"),
    ] {
        Scene::assert_refused(&scene.gateway.get("/x").headers(&[fields]).send());
    }
    scene.assert_nothing_reached_the_upstream();
}

#[test]
fn a_route_says_what_the_signed_out_get() {
    let scene = scene(|config| {
        config
            .raw("[[routes]]\npath = \"/api/*\"\nallow = \"signed-in\"\nsigned_out = \"401\"\nupstream = \"app\"")
            .raw("[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nsigned_out = \"redirect\"\nupstream = \"app\"")
    });
    Scene::assert_refused(
        &scene.gateway.get("/api/x").header("Sec-Fetch-Mode", "navigate").header("Accept", "text/html").send(),
    );
    scene.assert_sent_to_sign_in(&scene.gateway.get("/x").header("Accept", "application/json").send());
    scene.assert_nothing_reached_the_upstream();
}

#[test]
fn a_public_route_passes_without_identity_whatever_the_client_claims() {
    let scene = scene(|config| config.route("/public/*", "\"everyone\"", "app").route("/*", "\"signed-in\"", "app"));
    let answer = scene
        .gateway
        .get("/public/x?y=1")
        .headers(&[
            ("X-Forwarded-User", "root"),
            ("x_forwarded_email", "root@example.com"),
            ("X-Forwarded.Groups", "admin"),
        ])
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = scene.upstream.only_request();
    assert_eq!(seen.target, "/public/x?y=1");
    assert!(!seen.mentions("root") && !seen.mentions("admin"), "{:?}", seen.head.headers);
}

#[test]
fn where_to_come_back_to_is_never_taken_from_the_host_field() {
    let scene = scene(|config| config);
    let answer =
        scene.gateway.client().named("evil.example").get("/x").header("X-Forwarded-Host", "evil.example").send();
    assert!(matches!(answer.status, 302 | 400 | 404 | 421), "{}", answer.status);
    assert!(!String::from_utf8_lossy(&answer.head.raw).contains("evil.example"), "{:?}", answer.head.headers);
    assert!(!answer.text().contains("evil.example"));
    scene.assert_nothing_reached_the_upstream();
}

#[test]
fn no_route_is_404_and_no_upstream() {
    let scene = scene(|config| config.route("/only", "\"everyone\"", "app"));
    assert_eq!(scene.gateway.get("/other").send().status, 404);
    assert_eq!(scene.gateway.get("/only").send().status, 200);
    assert_eq!(scene.upstream.count(), 1);
}

#[test]
fn a_disguised_path_is_refused_before_any_rule() {
    let scene = scene(|config| config.route("/public/*", "\"everyone\"", "app").route("/*", "\"signed-in\"", "app"));
    for target in [
        "/public/..%2fadmin",
        "/public/%2e%2e/admin",
        "/public/../admin",
        "/public//x",
        "/public/x;y=1",
        "/public/%00",
        "/public/a%5cb",
    ] {
        let answer = scene.gateway.get(target).send();
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    scene.assert_nothing_reached_the_upstream();
}

#[test]
fn who_am_i_without_a_session_is_401_in_json() {
    let scene = scene(|config| config);
    let answer = scene.gateway.get("/.auth/me").send();
    assert_eq!(answer.status, 401);
    assert!(answer.header("content-type").is_some_and(|kind| kind.contains("json")), "{:?}", answer.head.headers);
    answer.json();
    scene.assert_nothing_reached_the_upstream();
}

#[test]
fn it_stops_in_order_when_asked() {
    let mut scene = scene(|config| config);
    assert_eq!(scene.gateway.get("/.auth/me").send().status, 401);
    assert!(scene.gateway.stop().success(), "{}", scene.gateway.logs());
}
