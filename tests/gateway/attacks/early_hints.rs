//! An upstream's early hints (RFC 8297) reach whoever speaks HTTP/1.1 ahead of the answer, and nothing else is ever taken for one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use super::Arena;
use crate::support::answer::{Answer, Ending, pattern};
use crate::support::client::read_response;
use crate::support::wire::Reader;

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nLink: </code.js>; rel=preload\r\n\
    Content-Security-Policy: style-src 'self'\r\nSet-Cookie: __Host-portcullis=forged\r\nX-Forwarded-User: root\r\nContent-Length: 5\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nthe answer";

fn get(arena: &Arena, path: &str, version: &str) -> String {
    format!("GET {path} {version}\r\nHost: {}\r\n\r\n", arena.host())
}

#[test]
fn hints_come_before_there_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let (tell, told) = mpsc::channel();
    let upstream = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the gateway connects");
        let mut reader = Reader::new(stream.try_clone().expect("a socket can be cloned"));
        reader.head().expect("a head").expect("a head");
        stream.write_all(HINTS.as_bytes()).expect("the gateway reads");
        told.recv().expect("the visitor has the hints");
        stream.write_all(ANSWER.as_bytes()).expect("the gateway reads");
        // Until the gateway has read it.
        let _closed = stream.read(&mut [0]);
    });
    let arena = Arena::with(|config| {
        config.raw(&format!("[upstreams.hinting]\nurl = \"http://{address}\"")).route(
            "/hinting/*",
            "\"everyone\"",
            "hinting",
        )
    });
    let mut stream = arena.gateway.client().connect();
    stream.write_all(get(&arena, "/hinting/x", "HTTP/1.1").as_bytes()).expect("the gateway reads");
    let mut reader = Reader::new(stream);
    let hints = reader.head().expect("hints").expect("hints");
    assert_eq!(hints.first_line, "HTTP/1.1 103 Early Hints");
    assert_eq!(hints.all("link"), ["</style.css>; rel=preload", "</code.js>; rel=preload"]);
    assert_eq!(hints.header("content-security-policy"), Some("style-src 'self'"));
    assert_eq!(hints.headers.len(), 3, "{:?}", hints.headers);
    tell.send(()).expect("the upstream waits");
    let answer = read_response(&mut reader, "GET").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "the answer"));
    assert_eq!(answer.header("link"), None);
    drop(arena);
    upstream.join().expect("the upstream ends");
}

#[test]
fn hints_that_come_with_the_answer_stand_before_it() {
    let arena = Arena::new();
    arena.upstream.on("/public/hints", Answer::raw(format!("{HINTS}{HINTS}{ANSWER}"), Ending::KeepOpen));
    arena.upstream.on(
        "/public/other",
        Answer::raw(format!("HTTP/1.1 102 Processing\r\nLink: </x>\r\n\r\n{ANSWER}"), Ending::KeepOpen),
    );
    let mut stream = arena.gateway.client().connect();
    let mut reader = Reader::new(stream.try_clone().expect("a socket can be cloned"));
    for (path, interim) in [("/public/hints", &[103, 103][..]), ("/public/other", &[]), ("/public/hints", &[103, 103])]
    {
        stream.write_all(get(&arena, path, "HTTP/1.1").as_bytes()).expect("the gateway reads");
        let answer = read_response(&mut reader, "GET").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str(), &*answer.interim), (200, "the answer", interim), "{path}");
        assert!(answer.head.all("set-cookie").is_empty());
    }
    let old = arena.gateway.client().raw(get(&arena, "/public/hints", "HTTP/1.0").as_bytes()).expect("an answer");
    assert_eq!((old.status, old.interim), (200, Vec::new()), "HTTP/1.0 has no interim answers");
}

/// A hint in the middle of the answer before it would be that answer's body (RFC 9112, section 9.3.2). That hyper begins no request before the
/// last answer is out keeps them apart too.
#[test]
fn hints_of_a_pipelined_request_stay_behind_the_answer_before() {
    const LENGTH: u64 = 8 * 1024 * 1024;
    let arena = Arena::new();
    arena.upstream.on("/public/big", Answer::big(LENGTH));
    arena.upstream.on("/public/hints", Answer::raw(format!("{HINTS}{ANSWER}"), Ending::KeepOpen));
    let mut stream = arena.gateway.client().connect();
    let both = get(&arena, "/public/big", "HTTP/1.1") + &get(&arena, "/public/hints", "HTTP/1.1");
    stream.write_all(both.repeat(3).as_bytes()).expect("the gateway reads");
    let mut reader = Reader::new(stream);
    for _ in 0..3 {
        let big = read_response(&mut reader, "GET").expect("an answer");
        assert!(big.interim.is_empty() && big.body == pattern(0, LENGTH), "{} bytes", big.body.len());
        let hinted = read_response(&mut reader, "GET").expect("an answer");
        assert_eq!((hinted.status, hinted.text().as_str(), &*hinted.interim), (200, "the answer", &[103][..]));
    }
}
