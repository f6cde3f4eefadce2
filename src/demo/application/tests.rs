//! What the sample application promises.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::demo::application::{SampleApplication, start};
use crate::demo::testing::{Heard, request};

async fn running() -> SampleApplication {
    start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

async fn get(application: &SampleApplication, target: &str, headers: &[(&str, &str)]) -> Heard {
    request(application.address(), "GET", target, headers, "").await.unwrap()
}

#[tokio::test]
async fn the_page_shows_who_is_here_and_escapes_what_it_was_sent() {
    let application = running().await;
    let heard = get(&application, "/reports/2026?quarter=3", &[]).await;
    assert!(heard.text().contains("Nobody is signed in") && heard.text().contains("/reports/2026?quarter=3"));
    let headers = [
        ("x-forwarded-user", "alice"),
        ("x-forwarded-roles", "user,admin"),
        ("x-odd", "<script>alert(1)</script>"),
        ("user-agent", "\"><img src=x>"),
    ];
    let heard = get(&application, "/admin/?a&b", &headers).await;
    let text = heard.text();
    assert!(text.contains("role admin") && text.contains("<tr class=\"identity\"><th scope=\"row\">x-forwarded-user"));
    assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
    assert!(text.contains("/admin/?a&#38;b"));
    let policy = heard.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    for path in ["/", "/public/hello", "/.auth/me", "/form"] {
        assert_eq!(get(&application, path, &[]).await.status, 200);
    }
}

#[tokio::test]
async fn a_posted_form_is_shown() {
    let application = running().await;
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let heard = request(application.address(), "POST", "/form", &headers, "message=a%3Cb&x=").await.unwrap();
    assert!(heard.text().contains("<td>a&#60;b</td>"), "{}", heard.text());
    let long = "a".repeat(100_000);
    assert_eq!(request(application.address(), "POST", "/form", &headers, long).await.unwrap().status, 413);
}

#[tokio::test]
async fn echo_tells_the_request_as_it_came() {
    let application = running().await;
    let headers = [("b", "1"), ("a", "2"), ("c", "3"), ("c", "4")];
    let target = "/echo?x=%2F;&&y=%zz";
    let heard = request(application.address(), "PUT", target, &headers, "abc").await.unwrap().json();
    assert_eq!((&heard["method"], &heard["target"]), (&json!("PUT"), &json!(target)));
    assert_eq!(heard["body_bytes"], 3);
    assert_eq!(heard["body_sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let names: Vec<&str> = heard["headers"].as_array().unwrap().iter().map(|pair| pair[0].as_str().unwrap()).collect();
    assert!(names.windows(4).any(|window| window == ["b", "a", "c", "c"]), "{names:?}");
}

#[tokio::test]
async fn long_bodies_go_both_ways_in_pieces() {
    let application = running().await;
    let heard = get(&application, "/download?bytes=1000003", &[]).await;
    assert_eq!(heard.header("content-length"), Some("1000003"));
    assert_eq!(heard.body.len(), 1_000_003);
    assert!(heard.body.iter().zip((0..251).cycle()).all(|(byte, expected)| *byte == expected));
    let sent = request(application.address(), "POST", "/upload", &[], heard.body.clone()).await.unwrap().json();
    assert_eq!(sent["bytes"], 1_000_003);
    assert_eq!(get(&application, "/download", &[]).await.status, 400);
    assert_eq!(get(&application, "/download?bytes=99999999999999", &[]).await.status, 400);
}

#[tokio::test]
async fn statuses_and_waits_are_as_asked() {
    let application = running().await;
    for (path, status) in [("/status/204", 204), ("/status/304", 304), ("/status/503", 503), ("/status/101", 400)] {
        assert_eq!(get(&application, path, &[]).await.status, status, "{path}");
    }
    assert_eq!(get(&application, "/slow?ms=1", &[]).await.status, 200);
}

#[tokio::test]
async fn events_come_while_the_answer_goes_on() {
    let application = running().await;
    let stream = TcpStream::connect(application.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let ask = http::Request::get("/events").header("host", "app").body(String::new()).unwrap();
    let mut answer = sender.send_request(ask).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let first = tokio::time::timeout(Duration::from_secs(5), answer.frame()).await.unwrap().unwrap().unwrap();
    assert!(first.data_ref().unwrap().starts_with(b"id: 0\ndata: {\"time\":"), "{first:?}");
    driver.abort();
}

#[tokio::test]
async fn a_websocket_sends_back_what_it_gets_and_ends_with_the_application() {
    let application = running().await;
    assert_eq!(get(&application, "/ws", &[]).await.status, 426);
    let mut stream = TcpStream::connect(application.address()).await.unwrap();
    let handshake = b"GET /ws HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x82\0\0\0\0hi";
    stream.write_all(handshake).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\x81\x02hi") {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
    }
    assert!(heard.starts_with(b"HTTP/1.1 101 "));
    application.stop().await;
    let after = tokio::time::timeout(Duration::from_secs(5), stream.read_buf(&mut heard)).await.unwrap();
    assert!(matches!(after, Ok(0) | Err(_)), "{after:?}");
}
