//! The yardstick: nginx `proxy_pass` without authentication, as bare as it works well.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::Outcome;
use crate::process::{self, Running};

/// What one nginx is to be.
pub(crate) struct Proxy {
    /// Its port for HTTP/1.1.
    pub(crate) port: u16,
    /// Its port for HTTP/2 without TLS.
    pub(crate) h2_port: u16,
    /// Where the application is.
    pub(crate) upstream: u16,
    /// Where the WebSocket echo is; it is asked for what is below `/ws/`.
    pub(crate) echo: u16,
    /// Whether a first process starts the worker, as is usual; without it one process does it all, for valgrind.
    pub(crate) master: bool,
    /// Connections that it has room for, in and out.
    pub(crate) connections: usize,
}

/// What every nginx of ours begins with.
pub(crate) fn head(folder: &Path, master: bool, connections: usize) -> String {
    let folder = folder.display();
    let mut text = String::new();
    // A worker of root's nginx would be `nobody`, who can't look into our folder.
    let is_root = fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"));
    if is_root {
        text.push_str("user root;\n");
    }
    let workers = if master { "worker_processes 1;" } else { "master_process off;" };
    let _infallible = write!(
        text,
        "{workers}
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
"
    );
    text
}

/// The whole config. `proxy_max_temp_file_size 0` keeps large answers off the disk, in favour of nginx.
fn config(folder: &Path, proxy: &Proxy) -> String {
    let Proxy { port, h2_port, upstream, echo, master, connections } = proxy;
    let head = head(folder, *master, *connections);
    format!(
        "{head}
  upstream app {{
    server 127.0.0.1:{upstream};
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{h2_port} http2 backlog=4096;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_max_temp_file_size 0;
    }}
    location /ws/ {{
      proxy_pass http://127.0.0.1:{echo};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection \"upgrade\";
      proxy_read_timeout 1h;
    }}
  }}
}}
"
    )
}

/// Writes the config of `proxy` into a new folder and gives its file.
pub(crate) fn write(folder: &Path, proxy: &Proxy) -> Outcome<std::path::PathBuf> {
    fs::create_dir_all(folder)?;
    let file = folder.join("nginx.conf");
    fs::write(&file, config(folder, proxy))?;
    Ok(file)
}

/// Starts nginx with the config `file` and waits until `port` answers.
pub(crate) fn start(file: &Path, cores: Option<&str>, port: u16) -> Outcome<Running> {
    let mut command = process::on_cores(cores, Path::new("nginx"));
    command.arg("-e").arg("stderr").arg("-c").arg(file).stdout(Stdio::null());
    let mut running = Running::start(&mut command, file.with_extension("err"))?;
    running.wait_for_port(port)?;
    Ok(running)
}
