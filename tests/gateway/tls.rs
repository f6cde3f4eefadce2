//! The gateway as a TLS server: versions, key exchange, certificates by name, their change, and the certificates of clients.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustls::{HandshakeKind, NamedGroup, ProtocolVersion, version};
use tempfile::TempDir;

use crate::support::gateway::Gateway;
use crate::support::tls_client::{Authority, Issued, TlsClient};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, SESSION_KEY, sha256};

const HOST: &str = "app.example.com";

/// A gateway with certificates in a folder of its own.
struct Scene {
    folder: TempDir,
    authority: Authority,
    upstream: Upstream,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("Servers"),
            upstream: Upstream::start(),
        };
        scene.authority.server(&[HOST]).write(scene.folder.path(), "app");
        scene
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    /// Starts it with further lines of `[tls]`, of the upstream, and tables.
    fn start(&self, tls: &str, upstream: &str, tables: &str) -> Gateway {
        let mut text = format!(
            "public_url = \"https://{HOST}\"\nworkers = 1\n[listen]\nhttps = [\"127.0.0.1:0\"]\n\
             [limits]\nheader_timeout = \"5s\"\n[session]\nkeys = [\"{SESSION_KEY}\"]\n\
             [tls]\ncert = \"{}\"\nkey = \"{}\"\n{tls}\n[upstreams.app]\nurl = \"{}\"\n{upstream}\n",
            self.path("app.pem"),
            self.path("app.key"),
            self.upstream.url(),
        );
        if tables.is_empty() {
            text.push_str("[[routes]]\npath = \"/*\"\nallow = \"everyone\"\n");
        } else {
            write!(text, "{tables}").unwrap();
        }
        Gateway::start_files(&[("portcullis.toml", &text)], &[])
    }

    fn client(&self) -> TlsClient {
        TlsClient::new(&self.authority, &[], None)
    }

    fn client_with(&self, certificate: &Issued) -> TlsClient {
        TlsClient::new(&self.authority, &[], Some(certificate))
    }
}

#[test]
fn both_versions_are_spoken_and_the_post_quantum_key_exchange_comes_first() {
    let scene = Scene::new();
    let gateway = scene.start("", "", "");
    let mut new = scene.client().connect(gateway.url(), HOST).unwrap();
    let agreed = new.agreed();
    assert_eq!(agreed.version, ProtocolVersion::TLSv1_3);
    assert_eq!(agreed.group, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(agreed.protocol.as_deref(), Some("http/1.1"));
    assert_eq!(new.ask(HOST, "/x", &[]).unwrap().0, 200);
    assert_eq!(scene.upstream.last_request().header("x-forwarded-proto"), Some("https"));

    let older = TlsClient::new(&scene.authority, &[&version::TLS12], None);
    let mut older = older.connect(gateway.url(), HOST).unwrap();
    assert_eq!(older.agreed().version, ProtocolVersion::TLSv1_2);
    assert_eq!(older.ask(HOST, "/x", &[]).unwrap().0, 200);
}

#[test]
fn older_versions_and_plain_text_get_nothing() {
    let scene = Scene::new();
    let gateway = scene.start("", "", "");
    let place = gateway.url().strip_prefix("https://").unwrap();
    // A ClientHello of TLS 1.1 (RFC 4346, section 7.4.1.2) with two cipher suites.
    let mut old = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x02".to_vec();
    old.extend([7; 32]);
    old.extend(b"\x00\x00\x04\x00\x2f\x00\x35\x01\x00");
    for hello in [old.as_slice(), b"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"] {
        let mut stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(hello).unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 0x15, "an alert at most: {answer:?}");
    }
    assert_eq!(scene.upstream.connections(), 0);
}

#[test]
fn a_ticket_saves_the_second_handshake() {
    let scene = Scene::new();
    let gateway = scene.start("", "", "");
    for versions in [&[][..], &[&version::TLS12][..]] {
        let client = TlsClient::new(&scene.authority, versions, None);
        let mut first = client.connect(gateway.url(), HOST).unwrap();
        assert_ne!(first.agreed().kind, HandshakeKind::Resumed);
        assert_eq!(first.ask(HOST, "/", &[]).unwrap().0, 200);
        let mut second = client.connect(gateway.url(), HOST).unwrap();
        assert_eq!(second.ask(HOST, "/", &[]).unwrap().0, 200);
        assert_eq!(second.agreed().kind, HandshakeKind::Resumed, "{versions:?}");
    }
}

#[test]
fn the_certificate_is_chosen_by_the_name() {
    let scene = Scene::new();
    let other = scene.authority.server(&["other.example.com"]);
    let wild = scene.authority.server(&["*.wild.example.com"]);
    let mut tls = String::new();
    for (issued, name) in [(&other, "other"), (&wild, "wild")] {
        let (cert, key) = issued.write(scene.folder.path(), name);
        write!(tls, "[[tls.certificates]]\ncert = {cert:?}\nkey = {key:?}\n").unwrap();
    }
    let gateway = scene.start(&tls, "", "");
    let shown =
        |name: &str| scene.client().connect(gateway.url(), name).map(|connection| connection.agreed().certificate);
    assert_eq!(shown("other.example.com").unwrap(), *other.der());
    assert_eq!(shown("a.wild.example.com").unwrap(), *wild.der());
    assert!(shown(HOST).is_ok());
    // Anybody else gets the first, which is not for them, so that a client that checks goes no further.
    assert!(shown("a.b.wild.example.com").is_err());
    assert!(shown("evil.example.net").is_err());
}

#[test]
fn certificates_are_taken_up_when_they_change_and_kept_when_the_new_ones_are_broken() {
    let scene = Scene::new();
    let gateway = scene.start("", "", "");
    let mut open = scene.client().connect(gateway.url(), HOST).unwrap();
    let first = open.agreed().certificate;
    let shown = || scene.client().connect(gateway.url(), HOST).unwrap().agreed().certificate;

    // Key and certificate don't belong together for a while, as when a tool writes one after the other.
    let renewed = scene.authority.server(&[HOST]);
    let pair = renewed.write(scene.folder.path(), "renewed");
    // Each is moved there whole: what is half written when the gateway looks is another mistake.
    let place = |from: &std::path::Path, to: &str| {
        std::fs::copy(from, scene.path("fresh")).unwrap();
        std::fs::rename(scene.path("fresh"), scene.path(to)).unwrap();
    };
    place(&pair.1, "app.key");
    let until = |needle: &str| {
        assert!(gateway.logs_come_to_hold(needle), "`{needle}` is not in:\n{}", gateway.logs());
    };
    until("what was there before stays");
    assert_eq!(shown(), first);
    assert!(!gateway.logs().contains("BEGIN"), "nothing of a key is told");

    place(&pair.0, "app.pem");
    until("are in use");
    assert_eq!(shown(), *renewed.der());
    assert_eq!(open.ask(HOST, "/", &[]).unwrap().0, 200, "an open connection goes on");
    assert_eq!(gateway.logs().matches("what was there before stays").count(), 1, "a mistake is told once");
}

#[test]
fn a_required_certificate_keeps_everybody_else_out() {
    let scene = Scene::new();
    let clients = Authority::new("Clients");
    std::fs::write(scene.path("clients.pem"), clients.pem()).unwrap();
    let gateway = scene.start(&format!("client_ca = {:?}", scene.path("clients.pem")), "client_cert_header = true", "");
    let forged = [("Client-Cert", ":Zm9yZ2Vk:"), ("Client_Cert", ":Zm9yZ2Vk:"), ("X-SSL-Client-Cert", "forged")];
    let refused = |client: TlsClient| {
        let answer = client.connect(gateway.url(), HOST).and_then(|mut connection| connection.ask(HOST, "/", &forged));
        assert!(answer.is_err(), "{answer:?}");
    };
    refused(scene.client());
    refused(scene.client_with(&Authority::new("Clients").client(&["a.example"])));
    refused(scene.client_with(&clients.server(&["a.example"])));
    assert_eq!(scene.upstream.connections(), 0);

    let issued = clients.client(&["a.example"]);
    let mut connection = scene.client_with(&issued).connect(gateway.url(), HOST).unwrap();
    assert_eq!(connection.ask(HOST, "/", &forged).unwrap().0, 200);
    let seen = scene.upstream.only_request();
    let values = seen.head.all("client-cert");
    assert_eq!(values.len(), 1, "{:?}", seen.head.headers);
    assert!(!seen.mentions("forged") && !seen.mentions("Zm9yZ2Vk"), "{:?}", seen.head.headers);
    let decoded = aws_base64(values[0].trim_matches(':'));
    assert_eq!(sha256(&decoded), sha256(issued.der()));

    let again = scene.client_with(&issued);
    for _ in 0..2 {
        let mut connection = again.connect(gateway.url(), HOST).unwrap();
        assert_eq!(connection.ask(HOST, "/", &[]).unwrap().0, 200);
        assert_ne!(connection.agreed().kind, HandshakeKind::Resumed, "a certificate is looked at each time");
    }
}

fn aws_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn rules_ask_for_certificates() {
    let scene = Scene::new();
    let clients = Authority::new("Clients");
    std::fs::write(scene.path("clients.pem"), clients.pem()).unwrap();
    let backup = clients.client(&["backup.example.com"]);
    let pinned = clients.client(&["pinned.example.com"]);
    let routes = format!(
        "[providers.corp]\nissuer = \"https://login.example.com\"\nclient_id = \"app\"\n\
         [[routes]]\npath = \"/backup/*\"\nsigned_out = \"401\"\n\
         allow = {{ client_certificate = [\"dns:backup.example.com\", \"sha256:{}\"] }}\n\
         [[routes]]\npath = \"/both\"\nsigned_out = \"401\"\n\
         allow = {{ roles = [\"admin\"], client_certificate = [\"dns:backup.example.com\"] }}\n\
         [[routes]]\npath = \"/write\"\nsigned_out = \"401\"\ncsrf = \"same-origin\"\n\
         allow = {{ client_certificate = [\"dns:backup.example.com\"] }}\n\
         [[routes]]\npath = \"/public\"\nallow = \"everyone\"\n",
        sha256(pinned.der())
    );
    let gateway = scene.start(
        &format!("client_ca = {:?}\nclient_certificates = \"optional\"", scene.path("clients.pem")),
        "",
        &routes,
    );
    let ask = |client: TlsClient, target: &str| {
        let mut connection = client.connect(gateway.url(), HOST).unwrap();
        // What somebody writes into a header is no certificate.
        connection.ask(HOST, target, &[("Client-Cert", "x"), ("X-SSL-Client-Verify", "SUCCESS")]).unwrap()
    };
    for (target, certificate, expected) in [
        ("/public", None, 200),
        ("/backup/x", None, 403),
        ("/backup/x", Some(&backup), 200),
        ("/backup/x", Some(&pinned), 200),
        ("/backup/x", Some(&clients.client(&["backup.example.com.evil.com"])), 403),
        ("/both", None, 403),
        ("/both", Some(&pinned), 403),
        ("/both", Some(&backup), 401),
    ] {
        let client = certificate.map_or_else(|| scene.client(), |issued| scene.client_with(issued));
        let (status, _, body) = ask(client, target);
        assert_eq!(status, expected, "{target}: {}", String::from_utf8_lossy(&body));
    }
    assert!(!scene.upstream.last_request().mentions("Client-Cert"), "only where it was asked for");
    // Browsers show certificates whatever page begins the handshake, as they send cookies.
    let mut connection = scene.client_with(&backup).connect(gateway.url(), HOST).unwrap();
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Origin", "https://evil.example"),
    ];
    assert_eq!(connection.ask(HOST, "/backup/x", &handshake).unwrap().0, 403);
    // So a form of another page comes with one too; programs say nothing of where they come from.
    for (said, expected) in [
        (&[("Sec-Fetch-Site", "cross-site")][..], 403),
        (&[("Origin", "https://evil.example")], 403),
        (&[("Origin", "null")], 403),
        (&[("Sec-Fetch-Site", "same-origin")], 200),
        (&[], 200),
    ] {
        let mut connection = scene.client_with(&backup).connect(gateway.url(), HOST).unwrap();
        let fields = [said, &[("Content-Length", "0")]].concat();
        assert_eq!(connection.request("POST", HOST, "/write", &fields).unwrap().0, expected, "{said:?}");
    }
}

#[test]
fn a_handshake_that_stands_still_is_ended() {
    let scene = Scene::new();
    let gateway = scene.start("", "", "");
    let place = gateway.url().strip_prefix("https://").unwrap();
    let mut silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(place).unwrap()).collect();
    silent[0].write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    let mut connection = scene.client().connect(gateway.url(), HOST).unwrap();
    assert_eq!(connection.ask(HOST, "/", &[]).unwrap().0, 200, "the others notice nothing");
    for stream in &mut silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0)), "it is closed");
    }
}
