//! Class 14 and rows 5, 6, 32, 39 and 52: where we are is configured, and no request can say otherwise.

use url::Url;

use super::{Arena, assert_denied, cookie_of};
use crate::support::browser::Browser;
use crate::support::client::Response;
use crate::support::forms;
use crate::support::gateway::GatewayConfig;
use crate::support::upstream::Upstream;

const PUBLIC: &str = "https://app.example.com";

/// Fields by which somebody says that they asked for another host, scheme or path.
const POISON: &[(&str, &str)] = &[
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Server", "evil.example"),
    ("X-Forwarded-Proto", "gopher"),
    ("X-Forwarded-Port", "6666"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Uri", "/evil"),
    ("X-Host", "evil.example"),
    ("X-HTTP-Host-Override", "evil.example"),
    ("X-Original-Host", "evil.example"),
    ("X_Forwarded_Host", "evil.example"),
    ("Forwarded", "for=6.6.6.6;host=evil.example;proto=gopher"),
    ("X-Original-URL", "http://evil.example/evil"),
    ("X-Rewrite-URL", "http://evil.example/evil"),
];

#[track_caller]
fn assert_clean(answer: &Response, what: &str) {
    let head = String::from_utf8_lossy(&answer.head.raw).to_ascii_lowercase();
    // A port stands behind a colon; bare digits may stand in the request's random name.
    for part in ["evil", "gopher", ":6666"] {
        assert!(!head.contains(part), "{what}: {head}");
        assert!(!answer.text().contains(part), "{what}: {}", answer.text());
    }
}

#[test]
fn class_14_an_unknown_host_is_misdirected_and_a_malformed_one_is_bad() {
    let arena = Arena::named(PUBLIC, |config| config.route("/public/*", "\"everyone\"", "app"));
    for (host, status) in [
        ("evil.example", 421),
        ("app.example.com.evil.example", 421),
        ("evilapp.example.com", 421),
        ("example.com", 421),
        ("app.example.com:8443", 421),
        ("app.example.comm", 421),
        ("app-example.com", 421),
        ("169.254.169.254", 421),
        ("127.0.0.2", 421),
        ("[::1]", 421),
        ("app.example.com;x=\"y\"", 400),
        ("app.example.com\"", 400),
        ("app.example.com, evil.example", 400),
        ("app.example.com/evil", 400),
        ("app.example.com#evil", 400),
        ("evil@app.example.com", 400),
        ("app.example.com:80:80", 400),
        ("app.example.com..", 400),
        ("app.exam\u{e9}ple.com", 400),
        ("app.example.com%00", 400),
    ] {
        for target in ["/public/x", "/.auth/login/corp", "/.auth/me", "/nowhere"] {
            let answer = arena.gateway.client().named(host).get(target).header("Accept", "text/html").send();
            assert_eq!(answer.status, status, "{host} {target}: {}", answer.text());
            assert_clean(&answer, host);
            assert!(answer.header("location").is_none() && answer.header("set-cookie").is_none(), "{host}");
        }
    }
    arena.assert_nothing_passed("another host");
    assert_eq!(arena.gateway.client().named("app.example.com").get("/public/x").send().status, 200);
}

/// Row 6: the name of a domain ends at a dot.
#[test]
fn class_14_a_configured_host_is_no_suffix() {
    let arena = Arena::named("https://example.com", |config| {
        config.route("/public/*", "\"everyone\"", "app").raw("[return_to]\norigins = [\"https://www.example.com\"]")
    });
    for host in ["evilexample.com", "evil-example.com", "x.example.com", "example.com.evil.example"] {
        assert_eq!(arena.gateway.client().named(host).get("/public/x").send().status, 421, "{host}");
    }
    arena.assert_nothing_passed("a longer host");
}

#[test]
fn class_14_a_whole_sign_in_and_out_never_names_another_host() {
    let arena = Arena::new();
    let mut browser = Browser::new();
    browser.fields.extend(POISON.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));

    browser.stop_before = Some("/authorize".to_owned());
    let begun = browser.open(&arena.gateway.at("/app/page"));
    assert_clean(&begun.response, "the beginning");
    let sent = |name: &str| begun.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!(sent("redirect_uri"), Some(format!("{}/.auth/callback/corp", arena.gateway.url())), "{}", begun.url);
    browser.stop_before = None;

    let page = browser.sign_in("alice", &arena.gateway.at("/app/page"));
    assert_eq!(page.response.status, 200, "{}", page.text());
    for url in &browser.trail {
        assert!(!url.as_str().contains("evil") && !url.as_str().contains("gopher"), "{url}");
        assert!(
            [arena.gateway.url(), arena.provider.issuer()].contains(&&*url.origin().ascii_serialization()),
            "{url}"
        );
    }
    assert_eq!(page.url.as_str(), arena.gateway.at("/app/page"));
    assert!(browser.jar.all().iter().all(|cookie| cookie.host_only), "no cookie of ours names a Domain");
    let seen = arena.upstream.last_request();
    assert_eq!(seen.header("x-forwarded-host"), Some(arena.host()));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert!(!String::from_utf8_lossy(&seen.head.raw).contains("gopher"));

    let bye = browser.peek(&arena.gateway.at("/.auth/logout"));
    assert_clean(&bye, "signing out");
    let onward = bye.header("location").map(ToOwned::to_owned).or_else(|| forms::onward(&bye.text()));
    let location = Url::parse(&onward.expect("on to the provider")).expect("a URL");
    assert_eq!(location.origin().ascii_serialization(), arena.provider.issuer());
    let back = location.query_pairs().find(|(key, _)| key == "post_logout_redirect_uri").expect("a way back").1;
    assert!(back.starts_with(&arena.gateway.at("/.auth/")), "{back}");
}

/// What every kind of answer says, an error of ours included.
#[test]
fn class_14_no_answer_repeats_a_host_that_a_header_names() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    for target in [
        "/app/x",
        "/admin/x",
        "/nowhere",
        "/.auth/login",
        "/.auth/login/corp",
        "/.auth/login/other",
        "/.auth/logout",
        "/.auth/me",
        "/.auth/callback/corp",
        "/.auth/callback/corp?state=x&code=y",
        "/.auth/signed-out",
        "/public/../x",
    ] {
        for accept in ["text/html", "application/json"] {
            for cookie in ["", &alice] {
                let request = arena.get(target).headers(POISON).header("Accept", accept).header("Cookie", cookie);
                assert_clean(&request.send(), target);
            }
        }
    }
}

/// Row 5: every way to write another origin as a path.
#[test]
fn class_14_a_sign_in_never_leads_elsewhere() {
    let arena = Arena::with(|config| config.raw("[return_to]\norigins = [\"https://www.example.com\"]"));
    for value in [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\\/evil.example",
        "/%09/evil.example",
        "/%5cevil.example",
        "/%2f%2fevil.example",
        "https:evil.example",
        "https:/evil.example",
        "http:///evil.example",
        "/%0d%0aLocation:%20https://evil.example",
        "%09//evil.example",
        "%20//evil.example",
        "javascript:alert(1)//evil",
        "data:text/html,evil",
        "https://www.example.com.evil.example/",
        "https://www.example.com@evil.example/",
        "https://www.example.com%2eevil.example/",
        "https://www.example.com:evil@evil.example/",
        "https://evilwww.example.com/",
        "https://evil-www.example.com/",
        "http://www.example.com.evil/",
        "https://www.example.com\\.evil.example/",
        "/..//evil.example",
        "/app/..//evil.example",
        "/./\\evil.example",
        "https://[::1]evil/",
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        // As it stands, where a query can hold it, and encoded once more.
        for query in [value, &encoded] {
            if query.contains(['\\', '#']) && query == value {
                continue;
            }
            let mut browser = Browser::new();
            let page = browser.sign_in("alice", &arena.gateway.at(&format!("/.auth/login/corp?return_to={query}")));
            assert_eq!(page.url.origin().ascii_serialization(), arena.gateway.url(), "{value}");
            for url in &browser.trail {
                let host = url.host_str().unwrap_or_default();
                assert_eq!(host, "127.0.0.1", "{value}: {url}");
            }
        }
    }
}

/// Rows 39 and 52: host and target pick no upstream, and a token goes to the configured one alone.
#[test]
fn class_14_no_host_picks_the_upstream() {
    let elsewhere = Upstream::start();
    let authority = elsewhere.url().replace("http://", "");
    let api = Upstream::start();
    let arena = Arena::with(|config| {
        config.raw(&format!("[upstreams.api]\nurl = {:?}\ntoken = \"access_token\"", api.url())).route(
            "/api/*",
            "\"signed-in\"",
            "api",
        )
    });
    let alice = arena.cookie("alice");
    let asks = [
        format!("GET http://{authority}/public/x HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        format!("GET http://{authority}/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        format!("GET /public/x HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        format!("GET //{authority}/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        format!("GET @{authority}/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        format!("GET http:{authority}/ HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
    ];
    for ask in asks {
        // Asked for by the address that it listens at, whatever the port, the gateway answers as itself.
        let answer = arena.raw(&ask);
        if answer.status != 200 {
            assert_denied(&answer, &ask);
        }
    }
    for seen in arena.upstream.requests() {
        assert_eq!((seen.target.as_str(), seen.header("host")), ("/public/x", Some(arena.host())));
    }
    let poison = [("X-Forwarded-Host", authority.as_str()), ("X-Original-URL", &elsewhere.url()), ("Cookie", &alice)];
    assert_eq!(arena.get("/api/x").headers(&poison).send().status, 200);
    assert!(api.only_request().header("authorization").is_some_and(|value| value.starts_with("Bearer ")));
    assert_eq!(elsewhere.count(), 0);
}

/// Row 32: what goes into `Forwarded` is what was configured.
#[test]
fn class_14_forwarded_holds_the_configured_host() {
    for (public, hosts) in [
        ("https://app.example.com", ["app.example.com", "APP.example.com.", "app.example.com:443"]),
        ("https://app.example.com:8443", ["app.example.com:8443", "App.Example.Com:8443", "app.example.com.:8443"]),
    ] {
        let arena = Arena::named(public, |config: GatewayConfig| config.route("/public/*", "\"everyone\"", "app"));
        let authority = public.trim_start_matches("https://");
        for host in hosts {
            assert_eq!(arena.gateway.client().named(host).get("/public/x").send().status, 200, "{host}");
            let seen = arena.upstream.last_request();
            assert_eq!(seen.head.all("host"), [authority], "{host}");
            assert_eq!(seen.head.all("x-forwarded-host"), [authority], "{host}");
            let forwarded = format!("for=127.0.0.1;host=\"{authority}\";proto=https");
            assert_eq!(seen.head.all("forwarded"), [forwarded.as_str()], "{host}");
        }
    }
}

/// The session of one gateway is none at another host with the same name of the cookie.
#[test]
fn class_14_a_cookie_never_names_a_domain() {
    let arena = Arena::new();
    let mut browser = Browser::new();
    browser.open(&arena.gateway.at("/app/x"));
    let alice = arena.browser("alice");
    let ours = browser.jar.all().iter().chain(alice.jar.all()).filter(|cookie| cookie.name.contains("portcullis"));
    let mut count = 0;
    for cookie in ours {
        count += 1;
        assert!(cookie.host_only && cookie.http_only && cookie.same_site.is_some(), "{cookie:?}");
    }
    assert!(count >= 2, "a flow's and a session's");
    assert!(!cookie_of(&alice, arena.gateway.url()).is_empty());
}
