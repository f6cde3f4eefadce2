//! `portcullis demo`: gateway, development identity provider and sample application in one process, all on loopback.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use super::FAILED;
use super::args::DemoArgs;
use super::output;
use super::serve::start_log;
use crate::base::random;
use crate::config::settings::Settings;
use crate::config::{LoadRequest, load};
use crate::demo::{application, provider};
use crate::server;

/// The demo's config: the smallest one, and three routes to try.
fn config(public_url: &str, issuer: &str, secret: &str, application: SocketAddr) -> io::Result<String> {
    let key = random::token().map_err(io::Error::other)?;
    let listen = public_url.trim_start_matches("http://");
    Ok(format!(
        r#"
public_url = "{public_url}"
drain      = "2s"

[listen]
http = ["{listen}"]

[log]
level = "warn,portcullis::endpoint::refreshing=info"

[session]
keys = ["{key}"]

[providers.demo]
label         = "Development identity provider"
issuer        = "{issuer}"
client_id     = "portcullis"
client_secret = "{secret}"

[upstreams.app]
url = "http://{application}"

[[routes]]
path     = "/public/*"
allow    = "everyone"
upstream = "app"

[[routes]]
path     = "/admin/*"
allow    = {{ roles = ["admin"] }}
upstream = "app"

[[routes]]
path     = "/*"
allow    = "signed-in"
upstream = "app"
"#
    ))
}

/// Runs the demo until SIGTERM or SIGINT.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    match serve(args.listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(format_args!("the demo can't run: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn serve(listen: SocketAddr) -> io::Result<()> {
    if !listen.ip().is_loopback() {
        return Err(io::Error::other(format!(
            "{listen} is no loopback address; in the demo any password works, so it listens on this machine only"
        )));
    }
    let wing =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("demo").enable_all().build()?;
    let free = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let secret = random::token().map_err(io::Error::other)?;
    let provider = wing.block_on(provider::start(provider::ProviderOptions {
        listen: free,
        clients: vec![provider::Client {
            id: "portcullis".to_owned(),
            secret: Some(secret.clone()),
            redirects: provider::Redirects::LoopbackOr(Vec::new()),
            post_logout: provider::Redirects::LoopbackOr(Vec::new()),
        }],
        // Short, so that whoever tries the demo sees tokens being refreshed.
        refresh_tokens: provider::RefreshTokens { always: true, ..provider::RefreshTokens::default() },
        lifetimes: provider::Lifetimes { access_token: Duration::from_mins(1), ..provider::Lifetimes::default() },
        ..provider::ProviderOptions::default()
    }))?;
    let application = wing.block_on(application::start(free))?;
    let address = settle(listen)?;
    let settings = settings(config(&format!("http://{address}"), provider.issuer(), &secret, application.address())?)?;
    start_log(&settings).map_err(io::Error::other)?;
    let running = server::start(&settings).map_err(io::Error::other)?;
    output::say(format_args!("ready http://{address}"));
    output::say("Sign in as alice (user, admin) or bob (user) with any password. Stop with Ctrl-C.");
    running.serve_until_signal()?;
    wing.shutdown_background();
    Ok(())
}

/// A free port in place of port 0, which the public URL has to name before the listener is open.
fn settle(listen: SocketAddr) -> io::Result<SocketAddr> {
    if listen.port() != 0 {
        return Ok(listen);
    }
    std::net::TcpListener::bind(listen)?.local_addr()
}

/// The demo reads no file and no environment: it is the same on every machine.
fn settings(text: String) -> io::Result<Settings> {
    let request = LoadRequest { text: Some(text), ..LoadRequest::default() };
    load(&request).map_err(|problems| io::Error::other(problems.to_string()))
}
