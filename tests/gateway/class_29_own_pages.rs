//! Our own pages: nothing that came from outside runs on them, they stand in no frame, and no cache keeps them.

use portcullis::demo::provider::{AnswerFault, Misbehaviour};
use serde_json::json;

use crate::scene::{CALLBACK, SESSION, Scene, session_value};
use crate::support::client::Response;

/// What must never come out as it went in.
const SCRIPT: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'`${7*7}{{7*7}}";

fn assert_safe(page: &Response, case: &str) {
    let policy = page.header("content-security-policy").unwrap_or_default();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{case}: {part} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{case}: {policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{case}");
    assert!(matches!(page.header("referrer-policy"), Some("no-referrer" | "same-origin")), "{case}");
    assert_eq!(page.header("cache-control"), Some("no-store"), "{case}");
    assert!(page.header("content-type").is_some_and(|kind| kind.contains("charset=utf-8")), "{case}");
    let text = page.text();
    for tag in ["<script", "<img", "onerror=alert(1)>", "javascript:", "<b>"] {
        assert!(!text.contains(tag), "{case}: {tag} in {text}");
    }
}

#[test]
fn every_page_of_ours_is_locked_down() {
    let scene = Scene::https(|config| {
        config
            .raw("[providers.other]\nlabel = \"Other <b>& more</b>\"\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"x\"\nclient_secret = \"y\"")
            .route("/admin/*", "{ roles = [\"admin\"] }", "app")
            .route("/app/*", "\"signed-in\"", "app")
    });
    let session = format!("{SESSION}={}", session_value(&scene_browser(&scene, "bob")));
    let pages: &[(&str, u16, &str)] = &[
        ("/.auth/login", 200, ""),
        ("/.auth/login/other", 503, ""),
        ("/.auth/signed-out", 200, ""),
        ("/.auth/nothing", 404, ""),
        ("/nowhere", 404, ""),
        ("/.auth/callback/corp?state=x&code=y", 400, ""),
        ("/.auth/callback/corp?state=x&state=y", 400, ""),
        ("/.auth/login?a=1&a=2", 400, ""),
        ("/admin/x", 403, &session),
        ("/.auth/logout", 200, &session),
        ("/app//b", 400, ""),
        ("/%zz", 400, ""),
    ];
    for (target, status, cookie) in pages {
        let page = scene.with_cookies(target, &[cookie]);
        assert_eq!(page.status, *status, "{target}: {}", page.text());
        assert_safe(&page, target);
    }
    let asked = scene.window("/.auth/logout").header("Sec-Fetch-Site", "cross-site").send();
    assert!(asked.text().contains("<form"), "{}", asked.text());
    assert_safe(&asked, "the question");
    assert!(asked.header("content-security-policy").is_some_and(|policy| policy.contains("form-action 'self'")));
}

fn scene_browser(scene: &Scene, user: &str) -> crate::support::browser::Browser {
    let mut browser = scene.browser();
    let page = browser.sign_in(user, &scene.at("/.auth/login/corp?return_to=/app/x"));
    assert_eq!(page.response.status, 200, "{}", page.text());
    browser
}

#[test]
fn what_a_provider_says_of_an_error_is_not_shown() {
    let scene = Scene::https(|config| config);
    for error in ["access_denied", "server_error", SCRIPT] {
        scene
            .provider
            .control()
            .once(Misbehaviour::Answer(AnswerFault::Error { error: error.to_owned(), description: SCRIPT.to_owned() }));
        let mut browser = scene.browser();
        let page = browser.open(&scene.at("/"));
        assert_eq!(page.url.path(), CALLBACK, "{error}");
        assert!(page.response.status >= 400, "{error}");
        assert_safe(&page.response, error);
        assert!(!page.text().contains("alert(1)"), "{error}: {}", page.text());
    }
    assert!(!scene.gateway.logs().contains('\u{1b}'), "no escape sequence in the log");
}

#[test]
fn what_a_person_is_called_is_text() {
    let scene = Scene::https(|config| {
        config.route("/admin/*", "{ roles = [\"admin\"] }", "app").route("/*", "\"signed-in\"", "app")
    });
    scene.put_person("mallory", json!({
        "sub": "mallory", "preferred_username": SCRIPT, "name": SCRIPT, "email": "a@b.example\"><script>", "roles": ["user"],
    }));
    let mut browser = scene.signed_in("mallory");
    let page = browser.open(&scene.at("/admin/x"));
    assert_eq!(page.response.status, 403, "{}", page.text());
    assert!(page.text().contains("&#60;script&#62;") || page.text().contains("&lt;script&gt;"), "{}", page.text());
    assert_safe(&page.response, "403");
    let me = browser.peek(&scene.at("/.auth/me"));
    assert_eq!(me.header("content-type"), Some("application/json"));
    assert_eq!(me.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(me.json()["preferred_username"], SCRIPT);
}

#[test]
fn what_an_address_says_is_not_shown() {
    let scene = Scene::https(|config| config);
    let encoded: String = url::form_urlencoded::byte_serialize(SCRIPT.as_bytes()).collect();
    for target in [
        format!("/.auth/login/{encoded}"),
        format!("/.auth/callback/{encoded}?code=c&state=s"),
        format!("/.auth/callback/corp?code={encoded}&state={encoded}&error={encoded}&error_description={encoded}"),
        format!("/.auth/signed-out?state={encoded}"),
        format!("/.auth/{encoded}"),
    ] {
        let page = scene.window(&target).send();
        assert_safe(&page, &target);
        assert!(!page.text().contains("alert"), "{target}: {}", page.text());
    }
    // A provider that answers with a form, without our cookies: what is repeated in the page stays text.
    let posted = scene.gateway.client().named("app.example.com").request("POST", "/.auth/callback/corp");
    let fields = [("state".to_owned(), SCRIPT.to_owned()), ("code".to_owned(), SCRIPT.to_owned())];
    let posted =
        posted.headers(&[("Accept", "text/html"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]);
    let page = posted.form(&fields).send();
    assert_eq!(page.status, 200, "{}", page.text());
    assert_safe(&page, "the form that is posted again");
    let again = crate::support::forms::forms(&page.text()).remove(0);
    let repeated = again.inputs.iter().find(|input| input.name == "code").map(|input| input.value.as_str());
    assert_eq!(repeated, Some(SCRIPT), "and comes through whole");
}
