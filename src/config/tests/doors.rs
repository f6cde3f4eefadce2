//! The doors for other proxies: `[verify]`, `listen.ext_authz`, and upstreams that another proxy reaches.

use super::*;
use crate::config::settings::{ListenAddress, UpstreamKind};

const ELSEWHERE: &str = "public_url = \"https://app.example.com\"\n[providers.corp]\nissuer = \"https://login.example.com\"\n\
     client_id = \"app\"\n[session]\nkeys = [{ file = \"/run/secrets/session-key\" }]\n[upstreams.app]\nurl = \"none\"\n";

#[test]
fn an_upstream_may_be_elsewhere_and_still_has_an_identity() {
    let settings = toml(&format!("{ELSEWHERE}identity = \"authelia\"\ntoken = \"access_token\"")).unwrap();
    let upstream = &settings.upstreams[0];
    assert!(matches!(upstream.kind, UpstreamKind::Elsewhere), "{upstream:?}");
    assert_eq!(upstream.identity, "authelia");
    assert_eq!(settings.verify_status.as_u16(), 200);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn the_doors_are_read() {
    let text = right(
        "",
        "[verify]\nstatus = 202\n[listen]\next_authz = [\"127.0.0.1:9191\", \"fd:3\"]\n[trusted_proxies]\nnetworks = [\"127.0.0.1\"]",
    );
    let settings = toml(&text).unwrap();
    assert_eq!(settings.verify_status.as_u16(), 202);
    assert_eq!(settings.listen.ext_authz.len(), 2);
    assert_eq!(settings.listen.ext_authz[0], ListenAddress::Tcp("127.0.0.1:9191".parse().unwrap()));
}

#[test]
fn mistakes_at_the_doors_are_told() {
    for (text, expected) in [
        (
            format!("{ELSEWHERE}pass_host = true"),
            "`pass_host` has no meaning for an application that another proxy reaches",
        ),
        (format!("{ELSEWHERE}body = \"x\""), "`body` has no meaning for an application that another proxy reaches"),
        (format!("{ELSEWHERE}files = \"/srv\""), "one upstream can't be several things"),
        (right("", "[verify]\nstatus = 201"), "allowed: 200, 202"),
        (right("", "[verify]\nstatus = 204"), "status"),
        (right("", "[verify]\nredirect = true"), "redirect"),
        (right("", "[listen]\next_authz = [\"127.0.0.1:9191\"]"), "every question would be refused"),
        (
            right("", "[listen]\next_authz = [\"unix:/p\"]\n[trusted_proxies]\nnetworks = [\"127.0.0.1\"]"),
            "no unix socket",
        ),
        (
            right(
                "",
                "[listen]\nhttp = [\"127.0.0.1:9191\"]\next_authz = [\"127.0.0.1:9191\"]\n[trusted_proxies]\nnetworks = [\"127.0.0.1\"]",
            ),
            "this address is given twice",
        ),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(expected), "{expected} in\n{told}");
    }
}
