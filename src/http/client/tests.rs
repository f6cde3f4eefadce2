//! Calls to servers that behave and to servers that don't, over loopback.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::net::tls_client::{Trust, client_config};

const LIMIT: Duration = Duration::from_secs(5);

/// Answers one connection with `answer` after the request's head, and gives back that head.
async fn serve(answer: Vec<u8>) -> (Url, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/path?query=1", listener.local_addr().unwrap())).unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        // The client may hang up before it has taken everything.
        let _sent = stream.write_all(&answer).await;
        head
    });
    (url, task)
}

async fn read_head<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn plain() -> Client {
    Client::new(None, Arc::default())
}

async fn get(answer: impl Into<Vec<u8>>) -> Result<Answer, ClientFault> {
    let (url, _served) = serve(answer.into()).await;
    let mut call = Call::get(&url, Reach::Anywhere, LIMIT);
    call.body_limit = 1000;
    plain().call(call).await
}

#[tokio::test]
async fn a_call_sends_what_it_must_and_reads_the_answer() {
    let (url, served) = serve(b"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}".to_vec()).await;
    let answer = plain().call(Call::get(&url, Reach::Anywhere, LIMIT)).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"{}"[..]));
    assert!(answer.is_of_type("application/json") && !answer.is_of_type("text/html"));
    let head = served.await.unwrap();
    assert!(head.starts_with("GET /path?query=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("accept-encoding: identity\r\n")
            && head.contains(&format!("host: {}\r\n", &url[url::Position::BeforeHost..url::Position::AfterPort]))
    );
    assert!(!head.contains("cookie"), "{head}");
}

#[tokio::test]
async fn an_error_status_is_an_answer_and_a_redirect_is_not() {
    assert_eq!(
        get("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").await.unwrap().status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        assert!(matches!(get(answer).await, Err(ClientFault::Redirect(_))), "{status}");
    }
}

#[tokio::test]
async fn a_large_body_is_cut_off_however_it_is_framed() {
    let body = "x".repeat(1001);
    for answer in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{body}"),
        "HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{body}\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
    ] {
        assert!(matches!(get(answer).await, Err(ClientFault::TooLarge(1000))));
    }
    let most = "x".repeat(1000);
    assert_eq!(get(format!("HTTP/1.1 200 OK\r\n\r\n{most}")).await.unwrap().body.len(), 1000);
}

#[tokio::test]
async fn a_large_head_is_refused() {
    // hyper looks at the limit after each read, and a read may be as large as the limit again.
    let field = format!("X-Long: {}\r\n", "x".repeat(4 * HEAD_LIMIT));
    assert!(matches!(get(format!("HTTP/1.1 200 OK\r\n{field}\r\n")).await, Err(ClientFault::Http(_))));
    let many = "X-A: b\r\n".repeat(HEAD_FIELDS + 1);
    assert!(matches!(get(format!("HTTP/1.1 200 OK\r\n{many}\r\n")).await, Err(ClientFault::Http(_))));
}

#[tokio::test]
async fn a_content_coding_is_refused() {
    for coding in ["gzip", "br", "identity, gzip", "x"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 2\r\n\r\n{{}}");
        assert!(matches!(get(answer).await, Err(ClientFault::Encoded)), "{coding}");
    }
    assert!(get("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}").await.is_ok());
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    for answer in [
        "",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ] {
        assert!(matches!(get(answer).await, Err(ClientFault::Http(_))), "{answer}");
    }
}

#[tokio::test]
async fn a_slow_drip_ends_with_the_whole_calls_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let began = crate::base::clock::instant();
    let outcome = plain().call(Call::get(&url, Reach::Anywhere, Duration::from_millis(200))).await;
    assert!(matches!(outcome, Err(ClientFault::Timeout(_))));
    assert!(began.elapsed() < Duration::from_secs(10), "the drip would take 20 s");
    // The connection is closed, so that the server notices.
    tokio::time::timeout(LIMIT * 4, server).await.unwrap().unwrap();
}

#[tokio::test]
async fn other_schemes_and_private_addresses_are_refused_before_a_connection() {
    for url in ["ftp://a.example/", "file:///etc/passwd", "gopher://a.example/", "data:,x"] {
        let url = Url::parse(url).unwrap();
        assert!(matches!(plain().call(Call::get(&url, Reach::Anywhere, LIMIT)).await, Err(ClientFault::Url)), "{url}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
        let outcome = plain().call(Call::get(&url, Reach::PublicOnly, LIMIT)).await;
        assert!(matches!(outcome, Err(ClientFault::Connect(ConnectFault::NotPublic(_)))), "{host}");
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), listener.accept()).await.is_err());
}

/// A certificate for `localhost`, in a file, and a TLS server that answers one connection with it.
async fn serve_tls() -> (tempfile::TempDir, u16) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), issued.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    drop(tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            read_head(&mut stream).await;
            let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecure").await;
            let _closed = stream.shutdown().await;
        }
    }));
    (dir, port)
}

#[tokio::test]
async fn tls_is_checked_against_the_bundle_and_the_name() {
    let (dir, port) = serve_tls().await;
    let trusting = client_config(Trust::Only(&dir.path().join("ca.pem")), &[b"http/1.1"]).unwrap();
    let url = Url::parse(&format!("https://localhost:{port}/")).unwrap();
    let client = Client::new(Some(trusting), Arc::default());
    assert_eq!(&client.call(Call::get(&url, Reach::Anywhere, LIMIT)).await.unwrap().body[..], b"secure");
    let wrong_name = Url::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
    let outcome = client.call(Call::get(&wrong_name, Reach::Anywhere, LIMIT)).await;
    assert!(matches!(outcome, Err(ClientFault::Connect(ConnectFault::Tls(_)))));
    let (other, _) = serve_tls().await;
    let stranger = client_config(Trust::Only(&other.path().join("ca.pem")), &[]).unwrap();
    let outcome = Client::new(Some(stranger), Arc::default()).call(Call::get(&url, Reach::Anywhere, LIMIT)).await;
    assert!(matches!(outcome, Err(ClientFault::Connect(ConnectFault::Tls(_)))));
    assert!(matches!(plain().call(Call::get(&url, Reach::Anywhere, LIMIT)).await, Err(ClientFault::NoTls)));
}

fn through(proxy: &Url) -> Arc<Proxies> {
    let value = format!("http://user:hush@{}", &proxy[url::Position::BeforeHost..url::Position::AfterPort]);
    Arc::new(Proxies::from_environment(&BTreeMap::from([("ALL_PROXY".to_owned(), value)])).unwrap())
}

#[tokio::test]
async fn a_plain_call_goes_to_the_proxy_in_absolute_form() {
    let (proxy, served) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()).await;
    let url = Url::parse("http://unresolvable.invalid:81/a?b").unwrap();
    let client = Client::new(None, through(&proxy));
    assert_eq!(&client.call(Call::get(&url, Reach::PublicOnly, LIMIT)).await.unwrap().body[..], b"ok");
    let head = served.await.unwrap();
    assert!(head.starts_with("GET http://unresolvable.invalid:81/a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNlcjpodXNo\r\n"), "{head}");
}

#[tokio::test]
async fn a_tls_call_goes_through_a_tunnel() {
    let (dir, port) = serve_tls().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
        let mut inner = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _copied = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
        head
    });
    // The certificate is for `localhost`, to which no call goes through a proxy; so the name is checked and found wrong,
    // which shows that TLS was spoken with the far end.
    let trusting = client_config(Trust::Only(&dir.path().join("ca.pem")), &[]).unwrap();
    let url = Url::parse("https://far.invalid/").unwrap();
    let outcome = Client::new(Some(trusting), through(&proxy)).call(Call::get(&url, Reach::PublicOnly, LIMIT)).await;
    let Err(ClientFault::Connect(ConnectFault::Tls(cause))) = outcome else { panic!("the name went unchecked") };
    assert!(cause.to_string().contains("far.invalid") || cause.to_string().contains("name"), "{cause}");
    let head = served.await.unwrap();
    assert!(head.starts_with("CONNECT far.invalid:443 HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named() {
    let (proxy, _served) = serve(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let url = Url::parse("https://far.invalid/").unwrap();
    let config = client_config(Trust::Only(&serve_tls().await.0.path().join("ca.pem")), &[]).unwrap();
    let outcome = Client::new(Some(config), through(&proxy)).call(Call::get(&url, Reach::PublicOnly, LIMIT)).await;
    assert!(matches!(outcome, Err(ClientFault::Proxy(StatusCode::PROXY_AUTHENTICATION_REQUIRED))));
    // A private address is not asked for through a proxy either, unless the operator named it.
    let private = Url::parse("http://10.0.0.1/").unwrap();
    let outcome = Client::new(None, through(&proxy)).call(Call::get(&private, Reach::PublicOnly, LIMIT)).await;
    assert!(matches!(outcome, Err(ClientFault::Connect(ConnectFault::NotPublic(_)))));
}
