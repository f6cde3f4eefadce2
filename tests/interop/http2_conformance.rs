//! Two suites that we did not write look at how the listeners speak HTTP/2: both pass whole.

use std::net::Ipv4Addr;
use std::process::Command;

use tempfile::TempDir;

use crate::support::free_port;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::parts::{self, Part};
use crate::support::tls_tunnel::Tunnel;
use crate::support::upstream::Upstream;

/// A gateway that speaks HTTP/2 on a plain listener and on one with TLS.
struct Scene {
    gateway: Gateway,
    secure: u16,
    folder: TempDir,
    _upstream: Upstream,
}

impl Scene {
    fn new() -> Self {
        let upstream = Upstream::start();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert, issued.cert.pem()).expect("a file can be written");
        std::fs::write(&key, issued.signing_key.serialize_pem()).expect("a file can be written");
        let secure = free_port();
        let gateway = GatewayConfig::on_loopback()
            .listen_line("h2c = true")
            .listen_line(&format!("https = [\"127.0.0.1:{secure}\"]"))
            .provider("http://127.0.0.1:1", "a client secret")
            .raw(&format!("[tls]\ncert = '{}'\nkey = '{}'", cert.display(), key.display()))
            .upstream("app", &upstream.url())
            .route("/*", "\"everyone\"", "app")
            .start();
        Self { gateway, secure, folder, _upstream: upstream }
    }
}

/// Runs httpwg against a plain address; it exits with 0 only when every one of its tests has passed.
fn httpwg(address: &str) {
    let ran = Command::new(Part::Httpwg.program())
        .args(["--address", address, "--connect-timeout", "10000", "--frame-timeout", "5000"])
        .env("SEQUENTIAL", "1")
        .output()
        .expect("it can be run");
    let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{told}");
    let passed = told.lines().filter(|line| line.contains("Test passed: ")).count();
    assert!(passed >= 107 && !told.contains("Test failed: "), "{passed} have passed\n{told}");
}

#[test]
fn httpwg_passes_whole_by_prior_knowledge() {
    if !parts::are_there("httpwg_passes_whole_by_prior_knowledge", &[Part::Httpwg]) {
        return;
    }
    let scene = Scene::new();
    httpwg(scene.gateway.url().trim_start_matches("http://"));
}

#[test]
fn httpwg_passes_whole_over_tls() {
    if !parts::are_there("httpwg_passes_whole_over_tls", &[Part::Httpwg]) {
        return;
    }
    let scene = Scene::new();
    let target = ([127, 0, 0, 1], scene.secure).into();
    let authority = scene.folder.path().join("cert.pem");
    let tunnel = Tunnel::speaking(b"h2", target, Ipv4Addr::LOCALHOST, "localhost", &authority);
    httpwg(tunnel.url().trim_start_matches("http://"));
}

/// Over TLS alone: a plain listener that takes HTTP/1.1 too answers a wrong preface as the HTTP/1.1 that it is most like, which
/// h2spec doesn't read.
#[test]
fn h2spec_passes_whole() {
    if !parts::are_there("h2spec_passes_whole", &[Part::H2spec]) {
        return;
    }
    let scene = Scene::new();
    let port = scene.secure.to_string();
    let ran = Command::new(Part::H2spec.program())
        .args(["--host", "127.0.0.1", "--port", &port, "--tls", "--insecure", "--strict", "--timeout", "5"])
        .output()
        .expect("it can be run");
    let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && told.contains("146 tests, 146 passed, 0 skipped, 0 failed"), "{told}");
}
