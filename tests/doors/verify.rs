//! The second door: `/verify`, asked as a front proxy asks, and acted upon as a front proxy acts.

use crate::cases::{APP, Case, Door, Outcome, Who};
use crate::scene::{Dressed, Scene, Seen, run};
use crate::support::client::{Client, Request, Response};

/// Headers that belong to the visitor's connection, or that a proxy which asks writes itself.
const NOT_PASSED_ON: [&str; 10] = [
    "connection",
    "upgrade",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-forwarded-host",
    "x-forwarded-for",
    "forwarded",
];

/// The headers of a case as a proxy passes them on.
pub(crate) fn passed_on(scene: &Scene, case: &Case) -> Vec<(String, String)> {
    let mut headers = scene.headers(case);
    headers.retain(|(name, _)| !NOT_PASSED_ON.contains(&name.to_ascii_lowercase().as_str()));
    headers.push(("X-Forwarded-For".to_owned(), "192.0.2.7".to_owned()));
    headers
}

/// What the upstream sees when a proxy does what it is told: removes, then sets.
pub(crate) fn dressed(
    case: &Case,
    headers: Vec<(String, String)>,
    removed: &[String],
    set: &[(String, String)],
) -> Dressed {
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    let mut headers = headers;
    headers.retain(|(name, _)| {
        !removed.iter().any(|other| is(name, other)) && !set.iter().any(|(other, _)| is(name, other))
    });
    headers.extend(set.iter().cloned());
    Dressed { method: case.method.to_owned(), target: case.target.to_owned(), headers }
}

fn question(scene: &Scene, case: &Case, host: &str, path: &str) -> Request {
    let mut request = Client::new(scene.asked.url()).named(host).request("GET", path);
    for (name, value) in passed_on(scene, case) {
        request = request.header(&name, &value);
    }
    request
}

/// What came of it, when the proxy takes 2xx for a yes.
fn acted_upon(scene: &Scene, case: &Case, answer: &Response) -> Seen {
    let challenges: Vec<String> = answer.head.all("www-authenticate").into_iter().map(str::to_owned).collect();
    if answer.status != 200 {
        return Seen { status: answer.status, challenges, upstream: Vec::new() };
    }
    assert!(answer.body.is_empty(), "a yes has no body");
    let removed: Vec<String> =
        answer.header("x-portcullis-remove").into_iter().flat_map(|list| list.split(',').map(str::to_owned)).collect();
    let own = ["date", "content-length", "cache-control", "set-cookie", "x-portcullis-remove", "x-portcullis-cookie"];
    let mut set: Vec<(String, String)> =
        answer.head.headers.iter().filter(|(name, _)| !own.contains(&name.as_str())).cloned().collect();
    set.extend(answer.header("x-portcullis-cookie").map(|value| ("cookie".to_owned(), value.to_owned())));
    Seen { status: 200, challenges, upstream: vec![dressed(case, passed_on(scene, case), &removed, &set)] }
}

#[test]
fn the_table_holds_at_verify_as_nginx_asks() {
    let scene = Scene::start();
    run(Door::Verify, |case| {
        let answer = question(&scene, case, "127.0.0.1:8080", "/.auth/verify/redirect")
            .headers(&[
                ("X-Original-Method", case.method),
                ("X-Original-URL", &format!("https://{}{}", case.host, case.target)),
            ])
            .send();
        acted_upon(&scene, case, &answer)
    });
}

#[test]
fn the_table_holds_at_verify_as_caddy_and_traefik_ask() {
    let scene = Scene::start();
    run(Door::Verify, |case| {
        let answer = question(&scene, case, "127.0.0.1:8080", "/.auth/verify/redirect")
            .headers(&[
                ("X-Forwarded-Method", case.method),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", case.host),
                ("X-Forwarded-Uri", case.target),
            ])
            .send();
        acted_upon(&scene, case, &answer)
    });
}

/// Without `/redirect`, who is signed out gets a 401, and everything else stays as it is.
#[test]
fn the_table_holds_where_a_status_alone_is_asked_for() {
    let scene = Scene::start();
    run(Door::Verify, |case| {
        let answer = question(&scene, case, case.host, "/.auth/verify")
            .headers(&[("X-Original-Method", case.method), ("X-Original-URI", case.target)])
            .send();
        let mut seen = acted_upon(&scene, case, &answer);
        if case.expected == Outcome::SignIn && seen.status == 401 {
            assert!(answer.header("www-authenticate").is_some(), "a 401 has a challenge");
            seen.status = 302;
        }
        seen
    });
}

fn ask(scene: &Scene, path: &str, headers: &[(&str, &str)]) -> Response {
    Client::new(scene.asked.url()).named(APP).request("GET", path).headers(headers).send()
}

#[test]
fn a_question_that_tells_too_little_or_two_things_is_refused() {
    let scene = Scene::start();
    let method = ("X-Original-Method", "GET");
    for headers in [
        &[][..],
        &[method],
        &[("X-Original-URI", "/public/x")],
        &[("X-Forwarded-Uri", "/public/x"), ("X-Forwarded-Host", APP)],
        &[method, ("X-Original-URI", "")],
        &[method, ("X-Original-URI", "public/x")],
        &[method, ("X-Original-URI", "/public/x y")],
        &[method, ("X-Original-URI", "/public/x"), ("X-Original-URI", "/public/x")],
        &[method, ("X-Original-URI", "/admin/x"), ("X-Forwarded-Uri", "/public/x")],
        &[method, method, ("X-Original-URI", "/public/x")],
        &[method, ("X-Forwarded-Method", "POST"), ("X-Original-URI", "/public/x")],
        &[method, ("X-Original-URI", "/public/x"), ("X-Forwarded-Host", "api.example.com")],
        &[method, ("X-Original-URL", "https://app.example.com/public/x"), ("X-Forwarded-Host", "api.example.com")],
        &[method, ("X-Original-URL", "//app.example.com\\@api.example.com/public/x")],
        &[method, ("X-Original-URL", "ftp://app.example.com/public/x")],
        &[method, ("X-Original-URL", "https://user@app.example.com/public/x")],
        &[method, ("X-Forwarded-Uri", "/public/x")],
    ] {
        for path in ["/.auth/verify", "/.auth/verify/redirect"] {
            let answer = ask(&scene, path, headers);
            assert_eq!(answer.status, 400, "{path} {headers:?}");
        }
    }
    assert_eq!(ask(&scene, "/.auth/verify", &[method, ("X-Original-URI", "/public/x")]).status, 200);
    assert_eq!(scene.upstream.count(), 0);
}

/// What a proxy hands to its visitor holds nothing that is for the upstream: a yes names credentials.
#[test]
fn a_refusal_is_never_a_yes() {
    let scene = Scene::start();
    let alice = scene.cookie(Who::Alice, APP).expect("alice has one");
    let url = "https://app.example.com/token/x";
    let told = [("X-Original-Method", "GET"), ("X-Original-URL", url), ("Cookie", alice)];
    assert!(ask(&scene, "/.auth/verify/redirect", &told).header("authorization").is_some());
    let answer = ask(&scene, "/.auth/verify/refusal", &told);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let head = String::from_utf8_lossy(&answer.head.raw).to_lowercase();
    for told in ["authorization", "x-forwarded-", "x-portcullis-", "alice"] {
        assert!(!head.contains(told), "{told}: {head}");
    }
    // Whatever else it is asked about is answered as ever.
    run(Door::Verify, |case| {
        let told =
            [("X-Original-Method", case.method), ("X-Original-URL", &format!("https://{}{}", case.host, case.target))];
        let refused = question(&scene, case, "127.0.0.1:8080", "/.auth/verify/refusal").headers(&told).send();
        if refused.status != 503 {
            return acted_upon(&scene, case, &refused);
        }
        let answer = question(&scene, case, "127.0.0.1:8080", "/.auth/verify/redirect").headers(&told).send();
        assert_eq!(answer.status, 200, "{}", case.name());
        acted_upon(&scene, case, &answer)
    });
}

/// Whoever is no trusted proxy learns nothing and is told nothing, whatever they bring.
#[test]
fn only_trusted_proxies_may_ask() {
    let scene = Scene::start();
    let cookie = scene.cookie(Who::Alice, APP).expect("alice has one");
    for path in ["/.auth/verify", "/.auth/verify/redirect", "/.auth/verify/refusal", "/.auth/verify/ext_authz/public/x"]
    {
        let answer = Client::new(scene.gateway.url())
            .named(APP)
            .get(path)
            .headers(&[
                ("X-Original-Method", "GET"),
                ("X-Original-URL", "https://app.example.com/public/x"),
                ("X-Forwarded-For", "127.0.0.1"),
                ("Cookie", cookie),
            ])
            .send();
        assert_eq!(answer.status, 403, "{path}");
        let head = String::from_utf8_lossy(&answer.head.raw).to_lowercase();
        assert!(!head.contains("alice") && !head.contains("set-cookie"), "{head}");
    }
}

#[test]
fn any_method_may_ask_and_a_sign_in_leads_back_to_what_was_asked_for() {
    let scene = Scene::start();
    let told = [
        ("X-Original-Method", "GET"),
        ("X-Original-URL", "https://api.example.com/page?a=b&c=%2f"),
        ("Accept", "text/html"),
    ];
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = Client::new(scene.asked.url()).request(method, "/.auth/verify/redirect").headers(&told).send();
        assert_eq!(answer.status, 302, "{method}");
        let expected = "https://api.example.com/.auth/login?return_to=%2Fpage%3Fa%3Db%26c%3D%252f";
        assert_eq!(answer.header("location"), Some(expected), "{method}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let answer = Client::new(scene.asked.url()).request(method, "/.auth/verify").headers(&told).send();
        assert_eq!((answer.status, answer.header("location")), (401, None), "{method}");
        assert!(method != "HEAD" || answer.body.is_empty());
    }
}
