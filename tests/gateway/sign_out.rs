//! Signing out ends the session here first and then the provider's, and nobody else can do it for a person.

use portcullis::demo::provider::{Edit, Endpoint, Misbehaviour};

use crate::scene::{HTTPS, SESSION, Scene, cleared, cookies, provider};
use crate::support::browser::Browser;
use crate::support::gateway::GatewayConfig;

/// Signs out as a link of the application does.
fn sign_out(scene: &Scene, browser: &mut Browser) -> crate::support::browser::Page {
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    let page = browser.open(&scene.at("/.auth/logout"));
    browser.fields.pop();
    page
}

#[test]
fn without_an_end_session_endpoint_the_session_here_ends() {
    let provider = provider();
    provider.control().always(Misbehaviour::Metadata(Edit::remove("end_session_endpoint")));
    let scene = Scene::with(GatewayConfig::new(HTTPS), provider, |config| config);
    let mut browser = scene.signed_in("alice");
    let page = sign_out(&scene, &mut browser);
    assert_eq!((page.response.status, page.url.path()), (200, "/.auth/signed-out"));
    assert!(!page.text().contains("so has the one at the provider"), "it is not known: {}", page.text());
    assert_eq!(page.response.header("clear-site-data"), Some("\"cache\""), "Back shows nothing private");
    assert_eq!(cookies(&browser, "__"), [], "nothing of ours is left");
    assert_eq!(scene.me(&mut browser).0, 401);
    scene.upstream.forget();
    let again = browser.peek(&scene.at("/private"));
    assert_eq!((again.status, scene.upstream.count()), (302, 0));
}

#[test]
fn with_one_the_provider_is_told_whose_session_ends_and_where_to_come_back_to() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.signed_in("alice");
    let answer = scene.signed_in("alice").peek(&scene.at("/.auth/logout"));
    assert_eq!(cleared(&answer).first().map(String::as_str), Some(SESSION), "here first, whatever comes after");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "the hint stays out of Referer");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let page = sign_out(&scene, &mut browser);
    assert_eq!(page.url.path(), "/.auth/signed-out");
    assert!(page.text().contains("so has the one at the provider"), "{}", page.text());
    let asked = scene.provider.control().requests(Endpoint::EndSession);
    let [asked] = asked.as_slice() else { panic!("asked once: {asked:?}") };
    assert_eq!(asked.parameter("post_logout_redirect_uri"), Some("https://app.example.com/.auth/signed-out"));
    let state = asked.parameter("state").expect("a state");
    assert!(state.len() >= 22 && page.url.query().is_some_and(|query| query.contains(state)), "{state}");
    let hint = asked.parameter("id_token_hint").expect("the ID token as it came");
    assert_eq!(hint.split('.').count(), 3);
    assert!(!scene.gateway.logs().contains(hint), "a token stands in the log");
    assert!(!asked.headers.iter().any(|(name, _)| name == "referer"));
    assert_eq!(scene.me(&mut browser).0, 401);

    // The provider has forgotten her: a new sign-in asks who she is.
    let login = browser.open(&scene.at("/x"));
    assert!(login.forms().iter().any(|form| form.has("password")), "{}", login.text());
}

#[test]
fn another_site_can_neither_sign_out_nor_draw_a_token() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.signed_in("alice");
    let foreign: [&[(&str, &str)]; 5] = [
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "image")],
        &[("Origin", "https://evil.example")],
        &[("Referer", "https://evil.example/")],
    ];
    let url = url::Url::parse(&scene.at("/.auth/logout?rd=https://evil.example/?t={id_token}")).expect("a URL");
    for fields in foreign {
        for method in ["GET", "POST"] {
            let mut attacked = browser.clone();
            attacked.fields.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
            let answer = attacked.send(&url, |request| request.headers(fields), method);
            assert!(matches!(answer.status, 200 | 403), "{fields:?} {}", answer.status);
            assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{fields:?}");
            assert_eq!(answer.header("clear-site-data"), None, "{fields:?}");
            assert!(!answer.text().contains("id_token") && !answer.text().contains("evil"), "{fields:?}");
        }
    }
    assert_eq!(scene.provider.control().count(Endpoint::EndSession), 0);
    assert_eq!(scene.me(&mut browser).0, 200);
    assert_eq!(browser.peek(&scene.at("/.auth/signed-out")).header("clear-site-data"), None);
}

#[test]
fn where_a_sign_out_leads_is_fixed() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.signed_in("alice");
    let evil = "https://evil.example/";
    let target = format!("/.auth/logout?return_to={evil}&rd={evil}&post_logout_redirect_uri={evil}&state=x");
    let answer = browser.peek(&scene.at(&target));
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("evil"), "{}", answer.text());
    assert!(!String::from_utf8_lossy(&answer.head.raw).contains("evil"));
    let back = browser.peek(&scene.at(&format!("/.auth/signed-out?state=forged&return_to={evil}")));
    assert_eq!((back.status, back.header("location")), (200, None));
    assert!(!back.text().contains("so has the one") && !back.text().contains("evil"), "{}", back.text());
}
