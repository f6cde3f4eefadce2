//! Debian's Redis in all its shapes, each on free ports and in a folder of its own: one server, with TLS, behind sentinels, as a cluster.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::process::Process;
use crate::support::{PATIENCE, comes_true, free_port};

/// One server, which can be stopped, frozen and started anew on the same port.
pub(crate) struct Redis {
    process: Process,
    port: u16,
    arguments: Vec<String>,
    tls: Option<Tls>,
    folder: TempDir,
}

/// Files of TLS, as the server and its clients have them.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) ca: String,
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Redis {
    /// One server that keeps nothing over its end.
    pub(crate) fn start() -> Self {
        Self::with(free_port(), &[])
    }

    /// One server with further arguments.
    pub(crate) fn with(port: u16, further: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut arguments: Vec<String> = ["--port".to_owned(), port.to_string()].into();
        arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        Self::run(folder, port, arguments, None)
    }

    /// One server that speaks TLS alone, and asks for certificates of clients.
    pub(crate) fn tls() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let tls = write_tls(folder.path());
        let port = free_port();
        let arguments = [
            "--port 0 --tls-port",
            &port.to_string(),
            "--tls-auth-clients yes --tls-ca-cert-file",
            &tls.ca,
            "--tls-cert-file",
            &tls.cert,
            "--tls-key-file",
            &tls.key,
        ]
        .join(" ");
        let arguments = arguments.split(' ').map(str::to_owned).collect();
        Self::run(folder, port, arguments, Some(tls))
    }

    fn run(folder: TempDir, port: u16, arguments: Vec<String>, tls: Option<Tls>) -> Self {
        let process = launch(&folder, &arguments);
        let server = Self { process, port, arguments, tls, folder };
        server.wait();
        server
    }

    fn wait(&self) {
        until("redis-server answers", || self.ask(&["PING"]).contains("PONG"));
    }

    /// What redis-cli says to a command.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        cli(self.port, self.tls.as_ref(), command)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn tls_files(&self) -> &Tls {
        self.tls.as_ref().expect("it speaks TLS")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its end, without a word.
    pub(crate) fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.wait(PATIENCE).expect("nothing survives that");
    }

    /// A new one in its place, which knows nothing of what the one before knew, unless that was on disk.
    pub(crate) fn restart(&mut self) {
        self.process = launch(&self.folder, &self.arguments);
        self.wait();
    }

    /// It takes connections, and says nothing any more.
    pub(crate) fn freeze(&self) {
        self.process.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.process.signal("CONT");
        self.wait();
    }
}

fn launch(folder: &TempDir, arguments: &[String]) -> Process {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
        // Otherwise replicas wait for five seconds for others to come before they are sent anything.
        .args(["--repl-diskless-sync-delay", "0", "--dir"])
        .arg(folder.path())
        .args(arguments);
    Process::start("redis-server", &mut command)
}

fn write_tls(folder: &Path) -> Tls {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost", "127.0.0.1"]);
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        make_private(&path);
        path.to_str().expect("a plain path").to_owned()
    };
    Tls {
        ca: write("ca.pem", authority.pem()),
        cert: write("cert.pem", issued.certificate_pem()),
        key: write("key.pem", issued.key_pem()),
    }
}

fn make_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

fn cli(port: u16, tls: Option<&Tls>, command: &[&str]) -> String {
    let mut cli = Command::new("timeout");
    cli.args(["20", "redis-cli", "-h", "127.0.0.1", "-p", &port.to_string()]);
    if let Some(tls) = tls {
        cli.args(["--tls", "--cacert", &tls.ca, "--cert", &tls.cert, "--key", &tls.key]);
    }
    let output = cli.args(command).output().expect("redis-cli can be run");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until `is_so`.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    assert!(comes_true(&mut is_so), "not in time: {what}");
}

/// A primary, a replica of it, and three sentinels that watch them.
pub(crate) struct Sentinels {
    pub(crate) primary: Redis,
    pub(crate) replica: Redis,
    watchers: Vec<(Process, u16)>,
    _folder: TempDir,
}

impl Sentinels {
    pub(crate) const PRIMARY: &'static str = "main";

    pub(crate) fn start() -> Self {
        let primary = Redis::start();
        let replica = Redis::with(free_port(), &["--replicaof", "127.0.0.1", &primary.port().to_string()]);
        until("the replica follows", || replica.ask(&["INFO", "replication"]).contains("master_link_status:up"));
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let watchers = (0..3).map(|_| sentinel(&folder, primary.port())).collect();
        let all = Self { primary, replica, watchers, _folder: folder };
        until("the sentinels know of each other and of the replica", || {
            all.watchers.iter().all(|(_, port)| {
                let known = cli(*port, None, &["SENTINEL", "master", Self::PRIMARY]);
                let field =
                    |name: &str| known.lines().skip_while(|line| *line != name).nth(1).unwrap_or_default().to_owned();
                field("num-other-sentinels") == "2" && field("num-slaves") == "1"
            })
        });
        all
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.watchers.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{}", hosts.join(","), Self::PRIMARY)
    }

    /// Waits until every sentinel names the replica as the primary.
    pub(crate) fn have_failed_over(&self) {
        let replica = self.replica.port().to_string();
        until("the sentinels have failed over", || {
            self.watchers.iter().all(|(_, port)| {
                cli(*port, None, &["SENTINEL", "get-master-addr-by-name", Self::PRIMARY]).ends_with(&replica)
            })
        });
        until("the replica is a primary", || self.replica.ask(&["ROLE"]).starts_with("master"));
    }
}

fn sentinel(folder: &TempDir, primary: u16) -> (Process, u16) {
    let port = free_port();
    let name = Sentinels::PRIMARY;
    let path = folder.path().join(format!("sentinel-{port}.conf"));
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {name} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {name} 1500\nsentinel failover-timeout {name} 10000\n",
        folder.path().display()
    );
    std::fs::write(&path, text).expect("a file can be written");
    let process = Process::start("redis-sentinel", Command::new("redis-server").arg(&path).arg("--sentinel"));
    until("the sentinel answers", || cli(port, None, &["PING"]).contains("PONG"));
    (process, port)
}

/// Three primaries with a replica each.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let node = |_| {
            // Where nodes speak to each other: 10000 above their port, unless they are told another one.
            let bus = free_port().to_string();
            let further = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus];
            Redis::with(free_port(), &further)
        };
        let nodes: Vec<Redis> = (0..6).map(node).collect();
        let hosts: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(hosts.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let told = Command::new("redis-cli").args(create).output().expect("redis-cli can be run");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
        let cluster = Self { nodes };
        cluster.is_well();
        // A replica that never had its primary's data does not take its place.
        until("every replica has what its primary has", || {
            let follows = |node: &&Redis| node.ask(&["INFO", "replication"]).contains("master_link_status:up");
            cluster.nodes.iter().filter(follows).count() == 3
        });
        cluster
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().take(3).map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Waits until every node that can be reached says that all is well.
    pub(crate) fn is_well(&self) {
        until("the cluster is well", || {
            let told: Vec<String> = self.nodes.iter().map(|node| node.ask(&["CLUSTER", "INFO"])).collect();
            let up: Vec<&String> = told.iter().filter(|told| !told.is_empty()).collect();
            up.len() >= 3 && up.iter().all(|told| told.contains("cluster_state:ok"))
        });
    }

    /// Waits until the replica of a node that died has taken its place.
    pub(crate) fn is_well_without(&self, dead: usize) {
        let others = || self.nodes.iter().enumerate().filter(move |(index, _)| *index != dead).map(|(_, node)| node);
        until("three other nodes are primaries", || {
            others().filter(|node| node.ask(&["ROLE"]).starts_with("master")).count() == 3
        });
        until("the others say that all is well", || {
            others().all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
    }

    /// The index of a node that is a primary now.
    pub(crate) fn a_primary(&self) -> usize {
        self.nodes.iter().position(|node| node.ask(&["ROLE"]).starts_with("master")).expect("there are three")
    }
}
