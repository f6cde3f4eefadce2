//! Opaque access tokens, asked about at their issuer (RFC 7662): attack 48, and rows 10 and 33 of the peers' advisories.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::bearer_scene::{AUDIENCE, ask, assert_refused, claims, dressed, good, now, object};
use crate::scene::{Scene, provider};
use crate::support::answer::Answer;
use crate::support::gateway::GatewayConfig;
use crate::support::pause;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET};
use crate::support::upstream::Upstream;

/// A scene whose provider is asked about tokens at an endpoint that answers by script.
struct Asked {
    scene: Scene,
    endpoint: Upstream,
}

impl Asked {
    fn start(lines: &str) -> Self {
        Self::with(GatewayConfig::on_loopback(), lines)
    }

    fn with(config: GatewayConfig, lines: &str) -> Self {
        let endpoint = Upstream::start();
        let url = format!("{}/introspect", endpoint.url());
        let scene = Scene::with(config, provider(), |config| {
            let config = config.provider_line(&format!("private_endpoints = [{:?}]", endpoint.url()));
            dressed(config, &format!("introspection_url = {url:?}\n{lines}"))
        });
        Self { scene, endpoint }
    }

    fn says(&self, value: &Value) {
        self.endpoint.on("/introspect", Answer::json(value));
    }

    /// The good answer about alice, with changes; `null` takes a member away.
    fn good(&self, changes: &Value) -> Value {
        let mut value = claims(&self.scene.provider);
        value["active"] = json!(true);
        for (name, change) in object(changes) {
            if change.is_null() {
                value.as_object_mut().unwrap().remove(&name);
            } else {
                value[name.as_str()] = change;
            }
        }
        value
    }
}

#[test]
fn a_token_that_its_issuer_calls_active_passes() {
    let asked = Asked::start("introspection = \"opaque\"");
    asked.says(&asked.good(&json!({"roles": ["admin"], "username": "alice@corp"})));
    let answer = ask(&asked.scene, "/admin/x", "opaque-token");
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), asked.scene.gateway.logs());
    assert_eq!(asked.scene.upstream.last_request().header("x-forwarded-user"), Some("alice"));
    assert_eq!(asked.scene.upstream.last_request().header("authorization"), None);
    // Section 2.1: a POST with a form, and our client's proof.
    let question = asked.endpoint.only_request();
    assert_eq!(question.method, "POST");
    assert!(!question.target.contains("opaque-token"));
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&question.body).into_owned().collect();
    assert!(form.contains(&("token".to_owned(), "opaque-token".to_owned())), "{form:?}");
    let proof = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    assert_eq!(question.header("authorization"), Some(proof.as_str()));
    // Signed ones go on being verified here.
    assert_eq!(ask(&asked.scene, "/api/x", &good(&asked.scene.provider)).status, 200);
    assert_eq!(asked.endpoint.count(), 1);
}

#[test]
fn whatever_is_not_active_true_for_us_is_refused() {
    let asked = Asked::start("introspection = \"opaque\"\nintrospection_cache = \"0s\"");
    let good = |changes: Value| asked.good(&changes);
    let cases = [
        good(json!({"active": false})),
        good(json!({"active": "true"})),
        good(json!({"active": 1})),
        good(json!({"active": null})),
        good(json!({"active": [true]})),
        good(json!({"aud": "https://other.example"})),
        good(json!({"aud": null})),
        good(json!({"exp": now() - 100})),
        good(json!({"exp": "soon"})),
        good(json!({"nbf": now() + 1000})),
        good(json!({"iss": "https://other.example"})),
        good(json!({"sub": ["alice"]})),
        good(json!({"sub": null, "client_id": null})),
        good(json!({"token_type": "refresh_token"})),
        good(json!({"token_use": "refresh_token"})),
        good(json!({"cnf": {"unknown": "x"}})),
        json!({"active": true}),
        json!({}),
    ];
    for (number, case) in cases.iter().enumerate() {
        asked.says(case);
        let answer = ask(&asked.scene, "/api/x", &format!("opaque-{number}"));
        assert_refused(&asked.scene, &answer, &case.to_string());
    }
    asked.says(&good(json!({})));
    assert_eq!(ask(&asked.scene, "/api/x", "opaque").status, 200, "the rig itself is good");
    asked.says(&json!({"active": true, "aud": AUDIENCE, "client_id": "backup"}));
    assert_eq!(ask(&asked.scene, "/api/x", "service").status, 200);
    assert_eq!(asked.scene.upstream.last_request().header("x-forwarded-user"), Some("client:backup"));
}

/// Attack 18 and 48: what can't be told lets nobody in.
#[test]
fn while_nobody_can_tell_the_answer_is_503() {
    let asked = Asked::start("introspection = \"opaque\"");
    let unusable = [
        Answer::status(500),
        Answer::status(503),
        Answer::status(401),
        Answer::status(404),
        Answer::body("{\"active\":true}").header("Content-Type", "text/html"),
        Answer::body("not json").header("Content-Type", "application/json"),
        Answer::body(format!("{{\"active\":true,\"active\":true,\"aud\":\"{AUDIENCE}\",\"sub\":\"a\"}}"))
            .header("Content-Type", "application/json"),
        Answer::json(&asked.good(&json!({}))).with_status(302).header("Location", "http://127.0.0.1:1/"),
    ];
    for (number, answer) in unusable.into_iter().enumerate() {
        asked.endpoint.on("/introspect", answer);
        let got = ask(&asked.scene, "/api/x", &format!("opaque-{number}"));
        assert_eq!(got.status, 503, "{number}: {}", got.text());
        assert!(got.header("retry-after").is_some());
        // A failure is passed on for a second.
        pause(Duration::from_millis(1100));
    }
    assert_eq!(asked.scene.upstream.requests().len(), 0);
    asked.says(&asked.good(&json!({})));
    assert_eq!(ask(&asked.scene, "/api/x", "opaque-0").status, 200, "a failure is not remembered");
}

#[test]
fn answers_are_kept_as_long_as_the_config_and_the_token_say() {
    let asked = Asked::start("introspection = \"opaque\"\nintrospection_cache = \"6s\"");
    asked.says(&asked.good(&json!({})));
    for _ in 0..5 {
        assert_eq!(ask(&asked.scene, "/api/x", "opaque").status, 200);
    }
    assert_eq!(asked.endpoint.count(), 1, "asked once");
    asked.says(&json!({"active": false}));
    pause(Duration::from_millis(7100));
    assert_eq!(ask(&asked.scene, "/api/x", "opaque").status, 401, "what was revoked is known then");
    let before = asked.endpoint.count();
    for _ in 0..5 {
        assert_eq!(ask(&asked.scene, "/api/x", "opaque").status, 401);
    }
    assert_eq!(asked.endpoint.count(), before, "a bad answer is kept for a while too");
    assert_eq!(ask(&asked.scene, "/api/x", "another").status, 401);
    assert_eq!(asked.endpoint.count(), before + 1, "each token by itself");
}

/// Row 33: what one answer says is judged anew for each route.
#[test]
fn one_answer_is_judged_by_each_route_anew() {
    let asked = Asked::start("introspection = \"opaque\"");
    asked.says(&asked.good(&json!({"scope": "other"})));
    assert_eq!(ask(&asked.scene, "/api/x", "opaque").status, 200);
    assert_eq!(ask(&asked.scene, "/orders/x", "opaque").status, 403);
    assert_eq!(ask(&asked.scene, "/admin/x", "opaque").status, 403);
    assert_eq!(asked.endpoint.count(), 1);
}

#[test]
fn signed_tokens_are_asked_about_where_the_config_says_so() {
    let asked = Asked::start("introspection = \"always\"");
    asked.says(&json!({"active": false}));
    let token = good(&asked.scene.provider);
    assert_eq!(ask(&asked.scene, "/api/x", &token).status, 401, "its signature is good, and its issuer says no");
    assert_eq!(asked.endpoint.count(), 1);
    let never = Asked::with(GatewayConfig::on_loopback(), "introspection = \"opaque\"");
    never.says(&never.good(&json!({})));
    let foreign = json!({"iss": "https://other.example", "aud": AUDIENCE, "sub": "a", "exp": now() + 60});
    let foreign = crate::bearer_scene::token(&never.scene.provider, &json!({}), &foreign);
    assert_eq!(ask(&never.scene, "/api/x", &foreign).status, 401);
    assert_eq!(never.endpoint.count(), 0, "another issuer's token is not told to this one");
}

#[test]
fn many_that_bring_one_token_at_once_have_it_asked_about_once() {
    let asked = Asked::start("introspection = \"opaque\"");
    let slow = Answer::json(&asked.good(&json!({}))).after(Duration::from_millis(700));
    asked.endpoint.on("/introspect", slow);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(&asked.scene, "/api/x", "opaque").status)).collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), 200);
        }
    });
    assert_eq!(asked.endpoint.count(), 1);
}

/// What an issuer makes of one odd token keeps nobody else out.
#[test]
fn one_odd_token_keeps_no_other_out() {
    let asked = Asked::start("introspection = \"opaque\"");
    asked.endpoint.on("/introspect", Answer::status(400));
    assert_eq!(ask(&asked.scene, "/api/x", "odd").status, 503);
    asked.says(&asked.good(&json!({})));
    assert_eq!(ask(&asked.scene, "/api/x", "good").status, 200);
}
