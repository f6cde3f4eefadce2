//! A stop in good order: no new connections, those under way finish within their bound, and then the process ends.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::upstream::Upstream;
use crate::support::websocket::WebSocket;
use crate::support::{PATIENCE, pause};

const TICK: Duration = Duration::from_millis(20);

#[allow(clippy::disallowed_methods, reason = "a test measures how long the gateway takes")]
fn now() -> Instant {
    Instant::now()
}

fn start(drain: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let gateway = GatewayConfig::new("http://localhost:8080")
        .top(&format!("drain = {drain:?}"))
        .top("workers = 2")
        .upstream("app", &upstream.url())
        .route("/*", "\"everyone\"", "app")
        .start();
    (gateway, upstream)
}

/// Waits until nobody accepts at the gateway's address any more.
fn assert_closes_its_listeners(gateway: &Gateway) {
    let address = gateway.url().trim_start_matches("http://").to_owned();
    let mut left = PATIENCE;
    while TcpStream::connect(&address).is_ok() {
        assert!(!left.is_zero(), "it still accepts connections");
        pause(TICK);
        left = left.saturating_sub(TICK);
    }
}

#[test]
fn requests_in_flight_finish_and_new_connections_are_refused() {
    for signal in ["TERM", "INT"] {
        let (mut gateway, upstream) = start("20s");
        upstream.on("/slow", Answer::body("finished").after(Duration::from_secs(2)));
        upstream.on("/drip", Answer::chunks(&["a", "b", "c", "d"], Duration::from_millis(600)));
        let client = gateway.client();
        // A connection that was used and waits for its next request ends with the stop.
        let idle = client.connect();
        let in_flight: Vec<_> = ["/slow", "/slow", "/drip"]
            .map(|path| {
                let client = client.clone();
                thread::spawn(move || client.get(path).send())
            })
            .into_iter()
            .collect();
        assert!(upstream.comes_to(3));
        gateway.process().signal(signal);
        assert_closes_its_listeners(&gateway);
        for request in in_flight {
            let answer = request.join().expect("it is answered to its end");
            assert_eq!(answer.status, 200);
            assert!(matches!(answer.text().as_str(), "finished" | "abcd"), "{}", answer.text());
        }
        let status = gateway.process().wait(PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", gateway.logs());
        assert_eq!(upstream.count(), 3, "nothing was sent twice");
        let (_, err) = gateway.process().streams();
        assert_eq!(err.matches(" path=\"/slow\" ").count(), 2, "the last requests are told too: {err}");
        drop(idle);
    }
}

/// An idle kept-alive connection does not hold up the end.
#[test]
fn idle_connections_and_no_requests_end_at_once() {
    let (mut gateway, upstream) = start("30s");
    let client: Client = gateway.client();
    let stream = client.connect();
    let mut writer = stream.try_clone().expect("a socket can be shared");
    std::io::Write::write_all(&mut writer, &client.get("/x").bytes()).expect("it is sent");
    let mut reader = crate::support::wire::Reader::new(stream);
    let answer = crate::support::client::read_response(&mut reader, "GET").expect("it is answered");
    assert_eq!(answer.status, 200);
    let began = now();
    let status = gateway.stop();
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "it waited {:?} for an idle connection", began.elapsed());
    assert!(reader.head().is_ok_and(|head| head.is_none()), "the idle connection ends without a word");
    assert_eq!(upstream.count(), 1);
}

/// What does not finish is cut off when the time is over, and the process says so.
#[test]
fn the_drain_limit_ends_what_does_not_finish() {
    let (mut gateway, upstream) = start("1s");
    upstream.on("/never", Answer::silence(Duration::from_mins(1)));
    upstream.on("/socket", Answer::websocket());
    let client = gateway.client();
    let stuck = {
        let client = client.clone();
        thread::spawn(move || client.get("/never").try_send())
    };
    assert!(upstream.comes_to(1));
    let mut socket = WebSocket::open(client.get("/socket")).expect("it opens");
    assert_eq!(socket.ask("hello").expect("it is echoed"), "hello");
    let began = now();
    let status = gateway.stop();
    assert_eq!(status.code(), Some(0), "{}", gateway.logs());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
    assert!(stuck.join().expect("the thread ends").is_err(), "an answer out of nowhere");
    assert!(gateway.logs().contains("the time to drain is over"), "{}", gateway.logs());
}
