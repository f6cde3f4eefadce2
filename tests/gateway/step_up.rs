//! Step-up: a route that wants more of a sign-in sends a browser back to the provider once, and tells an API caller what it wants.

use portcullis::demo::provider::{Edit, IdTokenFault};
use serde_json::json;
use url::Url;

use crate::scene::{SESSION, Scene, session_value, set_cookies};
use crate::support::answer::Answer;
use crate::support::browser::{Browser, Page};
use crate::support::gateway::GatewayConfig;

const GOLD: &str = "urn:example:gold";

fn scene(dress: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Scene {
    Scene::https(|config| {
        let config = config
            .route("/gold/*", "{ acr = [\"urn:example:gold\"] }", "app")
            .route("/silver/*", "{ acr = [\"urn:example:silver\"] }", "app")
            .route("/*", "\"signed-in\"", "app");
        dress(config)
    })
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let values: Vec<String> =
        url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect();
    assert!(values.len() < 2, "{name} is there twice: {url}");
    values.into_iter().next()
}

/// Opens a page that wants more, and signs in again on the way.
fn step_up(browser: &mut Browser, scene: &Scene, path: &str) -> Page {
    browser.sign_in("alice", &scene.at(path))
}

#[test]
fn a_browser_goes_back_to_the_provider_with_what_is_wanted_and_returns_with_a_new_session() {
    let scene = scene(|config| config);
    let mut browser = scene.signed_in("alice");
    let before = session_value(&browser);
    scene.upstream.forget();
    let request = browser.peek(&scene.at("/gold/vault?x=1&y=%2F"));
    assert_eq!(request.status, 302);
    let url = Url::parse(request.header("location").unwrap()).unwrap();
    assert_eq!(parameter(&url, "acr_values").as_deref(), Some(GOLD));
    assert_eq!(parameter(&url, "prompt"), None);
    assert_eq!(scene.upstream.count(), 0);

    let page = step_up(&mut browser, &scene, "/gold/vault?x=1&y=%2F");
    assert_eq!(page.response.status, 200, "{}\n{}", page.text(), scene.gateway.logs());
    assert_eq!(page.url.as_str(), scene.at("/gold/vault?x=1&y=%2F"));
    assert_eq!(scene.upstream.only_request().target, "/gold/vault?x=1&y=%2F");
    let (after, me) = (session_value(&browser), scene.me(&mut browser));
    assert_eq!((me.0, me.1["claims"]["acr"].as_str()), (200, Some(GOLD)), "{}", me.1);
    // The old session is gone, also for whoever kept its cookie.
    assert_ne!(before, after);
    assert_eq!(scene.with_cookies("/", &[&format!("{SESSION}={before}")]).status, 302);
    // What was given is not asked for again.
    assert_eq!(browser.peek(&scene.at("/gold/other")).status, 200);
}

#[test]
fn somebody_without_a_session_is_asked_for_it_at_once() {
    let scene = scene(|config| config);
    let mut browser = scene.browser();
    let page = step_up(&mut browser, &scene, "/gold/vault");
    assert_eq!(page.response.status, 200, "{}", page.text());
    assert_eq!(scene.redeemed(), 1, "one sign-in is enough");
}

#[test]
fn a_provider_that_does_not_give_it_is_asked_once_and_a_page_explains() {
    let scene = scene(|config| config);
    for acr in [json!("urn:example:bronze"), json!(format!("{GOLD} ")), json!(GOLD.to_uppercase()), json!(null)] {
        scene.provider.control().behave();
        let mut browser = scene.signed_in("alice");
        let before = session_value(&browser);
        scene.provider.control().always(IdTokenFault::Claims(Edit::set("acr", acr.clone())));
        scene.upstream.forget();
        let redeemed = scene.redeemed();
        let page = step_up(&mut browser, &scene, "/gold/vault");
        assert_eq!(page.response.status, 403, "{acr}: {}", page.text());
        assert_eq!(page.response.header("location"), None, "{acr}");
        assert!(!page.text().contains("http-equiv"), "{acr}: a loop could begin here");
        assert!(
            page.text().contains("/.auth/login/corp?prompt=login&#38;return_to=%2Fgold%2Fvault"),
            "{}",
            page.text()
        );
        assert_eq!(scene.redeemed(), redeemed + 1, "{acr}: asked once");
        assert_eq!(scene.upstream.count(), 0, "{acr}");
        // The session that was good before stays, and is still not good enough.
        assert_eq!(session_value(&browser), before, "{acr}");
        assert_eq!(browser.peek(&scene.at("/")).status, 200, "{acr}");
        assert_eq!(browser.peek(&scene.at("/gold/vault")).status, 302, "{acr}: a person may try again");
    }
}

#[test]
fn somebody_who_had_no_session_has_one_after_but_not_for_that_page() {
    let scene = scene(|config| config);
    scene.provider.control().always(IdTokenFault::Claims(Edit::remove("acr")));
    let mut browser = scene.browser();
    let page = step_up(&mut browser, &scene, "/gold/vault");
    assert_eq!(page.response.status, 403, "{}", page.text());
    assert_eq!(scene.redeemed(), 1);
    assert_eq!(browser.peek(&scene.at("/")).status, 200);
    scene.upstream.forget();
    // The session remembers that the provider was asked for this a moment ago.
    let again = browser.peek(&scene.at("/gold/vault"));
    assert_eq!((again.status, again.header("location")), (403, None), "{}", again.text());
    assert_eq!(scene.upstream.count(), 0);
}

#[test]
fn two_rules_that_can_not_be_met_together_end_in_a_page() {
    let scene = scene(|config| config);
    let mut browser = scene.browser();
    let mut seen = Vec::new();
    for path in ["/gold/a", "/silver/b", "/gold/c", "/silver/d", "/gold/e"] {
        seen.push(step_up(&mut browser, &scene, path).response.status);
    }
    assert_eq!(
        seen,
        [200, 200, 200, 403, 200],
        "the fourth in a row within a minute is refused; gold is what there is"
    );
}

#[test]
fn an_api_caller_reads_what_is_wanted() {
    let scene = scene(|config| {
        config
            .route("/fresh/*", "{ acr = [\"a\", \"b\"], amr = [\"mfa\"], max_age = \"5m\" }", "app")
            .raw("[[routes]]\npath = \"/quiet/*\"\nallow = { acr = [\"a\"] }\nsigned_out = \"401\"\nupstream = \"app\"")
    });
    let mut browser = scene.signed_in("alice");
    browser.fields.retain(|(name, _)| !name.starts_with("Sec-Fetch") && name != "Accept");
    browser.fields.push(("Accept".to_owned(), "application/json".to_owned()));
    scene.upstream.forget();
    for (method, path) in [("GET", "/fresh/x"), ("POST", "/fresh/x"), ("DELETE", "/fresh/x")] {
        let url = Url::parse(&scene.at(path)).unwrap();
        let answer = browser.send(&url, |request| request, method);
        assert_eq!((answer.status, answer.header("location")), (401, None), "{method}");
        let challenge = answer.header("www-authenticate").unwrap().to_owned();
        for part in ["Bearer ", "error=\"insufficient_user_authentication\"", "acr_values=\"a b\"", "max_age=\"300\""] {
            assert!(challenge.contains(part), "{challenge}");
        }
        let body = answer.json();
        assert_eq!((body["acr_values"].as_str(), body["max_age"].as_u64()), (Some("a b"), Some(300)), "{body}");
        assert_eq!(body["amr"], json!(["mfa"]));
        assert!(set_cookies(&answer, "__Host-portcullis-flow").is_empty(), "a flow that nobody finishes");
    }
    let mut window = scene.signed_in("alice");
    let answer = window.peek(&scene.at("/quiet/x"));
    assert_eq!((answer.status, answer.header("location")), (401, None), "the route sends nobody to sign in");
    let url = Url::parse(&scene.at("/fresh/x")).unwrap();
    let head = window.send(&url, |request| request, "HEAD");
    assert_eq!((head.status, head.header("location")), (401, None));
    assert!(scene.upstream.requests().iter().all(|request| request.target == "/"));
}

#[test]
fn a_sign_in_that_is_too_long_ago_is_made_anew_and_one_of_unknown_age_too() {
    let scene = Scene::https(|config| {
        config.route("/fresh/*", "{ max_age = \"30s\" }", "app").route("/*", "\"signed-in\"", "app")
    });
    // What the ID token says counts, not when the session began.
    let now = jiff::Timestamp::now().as_second();
    for when in [Some(json!(now - 31)), None] {
        let fault = when.clone().map_or_else(|| Edit::remove("auth_time"), |when| Edit::set("auth_time", when));
        scene.provider.control().once(IdTokenFault::Claims(fault));
        let mut browser = scene.signed_in("alice");
        let answer = browser.peek(&scene.at("/fresh/x"));
        assert_eq!(answer.status, 302, "{when:?}: {}", answer.text());
        let url = Url::parse(answer.header("location").unwrap()).unwrap();
        assert_eq!(parameter(&url, "max_age").as_deref(), Some("30"));
        let page = step_up(&mut browser, &scene, "/fresh/x");
        assert_eq!(page.response.status, 200, "{when:?}: {}", page.text());
    }
    // A provider that lets an old sign-in pass for a fresh one, or does not say, ends in the page.
    for fault in [Edit::set("auth_time", now - 3600), Edit::remove("auth_time")] {
        scene.provider.control().behave();
        scene.provider.control().always(IdTokenFault::Claims(fault));
        let mut browser = scene.signed_in("alice");
        scene.upstream.forget();
        let page = step_up(&mut browser, &scene, "/fresh/x");
        assert_eq!(page.response.status, 403, "{}", page.text());
        assert_eq!(scene.upstream.count(), 0);
    }
}

#[test]
fn another_method_is_asked_for_with_a_new_sign_in() {
    let scene =
        Scene::https(|config| config.route("/mfa/*", "{ amr = [\"mfa\"] }", "app").route("/*", "\"signed-in\"", "app"));
    let mut browser = scene.signed_in("alice");
    let answer = browser.peek(&scene.at("/mfa/x"));
    let url = Url::parse(answer.header("location").unwrap()).unwrap();
    assert_eq!(
        parameter(&url, "prompt").as_deref(),
        Some("login"),
        "a known person would not be asked for another method"
    );
    // The development provider knows passwords alone.
    assert_eq!(step_up(&mut browser, &scene, "/mfa/x").response.status, 403);
    // A text in place of the list is no ID token at all.
    scene.provider.control().always(IdTokenFault::Claims(Edit::set("amr", "mfa")));
    assert_eq!(step_up(&mut scene.browser(), &scene, "/mfa/x").response.status, 502);
    scene.provider.control().behave();
    scene.provider.control().always(IdTokenFault::Claims(Edit::set("amr", json!(["pwd", "mfa"]))));
    assert_eq!(step_up(&mut scene.browser(), &scene, "/mfa/x").response.status, 200);
}

#[test]
fn somebody_else_who_signs_in_on_the_way_is_somebody_else() {
    let scene = scene(|config| config.route("/boss/*", "{ acr = [\"urn:example:gold\"], roles = [\"admin\"] }", "app"));
    let mut browser = scene.signed_in("alice");
    let before = session_value(&browser);
    scene.upstream.forget();
    let page = browser.sign_in("bob", &scene.at("/boss/x"));
    assert_eq!(page.response.status, 403, "{}", page.text());
    assert_eq!(scene.upstream.count(), 0);
    assert_eq!(scene.me(&mut browser).1["sub"].as_str(), Some("bob"), "the browser is now bob's");
    assert_eq!(scene.with_cookies("/", &[&format!("{SESSION}={before}")]).status, 302, "and no longer alice's");
}

fn upstream_wants(scene: &Scene, path: &str, challenge: &str) {
    let wants = Answer::body("not enough").with_status(401).header("WWW-Authenticate", challenge);
    scene.upstream.on_each(path, vec![wants, Answer::echo()]);
}

#[test]
fn an_upstream_that_wants_another_sign_in_gets_it() {
    let scene = scene(|config| config);
    let mut browser = scene.signed_in("alice");
    let challenge = format!(
        "Basic realm=\"x\", Bearer error=\"insufficient_user_authentication\", acr_values=\"{GOLD}\", max_age=\"0\""
    );
    upstream_wants(&scene, "/bank/pay", &challenge);
    let page = step_up(&mut browser, &scene, "/bank/pay?to=bob");
    assert_eq!(page.response.status, 200, "{}\n{}", page.text(), scene.gateway.logs());
    assert_eq!(page.url.as_str(), scene.at("/bank/pay?to=bob"));
    assert!(!page.text().contains("not enough"));
    assert_eq!(scene.me(&mut browser).1["claims"]["acr"].as_str(), Some(GOLD));
}

#[test]
fn an_upstream_that_is_never_content_ends_in_a_page() {
    let scene = scene(|config| config);
    let mut browser = scene.signed_in("alice");
    let challenge = "Bearer error=\"insufficient_user_authentication\", acr_values=\"urn:example:platinum\"";
    scene.upstream.on("/bank/pay", Answer::body("x").with_status(401).header("WWW-Authenticate", challenge));
    let redeemed = scene.redeemed();
    let page = step_up(&mut browser, &scene, "/bank/pay");
    assert_eq!((page.response.status, page.response.header("location")), (403, None), "{}", page.text());
    assert_eq!(scene.redeemed(), redeemed + 1);
}

#[test]
fn an_upstreams_other_answers_and_other_callers_are_left_alone() {
    let scene = scene(|config| config);
    let mut browser = scene.signed_in("alice");
    let insufficient = "Bearer error=\"insufficient_user_authentication\", max_age=5";
    for challenge in
        ["Bearer error=\"invalid_token\"", "Basic realm=\"app\"", "Basic error=\"insufficient_user_authentication\""]
    {
        scene.upstream.on("/app", Answer::body("own words").with_status(401).header("WWW-Authenticate", challenge));
        let answer = browser.peek(&scene.at("/app"));
        assert_eq!((answer.status, answer.text()), (401, "own words".to_owned()), "{challenge}");
        assert_eq!(answer.header("www-authenticate"), Some(challenge));
    }
    scene.upstream.on("/ok", Answer::body("own words").header("WWW-Authenticate", insufficient));
    assert_eq!(browser.peek(&scene.at("/ok")).status, 200, "it is no 401");
    // A script gets the upstream's own answer, and knows what to do with it.
    scene.upstream.on("/app", Answer::body("own words").with_status(401).header("WWW-Authenticate", insufficient));
    let url = Url::parse(&scene.at("/app")).unwrap();
    browser.fields.retain(|(name, _)| !name.starts_with("Sec-Fetch"));
    browser.fields.push(("Sec-Fetch-Mode".to_owned(), "cors".to_owned()));
    let answer = browser.send(&url, |request| request, "GET");
    assert_eq!((answer.status, answer.text()), (401, "own words".to_owned()));
}
