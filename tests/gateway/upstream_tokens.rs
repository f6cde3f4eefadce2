//! Tokens that upstreams get: signed, exchanged, the gateway's own, static; whose they are, how long they are kept, and what a refusal does.

use std::time::Duration;

use portcullis::base::clock::instant;
use portcullis::demo::provider::{Edit, Endpoint, Lifetimes, Misbehaviour, ProviderOptions, Transport};
use serde_json::{Value, json};

use crate::assertions::{claims_of, verified};
use crate::sign_ins::SignIns;
use crate::support::browser::Browser;
use crate::support::pause;
use crate::support::provider::CLIENT_ID;
use crate::support::upstream::{Recorded, Upstream};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A gateway with one more upstream, `api`, that gets this token, at `/api/*` for everyone who is signed in and at `/open/*` for everyone.
struct Scene {
    sign_ins: SignIns,
    api: Upstream,
}

fn scene(token: &str) -> Scene {
    scene_with(token, ProviderOptions::default())
}

fn scene_with(token: &str, options: ProviderOptions) -> Scene {
    let api = Upstream::start();
    let tables = format!(
        "[upstreams.api]\nurl = {:?}\ntoken = {token}\n\
         [[routes]]\npath = \"/api/*\"\nallow = \"signed-in\"\nupstream = \"api\"\n\
         [[routes]]\npath = \"/open/*\"\nallow = \"everyone\"\nupstream = \"api\"\n\
         [[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nupstream = \"app\"",
        api.url()
    );
    let sign_ins = SignIns::start_with(options, |config| config.raw(&tables));
    Scene { sign_ins, api }
}

impl Scene {
    fn browser(&self, user: &str) -> Browser {
        let mut browser = Browser::new();
        let page = browser.sign_in(user, &self.sign_ins.gateway.at("/app"));
        assert_eq!(page.response.status, 200, "{}\n{}", page.text(), self.sign_ins.gateway.logs());
        self.sign_ins.control().forget();
        browser
    }

    fn seen(&self, browser: &mut Browser, path: &str) -> Recorded {
        let before = self.api.count();
        let answer = browser.peek(&self.sign_ins.gateway.at(path));
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), self.sign_ins.gateway.logs());
        assert_eq!(self.api.count(), before + 1);
        self.api.last_request()
    }

    /// What the token endpoint was asked since the sign-in.
    fn asked(&self) -> Vec<portcullis::demo::provider::Recorded> {
        self.sign_ins.control().requests(Endpoint::Token)
    }
}

fn bearer(seen: &Recorded) -> String {
    let values = seen.head.all("authorization");
    assert_eq!(values.len(), 1, "{values:?}");
    values[0].strip_prefix("Bearer ").unwrap_or_else(|| panic!("no bearer token: {}", values[0])).to_owned()
}

#[test]
fn an_exchanged_token_is_the_persons_own_and_is_kept() {
    let scene = scene("{ exchange = { audience = \"orders\", scopes = [\"read\", \"write\"] } }");
    let (mut alice, mut bob) = (scene.browser("alice"), scene.browser("bob"));
    let first = bearer(&scene.seen(&mut alice, "/api/x"));
    let claims = claims_of(&first);
    assert_eq!(
        (&claims["sub"], &claims["aud"], &claims["scope"]),
        (&json!("alice"), &json!(["orders"]), &json!("read write"))
    );
    let asked = scene.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].parameter("grant_type"), Some(EXCHANGE));
    assert_eq!(asked[0].parameter("subject_token_type"), Some("urn:ietf:params:oauth:token-type:access_token"));
    assert_ne!(asked[0].parameter("subject_token"), Some(first.as_str()));
    let other = bearer(&scene.seen(&mut bob, "/api/x"));
    assert_eq!(claims_of(&other)["sub"], "bob");
    for _ in 0..5 {
        assert_eq!(bearer(&scene.seen(&mut alice, "/api/y")), first);
        assert_eq!(bearer(&scene.seen(&mut bob, "/api/y")), other);
    }
    assert_eq!(scene.asked().len(), 2, "kept, each for its own");
    // What alice brings herself does not count.
    alice.fields.push(("Authorization".to_owned(), "Bearer forged".to_owned()));
    assert_eq!(bearer(&scene.seen(&mut alice, "/api/z")), first);
    let mut again = scene.browser("alice");
    assert_ne!(bearer(&scene.seen(&mut again, "/api/x")), first, "another session has tokens of its own");
    assert!(!scene.sign_ins.gateway.logs().contains(&first));
}

/// Row 34: nobody is ever told as somebody else, however many ask at once; and each token is fetched once.
#[test]
fn tokens_never_cross_when_many_ask_at_once() {
    let scene = scene("{ exchange = { audience = \"orders\" } }");
    let names: Vec<String> = (0..6).map(|number| format!("person{number}")).collect();
    for name in &names {
        let person = portcullis::demo::provider::Person::new(name, json!({"sub": name}));
        scene.sign_ins.control().put_person(person);
    }
    let browsers: Vec<(String, Browser)> = names.iter().map(|name| (name.clone(), scene.browser(name))).collect();
    scene
        .sign_ins
        .control()
        .always(Misbehaviour::Transport(Endpoint::Token, Transport::Slow(Duration::from_millis(100))));
    std::thread::scope(|threads| {
        for (name, browser) in &browsers {
            for thread in 0..4 {
                let (url, mut browser) = (scene.sign_ins.gateway.at("/api/"), browser.clone());
                threads.spawn(move || {
                    for round in 0..10 {
                        let answer = browser.peek(&format!("{url}{name}/{thread}/{round}"));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                    }
                });
            }
        }
    });
    let requests = scene.api.requests();
    assert_eq!(requests.len(), 6 * 4 * 10);
    for request in &requests {
        let who = request.target.split('/').nth(2).unwrap();
        assert_eq!(claims_of(&bearer(request))["sub"], who, "{}", request.target);
        assert_eq!(request.header("x-forwarded-user"), Some(who));
    }
    assert_eq!(scene.asked().len(), 6, "one request for each, whoever else waits for it");
}

/// Every bound here is one that a busy machine can't break: it only makes what is certain come later.
#[test]
fn an_exchanged_token_is_had_anew_shortly_before_it_ends() {
    let life = Duration::from_secs(8);
    let lifetimes = Lifetimes { access_token: life, ..Lifetimes::default() };
    let scene = scene_with(
        "{ exchange = { subject_token = \"id_token\" } }",
        ProviderOptions { lifetimes, ..ProviderOptions::default() },
    );
    let mut alice = scene.browser("alice");
    let asked = instant();
    let first = bearer(&scene.seen(&mut alice, "/api/x"));
    let had = instant();
    assert_eq!(scene.asked()[0].parameter("subject_token_type"), Some("urn:ietf:params:oauth:token-type:id_token"));
    let second = loop {
        let began = instant();
        let now = bearer(&scene.seen(&mut alice, "/api/x"));
        if now != first {
            break now;
        }
        assert!(began.duration_since(had) < life, "a token was sent that had ended");
        pause(Duration::from_millis(100));
    };
    // The last quarter of its life, in whole seconds.
    assert!(asked.elapsed() + Duration::from_secs(1) >= life * 3 / 4, "too early: {:?}", asked.elapsed());

    // A provider that is away costs nothing while the last one is good.
    scene.sign_ins.control().always(Misbehaviour::Transport(Endpoint::Token, Transport::Status(503)));
    let asked_in_vain = scene.asked().len();
    loop {
        let before = scene.api.count();
        let answer = alice.peek(&scene.sign_ins.gateway.at("/api/x"));
        if answer.status == 502 {
            assert_eq!(scene.api.count(), before, "nothing is sent without one");
            break;
        }
        assert_eq!((answer.status, bearer(&scene.api.last_request())), (200, second.clone()));
        assert!(had.elapsed() < life * 8, "it never ends");
        pause(Duration::from_millis(100));
    }
    assert!(scene.asked().len() > asked_in_vain, "it was asked for another one");
    assert!(asked.elapsed() + Duration::from_secs(2) >= life * 7 / 4, "and then it has ended: {:?}", asked.elapsed());
}

#[test]
fn what_the_provider_says_no_to_is_told_and_never_hangs() {
    let scene = scene("{ exchange = { audience = \"orders\" } }");
    let mut alice = scene.browser("alice");
    let cookies: Vec<String> =
        alice.jar.all().iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    let control = scene.sign_ins.control();
    let refused = |error: &str| Misbehaviour::TokenRefused {
        error: error.to_owned(),
        description: "hush-description".to_owned(),
    };
    let answers: Vec<(Misbehaviour, &str)> = vec![
        (refused("invalid_target"), "invalid_target"),
        (refused("access_denied"), "access_denied"),
        (refused("interaction_required"), "interaction_required"),
        (Misbehaviour::TokenAnswer(Edit::set("token_type", "DPoP")), "token_type is not Bearer"),
        (Misbehaviour::TokenAnswer(Edit::remove("issued_token_type")), "it has no issued_token_type"),
        (
            Misbehaviour::TokenAnswer(Edit::set("issued_token_type", "urn:ietf:params:oauth:token-type:saml2")),
            "issued_token_type is not what",
        ),
        (Misbehaviour::TokenAnswer(Edit::set("access_token", "a\r\nX: y")), "characters that no token has"),
        (Misbehaviour::TokenAnswer(Edit::Whole(json!([]))), "the token endpoint's answer"),
        (Misbehaviour::Transport(Endpoint::Token, Transport::Status(500)), "answered 500"),
    ];
    for (fault, told) in answers {
        control.behave();
        control.always(fault);
        let request = scene.sign_ins.gateway.get("/api/x").header("Cookie", &cookies.join("; "));
        let answer = request.header("Accept", "application/json").send();
        assert_eq!(answer.status, 502, "{told}: {}", answer.text());
        let problem: Value = answer.json();
        let id = problem["request_id"].as_str().expect("the request is named");
        assert!(scene.sign_ins.gateway.logs_come_to_hold(&format!("request_id=\"{id}\"")), "{told} is not logged");
        let logs = scene.sign_ins.gateway.logs();
        let line = logs.lines().rev().find(|line| line.contains(id) && line.contains("no token to send"));
        let line = line.unwrap_or_else(|| panic!("{told} is not logged:\n{logs}"));
        assert!(line.contains(told) && line.contains("corp") && line.contains("api"), "{told}: {line}");
        assert!(!logs.contains("hush-description"), "the provider's own words may hold anything");
        // A refusal is remembered for two seconds.
        pause(Duration::from_millis(3_100));
    }
    assert_eq!(scene.api.count(), 0, "nothing went on without its token");
    control.behave();
    assert_eq!(claims_of(&bearer(&scene.seen(&mut alice, "/api/x")))["sub"], "alice");
}

#[test]
fn a_provider_that_hangs_costs_its_timeout_and_no_more() {
    let api = Upstream::start();
    let tables = format!(
        "[upstreams.api]\nurl = {:?}\ntoken = {{ client_credentials = {{}} }}\n[[routes]]\npath = \"/api/*\"\nallow = \"everyone\"\nupstream = \"api\"\n[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nupstream = \"app\"",
        api.url()
    );
    let sign_ins =
        SignIns::start_with(ProviderOptions::default(), |config| config.provider_line("timeout = \"1s\"").raw(&tables));
    sign_ins.control().always(Misbehaviour::Transport(Endpoint::Token, Transport::Hang));
    let answer = sign_ins.gateway.get("/api/x").send();
    assert_eq!((answer.status, api.count()), (502, 0), "{}", answer.text());
    sign_ins.control().behave();
    assert!(crate::support::comes_true(|| sign_ins.gateway.get("/api/x").send().status == 200));
}

#[test]
fn the_gateways_own_token_is_one_for_everyone() {
    let scene = scene(
        "{ client_credentials = { audience = [\"jobs\"], resource = \"https://jobs.internal\", scopes = [\"run\"] } }",
    );
    let mut alice = scene.browser("alice");
    let first = bearer(&scene.seen(&mut alice, "/api/x"));
    let claims = claims_of(&first);
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(CLIENT_ID), &json!(["jobs", "https://jobs.internal"])));
    let mut nobody = Browser::new();
    nobody.fields.push(("Authorization".to_owned(), "Bearer forged".to_owned()));
    assert_eq!(bearer(&scene.seen(&mut nobody, "/open/x")), first);
    assert_eq!(bearer(&scene.seen(&mut scene.browser("bob"), "/api/x")), first);
    let asked = scene.asked();
    assert_eq!(asked.len(), 0, "fetched before bob signed in, and once: {}", asked.len());
}

#[test]
fn nobody_is_told_as_somebody_on_a_public_route() {
    let scene = scene("{ exchange = {} }");
    let mut nobody = Browser::new();
    nobody.fields.push(("Authorization".to_owned(), "Bearer forged".to_owned()));
    let seen = scene.seen(&mut nobody, "/open/x");
    assert_eq!(seen.header("authorization"), None);
    let mut alice = scene.browser("alice");
    assert_eq!(claims_of(&bearer(&scene.seen(&mut alice, "/open/x")))["sub"], "alice");
    scene.sign_ins.control().always(Misbehaviour::Transport(Endpoint::Token, Transport::Status(503)));
    let mut bob = scene.browser_unforgiving("bob");
    assert_eq!(scene.seen(&mut bob, "/open/x").header("authorization"), None, "whoever may come without a token does");
}

impl Scene {
    /// Signs in although the token endpoint is told to fail: the fault is lifted for the sign-in.
    fn browser_unforgiving(&self, user: &str) -> Browser {
        self.sign_ins.control().behave();
        let browser = self.browser(user);
        self.sign_ins.control().always(Misbehaviour::Transport(Endpoint::Token, Transport::Status(503)));
        browser
    }
}

#[test]
fn an_assertion_is_for_one_upstream_and_verifies_with_the_published_key() {
    let scene = scene("\"assertion\"");
    let mut alice = scene.browser("alice");
    let first = bearer(&scene.seen(&mut alice, "/api/x"));
    let claims = verified(&first, &scene.sign_ins.gateway);
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!(scene.api.url())));
    assert_eq!(claims["iss"], scene.sign_ins.gateway.url());
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(life, 300);
    assert_eq!(bearer(&scene.seen(&mut alice, "/api/y")), first, "made once");
    assert_eq!(scene.asked().len(), 0, "nobody else is asked");
    assert_eq!(scene.seen(&mut Browser::new(), "/open/x").header("authorization"), None);
    // Attack 47: another upstream's assertion names that one.
    let other =
        self::scene("{ assertion = { audience = \"somewhere else\", claims = [\"email\"], lifetime = \"30s\" } }");
    let token = bearer(&other.seen(&mut other.browser("alice"), "/api/x"));
    let claims = verified(&token, &other.sign_ins.gateway);
    assert_eq!((&claims["aud"], &claims["email"]), (&json!("somewhere else"), &json!("alice@example.com")));
    assert_eq!((claims.get("groups"), claims.get("name")), (None, None));
}

#[test]
fn a_static_credential_takes_the_place_of_the_visitors_and_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "hush-one\n").unwrap();
    let scene = scene(&format!("{{ static = {{ bearer = {{ file = {file:?} }} }} }}"));
    let mut nobody = Browser::new();
    nobody.fields.push(("Authorization".to_owned(), "Bearer forged".to_owned()));
    assert_eq!(bearer(&scene.seen(&mut nobody, "/open/x")), "hush-one");
    std::fs::write(&file, "hush-two\n").unwrap();
    assert!(crate::support::comes_true(|| bearer(&scene.seen(&mut nobody, "/open/x")) == "hush-two"));
    std::fs::write(&file, "").unwrap();
    assert!(scene.sign_ins.gateway.logs_come_to_hold("can't be read anew"));
    assert_eq!(bearer(&scene.seen(&mut nobody, "/open/x")), "hush-two", "what was there stays in use");
    assert!(!scene.sign_ins.gateway.logs().contains("hush-"));
    for (token, name, expected) in [
        ("{ static = { username = \"gate\", password = \"hush\" } }", "authorization", "Basic Z2F0ZTpodXNo"),
        ("{ static = { header = \"X-Api-Key\", value = \"hush\" } }", "x-api-key", "hush"),
        ("{ static = { header = \"Authorization\", value = \"token hush\" } }", "authorization", "token hush"),
    ] {
        let scene = self::scene(token);
        let mut nobody = Browser::new();
        for name in ["X-Api-Key", "X_Api_Key", "X.Api-Key", "Authorization"] {
            nobody.fields.push((name.to_owned(), "forged".to_owned()));
        }
        let seen = scene.seen(&mut nobody, "/open/x");
        assert_eq!(seen.head.all(name), [expected]);
        let others = seen.head.headers.iter().filter(|(_, value)| value == "forged").map(|(name, _)| name.as_str());
        assert_eq!(
            others.collect::<Vec<_>>(),
            if name == "x-api-key" { vec!["authorization"] } else { vec!["x-api-key", "x_api_key", "x.api-key"] }
        );
    }
}
