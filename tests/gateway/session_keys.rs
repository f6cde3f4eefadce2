//! Session keys in files: replaced while the gateway runs, without signing anyone out.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::scene::HTTPS;
use crate::support::browser::Browser;
use crate::support::gateway::{Gateway, GatewayConfig, run};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, pause};

const TICK: Duration = Duration::from_millis(50);

struct Scene {
    gateway: Gateway,
    folder: TempDir,
    _upstream: Upstream,
    _provider: Provider,
}

/// A gateway with the keys of two files.
fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (upstream, provider) = (Upstream::start(), Provider::start());
    write(folder.path(), "first", &new_key());
    write(folder.path(), "second", &new_key());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let keys = format!("[session]\nkeys = [{{ file = {:?} }}, {{ file = {:?} }}]", path("first"), path("second"));
    // One worker, so that each request meets the sessions that the last one opened.
    let config = GatewayConfig::on_loopback().top("workers = 1").client(provider.issuer(), CLIENT_ID, CLIENT_SECRET);
    let config = config.upstream("app", &upstream.url()).text();
    // Later files win over earlier ones, so these keys stand in the place of the support's own.
    let gateway = Gateway::start_files(&[("portcullis.toml", &config), ("keys.toml", &keys)], &[]);
    Scene { gateway, folder, _upstream: upstream, _provider: provider }
}

fn new_key() -> String {
    run(&["keygen"]).out
}

/// As secrets are replaced by those who know how: the new file is moved over the old one.
fn write(folder: &Path, name: &str, text: &str) {
    let (fresh, path) = (folder.join("fresh"), folder.join(name));
    std::fs::write(&fresh, text).expect("a file can be written");
    std::fs::rename(fresh, path).expect("a file can be moved");
}

impl Scene {
    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect("the file is there")
    }

    /// Replaces one key and waits until the gateway has taken it.
    fn replace(&self, name: &str, key: &str) {
        let told = || self.gateway.logs().matches("the session keys were replaced").count();
        let before = told();
        write(self.folder.path(), name, key);
        let mut left = PATIENCE;
        while told() == before {
            assert!(!left.is_zero(), "the new key was not taken:\n{}", self.gateway.logs());
            pause(TICK);
            left = left.saturating_sub(TICK);
        }
    }

    fn knows(&self, browser: &mut Browser) -> bool {
        let status = browser.peek(&self.gateway.at("/page")).status;
        assert!(matches!(status, 200 | 302), "{status}");
        status == 200
    }
}

#[test]
fn keys_rotate_in_their_files_without_signing_anyone_out() {
    let scene = scene();
    let mut alice = Browser::new();
    alice.sign_in("alice", &scene.gateway.at("/page"));
    assert!(scene.knows(&mut alice));
    let mut early = alice.clone();

    // [new, old]: the old key still opens, and what is sealed anew is sealed with the new one.
    scene.replace("second", &scene.read("first"));
    scene.replace("first", &new_key());
    let answer = alice.peek(&scene.gateway.at("/page"));
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").is_some(), "the session moves to the new key: {:?}", answer.head.headers);
    assert!(scene.knows(&mut early.clone()), "the cookie from before is as good");

    // [new]: what was opened before with the key that left is no session any more, however lately it was seen.
    scene.replace("second", &new_key());
    assert!(scene.knows(&mut alice));
    assert!(!scene.knows(&mut early), "its key has left");
}

#[test]
fn a_key_that_can_not_be_used_changes_nothing_and_is_told_once() {
    let scene = scene();
    let mut alice = Browser::new();
    alice.sign_in("alice", &scene.gateway.at("/page"));
    write(scene.folder.path(), "first", "too few\n");
    let told = |needle: &str| scene.gateway.logs().matches(needle).count();
    let mut left = PATIENCE;
    while told("is shorter than 32 bytes") == 0 {
        assert!(!left.is_zero(), "nothing was told:\n{}", scene.gateway.logs());
        pause(TICK);
        left = left.saturating_sub(TICK);
    }
    assert!(scene.knows(&mut alice), "the keys from before stay in use");
    scene.replace("first", &new_key());
    assert_eq!(told("is shorter than 32 bytes"), 1, "{}", scene.gateway.logs());
    assert!(!scene.gateway.logs().contains("too few"), "a secret is never logged, not even a bad one");
}

/// Two gateways that share nothing but their config and one file with keys, one a line. Whichever reads the file first, a session that the
/// other one sealed with the new key is known.
#[test]
fn ten_rotations_in_one_file_sign_nobody_out_of_two_gateways() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (upstream, provider) = (Upstream::start(), crate::scene::provider());
    let mut keys = vec![new_key()];
    write(folder.path(), "keys", &keys.join("\n"));
    let path = folder.path().join("keys").display().to_string();
    let start = || {
        let config = GatewayConfig::new(HTTPS).top("workers = 1").client(provider.issuer(), CLIENT_ID, CLIENT_SECRET);
        let config = config.upstream("app", &upstream.url()).text();
        let keys = format!("[session]\nkeys = [{{ file = {path:?} }}]");
        Gateway::start_files(&[("portcullis.toml", &config), ("keys.toml", &keys)], &[])
    };
    let first = start();
    // Out of step, so that each is the later one now and then.
    pause(Duration::from_millis(1_100));
    let second = start();
    let told = |gateway: &Gateway| gateway.logs().matches("the session keys were replaced").count();
    let mut alice = Browser::new();
    alice.reach(HTTPS, first.url());
    assert_eq!(alice.sign_in("alice", &format!("{HTTPS}/page")).response.status, 200);
    let mut idle = alice.clone();
    let ask = |browser: &mut Browser, gateway: &Gateway| {
        browser.reach(HTTPS, gateway.url());
        browser.peek(&format!("{HTTPS}/page")).status
    };
    for round in 1..=10 {
        keys.insert(0, new_key());
        write(folder.path(), "keys", &format!("# round {round}\n{}", keys.join("\n")));
        let mut left = PATIENCE;
        while told(&first) < round && told(&second) < round {
            assert!(!left.is_zero(), "the new key was not taken:\n{}", first.logs());
            pause(TICK);
            left = left.saturating_sub(TICK);
        }
        // Whoever has the new key seals with it at once, and the other one may not have it yet.
        let (newer, older) = if told(&first) >= round { (&first, &second) } else { (&second, &first) };
        assert_eq!(ask(&mut alice, newer), 200, "round {round}\n{}", newer.logs());
        assert_eq!(ask(&mut alice, older), 200, "round {round}\n{}", older.logs());
    }
    assert_eq!(ask(&mut idle.clone(), &first), 200, "all keys are there still");
    keys.truncate(1);
    write(folder.path(), "keys", &keys.join("\n"));
    let mut left = PATIENCE;
    while told(&first) <= 10 {
        assert!(!left.is_zero(), "the old keys did not leave:\n{}", first.logs());
        pause(TICK);
        left = left.saturating_sub(TICK);
    }
    assert_eq!(ask(&mut idle, &first), 302, "its key has left");
    assert_eq!(ask(&mut alice, &first), 200, "whoever came by has the new one");
}
