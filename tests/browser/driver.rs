//! The driver itself, against a page of our own.

use std::time::Duration;

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::parts::{self, Part};
use crate::support::upstream::Upstream;

#[test]
fn json_and_the_status_of_a_page_are_read_under_the_strictest_policy() {
    if !parts::are_there("browser::json", &[Part::Chromium]) {
        return;
    }
    let site = Upstream::start();
    let refused = Answer::json(&json!({"name": "Álice", "list": [1, 2]})).with_status(401);
    site.on("/me", refused.header("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'"));
    let browser = parts::chromium();
    browser.open(&format!("{}/me", site.url()));
    assert_eq!(browser.status(), 401);
    assert_eq!(browser.json(), json!({"name": "Álice", "list": [1, 2]}));
}

#[test]
fn the_driver_types_clicks_goes_back_and_takes_pictures() {
    if !parts::are_there("browser::driver", &[Part::Chromium]) {
        return;
    }
    let site = Upstream::start();
    let page = "<!doctype html><title>First</title><form action=/second><input name=who><button>Go</button></form>";
    site.on("/first", Answer::body(page).header("Content-Type", "text/html"));
    site.on(
        "/second",
        Answer::body("<!doctype html><title>Second</title><p id=p>Hello")
            .header("Content-Type", "text/html")
            .header("Set-Cookie", "a=1; HttpOnly"),
    );
    let browser = parts::chromium();
    browser.open(&format!("{}/first", site.url()));
    assert_eq!(browser.title(), "First");
    browser.type_into(&browser.wait_for("input[name=who]"), "alice");
    browser.click(&browser.wait_for("button"));
    browser.wait_for_url(&format!("{}/second?who=alice", site.url()));
    assert_eq!(browser.text_of(&browser.wait_for("#p")), "Hello");
    assert_eq!(browser.cookies()[0]["name"], "a");
    assert!(browser.find("#none").is_none());
    let picture = browser.screenshot("driver-self-test");
    assert!(picture.metadata().expect("it was written").len() > 1000);
    let first = browser.window();
    let second = browser.new_tab();
    browser.switch_to(&second);
    browser.open(&format!("{}/first", site.url()));
    browser.switch_to(&first);
    assert!(browser.visible_text().contains("Hello"));
    browser.back();
    browser.wait_for_url(&format!("{}/first", site.url()));
    assert_eq!(browser.run("return 6 * 7"), 42);
    site.on(
        "/first",
        Answer::body("<title>Third</title>").header("Content-Type", "text/html").after(Duration::from_millis(50)),
    );
    browser.refresh();
    assert_eq!(browser.title(), "Third");
}
