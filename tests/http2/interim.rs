//! Interim answers of an upstream (RFC 9110, section 15.2): they are no answers, however many come and whatever they say.

use http::Method;

use crate::client::{Client, h2c, open_to_all, run};
use crate::server::Server;
use crate::support::answer::{Answer, Ending};
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

fn asked_for(gateway: &Gateway, path: &str) {
    let answer = gateway.get(path).send();
    assert_eq!((answer.status, answer.text().as_str()), (200, "the answer"), "{path}: {}", gateway.logs());
    assert_eq!(answer.header("x-kept"), Some("yes"));
    assert_eq!(answer.header("link"), None, "what an interim answer said is not the answer's");
    assert!(answer.head.all("set-cookie").is_empty());
    run(async {
        let client = Client::connect(gateway.url()).await;
        for method in [Method::GET, Method::POST] {
            let body = (method == Method::POST).then(|| "body".into());
            let answer = client.send(client.request(method, path), body).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "the answer"), "{path}");
            assert!(!answer.headers.contains_key("link") && !answer.headers.contains_key("set-cookie"));
        }
        assert_eq!(client.get("/after").await.unwrap().status, 200, "nothing is left over");
    });
    assert_eq!(gateway.get("/after").send().status, 200);
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nSet-Cookie: portcullis=forged\r\nContent-Length: 5\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nX-Kept: yes\r\nContent-Length: 10\r\n\r\nthe answer";

#[test]
fn early_hints_over_http1_are_not_taken_for_the_answer() {
    let upstream = Upstream::start();
    upstream.on("/hints", Answer::raw(format!("{HINTS}{FINAL}"), Ending::KeepOpen));
    upstream
        .on("/more", Answer::raw(format!("{HINTS}HTTP/1.1 102 Processing\r\n\r\n{HINTS}{FINAL}"), Ending::KeepOpen));
    upstream.on("/endless", Answer::raw(HINTS.repeat(500), Ending::Close));
    let gateway = open_to_all(&upstream.url()).start();
    asked_for(&gateway, "/hints");
    asked_for(&gateway, "/more");
    assert_eq!(gateway.get("/endless").send().status, 502, "hints alone are no answer");
}

#[test]
fn early_hints_over_http2_are_not_taken_for_the_answer() {
    let server = Server::start();
    let gateway = h2c().raw(&server.table()).route("/*", "\"everyone\"", "app").start();
    asked_for(&gateway, "/hints");
}
