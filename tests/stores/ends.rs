//! Back-channel logout at two gateways behind one address: with a store both refuse within a second, whether sessions live there or in
//! cookies; what is wrong with a logout token ends nothing anywhere.

use std::time::Duration;

use portcullis::base::clock::{Clock, instant};
use portcullis::demo::provider::{Edit, IdTokenFault};
use serde_json::{Map, Value, json};

use crate::redis::{Redis, until};
use crate::scene::{SITE, Scene, cookies, patient};
use crate::support::browser::Browser;
use crate::support::client::Response;
use crate::support::parts::{Part, are_there};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET};
use crate::support::{PATIENCE, pause};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn now() -> u64 {
    Clock::System.now().seconds()
}

/// Claims of a logout token that is right in every way.
pub(crate) fn claims(scene: &Scene, jti: &str, about: &Value) -> Map<String, Value> {
    let mut claims = json!({
        "iss": scene.provider.issuer(),
        "aud": CLIENT_ID,
        "iat": now(),
        "exp": now() + 120,
        "jti": jti,
        "events": { EVENT: {} },
    });
    let all = claims.as_object_mut().expect("an object");
    all.extend(about.as_object().expect("an object").clone());
    all.clone()
}

pub(crate) fn token(scene: &Scene, claims: &Map<String, Value>, faults: Vec<IdTokenFault>) -> String {
    let control = scene.provider.control();
    control.logout_token(Some("logout+jwt"), claims, faults, CLIENT_SECRET).expect("a token can be made")
}

/// The provider tells one gateway, as its balancer may have it.
pub(crate) fn tell(scene: &Scene, gateway: usize, token: &str) -> Response {
    let host = SITE.split_once("://").expect("it has a scheme").1;
    let request = scene.gateways[gateway].client().named(host).request("POST", "/.auth/backchannel-logout/corp");
    request.form(&[("logout_token".to_owned(), token.to_owned())]).send()
}

/// Signs in at a gateway; the provider calls its session `sid`. Known to both gateways then.
fn signed_in(scene: &Scene, user: &str, gateway: usize, sid: &'static str) -> Browser {
    scene.provider.control().mint(move |_, claims| drop(claims.insert("sid".to_owned(), json!(sid))));
    let mut browser = scene.signed_in(user, gateway);
    scene.provider.control().behave();
    for gateway in [0, 1] {
        assert_eq!(scene.status(&mut browser, gateway), 200);
    }
    browser
}

fn is_let_in(scene: &Scene, browser: &Browser, gateway: usize) -> bool {
    let status = scene.status(&mut scene.copy(browser, gateway), gateway);
    assert!(matches!(status, 200 | 302), "{status}\n{}", scene.gateways[gateway].logs());
    status == 200
}

/// At once where it was told; at the other one before anybody could do much.
fn is_over(scene: &Scene, browser: &Browser, told: usize) {
    let began = instant();
    assert!(!is_let_in(scene, browser, told), "the gateway that was told");
    until("the other gateway refuses too", || !is_let_in(scene, browser, 1 - told));
    // A second, and as much again as a busy machine may take for the requests that look.
    assert!(began.elapsed() < PATIENCE / 3, "it took {:?}", began.elapsed());
}

fn both_refuse(store: &str) {
    let scene = Scene::new(store);
    let bob = signed_in(&scene, "bob", 1, "bobs");
    // By the session's name, told to the one that began it or to the other one.
    for (told, begun, sid) in [(0, 0, "one"), (1, 0, "two"), (0, 1, "three")] {
        let alice = signed_in(&scene, "alice", begun, sid);
        let laptop = signed_in(&scene, "alice", begun, "laptop");
        let answer = tell(&scene, told, &token(&scene, &claims(&scene, sid, &json!({ "sid": sid })), vec![]));
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        is_over(&scene, &alice, told);
        assert!([0, 1].iter().all(|gateway| is_let_in(&scene, &laptop, *gateway)), "another session of hers");
    }
    // By the person's, all of theirs.
    let all = [signed_in(&scene, "alice", 0, "four"), signed_in(&scene, "alice", 1, "five")];
    let everything = token(&scene, &claims(&scene, "all", &json!({ "sub": "alice" })), vec![]);
    assert_eq!(tell(&scene, 1, &everything).status, 200);
    for browser in &all {
        is_over(&scene, browser, 1);
    }
    // She may come back, and whoever has that token hits nothing with it, at either gateway: they tell each other what they heard.
    pause(Duration::from_secs(1));
    let again = signed_in(&scene, "alice", 0, "six");
    for gateway in [1, 0] {
        let answer = tell(&scene, gateway, &everything);
        assert_eq!(answer.status, 400, "replayed at {gateway}");
        assert!(answer.text().contains("heard before"), "{}", answer.text());
    }
    pause(Duration::from_secs(1));
    for (whose, browser) in [("hers", &again), ("his", &bob)] {
        for gateway in [0, 1] {
            assert!(is_let_in(&scene, browser, gateway), "{whose} at {gateway}: {}", scene.gateways[gateway].logs());
        }
    }
}

#[test]
fn sessions_in_a_store_end_at_both_gateways() {
    if are_there("stores::sessions_in_a_store_end", &[Part::Redis]) {
        let redis = Redis::start();
        both_refuse(&patient(&format!("redis://127.0.0.1:{}", redis.port())));
    }
}

#[test]
fn sessions_in_cookies_end_at_both_gateways_where_they_share_a_store() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("s.db");
    both_refuse(&format!("{{ url = \"sqlite:{}\", sessions = \"large\", timeout = \"10s\" }}", path.display()));
    if are_there("stores::sessions_in_cookies_end", &[Part::Redis]) {
        let redis = Redis::start();
        both_refuse(&format!(
            "{{ url = \"redis://127.0.0.1:{}\", sessions = \"large\", timeout = \"10s\" }}",
            redis.port()
        ));
        assert!(!redis.ask(&["KEYS", "*"]).contains("portcullis:r:"), "no session was in the store");
    }
}

/// What the documents say: the one that is told refuses at once, the other one can't know.
#[test]
fn without_a_store_the_one_that_is_told_refuses_at_once() {
    let scene = Scene::with(2, &[]);
    let alice = signed_in(&scene, "alice", 1, "one");
    let word = token(&scene, &claims(&scene, "1", &json!({ "sid": "one" })), vec![]);
    assert_eq!(tell(&scene, 0, &word).status, 200);
    assert!(!is_let_in(&scene, &alice, 0), "though the other one began it");
    assert!(is_let_in(&scene, &alice, 1));
    // Nor is it anything but the same word when a balancer brings it to each.
    assert_eq!(tell(&scene, 1, &word).status, 200);
    assert!(!is_let_in(&scene, &alice, 1));
}

#[test]
fn a_wrong_logout_token_signs_nobody_out_at_either_gateway() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let scene = Scene::new(&patient(&format!("sqlite:{}", folder.path().join("s.db").display())));
    let alice = signed_in(&scene, "alice", 0, "one");
    let before = cookies(&alice);
    let set = |name: &str, value: Value| IdTokenFault::Claims(Edit::set(name, value));
    for (what, fault) in [
        ("of another issuer", set("iss", json!("https://other.example"))),
        ("for somebody else", set("aud", json!("other-client"))),
        ("expired", set("exp", json!(now() - 3_600))),
        ("from long ago", set("iat", json!(now() - 7_200))),
        ("from the future", set("iat", json!(now() + 7_200))),
        ("with a nonce", set("nonce", json!("n"))),
        ("about another event", set("events", json!({ "http://schemas.openid.net/event/other": {} }))),
        ("without events", IdTokenFault::no_claim("events")),
        ("without a jti", IdTokenFault::no_claim("jti")),
    ] {
        for gateway in [0, 1] {
            let good = claims(&scene, &format!("{what} {gateway}"), &json!({ "sub": "alice", "sid": "one" }));
            let answer = tell(&scene, gateway, &token(&scene, &good, vec![fault.clone()]));
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        }
    }
    let good = token(&scene, &claims(&scene, "spoiled", &json!({ "sid": "one" })), vec![]);
    for spoiled in [String::new(), "a.b.c".to_owned(), good[..good.len() - 6].to_owned(), format!("{good}.")] {
        assert_eq!(tell(&scene, 0, &spoiled).status, 400, "{spoiled}");
    }
    pause(Duration::from_secs(1));
    assert!([0, 1].iter().all(|gateway| is_let_in(&scene, &alice, *gateway)));
    assert_eq!(cookies(&alice), before);
}
