//! Classes 1 to 3 and 13: headers that say who somebody is come from the gateway or are absent, whatever a client sends, however it
//! is spelt, and wherever it is sent.

use super::{Arena, assert_denied};
use crate::support::answer::Answer;
use crate::support::client::Request;
use crate::support::upstream::{Recorded, Upstream};
use crate::support::websocket::WebSocket;

/// Headers by which some gateway tells who somebody is, or where a request came from.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Roles", "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Server",
    "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Ssl", "X-Forwarded-Scheme",
    "X-Auth-User", "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Access-Token",
    "X-Portcullis-Assertion", "X-Portcullis-User", "Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email",
    "X-Remote-User", "X-Remote-Group", "X-Authenticated-User", "X-Authentik-Username", "X-Authentik-Groups",
    "X-Pomerium-Jwt-Assertion", "X-Pomerium-Claim-Email", "X-Vouch-User", "X-Vouch-Idp-Claims-Groups",
    "OIDC-Claim-Sub", "OIDC-Access-Token", "X-Userinfo", "X-Access-Token", "X-Id-Token", "X-Refresh-Token",
    "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity", "X-Goog-Authenticated-User-Email", "X-Goog-Iap-Jwt-Assertion",
    "Cf-Access-Jwt-Assertion", "Cf-Access-Authenticated-User-Email", "X-Ms-Client-Principal", "X-Ms-Token-Aad-Id-Token",
    "X-Token-User-Name", "X-Token-User-Roles", "X-Webauth-User", "Tailscale-User-Login", "Impersonate-User", "SM-User",
    "X-User", "X-Email", "X-Groups", "X-Roles", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip",
    "X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host",
    "X-Forwarded-Proto", "X-Forwarded-Port", "X-Envoy-Original-Path", "X-Http-Method-Override", "X-Request-Id", "X-Team",
    "Script-Name", "Path-Info", "X-Script-Name", "X-Host", "X-Http-Host-Override", "X-Url-Scheme", "X-Scheme",
    "Front-End-Https", "Client-Cert", "X-Ssl-Client-Verify", "Ssl-Client-S-Dn",
];

/// What stands in every forged header, and nowhere else.
const FORGED: &str = "forged-canary";

/// Fields that fit into one request.
const PER_REQUEST: usize = 80;

fn spellings(name: &str) -> Vec<String> {
    let mut first = true;
    let mixed: String = name.chars().map(|c| if c == '-' && std::mem::take(&mut first) { '_' } else { c }).collect();
    vec![
        name.to_owned(),
        name.to_ascii_lowercase(),
        name.to_ascii_uppercase(),
        name.replace('-', "_"),
        name.replace('-', "_").to_ascii_uppercase(),
        name.replace('-', "."),
        name.replace('-', "~"),
        mixed,
    ]
}

/// Every name in every spelling, each twice, in lists that fit into a request.
fn forged_fields() -> Vec<Vec<String>> {
    let all: Vec<String> =
        NAMES.iter().flat_map(|name| spellings(name)).flat_map(|name| [name.clone(), name]).collect();
    all.chunks(PER_REQUEST).map(<[String]>::to_vec).collect()
}

fn dressed(request: Request, names: &[String]) -> Request {
    names.iter().fold(request, |request, name| request.header(name, FORGED))
}

#[track_caller]
fn assert_unforged(seen: &Recorded, what: &str) {
    assert!(!seen.mentions(FORGED), "{what}: {:?}", seen.head.headers);
}

/// Ours, exactly once, and the same under no other spelling.
#[track_caller]
fn assert_only(seen: &Recorded, name: &str, expected: &str) {
    let fold = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let same: Vec<_> = seen.head.headers.iter().filter(|(other, _)| fold(other) == fold(name)).collect();
    assert_eq!(same.len(), 1, "{name}: {same:?}");
    assert_eq!(same[0].1, expected, "{name}");
}

/// The upstream has a header of the config's own, too.
fn own_header_arena() -> Arena {
    Arena::with(|config| config.raw("[upstreams.app.headers]\nX-Team = \"{claims.team}\""))
}

#[test]
fn class_01_underscore_case_and_duplicate_headers_never_reach_an_upstream() {
    let arena = own_header_arena();
    let alice = arena.cookie("alice");
    let mut sent = 0;
    for names in forged_fields() {
        for (target, cookie) in
            [("/public/x", None), ("/public/x", Some(&alice)), ("/app/x", Some(&alice)), ("/admin/x", Some(&alice))]
        {
            let request = dressed(arena.get(target), &names);
            let request = cookie.iter().fold(request, |request, cookie| request.header("Cookie", cookie));
            let answer = request.send();
            assert_eq!(answer.status, 200, "{target} {}", answer.text());
            sent += 1;
            let seen = arena.upstream.last_request();
            assert_unforged(&seen, target);
            for name in ["x-forwarded-user", "x-forwarded-preferred-username"] {
                match cookie {
                    Some(_) => assert_only(&seen, name, "alice"),
                    None => assert_eq!(seen.header(name), None, "{target}"),
                }
            }
            assert_only(&seen, "x-forwarded-for", "127.0.0.1");
            assert_only(&seen, "x-forwarded-host", arena.host());
        }
    }
    assert_eq!(arena.upstream.count(), sent);
}

/// The spellings above are not all there are: no separator that a field name may hold makes a new name.
#[test]
fn class_01_every_separator_of_a_field_name_is_seen_through() {
    let arena = Arena::new();
    for separator in "!#$%&'*+-.^_`|~".chars() {
        let names = ["X?Forwarded?User", "x?forwarded?EMAIL", "X?Auth?User", "Remote?User", "OIDC?CLAIM?sub"];
        let names: Vec<String> = names.iter().map(|name| name.replace('?', &separator.to_string())).collect();
        assert_eq!(dressed(arena.get("/public/x"), &names).send().status, 200, "{separator}");
        assert_unforged(&arena.upstream.last_request(), &names[0]);
    }
}

/// A person without groups: the upstream gets no value, not the client's.
#[test]
fn class_01_a_claim_that_is_missing_gives_no_header() {
    let arena = own_header_arena();
    let nobody = portcullis::demo::provider::Person::new("nobody", serde_json::json!({ "sub": "nobody" }));
    arena.provider.control().put_person(nobody);
    let cookie = arena.cookie("nobody");
    let names =
        ["X-Forwarded-Groups", "X-Forwarded-Roles", "X-Forwarded-Email", "X_Forwarded_Groups", "X-Team", "x_team"];
    let names = names.map(str::to_owned);
    assert_eq!(dressed(arena.get("/app/x").header("Cookie", &cookie), &names).send().status, 200);
    let seen = arena.upstream.only_request();
    assert_unforged(&seen, "missing claims");
    assert_only(&seen, "x-forwarded-user", "nobody");
    for name in ["x-forwarded-groups", "x-forwarded-roles", "x-forwarded-email", "x-team"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[test]
fn class_02_connection_can_neither_remove_nor_add_a_header() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    for options in [
        "close, X-Forwarded-User, X-Forwarded-For, Cookie, Authorization",
        "X-Forwarded-User, X-Forwarded-Groups, X-Forwarded-Email, X-Forwarded-Host, X-Forwarded-Proto, Forwarded, Via, X-Request-Id",
        "keep-alive, x_forwarded_user, X-Auth-User",
        "close, Content-Length, Transfer-Encoding, Traceparent, Content-Type",
    ] {
        arena.upstream.forget();
        let answer = arena
            .request("POST", "/app/x")
            .header("Connection", options)
            .header("X-Forwarded-User", "root")
            .header("X-Forwarded-For", "6.6.6.6")
            .header("Cookie", &alice)
            .body("body")
            .send();
        assert_eq!(answer.status, 200, "{options}: {}", answer.text());
        let seen = arena.upstream.only_request();
        assert_only(&seen, "x-forwarded-user", "alice");
        assert_only(&seen, "x-forwarded-email", "alice@example.com");
        assert_only(&seen, "x-forwarded-for", "127.0.0.1");
        assert_only(&seen, "x-forwarded-host", arena.host());
        assert_only(&seen, "x-forwarded-proto", "http");
        assert!(seen.header("forwarded").is_some() && seen.header("via").is_some(), "{options}");
        assert!(seen.header("x-request-id").is_some(), "{options}");
        assert_eq!(seen.body, b"body", "{options}");
        assert!(!seen.mentions("6.6.6.6") && !seen.mentions("root"), "{options}");
        assert!(!seen.mentions("portcullis="), "{options}: our cookie went on");
    }
}

/// The token that a route asks for is ours alone as well: without a session there is none, and no client's either.
#[test]
fn class_02_connection_cannot_remove_the_token_nor_a_client_bring_one() {
    let api = Upstream::start();
    let arena = Arena::with(|config| {
        config
            .raw(&format!("[upstreams.api]\nurl = {:?}\ntoken = \"access_token\"", api.url()))
            .route("/api/*", "\"signed-in\"", "api")
            .route("/open/*", "\"everyone\"", "api")
    });
    let alice = arena.cookie("alice");
    let ask = |target: &str, cookie: &str| {
        let fields = [("Connection", "close, Authorization"), ("Authorization", "Bearer forged"), ("Cookie", cookie)];
        assert_eq!(arena.get(target).headers(&fields).send().status, 200, "{target}");
        api.last_request()
    };
    let seen = ask("/api/x", &alice);
    assert_eq!(seen.head.all("authorization").len(), 1);
    assert!(
        seen.header("authorization").is_some_and(|value| value.starts_with("Bearer ") && !value.contains("forged"))
    );
    assert_eq!(ask("/open/x", "theme=dark").header("authorization"), None);
}

#[test]
fn class_02_hop_by_hop_headers_end_here() {
    let arena = Arena::new();
    let answer = arena
        .get("/public/x")
        .headers(&[
            ("Connection", "X-Private, keep-alive"),
            ("X-Private", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic eDp5"),
            ("TE", "trailers, deflate"),
            ("Trailer", "X-Forwarded-User"),
            ("X-Kept", "1"),
        ])
        .send();
    assert_eq!(answer.status, 200);
    let seen = arena.upstream.only_request();
    for name in ["x-private", "keep-alive", "proxy-connection", "proxy-authorization", "trailer", "upgrade"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert!(seen.header("te").is_none_or(|te| te == "trailers"), "{:?}", seen.header("te"));
    assert_eq!(seen.header("x-kept"), Some("1"));
}

#[test]
fn class_02_connection_cannot_name_the_host() {
    let arena = Arena::new();
    assert_eq!(arena.get("/public/x").header("Connection", "close, Host").send().status, 400);
    arena.assert_nothing_passed("Connection: Host");
}

#[test]
fn class_03_identity_headers_are_stripped_on_every_kind_of_path() {
    let arena = own_header_arena();
    arena.upstream.on("/public/fails", Answer::status(500));
    arena.upstream.on("/public/ws", Answer::websocket());
    arena.upstream.on("/app/ws", Answer::websocket());
    let alice = arena.cookie("alice");
    for names in forged_fields() {
        // Public, preflight, and an upstream's error: they pass, stripped.
        arena.upstream.forget();
        let preflight = |target: &str| {
            arena
                .request("OPTIONS", target)
                .header("Origin", "https://elsewhere.example")
                .header("Access-Control-Request-Method", "PUT")
        };
        let passing = [
            (dressed(arena.get("/public/x"), &names), 200),
            (dressed(arena.request("HEAD", "/public/x"), &names), 200),
            (dressed(arena.request("POST", "/public/x"), &names), 200),
            (dressed(preflight("/public/x"), &names), 200),
            (dressed(arena.get("/public/fails"), &names), 500),
        ];
        let count = passing.len();
        for (request, status) in passing {
            assert_eq!(request.send().status, status);
        }
        WebSocket::open(dressed(arena.get("/public/ws"), &names[..names.len().min(40)]))
            .map(drop)
            .expect("a public WebSocket opens");
        WebSocket::open(dressed(arena.get("/app/ws").header("Cookie", &alice), &names[..names.len().min(40)]))
            .map(drop)
            .expect("a WebSocket of the signed-in opens");
        assert!(arena.upstream.comes_to(count + 2));
        let requests = arena.upstream.requests();
        assert_eq!(requests.len(), count + 2);
        for seen in &requests {
            assert_unforged(seen, &seen.head.first_line);
        }
        assert_only(requests.last().expect("there are some"), "x-forwarded-user", "alice");

        // What has to be signed in or has no route never gets there; our own endpoints believe none of it.
        arena.upstream.forget();
        for (request, what) in [
            (preflight("/app/x"), "a preflight"),
            (preflight("/admin/x"), "a preflight"),
            (arena.get("/nowhere"), "no route"),
            (arena.get("/app/x"), "no session"),
            (arena.get("/.auth/callback/corp?code=x&state=y"), "the callback"),
            (arena.get("/.auth/me"), "who am I"),
            (arena.get("/.auth/nothing"), "no endpoint"),
        ] {
            let answer = dressed(request, &names).send();
            assert_denied(&answer, what);
            assert!(
                !answer.text().contains(FORGED) && !String::from_utf8_lossy(&answer.head.raw).contains(FORGED),
                "{what}"
            );
        }
        arena.assert_nothing_passed("denied");
    }
}

/// Row 51: a preflight with a body, without a session.
#[test]
fn class_03_a_preflight_of_a_protected_path_stays_here() {
    let arena = Arena::new();
    for target in ["/app/x", "/admin/x", "/nowhere"] {
        let answer = arena
            .request("OPTIONS", target)
            .headers(&[
                ("Origin", "https://elsewhere.example"),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "authorization"),
                ("Content-Type", "application/json"),
            ])
            .body("{\"do\":\"it\"}")
            .send();
        assert_denied(&answer, target);
        assert_eq!(answer.header("access-control-allow-origin"), None, "nobody is let in by us: {target}");
    }
    arena.assert_nothing_passed("a preflight");
}

#[test]
fn class_13_trailers_never_reach_an_upstream() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    for (target, user) in [("/public/x", None), ("/app/x", Some("alice"))] {
        arena.upstream.forget();
        let cookie = user.map_or(String::new(), |_| format!("Cookie: {alice}\r\n"));
        let answer = arena.raw(&format!(
            "POST {target} HTTP/1.1\r\nHost: HOST\r\n{cookie}TE: trailers\r\n\
             Trailer: X-Forwarded-User, Authorization, Cookie, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Forwarded-User: root\r\nX_Forwarded_User: root\r\nAuthorization: Bearer root\r\n\
             Cookie: a=root\r\nContent-Length: 3\r\nX-Ordinary: root\r\n\r\n"
        ));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = arena.upstream.only_request();
        assert_eq!(seen.body, b"hello");
        assert!(seen.trailers.is_empty(), "{:?}", seen.trailers);
        assert_eq!(seen.header("trailer"), None);
        assert_eq!(seen.header("x-forwarded-user"), user);
        assert!(!seen.mentions("root"));
    }
}
