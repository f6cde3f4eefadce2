//! `portcullis demo` in a real browser: sign in, deep links, sign out, and what Back shows then. Leaves pictures of every page
//! in `target/screenshots`.

use std::time::Duration;

use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::parts::{self, Part};
use crate::support::pause;
use crate::support::webdriver::WebDriver;
use crate::visit::{go_to_the_provider, sign_in, sign_in_there, sign_out};

fn scene(test: &str) -> Option<(Gateway, WebDriver)> {
    parts::are_there(test, &[Part::Chromium]).then(|| (Gateway::demo(&[]), parts::chromium()))
}

/// Opens `/.auth/me`: the status, and the principal. A script could not ask for it on our own pages, whose policy forbids that.
fn me(browser: &WebDriver, gateway: &Gateway) -> (u64, Value) {
    browser.open(&gateway.at("/.auth/me"));
    (browser.status(), browser.json())
}

fn names_alice(text: &str) -> bool {
    text.to_lowercase().contains("alice")
}

#[test]
fn alice_signs_in_and_finds_the_page_that_she_asked_for() {
    let Some((gateway, browser)) = scene("browser::sign_in") else { return };
    browser.open(&gateway.at("/.auth/login"));
    browser.screenshot("1-sign-in");
    browser.open(&gateway.at("/deep/page?x=1&y=2"));
    go_to_the_provider(&browser, &gateway);
    browser.screenshot("2-provider");
    sign_in_there(&browser, "alice");
    browser.wait_for_url(&gateway.at("/deep/page"));
    assert_eq!(browser.url(), gateway.at("/deep/page?x=1&y=2"), "{}", gateway.logs());
    assert!(names_alice(&browser.visible_text()), "the application does not know her: {}", browser.source());
    browser.screenshot("3-application");

    let script = browser.run("return document.cookie");
    assert_eq!(script, "", "a script can read a cookie of ours");
    for cookie in browser.cookies() {
        let ours = cookie["name"].as_str().is_some_and(|name| name.starts_with("__Host-"));
        assert!(!ours || (cookie["httpOnly"] == true && cookie["secure"] == true), "{cookie}");
    }

    let (status, principal) = me(&browser, &gateway);
    assert_eq!(status, 200, "{principal}");
    assert!(names_alice(&principal.to_string()), "{principal}");

    browser.open(&gateway.at("/another?z=3"));
    assert_eq!(browser.url(), gateway.at("/another?z=3"), "signed in once is enough");
    let second = browser.new_tab();
    browser.switch_to(&second);
    browser.open(&gateway.at("/in-a-second-tab"));
    assert_eq!(browser.url(), gateway.at("/in-a-second-tab"));
}

#[test]
fn after_signing_out_back_shows_nothing_private() {
    let Some((gateway, browser)) = scene("browser::sign_out") else { return };
    sign_in(&browser, &gateway, "alice", "/private");
    assert!(names_alice(&browser.visible_text()), "{}", browser.source());
    sign_out(&browser, &gateway);
    browser.wait_for_url(&gateway.at("/.auth/signed-out"));
    browser.screenshot("4-signed-out");
    assert!(!names_alice(&browser.visible_text()), "{}", browser.source());

    for _ in 0..4 {
        browser.back();
        pause(Duration::from_millis(300));
        let at_home = browser.url().starts_with(gateway.url());
        assert!(
            !at_home || !names_alice(&browser.visible_text()),
            "Back to {} shows: {}",
            browser.url(),
            browser.source()
        );
    }
    assert_eq!(me(&browser, &gateway).0, 401);
    browser.open(&gateway.at("/private"));
    assert_ne!(browser.url(), gateway.at("/private"), "still let in: {}", browser.source());
}

#[test]
fn two_tabs_that_sign_in_at_once_both_arrive() {
    let Some((gateway, browser)) = scene("browser::two_tabs") else { return };
    let first = browser.window();
    browser.open(&gateway.at("/one"));
    go_to_the_provider(&browser, &gateway);
    let second = browser.new_tab();
    browser.switch_to(&second);
    browser.open(&gateway.at("/two"));
    go_to_the_provider(&browser, &gateway);
    browser.switch_to(&first);
    sign_in_there(&browser, "alice");
    browser.wait_for_url(&gateway.at("/one"));
    browser.switch_to(&second);
    sign_in_there(&browser, "alice");
    browser.wait_for_url(&gateway.at("/two"));
}

#[test]
fn a_callback_out_of_nowhere_is_a_page_that_helps() {
    let Some((gateway, browser)) = scene("browser::error_page") else { return };
    browser.open(&gateway.at("/.auth/login"));
    let provider = gateway_provider(&gateway);
    browser.open(&gateway.at(&format!("/.auth/callback/{provider}?code=forged&state=forged")));
    browser.screenshot("5-error");
    let page = browser.visible_text();
    assert!(!page.contains("forged"), "what came from outside is shown: {page}");
    assert!(browser.find("a[href]").is_some(), "a way out: {}", browser.source());
    let overflow = browser.run("return document.documentElement.scrollWidth > window.innerWidth");
    assert_eq!(overflow, false, "the page is wider than the window");
    assert_eq!(me(&browser, &gateway).0, 401);
}

/// The name of the demo's provider, out of its redirect URI.
fn gateway_provider(gateway: &Gateway) -> String {
    let mut browser = crate::support::browser::Browser::new();
    let mut page = browser.open(&gateway.at("/.auth/login?return_to=/"));
    if page.url.as_str().starts_with(gateway.url()) {
        let links = crate::support::forms::links(&page.text());
        let link = links.into_iter().find(|link| link.contains("/login/")).expect("a provider to choose");
        page = browser.open(page.url.join(&link).expect("a link").as_str());
    }
    let sent = browser.trail.iter().chain([&page.url]).find_map(|url| {
        url.query_pairs().find(|(name, _)| name == "redirect_uri").map(|(_, value)| value.into_owned())
    });
    let redirect = sent.unwrap_or_else(|| panic!("no authorization request: {:?}", browser.trail));
    redirect.rsplit('/').next().map(str::to_owned).expect("a redirect URI ends with the provider's name")
}

#[test]
fn the_pages_fit_a_telephone_and_the_dark() {
    let Some((gateway, browser)) = scene("browser::narrow") else { return };
    browser.open(&gateway.at("/.auth/callback/nobody?code=x&state=y"));
    browser.resize(360, 740);
    browser.screenshot("6-error-narrow");
    let overflow = browser.run("return document.documentElement.scrollWidth > window.innerWidth");
    assert_eq!(overflow, false, "the page must be scrolled sideways");
}
