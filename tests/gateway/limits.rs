//! Bounds on one request and on one connection: whoever oversteps one is refused or cut off, and leaves nothing behind.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::answer::Answer;
use crate::support::client::{Client, at_once, read_response};
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;
use crate::support::websocket::WebSocket;
use crate::support::wire::Reader;
use crate::support::{PATIENCE, SESSION_KEY, pause};

const HOST: &str = "app.example.com";

fn start(limits: &str, upstream: &Upstream) -> Gateway {
    start_with("", limits, upstream)
}

fn start_with(top: &str, limits: &str, upstream: &Upstream) -> Gateway {
    let text = format!(
        "public_url = \"https://{HOST}\"\nworkers = 2\n{top}\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[limits]\n{limits}\n\
         [session]\nkeys = [\"{SESSION_KEY}\"]\n[upstreams.app]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/small/*\"\nallow = \"everyone\"\nbody_bytes = \"10B\"\n\
         [[routes]]\npath = \"/*\"\nallow = \"everyone\"\n",
        upstream.url()
    );
    Gateway::start_files(&[("portcullis.toml", &text)], &[])
}

fn client(gateway: &Gateway) -> Client {
    gateway.client().named(HOST)
}

/// One request and its whole answer over a connection that stays.
fn ask(stream: &mut TcpStream, client: &Client) {
    stream.write_all(&client.get("/").bytes()).unwrap();
    let mut reader = Reader::new(stream.try_clone().unwrap());
    assert_eq!(read_response(&mut reader, "GET").unwrap().status, 200);
}

/// All that comes until the other end closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the connection stays open");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn comes_true(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..600 {
        if check() {
            return;
        }
        pause(Duration::from_millis(50));
    }
    panic!("{what} does not come true");
}

#[test]
fn a_head_that_drips_is_cut_off() {
    let upstream = Upstream::start();
    let gateway = start("header_timeout = \"3s\"", &upstream);
    let mut slow: Vec<TcpStream> = (0..50).map(|_| client(&gateway).connect_within(Duration::from_millis(1))).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: app.example.com\r\n").unwrap();
    }
    let mut sent = 0;
    comes_true("that all of them are closed", || {
        // A byte now and then must not buy more time.
        for stream in &mut slow {
            let _closed = stream.write_all(b"X");
        }
        sent += 1;
        if sent == 1 {
            assert_eq!(client(&gateway).get("/").send().status, 200, "the others notice nothing");
        }
        let is_closed = |stream: &mut TcpStream| match stream.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        slow.retain_mut(|stream| !is_closed(stream));
        slow.is_empty()
    });
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_body_that_stands_still_gets_408_and_one_that_moves_does_not() {
    let upstream = Upstream::start();
    let gateway = start("body_timeout = \"4s\"", &upstream);
    let mut slow = client(&gateway).connect();
    slow.write_all(b"POST /x HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 100\r\n\r\nabc").unwrap();
    let answer = rest(&mut slow);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");

    let mut pieces = 0;
    let moving = client(&gateway).request("POST", "/x").stream(10, || {
        pause(Duration::from_millis(if pieces == 0 { 0 } else { 500 }));
        pieces += 1;
        vec![b'a']
    });
    assert_eq!(moving.unwrap().status, 200, "more than 4 seconds in all, but never so long without a byte");
    comes_true("that the upstream's connection of the slow one is closed", || upstream.open_connections() <= 1);
}

#[test]
fn an_upstream_that_takes_its_time_is_not_the_visitors_fault() {
    let upstream = Upstream::start();
    upstream.on("/late", Answer::body("late").after(Duration::from_millis(2500)));
    let gateway = start("body_timeout = \"1s\"\nsend_timeout = \"1s\"", &upstream);
    assert_eq!(client(&gateway).request("POST", "/late").body("all of it").send().text(), "late");
}

#[test]
fn an_answer_that_nobody_takes_ends_the_connection() {
    let upstream = Upstream::start();
    upstream.on("/big", Answer::big(1 << 40));
    upstream.on("/drip", Answer::chunks(&["a", "b", "c", "d", "e"], Duration::from_millis(800)));
    let gateway = start("send_timeout = \"1s\"", &upstream);
    let mut stuck: Vec<TcpStream> = (0..5).map(|_| client(&gateway).connect()).collect();
    for stream in &mut stuck {
        stream.write_all(&client(&gateway).get("/big").bytes()).unwrap();
    }
    assert!(upstream.comes_to(5));
    assert_eq!(client(&gateway).get("/drip").send().text(), "abcde", "a slow upstream is no slow reader");
    comes_true("that the upstream's connections are closed", || upstream.open_connections() <= 1);
    let memory = gateway.memory();
    assert!(memory.peak < 200 * 1024, "{memory:?}");
}

#[test]
fn a_request_has_a_bound_as_a_whole_where_one_is_set() {
    let upstream = Upstream::start();
    upstream.on("/events", Answer::events(&["tick"; 100], Duration::from_millis(200)));
    let gateway = start("request_timeout = \"3s\"", &upstream);
    let mut stream = client(&gateway).connect();
    stream.write_all(&client(&gateway).get("/events").bytes()).unwrap();
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("tick"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "it was cut off, and does not look whole");
    assert_eq!(client(&gateway).get("/").send().status, 200);
}

/// As long as there is no answer they can be told why there will be none.
#[test]
fn whoever_is_cut_before_the_answer_is_told_whose_time_was_up() {
    let upstream = Upstream::start();
    upstream.on("/silent", Answer::silence(Duration::from_secs(5)));
    let gateway = start("request_timeout = \"2s\"", &upstream);
    // A byte now and then is no stand-still, and buys no more time.
    let mut slow = client(&gateway).connect();
    slow.write_all(b"POST /x HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 100\r\n\r\n").unwrap();
    let mut dripping = slow.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        while dripping.write_all(b"x").is_ok() {
            pause(Duration::from_millis(300));
        }
    });
    let answer = rest(&mut slow);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    drip.join().unwrap();
    // The application has all of this one: 408 would have many clients send it again.
    let mut whole = client(&gateway).connect();
    whole.write_all(&client(&gateway).request("POST", "/silent").body("all of it").bytes()).unwrap();
    let mut reader = Reader::new(whole.try_clone().unwrap());
    assert_eq!(read_response(&mut reader, "POST").unwrap().status, 504);
    ask(&mut whole, &client(&gateway));
    comes_true("that the upstream's connections are closed", || upstream.open_connections() <= 1);
    let text = gateway.logs();
    assert!(text.contains("status=408") && text.contains("status=504"), "{text}");
}

/// To a visitor who speaks HTTP/1.0 a connection that ends in order is the end of the answer.
#[test]
fn an_answer_that_is_cut_by_its_bound_never_looks_whole() {
    let upstream = Upstream::start();
    upstream.on("/events", Answer::events(&["tick"; 100], Duration::from_millis(200)));
    let asked = |gateway: &Gateway| {
        let mut stream = client(gateway).connect();
        stream.write_all(b"GET /events HTTP/1.0\r\nHost: app.example.com\r\n\r\n").unwrap();
        stream
    };
    let breaks_off = |mut stream: TcpStream| {
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        assert!(String::from_utf8_lossy(&bytes).contains("tick"), "{bytes:?}");
        assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    };
    let gateway = start("request_timeout = \"2s\"", &upstream);
    breaks_off(asked(&gateway));
    // The time to drain is over while it is under way.
    let mut gateway = start_with("drain = \"1s\"", "", &upstream);
    let mut stream = asked(&gateway);
    stream.read_exact(&mut [0; 1]).unwrap();
    assert!(gateway.stop().success());
    breaks_off(stream);
}

#[test]
fn heads_are_bounded_in_count_and_size() {
    let upstream = Upstream::start();
    let gateway = start("headers = 20\nheader_bytes = \"32KiB\"", &upstream);
    let with = |count: usize, length: usize| {
        let mut request = client(&gateway).get("/");
        for number in 0..count {
            request = request.header(&format!("X-Field-{number}"), &"v".repeat(length));
        }
        client(&gateway).raw(&request.bytes())
    };
    assert_eq!(with(19, 10).unwrap().status, 200);
    assert_eq!(with(20, 10).unwrap().status, 431);
    assert_eq!(with(1, 31_000).unwrap().status, 200);
    assert_eq!(with(1, 33_000).unwrap().status, 431);
    // Megabytes are not even read to their end.
    let flood = with(15, 1_000_000);
    assert!(flood.is_err() || flood.is_ok_and(|answer| answer.status == 431));
    let usual = start("", &upstream);
    let mut hundred = client(&usual).get("/");
    for number in 0..101 {
        hundred = hundred.header(&format!("X-Field-{number}"), "v");
    }
    assert_eq!(client(&usual).raw(&hundred.bytes()).unwrap().status, 431);
    assert_eq!(upstream.count(), 2);
    let memory = gateway.memory();
    assert!(memory.peak < 200 * 1024, "{memory:?}");
}

#[test]
fn chunk_extensions_do_not_go_on_for_ever() {
    let upstream = Upstream::start();
    let gateway = start("", &upstream);
    let before = gateway.memory();
    let mut stream = client(&gateway).connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let mut written = 0_u64;
    let _ended = stream.write_all(b"5;a=");
    while written < (64 << 20) && stream.write_all(&piece).is_ok() {
        written += piece.len() as u64;
    }
    assert!(written < 32 << 20, "{written} bytes of an extension were taken");
    assert!(!rest(&mut stream).starts_with("HTTP/1.1 200"));
    let after = gateway.memory();
    assert!(after.peak < before.peak + 64 * 1024, "{before:?} {after:?}");
    assert_eq!(client(&gateway).get("/").send().status, 200);
}

#[test]
fn a_route_has_a_bound_of_its_own_on_bodies() {
    let upstream = Upstream::start();
    let gateway = start("body_bytes = \"1KiB\"", &upstream);
    let post =
        |path: &str, length: usize| client(&gateway).request("POST", path).body(vec![b'a'; length]).send().status;
    assert_eq!((post("/small/x", 10), post("/x", 1024)), (200, 200));
    assert_eq!(upstream.count(), 2);
    let connections = upstream.connections();
    assert_eq!((post("/small/x", 11), post("/x", 1025)), (413, 413));
    assert_eq!(
        (upstream.count(), upstream.connections()),
        (2, connections),
        "what says that it is too large goes nowhere"
    );
    let chunked = b"POST /small/x HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n";
    assert_eq!(client(&gateway).raw(chunked).unwrap().status, 413);
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let upstream = Upstream::start();
    upstream.on("/socket", Answer::websocket());
    let gateway = start("connections_per_address = 4", &upstream);
    let mut sockets: Vec<WebSocket> =
        (0..2).map(|_| WebSocket::open(client(&gateway).get("/socket")).ok().unwrap()).collect();
    assert_eq!(sockets[0].ask("still there").unwrap(), "still there");
    let mut two: Vec<TcpStream> = (0..2).map(|_| client(&gateway).connect()).collect();
    for stream in &mut two {
        ask(stream, &client(&gateway));
    }
    assert!(client(&gateway).get("/").try_send().is_err(), "a fifth one is closed, with two WebSockets among the four");
    assert_eq!(sockets[1].ask("still there").unwrap(), "still there", "the others notice nothing");
    two.clear();
    comes_true("that places are free again", || client(&gateway).get("/").try_send().is_ok());
    comes_true("that it is told", || gateway.logs().contains("connections_per_address"));
}

#[test]
fn when_all_places_are_taken_those_that_wait_make_room() {
    let upstream = Upstream::start();
    upstream.on("/slow", Answer::body("slow").after(Duration::from_millis(1500)));
    let gateway = start("connections = 3", &upstream);
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| client(&gateway).connect()).collect();
    for stream in &mut waiting {
        ask(stream, &client(&gateway));
    }
    let slow = vec![client(&gateway).get("/slow"); 3];
    let slow = std::thread::spawn(|| at_once(slow));
    assert!(upstream.comes_to(6), "all three are let in, whichever worker the others wait on");
    // Now all of them are at work: a fourth one waits, and is served in its turn.
    assert_eq!(client(&gateway).get("/").send().status, 200);
    for answer in slow.join().unwrap() {
        assert_eq!(answer.text(), "slow", "nobody at work is cut off");
    }
    for stream in &mut waiting {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(rest(stream), "");
    }
}
