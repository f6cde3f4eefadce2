//! What one HTTP/2 connection may ask of us.

use std::time::Duration;

use bytes::Bytes;

use crate::client::{Client, h2c, open_to_all, read, run};
use crate::frames::{GOAWAY, HEADERS, Raw, block, request};
use crate::server::Server;
use crate::support::answer::Answer;
use crate::support::upstream::Upstream;

#[test]
fn a_flood_of_cancelled_requests_ends_its_connection_and_no_other() {
    let upstream = Upstream::start();
    let gateway = open_to_all(&upstream.url()).raw("[limits]\nh2_resets = 50").start();
    let authority = gateway.url().trim_start_matches("http://").to_owned();
    let mut raw = Raw::connect(gateway.url());
    let mut sent = 0;
    for number in 0..3000_u32 {
        let stream = number * 2 + 1;
        let done = raw.headers(stream, &request("GET", "/x", &authority), true).and_then(|()| raw.reset(stream, 8));
        if done.is_err() {
            break;
        }
        sent += 1;
    }
    // Either the write side broke, or the gateway has said goodbye by now.
    let ended = loop {
        match raw.next() {
            Ok(None) => break true,
            Ok(Some(frame)) if frame.kind == GOAWAY => break true,
            Ok(Some(_)) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break true,
            Err(error) => panic!("still open after {sent} cancelled requests: {error}"),
        }
    };
    assert!(ended);
    assert!(upstream.count() < 1000, "{} requests of a flood reached the upstream", upstream.count());
    run(async {
        let client = Client::connect(gateway.url()).await;
        assert_eq!(client.get("/after").await.unwrap().status, 200);
    });
}

#[test]
fn a_few_cancelled_requests_are_everyday_life() {
    let upstream = Server::start();
    let gateway = h2c().raw(&upstream.table()).route("/*", "\"everyone\"", "app").start();
    run(async {
        let client = Client::connect(gateway.url()).await;
        for _ in 0..20 {
            let mut sender = client.sender().ready().await.unwrap();
            let request = client.request(http::Method::GET, "/hang").body(()).unwrap();
            let before = upstream.requests().len();
            let (response, mut stream) = sender.send_request(request, true).unwrap();
            while upstream.requests().len() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stream.send_reset(h2::Reason::CANCEL);
            drop(response);
        }
        assert_eq!(client.get("/after").await.unwrap().status, 200);
    });
    assert!(upstream.comes_to(|upstream| upstream.cancelled().len() == upstream.requests().len() - 1));
    assert!(upstream.cancelled().iter().all(|reason| *reason == h2::Reason::CANCEL), "{:?}", upstream.cancelled());
}

#[test]
fn streams_at_once_are_bounded() {
    let upstream = Upstream::start();
    upstream.on("/silent", Answer::silence(Duration::from_mins(1)));
    let gateway = open_to_all(&upstream.url()).raw("[limits]\nh2_streams = 3").start();
    let authority = gateway.url().trim_start_matches("http://").to_owned();
    let mut raw = Raw::connect(gateway.url());
    for stream in [1, 3, 5, 7] {
        raw.headers(stream, &request("GET", "/silent", &authority), true).unwrap();
    }
    // REFUSED_STREAM (RFC 9113, section 5.1.2).
    assert_eq!(raw.outcome(7), crate::frames::Outcome::Reset(7));
    assert!(upstream.count() <= 3);
}

#[test]
fn headers_are_bounded_in_sum_and_many_crumbs_of_cookies_are_not_many_headers() {
    let upstream = Upstream::start();
    let gateway = open_to_all(&upstream.url()).start();
    run(async {
        let client = Client::connect(gateway.url()).await;
        let mut crumbs = client.request(http::Method::GET, "/crumbs");
        for number in 0..90 {
            crumbs = crumbs.header("cookie", format!("c{number}=1"));
        }
        assert_eq!(client.send(crumbs, None).await.unwrap().status, 200);
        let large = client.request(http::Method::GET, "/x").header("x-a", "a".repeat(70 * 1024));
        assert_eq!(client.send(large, None).await.unwrap().status, 431);
    });
    assert_eq!(upstream.count(), 1);
    // Ten thousand of them are no request any more.
    run(async {
        let client = Client::connect(gateway.url()).await;
        let mut flood = client.request(http::Method::GET, "/crumbs");
        for number in 0..10_000 {
            flood = flood.header("cookie", format!("c{number}=1"));
        }
        match client.send(flood, None).await {
            Ok(answer) => assert_eq!(answer.status, 431),
            Err(error) => assert!(error.is_remote(), "{error}"),
        }
    });
    assert_eq!(upstream.count(), 1);
}

#[test]
fn an_idle_connection_is_told_before_it_is_closed_and_a_busy_one_stays() {
    let upstream = Upstream::start();
    upstream.on("/slow", Answer::body("late").after(Duration::from_secs(6)));
    let gateway = open_to_all(&upstream.url()).raw("[limits]\nidle_timeout = \"2s\"").start();
    run(async {
        let busy = Client::connect(gateway.url()).await;
        let late = busy.get("/slow");
        let idle = async {
            let mut idle = Client::connect(gateway.url()).await;
            assert_eq!(idle.get("/x").await.unwrap().status, 200);
            idle.is_closed().await.expect("GOAWAY with NO_ERROR ends it in order");
        };
        let (late, ()) = tokio::join!(late, idle);
        assert_eq!(late.unwrap().text(), "late");
    });
}

#[test]
fn a_stop_lets_requests_finish_and_takes_no_new_ones() {
    let upstream = Upstream::start();
    upstream.on("/slow", Answer::body("late").after(Duration::from_secs(5)));
    let mut gateway = open_to_all(&upstream.url()).start();
    let url = gateway.url().to_owned();
    std::thread::scope(|scope| {
        let visitor = scope.spawn(move || {
            run(async {
                let client = Client::connect(&url).await;
                let late = client.get("/slow").await.unwrap();
                (late.text(), client.get("/x").await.is_err())
            })
        });
        assert!(upstream.comes_to(1));
        assert!(gateway.stop().success(), "{}", gateway.logs());
        assert_eq!(visitor.join().unwrap(), ("late".to_owned(), true));
    });
    assert_eq!(upstream.count(), 1);
}

/// A visitor who takes nothing of one answer, and says so by its window alone: that answer ends, and their others go on.
#[test]
fn an_answer_of_which_nothing_is_taken_ends_alone() {
    let upstream = Upstream::start();
    upstream.on("/big", Answer::big(1 << 30));
    upstream.on("/drip", Answer::chunks(&["a"; 8], Duration::from_millis(800)));
    let gateway = open_to_all(&upstream.url()).raw("[limits]\nsend_timeout = \"2s\"").start();
    run(async {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(10_000).initial_connection_window_size(1 << 20);
        let client = Client::connect_with(gateway.url(), &builder).await;
        let mut stuck = Vec::new();
        for _ in 0..3 {
            let mut sender = client.sender().ready().await.unwrap();
            let request = client.request(http::Method::GET, "/big").body(()).unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            // What it has room for is not taken either.
            stuck.push(response.await.unwrap().into_body());
        }
        assert_eq!(client.get("/drip").await.unwrap().text(), "aaaaaaaa", "a slow upstream is no slow reader");
        for mut body in stuck {
            let mut came = 0;
            let end = loop {
                match body.data().await {
                    Some(Ok(part)) => came += part.len(),
                    Some(Err(error)) => break error,
                    None => panic!("a whole answer of {came} bytes"),
                }
            };
            assert!(end.is_reset() && came == 10_000, "{came} bytes and then {end}");
        }
        assert_eq!(client.get("/after").await.unwrap().status, 200, "the connection goes on");
    });
    assert!(crate::support::comes_true(|| upstream.open_connections() <= 2), "{}", upstream.open_connections());
}

/// The time of a request as a whole is its own: nobody else on the connection notices when it is over.
#[test]
fn a_request_that_takes_too_long_ends_alone() {
    const LIMITS: &str = "[limits]\nrequest_timeout = \"2s\"\nh2_resets = 10";
    let plain = Upstream::start();
    plain.on("/hang", Answer::silence(Duration::from_mins(1)));
    plain.on("/endless", Answer::events(&["tick"; 100], Duration::from_millis(700)));
    requests_end_alone(&open_to_all(&plain.url()).raw(LIMITS).start());
    assert!(crate::support::comes_true(|| plain.open_connections() <= 1), "{}", plain.open_connections());
    let shared = Server::start();
    requests_end_alone(&h2c().raw(&shared.table()).raw(LIMITS).route("/*", "\"everyone\"", "app").start());
    // Those that hung, the one that was to be sent, and the ones whose answers went on.
    assert!(shared.comes_to(|upstream| upstream.cancelled().len() == 1 + 1 + 20), "{:?}", shared.cancelled());
}

fn requests_end_alone(gateway: &crate::support::gateway::Gateway) {
    run(async {
        let client = Client::connect(gateway.url()).await;
        let begin = async |method: http::Method, path: &str, whole: bool| {
            let mut sender = client.sender().ready().await.unwrap();
            let request = client.request(method, path).body(()).unwrap();
            sender.send_request(request, whole).unwrap()
        };
        // More of them than one may cancel: it is not the visitor who does it.
        let mut endless = Vec::new();
        for _ in 0..20 {
            endless.push(begin(http::Method::GET, "/endless", true).await.0.await.unwrap().into_body());
        }
        let (silent, _) = begin(http::Method::GET, "/hang", true).await;
        let (stalled, mut upload) = begin(http::Method::POST, "/hang", false).await;
        upload.send_data(Bytes::from_static(b"some of it"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let (late, mut late_upload) = begin(http::Method::POST, "/late", false).await;
        late_upload.send_data(Bytes::from_static(b"its time "), false).unwrap();

        assert_eq!(silent.await.unwrap().status(), 504);
        let told = stalled.await.unwrap();
        assert_eq!((told.status().as_u16(), told.headers().get("connection")), (408, None));
        // The rest of the request is not wanted (RFC 9113, section 8.1).
        let reason = std::future::poll_fn(|context| upload.poll_reset(context)).await.unwrap();
        assert_eq!(reason, h2::Reason::NO_ERROR);
        late_upload.send_data(Bytes::from_static(b"is not over"), true).unwrap();
        let late = read(late.await.unwrap()).await.unwrap();
        assert!(late.status == 200, "{late:?}");
        for mut body in endless {
            let end = loop {
                match body.data().await {
                    Some(Ok(part)) => body.flow_control().release_capacity(part.len()).unwrap(),
                    Some(Err(error)) => break error,
                    None => panic!("an endless answer came whole"),
                }
            };
            assert!(end.is_reset(), "{end}");
        }
        assert_eq!(client.get("/after").await.unwrap().status, 200, "the connection goes on");
    });
}

/// It is a head like any other, though over HTTP/2 nothing else can come on its connection meanwhile.
#[test]
fn a_head_that_does_not_end_has_the_time_of_a_head() {
    let upstream = Upstream::start();
    let gateway = open_to_all(&upstream.url()).raw("[limits]\nheader_timeout = \"1s\"").start();
    let authority = gateway.url().trim_start_matches("http://").to_owned();
    let mut raw = Raw::connect(gateway.url());
    raw.send(HEADERS, 1, 1, &block(&request("GET", "/x", &authority))).unwrap();
    let ended = loop {
        match raw.next() {
            Ok(Some(_)) => {}
            Ok(None) => break true,
            Err(error) => break error.kind() != std::io::ErrorKind::WouldBlock,
        }
    };
    assert!(ended, "it is still waited for");
    assert_eq!(upstream.count(), 0);
}
