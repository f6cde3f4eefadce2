//! npm's oidc-provider: sign in, claims, tokens, sign out, and what must not work.

use serde_json::Value;
use url::Url;

use crate::support::browser::{Browser, Page};
use crate::support::client::Response;
use crate::support::comes_true;
use crate::support::forms;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::parts::{self, OidcProvider, Part};
use crate::support::upstream::Upstream;

const CALLBACK: &str = "/.auth/callback/";

struct Scene {
    gateway: Gateway,
    provider: OidcProvider,
    upstream: Upstream,
}

fn scene(test: &str, dress: impl FnOnce(GatewayConfig, &Upstream) -> GatewayConfig) -> Option<Scene> {
    if !parts::are_there(test, &[Part::OidcProvider]) {
        return None;
    }
    let config = GatewayConfig::on_loopback();
    let provider = OidcProvider::start(config.public_url());
    let upstream = Upstream::start();
    let config = config
        .provider(provider.issuer(), OidcProvider::SECRET)
        .provider_line("scopes = [\"openid\", \"profile\", \"email\", \"groups\"]")
        .upstream("app", &upstream.url());
    let gateway = dress(config, &upstream).start();
    Some(Scene { gateway, provider, upstream })
}

/// The authorization request among the places that a browser was sent to.
fn authorization_request(browser: &Browser, scene: &Scene) -> Url {
    let sent = |url: &&Url| url.as_str().starts_with(scene.provider.issuer()) && url.path() == "/auth";
    browser.trail.iter().find(sent).cloned().unwrap_or_else(|| panic!("not sent to the provider: {:?}", browser.trail))
}

fn parameter(url: &Url, name: &str) -> String {
    let values: Vec<String> =
        url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect();
    assert_eq!(values.len(), 1, "{name} must be there once: {url}");
    values.concat()
}

/// The names of our cookies that a browser holds; right after a sign-in, those of its session.
fn our_cookies(browser: &Browser) -> Vec<String> {
    let ours =
        browser.jar.all().iter().filter(|cookie| cookie.name.trim_start_matches("__Host-").starts_with("portcullis"));
    ours.map(|cookie| cookie.name.clone()).collect()
}

fn me(browser: &mut Browser, scene: &Scene) -> Response {
    browser.peek(&scene.gateway.at("/.auth/me"))
}

#[test]
fn the_provider_alone_signs_in_whoever_asks_with_pkce() {
    if !parts::are_there("interop::provider_alone", &[Part::OidcProvider]) {
        return;
    }
    let application = Upstream::start();
    let provider = OidcProvider::start(&application.url());
    let request = |more: &[(&str, &str)]| {
        let redirect = format!("{}/.auth/callback/corp", application.url());
        let mut url = Url::parse(&format!("{}/auth", provider.issuer())).expect("a URL");
        url.query_pairs_mut()
            .extend_pairs([("client_id", "app"), ("response_type", "code"), ("scope", "openid"), ("state", "s")])
            .append_pair("redirect_uri", &redirect)
            .extend_pairs(more);
        url
    };
    let mut browser = Browser::new();
    let refused = browser.open(request(&[]).as_str());
    assert!(refused.url.query().is_some_and(|query| query.contains("error=invalid_request")), "{}", refused.url);
    let mut page =
        browser.open(request(&[("code_challenge", &"a".repeat(43)), ("code_challenge_method", "S256")]).as_str());
    while page.url.as_str().starts_with(provider.issuer()) {
        let form = page.forms().remove(0);
        page = browser.submit(&page, &form, &form.filled_for("alice"));
    }
    assert!(parameter(&page.url, "code").len() > 20);
    assert_eq!(parameter(&page.url, "iss"), provider.issuer());
    assert_eq!(application.last_request().target.split('?').next(), Some("/.auth/callback/corp"));
}

#[test]
fn alice_signs_in_and_comes_back_to_the_page_she_asked_for() {
    let Some(scene) = scene("interop::alice_signs_in", |config, _| config) else { return };
    let mut browser = Browser::new();
    let page = browser.sign_in("alice", &scene.gateway.at("/deep/page?x=1&y=%2F"));
    assert_eq!(page.response.status, 200, "{}\n{}", page.text(), scene.gateway.logs());
    assert_eq!(page.url.as_str(), scene.gateway.at("/deep/page?x=1&y=%2F"));

    let asked = authorization_request(&browser, &scene);
    assert_eq!(parameter(&asked, "code_challenge_method"), "S256");
    assert_eq!(parameter(&asked, "response_type"), "code");
    assert_eq!(parameter(&asked, "redirect_uri"), scene.gateway.at("/.auth/callback/corp"));
    for (name, length) in [("state", 22), ("nonce", 22), ("code_challenge", 43)] {
        assert!(parameter(&asked, name).len() >= length, "{name} is guessable: {asked}");
    }

    let seen = scene.upstream.only_request();
    assert_eq!(seen.target, "/deep/page?x=1&y=%2F");
    assert_eq!(seen.header("x-forwarded-user"), Some("alice"));
    assert_eq!(seen.header("x-forwarded-preferred-username"), Some("alice"));
    assert_eq!(seen.header("x-forwarded-email"), Some("alice@example.com"));
    assert!(
        seen.header("x-forwarded-groups").is_some_and(|groups| groups.contains("staff") && groups.contains("admins"))
    );
    assert!(!seen.mentions("__Host-"), "our cookies stay here: {:?}", seen.header("cookie"));
    assert_eq!(seen.header("authorization"), None, "no token that the route didn't ask for");

    assert!(browser.jar.refused().is_empty(), "a browser would refuse {:?}", browser.jar.refused());
    for cookie in browser.jar.all().iter().filter(|cookie| cookie.name.starts_with("__Host-")) {
        assert!(cookie.secure && cookie.http_only && cookie.same_site.is_some(), "{cookie:?}");
    }
    let me: Value = me(&mut browser, &scene).json();
    assert!(me.to_string().contains("alice@example.com"), "{me}");
}

#[test]
fn what_alice_claims_of_herself_is_not_passed_on() {
    let Some(scene) = scene("interop::spoofed_headers", |config, _| config) else { return };
    let mut browser = Browser::new();
    browser.sign_in("alice", &scene.gateway.at("/"));
    scene.upstream.forget();
    let spoofed = [
        ("X-Forwarded-User", "root"),
        ("x_forwarded_user", "root"),
        ("X-Forwarded-Groups", "root"),
        ("X.Forwarded.Roles", "root"),
    ];
    let url = Url::parse(&scene.gateway.at("/")).expect("a URL");
    let answer = browser.send(&url, |request| request.headers(&spoofed), "GET");
    assert_eq!(answer.status, 200);
    let seen = scene.upstream.only_request();
    assert!(!seen.mentions("root"), "{:?}", seen.head.headers);
    assert_eq!(seen.head.all("x-forwarded-user"), ["alice"]);
}

#[test]
fn an_upstream_that_asks_for_it_gets_the_access_token() {
    let with_api = |config: GatewayConfig, upstream: &Upstream| {
        config
            .raw(&format!("[upstreams.api]\nurl = {:?}\ntoken = \"access_token\"", upstream.url()))
            .route("/api/*", "\"signed-in\"", "api")
            .route("/*", "\"signed-in\"", "app")
    };
    let Some(scene) = scene("interop::access_token", with_api) else { return };
    let mut browser = Browser::new();
    browser.sign_in("alice", &scene.gateway.at("/api/x"));
    let token = scene.upstream.last_request().header("authorization").map(str::to_owned).expect("a token is passed on");
    assert!(token.starts_with("Bearer ") && token.len() > 20, "that is no bearer token");
    browser.open(&scene.gateway.at("/x"));
    assert_eq!(scene.upstream.last_request().header("authorization"), None);
    assert!(!scene.gateway.logs().contains(token.trim_start_matches("Bearer ")), "a token stands in the log");
}

#[test]
fn bob_is_forbidden_what_only_admins_may_see() {
    let with_admin = |config: GatewayConfig, _: &Upstream| {
        config.route("/admin/*", "{ groups = [\"admins\"] }", "app").route("/*", "\"signed-in\"", "app")
    };
    let Some(scene) = scene("interop::forbidden", with_admin) else { return };
    let mut browser = Browser::new();
    browser.sign_in("bob", &scene.gateway.at("/"));
    scene.upstream.forget();
    let page = browser.open(&scene.gateway.at("/admin/x"));
    assert_eq!(page.response.status, 403, "signed in, so another sign-in would not help");
    assert_eq!(scene.upstream.count(), 0);
    let mut browser = Browser::new();
    assert_eq!(browser.sign_in("alice", &scene.gateway.at("/admin/x")).response.status, 200);
}

#[test]
fn a_sign_in_ends_in_the_browser_that_began_it_and_only_once() {
    let Some(scene) = scene("interop::callback_in_another_browser", |config, _| config) else { return };
    let mut alice = Browser::new();
    alice.stop_before = Some(CALLBACK.to_owned());
    let callback = alice.sign_in("alice", &scene.gateway.at("/")).url;
    assert!(callback.path().starts_with(CALLBACK), "{callback}");
    assert_eq!(parameter(&callback, "iss"), scene.provider.issuer(), "RFC 9207");

    let mut mallory = Browser::new();
    let refused = mallory.peek(callback.as_str());
    assert!((400..500).contains(&refused.status), "{} {}", refused.status, refused.text());
    assert_eq!(me(&mut mallory, &scene).status, 401);

    // That did not spend the code: the state is checked before the code is redeemed.
    alice.stop_before = None;
    let page = alice.open(callback.as_str());
    assert_eq!((page.response.status, page.url.path()), (200, "/"), "{}\n{}", page.text(), scene.gateway.logs());
    assert_eq!(me(&mut alice, &scene).status, 200);

    let session = our_cookies(&alice);
    let requests = scene.upstream.count();
    let again = alice.peek(callback.as_str());
    assert!(again.status >= 400 || again.header("location").is_some(), "{}", again.status);
    for field in again.head.all("set-cookie") {
        let (name, rest) = field.split_once('=').expect("a cookie has a name");
        assert!(
            !session.iter().any(|of_session| of_session == name) || rest.starts_with(';'),
            "a second session by one flow"
        );
    }
    assert_eq!(scene.upstream.count(), requests);
    let code = parameter(&callback, "code");
    assert!(!scene.gateway.logs().contains(&code), "a code stands in the log");
}

#[test]
fn an_answer_that_names_another_issuer_is_refused() {
    let Some(scene) = scene("interop::issuer_mix_up", |config, _| config) else { return };
    let mut alice = Browser::new();
    alice.stop_before = Some(CALLBACK.to_owned());
    let mut callback = alice.sign_in("alice", &scene.gateway.at("/")).url;
    let pairs: Vec<(String, String)> = callback.query_pairs().into_owned().collect();
    let mixed_up = pairs.iter().map(|(name, value)| (name, if name == "iss" { "https://evil.example" } else { value }));
    callback.query_pairs_mut().clear().extend_pairs(mixed_up);
    let refused = alice.peek(callback.as_str());
    assert!((400..500).contains(&refused.status), "RFC 9207, section 2.4: {} {}", refused.status, refused.text());
    assert_eq!(me(&mut alice, &scene).status, 401);
}

#[test]
fn a_person_who_cancels_at_the_provider_reads_a_page_and_has_no_session() {
    let Some(scene) = scene("interop::cancel", |config, _| config) else { return };
    let mut browser = Browser::new();
    let login = browser.open(&scene.gateway.at("/x"));
    assert!(login.url.as_str().starts_with(scene.provider.issuer()), "{}", login.url);
    let abort =
        forms::links(&login.text()).into_iter().find(|link| link.ends_with("/abort")).expect("a link to cancel");
    let page = browser.open(&abort);
    assert!(page.url.as_str().starts_with(scene.gateway.url()), "{}", page.url);
    assert!((400..500).contains(&page.response.status), "{} {}", page.response.status, page.text());
    assert!(page.response.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(me(&mut browser, &scene).status, 401);
    assert_eq!(scene.upstream.count(), 0);
}

/// Signs out, agreeing to whatever is asked on the way.
fn sign_out(browser: &mut Browser, scene: &Scene) -> Page {
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    let mut page = browser.open(&scene.gateway.at("/.auth/logout"));
    browser.fields.pop();
    let mut at_provider = false;
    for _ in 0..4 {
        let forms = page.forms();
        let form = forms.iter().find(|form| form.action.contains("logout") || form.action.contains("/session/end"));
        let Some(form) = form else { break };
        at_provider |= page.url.as_str().starts_with(scene.provider.issuer());
        let yes = form.inputs.iter().any(|input| input.name == "logout");
        let fields = if yes { form.pressing("logout") } else { form.defaults() };
        page = browser.submit(&page, &form.clone(), &fields);
    }
    assert!(at_provider, "the provider's end-session was never asked: now at {}", page.url);
    page
}

#[test]
fn signing_out_ends_the_session_here_and_there() {
    let Some(scene) = scene("interop::sign_out", |config, _| config) else { return };
    let mut browser = Browser::new();
    browser.sign_in("alice", &scene.gateway.at("/"));
    let session = our_cookies(&browser);
    assert!(!session.is_empty());
    let page = sign_out(&mut browser, &scene);
    assert!(page.url.as_str().starts_with(&scene.gateway.at("/.auth/signed-out")), "{}", page.url);
    let left = our_cookies(&browser);
    assert!(!left.iter().any(|name| session.contains(name)), "{left:?}");
    assert_eq!(me(&mut browser, &scene).status, 401);
    // The provider forgot her too: the next sign-in asks who she is.
    let login = browser.open(&scene.gateway.at("/x"));
    assert!(login.url.as_str().starts_with(scene.provider.issuer()), "{}", login.url);
    assert!(login.forms().iter().any(|form| form.has("password")), "{}", login.text());
}

/// Agrees to everything that the provider asks at its own sign-out page.
fn sign_out_at_the_provider(browser: &mut Browser, scene: &Scene) {
    let mut page = browser.open(&format!("{}/session/end", scene.provider.issuer()));
    for _ in 0..4 {
        let forms = page.forms();
        let Some(form) = forms.iter().find(|form| form.action.contains("/session/end")) else { return };
        let fields = if form.inputs.iter().any(|input| input.name == "logout") {
            form.pressing("logout")
        } else {
            form.defaults()
        };
        page = browser.submit(&page, &form.clone(), &fields);
    }
}

/// The provider's own back-channel logout, by the session it names, ends a session that lives in cookies alone.
#[test]
fn a_sign_out_at_the_provider_ends_the_session_here() {
    let Some(scene) = scene("interop::backchannel", |config, _| config) else { return };
    let (mut alice, mut bob) = (Browser::new(), Browser::new());
    alice.sign_in("alice", &scene.gateway.at("/"));
    bob.sign_in("bob", &scene.gateway.at("/"));
    let mut copy = alice.clone();
    sign_out_at_the_provider(&mut alice, &scene);
    let ended = comes_true(|| me(&mut copy, &scene).status == 401);
    assert!(ended, "{}\n{}", scene.provider.logs(), scene.gateway.logs());
    assert_eq!(me(&mut bob, &scene).status, 200);
    assert!(scene.provider.logs().contains("backchannel.success"), "{}", scene.provider.logs());
    // She may sign in again at once.
    alice.sign_in("alice", &scene.gateway.at("/"));
    assert_eq!(me(&mut alice, &scene).status, 200);
}

#[test]
fn a_sign_out_here_gives_the_tokens_back() {
    let offline = |config: GatewayConfig, _: &Upstream| {
        config.provider_line("authorization_parameters = { prompt = \"consent\" }")
    };
    let Some(scene) = scene("interop::revocation", offline) else { return };
    let mut browser = Browser::new();
    browser.sign_in("alice", &scene.gateway.at("/"));
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    browser.stop_before = Some("/session/end".to_owned());
    browser.open(&scene.gateway.at("/.auth/logout"));
    let told = comes_true(|| scene.provider.logs().contains("access_token.destroyed"));
    assert!(told, "{}\n{}", scene.provider.logs(), scene.gateway.logs());
    assert!(!scene.provider.logs().contains("revocation.error"), "{}", scene.provider.logs());
}
