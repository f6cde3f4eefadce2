//! The real programs that the gateway is tried against; `tests/parts/install` brings them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::PATIENCE;
use super::process::{Process, ready_address};
use super::webdriver::WebDriver;

/// A program that may not be on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// npm's oidc-provider, with Node.js.
    OidcProvider,
    /// Django, in a virtual environment.
    Django,
    /// Chromium and its driver.
    Chromium,
    /// Debian's nginx.
    Nginx,
    /// Debian's Redis.
    Redis,
    /// Debian's PostgreSQL.
    Postgres,
    /// Debian's Caddy.
    Caddy,
    /// Debian's `HAProxy`, with Lua.
    Haproxy,
    /// Debian's Apache, with Lua and `LuaSocket`.
    Apache,
    /// Envoy, from `PyPI`.
    Envoy,
    /// The test suite of HTTP/2 from the crate registry.
    Httpwg,
    /// The test suite of HTTP/2 in Go.
    H2spec,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::OidcProvider => "oidc-provider",
            Self::Django => "django",
            Self::Chromium => "chromium",
            Self::Nginx => "nginx",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Apache => "apache",
            Self::Envoy => "envoy",
            Self::Httpwg => "httpwg",
            Self::H2spec => "h2spec",
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::OidcProvider => installed("oidc-provider/.installed").is_file() && on_path("node"),
            Self::Django => installed("django/.installed").is_file(),
            Self::Chromium => on_path("chromium") && on_path("chromedriver"),
            Self::Nginx => nginx().is_some(),
            Self::Redis => on_path("redis-server") && on_path("redis-cli"),
            Self::Postgres => postgres("initdb").is_some() && on_path("psql"),
            Self::Caddy => on_path("caddy"),
            Self::Haproxy => haproxy().is_some(),
            Self::Apache => apache().is_some() && lua_socket(),
            Self::Envoy => installed("envoy/.installed").is_file(),
            Self::Httpwg | Self::H2spec => self.program().is_file(),
        }
    }

    /// The program of a part that is one program of its own.
    ///
    /// # Panics
    /// For the other parts.
    pub fn program(self) -> PathBuf {
        match self {
            Self::Httpwg => installed("cargo/bin/httpwg"),
            Self::H2spec => installed("go/bin/h2spec"),
            other => panic!("{} is more than one program", other.name()),
        }
    }
}

/// Whether every one of `parts` is on this machine. When one is not, the test can't be run here: that is said on the real standard
/// error, where no test runner hides it.
///
/// # Panics
/// When one is missing and `TEST_PARTS=required` says that none may be.
pub fn are_there(test: &str, parts: &[Part]) -> bool {
    let missing: Vec<&str> = parts.iter().filter(|part| !part.is_there()).map(|part| part.name()).collect();
    if missing.is_empty() {
        return true;
    }
    let names = missing.join(" ");
    let message = format!("\n*** {test} WAS NOT RUN: {names} is missing. To install it: tests/parts/install {names}\n");
    assert!(std::env::var("TEST_PARTS").as_deref() != Ok("required"), "{message}");
    // Not through the macros: the test runner would keep their output to itself when the test passes.
    std::io::stderr().write_all(message.as_bytes()).expect("standard error can be written to");
    false
}

/// npm's oidc-provider with the one client `app`.
pub struct OidcProvider {
    process: Process,
    issuer: String,
}

impl OidcProvider {
    /// The client's secret, with characters that must be encoded before HTTP Basic takes them (RFC 6749, section 2.3.1).
    pub const SECRET: &'static str = "s:cr/et+ %1";

    /// Starts it for a gateway at `public_url`.
    pub fn start(public_url: &str) -> Self {
        Self::start_with(public_url, &[])
    }

    /// The same with further variables; see its `server.mjs`.
    pub fn start_with(public_url: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new("node");
        command
            .arg("server.mjs")
            .current_dir(installed("oidc-provider"))
            .env("CLIENT_ID", "app")
            .env("CLIENT_SECRET", Self::SECRET)
            .env("REDIRECT_URI", format!("{public_url}/.auth/callback/corp"))
            .env("POST_LOGOUT_REDIRECT_URI", format!("{public_url}/.auth/signed-out"))
            .env("BACKCHANNEL_LOGOUT_URI", format!("{public_url}/.auth/backchannel-logout/corp"))
            .envs(variables.iter().copied());
        let process = Process::start("oidc-provider", &mut command);
        let issuer = process.wait_for(PATIENCE, ready_address);
        Self { process, issuer }
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What it wrote.
    pub fn logs(&self) -> String {
        self.process.logs()
    }
}

/// An ordinary Django project with a superuser `alice`.
pub struct Django {
    process: Process,
    url: String,
    state: TempDir,
}

impl Django {
    /// Starts it behind a gateway at `public_url`.
    pub fn start(public_url: &str) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(installed("django/bin/python"));
        command
            .arg("serve.py")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parts/django"))
            .env("PUBLIC_URL", public_url)
            .env("STATE_DIR", state.path())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let process = Process::start("django", &mut command);
        let url = process.wait_for(PATIENCE, ready_address);
        Self { process, url, state }
    }

    /// Where it serves.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it wrote.
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// A file that was uploaded.
    pub fn file(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }
}

/// A Chromium without a screen.
pub fn chromium() -> WebDriver {
    WebDriver::start()
}

fn installed(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/parts")).join(path)
}

/// Where npm put what the provider needs, `jose` among it.
pub fn node_modules() -> PathBuf {
    installed("oidc-provider/node_modules")
}

/// Debian's nginx.
pub fn nginx() -> Option<PathBuf> {
    for_root("nginx")
}

/// Debian's `HAProxy`.
pub fn haproxy() -> Option<PathBuf> {
    for_root("haproxy")
}

/// Debian's Apache.
pub fn apache() -> Option<PathBuf> {
    for_root("apache2")
}

/// Envoy.
pub fn envoy() -> PathBuf {
    installed("envoy/envoy")
}

/// Whether Apache's Lua has sockets.
fn lua_socket() -> bool {
    PathBuf::from("/usr/share/lua/5.3/socket.lua").is_file()
}

/// A program that Debian keeps where only root looks for them.
fn for_root(program: &str) -> Option<PathBuf> {
    found(program).or_else(|| Some(PathBuf::from("/usr/sbin").join(program)).filter(|path| path.is_file()))
}

/// A program of Debian's PostgreSQL, which stands in a folder of its version.
pub fn postgres(program: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(program)).collect();
    found.sort();
    found.into_iter().rfind(|path| path.is_file())
}

fn on_path(program: &str) -> bool {
    found(program).is_some()
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}
