//! The test support itself: a check that can't fail proves nothing, so what the other tests lean on is tried here.

use std::time::Duration;

use url::Url;

use crate::support::answer::{Answer, Ending, pattern};
use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::forms;
use crate::support::jar::Jar;
use crate::support::sha256;
use crate::support::upstream::Upstream;
use crate::support::websocket::WebSocket;

#[test]
fn the_upstream_keeps_the_exact_bytes() {
    let upstream = Upstream::start();
    let client = Client::new(&upstream.url());
    let answer = client.request("POST", "/a%2Fb;x=1?q=%20").header("x-ODD-Case", "One").body("abc").send();
    let echo = answer.json();
    assert_eq!(echo["target"], "/a%2Fb;x=1?q=%20");
    assert_eq!(echo["sha256"], sha256(b"abc"));
    assert_eq!(echo["bytes"], 3);
    let recorded = upstream.only_request();
    assert!(
        recorded.head.headers.contains(&("x-ODD-Case".to_owned(), "One".to_owned())),
        "{:?}",
        recorded.head.headers
    );
    assert!(recorded.mentions("x-ODD-Case: One\r\n"));
    assert_eq!(recorded.body, b"abc");
    assert_eq!(
        upstream.bytes(),
        client.request("POST", "/a%2Fb;x=1?q=%20").header("x-ODD-Case", "One").body("abc").bytes().len() as u64
    );
}

#[test]
fn pipelined_requests_get_their_answers_in_order_over_one_connection() {
    let upstream = Upstream::start();
    let bytes = b"GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = Client::new(&upstream.url()).raw_all(bytes, Duration::from_secs(5));
    let targets: Vec<_> = answers.iter().map(|answer| answer.json()["target"].clone()).collect();
    assert_eq!(targets, ["/one", "/two"]);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn chunks_trailers_and_resets_arrive_as_scripted() {
    let upstream = Upstream::start();
    upstream.on("/chunks", Answer::chunks(&["ab", "cde"], Duration::ZERO).trailer("X-Sum", "5"));
    upstream.on("/reset", Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Ending::Reset));
    upstream.on_each("/turns", vec![Answer::status(503), Answer::body("well")]);
    let client = Client::new(&upstream.url());
    let chunked = client.get("/chunks").send();
    assert_eq!((chunked.text().as_str(), chunked.trailers), ("abcde", vec![("X-Sum".to_owned(), "5".to_owned())]));
    assert!(client.get("/reset").try_send().is_err(), "a body that was cut off must not look whole");
    assert_eq!(client.get("/turns").send().status, 503);
    assert_eq!(client.get("/turns").send().text(), "well");
    assert_eq!(client.get("/turns").send().text(), "well");
}

#[test]
fn large_bodies_stream_both_ways() {
    let upstream = Upstream::start();
    upstream.on("/big", Answer::big(1_000_000));
    let client = Client::new(&upstream.url());
    assert_eq!(client.get("/big").send().body, pattern(0, 1_000_000));
    let mut sent = 0;
    let answer = client.request("PUT", "/up").stream(1_000_000, || {
        let piece = pattern(sent, 60_000);
        sent += 60_000;
        piece
    });
    assert_eq!(answer.expect("it is answered").json()["sha256"], sha256(&pattern(0, 1_000_000)));
}

#[test]
fn a_websocket_is_echoed() {
    let upstream = Upstream::start();
    upstream.on("/socket", Answer::websocket());
    let client = Client::new(&upstream.url());
    let mut socket = WebSocket::open(client.get("/socket")).expect("it opens");
    for length in [1, 125, 126, 70_000] {
        let text = "x".repeat(length);
        assert_eq!(socket.ask(&text).expect("it is echoed"), text);
    }
    assert!(socket.close().expect("it closes"));
    assert!(WebSocket::open(client.get("/")).is_err());
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

#[test]
fn the_jar_refuses_what_browsers_refuse() {
    let loopback = url("http://127.0.0.1:8080/.auth/callback/corp");
    let plain = url("http://app.example.com/");
    let cases = [
        (&loopback, "__Host-a=1; Path=/; Secure", true),
        (&loopback, "__Host-a=1; Secure", false),
        (&loopback, "__Host-a=1; Path=/", false),
        (&loopback, "__Host-a=1; Path=/; Secure; Domain=127.0.0.1", false),
        (&plain, "a=1; Secure", false),
        (&plain, "a=1; Domain=example.com", true),
        (&plain, "a=1; Domain=other.com", false),
        (&plain, "a=1; SameSite=None", false),
    ];
    for (place, field, taken) in cases {
        let mut jar = Jar::default();
        jar.set(place, field);
        assert_eq!(jar.all().len() == 1, taken, "{place} {field}: {:?}", jar.refused());
    }
    let mut jar = Jar::default();
    jar.set(&loopback, &format!("a={}; Path=/", "x".repeat(4096)));
    assert!(jar.all().is_empty(), "browsers drop a cookie above 4096 bytes");
}

#[test]
fn the_jar_sends_a_cookie_where_it_belongs_and_nowhere_else() {
    let mut jar = Jar::default();
    jar.set(&url("https://app.example.com/a/b"), "one=1");
    jar.set(&url("https://app.example.com/"), "two=2; Path=/; Secure");
    assert_eq!(jar.field(&url("https://app.example.com/a/c")).as_deref(), Some("one=1; two=2"));
    assert_eq!(jar.field(&url("https://app.example.com/ab")).as_deref(), Some("two=2"));
    assert_eq!(jar.field(&url("http://app.example.com/")), None);
    assert_eq!(jar.field(&url("https://example.com/a/c")), None);
    jar.set(&url("https://app.example.com/"), "two=; Path=/; Max-Age=0");
    assert_eq!(jar.field(&url("https://app.example.com/ab")), None);
}

#[test]
fn the_browser_walks_through_redirects_and_forms_of_several_hosts() {
    let app = Upstream::start();
    let login = Upstream::start();
    let page = r#"<form method=post action="/check?a=1&amp;b=2"><input type=hidden name=flow value="f&#39;1"><input name="username">
        <input type='password' name='password'><button name=user value=bob>Bob</button></form>"#;
    login.on("/login", Answer::body(page).header("Set-Cookie", "flow=1; Path=/; HttpOnly"));
    login.on("/check", Answer::status(303).header("Location", &format!("{}/.auth/callback?code=c", app.url())));
    app.on("/deep", Answer::status(302).header("Location", &format!("{}/login", login.url())));
    app.on("/.auth/callback", Answer::status(302).header("Location", "/home?x=1").header("Set-Cookie", "s=1; Path=/"));
    let mut browser = Browser::new();
    let page = browser.sign_in("alice", &format!("{}/deep", app.url()));
    assert_eq!(page.url.as_str(), format!("{}/home?x=1", app.url()));
    let checked = login.last_request();
    assert_eq!(checked.target, "/check?a=1&b=2");
    assert_eq!(checked.body, b"flow=f%271&username=alice&password=any+password");
    assert_eq!(checked.header("cookie"), Some("flow=1"));
    assert_eq!(app.last_request().header("cookie"), Some("flow=1; s=1"), "browsers don't keep ports apart");
    assert_eq!(browser.trail.len(), 3);
}

#[test]
fn buttons_and_links_are_found() {
    let page = r#"<a class=x href="/login/corp?x=1&amp;y=2">Corp</a><form id=one></form><button form="one" name=user value=alice>A</button>"#;
    assert_eq!(forms::links(page), ["/login/corp?x=1&y=2"]);
    let form = forms::forms(page).remove(0);
    assert_eq!(form.filled_for("alice"), [("user".to_owned(), "alice".to_owned())]);
    assert!(form.filled_for("bob").is_empty());
}
