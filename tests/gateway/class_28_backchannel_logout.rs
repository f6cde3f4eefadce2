//! Back-channel logout: a provider's word ends sessions that live in cookies alone, and nothing else does.

use std::time::Duration;

use portcullis::base::clock::instant;
use portcullis::demo::provider::{Edit, Endpoint, IdTokenFault, Transport};
use serde_json::{Map, Value, json};

use crate::scene::{HTTPS, SESSION, Scene, session_value};
use crate::support::browser::Browser;
use crate::support::client::{Request, Response};
use crate::support::comes_true;
use crate::support::gateway::Gateway;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const PATH: &str = "/.auth/backchannel-logout/corp";

fn now() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "tokens of a test are dated by the real clock")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("it is after 1970").as_secs()
}

/// Good claims of a logout token about these; a new `jti` each time.
fn claims(scene: &Scene, about: &Value) -> Map<String, Value> {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut claims = json!({
        "iss": scene.provider.issuer(),
        "aud": CLIENT_ID,
        "iat": now(),
        "exp": now() + 120,
        "jti": format!("{}-{number}", std::process::id()),
        "events": {EVENT: {}},
    });
    claims.as_object_mut().expect("an object").extend(about.as_object().expect("an object").clone());
    claims.as_object().expect("an object").clone()
}

fn token(scene: &Scene, claims: &Map<String, Value>, faults: Vec<IdTokenFault>) -> String {
    scene.provider.control().logout_token(Some("logout+jwt"), claims, faults, CLIENT_SECRET).expect("a token")
}

fn request(gateway: &Gateway) -> Request {
    gateway.client().named(HTTPS.split_once("://").expect("a URL").1).request("POST", PATH)
}

fn send(gateway: &Gateway, token: &str) -> Response {
    request(gateway).form(&[("logout_token".to_owned(), token.to_owned()), ("other".to_owned(), "1".to_owned())]).send()
}

/// Exactly as the specification and its conformance suite want it (section 2.8).
#[track_caller]
fn assert_heard(answer: &Response) {
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[track_caller]
fn assert_refused(answer: &Response, what: &str) {
    assert_eq!(answer.status, 400, "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.json()["error"], "invalid_request", "{what}");
}

/// Signs in; the provider calls its session `sid`.
fn signed_in(scene: &Scene, user: &str, sid: &'static str) -> Browser {
    scene.provider.control().mint(move |_, claims| drop(claims.insert("sid".to_owned(), json!(sid))));
    let browser = scene.signed_in(user);
    scene.provider.control().behave();
    browser
}

fn knows(scene: &Scene, browser: &Browser) -> bool {
    let answer = browser.clone().peek(&scene.at("/page"));
    assert!(matches!(answer.status, 200 | 302), "{}", answer.status);
    answer.status == 200
}

/// The same at another gateway of the same address.
fn lets_in(gateway: &Gateway, browser: &Browser) -> bool {
    let client = gateway.client().named(HTTPS.split_once("://").expect("a URL").1);
    let answer = client.get("/page").header("Cookie", &format!("{SESSION}={}", session_value(browser))).send();
    answer.status == 200
}

#[test]
fn a_session_at_the_provider_ends_the_session_here_at_once_and_no_other() {
    let scene = Scene::https(|config| config);
    let (mut phone, laptop) = (signed_in(&scene, "alice", "phone"), signed_in(&scene, "alice", "laptop"));
    let bob = signed_in(&scene, "bob", "bobs");
    // Opened before, so that it is known without a look at its seal.
    assert!(knows(&scene, &phone));
    let stolen = format!("{SESSION}={}", session_value(&phone));
    assert_heard(&send(
        &scene.gateway,
        &token(&scene, &claims(&scene, &json!({"sub": "alice", "sid": "phone"})), vec![]),
    ));
    assert!(!knows(&scene, &phone));
    assert_eq!(scene.me(&mut phone).0, 401);
    assert_ne!(scene.with_cookies("/page", &[&stolen]).status, 200, "nor does a copy open anything");
    assert!(knows(&scene, &laptop) && knows(&scene, &bob), "these are others");

    // The person may sign in again in the same second, even if the provider goes on calling its session the same.
    assert!(knows(&scene, &signed_in(&scene, "alice", "phone")));
}

#[test]
fn a_person_alone_ends_all_of_theirs() {
    let scene = Scene::https(|config| config);
    let (phone, laptop) = (signed_in(&scene, "alice", "phone"), signed_in(&scene, "alice", "laptop"));
    let bob = signed_in(&scene, "bob", "bobs");
    assert_heard(&send(&scene.gateway, &token(&scene, &claims(&scene, &json!({"sub": "alice"})), vec![])));
    assert!(!knows(&scene, &phone) && !knows(&scene, &laptop));
    assert!(knows(&scene, &bob));
    assert!(knows(&scene, &signed_in(&scene, "alice", "phone")), "a sign-in after it is not hit");
}

/// Ended, signed in and ended again by another name, as quickly as it goes.
#[test]
fn a_session_that_began_right_after_an_end_is_hit_by_the_next_one() {
    let scene = Scene::https(|config| config);
    // The provider's keys are known from the first sign-in on; before, no logout token is believed.
    scene.signed_in("alice");
    for (user, sid, is_person_first) in [("alice", "phone", true), ("bob", "laptop", false)] {
        let about = [json!({ "sub": user }), json!({ "sid": sid })];
        let [by_person, by_sid] = about.map(|about| token(&scene, &claims(&scene, &about), vec![]));
        let (first, second) = if is_person_first { (by_person, by_sid) } else { (by_sid, by_person) };
        assert_heard(&send(&scene.gateway, &first));
        let began = signed_in(&scene, user, sid);
        assert_heard(&send(&scene.gateway, &second));
        assert!(!knows(&scene, &began), "{user}");
    }
}

/// The provider names its sessions in logout tokens, and did not in the ID token: which one is meant can't be told.
#[test]
fn sessions_of_unknown_origin_end_with_any_of_the_persons() {
    let scene = Scene::https(|config| config);
    scene.provider.control().mint(|_, claims| drop(claims.shift_remove("sid")));
    let (alice, bob) = (scene.signed_in("alice"), scene.signed_in("bob"));
    assert_heard(&send(&scene.gateway, &token(&scene, &claims(&scene, &json!({"sub": "alice", "sid": "s"})), vec![])));
    assert!(!knows(&scene, &alice) && knows(&scene, &bob));
}

/// Two gateways that share nothing but config and keys: the one that was told refuses at once, also what the other one began.
#[test]
fn cookies_that_another_gateway_made_are_refused_too() {
    let scene = Scene::https(|config| config);
    let other = scene.another(|config| config);
    let mut browser = scene.browser();
    browser.reach(HTTPS, other.url());
    scene.provider.control().mint(|_, claims| drop(claims.insert("sid".to_owned(), json!("phone"))));
    assert_eq!(browser.sign_in("alice", &scene.at("/")).response.status, 200);
    assert_heard(&send(&scene.gateway, &token(&scene, &claims(&scene, &json!({"sid": "phone"})), vec![])));
    let cookie = format!("{SESSION}={}", session_value(&browser));
    assert_ne!(scene.with_cookies("/page", &[&cookie]).status, 200);
    // What the other one can't know without a store: the documents say so.
    assert_eq!(browser.peek(&scene.at("/page")).status, 200);
}

#[test]
fn whatever_is_wrong_with_a_token_is_400_and_ends_nothing() {
    let scene = Scene::https(|config| config);
    let alice = signed_in(&scene, "alice", "phone");
    let about = || claims(&scene, &json!({"sub": "alice", "sid": "phone"}));
    let set = |name: &str, value: Value| vec![IdTokenFault::Claims(Edit::set(name, value))];
    let mut wrong: Vec<(String, Vec<IdTokenFault>)> = IdTokenFault::every_refusable("http://127.0.0.1:9/")
        .into_iter()
        // A logout token has neither nonce nor at_hash, and `azp` means nothing in it.
        .filter(|(name, _)| !name.contains("nonce") && !name.contains("AccessTokenHash") && !name.contains("OtherAzp"))
        .filter(|(name, _)| name != "no sub" && !name.contains("LongSubject(1048576)"))
        .map(|(name, fault)| (name, vec![fault]))
        .collect();
    wrong.extend([
        ("a nonce".to_owned(), set("nonce", json!("n"))),
        ("a nonce of null".to_owned(), set("nonce", json!(null))),
        ("no events".to_owned(), vec![IdTokenFault::no_claim("events")]),
        ("another event".to_owned(), set("events", json!({"http://schemas.openid.net/event/other": {}}))),
        ("an event of text".to_owned(), set("events", json!({EVENT: "yes"}))),
        ("no jti".to_owned(), vec![IdTokenFault::no_claim("jti")]),
        ("nobody".to_owned(), vec![IdTokenFault::no_claim("sub"), IdTokenFault::no_claim("sid")]),
        ("an empty sid".to_owned(), set("sid", json!(""))),
        ("an old one".to_owned(), set("iat", json!(now() - 7_200))),
        ("iat twice".to_owned(), vec![IdTokenFault::Duplicate("iat".to_owned(), json!(1))]),
    ]);
    assert!(wrong.len() > 40, "{}", wrong.len());
    for (what, faults) in wrong {
        assert_refused(&send(&scene.gateway, &token(&scene, &about(), faults)), &what);
    }
    let control = scene.provider.control();
    let odd = control.logout_token(Some("at+jwt"), &about(), vec![], CLIENT_SECRET).expect("a token");
    assert_refused(&send(&scene.gateway, &odd), "another kind of token");
    assert!(knows(&scene, &alice), "{}", scene.gateway.logs());
    for kind in [None, Some("JWT"), Some("logout+jwt")] {
        let good = control.logout_token(kind, &claims(&scene, &json!({"sid": "other"})), vec![], "").expect("a token");
        assert_heard(&send(&scene.gateway, &good));
    }
    assert!(knows(&scene, &alice));
}

#[test]
fn a_token_that_is_replayed_ends_nothing() {
    let scene = Scene::https(|config| config);
    let before = signed_in(&scene, "alice", "phone");
    let token = token(&scene, &claims(&scene, &json!({"sub": "alice"})), vec![]);
    assert_heard(&send(&scene.gateway, &token));
    assert!(!knows(&scene, &before));
    let after = signed_in(&scene, "alice", "phone");
    for _ in 0..3 {
        assert_refused(&send(&scene.gateway, &token), "replayed");
    }
    assert!(knows(&scene, &after));
    // At a gateway that has not heard one, it ends what it did when it was new, and nothing that began since. Clocks may differ by a
    // minute, so that one is older.
    let old = json!({"sub": "alice", "iat": now() - 600});
    let token = self::token(&scene, &claims(&scene, &old), vec![]);
    let other = scene.another(|config| config);
    let mut elsewhere = scene.browser();
    elsewhere.reach(HTTPS, other.url());
    assert_eq!(elsewhere.sign_in("alice", &scene.at("/")).response.status, 200);
    assert_heard(&send(&other, &token));
    assert_eq!(elsewhere.peek(&scene.at("/page")).status, 200);
    assert_refused(&send(&other, &token), "replayed there");
    assert!(!scene.gateway.logs().contains(&token) && !other.logs().contains(&token), "a token stands in the log");
}

#[test]
fn an_id_token_is_no_logout_token_and_the_other_way_round() {
    let scene = Scene::https(|config| config);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let keep = std::sync::Arc::clone(&seen);
    scene.provider.control().rewrite(move |token| {
        keep.lock().expect("nobody panics with it").clone_from(&token);
        token
    });
    let alice = scene.signed_in("alice");
    let id_token = seen.lock().expect("nobody panics with it").clone();
    assert_refused(&send(&scene.gateway, &id_token), "an ID token");
    assert!(knows(&scene, &alice));

    scene.provider.control().behave();
    scene.provider.control().mint(|header, claims| {
        header.insert("typ".to_owned(), json!("logout+jwt"));
        claims.insert("events".to_owned(), json!({EVENT: {}}));
    });
    let mut browser = scene.browser();
    let page = browser.sign_in("bob", &scene.at("/"));
    assert!(page.response.status >= 400, "{}", page.response.status);
    assert_eq!(scene.me(&mut browser).0, 401);
}

#[test]
fn odd_forms_and_methods_are_refused_before_anything_is_looked_at() {
    let scene = Scene::https(|config| config);
    let alice = signed_in(&scene, "alice", "phone");
    let good = || token(&scene, &claims(&scene, &json!({"sub": "alice"})), vec![]);
    let pair = |token: String| ("logout_token".to_owned(), token);
    assert_refused(&request(&scene.gateway).form(&[pair(good()), pair(good())]).send(), "twice");
    assert_refused(&request(&scene.gateway).form(&[]).send(), "nothing");
    let json = json!({"logout_token": good()}).to_string();
    let answer = request(&scene.gateway).header("Content-Type", "application/json").body(json.as_bytes()).send();
    assert_refused(&answer, "JSON");
    let in_query = scene.gateway.client().named("app.example.com");
    let answer = in_query.request("POST", &format!("{PATH}?logout_token={}", good())).form(&[]).send();
    assert_refused(&answer, "in the query");
    assert_eq!(in_query.get(&format!("{PATH}?logout_token={}", good())).send().status, 405);
    let huge = request(&scene.gateway).form(&[pair("a".repeat(100_000))]).send();
    assert!(matches!(huge.status, 400 | 413), "{}", huge.status);
    let unknown = in_query.request("POST", "/.auth/backchannel-logout/nobody").form(&[pair(good())]).send();
    assert_eq!(unknown.status, 404);
    assert!(knows(&scene, &alice));
}

/// Nothing is asked of the provider while it waits, and its keys are read anew at a bounded pace.
#[test]
fn unknown_keys_are_looked_for_behind_its_back() {
    let scene = Scene::https(|config| config);
    let alice = signed_in(&scene, "alice", "phone");
    let control = scene.provider.control();
    control.forget();
    let began = now();
    for number in 0..200 {
        let fault = IdTokenFault::KeyId(format!("made-up-{number}"));
        assert_refused(
            &send(&scene.gateway, &token(&scene, &claims(&scene, &json!({"sub": "alice"})), vec![fault])),
            "kid",
        );
    }
    // Once in ten seconds: on a busy machine that may be a few times.
    let (asked, allowed) = (control.count(Endpoint::Jwks), 2 + (now() - began) / 10);
    assert!(asked <= allowed, "asked {asked} times");
    assert!(knows(&scene, &alice));
}

/// Its answer is that of a key that is unknown; whether it was right shows when the keys have been read anew.
#[test]
fn a_token_with_a_key_that_is_new_is_not_lost_though_it_is_sent_once() {
    let scene = Scene::https(|config| config);
    let (alice, bob) = (signed_in(&scene, "alice", "phone"), signed_in(&scene, "bob", "laptop"));
    scene.provider.control().rotate_keys().expect("a key can be made");
    let about = || claims(&scene, &json!({"sub": "alice", "sid": "phone"}));
    let fault = vec![IdTokenFault::KeyId("made-up".to_owned())];
    let forged = token(&scene, &claims(&scene, &json!({"sub": "bob"})), fault);
    assert_refused(&send(&scene.gateway, &forged), "nobody's key");
    let first = token(&scene, &about(), vec![]);
    let answer = send(&scene.gateway, &first);
    assert!(matches!(answer.status, 200 | 400), "{}", answer.status);
    assert!(comes_true(|| !knows(&scene, &alice)), "{}", scene.gateway.logs());
    assert!(knows(&scene, &bob));
    assert_heard(&send(&scene.gateway, &token(&scene, &about(), vec![])));
}

/// A gateway that was only just started: another one made the session, and nobody may say yet whether the token holds.
#[test]
fn a_token_that_comes_before_the_providers_keys_waits_for_them_a_little() {
    let scene = Scene::https(|config| config);
    let alice = signed_in(&scene, "alice", "phone");
    let about = json!({"sub": "alice", "sid": "phone"});
    let good = token(&scene, &claims(&scene, &about), vec![]);
    let mut wrong = claims(&scene, &about);
    wrong.insert("aud".to_owned(), json!("another"));
    let wrong = token(&scene, &wrong, vec![]);
    scene.provider.control().always((Endpoint::Discovery, Transport::Slow(Duration::from_secs(2))));
    let late = scene.another(|config| config);
    let began = instant();
    assert_refused(&send(&late, &wrong), "wrong whatever the keys are");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_heard(&send(&late, &good));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!lets_in(&late, &alice));
}

#[test]
fn a_token_that_nobody_can_judge_is_asked_for_again_and_counts_though_it_never_comes() {
    let scene = Scene::https(|config| config);
    let (alice, bob) = (signed_in(&scene, "alice", "phone"), signed_in(&scene, "bob", "laptop"));
    let good = token(&scene, &claims(&scene, &json!({"sid": "phone"})), vec![]);
    let forged =
        token(&scene, &claims(&scene, &json!({"sub": "bob"})), vec![IdTokenFault::KeyId("made-up".to_owned())]);
    scene.provider.control().always((Endpoint::Discovery, Transport::Status(503)));
    let late = scene.another(|config| config);
    let began = instant();
    for token in [&good, &forged] {
        let answer = send(&late, token);
        assert_eq!((answer.status, answer.header("cache-control")), (503, Some("no-store")), "{}", answer.text());
        assert_eq!(answer.json()["error"], "temporarily_unavailable");
        assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u8>().is_ok()));
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(lets_in(&late, &alice), "nobody said anything that counts yet");
    scene.provider.control().behave();
    assert!(comes_true(|| !lets_in(&late, &alice)), "{}", late.logs());
    assert!(lets_in(&late, &bob));
    assert_heard(&send(&late, &good));
    assert_refused(&send(&late, &good), "a third time");
    assert_refused(&send(&late, &forged), "nobody's key");
}

#[test]
fn a_provider_that_went_away_is_still_believed() {
    let scene = Scene::https(|config| config);
    let mut alice = signed_in(&scene, "alice", "phone");
    let token = token(&scene, &claims(&scene, &json!({"sub": "alice"})), vec![]);
    scene.provider.pause();
    assert_heard(&send(&scene.gateway, &token));
    assert_eq!(scene.me(&mut alice).0, 401);
}

/// Section 2.7 ends what is there; a sign-in that was on its way belongs to it.
#[test]
fn a_sign_in_whose_session_ended_meanwhile_signs_nobody_in() {
    let scene = Scene::https(|config| config);
    scene.provider.control().mint(|_, claims| drop(claims.insert("sid".to_owned(), json!("phone"))));
    let (mut browser, callback) = scene.almost_signed_in("alice", "/x");
    crate::support::pause(Duration::from_millis(1_100));
    assert_heard(&send(&scene.gateway, &token(&scene, &claims(&scene, &json!({"sid": "phone"})), vec![])));
    let answer = browser.peek(callback.url.as_str());
    crate::scene::assert_calm(&answer, "the session at the provider has ended");
    assert_eq!(scene.me(&mut browser).0, 401);
    assert!(knows(&scene, &scene.signed_in("alice")), "another sign-in is another matter");
}
