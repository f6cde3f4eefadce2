//! Where visitors come from: unix sockets, sockets that were handed over, balancers that tell whose connection it is; and the end.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::answer::Answer;
use crate::support::client::{Client, read_response};
use crate::support::gateway::{Gateway, program};
use crate::support::process::{Process, ready_address};
use crate::support::upstream::Upstream;
use crate::support::wire::Reader;
use crate::support::{PATIENCE, SESSION_KEY, comes_true, free_port};

const HOST: &str = "app.example.com";

fn config(listen: &str, tables: &str, upstream: &Upstream) -> String {
    format!(
        "public_url = \"https://{HOST}\"\nworkers = 2\ndrain = \"10s\"\n[listen]\n{listen}\n{tables}\n\
         [session]\nkeys = [\"{SESSION_KEY}\"]\n[upstreams.app]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/*\"\nallow = \"everyone\"\n",
        upstream.url()
    )
}

fn start(listen: &str, tables: &str, upstream: &Upstream) -> Gateway {
    Gateway::start_files(&[("portcullis.toml", &config(listen, tables, upstream))], &[])
}

/// What comes back over a unix socket.
fn ask_unix(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /unix HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").unwrap();
    Reader::new(stream).head().unwrap().unwrap().first_line
}

#[test]
fn a_unix_socket_has_its_mode_and_is_gone_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let upstream = Upstream::start();
    let mut gateway = start(&format!("http = [\"unix:{}\"]\nunix_mode = \"0660\"", path.display()), "", &upstream);
    assert_eq!(gateway.url(), format!("unix:{}", path.display()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    for _ in 0..8 {
        assert_eq!(ask_unix(&path), "HTTP/1.1 200 OK");
    }
    assert!(gateway.stop().success());
    assert!(!path.exists());
}

/// Starts the gateway with `socket` as descriptor 3, as a service manager does.
fn hand_over(socket: OwnedFd, text: &str, variables: &str, folder: &Path) -> Process {
    let file = folder.join("portcullis.toml");
    std::fs::write(&file, text).unwrap();
    let gateway = program();
    let mut command = Command::new("sh");
    // The shell becomes the gateway, so that its process id is the gateway's.
    command
        .arg("-c")
        .arg(format!("exec 3<&0 </dev/null; {variables} exec \"$0\" serve --config \"$1\""))
        .arg(gateway.get_program())
        .arg(&file)
        .current_dir(folder);
    Process::start_with("portcullis serve", &mut command, Stdio::from(socket))
}

#[test]
fn a_socket_that_was_handed_over_is_served_by_all_workers() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    for (listen, variables) in [
        ("http = [\"fd:3\"]", "LISTEN_FDS=1 LISTEN_PID=$$"),
        ("http = [\"fd:web\"]", "LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut process = hand_over(listener.into(), &config(listen, "", &upstream), variables, folder.path());
        let url = process.wait_for(PATIENCE, ready_address);
        assert_eq!(url, format!("http://{address}"));
        for _ in 0..20 {
            assert_eq!(Client::new(&url).named(HOST).get("/").send().status, 200);
        }
        assert!(process.stop(PATIENCE).success(), "{}", process.logs());
    }
}

#[test]
fn a_unix_socket_can_be_handed_over_too() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let text = config("http = [\"fd:3\"]", "", &upstream);
    let process = hand_over(listener.into(), &text, "LISTEN_FDS=1 LISTEN_PID=$$", folder.path());
    assert_eq!(process.wait_for(PATIENCE, ready_address), format!("unix:{}", path.display()));
    assert_eq!(ask_unix(&path), "HTTP/1.1 200 OK");
    drop(process);
    assert!(path.exists(), "what others made is theirs to remove");
}

#[test]
fn a_socket_that_is_not_for_us_is_not_taken() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let connected = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        OwnedFd::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    };
    let listening = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    for (socket, listen, variables) in [
        (listening(), "fd:3", "LISTEN_FDS=1 LISTEN_PID=1"),
        (listening(), "fd:3", "LISTEN_FDS=1"),
        (listening(), "fd:3", ""),
        (listening(), "fd:4", "LISTEN_FDS=1 LISTEN_PID=$$"),
        (listening(), "fd:other", "LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web"),
        (connected(), "fd:3", "LISTEN_FDS=1 LISTEN_PID=$$"),
    ] {
        let text = config(&format!("http = [{listen:?}]"), "", &upstream);
        let mut process = hand_over(socket, &text, variables, folder.path());
        let status = process.wait(PATIENCE).unwrap_or_else(|| panic!("it serves: {}", process.logs()));
        assert!(!status.success());
        let (_, told) = process.streams();
        assert!(told.contains(&format!("can't listen on {listen}")), "{told}");
    }
}

#[test]
fn systemd_is_told_of_the_start_and_of_the_end() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let notify = UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = [0; 64];
    let mut hear = || {
        let count = notify.recv(&mut heard).unwrap();
        String::from_utf8_lossy(&heard[..count]).into_owned()
    };
    let text = config("http = [\"127.0.0.1:0\"]", "", &upstream);
    let socket = path.display().to_string();
    let mut gateway = Gateway::start_files(&[("portcullis.toml", &text)], &[("NOTIFY_SOCKET", &socket)]);
    assert_eq!(hear(), "READY=1");
    assert!(gateway.stop().success());
    assert_eq!(hear(), "STOPPING=1");
}

const TRUSTED: &str = "[trusted_proxies]\nnetworks = [\"127.0.0.0/8\"]\n[limits]\nheader_timeout = \"5s\"";
const BALANCED: &str = "http = [\"127.0.0.1:0\"]\nproxy_protocol = true";

/// A header of version 2 from 192.0.2.7:4444 to 198.51.100.1:443.
fn version_two(command: u8, family: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0x11, 0x5c, 1, 0xbb]);
    bytes
}

/// Sends `bytes` and all that comes back until the end.
fn sent(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = gateway.client().connect();
    let _closed_early = stream.write_all(bytes);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{bytes:?}: the connection stays open");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn with_request(header: &[u8]) -> Vec<u8> {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n");
    [header, request.as_bytes()].concat()
}

#[test]
fn a_balancer_tells_whose_connection_it_is() {
    let upstream = Upstream::start();
    let gateway = start(BALANCED, TRUSTED, &upstream);
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4444 443\r\n".to_vec(), Some("192.0.2.7")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4444 443\r\n".to_vec(), Some("2001:db8::7")),
        (version_two(0x21, 0x11), Some("192.0.2.7")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (version_two(0x20, 0x11), None),
        (version_two(0x21, 0x00), None),
    ] {
        upstream.forget();
        let answer = sent(&gateway, &with_request(&header));
        assert!(answer.starts_with("HTTP/1.1 200"), "{header:?}: {answer}");
        let seen = upstream.only_request();
        // The visitor's own claims come through the balancer as they are, and count for nothing.
        assert!(!seen.mentions("6.6.6.6"), "{:?}", seen.head.headers);
        assert_eq!(seen.header("x-forwarded-for"), client, "{:?}", seen.head.headers);
    }
    upstream.forget();
    let from_a_proxy = with_request(b"PROXY TCP4 127.0.0.9 127.0.0.1 4444 443\r\n");
    assert!(sent(&gateway, &from_a_proxy).starts_with("HTTP/1.1 200"));
    let seen = upstream.only_request();
    assert!(seen.header("x-forwarded-for").is_some_and(|list| list.starts_with("6.6.6.6")), "{:?}", seen.head.headers);
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let upstream = Upstream::start();
    let gateway = start(BALANCED, TRUSTED, &upstream);
    for bad in [
        with_request(b""),
        with_request(b"PROXY TCP4 192.0.2.7 198.51.100.1 4444\r\n"),
        with_request(b"PROXY TCP4 192.0.2.7 198.51.100.1 4444 443\n"),
        with_request(b"PROXY UDP4 192.0.2.7 198.51.100.1 4444 443\r\n"),
        with_request(&[b"PROXY UNKNOWN ", [b'x'; 200].as_slice(), b"\r\n"].concat()),
        with_request(&version_two(0x21, 0x12)),
        with_request(&version_two(0x31, 0x11)),
        // Begun and never ended: the bound on a head holds for it too.
        b"PROXY TCP4 192.0".to_vec(),
        version_two(0x21, 0x11)[..20].to_vec(),
        Vec::new(),
    ] {
        assert_eq!(sent(&gateway, &bad), "", "{bad:?}");
    }
    assert_eq!(upstream.connections(), 0);
    assert!(gateway.logs_come_to_hold("their peers sent no PROXY protocol header"), "{}", gateway.logs());
    // Two headers: the second one is the visitor's, and no HTTP.
    let twice = with_request(&[version_two(0x21, 0x11), b"PROXY TCP4 6.6.6.6 1.1.1.1 1 2\r\n".to_vec()].concat());
    assert!(!sent(&gateway, &twice).starts_with("HTTP/1.1 200"));
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn nobody_but_a_trusted_proxy_may_send_one() {
    let upstream = Upstream::start();
    let gateway = start(BALANCED, "[trusted_proxies]\nnetworks = [\"10.0.0.0/8\"]", &upstream);
    for bytes in [with_request(b"PROXY TCP4 10.0.0.1 198.51.100.1 4444 443\r\n"), with_request(b"")] {
        assert_eq!(sent(&gateway, &bytes), "");
    }
    assert_eq!(upstream.connections(), 0);
    assert!(gateway.logs_come_to_hold("their peers are not in `trusted_proxies.networks`"), "{}", gateway.logs());
    // Where no balancer is configured, a header is no HTTP, trusted or not.
    let plain = start("http = [\"127.0.0.1:0\"]", TRUSTED, &upstream);
    for header in [b"PROXY TCP4 192.0.2.7 198.51.100.1 4444 443\r\n".to_vec(), version_two(0x21, 0x11)] {
        assert!(!sent(&plain, &with_request(&header)).starts_with("HTTP/1.1 200"));
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_stop_lets_requests_finish_and_closes_the_rest() {
    let upstream = Upstream::start();
    upstream.on("/slow", Answer::chunks(&["one", "two", "three"], Duration::from_secs(3)));
    let admin = free_port();
    let listen = format!("http = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:{admin}\"");
    let mut gateway = start(&listen, "", &upstream);
    let client = gateway.client().named(HOST);
    let readiness = Client::new(&format!("http://127.0.0.1:{admin}"));
    assert_eq!(readiness.get("/readyz").send().status, 200);

    let mut idle: Vec<TcpStream> = (0..10).map(|_| client.connect()).collect();
    for stream in &mut idle {
        stream.write_all(&client.get("/").bytes()).unwrap();
        let mut reader = Reader::new(stream.try_clone().unwrap());
        assert_eq!(read_response(&mut reader, "GET").unwrap().status, 200);
    }
    let slow = client.get("/slow");
    let answer = std::thread::spawn(move || slow.send());
    assert!(upstream.comes_to(11));
    gateway.process().signal("TERM");
    for stream in &mut idle {
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).is_ok(), "it ends in order");
    }
    assert_eq!(readiness.get("/readyz").send().status, 503, "not ready while requests finish");
    assert_eq!(readiness.get("/healthz").send().status, 200);
    assert!(comes_true(|| TcpStream::connect(gateway_place(&gateway)).is_err()), "nobody new is let in");
    assert_eq!(answer.join().unwrap().text(), "onetwothree");
    assert!(gateway.process().wait(PATIENCE).is_some_and(|status| status.success()));
}

fn gateway_place(gateway: &Gateway) -> String {
    gateway.url().trim_start_matches("http://").to_owned()
}
