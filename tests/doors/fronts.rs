//! The table behind real front proxies, each started with the very files that `deploy/forward-auth` has for it.

use std::process::Command;

use crate::cases::Door;
use crate::front::{Front, Setting};
use crate::support::parts::{self, Part};

fn nginx(setting: &Setting<'_>) -> Command {
    let here = setting.folder.display();
    setting.write("nginx-clear-headers.conf", &[]);
    let front = setting.write(
        "nginx.conf",
        &[
            ("listen 443 ssl;", format!("listen 127.0.0.1:{} ssl;", setting.port)),
            ("/etc/nginx/tls/app.example.com", here.to_string()),
            ("/etc/nginx/conf.d/portcullis", here.to_string()),
            ("127.0.0.1:8080;", format!("{};", setting.gateway)),
            ("127.0.0.1:3000;", format!("{};", setting.application)),
        ],
    );
    let main = format!(
        "daemon off;\nmaster_process off;\npid {here}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {here}/body;\nproxy_temp_path {here}/proxy;\nfastcgi_temp_path {here}/fastcgi;\n\
         uwsgi_temp_path {here}/uwsgi;\nscgi_temp_path {here}/scgi;\ninclude {};\n}}\n",
        front.display()
    );
    let file = setting.folder.join("main.conf");
    std::fs::write(&file, main).expect("a file can be written");
    let mut command = Command::new(parts::nginx().expect("it is there"));
    command.args(["-e", "stderr", "-p"]).arg(setting.folder).arg("-c").arg(&file);
    command
}

fn caddy(setting: &Setting<'_>) -> Command {
    let site = format!(
        "{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {here}\n}}\n\nhttps://:{port} {{\n\ttls {here}/fullchain.pem {here}/privkey.pem",
        here = setting.folder.display(),
        port = setting.port
    );
    let file = setting.write(
        "Caddyfile",
        &[
            ("app.example.com {", site),
            ("127.0.0.1:8080 {", format!("{} {{", setting.gateway)),
            ("reverse_proxy 127.0.0.1:8080\n", format!("reverse_proxy {}\n", setting.gateway)),
            ("127.0.0.1:3000 {", format!("{} {{", setting.application)),
        ],
    );
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file).env("HOME", setting.folder);
    command
}

fn haproxy(setting: &Setting<'_>) -> Command {
    let script = setting.write("haproxy-portcullis.lua", &[]);
    let file = setting.write(
        "haproxy.cfg",
        &[
            (
                "setenv PORTCULLIS_URL http://127.0.0.1:8080",
                format!("setenv PORTCULLIS_URL http://{}", setting.gateway),
            ),
            ("/etc/haproxy/portcullis.lua", script.display().to_string()),
            ("bind :443 ", format!("bind 127.0.0.1:{} ", setting.port)),
            ("/etc/haproxy/tls/app.example.com.pem", setting.path("app.example.com.pem")),
            ("server portcullis 127.0.0.1:8080", format!("server portcullis {}", setting.gateway)),
            ("127.0.0.1:3000", setting.application.to_owned()),
        ],
    );
    let mut command = Command::new(parts::haproxy().expect("it is there"));
    command.args(["-db", "-f"]).arg(file);
    command
}

fn apache(setting: &Setting<'_>) -> Command {
    const MODULES: [&str; 8] =
        ["mpm_event", "authz_core", "headers", "proxy", "proxy_http", "socache_shmcb", "ssl", "lua"];
    let here = setting.folder.display();
    let (host, port) = setting.gateway.split_once(':').expect("host and port");
    let told = format!("{{ host = \"{host}\", port = {port} }}");
    let script = setting.write("apache-portcullis.lua", &[("{ host = \"127.0.0.1\", port = 8080 }", told)]);
    let site = setting.write(
        "apache.conf",
        &[
            ("*:443", format!("127.0.0.1:{}", setting.port)),
            ("/etc/apache2/tls/app.example.com", here.to_string()),
            ("/etc/apache2/portcullis.lua", script.display().to_string()),
            ("http://127.0.0.1:8080/", format!("http://{}/", setting.gateway)),
            ("http://127.0.0.1:3000/", format!("http://{}/", setting.application)),
        ],
    );
    let modules: Vec<String> =
        MODULES.iter().map(|name| format!("LoadModule {name}_module modules/mod_{name}.so")).collect();
    let modules = modules.join("\n");
    let main = format!(
        "ServerRoot /usr/lib/apache2\nServerName {name}\nPidFile {here}/pid\nErrorLog /dev/stderr\n{modules}\n\
         DefaultRuntimeDir {here}\nMutex file:{here} default\nListen 127.0.0.1:{port}\nInclude {site}\n",
        name = crate::cases::APP,
        port = setting.port,
        site = site.display()
    );
    let file = setting.folder.join("main.conf");
    std::fs::write(&file, main).expect("a file can be written");
    let mut command = Command::new(parts::apache().expect("it is there"));
    command.args(["-X", "-f"]).arg(file);
    command
}

fn envoy(setting: &Setting<'_>, name: &str) -> Command {
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    let mut replaced = vec![
        ("address: 0.0.0.0, port_value: 443", format!("address: 127.0.0.1, port_value: {}", setting.port)),
        ("/etc/envoy/tls/app.example.com", setting.folder.display().to_string()),
        ("port_value: 8080", format!("port_value: {}", port(setting.gateway))),
        ("port_value: 3000", format!("port_value: {}", port(setting.application))),
    ];
    if name == "envoy-grpc.yaml" {
        replaced.push(("port_value: 9191", format!("port_value: {}", setting.ext_authz)));
    }
    let file = setting.write(name, &replaced);
    let mut command = Command::new(parts::envoy());
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"]).arg(file);
    command
}

#[test]
fn the_table_holds_behind_nginx() {
    let Some(front) = Front::start("doors::nginx", Part::Nginx, nginx) else { return };
    front.run(Door::Nginx);
}

#[test]
fn the_table_holds_behind_caddy() {
    let Some(front) = Front::start("doors::caddy", Part::Caddy, caddy) else { return };
    front.run(Door::Caddy);
}

#[test]
fn the_table_holds_behind_haproxy() {
    let Some(front) = Front::start("doors::haproxy", Part::Haproxy, haproxy) else { return };
    front.run(Door::Haproxy);
}

#[test]
fn the_table_holds_behind_apache() {
    let Some(front) = Front::start("doors::apache", Part::Apache, apache) else { return };
    front.run(Door::Apache);
}

#[test]
fn the_table_holds_behind_envoy_over_http() {
    let Some(front) = Front::start("doors::envoy_http", Part::Envoy, |setting| envoy(setting, "envoy-http.yaml"))
    else {
        return;
    };
    front.run(Door::EnvoyHttp);
}

#[test]
fn the_table_holds_behind_envoy_over_grpc() {
    let Some(front) = Front::start("doors::envoy_grpc", Part::Envoy, |setting| envoy(setting, "envoy-grpc.yaml"))
    else {
        return;
    };
    front.run(Door::EnvoyGrpc);
}
