//! What becomes of a path on its way to the upstream, byte by byte; and fixed answers.

use portcullis::demo::provider::{Client, ProviderOptions, Redirects};

use crate::support::answer::Answer;
use crate::support::browser::Browser;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;
use crate::support::websocket::WebSocket;

const PUBLIC: &str = "https://app.example.com";

fn gateway(upstream: &Upstream, routes: &str) -> Gateway {
    GatewayConfig::new(PUBLIC).upstream("app", &upstream.url()).raw(routes).start()
}

fn route(path: &str, lines: &str) -> String {
    format!("[[routes]]\npath = {path:?}\nallow = \"everyone\"\nupstream = \"app\"\n{lines}\n")
}

#[test]
fn a_prefix_is_taken_off_and_the_rest_stays_byte_for_byte() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, &route("/app/*", "strip_prefix = \"/app\""));
    for (asked, sent) in [
        ("/app/", "/"),
        ("/app/?", "/?"),
        ("/app/x", "/x"),
        ("/app/app/x", "/app/x"),
        ("/app/%7e%41/%c3%BC?q=%2f..%2F&&=;", "/%7e%41/%c3%BC?q=%2f..%2F&&=;"),
        ("/app/a+b&c=d@e:f,g!$'()*~", "/a+b&c=d@e:f,g!$'()*~"),
        ("/app/[x]|^", "/[x]|^"),
        ("/%61pp/%61pp", "/%61pp"),
        ("/app/x?/app/y", "/x?/app/y"),
    ] {
        upstream.forget();
        let answer =
            gateway.get(asked).header("X-Forwarded-Prefix", "/forged").header("x_forwarded_prefix", "/a").send();
        assert_eq!(answer.status, 200, "{asked}: {}", answer.text());
        let request = upstream.only_request();
        assert_eq!(request.target, sent, "for {asked}");
        assert_eq!(request.head.all("x-forwarded-prefix"), ["/app"]);
        assert!(!request.mentions("forged") && !request.mentions("x_forwarded"), "{:?}", request.head.headers);
    }
}

#[test]
fn what_cannot_be_cut_never_reaches_the_upstream() {
    let upstream = Upstream::start();
    let odd = "encoded_slash = true\npath_parameters = true\nempty_segments = true";
    // The other route is there for paths that can also be read as something else than one below /app.
    let routes = route("/app/*", &format!("strip_prefix = \"/app\"\n{odd}")) + &route("/*", odd);
    let gateway = gateway(&upstream, &routes);
    for target in ["//app/x", "/app;v=1/x", "/app%2fx", "/app//evil.example/x", "/app//", "/app;/x", "/;/app/x"] {
        let answer = gateway.get(target).send();
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    for target in ["/app/../x", "/app/%2e%2e/x", "/app/..;/x", "/app/x%00", "/app\\x"] {
        assert_eq!(gateway.get(target).send().status, 400, "{target}");
    }
    assert_eq!(upstream.count(), 0, "{:?}", upstream.requests());
    for target in ["/app", "/application/x", "/App/x", "/x/app/y"] {
        upstream.forget();
        assert_eq!(gateway.get(target).send().status, 200, "{target}");
        assert_eq!(upstream.only_request().target, target, "not below /app");
    }
    upstream.forget();
    // What is odd further back stays as it is.
    assert_eq!(gateway.get("/app/a//b;c=1/d%2fe").send().status, 200);
    assert_eq!(upstream.only_request().target, "/a//b;c=1/d%2fe");
}

#[test]
fn a_prefix_is_put_on() {
    let upstream = Upstream::start();
    let routes = [
        route("/old/*", "strip_prefix = \"/old\"\nadd_prefix = \"/new/v1\""),
        route("/old", "strip_prefix = \"/old\"\nadd_prefix = \"/new/v1\""),
        route("/*", "add_prefix = \"/base\""),
    ];
    let gateway = gateway(&upstream, &routes.concat());
    for (asked, sent, prefix) in [
        ("/old/x?y", "/new/v1/x?y", Some("/old")),
        ("/old", "/new/v1", Some("/old")),
        ("/old/", "/new/v1/", Some("/old")),
        ("/", "/base/", None),
        ("/x%20y", "/base/x%20y", None),
    ] {
        upstream.forget();
        assert_eq!(gateway.get(asked).header("X-Forwarded-Prefix", "/forged").send().status, 200, "{asked}");
        let request = upstream.only_request();
        assert_eq!((request.target.as_str(), request.header("x-forwarded-prefix")), (sent, prefix), "for {asked}");
    }
}

#[test]
fn answers_come_back_as_they_are() {
    let upstream = Upstream::start();
    let answer = Answer::status(302).header("Location", "/login?next=/app").header("Set-Cookie", "a=1; Path=/x");
    upstream.on("/x", answer);
    let gateway = gateway(&upstream, &route("/app/*", "strip_prefix = \"/app\""));
    let answer = gateway.get("/app/x").send();
    assert_eq!(answer.header("location"), Some("/login?next=/app"));
    assert_eq!(answer.head.all("set-cookie"), ["a=1; Path=/x"]);
}

#[test]
fn a_websocket_is_rewritten_too() {
    let upstream = Upstream::start();
    upstream.on("/socket", Answer::websocket());
    let gateway = gateway(&upstream, &route("/app/*", "strip_prefix = \"/app\""));
    let mut socket = WebSocket::open(gateway.get("/app/socket")).expect("it opens");
    assert_eq!(socket.ask("hello").expect("it is echoed"), "hello");
}

#[test]
fn a_fixed_answer_is_the_same_for_every_method_and_target() {
    let gateway = GatewayConfig::new(PUBLIC)
        .raw("[upstreams.gone]\nrespond = 410\nbody = \"<p>Gone</p>\"\ncontent_type = \"text/html; charset=utf-8\"")
        .raw("[upstreams.empty]\nrespond = 204")
        .raw("[[routes]]\npath = \"/*\"\nallow = \"everyone\"\nupstream = \"gone\"")
        .raw("[[routes]]\npath = \"/empty\"\nallow = \"everyone\"\nupstream = \"empty\"")
        .start();
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        let answer = gateway.client().request(method, "/x?y").body("abc").send();
        assert_eq!((answer.status, answer.text().as_str()), (410, "<p>Gone</p>"), "{method}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), None, "everyone gets the same");
    }
    let head = gateway.client().request("HEAD", "/x").send();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (410, Some("11"), 0));
    let empty = gateway.get("/empty").send();
    assert_eq!((empty.status, empty.header("content-type"), empty.body.len()), (204, None, 0));
}

#[test]
fn what_only_some_may_see_stays_out_of_shared_caches() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("page.html"), "<p>Hello</p>").expect("a file can be written");
    let provider = Provider::start_with(ProviderOptions {
        clients: vec![Client {
            redirects: Redirects::LoopbackOr(vec![PUBLIC.to_owned()]),
            ..Client::development(CLIENT_ID, CLIENT_SECRET)
        }],
        ..ProviderOptions::default()
    });
    let config = GatewayConfig::on_loopback();
    let public_url = config.public_url().to_owned();
    let gateway = config
        .client(provider.issuer(), CLIENT_ID, CLIENT_SECRET)
        .raw(&format!("[upstreams.files]\nfiles = {:?}", folder.path()))
        .raw("[upstreams.fixed]\nrespond = 200\nbody = \"well\"")
        .route("/private/*", "\"signed-in\"", "files")
        .route("/*", "\"signed-in\"", "fixed")
        .raw(
            "[[routes]]\npath = \"/files/*\"\nallow = \"signed-in\"\nupstream = \"files\"\nstrip_prefix = \"/files\"\n\
             [[routes]]\npath = \"/public/*\"\nallow = \"everyone\"\nupstream = \"files\"\nstrip_prefix = \"/public\"\n\
             [[routes]]\npath = \"/open\"\nallow = \"everyone\"\nupstream = \"fixed\"",
        )
        .start();
    let at = |path: &str| format!("{public_url}{path}");
    for path in ["/files/page.html", "/fixed"] {
        let refused = gateway.get(path).header("Accept", "application/json").send();
        assert_eq!(refused.status, 401, "{path}");
        assert!(!refused.text().contains("Hello") && !refused.text().contains("well"));
    }
    let mut browser = Browser::new();
    let page = browser.sign_in("alice", &at("/files/page.html"));
    assert_eq!((page.response.status, page.text().as_str()), (200, "<p>Hello</p>"), "{}", gateway.logs());
    for (path, cache) in [
        ("/files/page.html", Some("private")),
        ("/fixed", Some("private")),
        ("/public/page.html", None),
        ("/open", None),
    ] {
        let answer = browser.peek(&at(path));
        assert_eq!((answer.status, answer.header("cache-control")), (200, cache), "{path}");
    }
    let missing = browser.peek(&at("/private/none"));
    assert_eq!(missing.status, 404);
    assert!(missing.header("cache-control").is_some_and(|value| value.contains("no-store")));
}
