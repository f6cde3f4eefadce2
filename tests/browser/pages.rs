//! Every page of ours in a real browser, light and dark, wide and narrow. The pictures are in `target/screenshots`.

use std::time::Duration;

use serde_json::json;

use portcullis::demo::provider::Person;

use crate::support::answer::Answer;
use crate::support::free_port;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::parts::{self, Part};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::sha256;
use crate::support::upstream::Upstream;
use crate::support::webdriver::WebDriver;
use crate::visit::{sign_in, sign_in_there};

/// Takes pictures of the page that is shown, and checks what can be checked of how it looks.
fn look(browser: &WebDriver, name: &str) {
    let mut papers = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (width, kind) in [(1280, "wide"), (360, "narrow")] {
            browser.resize(width, 800);
            browser.screenshot(&format!("{name}-{scheme}-{kind}"));
            let overflow = browser.run("return document.documentElement.scrollWidth > window.innerWidth");
            assert_eq!(overflow, false, "{name}: the page must be scrolled sideways at {width}");
        }
        papers.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
        let contrast = browser.run(CONTRAST).as_f64().unwrap_or_default();
        assert!(
            contrast >= 4.5,
            "{name}, {scheme}: the faintest text has a contrast of {contrast} (WCAG 2.2, section 1.4.3)"
        );
    }
    assert_ne!(papers[0], papers[1], "{name} looks the same in the dark");
    assert_eq!(browser.run("return document.querySelectorAll('h1').length"), 1, "{name}");
    assert_ne!(browser.run("return document.documentElement.lang"), "", "{name}");
    browser.prefer("light");
    browser.resize(1280, 900);
}

/// The least contrast of text on the page with what is behind it, as WCAG 2.2 reckons it.
const CONTRAST: &str = "
const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const behind = node => { for (; node; node = node.parentElement) {
    const color = parse(getComputedStyle(node).backgroundColor); if (color.length === 3 || color[3] === 1) return color; }
    return [255, 255, 255]; };
let least = 21;
for (const node of document.querySelectorAll('body *')) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    least = Math.min(least, (a + .05) / (b + .05));
}
return least;";

/// A gateway with two providers, one more that is never there, and applications that are slow, or gone.
struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    corp: Provider,
    guest: Provider,
}

fn scene() -> Scene {
    let (corp, guest, upstream) = (Provider::start(), Provider::start(), Upstream::start());
    upstream.on("/slow/x", Answer::silence(Duration::from_secs(20)));
    let further = |name: &str, label: &str, issuer: &str| {
        format!(
            "[providers.{name}]\nlabel = {label:?}\nissuer = {issuer:?}\nclient_id = {CLIENT_ID:?}\nclient_secret = {CLIENT_SECRET:?}"
        )
    };
    let gone = format!("http://127.0.0.1:{}", free_port());
    let config = GatewayConfig::on_loopback()
        .client(corp.issuer(), CLIENT_ID, CLIENT_SECRET)
        .provider_line("label = \"Corporate login\"")
        .raw(&further("guest", "Guests and partners of a company with quite a long name", guest.issuer()))
        .raw(&further("gone", "Nobody there", &gone))
        .upstream("app", &upstream.url())
        .upstream("gone", &gone)
        .raw(&format!("[upstreams.slow]\nurl = {:?}\nresponse_timeout = \"300ms\"", upstream.url()))
        .route("/admin/*", "{ roles = [\"admin\"] }", "app")
        .route("/gone/*", "\"everyone\"", "gone")
        .route("/slow/*", "\"everyone\"", "slow")
        .raw("[[routes]]\npath = \"/api/*\"\nallow = \"signed-in\"\nsigned_out = \"401\"\nupstream = \"app\"")
        .route("/*", "\"signed-in\"", "app");
    Scene { gateway: config.start(), upstream, corp, guest }
}

#[test]
fn two_providers_are_offered_and_both_lead_home() {
    if !parts::are_there("browser::chooser", &[Part::Chromium]) {
        return;
    }
    let scene = scene();
    let browser = parts::chromium();
    for (name, provider) in [("corp", &scene.corp), ("guest", &scene.guest)] {
        let page = format!("/deep/{name}?x=1&y=%2F");
        let tab = browser.new_tab();
        browser.switch_to(&tab);
        browser.open(&scene.gateway.at(&format!("/.auth/login?return_to=%2Fdeep%2F{name}%3Fx%3D1%26y%3D%252F")));
        let text = browser.visible_text();
        assert!(text.contains("Corporate login") && text.contains("Guests and partners"), "{text}");
        look(&browser, "page-chooser");
        browser.click(&browser.wait_for(&format!("a[href*='/login/{name}']")));
        browser.wait_for_url(provider.issuer());
        sign_in_there(&browser, "alice");
        browser.wait_for_url(&scene.gateway.at(&page));
        assert!(scene.upstream.requests().iter().any(|request| request.target == page), "byte for byte");
    }
}

#[test]
fn each_error_page_says_what_helps() {
    if !parts::are_there("browser::errors", &[Part::Chromium]) {
        return;
    }
    let scene = scene();
    let browser = parts::chromium();
    let pages = [
        ("/.auth/nothing", 404, "page-not-found", true),
        ("/.auth/callback/corp?code=x&state=y", 400, "page-unknown-sign-in", true),
        ("/app//x", 400, "page-odd-path", false),
        ("/api/x", 401, "page-please-sign-in", true),
        ("/gone/x", 502, "page-application-gone", true),
        ("/slow/x", 504, "page-application-slow", true),
        ("/.auth/login/gone", 503, "page-provider-gone", true),
        ("/.auth/signed-out", 200, "page-signed-out", true),
    ];
    for (path, status, name, has_way_on) in pages {
        browser.open(&scene.gateway.at(path));
        assert_eq!(browser.status(), status, "{name}: {}", browser.visible_text());
        assert_eq!(browser.find("main a[href]").is_some(), has_way_on, "{name}: {}", browser.source());
        look(&browser, name);
    }
}

#[test]
fn a_session_that_is_too_large_and_a_question_from_elsewhere() {
    if !parts::are_there("browser::question", &[Part::Chromium]) {
        return;
    }
    let scene = scene();
    let browser = parts::chromium();
    let noise: Vec<String> = (0..600).map(|n: u32| sha256(&n.to_be_bytes())).collect();
    scene.corp.control().put_person(Person::new("carol", json!({"sub": "carol", "groups": noise})));
    browser.open(&scene.gateway.at("/.auth/login/corp"));
    browser.type_into(&browser.wait_for("input[name=username]"), "carol");
    browser.click(&browser.wait_for("#login button"));
    browser.wait_for_url(&scene.gateway.at("/.auth/callback"));
    assert_eq!(browser.status(), 500, "{}", browser.visible_text());
    look(&browser, "page-session-too-large");

    let logout = scene.gateway.at("/.auth/logout");
    let page = format!("<!doctype html><title>Elsewhere</title><a id=out href='{logout}'>Sign out there</a>");
    scene.upstream.on("/elsewhere", Answer::body(page).header("Content-Type", "text/html"));
    browser.open(&format!("{}/elsewhere", scene.upstream.url()));
    browser.click(&browser.wait_for("#out"));
    browser.wait_for_url(&logout);
    browser.wait_for("form[action*=logout] button");
    look(&browser, "page-sign-out-question");
    browser.click(&browser.wait_for("form[action*=logout] button"));
    browser.wait_for_url(&scene.gateway.at("/.auth/signed-out"));
}

#[test]
fn bob_reads_why_he_may_not_enter_and_finds_a_way_on() {
    if !parts::are_there("browser::forbidden", &[Part::Chromium]) {
        return;
    }
    let gateway = Gateway::demo(&[]);
    let browser = parts::chromium();
    sign_in(&browser, &gateway, "bob", "/");
    look(&browser, "demo-application");
    browser.click(&browser.wait_for("a[href='/admin/']"));
    browser.wait_for_url(&gateway.at("/admin/"));
    assert_eq!(browser.status(), 403);
    let text = browser.visible_text();
    assert!(text.contains("signed in as bob"), "{text}");
    look(&browser, "page-forbidden");
    browser.click(&browser.wait_for("main a[href*='/.auth/login']"));
    browser.wait_for("form#login");
    look(&browser, "demo-provider");
    sign_in_there(&browser, "alice");
    browser.wait_for_url(&gateway.at("/admin/"));
    assert_eq!(browser.status(), 200, "{}", browser.visible_text());
    assert!(browser.visible_text().contains("engine room"), "{}", browser.visible_text());
    browser.click(&browser.wait_for("form[action='/form'] button"));
    browser.wait_for_url(&gateway.at("/form"));
    look(&browser, "demo-posted");
    browser.open(&gateway.at("/public/hello"));
    look(&browser, "demo-public");
}
