//! A gateway whose routes take access tokens beside sessions, and tokens of any shape to send it.

use portcullis::base::clock::Clock;
use serde_json::{Map, Value, json};

use crate::scene::Scene;
use crate::support::client::{Request, Response};
use crate::support::gateway::GatewayConfig;
pub(crate) use crate::support::hand::{Hand, hash};
use crate::support::provider::Provider;

/// What tokens are for here.
pub(crate) const AUDIENCE: &str = "https://api.example.com";

/// Routes of every kind, with the provider's tokens taken below `/api` and `/admin`.
pub(crate) const ROUTES: &str = r#"
[[routes]]
path = "/api/*"
allow = "signed-in"
bearer = true
[[routes]]
path = "/open/*"
allow = "everyone"
bearer = "corp"
[[routes]]
path = "/admin/*"
allow = { roles = ["admin"] }
bearer = ["corp"]
[[routes]]
path = "/orders/*"
allow = [{ scopes = ["orders:read", "orders:write"] }]
bearer = true
[[routes]]
path = "/client/*"
allow = { claims = { azp = "mobile" } }
bearer = true
[[routes]]
path = "/gold/*"
allow = { acr = ["gold"], max_age = "5m" }
bearer = true
[[routes]]
path = "/*"
allow = "signed-in"
"#;

/// A scene on loopback with `[bearer.corp]`, further lines in it, and the usual routes.
pub(crate) fn scene(lines: &str) -> Scene {
    Scene::loopback(|config| dressed(config, lines))
}

/// A config with `[bearer.corp]`, further lines in it, and the usual routes.
pub(crate) fn dressed(config: GatewayConfig, lines: &str) -> GatewayConfig {
    config
        .top("workers = 1")
        .provider_line("groups_claim = \"groups\"")
        .provider_line("roles_claims = [\"roles\"]")
        .raw(&format!("[bearer.corp]\naudience = [{AUDIENCE:?}]\n{lines}"))
        .raw(ROUTES)
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    Clock::System.now().seconds()
}

/// The claims of a good token for alice.
pub(crate) fn claims(provider: &Provider) -> Value {
    json!({"iss": provider.issuer(), "aud": AUDIENCE, "sub": "alice", "client_id": "cli", "jti": "j-1", "iat": now(),
        "exp": now() + 300, "scope": "orders:read", "roles": ["user"], "groups": ["staff"]})
}

pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// A token that the provider signed.
pub(crate) fn token(provider: &Provider, header: &Value, claims: &Value) -> String {
    provider.control().sign(&object(header), &object(claims)).expect("it signs")
}

/// A good token for alice.
pub(crate) fn good(provider: &Provider) -> String {
    token(provider, &json!({"typ": "at+jwt"}), &claims(provider))
}

/// A good token with these claims changed; `null` takes one away.
pub(crate) fn with(provider: &Provider, changes: &Value) -> String {
    let mut claims = claims(provider);
    for (name, value) in object(changes) {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(&name);
        } else {
            claims[name.as_str()] = value;
        }
    }
    token(provider, &json!({"typ": "at+jwt"}), &claims)
}

/// A request as a program sends it.
pub(crate) fn get(scene: &Scene, target: &str) -> Request {
    scene.gateway.get(target).header("Accept", "application/json")
}

/// What a request with this token gets.
pub(crate) fn ask(scene: &Scene, target: &str, token: &str) -> Response {
    get(scene, target).header("Authorization", &format!("Bearer {token}")).send()
}

/// What an answer says in `WWW-Authenticate`.
pub(crate) fn challenge(answer: &Response) -> String {
    answer.header("www-authenticate").unwrap_or_default().to_owned()
}

/// Asserts that a token was refused, and that nothing of the request went on.
pub(crate) fn assert_refused(scene: &Scene, answer: &Response, case: &str) {
    assert_eq!(answer.status, 401, "{case}: {} {}\n{}", answer.head.first_line, answer.text(), scene.gateway.logs());
    assert!(challenge(answer).contains("error=\"invalid_"), "{case}: {}", challenge(answer));
    assert!(answer.head.all("set-cookie").is_empty() && answer.header("location").is_none(), "{case}");
    assert_eq!(scene.upstream.requests().len(), 0, "{case}: the application saw it");
}
