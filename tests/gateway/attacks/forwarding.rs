//! Class 15 and row 30: where a request comes from is what the connection says, or what trusted proxies say, read from the right.

use super::{Arena, assert_denied, eventually};
use crate::support::client::Request;
use crate::support::upstream::Recorded;

const SPOOFED: &[(&str, &str)] = &[
    ("X-Forwarded-For", "6.6.6.6, 10.1.1.1"),
    ("X_Forwarded_For", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6;proto=https;by=6.6.6.6"),
    ("X-Real-IP", "6.6.6.6"),
    ("X-Client-IP", "6.6.6.6"),
    ("X-Cluster-Client-Ip", "6.6.6.6"),
    ("True-Client-IP", "6.6.6.6"),
    ("CF-Connecting-IP", "6.6.6.6"),
    ("Fastly-Client-IP", "6.6.6.6"),
    ("Client-IP", "6.6.6.6"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Scheme", "https"),
    ("X-Forwarded-Port", "6666"),
    ("X-Forwarded-Ssl", "on"),
];

fn trusting(networks: &str) -> Arena {
    Arena::with(|config| config.raw(&format!("[trusted_proxies]\nnetworks = [{networks}]")))
}

fn ask(arena: &Arena, dress: impl FnOnce(Request) -> Request) -> Recorded {
    arena.upstream.forget();
    let answer = dress(arena.get("/public/x")).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    arena.upstream.only_request()
}

#[test]
fn class_15_nothing_that_an_untrusted_peer_says_is_passed_on() {
    for arena in [Arena::new(), trusting("\"10.0.0.0/8\", \"6.6.6.6\", \"::1\"")] {
        let seen = ask(&arena, |request| request.headers(SPOOFED));
        assert!(
            !seen.mentions("6.6.6.6") && !seen.mentions("10.1.1.1") && seen.header("x-forwarded-port") != Some("6666"),
            "{:?}",
            seen.head.headers
        );
        assert_eq!(seen.head.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.head.all("x-forwarded-proto"), ["http"]);
        let forwarded = format!("for=127.0.0.1;host=\"{}\";proto=http", arena.host());
        assert_eq!(seen.head.all("forwarded"), [forwarded.as_str()]);
        assert_eq!(seen.header("x-real-ip"), None);
    }
}

#[test]
fn class_15_the_chain_of_trusted_proxies_is_walked_from_the_right() {
    let arena = trusting("\"127.0.0.0/8\", \"10.0.0.0/8\"");
    for (chain, expected) in [
        ("192.0.2.7", "192.0.2.7, 127.0.0.1"),
        ("6.6.6.6, 192.0.2.7", "192.0.2.7, 127.0.0.1"),
        ("10.9.9.9, 6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7, 10.0.0.2, 127.0.0.1"),
        ("6.6.6.6, unknown, 10.0.0.2", "10.0.0.2, 127.0.0.1"),
        ("6.6.6.6, 1.2.3.4.5, 10.0.0.2", "10.0.0.2, 127.0.0.1"),
        ("evil", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("192.0.2.7:4711", "192.0.2.7, 127.0.0.1"),
        ("6.6.6.6, [2001:db8::7]:4711", "2001:db8::7, 127.0.0.1"),
        ("6.6.6.6, ::ffff:192.0.2.7", "192.0.2.7, 127.0.0.1"),
    ] {
        let seen = ask(&arena, |request| request.header("X-Forwarded-For", chain).header("X-Real-IP", "6.6.6.6"));
        assert_eq!(seen.head.all("x-forwarded-for"), [expected], "{chain}");
        assert!(!seen.mentions("6.6.6.6"), "{chain}: {:?}", seen.head.headers);
    }
    // Two lines are one list.
    let seen =
        ask(&arena, |request| request.headers(&[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.7")]));
    assert_eq!(seen.head.all("x-forwarded-for"), ["192.0.2.7, 127.0.0.1"]);
    // `Forwarded` where there is no `X-Forwarded-For`.
    let seen = ask(&arena, |request| request.header("Forwarded", "for=6.6.6.6, for=\"[2001:db8::7]:99\";proto=https"));
    assert_eq!(seen.head.all("x-forwarded-for"), ["2001:db8::7, 127.0.0.1"]);
    assert!(!seen.mentions("6.6.6.6"), "{:?}", seen.head.headers);
}

#[test]
fn class_15_a_trusted_proxy_names_a_host_of_ours_or_none() {
    let arena = trusting("\"127.0.0.0/8\"");
    for (name, value, status) in [
        ("X-Forwarded-Host", "evil.example", 421),
        ("X-Forwarded-Host", "a b", 400),
        ("X-Forwarded-Host", "evil.example;x", 400),
        ("Forwarded", "for=192.0.2.7;host=evil.example", 421),
        ("Forwarded", "for=192.0.2.7;host=\"evil.example, x\"", 400),
    ] {
        let answer = arena.get("/public/x").header(name, value).send();
        assert_eq!(answer.status, status, "{name}: {value}");
        assert!(!answer.text().contains("evil"), "{}", answer.text());
    }
    arena.assert_nothing_passed("a host that is not ours");
}

/// Neither who may pass nor where a sign-in leads is changed by any of it.
#[test]
fn class_15_spoofing_changes_no_decision() {
    for arena in [Arena::new(), trusting("\"127.0.0.0/8\"")] {
        for target in ["/app/x", "/admin/x", "/nowhere"] {
            let plain = arena.get(target).header("Accept", "text/html").send();
            let spoofed = arena.get(target).headers(SPOOFED).header("Accept", "text/html").send();
            assert_denied(&spoofed, target);
            assert_eq!(plain.status, spoofed.status, "{target}");
            let redirect = |location: Option<&str>| {
                let url = location.map(|location| url::Url::parse(location).expect("a URL"));
                url.map(|url| {
                    let uri =
                        url.query_pairs().find(|(name, _)| name == "redirect_uri").map(|(_, uri)| uri.into_owned());
                    (url.origin().ascii_serialization(), url.path().to_owned(), uri)
                })
            };
            assert_eq!(redirect(plain.header("location")), redirect(spoofed.header("location")));
            let attributes =
                |field: Option<&str>| field.and_then(|field| field.split_once(';').map(|(_, rest)| rest.to_owned()));
            assert_eq!(attributes(plain.header("set-cookie")), attributes(spoofed.header("set-cookie")));
        }
        arena.assert_nothing_passed("spoofing");
    }
}

#[test]
fn class_15_via_traceparent_and_request_id() {
    let arena = Arena::new();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = ask(&arena, |request| {
        request.headers(&[
            ("Via", "1.0 fred"),
            ("Traceparent", trace),
            ("Tracestate", "a=b"),
            ("X-Request-Id", "chosen-by-the-client-0000000000000"),
        ])
    });
    assert_eq!(seen.head.all("via").join(", "), "1.0 fred, 1.1 portcullis");
    assert_eq!(seen.head.all("traceparent"), [trace]);
    assert_eq!(seen.head.all("tracestate"), ["a=b"]);
    let ids = seen.head.all("x-request-id");
    assert_eq!(ids.len(), 1);
    assert!(ids[0].len() == 32 && ids[0].bytes().all(|byte| byte.is_ascii_hexdigit()), "{ids:?}");
    eventually("the log names the request as the upstream does", || arena.gateway.logs().contains(ids[0]));
    let other = ask(&arena, |request| request);
    assert_ne!(other.header("x-request-id"), Some(ids[0]));

    // A trusted proxy may name a request, in the form of a name.
    let arena = trusting("\"127.0.0.0/8\"");
    let name = "0123456789abcdef0123456789abcdef";
    assert_eq!(ask(&arena, |request| request.header("X-Request-Id", name)).head.all("x-request-id"), [name]);
    let seen = ask(&arena, |request| request.header("X-Request-Id", "a b\"; evil"));
    assert!(!seen.mentions("evil"));
}
