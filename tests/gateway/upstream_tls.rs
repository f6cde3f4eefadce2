//! TLS to upstreams: whose certificates count, which name is asked for, and what we show ourselves.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::client::Response;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::relay::{Hello, Relay};
use crate::support::upstream::Upstream;
use crate::support::websocket::WebSocket;

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }
}

fn gateway(url: &str, lines: &str) -> Gateway {
    GatewayConfig::new("https://app.example.com")
        .raw("[[routes]]\npath = \"/*\"\nallow = \"everyone\"\nupstream = \"app\"")
        .raw(&format!("[upstreams.app]\nurl = {url:?}\n{lines}"))
        .start()
}

fn ask(url: &str, lines: &str) -> Response {
    gateway(url, lines).get("/x").send()
}

#[test]
fn an_authority_of_ones_own_counts_and_no_other() {
    let (desk, upstream) = (Desk::new(), Upstream::start());
    let (ours, other) = (Authority::new(), Authority::new());
    let relay = Relay::tls(&upstream, ours.server(&["localhost", "127.0.0.1"]));
    let (ours, other) = (desk.write("ours.pem", &ours.pem()), desk.write("other.pem", &other.pem()));
    let by_name = relay.url_by_name("localhost");
    assert_eq!(ask(&by_name, &format!("ca = {ours:?}")).status, 200);
    assert_eq!(relay.hellos(), [Hello { server_name: Some("localhost".to_owned()), certificate: false }]);
    assert_eq!(ask(&relay.url(), &format!("ca = {ours:?}")).status, 200, "an address in the certificate will do");
    assert_eq!(upstream.count(), 2);
    assert_eq!(ask(&by_name, &format!("ca = {other:?}")).status, 502);
    assert_eq!(ask(&by_name, "").status, 502, "the system does not know it");
    assert_eq!(upstream.count(), 2, "no request goes to a server that is not known");
}

#[test]
fn an_authority_that_is_named_stands_in_place_of_the_systems() {
    let (desk, upstream) = (Desk::new(), Upstream::start());
    let (systems, named) = (Authority::new(), Authority::new());
    let relay = Relay::tls(&upstream, systems.server(&["127.0.0.1"]));
    let (systems, named) = (desk.write("systems.pem", &systems.pem()), desk.write("named.pem", &named.pem()));
    let ask = |lines: &str| {
        GatewayConfig::new("https://app.example.com")
            .raw("[[routes]]\npath = \"/*\"\nallow = \"everyone\"\nupstream = \"app\"")
            .raw(&format!("[upstreams.app]\nurl = {:?}\n{lines}", relay.url()))
            .variable("SSL_CERT_FILE", systems.to_str().expect("a plain path"))
            .start()
            .get("/x")
            .send()
            .status
    };
    assert_eq!(ask(""), 200, "the system's authority counts where none is named");
    assert_eq!(ask(&format!("ca = {named:?}")), 502);
    assert_eq!(upstream.count(), 1);
}

#[test]
fn the_name_must_fit() {
    let (desk, upstream, authority) = (Desk::new(), Upstream::start(), Authority::new());
    let relay = Relay::tls(&upstream, authority.server(&["app.internal"]));
    let ca = format!("ca = {:?}", desk.write("ca.pem", &authority.pem()));
    assert_eq!(ask(&relay.url(), &ca).status, 502);
    assert_eq!(ask(&relay.url_by_name("localhost"), &ca).status, 502);
    assert_eq!(ask(&relay.url(), &format!("{ca}\nserver_name = \"evil.internal\"")).status, 502);
    assert_eq!(upstream.count(), 0);
    let answer = ask(&relay.url(), &format!("{ca}\nserver_name = \"app.internal\"\npass_host = false"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(relay.hellos().last().and_then(|hello| hello.server_name.clone()).as_deref(), Some("app.internal"));
    assert_eq!(upstream.only_request().header("host"), relay.url().strip_prefix("https://"));
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let (desk, upstream, authority) = (Desk::new(), Upstream::start(), Authority::new());
    let relay = Relay::tls(&upstream, authority.demanding_server(&["127.0.0.1"]));
    let ca = format!("ca = {:?}", desk.write("ca.pem", &authority.pem()));
    assert_eq!(ask(&relay.url(), &ca).status, 502, "the server lets nobody in without one");
    let stranger = Authority::new().issue(&["gateway"]);
    let known = authority.issue(&["gateway"]);
    let shown = |name: &str, issued: &crate::support::authority::Issued| {
        let cert = desk.write(&format!("{name}-cert.pem"), &issued.certificate_pem());
        let key = desk.write(&format!("{name}-key.pem"), &issued.key_pem());
        format!("{ca}\nclient_certificate = {{ cert = {cert:?}, key = {key:?} }}")
    };
    assert_eq!(ask(&relay.url(), &shown("stranger", &stranger)).status, 502);
    assert_eq!(upstream.count(), 0);
    let answer = ask(&relay.url(), &shown("known", &known));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(relay.hellos().last().expect("there was one").certificate);
}

#[test]
fn health_checks_speak_tls_too() {
    let (desk, upstream, authority) = (Desk::new(), Upstream::start(), Authority::new());
    let relay = Relay::tls(&upstream, authority.demanding_server(&["app.internal"]));
    let ca = desk.write("ca.pem", &authority.pem());
    let issued = authority.issue(&["gateway"]);
    let (cert, key) = (desk.write("cert.pem", &issued.certificate_pem()), desk.write("key.pem", &issued.key_pem()));
    let gateway = gateway(
        &relay.url(),
        &format!(
            "ca = {ca:?}\nserver_name = \"app.internal\"\nclient_certificate = {{ cert = {cert:?}, key = {key:?} }}\n\
             [upstreams.app.health]\npath = \"/healthz\"\ninterval = \"100ms\""
        ),
    );
    assert!(upstream.comes_to(3), "{}", gateway.logs());
    assert!(upstream.requests().iter().all(|request| request.target == "/healthz"));
    drop(gateway);
}

#[test]
fn a_websocket_checks_the_certificate_too() {
    let (desk, upstream, authority) = (Desk::new(), Upstream::start(), Authority::new());
    upstream.on("/socket", crate::support::answer::Answer::websocket());
    let relay = Relay::tls(&upstream, authority.server(&["127.0.0.1"]));
    let ca = desk.write("ca.pem", &authority.pem());
    let trusting = gateway(&relay.url(), &format!("ca = {ca:?}"));
    let mut socket = WebSocket::open(trusting.get("/socket")).expect("it opens");
    assert_eq!(socket.ask("hello").expect("it is echoed"), "hello");
    let before = upstream.count();
    let wary = gateway(&relay.url(), "");
    let refused = WebSocket::open(wary.get("/socket")).err().expect("it does not open");
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert_eq!(upstream.count(), before);
}

#[test]
fn a_plain_server_behind_https_is_502_and_gets_no_request() {
    let upstream = Upstream::start();
    let url = upstream.url().replace("http://", "https://");
    assert_eq!(ask(&url, "").status, 502);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_key_of_another_certificate_stops_the_start() {
    let (desk, authority) = (Desk::new(), Authority::new());
    let (one, other) = (authority.issue(&["gateway"]), authority.issue(&["gateway"]));
    let (cert, key) = (desk.write("cert.pem", &one.certificate_pem()), desk.write("key.pem", &other.key_pem()));
    let text = format!(
        "public_url = \"https://app.example.com\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[upstreams.app]\n\
         url = \"https://127.0.0.1:1\"\nclient_certificate = {{ cert = {cert:?}, key = {key:?} }}\n\
         [[routes]]\npath = \"/*\"\nallow = \"everyone\"\n[session]\nkeys = [{:?}]\n",
        crate::support::SESSION_KEY
    );
    let file = desk.write("portcullis.toml", &text);
    let ran = crate::support::gateway::run(&["serve", "--config", file.to_str().expect("a plain path")]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("upstreams.app") && ran.err.contains("don't fit"), "{ran:?}");
}
