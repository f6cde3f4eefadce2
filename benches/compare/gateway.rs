//! The gateway under measurement: its config, its start, and the sign-in of a person who then asks.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use portcullis::base::random;

use crate::Outcome;
use crate::process::{self, Running};
use crate::provider;

/// What the access tokens of callers are for.
pub(crate) const AUDIENCE: &str = "https://api.bench.example";

/// What one gateway is to be.
pub(crate) struct Plan {
    /// Its port.
    pub(crate) port: u16,
    /// Its workers.
    pub(crate) workers: usize,
    /// Routes besides those that every gateway here has: `/r0/*`, `/r1/*`, …
    pub(crate) routes: usize,
    /// The level of its log; `info` writes a line a request.
    pub(crate) log: &'static str,
    /// The issuer that signs people in.
    pub(crate) issuer: String,
    /// Where the application is.
    pub(crate) upstream: u16,
    /// Where the WebSocket echo is; it is asked for what is below `/ws/`.
    pub(crate) echo: u16,
    /// Whether a proxy on this machine may ask about requests of its own.
    pub(crate) in_front: bool,
    /// The store of sessions; cookies without.
    pub(crate) store: Option<String>,
    /// Opened sessions that each worker keeps; the default without.
    pub(crate) cache: Option<usize>,
}

/// The text of a session key; all gateways of one run share it.
pub(crate) fn session_key() -> Outcome<String> {
    let bytes = random::bytes::<32>()?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    }))
}

fn config(plan: &Plan, key: &Path) -> String {
    let Plan { port, workers, routes, log, issuer, upstream, echo, in_front, store, cache } = plan;
    let trusted = if *in_front { "trusted_proxies.networks = [\"127.0.0.1\"]\n" } else { "" };
    let store = store.as_ref().map_or_else(String::new, |url| format!("store = \"{url}\"\n"));
    let cache = cache.map_or_else(String::new, |sessions| format!("cache = {sessions}\n"));
    let key = key.display();
    let (id, secret) = (provider::CLIENT_ID, provider::CLIENT_SECRET);
    let mut text = format!(
        "public_url = \"http://127.0.0.1:{port}\"
workers = {workers}
{trusted}
[listen]
http = [\"127.0.0.1:{port}\"]
h2c = true

[log]
level = \"{log}\"

[limits]
connections = 40000
connections_per_address = 40000

[session]
keys = [{{ file = \"{key}\" }}]
{store}{cache}
[providers.bench]
issuer = \"{issuer}\"
client_id = \"{id}\"
client_secret = \"{secret}\"

[bearer.bench]
audience = [\"{AUDIENCE}\"]

[upstreams.app]
url = \"http://127.0.0.1:{upstream}\"

[upstreams.echo]
url = \"http://127.0.0.1:{echo}\"

[[routes]]
path = \"/*\"
allow = \"signed-in\"
upstream = \"app\"

[[routes]]
path = \"/ws/*\"
allow = \"signed-in\"
upstream = \"echo\"

[[routes]]
path = \"/tokens/*\"
allow = \"signed-in\"
upstream = \"app\"
bearer = true
"
    );
    for number in 0..*routes {
        let _infallible =
            write!(text, "\n[[routes]]\npath = \"/r{number}/*\"\nallow = \"signed-in\"\nupstream = \"app\"\n");
    }
    text
}

/// Writes the config of `plan` into a new folder and gives its file.
pub(crate) fn write(folder: &Path, plan: &Plan, key: &str) -> Outcome<PathBuf> {
    fs::create_dir_all(folder)?;
    let (key_file, file) = (folder.join("session-key"), folder.join("portcullis.toml"));
    for (path, text) in [(&key_file, key), (&file, &config(plan, &key_file))] {
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Starts `program` with the config `file` and waits for its line `ready http://…`. `quiet` sends its log to `/dev/null`.
pub(crate) fn start(program: &Path, file: &Path, cores: Option<&str>, quiet: bool) -> Outcome<Running> {
    if !program.is_file() {
        return Err(
            format!("there is no gateway at {}; build it with `cargo build --release`", program.display()).into()
        );
    }
    let mut command = process::on_cores(cores, program);
    command.args(["serve", "--config"]).arg(file).stdout(Stdio::piped());
    let words = if quiet { PathBuf::from("/dev/null") } else { file.with_extension("err") };
    let mut running = Running::start(&mut command, words)?;
    running.wait_for_ready_line()?;
    Ok(running)
}
