//! What `check` proves of a store without asking it, and what a gateway without one is spared.

use crate::support::gateway::{GatewayConfig, run};

fn check(store: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("portcullis.toml");
    let config = GatewayConfig::new("https://app.example.com")
        .provider("https://login.example.com", "hush-hush-hush")
        .upstream("app", "http://127.0.0.1:1")
        .session_line(&format!("store = {store}"));
    std::fs::write(&path, config.text()).expect("a file can be written");
    let ran = run(&["check", "--config", path.to_str().expect("a plain path")]);
    (ran.code, format!("{}{}", ran.out, ran.err))
}

#[test]
fn a_store_that_nobody_listens_at_is_no_mistake_of_the_config() {
    for url in [
        "redis://127.0.0.1:1",
        "rediss://nobody.invalid",
        "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main",
        "redis+cluster://127.0.0.1:1",
        "postgres://gate@127.0.0.1:1/sessions",
        "sqlite:sessions.db",
    ] {
        let (code, told) = check(&format!("{url:?}"));
        assert_eq!(code, Some(0), "{url}: {told}");
    }
}

#[test]
fn every_mistake_is_told_with_its_key_and_without_the_password() {
    for (store, expected) in [
        ("\"memcache://u:hush@h\"", "session.store"),
        ("\"redis://u:hush@a,b\"", "redis+cluster://"),
        ("{ url = \"redis+sentinel://u:hush@h\" }", "doesn't name the primary"),
        ("{ url = \"rediss://h\", ca = \"/no/such/file.pem\" }", "session.store.ca"),
        ("{ url = \"redis://h\", password = \"hush\", timeout = \"1h\" }", "session.store.timeout"),
        ("{ url = \"postgres://u:hush@h/db\", password = \"hush\" }", "has a password already"),
        ("\"sqlite:/no/such/folder/s.db\"", "its directory is not there"),
    ] {
        let (code, told) = check(store);
        assert_eq!(code, Some(1), "{store}: {told}");
        assert!(told.contains(expected), "{store}: {told}");
        assert!(!told.replace("hush-hush-hush", "").contains("hush"), "{store}: {told}");
    }
}
