//! Upstreams that say goodbye in the middle of things: what they have not looked at goes over another connection, what they may have
//! looked at never does (RFC 9113, section 6.8).

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;

use crate::client::{Client, h2c, run};
use crate::support::gateway::Gateway;
use crate::support::pause;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// Both ends: of the header block and of the stream.
const WHOLE: u8 = 0x4 | 0x1;
/// `:status: 200`, from the static table.
const OK: &[u8] = &[0x88];

/// What came to it; of each connection the first request alone.
struct Counted {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// What an upstream does with the first request of a connection, a moment after it came.
#[derive(Clone, Copy)]
enum Farewell {
    /// It says that this was the last one, and answers it.
    Answers,
    /// It says that this was the last one, and closes without an answer.
    Closes,
    /// It says that it has not looked at this one either.
    Refuses,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[high, middle, low, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// The next frame's type and stream; nothing when the connection has ended.
fn next(stream: &mut TcpStream) -> Option<(u8, u32)> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).ok()?;
    let [high, middle, low, kind, _, number @ ..] = header;
    let length = u32::from_be_bytes([0, high, middle, low]);
    std::io::copy(&mut stream.take(u64::from(length)), &mut std::io::sink()).ok()?;
    Some((kind, u32::from_be_bytes(number)))
}

fn serve(mut stream: TcpStream, farewell: Farewell, counted: &Counted) {
    stream.read_exact(&mut [0; 24]).unwrap();
    stream.write_all(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat()).unwrap();
    let first = loop {
        match next(&mut stream) {
            Some((HEADERS, first)) => break first,
            Some(_) => {}
            None => return,
        }
    };
    counted.requests.fetch_add(1, Ordering::Relaxed);
    // Others come over the same connection meanwhile.
    pause(Duration::from_millis(100));
    let last = if matches!(farewell, Farewell::Refuses) { 0 } else { first };
    stream.write_all(&frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())).unwrap();
    match farewell {
        Farewell::Answers => stream.write_all(&frame(HEADERS, WHOLE, first, OK)).unwrap(),
        Farewell::Closes => stream.shutdown(std::net::Shutdown::Write).unwrap(),
        Farewell::Refuses => {}
    }
    while next(&mut stream).is_some() {}
}

fn upstream(farewell: Farewell) -> (Gateway, &'static Counted) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let counted: &Counted =
        Box::leak(Box::new(Counted { connections: AtomicUsize::new(0), requests: AtomicUsize::new(0) }));
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.connections.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || serve(stream.unwrap(), farewell, counted));
        }
    });
    let table = format!("[upstreams.app]\nurl = {url:?}\nprotocol = \"http2\"");
    (h2c().raw(&table).route("/*", "\"everyone\"", "app").start(), counted)
}

fn statuses(gateway: &Gateway, count: usize) -> Vec<u16> {
    run(async {
        let client = Client::connect(gateway.url()).await;
        let answers = join_all((0..count).map(|_| client.get("/x"))).await;
        answers.into_iter().map(|answer| answer.unwrap().status.as_u16()).collect()
    })
}

/// Each connection takes one request, and refuses the others: the last one meets five connections.
#[test]
fn what_was_not_looked_at_goes_on_until_a_connection_takes_it() {
    let (gateway, counted) = upstream(Farewell::Answers);
    assert_eq!(statuses(&gateway, 5), [200; 5], "{}", gateway.logs());
    assert_eq!((counted.requests.load(Ordering::Relaxed), counted.connections.load(Ordering::Relaxed)), (5, 5));
}

#[test]
fn an_upstream_that_never_takes_one_is_not_asked_for_ever() {
    let (gateway, counted) = upstream(Farewell::Refuses);
    assert_eq!(statuses(&gateway, 1), [502]);
    assert_eq!((counted.requests.load(Ordering::Relaxed), counted.connections.load(Ordering::Relaxed)), (6, 6));
}

#[test]
fn what_may_have_been_looked_at_is_not_sent_again() {
    let (gateway, counted) = upstream(Farewell::Closes);
    assert_eq!(statuses(&gateway, 1), [502]);
    assert_eq!((counted.requests.load(Ordering::Relaxed), counted.connections.load(Ordering::Relaxed)), (1, 1));
}
