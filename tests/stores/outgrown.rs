//! Sessions that outgrow their cookies at a refresh: they move to the store, once over all gateways, and lose nothing while it is away.

use std::time::Duration;

use portcullis::base::clock::instant;
use portcullis::demo::provider::{Endpoint, Lifetimes, ProviderOptions, RefreshTokens, Transport};
use serde_json::json;

use crate::ends;
use crate::large::{in_each_store, noise};
use crate::redis::{Redis, until};
use crate::scene::{SESSION, SITE, Scene, at, cookies};
use crate::support::answer::Answer;
use crate::support::browser::Browser;
use crate::support::client::{Client, Request, Response, at_once};
use crate::support::parts::{Part, are_there};
use crate::support::websocket::WebSocket;
use crate::support::{pause, refreshes_since};

/// How long an access token lasts.
const LIFE: Duration = Duration::from_secs(9);
/// When its refresh is due for certain, and it is good still.
const DUE: Duration = Duration::from_secs(8);
/// When it is due at the earliest; times are in whole seconds.
const AGAIN: Duration = Duration::from_secs(6);
const GRACE: Duration = Duration::from_secs(4);
const REFRESHED: &str = "the tokens of a session were refreshed";
const MOVED: &str = "a session outgrew its cookies and lives in the store from now on";

/// So many gateways with these lines in `[session]`, whose provider gives refresh tokens that work once.
fn scene(count: usize, lines: &[&str]) -> Scene {
    let options = ProviderOptions {
        refresh_tokens: RefreshTokens { always: true, reusable: false, leeway: Duration::ZERO },
        lifetimes: Lifetimes { access_token: LIFE, ..Lifetimes::default() },
        ..ProviderOptions::default()
    };
    let ahead = ["refresh_ahead = \"2s\"", "refresh_grace = \"4s\""];
    let scene = Scene::of(options, count, &[&ahead, lines].concat());
    scene.put_person("dora", json!({ "sub": "dora", "groups": ["staff"], "one": noise(1, 4_000) }));
    scene
}

fn for_large_ones(url: &str) -> String {
    format!("store = {{ url = {url:?}, timeout = \"10s\", sessions = \"large\" }}")
}

/// From now on the provider tells more of her than fits into cookies.
fn grows(scene: &Scene) {
    let (one, two, three) = (noise(1, 9_000), noise(2, 9_000), noise(3, 9_000));
    let claims = json!({ "sub": "dora", "groups": ["staff", "late"], "one": one, "two": two, "three": three });
    scene.put_person("dora", claims);
}

fn refreshes(scene: &Scene) -> usize {
    let asked = scene.provider.control().requests(Endpoint::Token);
    asked.iter().filter(|request| request.parameter("grant_type") == Some("refresh_token")).count()
}

fn request(scene: &Scene, gateway: usize, target: &str, cookie: &str) -> Request {
    let host = SITE.split_once("://").expect("it has a scheme").1;
    let request = Client::new(scene.gateways[gateway].url()).named(host).get(target).header("Cookie", cookie);
    request.header("Accept", "text/html").header("Sec-Fetch-Mode", "navigate")
}

fn get(scene: &Scene, gateway: usize, cookie: &str) -> Response {
    request(scene, gateway, "/api/x", cookie).send()
}

/// What a page's own call of `POST /.auth/refresh` gets.
fn ask_for_refresh(scene: &Scene, gateway: usize, cookie: &str) -> Response {
    let host = SITE.split_once("://").expect("it has a scheme").1;
    let request = Client::new(scene.gateways[gateway].url()).named(host).request("POST", "/.auth/refresh");
    let request = request.header("Cookie", cookie).header("Sec-Fetch-Site", "same-origin");
    let answer = request.header("Accept", "application/json").send();
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), logs(scene));
    assert_eq!(answer.json()["refreshed"], true);
    answer
}

/// What the upstream was given as a token by the latest request.
fn token(scene: &Scene) -> String {
    scene.upstream.last_request().header("authorization").expect("a token").to_owned()
}

fn is_key(cookie: &str) -> bool {
    cookie.starts_with(&format!("{SESSION}=1.")) && cookie.len() < 200 && !cookie.contains(';')
}

/// The cookies of the session that an answer sets, and those that it clears.
fn set_and_cleared(answer: &Response) -> (Vec<String>, Vec<String>) {
    let lines: Vec<String> = answer.head.all("set-cookie").iter().map(|line| (*line).to_owned()).collect();
    let name = |line: &String| line.split('=').next().unwrap_or_default().to_owned();
    let (cleared, set): (Vec<String>, Vec<String>) = lines.into_iter().partition(|line| line.contains("Max-Age=0"));
    (
        set.iter().map(|line| line.split(';').next().unwrap_or_default().to_owned()).collect(),
        cleared.iter().map(name).collect(),
    )
}

fn count(text: &str, what: &str) -> usize {
    text.lines().filter(|line| line.contains(what)).count()
}

fn logs(scene: &Scene) -> String {
    scene.gateways.iter().map(crate::support::gateway::Gateway::logs).collect::<Vec<_>>().join("\n--\n")
}

fn knows_all_of_her(scene: &Scene, gateway: usize, browser: &mut Browser) {
    scene.reach(browser, gateway);
    let me = browser.peek(&at("/.auth/me")).json();
    assert_eq!(me["claims"]["three"].as_str().map(str::len), Some(9_000), "gateway {gateway}: {}", logs(scene));
    assert_eq!(me["groups"], json!(["staff", "late"]), "gateway {gateway}");
}

fn out_of_cookies_and_on(url: &str) {
    let mut scene = scene(2, &[&for_large_ones(url)]);
    let mut browser = scene.signed_in("dora", 0);
    let before = cookies(&browser);
    assert!(before.contains(&format!("{SESSION}.1=")), "several cookies, so that there is something to clear");
    assert_eq!((get(&scene, 0, &before).status, get(&scene, 1, &before).status), (200, 200));
    grows(&scene);
    pause(DUE);
    // It is refreshed behind this request, and the answer to the next one brings the key.
    let moved = instant();
    assert_eq!(get(&scene, 0, &before).status, 200);
    assert!(scene.gateways[0].logs_come_to_hold(MOVED), "{}", logs(&scene));
    let answer = browser.peek(&at("/api/x"));
    assert_eq!(answer.status, 200, "{}", logs(&scene));
    let (set, cleared) = set_and_cleared(&answer);
    assert_eq!((set.len(), cleared.len()), (1, before.split("; ").count() - 1), "{set:?} {cleared:?}");
    let key = cookies(&browser);
    assert!(set == [key.clone()] && is_key(&key), "{key}");
    assert_eq!(get(&scene, 0, &key).status, 200);
    let newest = token(&scene);
    // On a busy machine the next refresh may be due before all of this has been looked at.
    let is_newest = |scene: &Scene| token(scene) == newest || moved.elapsed() >= AGAIN;
    // Cookies from before lead to the same: here within the grace, at the other gateway, which never saw it move, as soon as it would ask.
    pause(LIFE.saturating_sub(DUE));
    assert_eq!(get(&scene, 0, &before).status, 200);
    assert!(is_newest(&scene), "{}", logs(&scene));
    let answer = get(&scene, 1, &before);
    assert_eq!(answer.status, 200, "{}", logs(&scene));
    assert!(is_newest(&scene), "{}", logs(&scene));
    assert!(refreshes_since(moved, AGAIN).contains(&refreshes(&scene)), "{}", logs(&scene));
    assert!(is_key(&set_and_cleared(&answer).0.join("; ")), "the other gateway brings the key as well");
    let newcomer = scene.gateway();
    scene.gateways.push(newcomer);
    for gateway in [0, 1, 2] {
        knows_all_of_her(&scene, gateway, &mut browser);
        assert_eq!(get(&scene, gateway, &key).status, 200);
        assert!(is_newest(&scene), "{}", logs(&scene));
    }
    assert_eq!(count(&logs(&scene), MOVED), 1);

    // A stored session like any other: refreshed once over all of them, whoever asks.
    pause(LIFE);
    scene.upstream.forget();
    let (before_all, began) = (refreshes(&scene), instant());
    let all = (0..60).map(|number| request(&scene, number % 3, "/api/x", &key));
    let statuses: Vec<u16> = at_once(all.collect::<Vec<_>>()).iter().map(|answer| answer.status).collect();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}\n{}", logs(&scene));
    let asked = refreshes(&scene) - before_all;
    assert!(refreshes_since(began, AGAIN).contains(&asked), "{asked} in {:?}: {}", began.elapsed(), logs(&scene));
    assert!(token(&scene) != newest);
    // The grace of the cookies from before is long over where the key was shown.
    for gateway in [0, 1] {
        assert_eq!(get(&scene, gateway, &before).status, 302, "gateway {gateway}: {}", logs(&scene));
    }

    scene.reach(&mut browser, 1);
    let page = browser.open(&at("/.auth/logout"));
    assert!(page.response.status < 400, "{}", page.text());
    for gateway in [0, 1, 2] {
        for cookie in [&key, &before] {
            until("nobody is signed in by any of them", || get(&scene, gateway, cookie).status == 302);
        }
    }
    assert_eq!(count(&logs(&scene), "panicked"), 0);
}

#[test]
fn a_session_that_a_refresh_makes_too_large_for_cookies_moves_to_the_store() {
    in_each_store("stores::moves_to_the_store", out_of_cookies_and_on);
}

/// A scene of so many gateways whose large sessions go to a Redis of their own; none where that is missing.
fn with_redis(test: &str, gateways: usize) -> Option<(Redis, Scene)> {
    are_there(test, &[Part::Redis]).then(|| {
        let redis = Redis::start();
        let scene = scene(gateways, &[&for_large_ones(&format!("redis://127.0.0.1:{}", redis.port()))]);
        (redis, scene)
    })
}

#[test]
fn a_hundred_requests_with_the_old_cookies_at_two_gateways_make_one_refresh_when_it_moves() {
    let Some((_redis, scene)) = with_redis("stores::one_refresh_when_it_moves", 2) else { return };
    let browser = scene.signed_in("dora", 0);
    let before = cookies(&browser);
    assert_eq!((get(&scene, 0, &before).status, get(&scene, 1, &before).status), (200, 200));
    grows(&scene);
    scene.provider.control().always((Endpoint::Token, Transport::Slow(Duration::from_millis(400))));
    pause(LIFE);
    scene.upstream.forget();
    let began = instant();
    let answers = at_once((0..100).map(|number| request(&scene, number % 2, "/api/x", &before)).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.status == 200), "{}", logs(&scene));
    assert!(answers.iter().all(|answer| is_key(&set_and_cleared(answer).0.join("; "))), "each brings the key");
    let asked = refreshes(&scene);
    assert!(refreshes_since(began, AGAIN).contains(&asked), "{asked} in {:?}: {}", began.elapsed(), logs(&scene));
    let mut tokens: Vec<String> = scene
        .upstream
        .requests()
        .iter()
        .filter_map(|request| request.header("authorization").map(str::to_owned))
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert!((1..=asked).contains(&tokens.len()), "all of them take the new token along");
}

#[test]
fn a_sign_out_with_the_old_cookies_ends_what_moved_and_closes_what_it_has_open() {
    let Some((redis, scene)) = with_redis("stores::ends_what_moved", 2) else { return };
    scene.upstream.on("/ws", Answer::websocket());
    let open = |cookie: &str| {
        let mut socket = WebSocket::open(request(&scene, 0, "/ws", cookie).header("Origin", SITE)).expect("it opens");
        assert_eq!(socket.ask("hello").expect("an echo"), "hello");
        socket
    };
    let mut browser = scene.signed_in("dora", 0);
    let mut old = scene.copy(&browser, 1);
    let mut sockets = vec![open(&cookies(&browser))];
    grows(&scene);
    // `POST /.auth/refresh` brings the key at once.
    let (set, cleared) = set_and_cleared(&ask_for_refresh(&scene, 0, &cookies(&browser)));
    let key = set.join("; ");
    assert!(is_key(&key) && !cleared.is_empty(), "{key} {cleared:?}");
    // Whoever asks with the old cookies gets what is there, and nobody is asked twice.
    assert!(is_key(&set_and_cleared(&ask_for_refresh(&scene, 0, &cookies(&browser))).0.join("; ")));
    assert_eq!(refreshes(&scene), 1, "{}", logs(&scene));
    assert_eq!(browser.peek(&at("/page")).status, 200);
    sockets.push(open(&key));
    assert_eq!(sockets[0].ask("still there?").expect("it stays open when it moves"), "still there?");
    knows_all_of_her(&scene, 1, &mut browser);
    let records = || redis.ask(&["KEYS", "*"]).lines().filter(|line| line.contains(":r:")).count();
    assert_eq!(records(), 1, "{}", redis.ask(&["KEYS", "*"]));

    let page = old.open(&at("/.auth/logout"));
    assert!(page.response.status < 400, "{}", page.text());
    for gateway in [0, 1] {
        until("the key leads nowhere", || get(&scene, gateway, &key).status == 302);
    }
    for socket in &mut sockets {
        until("what it has open is closed", || socket.ask("and now?").is_err());
    }
    until("its record is gone", || records() == 0);
}

#[test]
fn a_logout_token_ends_what_moved_by_the_providers_session_and_by_the_person() {
    let Some((_redis, scene)) = with_redis("stores::logout_token_ends_what_moved", 2) else { return };
    for (jti, about) in [("1", json!({ "sid": "doras" })), ("2", json!({ "sub": "dora" }))] {
        scene.put_person("dora", json!({ "sub": "dora", "groups": ["staff"], "one": noise(1, 4_000) }));
        // Who signs in after a mark on a person is dated after it, so the two follow each other by more than a second.
        pause(Duration::from_secs(2));
        scene.provider.control().mint(|_, claims| drop(claims.insert("sid".to_owned(), json!("doras"))));
        let before = cookies(&scene.signed_in("dora", 0));
        grows(&scene);
        let key = set_and_cleared(&ask_for_refresh(&scene, 0, &before)).0.join("; ");
        scene.provider.control().behave();
        assert!(is_key(&key), "{key}\n{}", logs(&scene));
        for gateway in [0, 1] {
            assert_eq!(get(&scene, gateway, &key).status, 200, "{}", logs(&scene));
        }
        let token = ends::token(&scene, &ends::claims(&scene, jti, &about), Vec::new());
        assert_eq!(ends::tell(&scene, 1, &token).status, 200, "{}", logs(&scene));
        for cookie in [&key, &before] {
            for gateway in [1, 0] {
                until("nobody is signed in", || get(&scene, gateway, cookie).status == 302);
            }
        }
    }
}

#[test]
fn while_the_store_is_away_it_goes_on_and_moves_when_the_store_is_back() {
    let Some((mut redis, scene)) = with_redis("stores::moves_when_the_store_is_back", 2) else { return };
    let mut browser = scene.signed_in("dora", 0);
    let before = cookies(&browser);
    assert_eq!(get(&scene, 0, &before).status, 200);
    let first = token(&scene);
    grows(&scene);
    redis.kill();
    // Over twice: what the first refresh brought is used for the second.
    for round in 1..=2 {
        pause(LIFE + Duration::from_secs(1));
        let (had, began) = (refreshes(&scene), instant());
        for _ in 0..5 {
            let answer = browser.peek(&at("/api/x"));
            assert_eq!(answer.status, 200, "round {round}: {}\n{}", answer.text(), logs(&scene));
            assert_eq!(answer.head.all("set-cookie").len(), 0, "the browser keeps what it has");
        }
        let asked = refreshes(&scene) - had;
        assert!(refreshes_since(began, AGAIN).contains(&asked), "{asked} in {:?}: {}", began.elapsed(), logs(&scene));
    }
    assert_eq!(cookies(&browser), before);
    let newest = token(&scene);
    assert_ne!(newest, first);
    let told = "a session outgrew its cookies while its store is away";
    assert_eq!(count(&logs(&scene), told), 1, "{}", logs(&scene));
    let line = logs(&scene).lines().find(|line| line.contains(told)).expect("it was told").to_owned();
    assert!(line.contains("`session.store.url`") && !line.contains("dora"), "{line}");

    redis.restart();
    until("the browser gets the key", || {
        assert_eq!(browser.peek(&at("/api/x")).status, 200, "{}", logs(&scene));
        is_key(&cookies(&browser))
    });
    assert!(logs(&scene).contains("is in the store now") || logs(&scene).contains(MOVED), "{}", logs(&scene));
    knows_all_of_her(&scene, 1, &mut browser);
    let key = cookies(&browser);
    for gateway in [1, 0] {
        assert_eq!(get(&scene, gateway, &key).status, 200, "{}", logs(&scene));
    }
    assert_eq!(count(&logs(&scene), "the provider ended a session"), 0, "no refresh token was used twice");
}

#[test]
fn a_session_that_fell_back_to_cookies_moves_as_well() {
    if !are_there("stores::fell_back_to_cookies", &[Part::Redis]) {
        return;
    }
    let mut redis = Redis::start();
    let store = format!("store = {{ url = \"redis://127.0.0.1:{}\", timeout = \"10s\" }}", redis.port());
    let scene = scene(1, &[&store]);
    redis.kill();
    let mut browser = scene.signed_in("dora", 0);
    assert!(!is_key(&cookies(&browser)));
    redis.restart();
    until("new sessions go to the store again", || is_key(&cookies(&scene.signed_in("alice", 0))));
    grows(&scene);
    pause(LIFE);
    assert_eq!(browser.peek(&at("/api/x")).status, 200, "{}", logs(&scene));
    assert!(is_key(&cookies(&browser)), "{}", logs(&scene));
    knows_all_of_her(&scene, 0, &mut browser);
}

#[test]
fn what_stays_small_stays_in_cookies_and_needs_no_store_for_its_refresh() {
    let Some((mut redis, scene)) = with_redis("stores::stays_in_cookies", 1) else { return };
    redis.kill();
    let mut browser = scene.signed_in("dora", 0);
    assert_eq!(browser.peek(&at("/api/x")).status, 200);
    let (before, first) = (cookies(&browser), token(&scene));
    pause(LIFE);
    assert_eq!(browser.peek(&at("/api/x")).status, 200, "{}", logs(&scene));
    assert_ne!(token(&scene), first);
    assert!(!is_key(&cookies(&browser)) && cookies(&browser) != before);
    assert_eq!((refreshes(&scene), count(&logs(&scene), "outgrew")), (1, 0), "{}", logs(&scene));
}

#[test]
fn without_a_store_it_goes_on_here_and_the_log_tells_of_it_once() {
    let scene = scene(1, &[]);
    let mut browser = scene.signed_in("dora", 0);
    assert_eq!(browser.peek(&at("/api/x")).status, 200);
    let (before, mut last) = (cookies(&browser), token(&scene));
    grows(&scene);
    for round in 1..=2 {
        pause(LIFE);
        let (had, began) = (refreshes(&scene), instant());
        for _ in 0..10 {
            let answer = browser.peek(&at("/api/x"));
            assert_eq!(answer.status, 200, "round {round}: {}\n{}", answer.text(), logs(&scene));
            assert_eq!(answer.head.all("set-cookie").len(), 0, "what fits no cookies is not half written");
        }
        assert_ne!(token(&scene), last);
        last = token(&scene);
        let asked = refreshes(&scene) - had;
        assert!(refreshes_since(began, AGAIN).contains(&asked), "{asked} in {:?}: {}", began.elapsed(), logs(&scene));
        until("each is told", || count(&logs(&scene), REFRESHED) == refreshes(&scene));
        knows_all_of_her(&scene, 0, &mut browser);
    }
    // Asked for by its page, it is refreshed as well, and says so.
    let answer = ask_for_refresh(&scene, 0, &before);
    assert_eq!((answer.head.all("set-cookie").len(), cookies(&browser)), (0, before));
    assert_eq!(browser.peek(&at("/api/x")).status, 200);
    assert_ne!(token(&scene), last);
    let all = logs(&scene);
    let told: Vec<&str> = all.lines().filter(|line| line.contains("outgrew its cookies")).collect();
    assert_eq!(told.len(), 1, "{all}");
    assert!(told[0].contains("`session.store`") && told[0].contains("may have 16384"), "{}", told[0]);
    assert!(!all.contains("dora") && !all.contains(&noise(3, 40)) && !all.contains("could not be renewed"), "{all}");
}

#[test]
fn cookies_from_before_are_served_until_the_grace_after_the_key_is_over() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let scene = scene(1, &[&for_large_ones(&format!("sqlite:{}", folder.path().join("s.db").display()))]);
    let mut browser = scene.signed_in("dora", 0);
    let before = cookies(&browser);
    grows(&scene);
    pause(LIFE);
    assert_eq!(browser.peek(&at("/api/x")).status, 200);
    let key = cookies(&browser);
    assert!(is_key(&key), "{}", logs(&scene));
    // The browser may have missed that answer: until it shows the key, what it had goes on.
    pause(GRACE);
    assert_eq!(get(&scene, 0, &before).status, 200);
    assert_eq!(get(&scene, 0, &key).status, 200);
    assert_eq!(get(&scene, 0, &before).status, 200);
    pause(GRACE);
    let refused = get(&scene, 0, &before);
    assert_eq!(refused.status, 302);
    assert_eq!(set_and_cleared(&refused).1.len(), 0, "what the browser holds by now may be the key");
    assert_eq!(get(&scene, 0, &key).status, 200);
}
