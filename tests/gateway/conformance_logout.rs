//! The modules of the `OpenID` Foundation's RP-initiated logout plan, each named as there, with an oracle of our own.

use portcullis::demo::provider::Endpoint;
use url::Url;

use crate::sign_ins::{SignIns, parameter};
use crate::support::browser::{Browser, Page};

/// A person who signed in presses the application's link; stops at the provider's end-session endpoint.
fn towards_the_provider(scene: &SignIns) -> (Browser, Url) {
    let (mut browser, _) = scene.sign_in("before signing out");
    browser.stop_before = Some("/end_session".to_owned());
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    let page = browser.open(&scene.gateway.at("/.auth/logout"));
    browser.fields.pop();
    browser.stop_before = None;
    assert!(page.url.as_str().starts_with(scene.provider.issuer()), "{}", page.url);
    (browser, page.url)
}

fn assert_signed_out(scene: &SignIns, what: &str, browser: &mut Browser, page: &Page) {
    assert_eq!(page.response.status, 200, "{what}");
    assert_eq!(page.url.path(), "/.auth/signed-out", "{what}");
    assert!(page.url.as_str().starts_with(scene.gateway.url()), "{what}: {}", page.url);
    scene.assert_opens_nothing(what, browser);
}

#[test]
fn oidcc_client_test_rp_init_logout() {
    let id_tokens = |config: crate::support::gateway::GatewayConfig| {
        config.raw("[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nupstream = \"app\"")
    };
    let scene = SignIns::start_with(portcullis::demo::provider::ProviderOptions::default(), id_tokens);
    // Remembers the ID token as it was issued.
    let issued = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let keep = std::sync::Arc::clone(&issued);
    scene.control().rewrite(move |token| {
        keep.lock().expect("nobody panics with it").clone_from(&token);
        token
    });
    let (mut browser, asked) = towards_the_provider(&scene);
    assert_eq!(parameter(&asked, "id_token_hint"), *issued.lock().expect("nobody panics with it"), "byte for byte");
    assert_eq!(parameter(&asked, "post_logout_redirect_uri"), scene.gateway.at("/.auth/signed-out"));
    assert!(parameter(&asked, "state").len() >= 22);
    let page = browser.open(asked.as_str());
    assert_signed_out(&scene, "signed out", &mut browser, &page);
    assert_eq!(scene.control().count(Endpoint::EndSession), 1);
}

/// The provider sends back another state: a neutral page, and nobody is sent anywhere.
#[test]
fn oidcc_client_test_rp_init_logout_other_state() {
    let scene = SignIns::start();
    let (mut browser, asked) = towards_the_provider(&scene);
    let right = scene.gateway.at(&format!("/.auth/signed-out?state={}", parameter(&asked, "state")));
    let wrong = scene.gateway.at("/.auth/signed-out?state=another&post_logout_redirect_uri=https%3A%2F%2Fevil.example");
    let mut stranger = browser.clone();
    let page = stranger.open(&wrong);
    assert_signed_out(&scene, "another state", &mut stranger, &page);
    assert!(!page.text().contains("evil.example"));
    let told = browser.open(&right);
    assert_signed_out(&scene, "the right state", &mut browser, &told);
    assert_ne!(page.text(), told.text(), "what the person reads must depend on the state");
}

#[test]
fn oidcc_client_test_rp_init_logout_no_state() {
    let scene = SignIns::start();
    let (mut browser, _) = towards_the_provider(&scene);
    let page = browser.open(&scene.gateway.at("/.auth/signed-out"));
    assert_signed_out(&scene, "no state", &mut browser, &page);
}

/// The session here ends first, whether the provider answers or not.
#[test]
fn signing_out_works_while_the_provider_is_away() {
    let scene = SignIns::start();
    let (mut browser, _) = scene.sign_in("before");
    scene.provider.pause();
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    let answer = browser.peek(&scene.gateway.at("/.auth/logout"));
    browser.fields.pop();
    assert!((200..400).contains(&answer.status), "{}", answer.status);
    scene.assert_opens_nothing("signed out without the provider", &mut browser);
}
