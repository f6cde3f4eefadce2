//! What a person does in a real browser to get in and out.

use crate::support::gateway::Gateway;
use crate::support::webdriver::WebDriver;

/// Where a development provider may ask for a name: a button for each person, or an input.
const NAME_INPUT: &str =
    "input[name=username], input[name=login], input[name=user], input[type=text], input[type=email]";

/// From whatever page asks for it to the provider's page.
pub(crate) fn go_to_the_provider(browser: &WebDriver, gateway: &Gateway) {
    if browser.url().starts_with(&gateway.at("/.auth/login")) {
        let link = browser.wait_for("a[href*='/login/']");
        browser.click(&link);
        browser.wait_until_gone(&link);
    }
    browser.wait_for("form");
    assert!(!browser.url().starts_with(gateway.url()), "still at the gateway: {}", browser.source());
}

/// Signs in on the provider's page.
pub(crate) fn sign_in_there(browser: &WebDriver, person: &str) {
    if let Some(button) = browser.find(&format!("button[value={person}]")) {
        return browser.click(&button);
    }
    browser.type_into(&browser.wait_for(NAME_INPUT), person);
    if let Some(password) = browser.find("input[type=password]") {
        browser.type_into(&password, "any password");
    }
    browser.click(&browser.wait_for("form button, form input[type=submit]"));
}

/// Opens `path` and signs in on the way; comes back to `path`.
pub(crate) fn sign_in(browser: &WebDriver, gateway: &Gateway, person: &str, path: &str) {
    browser.open(&gateway.at(path));
    go_to_the_provider(browser, gateway);
    sign_in_there(browser, person);
    browser.wait_for_url(&gateway.at(path));
}

/// Opens the sign-out page and agrees to what is asked, here and at the provider.
pub(crate) fn sign_out(browser: &WebDriver, gateway: &Gateway) {
    browser.open(&gateway.at("/.auth/logout"));
    for _ in 0..3 {
        let asked = "form[action*=logout] button, form[action*=end] button, form[action*=logout] input[type=submit]";
        let Some(button) = browser.find(asked) else { break };
        browser.click(&button);
        browser.wait_until_gone(&button);
    }
}
