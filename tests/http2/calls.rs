//! gRPC calls as frames see them: whose deadline counts, and who may be silent for how long.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::timeout;

use crate::client::{Client, h2c, read, run};
use crate::server::Server;
use crate::support::gateway::Gateway;

fn gateway(server: &Server, limits: &str) -> Gateway {
    h2c().raw(&server.table()).raw(limits).route("/*", "\"everyone\"", "app").start()
}

fn call(client: &Client, path: &str) -> http::request::Builder {
    client.request(Method::POST, path).header("content-type", "application/grpc").header("te", "trailers")
}

/// `response_timeout` would be a minute; who has given up by then needs no answer, and the upstream need not go on.
#[test]
fn a_shorter_deadline_of_the_callers_is_kept() {
    let server = Server::start();
    let gateway = gateway(&server, "");
    run(async {
        let client = Client::connect(gateway.url()).await;
        let answer =
            client.send(call(&client, "/hang").header("grpc-timeout", "200m"), Some(Bytes::new())).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers.get("grpc-status").unwrap(), "4", "DEADLINE_EXCEEDED");
    });
    assert!(server.comes_to(|server| server.cancelled() == [h2::Reason::CANCEL]));
}

/// Of a stream that goes both ways each side may be silent for as long as the other one speaks, or longer.
#[test]
fn a_caller_may_be_silent_once_the_answer_has_begun() {
    let server = Server::start();
    let gateway = gateway(&server, "[limits]\nbody_timeout = \"1s\"");
    run(async {
        let client = Client::connect(gateway.url()).await;
        let mut sender = client.sender().ready().await.unwrap();
        let (response, mut upload) = sender.send_request(call(&client, "/endless").body(()).unwrap(), false).unwrap();
        upload.send_data(Bytes::from_static(b"first words"), false).unwrap();
        let mut answer = response.await.unwrap().into_body();
        assert_eq!(answer.data().await.unwrap().unwrap(), "first");
        let silence = timeout(Duration::from_secs(4), answer.data()).await;
        assert!(silence.is_err(), "it was ended: {silence:?}");

        // Until the answer begins the bound holds.
        let (response, mut upload) = sender.send_request(call(&client, "/grpc").body(()).unwrap(), false).unwrap();
        upload.send_data(Bytes::from_static(b"first words"), false).unwrap();
        let refusal = read(response.await.unwrap()).await.unwrap();
        assert!(refusal.headers.contains_key("grpc-status"), "{refusal:?}");
    });
}

/// The answer is let go in both directions, though the caller has not ended the request: so is the upstream.
#[test]
fn an_answer_that_nobody_takes_ends_though_the_request_goes_on() {
    let server = Server::start();
    let gateway = gateway(&server, "[limits]\nsend_timeout = \"1s\"");
    run(async {
        let client = Client::connect_with(gateway.url(), h2::client::Builder::new().initial_window_size(1000)).await;
        for kind in ["application/grpc", "text/plain"] {
            let mut sender = client.sender().ready().await.unwrap();
            let request = client.request(Method::POST, "/big").header("content-type", kind).header("te", "trailers");
            let (response, mut upload) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            upload.send_data(Bytes::from_static(b"first words"), false).unwrap();
            let answer = response.await.unwrap();
            let reason = std::future::poll_fn(|context| upload.poll_reset(context)).await.unwrap();
            assert_eq!(reason, h2::Reason::CANCEL, "{kind}");
            drop(answer);
        }
        assert_eq!(client.get("/after").await.unwrap().status, 200);
    });
}
