//! What callers with tokens are told (RFC 6750), how they find their way (RFC 9728), and that a request has one credential.

use serde_json::json;

use crate::bearer_scene::{AUDIENCE, ask, challenge, get, good, scene, with};
use crate::scene::Scene;
use crate::support::gateway::run;

#[test]
fn each_refusal_has_the_status_and_the_words_of_the_standard() {
    let scene = scene("");
    let metadata = |path: &str| scene.at(&format!("/.well-known/oauth-protected-resource{path}"));
    let nothing = get(&scene, "/orders/x").send();
    assert_eq!(nothing.status, 401);
    assert!(!challenge(&nothing).contains("error="), "no token, no error code (section 3.1): {}", challenge(&nothing));
    assert!(challenge(&nothing).starts_with("Bearer realm=\"portcullis\""));
    assert!(challenge(&nothing).contains("scope=\"orders:read orders:write\""), "{}", challenge(&nothing));
    assert!(challenge(&nothing).contains(&format!("resource_metadata=\"{}\"", metadata("/orders"))));
    let bad = ask(&scene, "/orders/x", &with(&scene.provider, &json!({"aud": "other"})));
    assert_eq!(bad.status, 401);
    assert!(challenge(&bad).contains("error=\"invalid_token\"") && challenge(&bad).contains("error_description=\""));
    assert!(challenge(&bad).contains(&metadata("/orders")), "{}", challenge(&bad));
    let small = ask(&scene, "/orders/x", &with(&scene.provider, &json!({"scope": "other"})));
    assert_eq!(small.status, 403);
    assert!(challenge(&small).contains("error=\"insufficient_scope\""), "{}", challenge(&small));
    assert!(challenge(&small).contains("scope=\"orders:read orders:write\""));
    let no_role = ask(&scene, "/admin/x", &good(&scene.provider));
    assert_eq!(no_role.status, 403);
    assert!(!challenge(&no_role).contains("insufficient_scope"), "more scopes would not help");
    let weak = ask(&scene, "/gold/x", &good(&scene.provider));
    assert_eq!(weak.status, 401);
    for word in ["error=\"insufficient_user_authentication\"", "acr_values=\"gold\"", "max_age=\"300\""] {
        assert!(challenge(&weak).contains(word), "RFC 9470, section 3: {}", challenge(&weak));
    }
    for answer in [&nothing, &bad, &small, &no_role, &weak] {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.head.all("set-cookie").is_empty() && answer.header("location").is_none());
    }
    assert_eq!(scene.upstream.requests().len(), 0);
}

/// Who sends a token is a program, whatever else it says of itself: it is never sent to sign in.
#[test]
fn nobody_with_a_token_is_redirected() {
    let scene = scene("");
    for token in ["nonsense".to_owned(), with(&scene.provider, &json!({"exp": 1})), good(&scene.provider)] {
        let answer = scene.window("/admin/x").header("Authorization", &format!("bearer {token}")).send();
        assert!([401, 403].contains(&answer.status), "{}", answer.status);
        assert!(answer.header("location").is_none() && answer.head.all("set-cookie").is_empty());
    }
    let browser = scene.window("/api/x").send();
    assert_eq!(browser.status, 302, "without a token a browser is sent to sign in, as ever");
}

#[test]
fn a_request_has_one_credential() {
    let scene = scene("");
    let token = good(&scene.provider);
    let browser = scene.signed_in("alice");
    scene.upstream.forget();
    let cookies: Vec<String> =
        browser.jar.all().iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    let bearer = format!("Bearer {token}");
    let both = get(&scene, "/api/x").header("Cookie", &cookies.join("; ")).header("Authorization", &bearer).send();
    assert_eq!(both.status, 400, "a session and a token");
    assert!(challenge(&both).contains("error=\"invalid_request\""));
    assert!(both.head.all("set-cookie").is_empty(), "the session is nobody's to clear");
    for second in [bearer.as_str(), "Basic YTpi", "Bearer other"] {
        let two = get(&scene, "/api/x").header("Authorization", &bearer).header("Authorization", second).send();
        assert_eq!(two.status, 400, "{second}");
        let turned = get(&scene, "/api/x").header("Authorization", second).header("Authorization", &bearer).send();
        assert_eq!(turned.status, 400, "{second}");
    }
    for odd in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer \"a\"", "bearer =", "Bearer a\u{e4}", "DPoP"] {
        let answer = get(&scene, "/api/x").header("Authorization", odd).send();
        assert_eq!(answer.status, 400, "{odd}");
        assert!(challenge(&answer).contains("invalid_request"), "{odd}");
    }
    // Attack 48: a second token in the query or in a form, whatever it holds (RFC 6750, section 2).
    for query in ["access_token=x", "a=b&acces%73_token="] {
        let answer = ask(&scene, &format!("/api/x?{query}"), &token);
        assert!(answer.status == 400 && challenge(&answer).contains("error=\"invalid_request\""), "{query}");
    }
    let send = |parameters: &[(&str, &str)]| {
        let form: Vec<_> = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        scene.gateway.client().request("POST", "/api/x").header("Authorization", &bearer).form(&form).send()
    };
    let posted = send(&[("a", "b"), ("access_token", &token)]);
    assert!(posted.status == 400 && challenge(&posted).contains("error=\"invalid_request\""), "{}", posted.text());
    assert_eq!(scene.upstream.requests().len(), 0);
    // What is looked at goes on as it came.
    assert_eq!(send(&[("a", "b c"), ("token", &"x".repeat(60_000))]).status, 200);
    assert_eq!(scene.upstream.last_request().body.len(), "a=b+c&token=".len() + 60_000);
    scene.upstream.forget();
    // Each by itself is good.
    assert_eq!(ask(&scene, "/api/x", &token).status, 200);
    assert_eq!(get(&scene, "/api/x").header("Cookie", &cookies.join("; ")).send().status, 200);
    let seen = scene.upstream.last_request();
    assert_eq!(seen.header("x-forwarded-user"), Some("alice"));
}

/// RFC 9700, section 4.3.2, and attack 48: a token in a query or a form is none.
#[test]
fn a_token_elsewhere_is_no_credential() {
    let scene = scene("");
    let token = good(&scene.provider);
    assert_eq!(get(&scene, &format!("/api/x?access_token={token}")).send().status, 401);
    let form = [("access_token".to_owned(), token.clone())];
    let posted = scene.gateway.client().request("POST", "/api/x").header("Accept", "application/json").form(&form);
    assert_eq!(posted.send().status, 401);
    let cookie = get(&scene, "/api/x").header("Cookie", &format!("access_token={token}")).send();
    assert_eq!(cookie.status, 401);
    for name in ["X-Authorization", "Proxy-Authorization", "X-Forwarded-Access-Token", "Authorization2"] {
        assert_eq!(get(&scene, "/api/x").header(name, &format!("Bearer {token}")).send().status, 401, "{name}");
    }
    assert_eq!(scene.upstream.requests().len(), 0);
}

/// A route without `bearer` is as it was: the visitor's Authorization is the application's business, and no credential of ours.
#[test]
fn routes_that_take_no_tokens_are_as_they_were() {
    let scene = scene("");
    let token = good(&scene.provider);
    let answer = ask(&scene, "/other", &token);
    assert_eq!(answer.status, 401);
    assert!(!challenge(&answer).contains("resource_metadata"));
    let browser = scene.signed_in("alice");
    scene.upstream.forget();
    let cookies: Vec<String> =
        browser.jar.all().iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    let bearer = format!("Bearer {token}");
    let both = get(&scene, "/other").header("Cookie", &cookies.join("; ")).header("Authorization", &bearer).send();
    assert_eq!(both.status, 200);
    assert_eq!(scene.upstream.last_request().header("authorization"), Some(bearer.as_str()));
    // Another scheme is the application's too, where tokens are taken.
    let basic = get(&scene, "/open/x").header("Authorization", "Basic YTpi").send();
    assert_eq!(basic.status, 200);
    assert_eq!(scene.upstream.last_request().header("authorization"), Some("Basic YTpi"));
    assert_eq!(scene.upstream.last_request().header("x-forwarded-user"), None);
    // A token that does not hold is refused where everyone may pass, rather than taken for nobody's.
    assert_eq!(ask(&scene, "/open/x", "nonsense").status, 401);
}

#[test]
fn clients_learn_what_they_need_from_the_metadata() {
    let scene = scene("");
    let well_known = "/.well-known/oauth-protected-resource";
    let answer = scene.gateway.get(&format!("{well_known}/orders")).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let document = answer.json();
    assert_eq!(document["resource"], json!(scene.at("/orders")));
    assert_eq!(document["authorization_servers"], json!([scene.provider.issuer()]));
    assert_eq!(document["scopes_supported"], json!(["orders:read", "orders:write"]));
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    // Section 3.3: the resource is the very address that was asked about.
    let deep = scene.gateway.get(&format!("{well_known}/orders/7")).send().json();
    assert_eq!(deep["resource"], json!(scene.at("/orders/7")));
    // Paths of routes that take no tokens are like all others: closed, and not told of.
    for path in [well_known.to_owned(), format!("{well_known}/other"), format!("{well_known}x")] {
        let closed = get(&scene, &path).send();
        assert_eq!(closed.status, 401, "{path}");
    }
    let plain = Scene::loopback(|config| config);
    assert_eq!(get(&plain, well_known).send().status, 401, "nobody is told of tokens that nobody takes");
    let whole = Scene::loopback(|config| config.raw("[bearer.corp]\naudience = [\"a\"]"));
    let document = whole.gateway.get(well_known).send().json();
    assert_eq!(document["resource"], json!(whole.at("")), "without routes, everything takes tokens");
    let none = get(&whole, "/x").send();
    assert!(
        challenge(&none).contains(&format!("resource_metadata=\"{}\"", whole.at(well_known))),
        "{}",
        challenge(&none)
    );
}

/// The upstream that asks for an access token gets the caller's own; one that asks for an ID token gets a refusal in its place.
#[test]
fn a_callers_token_goes_on_only_where_it_is_asked_for() {
    let provider = crate::scene::provider();
    let upstream = crate::support::upstream::Upstream::start();
    let mut config = crate::support::gateway::GatewayConfig::on_loopback()
        .raw(&format!("[bearer.corp]\nissuer = {:?}\naudience = [{AUDIENCE:?}]", provider.issuer()));
    for (name, token) in [("access", "access_token"), ("identity", "id_token")] {
        let url = upstream.url();
        config = config.raw(&format!(
            "[upstreams.{name}]\nurl = {url:?}\ntoken = {token:?}\n\
             [[routes]]\npath = \"/{name}/*\"\nallow = \"signed-in\"\nbearer = true\nupstream = {name:?}"
        ));
    }
    let gateway = config.start();
    let token = good(&provider);
    let bearer = format!("Bearer {token}");
    let ask = |target: &str| gateway.get(target).header("Authorization", &bearer).send();
    assert_eq!(ask("/access/x").status, 200);
    assert_eq!(upstream.last_request().header("authorization"), Some(bearer.as_str()));
    upstream.forget();
    let answer = ask("/identity/x");
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("ID token"), "{}", answer.text());
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn mistakes_in_the_config_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.toml");
    let base = "public_url = \"http://127.0.0.1:8080\"\n[providers.corp]\nissuer = \"https://idp.example\"\nclient_id = \"app\"\n\
        [session]\nkeys = [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"]\n[upstreams.app]\nurl = \"http://127.0.0.1:3000\"\n";
    let check = |text: &str| {
        std::fs::write(&file, format!("{base}{text}")).unwrap();
        let ran = run(&["check", "--config", file.to_str().unwrap()]);
        (ran.code, format!("{}{}", ran.out, ran.err))
    };
    assert_eq!(check("[bearer.corp]\naudience = [\"a\"]").0, Some(0));
    assert_eq!(check("[bearer.x]\nissuer = \"https://x.example\"\naudience = [\"a\"]").0, Some(0));
    for (text, told) in [
        ("[bearer.corp]", "`audience` is missing"),
        ("[bearer.corp]\naudience = []", "empty list"),
        ("[bearer.corp]\naudience = [\"\"]", "empty"),
        ("[bearer.corp]\naudience = [\"a\"]\nissuer = \"https://x.example\"", "is the provider's to say"),
        ("[bearer.x]\naudience = [\"a\"]", "`issuer` is missing"),
        ("[bearer.x]\nprovider = \"crop\"\naudience = [\"a\"]", "did you mean \"corp\"?"),
        ("[bearer.x]\nissuer = \"http://x.example\"\naudience = [\"a\"]", "plain http"),
        ("[bearer.corp]\naudience = [\"a\"]\nsigning_algorithms = [\"none\"]", "would let anyone sign in"),
        ("[bearer.corp]\naudience = [\"a\"]\nsigning_algorithms = [\"HS256\"]", "is an HMAC"),
        ("[bearer.corp]\naudience = [\"a\"]\nformat = \"at-jwt\"", "did you mean \"at+jwt\"?"),
        ("[bearer.corp]\naudience = [\"a\"]\nintrospection = \"yes\"", "allowed: \"never\", \"opaque\", \"always\""),
        ("[bearer.corp]\naudience = [\"a\"]\nintrospection_cache = \"1m\"", "has no effect"),
        (
            "[bearer.corp]\naudience = [\"a\"]\nintrospection = \"always\"\nintrospection_cache = \"2h\"",
            "out of bounds",
        ),
        ("[bearer.corp]\naudience = [\"a\"]\njwks_url = \"http://x.example/keys\"", "plain http"),
        ("[bearer.corp]\naudience = [\"a\"]\nscope = \"a\"", "is no key of [bearer.corp]"),
        ("[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nbearer = true", "there is no [bearer] table"),
        (
            "[bearer.corp]\naudience = [\"a\"]\n[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nbearer = [\"x\"]",
            "there is no table [bearer.x]",
        ),
        (
            "[bearer.corp]\naudience = [\"a\"]\n[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nbearer = 7",
            "true, false",
        ),
    ] {
        let (code, output) = check(text);
        assert_eq!(code, Some(1), "{text}\n{output}");
        assert!(output.contains(told), "{text}\n{output}");
    }
}
