//! What was weak in the gateways before us and stands in no class of its own; numbers as in the list of attacks.

use serde_json::json;

use crate::scene::{CALLBACK, SESSION, Scene, session_value};

/// R1 and R3: what a visitor says of an address or an identity is not heard, whatever the config passes on.
#[test]
fn r1_r3_a_visitors_word_on_who_and_where_from_goes_nowhere() {
    let names = [
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Preferred-Username",
        "X-Forwarded-Groups",
        "X-Forwarded-Roles",
        "X-Forwarded-Access-Token",
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Access-Token",
        "X-Real-Ip",
        "X-Forwarded-For",
        "X_Forwarded_User",
        "x-forwarded_email",
        "X.Forwarded.Groups",
        "X-Remote-User",
        "Remote-User",
    ];
    for preset in ["portcullis", "oauth2-proxy"] {
        let scene = Scene::https(|config| {
            config
                .variable("PORTCULLIS_UPSTREAMS__APP__IDENTITY", preset)
                .route("/public/*", "\"everyone\"", "app")
                .route("/*", "\"signed-in\"", "app")
        });
        scene.put_person("poor", json!({"sub": "poor"}));
        let cookie = format!("{SESSION}={}", session_value(&scene.signed_in("poor")));
        for (target, cookie) in [("/x", &*cookie), ("/public/x", ""), ("/public/y", &*cookie)] {
            let forged: Vec<(&str, &str)> = names.iter().map(|name| (*name, "forged-root")).collect();
            let answer = scene.window(target).headers(&forged).header("Cookie", cookie).send();
            assert_eq!(answer.status, 200, "{preset} {target}: {}", answer.text());
            let seen = scene.upstream.last_request();
            assert!(!seen.mentions("forged-root"), "{preset} {target}: {:?}", seen.head.headers);
            assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"), "{preset} {target}");
        }
    }
}

/// R4: `Connection` can't take away what the gateway says.
#[test]
fn r4_connection_cannot_remove_an_identity_header() {
    let scene = Scene::https(|config| config);
    let cookie = format!("{SESSION}={}", session_value(&scene.signed_in("alice")));
    let connection =
        "close, X-Forwarded-User, x-forwarded-email, X-Forwarded-For, X-Forwarded-Host, Cookie, Authorization";
    let request = scene.window("/x").header("Connection", connection).header("Cookie", &format!("{cookie}; app=1"));
    let answer = request.send();
    if answer.status == 200 {
        let seen = scene.upstream.last_request();
        assert_eq!(seen.header("x-forwarded-user"), Some("alice"));
        assert_eq!(seen.header("x-forwarded-email"), Some("alice@example.com"));
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    } else {
        assert!(matches!(answer.status, 302 | 400), "without its cookie the request is nobody's: {}", answer.status);
    }
    let answer = scene
        .window("/x")
        .header("Connection", "close, X-Forwarded-User, X-Forwarded-Email, X-Forwarded-For")
        .header("Cookie", &cookie)
        .send();
    assert_eq!(answer.status, 200);
    let seen = scene.upstream.last_request();
    assert_eq!((seen.header("x-forwarded-user"), seen.header("x-forwarded-for")), (Some("alice"), Some("127.0.0.1")));
}

/// R8: nothing of where a person was going is told to the provider.
#[test]
fn r8_the_page_that_was_asked_for_is_nobodys_business() {
    let scene = Scene::https(|config| config);
    let answer = scene.window("/secret-project?token=hidden").send();
    let location = answer.header("location").expect("to the provider");
    assert!(!location.contains("secret-project") && !location.contains("hidden"), "{location}");
    assert!(!scene.gateway.logs().contains("hidden"), "a query stands in the log");
}

/// R12: a name with a comma in it is one name, or none; never two.
#[test]
fn r12_a_comma_makes_no_second_group() {
    let scene = Scene::https(|config| {
        config.route("/admin/*", "{ groups = [\"admin\"] }", "app").route("/*", "\"signed-in\"", "app")
    });
    for groups in
        [json!(["a,admin"]), json!(["a, admin ,b"]), json!(["a;admin"]), json!(["a\nadmin"]), json!(["a\r\nx: admin"])]
    {
        scene.put_person("mallory", json!({"sub": "mallory", "groups": groups}));
        let mut browser = scene.browser();
        let page = browser.sign_in("mallory", &scene.at("/"));
        if page.response.status == 200 {
            let seen = scene.upstream.last_request();
            let names: Vec<&str> =
                seen.header("x-forwarded-groups").unwrap_or_default().split(',').map(str::trim).collect();
            assert!(!names.contains(&"admin"), "{groups}: {names:?}");
            assert_eq!(seen.header("x"), None);
        }
        assert!(matches!(browser.open(&scene.at("/admin/x")).response.status, 403 | 502), "{groups}");
    }
}

/// R13: without an email there is none; the subject does not take its place.
#[test]
fn r13_a_subject_is_no_email() {
    let scene = Scene::https(|config| {
        config.route("/mail/*", "{ email_domains = [\"corp.com\"] }", "app").route("/*", "\"signed-in\"", "app")
    });
    scene.put_person("mallory", json!({"sub": "mallory@corp.com", "preferred_username": "mallory@corp.com"}));
    let mut browser = scene.signed_in("mallory");
    assert_eq!(scene.upstream.last_request().header("x-forwarded-email"), None);
    assert_eq!(browser.open(&scene.at("/mail/x")).response.status, 403);
}

/// R17: a WebSocket that another site's page opens with a person's cookies.
#[test]
fn r17_another_sites_page_opens_no_websocket() {
    let scene = Scene::https(|config| config);
    let cookie = format!("{SESSION}={}", session_value(&scene.signed_in("alice")));
    scene.upstream.forget();
    for origin in ["https://evil.example", "null", "http://app.example.com", "https://app.example.com.evil.example"] {
        let request = scene.gateway.client().named("app.example.com").get("/socket").headers(&[
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Origin", origin),
            ("Cookie", &cookie),
        ]);
        assert_eq!(request.send().status, 403, "{origin}");
    }
    assert_eq!(scene.upstream.count(), 0);
}

/// Row 12 and 13: odd callbacks cost nothing and reach nobody.
#[test]
fn rows_12_13_odd_callbacks_are_refused_and_reach_nobody() {
    let scene = Scene::https(|config| config);
    let long = format!("state={}&code={}", "s".repeat(20_000), "c".repeat(20_000));
    for query in
        ["", "&", "?&", "=", "&&&=&", "state=", "code=x", "state=1e300&code=-1", "state=%ff&code=%00", "error=", &long]
    {
        let page = scene.window(&format!("{CALLBACK}?{query}")).send();
        assert!((400..500).contains(&page.status), "{query:.40}: {}", page.status);
        for content_type in ["application/x-www-form-urlencoded", "text/plain", "application/json", ""] {
            let request = scene.gateway.client().named("app.example.com").request("POST", CALLBACK);
            let answer =
                request.headers(&[("Content-Type", content_type), ("Accept", "*/*")]).body(query.as_bytes()).send();
            assert!(
                (400..500).contains(&answer.status) || answer.text().contains("Almost there"),
                "{query:.40}: {}",
                answer.status
            );
            assert_eq!(answer.header("set-cookie"), None, "{query:.40}");
        }
    }
    let posted = scene.gateway.client().named("app.example.com").request("POST", "/private").body("secret=1").send();
    assert!(matches!(posted.status, 303 | 401), "{}", posted.status);
    assert_eq!((scene.upstream.count(), scene.redeemed()), (0, 0));
    scene.signed_in("alice");
}
