//! Debian's nginx ends TLS in front of the gateway, with the file that `deploy/` has for it.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portcullis::demo::provider::{Client as Registered, ProviderOptions, Redirects};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::browser::Browser;
use crate::support::client::{Client, Request};
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::parts::{self, Part};
use crate::support::process::Process;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::tls_tunnel::Tunnel;
use crate::support::upstream::Upstream;
use crate::support::wire::Reader;
use crate::support::{PATIENCE, free_port, pause};

const PUBLIC: &str = "https://app.example.com";
const NAME: &str = "app.example.com";

const TICK: Duration = Duration::from_millis(20);

/// Where visitors come from in these tests; nginx reaches the gateway from 127.0.0.1, the one address that is trusted.
const VISITOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    _provider: Provider,
    tunnel: Tunnel,
    _nginx: Process,
    _folder: TempDir,
}

/// `edit` changes the shipped file further, as an operator may.
fn scene(test: &str, edit: impl FnOnce(String) -> String) -> Option<Scene> {
    if !parts::are_there(test, &[Part::Nginx]) {
        return None;
    }
    let options = ProviderOptions {
        clients: vec![Registered {
            id: CLIENT_ID.to_owned(),
            secret: Some(CLIENT_SECRET.to_owned()),
            redirects: Redirects::Exactly(vec![at("/.auth/callback/corp")]),
            post_logout: Redirects::LoopbackOr(Vec::new()),
        }],
        ..ProviderOptions::default()
    };
    let (provider, upstream) = (Provider::start_with(options), Upstream::start());
    let gateway = GatewayConfig::new(PUBLIC)
        .client(provider.issuer(), CLIENT_ID, CLIENT_SECRET)
        .upstream("app", &upstream.url())
        .raw("[trusted_proxies]\nnetworks = [\"127.0.0.1/32\"]")
        .start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let port = free_port();
    let certificate = certificate(folder.path());
    let backend = gateway.url().trim_start_matches("http://").to_owned();
    let shipped = include_str!("../../deploy/front/nginx.conf");
    let front = [
        ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
        ("/etc/nginx/tls/app.example.com", folder.path().display().to_string()),
        ("http://127.0.0.1:8080;", format!("http://{backend};")),
    ]
    .into_iter()
    .fold(shipped.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the shipped file has no {from}");
        text.replace(from, &to)
    });
    let nginx = start_nginx(folder.path(), &edit(front), port);
    let tunnel = Tunnel::start(SocketAddr::from(([127, 0, 0, 1], port)), VISITOR, NAME, &certificate);
    Some(Scene { gateway, upstream, _provider: provider, tunnel, _nginx: nginx, _folder: folder })
}

/// A self-signed certificate, where the config looks for it.
fn certificate(folder: &Path) -> std::path::PathBuf {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate can be made");
    let chain = folder.join("fullchain.pem");
    std::fs::write(&chain, made.cert.pem()).expect("a file can be written");
    std::fs::write(folder.join("privkey.pem"), made.signing_key.serialize_pem()).expect("a file can be written");
    chain
}

fn start_nginx(folder: &Path, front: &str, port: u16) -> Process {
    let here = folder.display();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {here}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {here}/body;\nproxy_temp_path {here}/proxy;\nfastcgi_temp_path {here}/fastcgi;\n\
         uwsgi_temp_path {here}/uwsgi;\nscgi_temp_path {here}/scgi;\n{front}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).expect("a file can be written");
    let mut command = Command::new(parts::nginx().expect("it is there"));
    command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(&file);
    let mut process = Process::start("nginx", &mut command);
    let mut left = PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(process.wait(Duration::ZERO).is_none() && !left.is_zero(), "nginx does not start:\n{}", process.logs());
        pause(TICK);
        left = left.saturating_sub(TICK);
    }
    process
}

impl Scene {
    /// A browser for which the public address is nginx's.
    fn browser(&self) -> Browser {
        let mut browser = Browser::new();
        browser.reach(PUBLIC, &self.tunnel.url());
        browser
    }
}

fn at(path: &str) -> String {
    format!("{PUBLIC}{path}")
}

#[test]
fn people_sign_in_through_nginx_and_the_application_sees_where_they_come_from() {
    let Some(scene) = scene("interop::front_nginx", |front| front) else { return };
    let mut browser = scene.browser();
    let page = browser.sign_in("alice", &at("/page?x=1"));
    assert_eq!((page.response.status, page.url.as_str()), (200, at("/page?x=1").as_str()), "{}", page.text());
    assert!(browser.jar.all().iter().any(|cookie| cookie.name == "__Host-portcullis"), "{:?}", browser.jar.all());
    let seen = scene.upstream.last_request();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.2, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", NAME),
        ("x-forwarded-preferred-username", "alice"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}: {:?}", seen.head.headers);
    }
    assert!(scene.gateway.logs_come_to_hold("127.0.0.2"), "the access log has the visitor's address");
}

#[test]
fn the_path_that_a_visitor_sends_is_the_one_that_is_checked() {
    let Some(scene) = scene("interop::front_nginx_paths", |front| front) else { return };
    let mut browser = scene.browser();
    browser.sign_in("alice", &at("/page"));
    scene.upstream.forget();
    // Not by the browser, which would tidy these paths up itself.
    let client = Client::new(&scene.tunnel.url()).named(NAME);
    let cookies = browser.jar.field(&at("/").parse().expect("a URL")).expect("alice has a session");
    for path in ["/a/%2e%2e/b", "/a/../b", "/a%2fb", "/a//b", "/a;x=1"] {
        assert_eq!(client.get(path).header("Cookie", &cookies).send().status, 400, "{path}");
    }
    assert_eq!(scene.upstream.count(), 0, "{:?}", scene.upstream.requests());
    assert_eq!(browser.peek(&at("/a%20b/%C3%BC?x=%2f")).status, 200);
    assert_eq!(scene.upstream.only_request().target, "/a%20b/%C3%BC?x=%2f");
}

/// As shipped, and as one writes it who has a further proxy in front.
#[test]
fn an_address_that_a_visitor_claims_is_not_believed() {
    let appending = |front: String| {
        assert!(front.contains("$remote_addr;"), "{front}");
        front.replace("$remote_addr;", "$proxy_add_x_forwarded_for;")
    };
    for edit in [None, Some(appending)] {
        let edit = |front: String| if let Some(edit) = edit { edit(front) } else { front };
        let Some(scene) = scene("interop::front_nginx_spoof", edit) else { return };
        let mut browser = scene.browser();
        browser.sign_in("bob", &at("/page"));
        scene.upstream.forget();
        let claim = |request: Request| {
            request.headers(&[
                ("X-Forwarded-For", "6.6.6.6"),
                ("Forwarded", "for=6.6.6.6;proto=http;host=evil.example"),
                ("X-Real-IP", "6.6.6.6"),
                ("X-Forwarded-Proto", "http"),
                ("X-Forwarded-Host", "evil.example"),
                ("X-Forwarded-Preferred-Username", "alice"),
            ])
        };
        assert_eq!(browser.send(&at("/page").parse().expect("a URL"), claim, "GET").status, 200);
        let seen = scene.upstream.only_request();
        assert!(!seen.mentions("6.6.6.6") && !seen.mentions("evil.example"), "{:?}", seen.head.headers);
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.2, 127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-preferred-username"), Some("bob"));
    }
}

/// Whoever reaches the gateway around nginx is nobody's proxy.
#[test]
fn a_peer_that_is_not_trusted_claims_in_vain() {
    let Some(scene) = scene("interop::front_nginx_around", |front| front) else { return };
    let address: SocketAddr = scene.gateway.url().trim_start_matches("http://").parse().expect("an address");
    for claim in
        ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example", "Forwarded: for=6.6.6.6;host=evil.example"]
    {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.bind(&SocketAddr::from((VISITOR, 0)).into()).expect("all of 127.0.0.0/8 is this machine");
        socket.connect(&address.into()).expect("the gateway listens");
        let request = format!("GET /page HTTP/1.1\r\nHost: {NAME}\r\n{claim}\r\nConnection: close\r\n\r\n");
        let stream = TcpStream::from(socket);
        std::io::Write::write_all(&mut &stream, request.as_bytes()).expect("it takes the request");
        let head = Reader::new(stream).head().expect("it answers").expect("it answers");
        assert!(head.first_line.contains(" 302 "), "as if nothing was claimed: {claim}: {}", head.first_line);
        assert!(!String::from_utf8_lossy(&head.raw).contains("evil.example"), "{:?}", head.headers);
    }
    let told = |scene: &Scene| scene.gateway.logs().matches("client=127.0.0.2").count();
    let mut left = PATIENCE;
    while told(&scene) < 3 && !left.is_zero() {
        pause(TICK);
        left = left.saturating_sub(TICK);
    }
    let logs = scene.gateway.logs();
    assert!(told(&scene) == 3 && !logs.contains("6.6.6.6"), "{logs}");
}
