//! WebSockets over one stream of an HTTP/2 connection (RFC 8441).

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};

use crate::client::{Client, h2c, open_to_all, run};
use crate::support::answer::{Answer, Ending};
use crate::support::browser::Browser;
use crate::support::gateway::GatewayConfig;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;

/// What a browser sends to open a WebSocket over HTTP/2.
async fn open(
    client: &Client,
    path: &str,
    fields: &[(&str, &str)],
) -> Result<(Response<RecvStream>, SendStream<Bytes>), h2::Error> {
    open_as(client, "websocket", path, fields).await
}

async fn open_as(
    client: &Client,
    protocol: &'static str,
    path: &str,
    fields: &[(&str, &str)],
) -> Result<(Response<RecvStream>, SendStream<Bytes>), h2::Error> {
    let mut sender = client.sender().ready().await?;
    let mut request: Request<()> = client
        .request(Method::CONNECT, path)
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .body(())
        .expect("a request");
    for (name, value) in fields {
        request.headers_mut().append(
            http::HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            http::HeaderValue::from_str(value).expect("a value"),
        );
    }
    let (response, stream) = sender.send_request(request, false)?;
    Ok((response.await?, stream))
}

/// A client that has the gateway's settings, which say whether it takes extended CONNECT.
async fn connect(url: &str) -> Client {
    let client = Client::connect(url).await;
    assert_eq!(client.get("/x").await.expect("an answer").status, 200);
    assert!(client.sender().is_extended_connect_protocol_enabled());
    client
}

fn masked(text: &[u8]) -> Bytes {
    let key = [1, 2, 3, 4];
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).expect("short"), 1, 2, 3, 4];
    frame.extend(text.iter().enumerate().map(|(place, byte)| byte ^ key[place % 4]));
    frame.into()
}

#[test]
fn an_echo_comes_back_over_a_stream_beside_other_requests() {
    let upstream = Upstream::start();
    upstream.on("/ws", Answer::websocket());
    let gateway = open_to_all(&upstream.url()).raw("[limits]\nidle_timeout = \"2s\"").start();
    run(async {
        let client = connect(gateway.url()).await;
        let fields = [
            ("x-forwarded-user", "root"),
            ("cookie", "portcullis=forged"),
            ("cookie", "a=1"),
            ("origin", "https://elsewhere.example"),
        ];
        let (response, mut stream) = open(&client, "/ws?x=1", &fields).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("sec-websocket-accept"), "{:?}", response.headers());
        let mut body = response.into_body();
        // Longer than an idle connection is kept.
        for text in ["hello", "again"] {
            stream.send_data(masked(text.as_bytes()), false).unwrap();
            let back = body.data().await.unwrap().unwrap();
            assert_eq!(&back[..], [&[0x81, 5], text.as_bytes()].concat());
            assert_eq!(client.get("/x").await.unwrap().status, 200);
            tokio::time::sleep(std::time::Duration::from_millis(3500)).await;
        }
        // What one side ends, the other side sees ended.
        stream.send_data(Bytes::from_static(&[0x88, 0x80, 1, 2, 3, 4]), true).unwrap();
        let mut rest = Vec::new();
        while let Some(part) = body.data().await {
            rest.extend_from_slice(&part.unwrap());
        }
        assert_eq!(rest, [0x88, 0]);
    });
    let seen = upstream.requests().into_iter().find(|seen| seen.target == "/ws?x=1").unwrap();
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("cookie"), Some("a=1"));
    assert!(!seen.mentions("root") && !seen.mentions("forged"), "{:?}", seen.head.headers);
}

#[test]
fn a_websocket_needs_what_its_route_asks_for() {
    let upstream = Upstream::start();
    upstream.on("/ws", Answer::websocket());
    let gateway = h2c()
        .upstream("app", &upstream.url())
        .route("/x", "\"everyone\"", "app")
        .route("/*", "\"signed-in\"", "app")
        .start();
    run(async {
        let client = connect(gateway.url()).await;
        let (response, _) = open(&client, "/ws", &[]).await.unwrap();
        assert_eq!(response.status(), 401);
        let (response, _) = open(&client, "/x/../ws", &[]).await.unwrap();
        assert_eq!(response.status(), 400);
    });
    assert_eq!(upstream.count(), 1);
}

#[test]
fn no_other_connect_passes() {
    let upstream = Upstream::start();
    let gateway = open_to_all(&upstream.url()).start();
    run(async {
        let client = connect(gateway.url()).await;
        for protocol in ["connect-udp", "webtransport", "WebSocket", "h2c", ""] {
            match open_as(&client, protocol, "/ws", &[]).await {
                Ok((response, _)) => assert_eq!(response.status(), 405, "{protocol}"),
                Err(error) => assert!(error.is_reset(), "{protocol}: {error}"),
            }
        }
    });
    assert_eq!(upstream.count(), 1);
}

#[test]
fn only_an_upstream_that_opens_a_websocket_opens_the_tunnel() {
    let upstream = Upstream::start();
    // A page, and a 101 that answers somebody else's handshake.
    upstream.on("/page", Answer::body("a page"));
    let forged = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    upstream.on("/forged", Answer::raw(forged.as_bytes(), Ending::KeepOpen));
    upstream.on("/no", Answer::status(403));
    let gateway = open_to_all(&upstream.url()).start();
    run(async {
        let client = connect(gateway.url()).await;
        for (path, status) in [("/page", 502), ("/forged", 502), ("/no", 403)] {
            let (response, _) = open(&client, path, &[]).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
        }
    });
}

/// The tunnel of a session that ends is closed within a second or so; the connection and its other streams go on.
#[test]
fn a_tunnel_is_closed_when_its_session_ends() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    upstream.on("/ws", Answer::websocket());
    let config = GatewayConfig::on_loopback().client(provider.issuer(), CLIENT_ID, CLIENT_SECRET);
    let gateway = config.upstream("app", &upstream.url()).listen_line("h2c = true").top("workers = 1").start();
    let mut browser = Browser::new();
    assert_eq!(browser.sign_in("alice", &gateway.at("/x")).response.status, 200);
    let url = url::Url::parse(&gateway.at("/.auth/logout")).expect("a URL");
    let cookie = browser.jar.field(&url).expect("a session");
    run(async {
        let client = Client::connect(gateway.url()).await;
        assert_eq!(client.get("/.auth/me").await.unwrap().status, 401);
        let fields = [("cookie", cookie.as_str()), ("origin", gateway.url())];
        let (response, mut stream) = open(&client, "/ws", &fields).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        stream.send_data(masked(b"hello"), false).unwrap();
        assert!(body.data().await.unwrap().is_ok());
        let signed_out = tokio::task::spawn_blocking(move || {
            browser.send(&url, |request| request.header("Sec-Fetch-Site", "same-origin"), "GET").status
        });
        assert_eq!(signed_out.await.unwrap(), 200);
        // What is left of the echo may still come.
        let closed = async { while let Some(Ok(_)) = body.data().await {} };
        tokio::time::timeout(std::time::Duration::from_secs(10), closed).await.expect("it is closed");
        assert_eq!(client.get("/.auth/me").await.unwrap().status, 401, "the connection goes on");
    });
}
