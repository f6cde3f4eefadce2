//! npm's oidc-provider as the issuer of access tokens: for one resource (RFC 8707), opaque and asked about (RFC 7662), signed (RFC 9068),
//! bound to a key (RFC 9449), for services (RFC 6749, section 4.4).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis::base::clock::instant;
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::support::browser::Browser;
use crate::support::client::{Client, Response, at_once};
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::hand::Hand;
use crate::support::parts::{self, OidcProvider, Part};
use crate::support::upstream::Upstream;
use crate::support::{pause, refreshes_since};

/// Its tokens are opaque.
const ORDERS: &str = "https://orders.example";
/// Its tokens are signed.
const JOBS: &str = "https://jobs.example";
/// When the refresh of a token of seven seconds is due at the earliest: a second before its end, and times are in whole seconds.
const AGAIN: Duration = Duration::from_secs(5);
/// Nothing here is for it.
const OTHER: &str = "https://other.example";

const ROUTES: &str = r#"
[[routes]]
path = "/as-a-person/*"
allow = "signed-in"
upstream = "orders"
[[routes]]
path = "/as-a-service/*"
allow = "everyone"
upstream = "jobs"
[[routes]]
path = "/api/*"
allow = { scopes = ["orders:read", "jobs:run"] }
upstream = "app"
bearer = true
[[routes]]
path = "/write/*"
allow = { scopes = ["orders:write"] }
upstream = "app"
bearer = true
[[routes]]
path = "/*"
allow = "signed-in"
upstream = "app"
"#;

struct Scene {
    gateway: Gateway,
    provider: OidcProvider,
    upstream: Upstream,
}

fn scene(test: &str) -> Option<Scene> {
    scene_with(test, &[])
}

/// With further variables of the provider.
fn scene_with(test: &str, variables: &[(&str, &str)]) -> Option<Scene> {
    if !parts::are_there(test, &[Part::OidcProvider]) {
        return None;
    }
    let config = GatewayConfig::on_loopback();
    let resources = format!("{ORDERS} opaque,{JOBS} jwt,{OTHER} opaque");
    let own =
        [("RESOURCES", resources.as_str()), ("CLAIMS_IN_ID_TOKEN", "yes"), ("CALLER_SECRET", OidcProvider::SECRET)];
    let provider = OidcProvider::start_with(config.public_url(), &[&own, variables].concat());
    let upstream = Upstream::start();
    let tables = format!(
        "[bearer.corp]\naudience = [{ORDERS:?}, {JOBS:?}]\nintrospection = \"opaque\"\nintrospection_cache = \"0s\"\n\
         [upstreams.orders]\nurl = {url:?}\n[upstreams.orders.token.resource]\nresource = {ORDERS:?}\nscopes = [\"orders:read\"]\n\
         [upstreams.jobs]\nurl = {url:?}\n[upstreams.jobs.token.client_credentials]\nresource = {JOBS:?}\nscopes = [\"jobs:run\"]\n{ROUTES}",
        url = upstream.url()
    );
    let gateway = config
        .provider(provider.issuer(), OidcProvider::SECRET)
        .provider_line("scopes = [\"openid\", \"profile\", \"email\", \"offline_access\", \"orders:read\"]")
        .provider_line("authorization_parameters = { prompt = \"consent\" }")
        .upstream("app", &upstream.url())
        .raw(&tables)
        .start();
    Some(Scene { gateway, provider, upstream })
}

impl Scene {
    /// Asks an endpoint of the provider as one of its clients.
    fn at_provider(&self, client: &str, path: &str, fields: &[(&str, &str)], proof: Option<&str>) -> Response {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{}:{}", encode(client), encode(OidcProvider::SECRET)));
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = Client::new(self.provider.issuer()).request("POST", path).form(&fields);
        let request = request.header("Authorization", &format!("Basic {basic}"));
        proof.iter().fold(request, |request, proof| request.header("DPoP", proof)).send()
    }

    /// A token of the service `caller` for a resource, bound to a key where there is one.
    fn service_token(&self, resource: &str, scope: &str, hand: Option<&Hand>) -> String {
        let url = format!("{}/token", self.provider.issuer());
        let proof = hand.map(|hand| hand.proof_without_token("POST", &url, &format!("for {resource}")));
        let fields = [("grant_type", "client_credentials"), ("resource", resource), ("scope", scope)];
        let answer = self.at_provider("caller", "/token", &fields, proof.as_deref());
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), self.provider.logs());
        let kind = if hand.is_some() { "DPoP" } else { "Bearer" };
        assert_eq!(answer.json()["token_type"], kind, "{}", answer.text());
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    }

    fn call(&self, target: &str, scheme: &str, token: &str, proof: Option<&str>) -> Response {
        let request = self.gateway.get(target).header("Accept", "application/json");
        let request = request.header("Authorization", &format!("{scheme} {token}"));
        proof.iter().fold(request, |request, proof| request.header("DPoP", proof)).send()
    }

    /// The token that an upstream was sent at `target`.
    fn token_for_upstream(&self, browser: &mut Browser, target: &str) -> String {
        self.upstream.forget();
        let answer = browser.peek(&self.gateway.at(target));
        assert_eq!(answer.status, 200, "{}\n{}\n{}", answer.text(), self.gateway.logs(), self.provider.logs());
        let seen = self.upstream.only_request();
        let sent = seen.header("authorization").expect("it gets a token").to_owned();
        sent.strip_prefix("Bearer ").expect("a bearer token").to_owned()
    }
}

fn claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("claims")
}

#[test]
fn an_upstream_gets_a_token_for_its_own_resource_and_a_caller_comes_in_with_it() {
    let Some(scene) = scene("interop::resource") else { return };
    let mut browser = Browser::new();
    browser.sign_in("alice", &scene.gateway.at("/"));
    let sent = browser.trail.iter().find(|url| url.path() == "/auth").expect("the way to the provider");
    let named: Vec<String> =
        sent.query_pairs().filter(|(name, _)| name == "resource").map(|(_, value)| value.into_owned()).collect();
    assert_eq!(named, [ORDERS], "RFC 8707, section 2.1: {sent}");
    let token = scene.token_for_upstream(&mut browser, "/as-a-person/x");
    assert!(!token.contains('.'), "tokens of that resource are opaque");
    assert_eq!(scene.token_for_upstream(&mut browser, "/as-a-person/y"), token, "it is kept");

    // What the provider says of it (RFC 7662), and what we make of that.
    let said = scene.at_provider("app", "/token/introspection", &[("token", &token)], None).json();
    assert_eq!(
        (&said["active"], &said["aud"], &said["sub"]),
        (&json!(true), &json!(ORDERS), &json!("alice")),
        "{said}"
    );
    scene.upstream.forget();
    let answer = scene.call("/api/x", "Bearer", &token, None);
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), scene.gateway.logs());
    let seen = scene.upstream.only_request();
    assert_eq!((seen.header("x-forwarded-user"), seen.header("authorization")), (Some("alice"), None));
    let more = scene.call("/write/x", "Bearer", &token, None);
    assert_eq!(more.status, 403, "it was granted for reading");
    assert!(more.header("www-authenticate").is_some_and(|told| told.contains("insufficient_scope")));

    // The session's own token is for nothing of ours, and neither is what the provider has taken back.
    let revoked = scene.at_provider("app", "/token/revocation", &[("token", &token)], None);
    assert_eq!(revoked.status, 200);
    assert_eq!(scene.call("/api/x", "Bearer", &token, None).status, 401, "the provider took it back");
    assert!(!scene.gateway.logs().contains(&token), "a token stands in the log");
}

#[test]
fn class_20_a_token_for_another_resource_is_no_token_for_us() {
    let Some(scene) = scene("interop::other_resource") else { return };
    let ours = scene.service_token(ORDERS, "orders:read", None);
    assert_eq!(scene.call("/api/x", "Bearer", &ours, None).status, 200, "{}", scene.gateway.logs());
    assert_eq!(scene.upstream.last_request().header("x-forwarded-user"), Some("client:caller"), "no person's name");
    scene.upstream.forget();
    let theirs = scene.service_token(OTHER, "orders:read", None);
    let active = scene.at_provider("app", "/token/introspection", &[("token", &theirs)], None).json();
    assert_eq!(active["active"], true, "it is a good token elsewhere");
    let answer = scene.call("/api/x", "Bearer", &theirs, None);
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.header("www-authenticate").is_some_and(|told| told.contains("invalid_token")));
    // Without a resource a token is for nothing that could be told.
    let plain = scene.at_provider("caller", "/token", &[("grant_type", "client_credentials")], None).json();
    let plain = plain["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(scene.call("/api/x", "Bearer", &plain, None).status, 401);
    assert_eq!(scene.call("/api/x", "Bearer", "made-up", None).status, 401);
    assert_eq!(scene.upstream.count(), 0);
}

#[test]
fn a_token_of_the_gateways_own_is_signed_and_for_its_upstream() {
    let Some(scene) = scene("interop::client_credentials") else { return };
    let mut nobody = Browser::new();
    let token = scene.token_for_upstream(&mut nobody, "/as-a-service/x");
    let said = claims(&token);
    assert_eq!((&said["aud"], &said["client_id"], &said["scope"]), (&json!(JOBS), &json!("app"), &json!("jobs:run")));
    assert_eq!(said["iss"], scene.provider.issuer());
    assert_eq!(scene.token_for_upstream(&mut nobody, "/as-a-service/y"), token, "it is kept");
    // A signed one is verified by the provider's keys (RFC 9068).
    scene.upstream.forget();
    let answer = scene.call("/api/x", "Bearer", &token, None);
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), scene.gateway.logs());
    assert_eq!(scene.upstream.only_request().header("x-forwarded-user"), Some("app"));
    let mut forged = token.clone();
    forged.replace_range(token.len() - 12..token.len() - 8, "AAAA");
    assert_eq!(scene.call("/api/x", "Bearer", &forged, None).status, 401);
}

#[test]
fn a_token_that_is_bound_to_a_key_is_worth_nothing_without_it() {
    let Some(scene) = scene("interop::dpop") else { return };
    let url = Url::parse(&scene.gateway.at("/api/x")).expect("a URL");
    for (resource, scope) in [(ORDERS, "orders:read"), (JOBS, "jobs:run")] {
        let (hand, thief) = (Hand::new(), Hand::new());
        let token = scene.service_token(resource, scope, Some(&hand));
        scene.upstream.forget();
        let proof = hand.proof("GET", url.as_str(), &token, &format!("first {resource}"));
        let answer = scene.call("/api/x?page=2", "DPoP", &token, Some(&proof));
        assert_eq!(answer.status, 200, "{resource}: {}\n{}", answer.text(), scene.gateway.logs());
        let seen = scene.upstream.only_request();
        assert_eq!((seen.header("authorization"), seen.header("dpop")), (None, None), "{resource}");
        scene.upstream.forget();
        let by_thief = thief.proof("GET", url.as_str(), &token, &format!("stolen {resource}"));
        let elsewhere = hand.proof("GET", &scene.gateway.at("/api/y"), &token, &format!("elsewhere {resource}"));
        for (case, scheme, proof) in [
            ("as a bearer token", "Bearer", None),
            ("as a bearer token with a proof", "Bearer", Some(&by_thief)),
            ("without a proof", "DPoP", None),
            ("with another key", "DPoP", Some(&by_thief)),
            ("with a proof for another address", "DPoP", Some(&elsewhere)),
            ("with a proof that was there before", "DPoP", Some(&proof)),
        ] {
            let answer = scene.call("/api/x", scheme, &token, proof.map(String::as_str));
            assert_eq!(answer.status, 401, "{resource}, {case}: {}", answer.text());
            let told = answer.header("www-authenticate").unwrap_or_default();
            assert!(told.contains("DPoP"), "{resource}, {case}: {told}");
        }
        assert_eq!(scene.upstream.count(), 0, "{resource}");
        // A token that is bound to nothing needs no proof, and gets none taken.
        let plain = scene.service_token(resource, scope, None);
        let proof = hand.proof("GET", url.as_str(), &plain, &format!("for nothing {resource}"));
        assert_eq!(scene.call("/api/x", "DPoP", &plain, Some(&proof)).status, 401, "{resource}");
    }
}

#[test]
fn refresh_tokens_that_work_once_serve_the_session_and_its_resource_side_by_side() {
    let variables = [("REFRESH_TOKENS", "rotating"), ("ACCESS_TOKEN_SECONDS", "7")];
    let Some(scene) = scene_with("interop::resource_rotating", &variables) else { return };
    let mut browser = Browser::new();
    browser.sign_in("alice", &scene.gateway.at("/"));
    let granted = || scene.provider.logs().matches("granted refresh_token").count();
    let mut tokens = Vec::new();
    for round in 1..=3 {
        let before = granted();
        // The session's own token and the one for the resource are over: both are wanted at once, by one refresh token after the other.
        pause(Duration::from_millis(7200));
        let cookie = browser.jar.field(&Url::parse(&scene.gateway.at("/")).expect("a URL")).expect("it has cookies");
        let began = instant();
        let answers = at_once((0..30).map(|number| {
            let target = if number % 2 == 0 { "/x" } else { "/as-a-person/x" };
            scene.gateway.get(target).headers(&[("Accept", "text/html"), ("Cookie", &cookie)])
        }));
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| *status == 200), "round {round}: {statuses:?}\n{}", scene.gateway.logs());
        // One refresh of the session, and one token for the resource.
        let asked = granted() - before;
        let each = refreshes_since(began, AGAIN);
        let all = each.start() * 2..=each.end() * 2;
        assert!(all.contains(&asked), "round {round}: {asked} in {:?}\n{}", began.elapsed(), scene.provider.logs());
        tokens.push(scene.token_for_upstream(&mut browser, "/as-a-person/x"));
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
    assert!(!scene.provider.logs().contains("grant.revoked"), "{}", scene.provider.logs());
}
