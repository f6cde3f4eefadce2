//! Upstreams that break off, dawdle or vanish, and visitors that do: nothing is sent twice, nothing crosses.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use crate::support::answer::{Answer, Ending, pattern};
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::relay::Relay;
use crate::support::upstream::Upstream;
use crate::support::{comes_true, pause};

fn gateway(urls: &[String], lines: &str) -> Gateway {
    GatewayConfig::new("https://app.example.com")
        .top("workers = 1")
        .raw("[[routes]]\npath = \"/*\"\nallow = \"everyone\"\nupstream = \"app\"")
        .raw(&format!("[upstreams.app]\nurls = {urls:?}\n{lines}"))
        .start()
}

#[test]
fn what_may_have_been_processed_is_never_sent_again() {
    let upstreams = [Upstream::start(), Upstream::start()];
    for upstream in &upstreams {
        for ending in [Ending::Reset, Ending::Close] {
            upstream.on(&format!("/{ending:?}"), Answer::raw("", ending));
        }
    }
    let gateway = gateway(&[upstreams[0].url(), upstreams[1].url()], "eject_after = 0");
    // Connections that have served before, and new ones.
    for warm in [true, false] {
        for method in ["POST", "PUT", "GET", "DELETE"] {
            for path in ["/Reset", "/Close"] {
                if warm {
                    assert_eq!(gateway.get("/").send().status, 200);
                    assert_eq!(gateway.get("/").send().status, 200);
                }
                upstreams.iter().for_each(Upstream::forget);
                let answer = gateway.client().request(method, path).body("order=1").send();
                assert_eq!(answer.status, 502, "{method} {path}: {}", answer.text());
                let seen = upstreams[0].count() + upstreams[1].count();
                assert_eq!(seen, 1, "{method} {path} was sent {seen} times, warm {warm}");
            }
        }
    }
}

#[test]
fn a_body_that_was_not_sent_arrives_whole_at_the_other_address() {
    let (spare, alive) = (Upstream::start(), Upstream::start());
    let dead = Relay::tcp(&spare);
    dead.cut();
    let gateway = gateway(&[dead.url(), alive.url()], "eject_after = 0");
    let body = pattern(0, 300_000);
    for _ in 0..4 {
        let answer = gateway.client().request("POST", "/upload").body(body.clone()).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(alive.count(), 4);
    for request in alive.requests() {
        assert_eq!((request.body_bytes, request.body_sha256), (300_000, crate::support::sha256(&body)));
    }
}

#[test]
fn a_kept_connection_that_the_upstream_closed_costs_no_request() {
    let upstream = Upstream::start();
    let relay = Relay::tcp(&upstream);
    let gateway = gateway(&[relay.url()], "");
    for number in 0..5 {
        let answer = gateway.client().request("POST", "/").body(format!("{number}")).send();
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), gateway.logs());
        relay.cut();
        relay.restore();
        // The gateway's own end has heard of it before the next request comes.
        pause(Duration::from_millis(500));
    }
    assert_eq!(upstream.count(), 5);
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    let upstream = Upstream::start();
    let head = "HTTP/1.1 200 OK\r\n";
    for (path, rest) in [
        ("/length", "Content-Length: 10\r\n\r\nabc"),
        ("/chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ("/in-a-chunk", "Transfer-Encoding: chunked\r\n\r\nff\r\nabc"),
    ] {
        for ending in [Ending::Reset, Ending::Close] {
            upstream.on(path, Answer::raw(format!("{head}{rest}"), ending));
            let gateway = gateway(&[upstream.url()], "");
            assert!(gateway.get(path).try_send().is_err(), "{path} {ending:?} looked whole");
            assert_eq!(gateway.get("/").send().status, 200, "the next request is answered");
        }
    }
}

#[test]
fn aborted_requests_leave_nothing_behind_for_others() {
    let upstream = Upstream::start();
    upstream.on("/big", Answer::big(20_000_000));
    upstream.on("/later", Answer::body("too late").after(Duration::from_millis(300)));
    let gateway = gateway(&[upstream.url()], "");
    for round in 0..6 {
        match round % 3 {
            0 => {
                // In the middle of the answer.
                let (head, mut reader) = gateway.get("/big").open().expect("it begins");
                assert_eq!(head.status, 200);
                assert_eq!(reader.take(100_000).expect("it goes on"), pattern(0, 100_000));
            }
            1 => {
                // Before the answer.
                let mut stream = gateway.client().connect();
                stream.write_all(&gateway.get("/later").bytes()).expect("it is sent");
                pause(Duration::from_millis(50));
            }
            _ => {
                // In the middle of the request.
                let mut stream = gateway.client().connect();
                let request = gateway.client().request("POST", "/up").body(vec![b'x'; 100_000]).bytes();
                stream.write_all(&request[..50_000]).expect("it is sent");
                pause(Duration::from_millis(50));
            }
        }
        for step in 0..3 {
            let target = format!("/{round}/{step}");
            let answer = gateway.get(&target).send();
            assert_eq!(answer.status, 200, "{}", gateway.logs());
            assert_eq!(answer.json()["target"], target.as_str());
        }
    }
    assert!(comes_true(|| upstream.open_connections() <= 1), "aborted exchanges close their connections");
}

#[test]
fn answers_never_cross() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let gateway = gateway(&[upstreams[0].url(), upstreams[1].url()], "max_idle = 2");
    let asking: Vec<_> = (0..8)
        .map(|number| {
            let client = gateway.client();
            thread::spawn(move || {
                for step in 0..30 {
                    let target = format!("/{number}/{step}");
                    if step % 5 == 4 {
                        // One that goes away without waiting for its answer.
                        let mut stream = client.connect();
                        stream.write_all(&client.get(&format!("/gone{target}")).bytes()).expect("it is sent");
                        continue;
                    }
                    assert_eq!(client.get(&target).send().json()["target"], target.as_str());
                }
            })
        })
        .collect();
    for one in asking {
        one.join().expect("every answer is one's own");
    }
}

#[test]
fn an_answer_that_does_not_come_is_504_and_is_not_asked_for_again() {
    let upstreams = [Upstream::start(), Upstream::start()];
    for upstream in &upstreams {
        upstream.on("/never", Answer::silence(Duration::from_secs(20)));
    }
    let gateway = gateway(&[upstreams[0].url(), upstreams[1].url()], "response_timeout = \"500ms\"");
    assert_eq!(gateway.get("/never").send().status, 504);
    assert_eq!(upstreams[0].count() + upstreams[1].count(), 1);
}

#[test]
fn a_body_may_take_longer_than_an_answer_but_not_stand_still() {
    let upstream = Upstream::start();
    let gateway = gateway(&[upstream.url()], "response_timeout = \"2s\"\n[limits]\nbody_timeout = \"5s\"");
    let mut pieces = 0;
    let answer = gateway.client().request("PUT", "/up").stream(80, || {
        pieces += 1;
        pause(Duration::from_millis(400));
        vec![b'x'; 10]
    });
    let answer = answer.expect("it is answered");
    assert_eq!((answer.status, pieces), (200, 8), "{}", answer.text());

    let mut stream = gateway.client().connect();
    let request = gateway.client().request("PUT", "/up").body("0123456789").bytes();
    stream.write_all(&request[..request.len() - 5]).expect("it is sent");
    let mut told = [0; 12];
    stream.read_exact(&mut told).expect("it is answered");
    assert_eq!(&told, b"HTTP/1.1 408", "the visitor stood still, not the upstream");
}

#[test]
fn a_silent_port_is_given_up_on_within_the_bound() {
    // A listener that accepts nothing: its queue is full, so that connecting hangs.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("it listens");
    let address = listener.local_addr().expect("it is bound").as_socket().expect("an address");
    let _queued: Vec<_> =
        (0..4).map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100))).collect();
    let alive = Upstream::start();
    let gateway = gateway(&[format!("http://{address}"), alive.url()], "connect_timeout = \"1s\"\neject_after = 0");
    for _ in 0..4 {
        assert_eq!(gateway.get("/").send().status, 200);
    }
    assert_eq!(alive.count(), 4);
}
