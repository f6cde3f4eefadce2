//! The config files that the design and the README show, word for word.

use std::path::Path;

use tempfile::TempDir;

use crate::support::SESSION_KEY;
use crate::support::gateway::{Gateway, run};

const SMALLEST: &str = r#"public_url = "https://app.example.com"

[providers.corp]
issuer        = "https://login.example.com/realms/corp"
client_id     = "app"
client_secret = { file = "/run/secrets/client-secret" }

[session]
keys = [{ file = "/run/secrets/session-key" }]     # first seals, every one opens

[upstreams.app]
url = "http://127.0.0.1:3000"
"#;

const LARGER: &str = r#"public_url = "https://app.example.com"
workers    = 2                    # one per core when absent

[listen]
http  = ["127.0.0.1:8080"]        # also "unix:/run/portcullis.sock", "fd:3" (socket activation)
https = []                        # with [tls] cert/key, re-read when they change
admin = "127.0.0.1:9090"          # health, readiness, metrics, dashboard; never on a public listener

[trusted_proxies]                 # empty by default
networks = ["10.0.0.0/8"]

[session]
keys     = [{ file = "/run/secrets/session-key" }]
store    = "cookie"               # or "redis://…" (sentinel and cluster too), "sqlite:…", "postgres://…"
idle     = "8h"
lifetime = "7d"

[providers.corp]
preset   = "keycloak"             # "oidc" when absent; presets are data files, not code
label    = "Corporate login"
issuer   = "https://login.example.com/realms/corp"
client_id = "app"
client_secret = { env = "CORP_SECRET" }
scopes   = ["openid", "profile", "email"]

[upstreams.app]
url      = "http://127.0.0.1:3000"
identity = "oauth2-proxy"         # header preset; "portcullis" when absent

[upstreams.api]
url   = "https://api.internal:6060"
token = "access_token"            # Authorization: Bearer …

[[routes]]
path     = "/public/*"
allow    = "everyone"
upstream = "app"

[[routes]]
path     = "/admin/*"
allow    = { roles = ["admin"] }  # keys are and-ed, lists are any-of; a list of tables is or
upstream = "app"

[[routes]]
path       = "/api/*"
allow      = "signed-in"
signed_out = "401"                # "redirect", "401", or "auto": by Sec-Fetch-Mode, Accept, X-Requested-With
upstream   = "api"

[[routes]]
path     = "/*"
allow    = "signed-in"
upstream = "app"
"#;

/// What this machine lacks of the world that the shown files speak of: a second file, as operators layer them.
fn this_machine(secrets: &Path, client_secret: bool) -> String {
    let folder = secrets.to_str().expect("a plain path");
    let mut text = format!(
        "[listen]\nhttp = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\n[session]\nkeys = [{{ file = \"{folder}/session-key\" }}]\n"
    );
    if client_secret {
        let provider = format!("\n[providers.corp]\nclient_secret = {{ file = \"{folder}/client-secret\" }}\n");
        text.push_str(&provider);
    }
    text
}

fn secrets() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("session-key"), format!("{SESSION_KEY}\n")).expect("a file can be written");
    std::fs::write(folder.path().join("client-secret"), "the client's secret\n").expect("a file can be written");
    folder
}

#[test]
fn the_smallest_file_starts_and_everything_needs_a_sign_in() {
    let secrets = secrets();
    let local = this_machine(secrets.path(), true);
    let gateway = Gateway::start_files(&[("portcullis.toml", SMALLEST), ("machine.toml", &local)], &[]);
    // The provider can't be reached from here, which must neither stop the start nor open a door.
    let answer = gateway.get("/anything").header("Accept", "application/json").send();
    assert_eq!(answer.status, 401, "{}", answer.text());
    let page = gateway.get("/anything").send();
    assert!(matches!(page.status, 302 | 502 | 503), "{} {}", page.status, page.text());
}

#[test]
fn the_larger_file_starts_and_its_routes_answer() {
    let secrets = secrets();
    let local = this_machine(secrets.path(), false);
    let files = [("portcullis.toml", LARGER), ("machine.toml", local.as_str())];
    let gateway = Gateway::start_files(&files, &[("CORP_SECRET", "the client's secret")]);
    assert_eq!(gateway.get("/api/x").header("Accept", "text/html").send().status, 401);
    assert_eq!(gateway.get("/admin/x").header("Accept", "application/json").send().status, 401);
    // Nobody listens at the upstream's address on this machine, most likely; in any case no sign-in is asked for.
    assert!(!matches!(gateway.get("/public/x").send().status, 302 | 401 | 403 | 404));
}

#[test]
fn the_config_in_the_readme_is_the_smallest_one() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("there is a README");
    assert!(readme.contains(SMALLEST), "README.md must show the smallest file word for word");
}

#[test]
fn a_secret_of_the_config_is_never_written_to_the_log() {
    let secrets = secrets();
    let local = this_machine(secrets.path(), true);
    let files = [("portcullis.toml", SMALLEST), ("machine.toml", local.as_str())];
    let mut gateway = Gateway::start_files(&files, &[("RUST_LOG", "trace"), ("PORTCULLIS_LOG__LEVEL", "trace")]);
    gateway.get("/anything").send();
    gateway.stop();
    let logs = gateway.logs();
    assert!(!logs.contains("the client's secret") && !logs.contains(SESSION_KEY), "{logs}");
}

#[test]
fn check_finds_every_mistake_at_once_and_names_the_nearest_key() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("portcullis.toml");
    let text =
        SMALLEST.replace("client_id     =", "cleint_id     =").replace("http://127.0.0.1:3000", "127.0.0.1:3000");
    std::fs::write(&file, text).expect("a file can be written");
    let ran = run(&["check", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let said = format!("{}{}", ran.out, ran.err);
    for expected in ["portcullis.toml", "cleint_id", "client_id", "upstreams.app"] {
        assert!(said.contains(expected), "no {expected} in:\n{said}");
    }
}
