//! Tokens that are refreshed while two gateways share a store: once over both, and with a gateway that dies in the middle of it.

use std::time::Duration;

use portcullis::base::clock::instant;
use portcullis::demo::provider::{Endpoint, Lifetimes, ProviderOptions, RefreshTokens, Transport};

use crate::postgres::Postgres;
use crate::redis::{Redis, until};
use crate::scene::{SITE, Scene, cookies, patient};
use crate::support::client::{Client, Request, at_once};
use crate::support::parts::{Part, are_there};
use crate::support::{pause, refreshes_since};

/// How long an access token lasts.
const LIFE: Duration = Duration::from_secs(9);
/// When it is due at the earliest; times are in whole seconds.
const AGAIN: Duration = Duration::from_secs(6);
const REFRESHED: &str = "the tokens of a session were refreshed";

/// Every sign-in gets a refresh token that works once, and an access token that is refreshed two seconds before its end.
fn scene(store: &str) -> Scene {
    scene_with(store, Duration::ZERO, LIFE, "2s")
}

/// A refresh token works a little longer where there is `leeway`.
fn scene_with(store: &str, leeway: Duration, life: Duration, ahead: &str) -> Scene {
    let options = ProviderOptions {
        refresh_tokens: RefreshTokens { always: true, reusable: false, leeway },
        lifetimes: Lifetimes { access_token: life, ..Lifetimes::default() },
        ..ProviderOptions::default()
    };
    Scene::of(options, 2, &[&format!("store = {store}"), &format!("refresh_ahead = {ahead:?}")])
}

fn refreshes(scene: &Scene) -> usize {
    let asked = scene.provider.control().requests(Endpoint::Token);
    asked.iter().filter(|request| request.parameter("grant_type") == Some("refresh_token")).count()
}

/// What the upstream was given as tokens, the same ones once.
fn tokens(scene: &Scene) -> Vec<String> {
    let requests = scene.upstream.requests();
    let given = |request: &crate::support::upstream::Recorded| request.header("authorization").map(str::to_owned);
    let mut tokens: Vec<String> = requests.iter().filter_map(given).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

fn request(url: &str, cookie: &str) -> Request {
    let host = SITE.split_once("://").expect("it has a scheme").1;
    let request = Client::new(url).named(host).get("/api/x").header("Cookie", cookie).header("Accept", "text/html");
    request.header("Sec-Fetch-Mode", "navigate")
}

/// So many requests at each gateway at once.
fn at_both(scene: &Scene, count: usize, cookie: &str) -> Vec<u16> {
    let requests = scene.gateways.iter().flat_map(|gateway| vec![request(gateway.url(), cookie); count]);
    at_once(requests).iter().map(|answer| answer.status).collect()
}

fn logs(scene: &Scene) -> String {
    scene.gateways.iter().map(crate::support::gateway::Gateway::logs).collect::<Vec<_>>().join("\n--\n")
}

/// Both gateways know the session, and then its token ends: once before anybody asks again, once under way.
fn one_refresh_for_both(scene: &Scene) {
    let browser = scene.signed_in("alice", 0);
    let cookie = cookies(&browser);
    assert_eq!(at_both(scene, 2, &cookie), [200; 4], "{}", logs(scene));
    for round in 1..=3 {
        scene.provider.control().forget();
        scene.provider.control().always((Endpoint::Token, Transport::Slow(Duration::from_millis(400))));
        pause(LIFE);
        scene.upstream.forget();
        let began = instant();
        let statuses = at_both(scene, 50, &cookie);
        assert!(statuses.iter().all(|status| *status == 200), "round {round}: {statuses:?}\n{}", logs(scene));
        let asked = refreshes(scene);
        let may_be = || refreshes_since(began, AGAIN);
        assert!(may_be().contains(&asked), "round {round}: {asked} in {:?}: {}", began.elapsed(), logs(scene));
        let given = tokens(scene);
        assert!((1..=asked).contains(&given.len()), "all of them take the new token along");
        // Who knows nothing but the store finds the newest tokens there.
        let newest = scene.upstream.last_request().header("authorization").map(str::to_owned);
        scene.upstream.forget();
        let newcomer = scene.gateway();
        assert_eq!(request(newcomer.url(), &cookie).send().status, 200);
        let stored = scene.upstream.last_request().header("authorization").map(str::to_owned);
        if began.elapsed() < AGAIN {
            assert_eq!(stored, newest, "round {round}: the newest tokens are what is stored");
        }
        assert!(stored.is_some() && may_be().contains(&refreshes(scene)), "round {round}: {}", logs(scene));
    }
}

#[test]
fn a_hundred_requests_at_two_gateways_make_one_refresh_in_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("sessions.db");
    one_refresh_for_both(&scene(&patient(&format!("sqlite:{}", path.display()))));
}

#[test]
fn a_hundred_requests_at_two_gateways_make_one_refresh_in_redis() {
    if !are_there("stores::refresh_in_redis", &[Part::Redis]) {
        return;
    }
    let redis = Redis::start();
    one_refresh_for_both(&scene(&patient(&format!("redis://127.0.0.1:{}", redis.port()))));
}

#[test]
fn a_hundred_requests_at_two_gateways_make_one_refresh_in_postgres() {
    if !are_there("stores::refresh_in_postgres", &[Part::Postgres]) {
        return;
    }
    let postgres = Postgres::start();
    one_refresh_for_both(&scene(&patient(&postgres.url())));
}

/// A gateway that dies when the provider has answered and the store has not been told: what the other one gets, and the scene.
fn dies_before_it_writes(leeway: Duration) -> Option<(Scene, String, u16)> {
    if !are_there("stores::dies_before_it_writes", &[Part::Redis]) {
        return None;
    }
    let redis = Redis::start();
    // Its refresh is due in the middle of its life, so that a busy machine has seconds to ask while it is good still.
    let life = Duration::from_secs(16);
    let store = patient(&format!("redis://127.0.0.1:{}", redis.port()));
    let mut scene = scene_with(&store, leeway, life, "8s");
    let browser = scene.signed_in("alice", 0);
    let signed_in = instant();
    let cookie = cookies(&browser);
    assert_eq!(at_both(&scene, 1, &cookie), [200; 2]);
    scene.provider.control().forget();
    scene.provider.control().once((Endpoint::Token, Transport::Slow(Duration::from_secs(4))));
    pause(life / 2);
    assert_eq!(request(scene.gateways[0].url(), &cookie).send().status, 200, "its token is good still");
    until("the provider is asked", || refreshes(&scene) == 1);
    redis.freeze();
    assert!(scene.gateways[0].logs_come_to_hold(REFRESHED), "{}", logs(&scene));
    scene.gateways[0].process().signal("KILL");
    drop(scene.gateways.remove(0));
    redis.thaw();
    // Until its token is over, and it has to wait for another one.
    pause((life + Duration::from_secs(1)).saturating_sub(signed_in.elapsed()));
    let status = request(scene.gateways[0].url(), &cookie).send().status;
    drop(redis);
    Some((scene, cookie, status))
}

#[test]
fn a_gateway_that_dies_before_it_writes_costs_nothing_where_the_provider_lets_a_token_be_sent_again() {
    let Some((scene, _, status)) = dies_before_it_writes(Duration::from_mins(1)) else { return };
    assert_eq!(status, 200, "{}", logs(&scene));
    assert_eq!(refreshes(&scene), 2, "the other one asked again, and was given an answer");
}

#[test]
fn a_gateway_that_dies_before_it_writes_costs_one_clean_sign_in_elsewhere() {
    let Some((scene, cookie, status)) = dies_before_it_writes(Duration::ZERO) else { return };
    assert_eq!(status, 302, "{}", logs(&scene));
    assert_eq!(refreshes(&scene), 2);
    assert_eq!(request(scene.gateways[0].url(), &cookie).send().status, 302, "and no second try with what was refused");
    assert_eq!(refreshes(&scene), 2);
}

/// A restart in the middle of a refresh, which no request waits for: the refresh token is used up by then, so what came for it is written
/// before the process ends.
#[test]
fn a_gateway_that_is_asked_to_stop_sees_its_refresh_to_the_end() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = patient(&format!("sqlite:{}", folder.path().join("sessions.db").display()));
    let life = Duration::from_secs(30);
    let mut scene = scene_with(&store, Duration::ZERO, life, "15s");
    let cookie = cookies(&scene.signed_in("alice", 0));
    scene.provider.control().once((Endpoint::Token, Transport::Slow(Duration::from_secs(2))));
    pause(life / 2);
    assert_eq!(request(scene.gateways[0].url(), &cookie).send().status, 200, "its token is good still");
    until("the provider is asked", || refreshes(&scene) == 1);
    assert!(scene.gateways[0].stop().success(), "{}", logs(&scene));
    drop(scene.gateways.remove(0));
    assert_eq!(request(scene.gateways[0].url(), &cookie).send().status, 200, "{}", logs(&scene));
    // Longer than the lock of a gateway that died keeps this one from trying the old token.
    pause(Duration::from_secs(8));
    assert_eq!(request(scene.gateways[0].url(), &cookie).send().status, 200, "{}", logs(&scene));
    assert_eq!(refreshes(&scene), 1, "the new tokens are there: {}", logs(&scene));
}
