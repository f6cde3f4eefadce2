//! Upstreams that fail: what breaks off arrives broken, never as a short whole, and everything else is a page of ours with the
//! request's name. Belongs to classes 11 and 18.

use std::net::TcpListener;
use std::time::Duration;

use super::Arena;
use crate::support::answer::{Answer, Ending};
use crate::support::client::Response;
use crate::support::free_port;

/// A page of ours that names the request as the log does.
#[track_caller]
fn assert_fault(arena: &Arena, answer: &Response, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let id = answer.header("x-request-id").expect("an answer of ours names the request").to_owned();
    assert!(answer.text().contains(&id), "{}", answer.text());
    assert!(answer.header("cache-control").is_some_and(|value| value.contains("no-store")));
    super::eventually("the log names it", || arena.gateway.logs().contains(&id));
}

#[test]
fn class_18_a_body_that_breaks_off_arrives_broken() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    let half = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nonly a part";
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (name, raw) in [
        ("a length that is not reached", half.to_owned()),
        ("chunks without the last", chunked.to_owned()),
        ("half a chunk", format!("{chunked}ff\r\nrest")),
        ("a chunk size that is none", format!("{chunked}zz\r\n")),
        ("an end without its line", format!("{chunked}0\r\n")),
    ] {
        for ending in [Ending::Close, Ending::Reset] {
            arena.upstream.on("/app/breaks", Answer::raw(raw.clone(), ending));
            let answer = arena.get("/app/breaks").header("Cookie", &alice).try_send();
            match answer {
                Err(_) => {}
                Ok(answer) => assert_eq!(answer.status, 502, "{name}, {ending:?}: a whole answer {:?}", answer.text()),
            }
        }
        // Nothing of it is left for whoever asks next.
        let next = arena.get("/app/next").header("Cookie", &alice).send();
        assert_eq!(next.json()["target"], "/app/next");
    }
}

/// A body that ends with the connection can't tell its end from a break: what comes is passed on, and a reset is one.
#[test]
fn class_18_a_body_until_the_end_of_the_connection_comes_whole() {
    let arena = Arena::new();
    let raw = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it";
    arena.upstream.on("/public/closes", Answer::raw(raw, Ending::Close));
    let answer = arena.get("/public/closes").send();
    assert_eq!((answer.status, answer.text().as_str()), (200, "all of it"));
}

#[test]
fn class_18_what_is_no_http_is_502() {
    let arena = Arena::new();
    for raw in [
        "",
        "\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Half",
    ] {
        for ending in [Ending::Close, Ending::Reset] {
            arena.upstream.on("/public/odd", Answer::raw(raw, ending));
            assert_fault(&arena, &arena.get("/public/odd").send(), 502);
        }
    }
    assert_eq!(arena.get("/public/next").send().status, 200);
}

/// Bytes behind an answer are not the beginning of the next one.
#[test]
fn class_18_bytes_behind_an_answer_answer_nobody() {
    let arena = Arena::with(|config| config.top("workers = 1"));
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
    ] {
        arena.upstream.on("/public/two", Answer::raw(format!("{first}{poison}"), Ending::KeepOpen));
        for _ in 0..5 {
            let answer = arena.get("/public/two").send();
            assert!(!answer.text().contains("poisoned"), "{}", answer.text());
            let next = arena.get("/public/next").send();
            assert!(matches!(next.status, 200 | 502));
            assert!(!next.text().contains("poisoned"), "the next request got bytes that were left over");
        }
    }
}

#[test]
fn class_18_an_upstream_that_is_down_is_502_with_the_requests_name() {
    let port = free_port();
    let arena = Arena::with(|config| {
        config.raw(&format!("[upstreams.gone]\nurl = \"http://127.0.0.1:{port}\"")).route(
            "/gone/*",
            "\"everyone\"",
            "gone",
        )
    });
    for accept in ["text/html", "application/json"] {
        assert_fault(&arena, &arena.get("/gone/x").header("Accept", accept).send(), 502);
    }
    let posted = arena.request("POST", "/gone/x").body("never sent").send();
    assert_fault(&arena, &posted, 502);
    arena.assert_nothing_passed("an upstream that is down");
}

#[test]
fn class_18_an_upstream_that_is_silent_is_504() {
    // One that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("it is bound");
    let arena = Arena::with(|config| {
        config.raw(&format!("[upstreams.slow]\nurl = \"http://{address}\"\nresponse_timeout = \"300ms\"")).route(
            "/slow/*",
            "\"everyone\"",
            "slow",
        )
    });
    assert_fault(&arena, &arena.get("/slow/x").header("Accept", "text/html").send(), 504);
    assert_fault(&arena, &arena.request("POST", "/slow/x").body("x").send(), 504);
}

/// RFC 9110, section 9.2.2: what may have been done is not done again.
#[test]
fn class_18_nothing_is_sent_twice() {
    let arena = Arena::with(|config| config.top("workers = 1"));
    for method in ["GET", "POST", "PUT"] {
        arena.upstream.forget();
        arena.upstream.on_each("/public/once", vec![Answer::raw("", Ending::Reset), Answer::body("again")]);
        // A kept connection, so that there is one that might be tried anew.
        assert_eq!(arena.get("/public/warm").send().status, 200);
        let answer = arena.request(method, "/public/once").body("x").send();
        assert_eq!(answer.status, 502, "{method}");
        assert!(arena.upstream.comes_to(2));
        crate::support::pause(Duration::from_millis(100));
        let times = arena.upstream.requests().iter().filter(|seen| seen.target == "/public/once").count();
        assert_eq!(times, 1, "{method} was sent {times} times");
    }
}
