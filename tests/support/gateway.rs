//! The gateway as its users run it: the real binary, a config file, a port of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use super::client::{Client, Request};
use super::process::{Process, ready_address};
use super::{PATIENCE, SESSION_KEY, free_port};

/// A config under construction; what it writes is TOML as an operator writes it.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    public_url: String,
    listen: String,
    listen_lines: Vec<String>,
    top: Vec<String>,
    tables: Vec<String>,
    session: Vec<String>,
    provider: Vec<String>,
    variables: Vec<(String, String)>,
}

impl GatewayConfig {
    /// Browsers reach it at `public_url`; tests reach it on a free port of the loopback address.
    pub fn new(public_url: &str) -> Self {
        Self {
            public_url: public_url.to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            listen_lines: Vec::new(),
            top: Vec::new(),
            tables: Vec::new(),
            session: vec![format!("keys = [\"{SESSION_KEY}\"]")],
            provider: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Browsers reach it where it listens: `http://127.0.0.1:PORT`, chosen now so that a provider can be told.
    pub fn on_loopback() -> Self {
        let port = free_port();
        let mut config = Self::new(&format!("http://127.0.0.1:{port}"));
        config.listen = format!("127.0.0.1:{port}");
        config
    }

    /// Where browsers reach it.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// The redirect URI of the provider `corp`.
    pub fn redirect_uri(&self) -> String {
        format!("{}/.auth/callback/corp", self.public_url)
    }

    /// The provider `corp`, with the client `app` and its secret.
    #[must_use]
    pub fn provider(mut self, issuer: &str, client_secret: &str) -> Self {
        self.provider = vec![
            format!("issuer = {issuer:?}"),
            "client_id = \"app\"".to_owned(),
            format!("client_secret = {client_secret:?}"),
        ];
        self
    }

    /// The provider `corp`, with another client.
    #[must_use]
    pub fn client(mut self, issuer: &str, client_id: &str, client_secret: &str) -> Self {
        self = self.provider(issuer, client_secret);
        self.provider[1] = format!("client_id = {client_id:?}");
        self
    }

    /// A further line of `[providers.corp]`.
    #[must_use]
    pub fn provider_line(mut self, line: &str) -> Self {
        self.provider.push(line.to_owned());
        self
    }

    /// Other session keys; the first seals.
    #[must_use]
    pub fn keys(mut self, keys: &[&str]) -> Self {
        self.session[0] = format!("keys = {keys:?}");
        self
    }

    /// A further line of `[listen]`.
    #[must_use]
    pub fn listen_line(mut self, line: &str) -> Self {
        self.listen_lines.push(line.to_owned());
        self
    }

    /// A further line of `[session]`.
    #[must_use]
    pub fn session_line(mut self, line: &str) -> Self {
        self.session.push(line.to_owned());
        self
    }

    /// An upstream.
    #[must_use]
    pub fn upstream(self, name: &str, url: &str) -> Self {
        self.raw(&format!("[upstreams.{name}]\nurl = {url:?}"))
    }

    /// A route; `allow` is TOML: `"\"everyone\""`, `"{ roles = [\"admin\"] }"`.
    #[must_use]
    pub fn route(self, path: &str, allow: &str, upstream: &str) -> Self {
        self.raw(&format!("[[routes]]\npath = {path:?}\nallow = {allow}\nupstream = {upstream:?}"))
    }

    /// A line above all tables, such as `workers = 1`.
    #[must_use]
    pub fn top(mut self, line: &str) -> Self {
        self.top.push(line.to_owned());
        self
    }

    /// Whole tables, as they stand.
    #[must_use]
    pub fn raw(mut self, tables: &str) -> Self {
        self.tables.push(tables.to_owned());
        self
    }

    /// An environment variable of the process.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let mut blocks = vec![format!("public_url = {:?}", self.public_url)];
        blocks.extend(self.top.iter().cloned());
        blocks.push(format!("\n[listen]\nhttp = [{:?}]\n{}\n", self.listen, self.listen_lines.join("\n")));
        blocks.push(format!("[session]\n{}\n", self.session.join("\n")));
        if !self.provider.is_empty() {
            blocks.push(format!("[providers.corp]\n{}\n", self.provider.join("\n")));
        }
        blocks.extend(self.tables.iter().map(|table| format!("{table}\n")));
        blocks.join("\n")
    }

    /// Starts the gateway and waits until it serves.
    pub fn start(&self) -> Gateway {
        let variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Gateway::start_files(&[("portcullis.toml", &self.text())], &variables)
    }
}

/// A running gateway; it is killed when the test is over.
pub struct Gateway {
    process: Process,
    url: String,
    folder: TempDir,
}

impl Gateway {
    /// Starts it with these config files, in order, and waits until it serves.
    ///
    /// # Panics
    /// When it does not say `ready` in time; the message holds all that it wrote.
    pub fn start_files(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = program();
        command.arg("serve").current_dir(folder.path());
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file can be written");
            command.arg("--config").arg(path);
        }
        command.envs(variables.iter().copied());
        let process = Process::start("portcullis serve", &mut command);
        let url = process.wait_for(PATIENCE, ready_address);
        Self { process, url, folder }
    }

    /// Starts `portcullis demo` on a free port, with further arguments.
    pub fn demo(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = program();
        command
            .args(["demo", "--listen", &format!("127.0.0.1:{}", free_port())])
            .args(arguments)
            .current_dir(folder.path());
        let process = Process::start("portcullis demo", &mut command);
        let url = process.wait_for(PATIENCE, ready_address);
        Self { process, url, folder }
    }

    /// The address that it printed.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An address on it.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// A GET of it.
    pub fn get(&self, target: &str) -> Request {
        self.client().get(target)
    }

    /// All that it wrote so far.
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// Waits until `needle` stands in what it wrote; whether it came.
    pub fn logs_come_to_hold(&self, needle: &str) -> bool {
        self.process.logs_come_to_hold(needle, PATIENCE)
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The folder that it runs in, where its config is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop(PATIENCE)
    }

    /// Memory that it holds now and the most it ever held, in KiB.
    pub fn memory(&self) -> Memory {
        let path = PathBuf::from(format!("/proc/{}/status", self.process.id()));
        let status = std::fs::read_to_string(path).expect("a process of ours can be looked at");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells this");
            line.trim_end_matches("kB").trim().parse().expect("a number")
        };
        Memory { resident: field("VmRSS:"), peak: field("VmHWM:") }
    }
}

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What it holds now.
    pub resident: u64,
    /// The most it ever held.
    pub peak: u64,
}

/// The real binary, in an environment without settings of whoever runs the tests.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTCULLIS_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a command of the binary that ends by itself answered.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs the binary to its end; what does not end in time is killed.
pub fn run(arguments: &[&str]) -> Ran {
    let mut command = program();
    command.args(arguments);
    let mut process = Process::start("portcullis", &mut command);
    let status = process.wait(PATIENCE);
    let status = status.unwrap_or_else(|| panic!("portcullis {arguments:?} does not end:\n{}", process.logs()));
    let (out, err) = process.streams();
    Ran { code: status.code(), out, err }
}
