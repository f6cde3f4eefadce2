//! A sign-in ends in the browser that began it, at the provider that it began with, once, and no code is redeemed before that is sure.

use portcullis::demo::provider::{AnswerFault, IdTokenFault, Misbehaviour};
use url::Url;

use crate::scene::{CALLBACK, FLOW, SESSION, Scene, assert_calm, cookies, provider};
use crate::support::gateway::GatewayConfig;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET};

/// `url` with one parameter changed, or removed.
fn changed(url: &Url, name: &str, value: Option<&str>) -> Url {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut changed = url.clone();
    let kept =
        pairs.into_iter().filter(|(key, _)| key != name).chain(value.map(|value| (name.to_owned(), value.to_owned())));
    changed.query_pairs_mut().clear().extend_pairs(kept);
    changed
}

#[test]
fn an_attackers_answer_gives_a_victim_no_session() {
    let scene = Scene::https(|config| config);
    let (_, attackers) = scene.almost_signed_in("bob", "/");
    // A clean browser, and one with flows of its own.
    let clean = scene.browser();
    let (busy, _) = scene.almost_signed_in("alice", "/");
    for mut victim in [clean, busy] {
        let answer = victim.peek(attackers.url.as_str());
        assert_calm(&answer, "the attacker's state and code");
        assert_eq!(cookies(&victim, SESSION).iter().filter(|(name, _)| !name.starts_with(FLOW)).count(), 0);
        assert_eq!(scene.me(&mut victim).0, 401);
    }
    assert_eq!(scene.redeemed(), 0, "the token endpoint was never asked");
}

#[test]
fn an_attackers_code_with_the_victims_state_is_not_enough() {
    let scene = Scene::https(|config| config);
    let (_, attackers) = scene.almost_signed_in("bob", "/");
    let code = attackers.url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
    let (mut victim, own) = scene.almost_signed_in("alice", "/");
    let injected = changed(&own.url, "code", code.as_deref());
    let answer = victim.peek(injected.as_str());
    assert!(answer.status >= 400 && answer.header("location").is_none(), "{} PKCE has to stop it", answer.status);
    assert_eq!(scene.me(&mut victim).0, 401);
    // The flow is used up; the right code does not work any more.
    assert_calm(&victim.peek(own.url.as_str()), "the flow was used");
}

#[test]
fn the_state_must_be_the_browsers_own_to_the_last_character() {
    let scene = Scene::https(|config| config);
    let (mut browser, callback) = scene.almost_signed_in("alice", "/");
    let state = callback.url.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
    assert!(state.len() >= 43 && !state.contains('/') && !state.contains(':'), "it tells nothing of the page: {state}");
    let longer = format!("{state}A");
    let target = format!("{state}:/evil");
    let upper = state.to_uppercase();
    for forged in [None, Some(""), Some("x"), Some(&state[1..]), Some(&*longer), Some(&*target), Some(&*upper)] {
        let answer = browser.peek(changed(&callback.url, "state", forged).as_str());
        assert_calm(&answer, &format!("{forged:?}"));
    }
    let twice = format!("{}&state={state}", callback.url);
    assert_calm(&browser.peek(&twice), "twice");
    assert_eq!(scene.redeemed(), 0);
    assert_eq!(browser.peek(callback.url.as_str()).status, 303, "none of it used the flow up");
}

#[test]
fn a_state_from_another_tab_belongs_to_that_tab() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.browser();
    browser.stop_before = Some(CALLBACK.to_owned());
    let first = browser.sign_in("alice", &scene.at("/first"));
    let second = browser.open(&scene.at("/second"));
    let code = second.url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
    let crossed = changed(&first.url, "code", code.as_deref());
    assert!(browser.peek(crossed.as_str()).status >= 400, "the second tab's code under the first one's state");
    assert_eq!(scene.me(&mut browser).0, 401);
}

#[test]
fn an_answer_at_another_providers_address_is_refused() {
    let other = provider();
    let scene = Scene::https(|config| {
        config.raw(&format!(
            "[providers.guest]\nissuer = {:?}\nclient_id = {CLIENT_ID:?}\nclient_secret = {CLIENT_SECRET:?}",
            other.issuer()
        ))
    });
    let (mut browser, callback) = scene.almost_signed_in("alice", "/.auth/login/corp");
    let mut swapped = callback.url;
    swapped.set_path("/.auth/callback/guest");
    assert_calm(&browser.peek(swapped.as_str()), "mix-up");
    assert_eq!(scene.redeemed() + other.control().count(portcullis::demo::provider::Endpoint::Token), 0);
    assert_eq!(scene.me(&mut browser).0, 401);
}

#[test]
fn the_issuer_must_be_the_one_that_was_asked() {
    for fault in [
        AnswerFault::Set("iss".to_owned(), "https://evil.example".to_owned()),
        AnswerFault::Remove("iss".to_owned()),
        AnswerFault::Add("iss".to_owned(), "https://evil.example".to_owned()),
    ] {
        let scene = Scene::https(|config| config);
        scene.provider.control().always(Misbehaviour::Answer(fault.clone()));
        let (mut browser, callback) = scene.almost_signed_in("alice", "/");
        let answer = browser.peek(callback.url.as_str());
        assert!((400..=502).contains(&answer.status), "{fault:?}: {}", answer.status);
        assert_eq!(answer.header("location"), None, "{fault:?}");
        assert_eq!(scene.redeemed(), 0, "{fault:?}: before the code is redeemed (RFC 9207, section 2.4)");
        assert_eq!(scene.me(&mut browser).0, 401, "{fault:?}");
    }
}

#[test]
fn a_replayed_id_token_or_one_for_others_signs_nobody_in() {
    let scene = Scene::https(|config| config);
    for fault in [IdTokenFault::WrongNonce, IdTokenFault::OtherAzp, IdTokenFault::StrangerInAudience] {
        scene.provider.control().once(fault.clone());
        let mut browser = scene.browser();
        let page = browser.sign_in("alice", &scene.at("/"));
        assert!(page.response.status >= 400, "{fault:?}: {}", page.response.status);
        assert_eq!(scene.me(&mut browser).0, 401, "{fault:?}");
    }
    assert_eq!(scene.upstream.count(), 0);
    assert_eq!(scene.provider.control().fired(), 3);
}

#[test]
fn what_a_link_adds_to_a_sign_in_does_not_reach_the_provider() {
    let scene = Scene::with(GatewayConfig::on_loopback(), provider(), |config| config);
    let attack = "client_id=evil&scope=openid+admin&redirect_uri=https%3A%2F%2Fevil.example&state=fixed&nonce=fixed\
                  &code_challenge=x&response_mode=fragment&request_uri=https%3A%2F%2Fevil.example&prompt=none&acr=evil";
    let answer = scene.browser().peek(&scene.at(&format!("/.auth/login?{attack}")));
    let location = answer.header("location").expect("to the provider");
    assert!(!location.contains("evil") && !location.contains("fixed") && !location.contains("admin"), "{location}");
    for part in ["response_type=code", "code_challenge_method=S256", "nonce=", "state="] {
        assert_eq!(location.matches(part).count(), 1, "{part} in {location}");
    }
}
