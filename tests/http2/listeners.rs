//! Which HTTP a listener speaks: what ALPN agrees on over TLS, and on a plain connection what the client begins with.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Client, h2c, open_to_all, read, run};
use crate::frames::{GOAWAY, Raw};
use crate::server::Server;
use crate::support::authority::Authority;
use crate::support::free_port;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::relay::Relay;
use crate::support::upstream::Upstream;
use crate::support::wire::Reader;

#[test]
fn one_plain_listener_takes_both_when_told_to() {
    let upstream = Upstream::start();
    let gateway = open_to_all(&upstream.url()).start();
    assert_eq!(gateway.get("/one").send().status, 200);
    run(async {
        let client = Client::connect(gateway.url()).await;
        assert_eq!(client.get("/two").await.unwrap().status, 200);
    });
    // A method that begins as the preface does, byte by byte.
    let mut stream = gateway.client().connect();
    for byte in format!("PRI /x HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", &gateway.url()[7..]).bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let head = Reader::new(stream).head().unwrap().unwrap();
    assert!(head.first_line.starts_with("HTTP/1.1 200"), "{}", head.first_line);
    assert_eq!(upstream.count(), 3);
}

#[test]
fn without_the_setting_a_plain_listener_takes_http1_alone() {
    let upstream = Upstream::start();
    let gateway = GatewayConfig::on_loopback()
        .provider("http://127.0.0.1:1", "a client secret")
        .upstream("app", &upstream.url())
        .route("/*", "\"everyone\"", "app")
        .start();
    let mut raw = Raw::connect(gateway.url());
    // An HTTP/1.1 refusal is no frame; what matters is that the connection ends and nothing passes.
    let ended = raw.next();
    assert!(!matches!(&ended, Ok(Some(frame)) if frame.kind != GOAWAY && frame.kind < 4), "{ended:?}");
    assert_eq!(gateway.get("/x").send().status, 200);
    assert_eq!(upstream.count(), 1);
}

/// A gateway with a certificate of its own, and a client that trusts it.
fn secured(upstream: &str) -> (Gateway, u16, Vec<u8>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let port = free_port();
    let gateway = h2c()
        .listen_line(&format!("https = [\"127.0.0.1:{port}\"]"))
        .raw(&format!("[tls]\ncert = \"{}\"\nkey = \"{}\"", cert.display(), key.display()))
        .raw(&format!("[upstreams.app]\n{upstream}"))
        .route("/*", "\"everyone\"", "app")
        .start();
    (gateway, port, issued.cert.pem().into_bytes(), folder)
}

async fn handshake(port: u16, pem: &[u8], offered: &[&[u8]]) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

#[test]
fn over_tls_the_two_agree() {
    let upstream = Upstream::start();
    let (_gateway, port, pem, _folder) = secured(&format!("url = {:?}", upstream.url()));
    run(async {
        for (offered, agreed) in [
            (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
            (&[b"http/1.1"], Some(b"http/1.1")),
            (&[b"http/1.1", b"h2"], Some(b"h2")),
            (&[], None),
        ] {
            let stream = handshake(port, &pem, offered).await;
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
            let uri = format!("https://127.0.0.1:{port}/x");
            if agreed == Some(b"h2") {
                let (sender, connection) = h2::client::handshake(stream).await.unwrap();
                tokio::task::spawn_local(connection);
                let request = http::Request::get(&uri).body(()).unwrap();
                let (response, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
                assert_eq!(read(response.await.unwrap()).await.unwrap().status, 200);
            } else {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut stream = stream;
                let request = format!("GET /x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            }
        }
    });
    assert_eq!(upstream.count(), 4);
}

/// One gateway behind another: "auto" finds HTTP/2 by ALPN, "http1" leaves it.
#[test]
fn an_https_upstream_is_spoken_to_as_agreed() {
    let upstream = Upstream::start();
    let (_inner, port, pem, folder) = secured(&format!("url = {:?}", upstream.url()));
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &pem).unwrap();
    for (protocol, via) in [("auto", "2 portcullis"), ("http2", "2 portcullis"), ("http1", "1.1 portcullis")] {
        let table = format!(
            "[upstreams.app]\nurl = \"https://localhost:{port}\"\nca = {ca:?}\nprotocol = {protocol:?}\npass_host = false"
        );
        let outer = h2c().raw(&table).route("/*", "\"everyone\"", "app").start();
        let answer = outer.get("/x").send();
        assert_eq!(answer.status, 200, "{protocol}: {} {}", answer.text(), outer.logs());
        let seen = upstream.last_request();
        let hops: Vec<&str> =
            seen.head.headers.iter().filter(|(name, _)| name == "via").map(|(_, value)| value.as_str()).collect();
        assert_eq!(hops, ["1.1 portcullis", via], "{protocol}");
    }
}

/// Health checks ask in the words that the two agree on, as requests do; a server that speaks nothing else passes them.
#[test]
fn health_checks_of_an_https_upstream_speak_what_it_speaks() {
    let upstream = Upstream::start();
    let (_inner, port, pem, folder) = secured(&format!("url = {:?}", upstream.url()));
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &pem).unwrap();
    for (protocol, via) in [("auto", "2 portcullis"), ("http2", "2 portcullis"), ("http1", "1.1 portcullis")] {
        upstream.forget();
        let table = format!(
            "[upstreams.app]\nurl = \"https://localhost:{port}\"\nca = {ca:?}\nprotocol = {protocol:?}\npass_host = false\n\
             [upstreams.app.health]\npath = \"/healthz\"\ninterval = \"100ms\"\ntimeout = \"5s\""
        );
        let outer = h2c().raw(&table).route("/*", "\"everyone\"", "app").start();
        assert!(upstream.comes_to(3), "{protocol}: {}", outer.logs());
        for seen in upstream.requests() {
            assert_eq!((seen.target.as_str(), seen.header("via")), ("/healthz", Some(via)), "{protocol}");
        }
        assert!(!outer.logs().contains("is not well"), "{protocol}: {}", outer.logs());
    }
    // One that agrees to HTTP/1.1 alone is asked in that, and is not well where it is to speak HTTP/2.
    let authority = Authority::new();
    let mut config = authority.server(&["127.0.0.1"]);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let relay = Relay::tls(&upstream, config);
    std::fs::write(&ca, authority.pem()).unwrap();
    for (protocol, well) in [("auto", true), ("http1", true), ("http2", false)] {
        upstream.forget();
        let table = format!(
            "[upstreams.app]\nurl = {:?}\nca = {ca:?}\nprotocol = {protocol:?}\npass_host = false\n\
             [upstreams.app.health]\npath = \"/healthz\"\ninterval = \"100ms\"\ntimeout = \"5s\"\nunhealthy_after = 1",
            relay.url()
        );
        let outer = h2c().raw(&table).route("/*", "\"everyone\"", "app").start();
        if well {
            assert!(upstream.comes_to(3), "{protocol}: {}", outer.logs());
            assert!(!outer.logs().contains("is not well"), "{protocol}: {}", outer.logs());
        } else {
            assert!(outer.logs_come_to_hold("is not well"), "{protocol}: {}", outer.logs());
            assert_eq!(upstream.count(), 0, "nothing is asked of a server that did not agree");
        }
    }
}

/// The log says what to write in the config.
#[test]
fn an_upstream_that_speaks_something_else_is_told_of() {
    let server = Server::start();
    let unaware = open_to_all(&server.url()).start();
    assert_eq!(unaware.get("/x").send().status, 502);
    assert!(unaware.logs_come_to_hold("write protocol = \"http2\""), "{}", unaware.logs());

    let listener = crate::support::listen(0);
    let old = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // What the visitor of the moment does with it is of no interest.
            let _read = stream.read(&mut [0; 1024]);
            let _told = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let table = format!("[upstreams.app]\nurl = {old:?}\nprotocol = \"http2\"");
    let hopeful = h2c().raw(&table).route("/*", "\"everyone\"", "app").start();
    assert_eq!(hopeful.get("/x").send().status, 502);
    assert!(hopeful.logs_come_to_hold("needs protocol = \"http1\""), "{}", hopeful.logs());

    let secure = open_to_all(&old.replace("http:", "https:")).start();
    assert_eq!(secure.get("/x").send().status, 502);
    assert!(secure.logs_come_to_hold("write the url with http"), "{}", secure.logs());
}
