//! A sign-out is whole: copies of the cookie are worth nothing, tokens are given back, and other sessions end where that was asked for.

use std::time::{Duration, Instant};

use portcullis::demo::provider::{Edit, Endpoint, Misbehaviour, Transport};
use serde_json::json;
use url::Url;

use crate::scene::{HTTPS, SESSION, Scene, cookies, provider, session_value};
use crate::support::browser::{Browser, Page};
use crate::support::comes_true;
use crate::support::gateway::GatewayConfig;

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test watches the real clock")]
    Instant::now()
}

fn sign_out(scene: &Scene, browser: &mut Browser) -> Page {
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    let page = browser.open(&scene.at("/.auth/logout"));
    browser.fields.pop();
    page
}

/// The kinds and values of the tokens that were given back, in order.
fn given_back(scene: &Scene) -> Vec<(String, String)> {
    let asked = scene.provider.control().requests(Endpoint::Revoke);
    let parameter =
        |request: &portcullis::demo::provider::Recorded, name| request.parameter(name).unwrap_or_default().to_owned();
    asked.iter().map(|request| (parameter(request, "token_type_hint"), parameter(request, "token"))).collect()
}

#[test]
fn a_copy_of_the_cookie_opens_nothing_and_its_tokens_are_given_back() {
    let scene = Scene::https(|config| config.provider_line("scopes = [\"openid\", \"offline_access\"]"));
    let mut browser = scene.signed_in("alice");
    let stolen = format!("{SESSION}={}", session_value(&browser));
    assert_eq!(scene.with_cookies("/x", &[&stolen]).status, 200, "the theft as it begins");
    sign_out(&scene, &mut browser);
    scene.upstream.forget();
    for target in ["/x", "/.auth/me"] {
        assert_ne!(scene.with_cookies(target, &[&stolen]).status, 200, "{target}");
    }
    assert_eq!(scene.upstream.count(), 0);
    assert!(comes_true(|| given_back(&scene).len() >= 2), "{:?}", given_back(&scene));
    let given = given_back(&scene);
    let kinds: Vec<&str> = given.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["refresh_token", "access_token"], "the refresh token goes first");
    let logs = scene.gateway.logs();
    assert!(given.iter().all(|(_, token)| token.len() > 20 && !logs.contains(token)), "a token stands in the log");
    let asked = scene.provider.control().requests(Endpoint::Revoke);
    assert!(
        asked.iter().all(|request| request.header("authorization").is_some_and(|value| value.starts_with("Basic ")))
    );
}

#[test]
fn a_slow_provider_holds_nobody_up() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.signed_in("alice");
    scene
        .provider
        .control()
        .always(Misbehaviour::Transport(Endpoint::Revoke, Transport::Slow(Duration::from_secs(15))));
    let begun = now();
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    let answer = browser.peek(&scene.at("/.auth/logout"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(answer.status, 200);
    assert!(comes_true(|| !given_back(&scene).is_empty()));
}

#[test]
fn tokens_stay_where_the_provider_takes_none_or_the_operator_says_so() {
    let provider = provider();
    provider.control().always(Misbehaviour::Metadata(Edit::remove("revocation_endpoint")));
    let without = Scene::with(GatewayConfig::new(HTTPS), provider, |config| config);
    let unwanted = Scene::https(|config| config.provider_line("revoke_tokens = false"));
    for scene in [without, unwanted] {
        let mut browser = scene.signed_in("alice");
        assert_eq!(sign_out(&scene, &mut browser).response.status, 200);
        assert_eq!(scene.me(&mut browser).0, 401);
        crate::support::pause(Duration::from_millis(300));
        assert_eq!(scene.provider.control().count(Endpoint::Revoke), 0);
    }
}

#[test]
fn everywhere_ends_every_session_of_the_person_and_of_nobody_else() {
    let scene = Scene::https(|config| config);
    let (mut phone, mut laptop, mut bob) = (scene.signed_in("alice"), scene.signed_in("alice"), scene.signed_in("bob"));
    // The button is on the page that says who is signed in.
    let page = phone.open(&scene.at("/.auth/signed-out"));
    let form = page
        .forms()
        .into_iter()
        .find(|form| form.inputs.iter().any(|input| input.name == "everywhere"))
        .expect("a button");
    let done = phone.submit(&page, &form, &form.defaults());
    assert!(done.response.status == 200 && done.url.path() == "/.auth/signed-out", "{}", done.url);
    assert_eq!((scene.me(&mut phone).0, scene.me(&mut laptop).0, scene.me(&mut bob).0), (401, 401, 200));
    assert_eq!(cookies(&phone, SESSION), []);
    assert_eq!(laptop.peek(&scene.at("/x")).status, 302);
    let mut again = scene.signed_in("alice");
    assert_eq!(scene.me(&mut again).0, 200, "a sign-in in the same second is not hit");
}

#[test]
fn nobody_elses_page_can_end_anything() {
    let scene = Scene::https(|config| config);
    let (mut phone, mut laptop) = (scene.signed_in("alice"), scene.signed_in("alice"));
    let url = Url::parse(&scene.at("/.auth/logout")).expect("a URL");
    let everywhere = [("everywhere".to_owned(), "1".to_owned())];
    for fields in [
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site")],
        vec![("Origin", "https://evil.example")],
        vec![("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "image")],
        vec![("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Dest", "image")],
    ] {
        for (method, form) in [("POST", true), ("GET", false)] {
            let mut attacked = phone.clone();
            attacked.fields.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
            let dress = |request: crate::support::client::Request| {
                let request = request.headers(&fields);
                if form { request.form(&everywhere) } else { request }
            };
            let answer = attacked.send(&url, dress, method);
            assert!(matches!(answer.status, 200 | 403), "{fields:?}");
            assert_eq!(answer.header("set-cookie"), None, "{fields:?}");
            assert!(!answer.text().contains("everywhere"), "what is asked for elsewhere is not offered: {fields:?}");
        }
    }
    assert_eq!((scene.me(&mut phone).0, scene.me(&mut laptop).0), (200, 200));
    assert_eq!(scene.provider.control().count(Endpoint::Revoke), 0);
}

#[test]
fn front_channel_logout_works_in_a_frame_that_gets_no_cookies() {
    let scene = Scene::https(|config| config);
    scene.provider.control().mint(|_, claims| drop(claims.insert("sid".to_owned(), json!("phone"))));
    let mut browser = scene.signed_in("alice");
    scene.provider.control().behave();
    let mut other = scene.signed_in("alice");
    let mut target = Url::parse(&scene.at("/.auth/frontchannel-logout/corp")).expect("a URL");
    target.query_pairs_mut().append_pair("iss", scene.provider.issuer()).append_pair("sid", "phone");
    let frame = |url: &Url| {
        let path = &url[url::Position::BeforePath..];
        let fields = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "iframe"), ("Sec-Fetch-Mode", "navigate")];
        scene.gateway.client().named("app.example.com").get(path).headers(&fields).send()
    };
    let wrong = Url::parse(&target.as_str().replace("sid=phone", "sid=another")).expect("a URL");
    assert_eq!(frame(&wrong).status, 200);
    assert_eq!(scene.me(&mut browser).0, 200);
    let foreign = target.as_str().replace("iss=http", "iss=https");
    assert_eq!(frame(&Url::parse(&foreign).expect("a URL")).status, 400);
    let answer = frame(&target);
    assert_eq!(answer.status, 200);
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.ends_with(&format!("frame-ancestors {}", scene.provider.issuer())), "{policy}");
    assert_eq!((answer.header("x-frame-options"), answer.header("cache-control")), (None, Some("no-store")));
    assert_eq!((scene.me(&mut browser).0, scene.me(&mut other).0), (401, 200));
    assert_eq!(scene.provider.control().count(Endpoint::Revoke), 0, "a frame proves nothing, so tokens stay");
}
