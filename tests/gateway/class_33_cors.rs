//! Pages of other origins: what is not named exactly reads nothing, and a preflight never goes further with anybody's identity.

use crate::scene::{HTTPS, SESSION, Scene, session_value};
use crate::support::answer::Answer;
use crate::support::client::{Request, Response};

const FRONT: &str = "https://front.example.com";

const ROUTES: &str = r#"
[[routes]]
path = "/api/*"
allow = "signed-in"
upstream = "app"
[routes.cors]
origins = ["https://front.example.com", "https://other.example.com:8443"]
methods = ["GET", "PUT"]
headers = ["Content-Type", "X-Team"]
expose = ["ETag"]
max_age = "5m"
credentials = true
[[routes]]
path = "/api/admin/*"
allow = { roles = ["auditor"] }
upstream = "app"
cors = { origins = ["https://front.example.com"], credentials = true }
[[routes]]
path = "/api/plain/*"
allow = "signed-in"
upstream = "app"
[[routes]]
path = "/plain-public/*"
allow = "everyone"
upstream = "app"
[[routes]]
path = "/away/*"
allow = "everyone"
upstream = "away"
cors = { origins = ["https://front.example.com"] }
[[routes]]
path = "/open/*"
allow = "everyone"
upstream = "app"
cors = { origins = ["*"] }
[[routes]]
path = "/parted/*"
allow = "everyone"
upstream = "app"
cors = { origins = ["https://front.example.com"] }
[[routes]]
path = "/parted/*"
methods = ["DELETE"]
allow = "everyone"
upstream = "app"
[[routes]]
path = "/odd/shared/*"
allow = "everyone"
upstream = "app"
path_parameters = true
cors = { origins = ["https://front.example.com"] }
[[routes]]
path = "/odd/*"
allow = "everyone"
upstream = "app"
path_parameters = true
[[routes]]
path = "/*"
allow = "signed-in"
upstream = "app"
[upstreams.away]
url = "http://127.0.0.1:1"
"#;

fn scene() -> Scene {
    Scene::https(|config| config.raw(ROUTES))
}

/// A script's request of another origin, without cookies.
fn from(scene: &Scene, method: &str, target: &str, origin: &str) -> Request {
    let host = HTTPS.trim_start_matches("https://");
    let request = scene.gateway.client().named(host).request(method, target);
    request.headers(&[
        ("Origin", origin),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", "same-site"),
        ("Accept", "*/*"),
    ])
}

fn preflight(scene: &Scene, target: &str, origin: &str, method: &str) -> Request {
    from(scene, "OPTIONS", target, origin).header("Access-Control-Request-Method", method)
}

/// Asserts that nothing in the answer lets a page of another origin read it.
fn assert_unreadable(answer: &Response, case: &str) {
    for (name, value) in &answer.head.headers {
        assert!(!name.to_ascii_lowercase().starts_with("access-control-"), "{case}: {name}: {value}");
    }
}

fn vary(answer: &Response) -> String {
    answer.head.all("vary").join(", ")
}

#[test]
fn class_33_an_origin_is_named_whole_or_reads_nothing() {
    let scene = scene();
    let cookie = format!("{SESSION}={}", session_value(&scene.signed_in("alice")));
    let get = |origin: &str| from(&scene, "GET", "/api/x", origin).header("Cookie", &cookie).send();
    let good = get(FRONT);
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(good.head.all("access-control-allow-origin"), [FRONT]);
    assert_eq!(good.head.all("access-control-allow-credentials"), ["true"]);
    assert_eq!(good.head.all("access-control-expose-headers"), ["etag"]);
    assert_eq!(good.header("access-control-allow-methods"), None, "that is for preflights");
    assert!(vary(&good).contains("Origin"));
    assert_eq!(get("https://other.example.com:8443").header("access-control-allow-credentials"), Some("true"));
    for evil in [
        "null",
        "https://evil.example",
        "http://front.example.com",
        "https://front.example.com.evil.example",
        "https://evilfront.example.com",
        "https://evil.front.example.com",
        "https://frontXexample.com",
        "https://front.example.com:443",
        "https://front.example.com:8443",
        "https://other.example.com",
        "https://front.example.com/",
        "https://front.example.com@evil.example",
        "https://front.example.com, https://evil.example",
        "HTTPS://FRONT.EXAMPLE.COM",
        "https://front.example.com.",
        "*",
        "",
    ] {
        let answer = get(evil);
        assert_eq!(answer.status, 200, "{evil}: a page that may not read is told so by its browser");
        assert_unreadable(&answer, evil);
        assert!(vary(&answer).contains("Origin"), "{evil}: a cache has to tell the two apart");
        let asked = preflight(&scene, "/api/x", evil, "GET").send();
        assert_eq!(asked.status, 403, "{evil}");
        assert_unreadable(&asked, evil);
        assert!(vary(&asked).contains("Origin"), "{evil}");
    }
    let twice = from(&scene, "GET", "/api/x", FRONT).header("Origin", "https://evil.example").send();
    assert_unreadable(&twice, "two origins");
    let silent = scene.window("/api/x").header("Cookie", &cookie).send();
    assert_unreadable(&silent, "no origin");
    assert!(vary(&silent).contains("Origin"));
}

#[test]
fn class_33_a_preflight_is_answered_here_and_never_proxied() {
    let scene = scene();
    let session = session_value(&scene.signed_in("alice"));
    scene.upstream.forget();
    let plain = preflight(&scene, "/api/x", FRONT, "PUT").header("Access-Control-Request-Headers", "x-team");
    let with_more = plain
        .clone()
        .header("Cookie", &format!("{SESSION}={session}"))
        .header("Authorization", "Bearer something")
        .header("X-Forwarded-User", "admin")
        .header("Content-Type", "text/plain")
        .body("a body");
    for (case, request) in [("as browsers send it", plain), ("with a session, a token and a body", with_more)] {
        let answer = request.send();
        assert_eq!(answer.status, 204, "{case}: {}", answer.text());
        assert_eq!(answer.head.all("access-control-allow-origin"), [FRONT], "{case}");
        assert_eq!(answer.head.all("access-control-allow-credentials"), ["true"], "{case}");
        assert_eq!(answer.head.all("access-control-allow-methods"), ["GET, PUT"], "{case}");
        assert_eq!(answer.head.all("access-control-allow-headers"), ["content-type, x-team"], "{case}");
        assert_eq!(answer.head.all("access-control-max-age"), ["300"], "{case}");
        assert!(vary(&answer).contains("Origin") && answer.body.is_empty(), "{case}");
        assert!(answer.head.all("set-cookie").is_empty() && answer.header("location").is_none(), "{case}");
    }
    // What may not pass is shared all the same: that its page can read the refusal is the point.
    assert_eq!(preflight(&scene, "/api/admin/x", FRONT, "POST").send().status, 204);
    // A method that is not named: the browser sees that from the list.
    let other = preflight(&scene, "/api/x", FRONT, "DELETE").send();
    assert_eq!((other.status, other.header("access-control-allow-methods")), (204, Some("GET, PUT")));
    for nonsense in ["", "G T", "é", "GET, PUT"] {
        let answer = preflight(&scene, "/api/x", FRONT, nonsense).send();
        assert_eq!(answer.status, 403, "{nonsense:?}");
        assert_unreadable(&answer, nonsense);
    }
    assert_eq!(scene.upstream.count(), 0, "no preflight went to the application");
    // It is asked of the route that the announced request would have.
    let deletion = preflight(&scene, "/parted/x", FRONT, "DELETE").send();
    assert_eq!(deletion.status, 403, "the other methods of the path are shared, this one is not");
    assert_unreadable(&deletion, "a method of another route");
    assert_eq!(preflight(&scene, "/parted/x", FRONT, "PUT").send().status, 204);
    assert_eq!(scene.upstream.count(), 0);
}

/// An `OPTIONS` that announces nothing is a request like others, and so is a preflight where no route speaks for its upstream.
#[test]
fn class_33_what_is_no_preflight_here_needs_a_session() {
    let scene = scene();
    let cookie = format!("{SESSION}={}", session_value(&scene.signed_in("alice")));
    scene.upstream.forget();
    let without_method = from(&scene, "OPTIONS", "/api/x", FRONT);
    assert_eq!(without_method.send().status, 401);
    let host = HTTPS.trim_start_matches("https://");
    let no_origin = scene.gateway.client().named(host).request("OPTIONS", "/api/x");
    let no_origin = no_origin.header("Access-Control-Request-Method", "GET").header("Accept", "*/*");
    assert_eq!(no_origin.send().status, 401);
    for target in ["/api/plain/x", "/x"] {
        let unspoken = preflight(&scene, target, FRONT, "GET").send();
        assert_eq!(unspoken.status, 401, "{target}");
        assert_unreadable(&unspoken, target);
    }
    // No browser sends a session along, and whoever does is not told apart by it.
    for target in ["/api/plain/x", "/x"] {
        let with_session = preflight(&scene, target, FRONT, "GET").header("Cookie", &cookie).send();
        assert_eq!(with_session.status, 401, "{target}");
    }
    assert_eq!(scene.upstream.count(), 0, "nobody is signed in");
    let public = preflight(&scene, "/plain-public/x", FRONT, "GET").header("Cookie", &format!("{cookie}; a=b")).send();
    assert_eq!(public.status, 200, "its application speaks for itself");
    let seen = scene.upstream.only_request();
    assert_eq!((seen.method.as_str(), seen.header("cookie")), ("OPTIONS", Some("a=b")));
    for identity in ["x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-groups"] {
        assert_eq!(seen.header(identity), None, "{identity}");
    }
    scene.upstream.forget();
    assert_eq!(without_method.header("Cookie", &cookie).send().status, 200);
    assert_eq!(scene.upstream.only_request().header("x-forwarded-user"), Some("alice"));
}

#[test]
fn class_33_what_an_upstream_says_counts_on_its_own_routes_only() {
    let scene = scene();
    let cookie = format!("{SESSION}={}", session_value(&scene.signed_in("alice")));
    let loose = || {
        Answer::body("body")
            .header("Access-Control-Allow-Origin", "https://evil.example")
            .header("access-control-allow-origin", "*")
            .header("Access-Control-Allow-Credentials", "true")
            .header("Access-Control-Allow-Methods", "*")
            .header("Access-Control-Allow-Headers", "*")
            .header("Access-Control-Expose-Headers", "*")
            .header("Access-Control-Max-Age", "86400")
            .header("Access-Control-Allow-Private-Network", "true")
            .header("Vary", "Accept-Encoding")
    };
    scene.upstream.on("/api/x", loose());
    scene.upstream.on("/api/plain/x", loose());
    let ask = |target: &str, origin: &str| from(&scene, "GET", target, origin).header("Cookie", &cookie).send();
    assert_unreadable(&ask("/api/x", "https://evil.example"), "the upstream lets everybody read");
    let good = ask("/api/x", FRONT);
    assert_eq!(good.head.all("access-control-allow-origin"), [FRONT]);
    assert_eq!(good.head.all("access-control-expose-headers"), ["etag"]);
    for gone in ["access-control-allow-methods", "access-control-max-age", "access-control-allow-private-network"] {
        assert_eq!(good.header(gone), None, "{gone}");
    }
    assert!(vary(&good).contains("Accept-Encoding") && vary(&good).contains("Origin"), "{}", vary(&good));
    let untouched = ask("/api/plain/x", "https://evil.example");
    assert_eq!(untouched.head.all("access-control-allow-origin"), ["https://evil.example", "*"]);
    assert_eq!(untouched.header("access-control-max-age"), Some("86400"));
    assert_eq!(vary(&untouched), "Accept-Encoding");

    scene.upstream.on("/api/v", Answer::body("").header("Vary", "accept, ORIGIN"));
    assert_eq!(vary(&ask("/api/v", FRONT)), "accept, ORIGIN", "said once is enough");
}

/// A page that may read answers may read why there is none, and no other page may.
#[test]
fn class_33_refusals_are_readable_by_the_same_pages() {
    let scene = scene();
    let cookie = format!("{SESSION}={}", session_value(&scene.signed_in("bob")));
    let nobody = |target: &str, origin: &str| from(&scene, "GET", target, origin).send();
    let bob = |target: &str, origin: &str| from(&scene, "GET", target, origin).header("Cookie", &cookie).send();
    for (status, answer, foreign) in [
        (401, nobody("/api/x", FRONT), nobody("/api/x", "null")),
        (403, bob("/api/admin/x", FRONT), bob("/api/admin/x", "https://evil.example")),
        (502, bob("/away/x", FRONT), bob("/away/x", "http://front.example.com")),
    ] {
        assert_eq!((answer.status, foreign.status), (status, status), "{}", answer.text());
        assert_eq!(answer.head.all("access-control-allow-origin"), [FRONT], "{status}");
        assert!(vary(&answer).contains("Origin"), "{status}");
        assert_eq!(answer.json()["status"], status, "what it reads is a problem document");
        assert_unreadable(&foreign, &format!("{status}"));
    }
    assert_eq!(
        bob("/away/x", FRONT).header("access-control-allow-credentials"),
        None,
        "that route takes no credentials"
    );
}

#[test]
fn class_33_everybody_is_everybody_without_credentials() {
    let scene = scene();
    let answer = from(&scene, "GET", "/open/x", "https://evil.example").send();
    assert_eq!(answer.head.all("access-control-allow-origin"), ["*"]);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_unreadable(&from(&scene, "GET", "/open/x", "null").send(), "an origin that is none");
    assert_eq!(preflight(&scene, "/open/x", "https://evil.example", "POST").send().status, 204);
    assert_eq!(preflight(&scene, "/open/x", "null", "POST").send().status, 403);
}

/// Where an upstream may take a path for one of another route, that route has to let the page read as well.
#[test]
fn class_33_every_reading_of_a_path_has_to_be_shared() {
    let scene = scene();
    assert_eq!(from(&scene, "GET", "/odd/shared/x", FRONT).send().header("access-control-allow-origin"), Some(FRONT));
    let odd = from(&scene, "GET", "/odd/shared;v=1/x", FRONT).send();
    assert_eq!(odd.status, 200, "{}", odd.text());
    assert_unreadable(&odd, "the other reading has a route that is not shared");
    scene.upstream.forget();
    assert_ne!(preflight(&scene, "/odd/shared;v=1/x", FRONT, "GET").send().status, 204);
}

const BACK: &str = "https://back.example.com";
const BOTH: &str = "https://both.example.com";

/// `/{name}/*` and `/{name}/in/*` below it, which take odd paths, with the lines of their `cors`.
fn nested(name: &str, cors: &str, inner: &str) -> String {
    let route = |path: &str, cors: &str| {
        format!(
            "[[routes]]\npath = \"{path}\"\nallow = \"everyone\"\nupstream = \"app\"\nencoded_slash = true\n\
             path_parameters = true\nempty_segments = true\ncors = {{ {cors} }}\n"
        )
    };
    route(&format!("/{name}/*"), cors) + &route(&format!("/{name}/in/*"), inner)
}

/// Routes of one path that share with different pages: only a page that each of them names reads an answer, and with a person's
/// credentials only where each takes them.
#[test]
fn class_33_a_page_reads_what_every_reading_of_a_path_lets_it_read() {
    let (front, back) = (format!("origins = [{FRONT:?}, {BOTH:?}]"), format!("origins = [{BACK:?}, {BOTH:?}]"));
    let with = |origins: &str| format!("{origins}, credentials = true, expose = [\"ETag\"]");
    let routes = [
        nested("lists", &with(&front), &with(&back)),
        nested("outer", &with(&front), &front),
        nested("inner", &front, &with(&front)),
        nested("open", "origins = [\"*\"]", &front),
        nested("closed", &front, "origins = [\"*\"]"),
    ];
    let scene = Scene::https(|config| config.raw(&routes.concat()));
    let ask = |method: &str, target: &str, origin: &str| {
        let answer = match method {
            "OPTIONS" => preflight(&scene, target, origin, "GET").send(),
            method => from(&scene, method, target, origin).send(),
        };
        let reader = answer.header("access-control-allow-origin").map(str::to_owned);
        let refused = if method == "OPTIONS" { 403 } else { 200 };
        let fits = if method == "OPTIONS" { 204 } else { 200 };
        assert_eq!(answer.status, if reader.is_some() { fits } else { refused }, "{method} {target} {origin}");
        assert!(vary(&answer).contains("Origin"), "{method} {target} {origin}");
        if reader.is_none() {
            assert_unreadable(&answer, &format!("{method} {target} {origin}"));
        }
        (reader, answer.header("access-control-allow-credentials").is_some())
    };
    let (nobody, shared) = ((None, false), |origin: &str| (Some(origin.to_owned()), true));
    for method in ["GET", "POST", "OPTIONS"] {
        // Read in one way, each route speaks for itself.
        assert_eq!(ask(method, "/lists/x", FRONT), shared(FRONT), "{method}");
        assert_eq!(ask(method, "/lists/x", BACK), nobody, "{method}");
        assert_eq!(ask(method, "/lists/in/x", BACK), shared(BACK), "{method}");
        assert_eq!(ask(method, "/lists/in/x", FRONT), nobody, "{method}");
        // The route that is found first, and that of the other reading.
        let (outer_first, inner_first) = (("outer", "inner"), ("inner", "outer"));
        for (odd, (first, other)) in [
            ("in%2Fx", inner_first),
            ("in%2fx", inner_first),
            ("in;v=1/x", inner_first),
            ("in%3Bv=1/x", inner_first),
            ("/in/x", inner_first),
            ("in./x", outer_first),
            ("in%20/x", outer_first),
        ] {
            let asked = |name: &str, origin: &str| ask(method, &format!("/{name}/{odd}"), origin);
            for lacking in [FRONT, BACK, "https://evil.example", "null"] {
                assert_eq!(asked("lists", lacking), nobody, "{method} {odd}: one of the routes does not name it");
                assert_eq!(asked("open", lacking), nobody, "{method} {odd}: everybody and somebody are two things");
                assert_eq!(asked("closed", lacking), nobody, "{method} {odd}: in this order too");
            }
            assert_eq!(asked("lists", BOTH), shared(BOTH), "{method} {odd}");
            assert_eq!(asked(first, BOTH), nobody, "{method} {odd}: the other route takes no credentials");
            assert_eq!(asked(other, BOTH), (Some(BOTH.to_owned()), false), "{method} {odd}");
        }
    }
    scene.upstream.forget();
    for refused in
        ["/lists/in%252Fx", "/lists/x/../in/x", "/lists/x/%2e%2e/in/x", "/lists/.%2Fin/x", "/lists/in%5C..%5Cx"]
    {
        let answer = from(&scene, "GET", refused, BOTH).send();
        assert_eq!(answer.status, 400, "{refused}");
        assert_unreadable(&answer, refused);
        assert_unreadable(&preflight(&scene, refused, BOTH, "GET").send(), refused);
    }
    assert_eq!(scene.upstream.count(), 0);
}
