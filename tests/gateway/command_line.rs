//! The commands that answer and end.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::gateway::{GatewayConfig, run};

#[test]
fn keygen_prints_32_random_bytes() {
    let keys: Vec<String> = (0..2).map(|_| run(&["keygen"]).out.trim().to_owned()).collect();
    for key in &keys {
        assert_eq!(URL_SAFE_NO_PAD.decode(key).expect("base64url without padding").len(), 32, "{key}");
    }
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn check_is_content_with_a_good_file_and_needs_no_network() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("portcullis.toml");
    let config = GatewayConfig::new("https://app.example.com")
        .provider("https://login.example.com", "a client secret")
        .upstream("app", "http://127.0.0.1:3000");
    std::fs::write(&file, config.text()).expect("a file can be written");
    let ran = run(&["check", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!format!("{ran:?}").contains("a client secret"), "a secret is never printed");
}

#[test]
fn a_config_file_that_is_not_there_is_a_mistake() {
    for command in ["serve", "check"] {
        let ran = run(&[command, "--config", "/nowhere/portcullis.toml"]);
        assert!(ran.code.is_some_and(|code| code != 0), "{ran:?}");
        assert!(ran.err.contains("/nowhere/portcullis.toml"), "{ran:?}");
    }
}

/// `check` and `serve` find the same mistakes, those too that only show when the settings are put to work.
#[test]
fn what_only_a_start_would_show_is_told_by_check_and_by_serve() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("portcullis.toml");
    let config = GatewayConfig::new("https://app.example.com")
        .provider("https://login.example.com", "a client secret")
        .raw("[upstreams.app]\nurl = \"http://127.0.0.1:3000\"\nheaders = { \"X-Who\" = \"{nobody}\" }");
    std::fs::write(&file, config.text()).expect("a file can be written");
    for command in ["check", "serve"] {
        let ran = run(&[command, "--config", file.to_str().expect("a plain path")]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("error: upstreams.app.headers.X-Who: `{nobody}` is no placeholder"), "{}", ran.err);
        assert!(ran.err.contains("^^^^^^^^^^"), "the place is shown: {}", ran.err);
        assert_eq!(ran.out, "", "nothing was ready");
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it has an address").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("portcullis.toml");
    let config = GatewayConfig::new("https://app.example.com")
        .provider("https://login.example.com", "a client secret")
        .upstream("app", "http://127.0.0.1:3000");
    std::fs::write(&file, config.text()).expect("a file can be written");
    let file = file.to_str().expect("a plain path");
    let ran = run(&["serve", "--config", file, "--set", &format!("listen.http={address}")]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
    for part in [address.as_str(), "can't listen", "another program listens there"] {
        assert!(ran.err.contains(part), "no {part} in:\n{}", ran.err);
    }
}

/// What is on standard output is for programs: one line, and nothing else. What is dangerous is for people to read.
#[test]
fn a_start_says_ready_once_and_lists_warnings_and_dangers() {
    let config = GatewayConfig::new("https://app.example.com")
        .provider("http://127.0.0.1:1", "a client secret")
        .upstream("app", "http://127.0.0.1:3000")
        .raw("[trusted_proxies]\nnetworks = [\"0.0.0.0/0\"]\ninsecure_trust_every_proxy = true")
        .variable("PORTCULLIS_SESSION__KEYS", "[]");
    let mut gateway = config.start();
    assert!(gateway.stop().success());
    let (out, err) = gateway.process().streams();
    assert_eq!(out.lines().count(), 1, "{out}");
    assert_eq!(out, format!("ready {}", gateway.url()));
    for part in [
        "dangerous setting: trusted_proxies.insecure_trust_every_proxy",
        "`session.keys` has no key",
        "portcullis keygen",
        concat!("serving version=\"", env!("CARGO_PKG_VERSION"), "\""),
        "routes=1",
    ] {
        assert!(err.contains(part), "no {part} in:\n{err}");
    }
}

#[test]
fn an_unknown_command_is_explained() {
    let ran = run(&["srve"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("serve"), "{ran:?}");
}
