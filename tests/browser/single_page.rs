//! A front end that is one page, in a real browser: who is signed in, writing with the token and without, and pages of other origins.

use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::parts::{self, Part};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::{Recorded, Upstream};
use crate::support::webdriver::WebDriver;
use crate::visit::sign_in;

const PAGE: &str = "<!doctype html><title>App</title><h1>A front end</h1>";

struct Scene {
    gateway: Gateway,
    application: Upstream,
    /// Another origin, which the route names.
    front: Upstream,
    /// Another origin, which no route names.
    stranger: Upstream,
    _provider: Provider,
}

fn scene() -> Scene {
    let (provider, application) = (Provider::start(), Upstream::start());
    let (front, stranger) = (Upstream::start(), Upstream::start());
    for site in [&application, &front, &stranger] {
        site.on("/app", Answer::body(PAGE).header("Content-Type", "text/html"));
    }
    let routes = format!(
        r#"
[[routes]]
path = "/guarded/*"
allow = "signed-in"
csrf = "token"
[[routes]]
path = "/shared/*"
allow = "signed-in"
csrf = "same-origin"
[routes.cors]
origins = [{:?}]
methods = ["GET", "POST", "PUT"]
headers = ["Content-Type"]
expose = ["ETag"]
credentials = true
[[routes]]
path = "/*"
allow = "signed-in"
"#,
        front.url()
    );
    let answer = || Answer::body("shared things").header("ETag", "\"7\"").header("X-Hidden", "1");
    application.on("/shared/x", answer().header("Access-Control-Allow-Origin", "*"));
    let config = GatewayConfig::on_loopback().client(provider.issuer(), CLIENT_ID, CLIENT_SECRET);
    let gateway = config.upstream("app", &application.url()).raw(&routes).start();
    Scene { gateway, application, front, stranger, _provider: provider }
}

impl Scene {
    /// What came to the application, but for the icon that a browser asks for by itself, whenever it finds the time.
    fn asked(&self) -> Vec<Recorded> {
        let mut asked = self.application.requests();
        asked.retain(|request| request.target != "/favicon.ico");
        asked
    }
}

/// What `fetch` brings: status, body and a header, or the name of what it threw.
fn fetch(browser: &WebDriver, url: &str, options: &str) -> (u64, String, Value) {
    let script = format!(
        "return fetch({url:?}, {options}).then(async answer => [answer.status, await answer.text(), answer.headers.get('etag'), \
         answer.headers.get('x-hidden')], error => [0, error.name, null, null])"
    );
    let told = browser.run(&script);
    let status = told[0].as_u64().unwrap_or_else(|| panic!("{told}"));
    assert!(told[3].is_null() || url.starts_with('/'), "a header that is not exposed is read: {told}");
    (status, told[1].as_str().unwrap_or_default().to_owned(), told[2].clone())
}

#[test]
fn a_page_writes_with_the_token_that_me_tells() {
    if !parts::are_there("browser::single_page", &[Part::Chromium]) {
        return;
    }
    let scene = scene();
    let browser = parts::chromium();
    sign_in(&browser, &scene.gateway, "alice", "/app");
    scene.application.forget();
    let me = browser.run("return fetch('/.auth/me').then(answer => answer.json())");
    assert_eq!(me["sub"], "alice", "{me}");
    assert!(me["expires_in"].as_u64().is_some_and(|seconds| seconds > 0), "{me}");
    let token = me["csrf_token"].as_str().expect("it tells the token").to_owned();

    let (status, body, _) = fetch(&browser, "/guarded/x", "{method: 'POST', body: 'x'}");
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("X-CSRF-Token"), "a front end reads why: {body}");
    assert_eq!(scene.asked().len(), 0);
    let with = |token: &str| format!("{{method: 'POST', body: 'x', headers: {{'X-CSRF-Token': '{token}'}}}}");
    let (status, body, _) = fetch(&browser, "/guarded/x", &with(&token));
    assert_eq!(status, 200, "{body}");
    let asked = scene.asked();
    let [seen] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((seen.method.as_str(), seen.header("x-csrf-token")), ("POST", None));
    assert_eq!(seen.header("x-forwarded-user"), Some("alice"));
    assert_eq!(fetch(&browser, "/guarded/x", &with(&token.to_lowercase())).0, 403);
    // Nothing needs to be asked of a page of this very origin where its browser says that it is one.
    assert_eq!(fetch(&browser, "/shared/x", "{method: 'POST', body: 'x'}").0, 200);
}

#[test]
fn pages_of_other_origins_read_and_write_where_a_route_names_them() {
    if !parts::are_there("browser::cross_origin", &[Part::Chromium]) {
        return;
    }
    let scene = scene();
    let browser = parts::chromium();
    sign_in(&browser, &scene.gateway, "alice", "/app");
    scene.application.forget();
    let shared = scene.gateway.at("/shared/x");
    let json = "{method: 'PUT', credentials: 'include', headers: {'Content-Type': 'application/json'}, body: '{}'}";

    browser.open(&format!("{}/app", scene.front.url()));
    let (status, body, etag) = fetch(&browser, &shared, "{credentials: 'include'}");
    assert_eq!((status, body.as_str()), (200, "shared things"), "{}", scene.gateway.logs());
    assert_eq!(etag, "\"7\"", "what is exposed is read");
    let (status, body, _) = fetch(&browser, &shared, json);
    assert_eq!((status, body.as_str()), (200, "shared things"), "the preflight lets it through");
    let seen = scene.asked().pop().expect("it came");
    assert_eq!((seen.method.as_str(), seen.header("x-forwarded-user")), ("PUT", Some("alice")));
    assert!(scene.asked().iter().all(|request| request.method != "OPTIONS"), "a preflight went on");
    let (status, body, _) = fetch(&browser, &shared, "{credentials: 'omit'}");
    assert_eq!(status, 401, "a refusal is read as well: {body}");
    assert!(body.contains("/.auth/login"), "{body}");
    let deletion = "{method: 'DELETE', credentials: 'include'}";
    assert_eq!(fetch(&browser, &shared, deletion).1, "TypeError", "a method that is not named");
    let odd = "{credentials: 'include', headers: {'X-Odd': '1'}}";
    assert_eq!(fetch(&browser, &shared, odd).1, "TypeError", "a header that is not named");
    for target in ["/guarded/x", "/.auth/me"] {
        let (_, thrown, _) = fetch(&browser, &scene.gateway.at(target), "{credentials: 'include'}");
        assert_eq!(thrown, "TypeError", "{target} is shared with nobody");
    }

    let before = scene.asked().len();
    browser.open(&format!("{}/app", scene.stranger.url()));
    for options in [
        json,
        "{method: 'POST', credentials: 'include', body: 'x'}",
        "{method: 'POST', mode: 'no-cors', credentials: 'include', body: 'x'}",
    ] {
        let (status, told, _) = fetch(&browser, &shared, options);
        assert!(status == 0, "{options}: {status} {told}");
    }
    assert_eq!(scene.asked().len(), before, "nothing was written in alice's name");
    // Browsers send what only reads, and keep the answer from the page.
    assert_eq!(fetch(&browser, &shared, "{credentials: 'include'}").1, "TypeError");
    let form = format!(
        "const form = document.createElement('form'); form.method = 'POST'; form.action = {:?}; document.body.append(form); form.submit()",
        scene.gateway.at("/shared/form")
    );
    let before = scene.asked().len();
    browser.run(&form);
    browser.wait_for_url(&scene.gateway.at("/shared/form"));
    assert!(browser.visible_text().contains("not sent from here"), "{}", browser.visible_text());
    assert_eq!(scene.asked().len(), before, "the form of another page wrote nothing");
}
