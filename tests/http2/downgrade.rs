//! From HTTP/2 to HTTP/1.1 nothing is smuggled: what HTTP/1.1 would read as framing, as another header or as another request is
//! refused, and the upstream hears nothing of it.

use crate::client::{Client, h2c, open_to_all, run};
use crate::frames::{Outcome, Raw, request};
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    authority: String,
}

fn scene() -> Scene {
    let upstream = Upstream::start();
    let gateway = open_to_all(&upstream.url()).start();
    let authority = gateway.url().trim_start_matches("http://").to_owned();
    Scene { gateway, upstream, authority }
}

impl Scene {
    fn ask(&self, fields: &[(&[u8], &[u8])]) -> Outcome {
        let mut raw = Raw::connect(self.gateway.url());
        raw.headers(1, fields, true).expect("it can be sent");
        raw.outcome(1)
    }

    /// Sends the usual pseudo-header fields for `/x` and then these.
    fn ask_with(&self, fields: &[(&[u8], &[u8])]) -> Outcome {
        let mut all = request("GET", "/x", &self.authority);
        all.extend_from_slice(fields);
        self.ask(&all)
    }

    fn assert_refused(&self, outcome: &Outcome, what: &str) {
        assert!(outcome.is_refusal(), "{what}: {outcome:?}");
        assert_eq!(self.upstream.count(), 0, "{what}: {:?}", self.upstream.requests());
        assert_eq!(self.upstream.connections(), 0, "{what}: not even a connection is opened");
    }
}

#[test]
fn fields_that_would_end_a_line_or_frame_a_body_reach_nobody() {
    let scene = scene();
    let bad: &[(&[u8], &[u8])] = &[
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"x-forwarded-user"),
        (b"connection", b"close"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"keep-alive"),
        (b"upgrade", b"websocket"),
        (b"te", b"chunked"),
        (b"x-a", b"b\r\nx-forwarded-user: root"),
        (b"x-a", b"b\r\n\r\nGET /admin HTTP/1.1\r\nhost: x\r\n\r\n"),
        (b"x-a", b"b\nx-forwarded-user: root"),
        (b"x-a", b"b\rx"),
        (b"x-a", b"b\0c"),
        (b"x-a", b" b"),
        (b"x-a", b"b\t"),
        (b"x-a\r\nx-forwarded-user", b"root"),
        (b"x-a: b\r\nx-forwarded-user", b"root"),
        (b"x-a:", b"b"),
        (b"x a", b"b"),
        (b"x-a\0", b"b"),
        (b"X-Forwarded-User", b"root"),
        (b"", b"b"),
        (b":x-forwarded-user", b"root"),
        (b":path", b"/admin"),
        (b":method", b"POST"),
        (b":status", b"200"),
        (b"content-length", b"+5"),
        (b"content-length", b"0x5"),
        (b"content-length", b"5, 5"),
        (b"expect", b"200-ok"),
    ];
    for (name, value) in bad {
        let what = format!("{} = {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        scene.assert_refused(&scene.ask_with(&[(name, value)]), &what);
    }
    scene.assert_refused(&scene.ask_with(&[(b"content-length", b"0"), (b"content-length", b"0")]), "two lengths");
    scene.assert_refused(&scene.ask_with(&[(b"content-length", b"0"), (b"content-length", b"5")]), "two lengths");
}

#[test]
fn a_target_is_one_path_of_one_host() {
    let scene = scene();
    for path in [
        "/a b",
        "/a\r\nx-forwarded-user: root",
        "/a HTTP/1.1\r\nhost: evil",
        "/a\tb",
        "/a\0",
        "/a\n",
        "",
        "a",
        "*",
        "http://evil.example/",
        "//evil.example/",
        "/../admin",
        "/%2e%2e/admin",
    ] {
        scene.assert_refused(&scene.ask(&request("GET", path, &scene.authority)), path);
    }
    for authority in ["evil.example", "a b", "a/b", "", "a@b", "a,b", "a\r\nb"] {
        scene.assert_refused(&scene.ask(&request("GET", "/x", authority)), authority);
    }
    scene.assert_refused(&scene.ask_with(&[(b"host", b"evil.example")]), "Host and :authority differ");
    scene.assert_refused(
        &scene.ask_with(&[(b"host", scene.authority.as_bytes()), (b"host", b"evil.example")]),
        "two of Host",
    );
    for method in ["G ET", "GET / HTTP/1.1\r\nx: y", "get", "CONNECT", "TRACE", ""] {
        scene.assert_refused(&scene.ask(&request(method, "/x", &scene.authority)), method);
    }
    let mut ftp = request("GET", "/x", &scene.authority);
    ftp[1] = (b":scheme", b"ftp");
    scene.assert_refused(&scene.ask(&ftp), "scheme");
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_never_taken_for_a_whole_one() {
    let scene = scene();
    for (said, sent) in [("5", &b"abc"[..]), ("2", b"abcdef"), ("0", b"a"), ("30", b"GET /admin HTTP/1.1\r\n\r\n")] {
        let mut raw = Raw::connect(scene.gateway.url());
        let mut fields = request("POST", "/x", &scene.authority);
        fields.push((b"content-length", said.as_bytes()));
        raw.headers(1, &fields, false).unwrap();
        // The gateway may have said no already.
        let _sent = raw.data(1, sent, true);
        let outcome = raw.outcome(1);
        assert!(outcome.is_refusal(), "{said}: {outcome:?}");
    }
    // Whatever reached the upstream has come to its end there.
    assert!(crate::support::comes_true(|| scene.upstream.count() == scene.upstream.begun()));
    for seen in scene.upstream.requests() {
        assert!(!seen.whole, "{:?}", seen.head.first_line);
        assert_eq!(seen.target, "/x");
    }
    // The connections that it came over are not used again.
    run(async {
        let client = Client::connect(scene.gateway.url()).await;
        assert_eq!(client.get("/after").await.unwrap().status, 200);
    });
    assert_eq!(scene.upstream.last_request().target, "/after");
}

#[test]
fn a_cancelled_upload_is_no_short_upload() {
    let scene = scene();
    // CANCEL, and NO_ERROR, which some would take for an end.
    for code in [8, 0] {
        let before = scene.upstream.begun();
        let mut raw = Raw::connect(scene.gateway.url());
        raw.headers(1, &request("POST", "/x", &scene.authority), false).unwrap();
        raw.data(1, b"half of it", false).unwrap();
        assert!(crate::support::comes_true(|| scene.upstream.begun() > before), "it is on its way");
        raw.reset(1, code).unwrap();
    }
    assert!(scene.upstream.comes_to(2), "{:?}", scene.upstream.requests());
    assert!(scene.upstream.requests().iter().all(|seen| !seen.whole), "{:?}", scene.upstream.requests());
}

#[test]
fn crumbs_of_cookies_become_one_line_and_ours_are_not_among_them() {
    let scene = scene();
    let crumbs: &[(&[u8], &[u8])] = &[
        (b"cookie", b"a=1"),
        (b"cookie", b"portcullis=forged"),
        (b"cookie", b"b=2; c=3"),
        (b"x-a", b"1"),
        (b"cookie", b"d=4"),
    ];
    assert_eq!(scene.ask_with(crumbs), Outcome::Answered(200));
    let seen = scene.upstream.only_request();
    let cookies: Vec<&str> = seen
        .head
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        .map(|(_, value)| &**value)
        .collect();
    assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
}

#[test]
fn identity_over_http2_comes_from_the_gateway_alone() {
    let scene = scene();
    let forged: &[(&[u8], &[u8])] = &[
        (b"x-forwarded-user", b"root"),
        (b"x_forwarded_email", b"root@example.com"),
        (b"x-forwarded.groups", b"root"),
        (b"remote-user", b"root"),
        (b"x-forwarded-for", b"6.6.6.6"),
        (b"forwarded", b"for=6.6.6.6"),
    ];
    assert_eq!(scene.ask_with(forged), Outcome::Answered(200));
    let seen = scene.upstream.only_request();
    assert!(!seen.mentions("root") && !seen.mentions("6.6.6.6"), "{:?}", seen.head.headers);
    assert_eq!(seen.head.first_line, "GET /x HTTP/1.1");
    assert_eq!(seen.header("via"), Some("2 portcullis"), "{:?}", seen.head.headers);
}

#[test]
fn no_session_is_no_session_over_http2_too() {
    let upstream = Upstream::start();
    let gateway = h2c().upstream("app", &upstream.url()).start();
    run(async {
        let client = Client::connect(gateway.url()).await;
        let script = client.request(http::Method::GET, "/x").header("accept", "application/json");
        assert_eq!(client.send(script, None).await.unwrap().status, 401);
        let call = client
            .request(http::Method::POST, "/x.Y/Z")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let refusal = client.send(call, Some("abc".into())).await.unwrap();
        assert_eq!(refusal.status, 200);
        assert_eq!(refusal.headers["grpc-status"], "16");
        assert_eq!(refusal.headers["content-type"], "application/grpc");
        assert!(refusal.body.is_empty() && refusal.trailers.is_none());
    });
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_upgrade_to_h2c_goes_nowhere() {
    let scene = scene();
    let answer = scene
        .gateway
        .get("/x")
        .headers(&[
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ])
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = scene.upstream.only_request();
    for name in ["upgrade", "http2-settings"] {
        assert_eq!(seen.header(name), None, "{:?}", seen.head.headers);
    }
    assert!(!seen.mentions("h2c"));
}
