//! Upstreams that speak HTTP/2, and the connections that many visitors share.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;

use crate::client::{Client, assert_breaks_off, h2c, open_to_all, read, run};
use crate::server::{Habits, Server};
use crate::support::answer::{Answer, Ending};
use crate::support::client::Request;
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

const USERS: usize = 200;

fn gateway(server: &Server) -> Gateway {
    h2c().raw(&server.table()).route("/*", "\"everyone\"", "app").start()
}

/// 200 visitors at once, some over HTTP/1.1 and some over HTTP/2, each with a name and a body of their own.
fn everybody_gets_their_own(gateway: &Gateway, expect: impl Fn(&str, &str) -> bool + Sync) {
    let old: Vec<Request> = (0..USERS / 2)
        .map(|user| {
            gateway
                .client()
                .request("POST", "/slow")
                .header("X-Who", &format!("old-{user}"))
                .body(format!("body of old-{user}"))
        })
        .collect();
    std::thread::scope(|scope| {
        for (user, request) in old.iter().enumerate() {
            let expect = &expect;
            scope.spawn(move || {
                for _ in 0..3 {
                    let answer = request.send();
                    assert_eq!(answer.status, 200);
                    assert!(expect(&format!("old-{user}"), &answer.text()), "old-{user} got {}", answer.text());
                }
            });
        }
        run(async {
            let clients = join_all((0..4).map(|_| Client::connect(gateway.url()))).await;
            for _ in 0..3 {
                let answers = (0..USERS / 2).map(|user| {
                    let client = &clients[user % clients.len()];
                    let request = client.request(Method::POST, "/slow").header("x-who", format!("new-{user}"));
                    client.send(request, Some(Bytes::from(format!("body of new-{user}"))))
                });
                for (user, answer) in join_all(answers).await.into_iter().enumerate() {
                    let text = answer.unwrap().text();
                    assert!(expect(&format!("new-{user}"), &text), "new-{user} got {text}");
                }
            }
        });
    });
}

#[test]
fn two_hundred_visitors_share_http2_connections_and_get_their_own_answers() {
    let server = Server::start();
    let gateway = gateway(&server);
    everybody_gets_their_own(&gateway, |user, text| {
        text.starts_with(&format!("{user} ")) && text.ends_with(&format!(" body of {user}"))
    });
    assert_eq!(server.requests().len(), USERS * 3);
    assert!(server.connections() <= 3, "{} connections for what one can carry", server.connections());
}

#[test]
fn two_hundred_visitors_take_turns_on_http1_connections_and_get_their_own_answers() {
    let upstream = Upstream::start();
    let gateway = open_to_all(&upstream.url()).start();
    everybody_gets_their_own(&gateway, |user, text| {
        let names = text.matches(user).count();
        // No other visitor's name stands in what the upstream echoes.
        names >= 1 && !text.replace(&format!("\"{user}\""), "").contains("-who\",\"")
    });
    assert!(upstream.connections() <= USERS, "{}", upstream.connections());
}

#[test]
fn streams_that_are_used_up_open_another_connection() {
    let server = Server::with(Habits { streams: Some(10), ..Habits::default() });
    let gateway = gateway(&server);
    run(async {
        let client = Client::connect(gateway.url()).await;
        assert_eq!(client.get("/first").await.unwrap().status, 200);
        for answer in join_all((0..35).map(|_| client.get("/slow"))).await {
            assert_eq!(answer.unwrap().status, 200);
        }
    });
    assert!((2..=10).contains(&server.connections()), "{}", server.connections());
}

#[test]
fn nobody_shares_a_connection_before_the_upstream_said_how_many_may() {
    let server = Server::with(Habits { streams: Some(5), silence: Duration::from_millis(150), ..Habits::default() });
    let gateway = gateway(&server);
    run(async {
        let client = Client::connect(gateway.url()).await;
        for answer in join_all((0..20).map(|_| client.get("/slow"))).await {
            let answer = answer.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
    assert_eq!(server.requests().len(), 20, "none was refused and sent again");
    assert!((1..=5).contains(&server.connections()), "{}", server.connections());
}

#[test]
fn an_upstream_that_never_says_what_it_allows_is_as_good_as_none() {
    let server = Server::with(Habits { silence: Duration::from_hours(1), ..Habits::default() });
    let table = format!("{}\nconnect_timeout = \"300ms\"", server.table());
    let gateway = h2c().raw(&table).route("/*", "\"everyone\"", "app").start();
    assert_eq!(gateway.get("/x").send().status, 502);
    assert!(gateway.logs_come_to_hold("took longer than"), "{}", gateway.logs());
}

#[test]
fn requests_at_once_outlive_connections_that_the_upstream_ends() {
    let server = Server::with(Habits { requests: Some(5), ..Habits::default() });
    let gateway = gateway(&server);
    run(async {
        let client = Client::connect(gateway.url()).await;
        for round in 0..5 {
            for answer in join_all((0..20).map(|_| client.get("/slow"))).await {
                let answer = answer.unwrap();
                assert_eq!(answer.status, 200, "{round}: {}", answer.text());
            }
        }
    });
    assert!(server.connections() >= 5, "{}", server.connections());
    assert_eq!(server.requests().len(), 100, "none was processed twice");
}

#[test]
fn a_shared_connection_is_replaced_after_as_many_requests_as_the_config_says() {
    let server = Server::start();
    let gateway =
        h2c().raw(&format!("{}\nmax_requests = 10", server.table())).route("/*", "\"everyone\"", "app").start();
    run(async {
        let client = Client::connect(gateway.url()).await;
        for answer in join_all((0..35).map(|_| client.get("/slow"))).await {
            assert_eq!(answer.unwrap().status, 200, "those under way come to their end");
        }
    });
    assert!((4..=6).contains(&server.connections()), "{}", server.connections());
}

#[test]
fn host_scheme_and_path_are_said_as_http2_says_them() {
    let server = Server::start();
    let gateway = gateway(&server);
    let answer = gateway.get("/x?y=1").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = server.requests().remove(0);
    assert_eq!(seen.authority, gateway.url().trim_start_matches("http://"));
    assert_eq!((seen.scheme.as_str(), seen.target.as_str()), ("http", "/x?y=1"));
    assert!(!seen.headers.contains_key("host") && !seen.headers.contains_key("connection"), "{:?}", seen.headers);
}

#[test]
fn what_the_upstream_did_not_look_at_is_sent_once_more_and_nothing_else_is() {
    let server = Server::start();
    let gateway = gateway(&server);
    run(async {
        let client = Client::connect(gateway.url()).await;
        let post = client.request(Method::POST, "/refused-once");
        let answer = client.send(post, Some(Bytes::from_static(b"all of it"))).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.text().ends_with(" all of it"), "{}", answer.text());
        // Larger than what is kept to be sent again.
        let large = client.request(Method::POST, "/refused-once?large");
        assert_eq!(client.send(large, Some(vec![b'l'; 60_000].into())).await.unwrap().status, 200);
        assert_eq!(client.get("/refused").await.unwrap().status, 502);
        assert_eq!(client.get("/broken").await.unwrap().status, 502);
        assert_eq!(client.get("/after").await.unwrap().status, 200);
    });
    let count = |path: &str| server.requests().iter().filter(|seen| seen.target == path).count();
    assert_eq!((count("/refused-once"), count("/refused"), count("/broken")), (2, 2, 1));
    assert!(gateway.logs_come_to_hold("it reset the stream: unexpected internal error"), "{}", gateway.logs());
}

#[test]
fn a_connection_that_the_upstream_ends_loses_no_request() {
    let server = Server::with(Habits { requests: Some(5), ..Habits::default() });
    let gateway = gateway(&server);
    run(async {
        let client = Client::connect(gateway.url()).await;
        for number in 0..40 {
            let answer = client.get(&format!("/n{number}")).await.unwrap();
            assert_eq!(answer.status, 200, "{number}: {}", answer.text());
        }
    });
    assert!(server.connections() >= 4, "{}", server.connections());
}

#[test]
fn an_answer_that_the_upstream_cuts_short_is_broken_for_the_visitor() {
    let server = Server::start();
    let behind_http2 = gateway(&server);
    let upstream = Upstream::start();
    let half = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nhalf";
    upstream.on("/cut", Answer::raw(&half[..], Ending::Close));
    upstream
        .on("/cut-quietly", Answer::raw(&b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"[..], Ending::Reset));
    let behind_http1 = open_to_all(&upstream.url()).start();
    for gateway in [&behind_http2, &behind_http1] {
        for path in ["/cut", "/cut-quietly"] {
            assert_breaks_off(gateway, path);
        }
    }
}

#[test]
fn a_visitor_who_leaves_cancels_at_the_upstream_and_poisons_nothing() {
    let server = Server::start();
    let gateway = gateway(&server);
    run(async {
        let client = Client::connect(gateway.url()).await;
        for path in ["/hang", "/endless"] {
            let mut sender = client.sender().ready().await.unwrap();
            let (response, mut stream) =
                sender.send_request(client.request(Method::GET, path).body(()).unwrap(), true).unwrap();
            if path == "/endless" {
                let mut body = response.await.unwrap().into_body();
                assert_eq!(body.data().await.unwrap().unwrap(), "first");
                stream.send_reset(h2::Reason::CANCEL);
            } else {
                while server.requests().is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                stream.send_reset(h2::Reason::CANCEL);
            }
        }
    });
    assert!(server.comes_to(|server| server.cancelled().len() == 2), "{:?}", server.cancelled());
    // Over HTTP/1.1 leaving is closing.
    let (_, reader) = gateway.get("/endless").open().unwrap();
    reader.stream().shutdown(std::net::Shutdown::Both).unwrap();
    assert!(server.comes_to(|server| server.cancelled().len() == 3), "{:?}", server.cancelled());
    assert_eq!(server.connections(), 1);
    assert_eq!(gateway.get("/after").send().status, 200);
}

#[test]
fn slow_visitors_do_not_hold_up_the_others_on_a_shared_connection() {
    let server = Server::start();
    let gateway = gateway(&server);
    run(async {
        let mut patient = h2::client::Builder::new();
        patient.initial_window_size(1024).initial_connection_window_size(1024 * 1024);
        let slow = Client::connect_with(gateway.url(), &patient).await;
        let mut waiting = Vec::new();
        for _ in 0..60 {
            let mut sender = slow.sender().ready().await.unwrap();
            let (response, _) = sender.send_request(slow.request(Method::GET, "/big").body(()).unwrap(), true).unwrap();
            waiting.push(response.await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let quick = Client::connect(gateway.url()).await;
        assert_eq!(quick.get("/big").await.unwrap().body.len(), 1024 * 1024);
        drop(waiting);
    });
    assert_eq!(server.connections(), 1);
}

/// However small the pieces are that wait for somebody: what came for others over the same connection goes on.
#[test]
fn small_pieces_for_slow_visitors_do_not_end_a_shared_connection() {
    let server = Server::start();
    let gateway = gateway(&server);
    run(async {
        let quick = Client::connect(gateway.url()).await;
        let mut sender = quick.sender().ready().await.unwrap();
        let (response, _) =
            sender.send_request(quick.request(Method::GET, "/endless").body(()).unwrap(), true).unwrap();
        let mut endless = response.await.unwrap().into_body();
        assert_eq!(endless.data().await.unwrap().unwrap(), "first");
        let mut patient = h2::client::Builder::new();
        patient.initial_window_size(100).initial_connection_window_size(1024 * 1024);
        let slow = Client::connect_with(gateway.url(), &patient).await;
        let mut waiting = Vec::new();
        for _ in 0..16 {
            let mut sender = slow.sender().ready().await.unwrap();
            let (response, _) =
                sender.send_request(slow.request(Method::GET, "/crumbs").body(()).unwrap(), true).unwrap();
            waiting.push(response.await.unwrap());
        }
        let ended = tokio::time::timeout(Duration::from_secs(4), endless.data()).await;
        assert!(ended.is_err(), "it ended: {ended:?}");
        assert_eq!(quick.get("/after").await.unwrap().status, 200);
        drop(waiting);
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn trailers_pass_for_grpc_alone_and_never_with_what_only_headers_say() {
    let server = Server::start();
    let gateway = gateway(&server);
    run(async {
        let client = Client::connect(gateway.url()).await;
        for (path, kind, expected) in [("/grpc", "application/grpc", true), ("/trailers", "text/plain", false)] {
            let request = client.request(Method::POST, path).header("content-type", kind).header("te", "trailers");
            let mut sender = client.sender().ready().await.unwrap();
            let (response, mut stream) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(b"body"), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            for name in
                ["x-checksum", "x-forwarded-user", "x_forwarded_email", "authorization", "content-length", "cookie"]
            {
                trailers.insert(name, http::HeaderValue::from_static("1"));
            }
            stream.send_trailers(trailers).unwrap();
            let answer = read(response.await.unwrap()).await.unwrap();
            let told = if expected { "body trailers: x-checksum" } else { "body" };
            assert!(answer.text().ends_with(told), "{path}: {}", answer.text());
            let came = answer.trailers.map(|trailers| {
                let mut names: Vec<String> = trailers.keys().map(ToString::to_string).collect();
                names.sort_unstable();
                names.join(" ")
            });
            assert_eq!(came.as_deref(), expected.then_some("grpc-status x-meta"), "{path}");
        }
    });
    let te: Vec<Option<String>> = server
        .requests()
        .iter()
        .map(|seen| seen.headers.get("te").map(|value| value.to_str().unwrap().to_owned()))
        .collect();
    assert_eq!(te, [Some("trailers".to_owned()), None]);
}

#[test]
fn an_upload_that_takes_longer_than_an_answer_may_is_no_slow_answer() {
    let server = Server::start();
    let table = format!("{}\nresponse_timeout = \"2s\"", server.table());
    let gateway = h2c().raw(&table).route("/*", "\"everyone\"", "app").start();
    run(async {
        let client = Client::connect(gateway.url()).await;
        let mut sender = client.sender().ready().await.unwrap();
        let request = client.request(Method::POST, "/x").body(()).unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        for _ in 0..14 {
            stream.send_data(Bytes::from_static(b"."), false).unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stream.send_data(Bytes::from_static(b"!"), true).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert!(answer.text().ends_with(" ..............!"), "{}", answer.text());
        // And one that is silent after that is too slow; a gRPC call has what it asks for.
        assert_eq!(client.get("/hang").await.unwrap().status, 504);
        let call =
            client.request(Method::POST, "/hang").header("content-type", "application/grpc").header("te", "trailers");
        let refusal = client.send(call.header("grpc-timeout", "3S"), Some(Bytes::new())).await.unwrap();
        assert_eq!(refusal.headers["grpc-status"], "4");
    });
    assert!(server.comes_to(|server| server.cancelled().len() == 2), "{:?}", server.cancelled());
}

#[test]
fn too_large_a_body_is_refused_over_http2_upstreams_too() {
    let server = Server::start();
    let gateway =
        h2c().raw(&server.table()).raw("[limits]\nbody_bytes = \"1KiB\"").route("/*", "\"everyone\"", "app").start();
    run(async {
        let client = Client::connect(gateway.url()).await;
        let mut sender = client.sender().ready().await.unwrap();
        let request = client.request(Method::POST, "/x").body(()).unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        stream.send_data(vec![0; 2000].into(), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 413);
    });
}

/// Content where there can be none would break the stream of whoever speaks HTTP/2.
#[test]
fn a_status_without_content_has_none() {
    let upstream = Server::start();
    let gateway = h2c().raw(&upstream.table()).route("/*", "\"everyone\"", "app").start();
    run(async {
        let client = Client::connect(gateway.url()).await;
        for status in [204, 304] {
            let answer = client.get(&format!("/{status}")).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (status, ""));
            assert_eq!(gateway.get(&format!("/{status}")).send().status, status);
        }
        assert_eq!(client.get("/after").await.unwrap().status, 200);
    });
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn ranges_head_and_events_pass_as_they_are() {
    let upstream = Upstream::start();
    upstream.on(
        "/range",
        Answer::body("cde").with_status(206).header("Content-Range", "bytes 2-4/10").header("Accept-Ranges", "bytes"),
    );
    upstream.on("/events", Answer::events(&["one", "two"], Duration::from_secs(12)));
    let gateway = open_to_all(&upstream.url()).start();
    run(async {
        let client = Client::connect(gateway.url()).await;
        let range = client.request(Method::GET, "/range").header("range", "bytes=2-4");
        let answer = client.send(range, None).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (206, "cde"));
        assert_eq!(answer.headers["content-range"], "bytes 2-4/10");
        let head = client.send(client.request(Method::HEAD, "/range"), None).await.unwrap();
        assert_eq!((head.body.len(), &head.headers["content-length"]), (0, &http::HeaderValue::from_static("3")));

        let mut sender = client.sender().ready().await.unwrap();
        let begun = portcullis::base::clock::instant();
        let (response, _) =
            sender.send_request(client.request(Method::GET, "/events").body(()).unwrap(), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "data: one\n\n");
        assert!(begun.elapsed() < Duration::from_secs(10), "the first event waits for the second");
    });
    assert_eq!(upstream.requests()[0].header("range"), Some("bytes=2-4"));
}
