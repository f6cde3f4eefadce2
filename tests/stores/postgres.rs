//! Debian's PostgreSQL on a free port, with a database of its own that goes with the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::redis::until;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port};

/// A server with the user and the database `portcullis`.
pub(crate) struct Postgres {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    pub(crate) const PASSWORD: &'static str = "p@ss word";

    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, Self::PASSWORD).expect("a file can be written");
        // It refuses to run as root, so root runs it as the user that Debian made for it.
        if is_root() {
            let owned = Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status();
            assert!(owned.expect("chown can be run").success());
        }
        let made = command("initdb")
            .args(["--username=portcullis", "--auth=scram-sha-256", "--no-sync", "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(&data)
            .output()
            .expect("initdb can be run");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let server = Self { process: launch(folder.path(), port), port, folder };
        server.wait();
        server.ask("postgres", "CREATE DATABASE portcullis");
        server
    }

    fn wait(&self) {
        until("postgres answers", || self.query("postgres", "SELECT 1").is_ok_and(|told| told == "1"));
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://portcullis:p%40ss%20word@127.0.0.1:{}/portcullis", self.port)
    }

    /// What psql says to a statement.
    pub(crate) fn ask(&self, database: &str, statement: &str) -> String {
        self.query(database, statement).unwrap_or_else(|told| panic!("{statement}: {told}"))
    }

    fn query(&self, database: &str, statement: &str) -> Result<String, String> {
        let output = Command::new("timeout")
            .args(["20", "psql", "-h", "127.0.0.1", "-U", "portcullis", "-At", "-d", database, "-c", statement])
            .args(["-p", &self.port.to_string()])
            .env("PGPASSWORD", Self::PASSWORD)
            .output()
            .expect("psql can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Its end: the server and all that it started.
    pub(crate) fn kill(&mut self) {
        self.signal("QUIT");
        self.process.wait(PATIENCE).expect("it ends");
    }

    pub(crate) fn restart(&mut self) {
        self.process = launch(self.folder.path(), self.port);
        self.wait();
    }

    /// All of its processes take connections, and say nothing any more.
    pub(crate) fn freeze(&self) {
        self.signal_all("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal_all("CONT");
        self.wait();
    }

    fn server_id(&self) -> String {
        let pid = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).expect("it runs");
        pid.lines().next().expect("its first line is the process").to_owned()
    }

    fn signal(&self, signal: &str) {
        kill(signal, &[self.server_id()]);
    }

    fn signal_all(&self, signal: &str) {
        let server = self.server_id();
        let children = Command::new("pgrep").args(["-P", &server]).output().expect("pgrep can be run");
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        let mut all: Vec<String> = children.split_whitespace().map(str::to_owned).collect();
        all.push(server);
        kill(signal, &all);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Not by the process that was started, which may only have started the server.
        if let Ok(text) = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")) {
            let server = text.lines().next().unwrap_or_default().to_owned();
            drop(Command::new("kill").args(["-s", "CONT", &server]).status());
            drop(Command::new("kill").args(["-s", "QUIT", &server]).status());
            let _ended = self.process.wait(PATIENCE);
        }
    }
}

fn kill(signal: &str, ids: &[String]) {
    let _status = Command::new("kill").args(["-s", signal]).args(ids).status().expect("kill can be run");
}

fn launch(folder: &Path, port: u16) -> Process {
    let mut server = command("postgres");
    server.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    server.args(["-c", "fsync=off", "-c"]).arg(format!("unix_socket_directories={}", folder.display()));
    Process::start("postgres", &mut server)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id can be run");
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// A program of PostgreSQL, which Debian keeps away from the path.
fn command(name: &str) -> Command {
    let program = program(name).expect("the part is there");
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program).current_dir("/");
    command
}

/// Where a program of PostgreSQL is.
fn program(name: &str) -> Option<PathBuf> {
    crate::support::parts::postgres(name)
}
