//! Bodies pass as they come, both ways, and what a slow reader can't take waits where it is.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::{Arena, eventually};
use crate::support::answer::{Answer, pattern};
use crate::support::client::read_response;
use crate::support::wire::{Framing, Reader};
use crate::support::{pause, sha256};

const MIB: u64 = 1024 * 1024;
/// What the gateway may grow by for a large body, in KiB: buffers of both connections and what the allocator keeps for them, but
/// never the body.
const LITTLE: u64 = 16 * 1024;

#[test]
fn a_large_upload_to_a_slow_upstream_does_not_pile_up() {
    // It reads slowly at first, then all the rest.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let length = 100 * MIB;
    let reading = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the gateway connects");
        let mut answer = stream.try_clone().expect("a socket can be cloned");
        let mut reader = Reader::new(stream);
        reader.head().expect("a head").expect("a head");
        pause(Duration::from_millis(500));
        let mut pieces = 0_u32;
        let mut taken = 0_u64;
        reader
            .body(Framing::Length(length), &mut |part| {
                taken += part.len() as u64;
                pieces += 1;
                if pieces < 200 {
                    pause(Duration::from_millis(2));
                }
            })
            .expect("the whole body");
        answer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("the gateway reads");
        taken
    });
    let arena = Arena::with(|config| {
        config.raw(&format!("[upstreams.slow]\nurl = \"http://{address}\"")).route("/slow/*", "\"everyone\"", "slow")
    });
    assert_eq!(arena.get("/public/warm").send().status, 200);
    let before = arena.gateway.memory();
    let piece = pattern(0, 64 * 1024);
    let answer = arena.request("POST", "/slow/x").stream(length, || piece.clone()).expect("an answer");
    assert_eq!(answer.text(), "ok");
    assert_eq!(reading.join().expect("the upstream reads"), length);
    let grown = arena.gateway.memory().peak.saturating_sub(before.peak);
    assert!(grown < LITTLE, "the gateway grew by {grown} KiB for a body of {} KiB", length / 1024);
}

#[test]
fn a_large_answer_to_a_slow_reader_does_not_pile_up() {
    let arena = Arena::new();
    let length = 40 * MIB;
    arena.upstream.on("/public/big", Answer::big(length));
    assert_eq!(arena.get("/public/warm").send().status, 200);
    let before = arena.gateway.memory();
    let (answer, mut reader) = arena.get("/public/big").open().expect("an answer");
    assert_eq!(answer.header("content-length"), Some(length.to_string().as_str()));
    pause(Duration::from_millis(500));
    let mut at = 0_u64;
    reader
        .body(Framing::Length(length), &mut |part| {
            // Byte for byte where it is cheap, by length elsewhere.
            if at < MIB {
                assert!(part == pattern(at, part.len() as u64), "other bytes at {at}");
            }
            at += part.len() as u64;
        })
        .expect("the whole body");
    assert_eq!(at, length);
    let grown = arena.gateway.memory().peak.saturating_sub(before.peak);
    assert!(grown < LITTLE, "the gateway grew by {grown} KiB");
}

#[test]
fn a_chunked_upload_arrives_whole_and_streamed() {
    let arena = Arena::new();
    let mut stream = arena.gateway.client().connect();
    let head = format!("POST /public/up HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", arena.host());
    stream.write_all(head.as_bytes()).expect("the gateway reads");
    let mut whole = Vec::new();
    for number in 0..200_u64 {
        let piece = pattern(number, 1_000 + number);
        whole.extend_from_slice(&piece);
        let framed = [format!("{:x};n={number}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
        stream.write_all(&framed).expect("the gateway reads");
    }
    stream.write_all(b"0\r\n\r\n").expect("the gateway reads");
    let answer = read_response(&mut Reader::new(stream), "POST").expect("an answer");
    assert_eq!(answer.status, 200);
    let seen = arena.upstream.only_request();
    assert_eq!((seen.body_bytes, seen.body_sha256), (whole.len() as u64, sha256(&whole)));
}

#[test]
fn events_arrive_one_by_one() {
    let arena = Arena::new();
    // Between two events there is more time than a whole answer takes; buffered, the first would come with the last.
    let gap = Duration::from_secs(2);
    arena.upstream.on("/public/events", Answer::events(&["one", "two", "three"], gap));
    let (answer, reader) = arena.get("/public/events").header("Accept", "text/event-stream").open().expect("an answer");
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let mut reader = reader;
    let mut arrivals: Vec<(String, Duration)> = Vec::new();
    let began = portcullis::base::clock::instant();
    reader
        .body(Framing::Chunked, &mut |part| {
            arrivals.push((String::from_utf8_lossy(part).into_owned(), began.elapsed()));
        })
        .expect("the whole stream");
    let text: String = arrivals.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(text, "data: one\n\ndata: two\n\ndata: three\n\n");
    let when = |word: &str| arrivals.iter().find(|(text, _)| text.contains(word)).expect("it came").1;
    // However late a busy machine reads the first one.
    assert!(when("three") > when("one") + gap / 4, "{arrivals:?}");
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let arena = Arena::new();
    let mut stream = arena.gateway.client().connect();
    let head = format!(
        "POST /public/up HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        arena.host()
    );
    stream.write_all(head.as_bytes()).expect("the gateway reads");
    let mut reader = Reader::new(stream.try_clone().expect("a socket can be cloned"));
    let interim = reader.head().expect("an answer").expect("an answer");
    assert!(interim.first_line.starts_with("HTTP/1.1 100"), "{}", interim.first_line);
    stream.write_all(b"hello").expect("the gateway reads");
    assert_eq!(read_response(&mut reader, "POST").expect("an answer").status, 200);
    let seen = arena.upstream.only_request();
    assert_eq!((seen.body.as_slice(), seen.header("expect")), (&b"hello"[..], None));
}

/// Who is refused is not asked for the body first, and what they send all the same is no request.
#[test]
fn a_client_that_is_refused_is_not_asked_for_its_body() {
    let arena = Arena::new();
    let head = "POST /app/x HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nContent-Length: 37\r\n\r\n"
        .replace("HOST", arena.host());
    let mut stream = arena.gateway.client().connect();
    stream.write_all(head.as_bytes()).expect("the gateway reads");
    let mut reader = Reader::new(stream.try_clone().expect("a socket can be cloned"));
    let answer = read_response(&mut reader, "POST").expect("an answer");
    assert!(answer.interim.is_empty(), "{:?}", answer.interim);
    assert!(matches!(answer.status, 302 | 401), "{}", answer.status);
    let _closed = stream.write_all(b"GET /public/hidden HTTP/1.1\r\nHost: x\r\n\r\n");
    let _answered = read_response(&mut reader, "GET");
    assert!(arena.upstream.requests().iter().all(|seen| seen.target != "/public/hidden"));
    let odd = arena.get("/public/x").header("Expect", "200-ok").send();
    assert_eq!(odd.status, 417);
}

/// A client that goes away in the middle of its upload: the upstream never sees a whole one.
#[test]
fn an_upload_that_breaks_off_arrives_broken() {
    let arena = Arena::with(|config| config.top("workers = 1"));
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        arena.upstream.forget();
        let mut stream = arena.gateway.client().connect();
        let head = format!("POST /public/up HTTP/1.1\r\nHost: {}\r\n{framing}\r\n\r\n5\r\nhello\r\n", arena.host());
        let before = arena.upstream.begun();
        stream.write_all(head.as_bytes()).expect("the gateway reads");
        eventually("it is on its way", || arena.upstream.begun() > before);
        stream.shutdown(Shutdown::Both).expect("it can be closed");
        eventually("the upstream learns of it", || arena.upstream.count() == 1);
        assert!(!arena.upstream.only_request().whole, "{framing}: the upstream took a part for the whole");
        assert_eq!(arena.get("/public/next").send().json()["target"], "/public/next");
    }
}

/// A reader that goes away takes its answer with it, not the next one's.
#[test]
fn an_answer_that_nobody_reads_to_its_end_is_nobodys() {
    let arena = Arena::with(|config| config.top("workers = 1"));
    arena.upstream.on("/public/big", Answer::big(8 * MIB));
    for _ in 0..3 {
        let (answer, reader) = arena.get("/public/big").open().expect("an answer");
        assert_eq!(answer.status, 200);
        drop(reader);
        assert_eq!(arena.get("/public/next").send().json()["target"], "/public/next");
    }
    eventually("connections of abandoned answers close", || arena.upstream.open_connections() <= 2);
}

/// Half of a request is no request.
#[test]
fn half_a_request_never_reaches_an_upstream() {
    let arena = Arena::new();
    for part in
        ["GET /public/x HTTP/1.1\r\nHost: HOST\r\n", "GET /public/x HTTP/1.1\r\nHost: HOST\r\nX-A: ", "GET /pub"]
    {
        let mut stream: TcpStream = arena.gateway.client().connect();
        stream.write_all(part.replace("HOST", arena.host()).as_bytes()).expect("the gateway reads");
        stream.shutdown(Shutdown::Write).expect("it can be closed");
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 2"), "{part:?}");
    }
    arena.assert_nothing_passed("half a request");
}
