//! Class 58: two hundred people at once over a handful of connections to an upstream, each signed in with a session of their own,
//! over HTTP/1.1 and HTTP/2 on both sides. Everybody gets their own answer, also while others leave in the middle of theirs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use portcullis::demo::provider::Person;
use serde_json::json;
use url::Url;

use crate::client::{Client, assert_breaks_off, run};
use crate::server::Server;
use crate::support::answer::{Answer, Ending};
use crate::support::browser::Browser;
use crate::support::client;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;

const USERS: usize = 200;
const ROUNDS: usize = 4;

/// One signed-in person: the name that the upstream is told, and the `Cookie` that says so.
struct User {
    name: String,
    cookie: String,
}

struct Scene {
    gateway: Gateway,
    users: Vec<User>,
    _provider: Provider,
}

/// Two upstreams behind one gateway: `/old/*` is HTTP/1.1, everything else HTTP/2.
fn scene(old: &Upstream, new: &Server) -> Scene {
    let provider = Provider::start();
    let gateway = GatewayConfig::on_loopback()
        .client(provider.issuer(), CLIENT_ID, CLIENT_SECRET)
        .listen_line("h2c = true")
        .top("workers = 1")
        .upstream("old", &old.url())
        .raw(&new.table())
        .route("/old/*", "\"signed-in\"", "old")
        .route("/*", "\"signed-in\"", "app")
        .start();
    let names: Vec<String> = (0..USERS).map(|number| format!("user-{number:03}")).collect();
    for name in &names {
        provider.control().put_person(Person::new(name, json!({ "sub": name, "preferred_username": name })));
    }
    let cookie = |name: &str| {
        let mut browser = Browser::new();
        let page = browser.sign_in(name, &gateway.at("/old/"));
        assert_eq!(page.response.status, 200, "{name}: {}", gateway.logs());
        let field = browser.jar.field(&Url::parse(gateway.url()).unwrap()).expect("a session has a cookie");
        field.split("; ").filter(|pair| !pair.starts_with("development-provider")).collect::<Vec<_>>().join("; ")
    };
    let users = thread::scope(|scope| {
        let cookie = &cookie;
        let parts: Vec<_> = names
            .chunks(USERS / 8)
            .map(|part| {
                scope.spawn(move || {
                    part.iter().map(|name| User { name: name.clone(), cookie: cookie(name) }).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("everybody signs in")).collect()
    });
    old.forget();
    Scene { gateway, users, _provider: provider }
}

/// What an upstream says of `user` and of the body that came with it.
fn assert_own(path: &str, user: &str, body: &str, text: &str) {
    if path.starts_with("/old/") {
        let told: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{user} got {text}"));
        let who: Vec<&str> = told["headers"]
            .as_array()
            .expect("it echoes the headers")
            .iter()
            .filter(|field| field[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("x-forwarded-user")))
            .map(|field| field[1].as_str().unwrap_or_default())
            .collect();
        assert_eq!((who, told["target"].as_str()), (vec![user], Some(path)), "{user} got {text}");
        let digest = crate::support::sha256(body.as_bytes());
        assert!(text.contains(&digest), "{user} got {text}");
    } else {
        assert!(text.starts_with(&format!("{user} ")) && text.ends_with(&format!(" {body}")), "{user} got {text}");
        assert!(text.contains(path), "{user} got {text}");
    }
}

/// The users `from..to` over HTTP/1.1, each on a thread of their own.
fn over_http1(scene: &Scene, paths: &[&str]) {
    thread::scope(|scope| {
        for user in scene.users.iter().step_by(2) {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let path = format!("{}?{}-{round}", paths[round % paths.len()], user.name);
                    let body = format!("of {} in {round}", user.name);
                    let request = scene.gateway.client().request("POST", &path).header("Cookie", &user.cookie);
                    let answer = request.body(body.clone()).send();
                    assert_eq!(answer.status, 200, "{}: {}", user.name, answer.text());
                    assert_own(&path, &user.name, &body, &answer.text());
                }
            });
        }
    });
}

/// The other users over HTTP/2, several of them on one connection, as behind a front that bundles them.
async fn over_http2(scene: &Scene, paths: &[&str]) {
    let clients = join_all((0..5).map(|_| Client::connect(scene.gateway.url()))).await;
    for round in 0..ROUNDS {
        let asked = scene.users.iter().skip(1).step_by(2).enumerate().map(|(number, user)| {
            let client = &clients[number % clients.len()];
            let path = format!("{}?{}-{round}", paths[round % paths.len()], user.name);
            let body = format!("of {} in {round}", user.name);
            let request = client.request(Method::POST, &path).header("cookie", user.cookie.as_str());
            async move {
                let answer = client.send(request, Some(Bytes::from(body.clone()))).await.unwrap();
                assert_eq!(answer.status, 200, "{}: {}", user.name, answer.text());
                assert_own(&path, &user.name, &body, &answer.text());
            }
        });
        drop(join_all(asked).await);
    }
}

/// People who leave in the middle of an answer, or of their own request, until told to stop.
fn leave_early(scene: &Scene, stop: &AtomicBool) {
    use std::io::Write as _;
    let cookie = &scene.users[0].cookie;
    while !stop.load(Ordering::Relaxed) {
        for path in ["/old/big", "/big", "/endless"] {
            if let Ok((_, reader)) = scene.gateway.get(path).header("Cookie", cookie).open() {
                drop(reader);
            }
        }
        let mut stream = scene.gateway.client().connect();
        let host = scene.gateway.url().trim_start_matches("http://");
        let head = format!(
            "POST /old/x HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: 100\r\n\r\nhalf of it"
        );
        stream.write_all(head.as_bytes()).unwrap();
    }
}

#[test]
fn class_58_everybody_gets_their_own_answer_over_shared_connections() {
    let (old, new) = (Upstream::start(), Server::start());
    old.on("/old/big", Answer::big(4 << 20));
    let scene = scene(&old, &new);
    let paths = ["/old/x", "/slow", "/x"];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| leave_early(&scene, &stop));
        let first = scope.spawn(|| over_http1(&scene, &paths));
        run(over_http2(&scene, &paths));
        let ended = first.join();
        stop.store(true, Ordering::Relaxed);
        ended.expect("everybody gets their own");
    });
    assert!(new.connections() <= 4, "{} connections for what one can carry", new.connections());
    assert!(new.requests().iter().all(|seen| seen.headers.get_all("x-forwarded-user").iter().count() == 1));
}

/// A connection that an application has signed a person in on serves nobody else (NTLM, RFC 4559).
#[test]
fn class_58_a_connection_that_one_person_signed_in_on_is_not_the_next_ones() {
    let upstream = Upstream::start();
    let gateway = crate::client::open_to_all(&upstream.url()).start();
    let connection_of = |authorization: &str| {
        let request = gateway.get("/x");
        let request = if authorization.is_empty() { request } else { request.header("Authorization", authorization) };
        assert_eq!(request.send().status, 200);
        upstream.last_request().connection
    };
    let first = connection_of("");
    assert_eq!(connection_of("Basic eDp5"), first, "others share");
    for scheme in ["NTLM TlRMTVNTUAADAAAA", "Negotiate YIIJ", "negotiate"] {
        let signed_in = connection_of(scheme);
        for _ in 0..3 {
            assert_ne!(connection_of(""), signed_in, "{scheme}");
        }
        assert_ne!(connection_of(scheme), signed_in, "{scheme}");
    }
}

/// Class 59 and classes 9 to 11: what an upstream breaks off is broken for the visitor, whatever is spoken on either side.
#[test]
fn an_answer_that_breaks_off_is_never_a_short_whole_one() {
    let upstream = Upstream::start();
    let head = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}\r\n{body}");
    let big = "x".repeat(100_000);
    for (path, raw, ending) in [
        ("/length", head("Content-Length: 1000\r\n", "half"), Ending::Close),
        ("/length-reset", head("Content-Length: 1000\r\n", "half"), Ending::Reset),
        ("/long", head("Content-Length: 1000000\r\n", &big), Ending::Close),
        ("/chunks", head("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"), Ending::Close),
        ("/chunks-reset", head("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"), Ending::Reset),
        ("/half-a-chunk", head("Transfer-Encoding: chunked\r\n", "ff\r\nhalf"), Ending::Close),
        ("/no-end", head("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n0\r\n"), Ending::Close),
        ("/until-close", head("Connection: close\r\n", "half"), Ending::Reset),
    ] {
        upstream.on(path, Answer::raw(raw, ending));
    }
    let gateway = crate::client::open_to_all(&upstream.url()).start();
    for path in
        ["/length", "/length-reset", "/long", "/chunks", "/chunks-reset", "/half-a-chunk", "/no-end", "/until-close"]
    {
        for _ in 0..3 {
            assert_breaks_off(&gateway, path);
            // HTTP/1.0 knows no chunks: the end of the connection is the end of the answer, so a broken one is reset.
            let old = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", gateway.url().trim_start_matches("http://"));
            client::assert_breaks_off(gateway.client().raw(old.as_bytes()), path);
        }
    }
    assert_eq!(gateway.get("/after").send().status, 200);
}
