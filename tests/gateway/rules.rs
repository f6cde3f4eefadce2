//! Rules over what a provider really says: every key from outside, claims of odd shapes, `deny` first, and routes that only report.

use serde_json::{Value, json};

use crate::scene::Scene;
use crate::support::gateway::GatewayConfig;

/// One route per key, each below its own path.
fn scene() -> Scene {
    let routes = [
        ("groups", "{ groups = [\"admin\"] }"),
        ("roles", "{ roles = [\"admin\"] }"),
        ("account", "{ accounts = [\"corp:u-1\"] }"),
        ("scopes", "{ scopes = [\"email\"] }"),
        ("other-scope", "{ scopes = [\"orders:read\"] }"),
        ("email", "{ emails = [\"alice@corp.com\"] }"),
        ("claim", "{ claims = { \"org.unit\" = [\"it\", 7], active = true } }"),
        ("listed", "{ claims = { badges = { contains = \"red\" } } }"),
        ("pattern", "{ claims = { team = { matches = \"eu-[a-z]+\" } } }"),
        ("here", "{ networks = [\"127.0.0.0/8\"] }"),
        ("elsewhere", "{ networks = [\"192.0.2.0/24\"] }"),
        ("both", "{ networks = [\"127.0.0.0/8\"], roles = [\"admin\"] }"),
        ("said", "{ expression = 'request.method == \"GET\" && \"admin\" in principal.claims.groups' }"),
        ("looped", "{ expression = 'principal.claims.groups.exists(g, g == \"admin\")' }"),
        ("not-said", "{ expression = '!(\"banned\" in principal.claims.groups)' }"),
        ("broken", "{ expression = 'principal.claims.nothing.there != \"x\"' }"),
        ("open", "{ expression = 'request.path.endsWith(\".txt\")' }"),
    ];
    Scene::loopback(|config| {
        let config = config.provider_line("groups_claim = \"groups\"").provider_line("roles_claims = [\"roles\"]");
        let with =
            |config: GatewayConfig, (path, allow): &(&str, &str)| config.route(&format!("/{path}/*"), allow, "app");
        let config = routes.iter().fold(config, with);
        config
            .raw("[[routes]]\npath = \"/denied/*\"\nallow = \"signed-in\"\ndeny = [{ groups = [\"banned\"] }, { claims = { suspended = true } }]\nupstream = \"app\"")
            .raw("[[routes]]\npath = \"/tried/*\"\nallow = { roles = [\"admin\"] }\nreport_only = true\nupstream = \"app\"")
            .route("/*", "\"signed-in\"", "app")
    })
}

/// The statuses that a person with these claims gets at these paths.
fn statuses(scene: &Scene, name: &str, claims: &Value, paths: &[&str]) -> Vec<u16> {
    let mut all = json!({"sub": name});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    scene.put_person(name, all);
    let mut browser = scene.browser();
    let page = browser.sign_in(name, &scene.at("/"));
    assert_eq!(page.response.status, 200, "{}", page.text());
    paths.iter().map(|path| browser.peek(&scene.at(&format!("/{path}/x"))).status).collect()
}

#[test]
fn each_key_admits_who_has_it_and_nobody_else() {
    let scene = scene();
    let paths = [
        "groups",
        "roles",
        "account",
        "scopes",
        "other-scope",
        "email",
        "claim",
        "listed",
        "pattern",
        "here",
        "elsewhere",
        "both",
        "said",
        "broken",
    ];
    let good = json!({
        "sub": "u-1", "groups": ["x", "admin"], "roles": "admin", "email": "alice@CORP.com", "email_verified": true,
        "org": {"unit": "it"}, "active": true, "badges": ["blue", "red"], "team": "eu-north",
    });
    let expected = [200, 200, 200, 200, 403, 200, 200, 200, 200, 200, 403, 200, 200, 403];
    assert_eq!(statuses(&scene, "good", &good, &paths), expected);
    // Look-alikes of every value.
    let close = json!({
        "sub": "u-1 ", "groups": ["Admin", "admin ", "adm\u{131}n", "a,admin"], "roles": ["admin\u{200b}"],
        "email": "Alice@corp.com", "email_verified": true, "org": {"unit": "7"}, "active": "true", "badges": "red", "team": "xeu-north",
    });
    let mut close_paths = paths.to_vec();
    close_paths.retain(|path| !["scopes", "here", "elsewhere"].contains(path));
    let mut refused = close;
    refused["sub"] = json!("u-11");
    assert_eq!(statuses(&scene, "close", &refused, &close_paths), [403; 11]);
}

#[test]
fn claims_of_another_shape_never_admit() {
    let scene = scene();
    let paths = ["groups", "roles", "claim", "listed", "pattern", "said", "looped", "not-said"];
    for (number, odd) in [
        json!("admin,x"),
        json!("x;admin"),
        json!("x admin"),
        json!({"admin": true}),
        json!([["admin"]]),
        json!([{"name": "admin"}]),
        json!(["x\r\nadmin"]),
        json!(true),
        json!(7),
        Value::Null,
    ]
    .into_iter()
    .enumerate()
    {
        // A list of texts is the right shape, whatever the texts: there what is not in it is not in it.
        let not_said = if odd == json!(["x\r\nadmin"]) { 200 } else { 403 };
        let expected = [403, 403, 403, 403, 403, 403, 403, not_said];
        let claims = json!({
            "groups": odd, "roles": odd, "org": [{"unit": "it"}], "active": [true], "badges": {"red": true}, "team": ["eu-north"],
        });
        assert_eq!(statuses(&scene, &format!("odd{number}"), &claims, &paths), expected, "{odd}");
    }
}

#[test]
fn what_denies_comes_first_and_denies_what_it_can_not_read() {
    let scene = scene();
    for (number, (claims, expected)) in [
        (json!({"groups": ["staff"]}), 200),
        (json!({}), 200),
        (json!({"groups": ["staff", "banned"]}), 403),
        (json!({"groups": "banned"}), 403),
        (json!({"groups": {"banned": true}}), 403),
        (json!({"groups": [1, "staff"]}), 403),
        (json!({"suspended": true}), 403),
        (json!({"suspended": "true"}), 403),
        (json!({"suspended": false}), 200),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(statuses(&scene, &format!("p{number}"), &claims, &["denied"]), [expected], "{claims}");
    }
}

/// Not even in that of the proxy that says so.
#[test]
fn whoever_has_no_address_is_in_no_network() {
    let scene = Scene::loopback(|config| {
        config
            .raw("[trusted_proxies]\nnetworks = [\"127.0.0.1\"]")
            .route("/here/*", "{ networks = [\"127.0.0.0/8\"] }", "app")
            .raw("[[routes]]\npath = \"/denied/*\"\nallow = \"everyone\"\ndeny = { networks = [\"192.0.2.0/24\"] }\nupstream = \"app\"")
            .route("/*", "\"signed-in\"", "app")
    });
    for (name, value, here, denied) in [
        ("X-Other", "x", 200, 200),
        ("X-Forwarded-For", "198.51.100.1", 403, 200),
        ("X-Forwarded-For", "192.0.2.1", 403, 403),
        ("X-Forwarded-For", "unix:", 403, 403),
        ("X-Forwarded-For", "127.0.0.5, unknown", 403, 403),
        ("Forwarded", "for=unknown", 403, 403),
        ("Forwarded", "for=\"", 403, 403),
    ] {
        let status = |path: &str| scene.gateway.client().get(path).header(name, value).send().status;
        assert_eq!((status("/here/x"), status("/denied/x")), (here, denied), "{name}: {value}");
    }
}

#[test]
fn circumstances_alone_ask_for_no_sign_in() {
    let scene = scene();
    let status = |path: &str| scene.browser().peek(&scene.at(path)).status;
    assert_eq!((status("/here/x"), status("/elsewhere/x"), status("/both/x")), (200, 403, 302));
    assert_eq!((status("/open/a.txt"), status("/open/a.html"), status("/said/x")), (200, 403, 302));
    // A network is that of the real client: nobody is trusted to name another.
    let forged = scene.gateway.client().get("/elsewhere/x").header("X-Forwarded-For", "192.0.2.9").send();
    assert_eq!(forged.status, 403);
}

#[test]
fn a_route_that_only_reports_passes_and_says_so_and_still_asks_for_a_sign_in() {
    let scene = scene();
    assert_eq!(scene.browser().peek(&scene.at("/tried/x")).status, 302);
    assert_eq!(statuses(&scene, "user", &json!({"roles": ["user"]}), &["tried"]), [200]);
    let told = "report only: the rule would have refused this request";
    assert!(scene.gateway.logs_come_to_hold(told), "{}", scene.gateway.logs());
    assert!(scene.gateway.logs_come_to_hold("report_only"), "the access log names the decision");
}
