//! The Back button after signing out, before an application that never heard of caches: nothing private comes back.

use std::time::Duration;

use portcullis::demo::provider::{Edit, Misbehaviour};

use crate::support::answer::Answer;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::parts::{self, Part};
use crate::support::pause;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;
use crate::support::webdriver::WebDriver;
use crate::visit::{sign_in, sign_out};

const PRIVATE: &str =
    "<!doctype html><title>Private</title><h1>Private things of alice</h1><p><a id=next href=/next>Next</a>";

/// A gateway before pages without a word on caching, which browsers keep behind their Back button.
fn scene(provider: &Provider) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    for path in ["/private", "/next"] {
        upstream.on(path, Answer::body(PRIVATE).header("Content-Type", "text/html"));
    }
    let config = GatewayConfig::on_loopback().client(provider.issuer(), CLIENT_ID, CLIENT_SECRET);
    (config.upstream("app", &upstream.url()).start(), upstream)
}

fn nothing_private_comes_back(browser: &WebDriver, gateway: &Gateway, upstream: &Upstream) {
    browser.wait_for_url(&gateway.at("/.auth/signed-out"));
    // A provider that was not told signs her in again without a word: then the application is asked, and answers anew.
    for path in ["/private", "/next"] {
        upstream.on(path, Answer::body("<!doctype html><h1>Asked anew</h1>").header("Content-Type", "text/html"));
    }
    for _ in 0..4 {
        browser.back();
        pause(Duration::from_millis(300));
        assert!(!browser.visible_text().contains("Private things"), "Back to {} shows it", browser.url());
    }
}

#[test]
fn back_shows_nothing_private_though_the_application_says_nothing_of_caches() {
    if !parts::are_there("browser::back", &[Part::Chromium]) {
        return;
    }
    let provider = Provider::start();
    let (gateway, upstream) = scene(&provider);
    let browser = parts::chromium();
    sign_in(&browser, &gateway, "alice", "/private");
    browser.click(&browser.wait_for("#next"));
    browser.wait_for_url(&gateway.at("/next"));
    sign_out(&browser, &gateway);
    nothing_private_comes_back(&browser, &gateway, &upstream);
}

#[test]
fn nor_where_the_provider_has_no_sign_out_of_its_own() {
    if !parts::are_there("browser::back_local", &[Part::Chromium]) {
        return;
    }
    let provider = Provider::start();
    provider.control().always(Misbehaviour::Metadata(Edit::remove("end_session_endpoint")));
    let (gateway, upstream) = scene(&provider);
    let browser = parts::chromium();
    sign_in(&browser, &gateway, "alice", "/private");
    sign_out(&browser, &gateway);
    nothing_private_comes_back(&browser, &gateway, &upstream);
}
