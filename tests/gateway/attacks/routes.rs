//! Classes 4, 5, 7 and 8: which rule a request meets depends on its host, path and method alone.

use super::{Arena, assert_denied};

#[test]
fn class_04_a_query_never_picks_the_rule() {
    let arena = Arena::new();
    for target in [
        "/admin/x?x=/public/",
        "/admin/?/public/x",
        "/app/x?path=/public/x",
        "/app/?a=b&/public/",
        "/admin/x?/../public/x",
        "/nowhere?/public/x",
        "/app/x??/public/",
        "/app/public/x",
        "/admin/public/",
        "/xpublic/x",
        "/publicx/y",
        "/x/public/y",
    ] {
        assert_denied(&arena.get(target).send(), target);
    }
    arena.assert_nothing_passed("a query with a public path in it");

    // Nor does a query take anything away: it goes on byte for byte.
    let target = "/public/x?next=/admin/%2e%2e%2f..//;a=b&c[]=d|e&%zz=\\..\\";
    assert_eq!(arena.get(target).send().status, 200);
    assert_eq!(arena.upstream.only_request().target, target);
}

/// Rows 27 and 31: whoever says which path is meant, it is the path that is asked for.
#[test]
fn class_05_a_header_never_picks_the_rule() {
    let arena = Arena::new();
    let alice = arena.cookie("bob");
    for value in ["/public/x", "/public/../public/", "http://app/public/x", "%", "//", "\u{e9}", ""] {
        for name in [
            "X-Forwarded-Uri",
            "X-Forwarded-Path",
            "X-Forwarded-Prefix",
            "X-Forwarded-Url",
            "X-Original-URL",
            "X-Original-Uri",
            "X-Original-Path",
            "X-Rewrite-URL",
            "X-Envoy-Original-Path",
            "X_Forwarded_Uri",
            "X_Original_URL",
            "X-Auth-Request-Redirect",
        ] {
            let field = (name, value);
            assert_denied(&arena.get("/app/x").headers(&[field]).send(), name);
            assert_denied(&arena.get("/admin/x").headers(&[field, ("Cookie", &alice)]).send(), name);
            let answer = arena.get("/nowhere").headers(&[field]).send();
            assert_eq!(answer.status, 404, "{name}: {value}");
        }
    }
    arena.assert_nothing_passed("a path in a header");
}

#[test]
fn class_05_a_trusted_proxy_does_not_pick_the_rule_either() {
    let arena = Arena::with(|config| config.raw("[trusted_proxies]\nnetworks = [\"127.0.0.0/8\"]"));
    for name in ["X-Forwarded-Uri", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"] {
        assert_denied(&arena.get("/app/x").header(name, "/public/x").send(), name);
        assert_eq!(arena.get("/public/x").header(name, "/admin/x").send().status, 200);
        let seen = arena.upstream.last_request();
        assert!(!seen.mentions("/admin/x"), "{name}: {:?}", seen.head.headers);
    }
    assert_eq!(arena.upstream.count(), 4);
}

#[test]
fn class_07_no_user_agent_or_health_path_opens_a_door() {
    let arena = Arena::new();
    for agent in [
        "GoogleHC/1.0",
        "kube-probe/1.31",
        "ELB-HealthChecker/2.0",
        "Envoy/HC",
        "Consul Health Check",
        "portcullis",
        "Amazon-Route53-Health-Check-Service",
        "",
    ] {
        for target in ["/app/x", "/admin/", "/app/ping", "/app/healthz"] {
            let answer = arena.get(target).header("User-Agent", agent).send();
            assert_denied(&answer, agent);
        }
    }
    for target in ["/ping", "/healthz", "/health", "/ready", "/metrics", "/robots.txt", "/debug/pprof/", "/oauth2/auth"]
    {
        assert_eq!(arena.get(target).header("User-Agent", "GoogleHC/1.0").send().status, 404, "{target}");
    }
    arena.assert_nothing_passed("a health check");
}

#[test]
fn class_08_every_method_meets_the_same_rule() {
    let arena = Arena::new();
    let bob = arena.cookie("bob");
    for method in [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "QUERY", "PURGE", "X",
        "M-SEARCH",
    ] {
        assert_denied(&arena.request(method, "/app/x").send(), method);
        assert_denied(&arena.request(method, "/admin/x").header("Cookie", &bob).send(), method);
        assert_denied(&arena.request(method, "/nowhere").send(), method);
    }
    arena.assert_nothing_passed("a method");
}

/// Row 26: case is part of a method's name, so another case is another method, and none that we know.
#[test]
fn class_08_odd_methods_are_refused_everywhere() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    for target in ["/public/x", "/app/x", "/nowhere", "/.auth/me"] {
        for method in ["get", "GeT", "gET", "post", "Head", "oPTIONS"] {
            assert_eq!(arena.request(method, target).header("Cookie", &alice).send().status, 400, "{method} {target}");
        }
        for method in ["TRACE", "CONNECT"] {
            let answer = arena.request(method, target).header("Cookie", &alice).send();
            assert!(matches!(answer.status, 400 | 405), "{method} {target}: {}", answer.status);
        }
        assert!(matches!(arena.request("TRACK", target).send().status, 200 | 302 | 401 | 404 | 405), "{target}");
    }
    let trace = arena.request("TRACE", "/public/x").send();
    assert_eq!(trace.status, 405);
    assert!(trace.header("allow").is_some_and(|methods| !methods.contains("TRACE")), "{:?}", trace.head.headers);
    assert!(arena.upstream.requests().iter().all(|seen| seen.method == "TRACK"));
    let connect = arena.raw("CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n");
    assert!(matches!(connect.status, 400 | 405), "{}", connect.status);
}

#[test]
fn class_08_a_header_never_overrides_the_method() {
    let arena = Arena::with(|config| {
        config
            .raw("[[routes]]\npath = \"/read/*\"\nmethods = [\"GET\"]\nallow = \"everyone\"\nupstream = \"app\"")
            .raw("[[routes]]\npath = \"/read/*\"\nallow = \"signed-in\"\nupstream = \"app\"")
            .raw("[[routes]]\npath = \"/only/*\"\nmethods = [\"GET\"]\nallow = \"everyone\"\nupstream = \"app\"")
    });
    let names =
        ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override", "x.method.override"];
    for name in names {
        assert_denied(&arena.request("DELETE", "/read/x").header(name, "GET").send(), name);
        assert_eq!(arena.request("DELETE", "/only/x").header(name, "GET").send().status, 404, "{name}");
        arena.assert_nothing_passed(name);
        assert_eq!(arena.get("/read/x").header(name, "DELETE").send().status, 200, "{name}");
        let seen = arena.upstream.only_request();
        assert_eq!(seen.method, "GET");
        assert!(!seen.mentions("DELETE"), "{name}: {:?}", seen.head.headers);
        arena.upstream.forget();
    }
    // A route for GET is one for HEAD, and for nothing else that nobody named.
    assert_eq!(arena.request("HEAD", "/only/x").send().status, 200);
    for method in ["POST", "PUT", "PROPFIND", "X"] {
        assert_eq!(arena.request(method, "/only/x").send().status, 404, "{method}");
    }
    assert_eq!(arena.upstream.count(), 1);
}

/// Row 28: one host has several spellings, and all of them meet the same rules.
#[test]
fn class_08_spellings_of_the_host_meet_the_same_rule() {
    let arena = Arena::named("https://app.example.com", |config| {
        config
            .raw("[[routes]]\nhost = \"app.example.com\"\npath = \"/x/*\"\nallow = \"signed-in\"\nupstream = \"app\"")
            .route("/*", "\"everyone\"", "app")
    });
    for host in [
        "app.example.com",
        "APP.EXAMPLE.COM",
        "app.example.com.",
        "App.Example.Com.:443",
        "app.example.com:80",
        "app.example.com:443",
    ] {
        let client = arena.gateway.client().named(host);
        assert_denied(&client.get("/x/y").send(), host);
        assert_eq!(client.get("/open").send().status, 200, "{host}");
        let absolute = arena.raw(&format!("GET http://{host}/x/y HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_denied(&absolute, host);
    }
    assert!(arena.upstream.requests().iter().all(|seen| seen.target == "/open"));
}
