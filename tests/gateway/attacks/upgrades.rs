//! Classes 10 and 11 over HTTP/1.1, and WebSockets: no upgrade passes but that one, and it takes nothing of ours along.

use super::{Arena, assert_denied};
use crate::support::answer::{Answer, Ending};
use crate::support::websocket::WebSocket;

const HANDSHAKE: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4), with an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Prior knowledge is taken as HTTP/2 or refused. Behind a request it is no request of its own either way.
#[test]
fn class_10_the_preface_of_http2_smuggles_nothing() {
    let arena = Arena::new();
    let hidden = format!("GET /public/hidden HTTP/1.1\r\nHost: {}\r\n\r\n", arena.host());
    let mut preface = PREFACE.to_vec();
    preface.extend_from_slice(hidden.as_bytes());
    let mut stream = arena.gateway.client().connect();
    std::io::Write::write_all(&mut stream, &preface).expect("the gateway takes bytes");
    // Whatever comes back ends the connection: the request behind the preface is neither frame nor request.
    let _rest = crate::support::wire::Reader::new(stream).rest();
    arena.assert_nothing_passed("a preface");

    let behind =
        [format!("GET /public/first HTTP/1.1\r\nHost: {}\r\n\r\n", arena.host()).as_bytes(), &preface].concat();
    let answers = arena.answers(&behind, 3);
    assert_eq!(answers.first().map(|answer| answer.status), Some(200));
    assert!(answers[1..].iter().all(|answer| answer.status >= 400), "{answers:?}");
    assert_eq!(arena.upstream.only_request().target, "/public/first");
}

/// A whole HTTP/1.1 request whose fields are those of HTTP/2.
#[test]
fn class_10_pseudo_headers_are_no_headers_of_http1() {
    let arena = Arena::new();
    for field in [":path: /admin/x", ":authority: evil.example", ":method: DELETE", ":scheme: https"] {
        let answer = arena.raw(&format!("GET /public/x HTTP/1.1\r\nHost: HOST\r\n{field}\r\n\r\n"));
        assert_eq!(answer.status, 400, "{field}");
    }
    arena.assert_nothing_passed("a pseudo-header");
}

#[test]
fn class_11_an_upgrade_to_h2c_goes_no_further() {
    let arena = Arena::new();
    // An upstream that would take any upgrade.
    let alice = arena.cookie("alice");
    for (target, cookie) in [("/public/x", "a=b"), ("/app/x", alice.as_str())] {
        for fields in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            "Connection: HTTP2-Settings, upgrade\r\nUpgrade: H2C\r\nHTTP2_Settings: AAMAAABkAARAAAAAAAIAAAAA",
            "Connection: Upgrade\r\nUpgrade: h2c, websocket",
            "Connection: Upgrade\r\nUpgrade: websocket, h2c",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
            "Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: HTTP/2.0",
            "Connection: Upgrade\r\nUpgrade: connect-udp",
            "Connection: close\r\nUpgrade: websocket",
            "X-Connection: Upgrade\r\nUpgrade: websocket",
        ] {
            arena.upstream.forget();
            let answer = arena.raw(&format!(
                "GET {target} HTTP/1.1\r\nHost: HOST\r\nCookie: {cookie}\r\n{fields}\r\n{HANDSHAKE}\r\n"
            ));
            assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text());
            let seen = arena.upstream.only_request();
            for name in ["upgrade", "http2-settings", "http2_settings"] {
                assert_eq!(seen.header(name), None, "{fields:?}");
            }
            assert!(!seen.head.lists("connection", "upgrade"), "{fields:?}");
        }
    }
}

/// An upstream changes protocols though nobody asked: its answer is dropped, and so is the connection to it.
#[test]
fn class_11_an_upstream_that_changes_protocols_unasked_is_cut_off() {
    let arena = Arena::new();
    let hidden = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    for head in ["Connection: Upgrade\r\nUpgrade: h2c", "Connection: Upgrade\r\nUpgrade: websocket", "X-Nothing: 1"] {
        let raw = format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\n\r\n{hidden}");
        arena.upstream.on("/public/switch", Answer::raw(raw, Ending::KeepOpen));
        for fields in ["", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"] {
            let bytes = format!(
                "GET /public/switch HTTP/1.1\r\nHost: HOST\r\n{fields}\r\nGET /public/next HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
            );
            let answers = arena.answers(bytes.replace("HOST", arena.host()).as_bytes(), 2);
            assert_eq!(answers[0].status, 502, "{head}");
            assert!(!answers[0].text().contains("secret"));
            assert!(answers.get(1).is_none_or(|next| next.json()["target"] == "/public/next"), "{head}");
        }
    }
}

#[test]
fn class_11_a_websocket_takes_nothing_of_ours_along() {
    let arena = Arena::new();
    arena.upstream.on("/app/ws", Answer::websocket());
    let alice = arena.cookie("alice");
    let own = arena.gateway.url().to_owned();

    assert_denied(&WebSocket::open(arena.get("/app/ws")).err().expect("no session, no WebSocket"), "no session");
    let origins =
        ["http://evil.example", "null", "", "http://127.0.0.1", "https://127.0.0.1:1", &format!("{own}.evil.example")];
    for origin in origins {
        let request = arena.get("/app/ws").header("Cookie", &alice).header("Origin", origin);
        let answer = WebSocket::open(request).err().expect("another site's page gets none");
        assert_eq!(answer.status, 403, "{origin}");
        // Nor does it help to have the field dropped before it is looked at.
        let request = arena.raw(&format!(
            "GET /app/ws HTTP/1.1\r\nHost: HOST\r\nCookie: {alice}\r\nConnection: Upgrade, Origin\r\nOrigin: {origin}\r\n\
             Upgrade: websocket\r\n{HANDSHAKE}\r\n"
        ));
        assert_eq!(request.status, 403, "{origin}");
    }
    arena.assert_nothing_passed("a foreign WebSocket");

    let request = arena.get("/app/ws").header("Cookie", &format!("theme=dark; {alice}")).header("Origin", &own);
    let mut socket = WebSocket::open(request).map_err(|answer| answer.text()).expect("its own page gets one");
    assert_eq!(socket.ask("hello").expect("an echo"), "hello");
    let seen = arena.upstream.only_request();
    assert_eq!(seen.head.all("cookie"), ["theme=dark"]);
    assert_eq!(seen.head.all("x-forwarded-user"), ["alice"]);
    assert_eq!((seen.head.all("upgrade"), seen.head.all("connection")), (vec!["websocket"], vec!["Upgrade"]));
    assert!(socket.close().expect("it closes in order"));
}

/// A refused handshake leaves a connection on which nothing is left over.
#[test]
fn class_11_what_follows_a_refused_handshake_is_a_request_like_any() {
    let arena = Arena::new();
    arena.upstream.on("/public/plain", Answer::body("no WebSocket here"));
    for target in ["/app/ws", "/public/plain", "/nowhere"] {
        let bytes = format!(
            "GET {target} HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Requested-With: XMLHttpRequest\r\n\
             {HANDSHAKE}\r\nGET /admin/x HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
        );
        let answers = arena.answers(bytes.replace("HOST", arena.host()).as_bytes(), 2);
        for answer in answers.iter().skip(1) {
            assert_denied(answer, target);
        }
    }
    assert!(arena.upstream.requests().iter().all(|seen| seen.target == "/public/plain"));
    let with_body = arena.raw(&format!(
        "GET /public/plain HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{HANDSHAKE}Content-Length: 5\r\n\r\nhello"
    ));
    assert_eq!(with_body.status, 400);
}

#[test]
fn class_11_large_messages_go_through_both_ways() {
    let arena = Arena::new();
    arena.upstream.on("/public/ws", Answer::websocket());
    let mut socket = WebSocket::open(arena.get("/public/ws")).map_err(|answer| answer.text()).expect("it opens");
    for length in [0, 1, 125, 126, 65_535, 65_536, 1024 * 1024] {
        let text = "abcdefg\n".repeat(length / 8 + 1)[..length].to_owned();
        assert!(socket.ask(&text).expect("an echo") == text, "{length} bytes came back changed");
    }
    assert!(socket.close().expect("it closes in order"));
}
