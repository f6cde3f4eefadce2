//! User-space instructions per proxied request, counted by valgrind's callgrind: repeatable to a fraction of a percent, so that
//! two versions of our own code can be compared.
//!
//! Each server answers 1,000 requests, then a new one 2,000, over one kept connection; the difference is what 1,000 cost, and
//! start, sign-in and stop fall out of it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::args::Args;
use crate::client::Connection;
use crate::process::{Running, on_cores};
use crate::side::origin;
use crate::stage::{FEW, GATEWAY, NGINX, Stage, Variant};
use crate::{Outcome, parts, session, stage, tell};

/// Requests of the shorter run, and by how many the longer one has more.
const REQUESTS: u32 = 1_000;
/// Callgrind writes its counts when the server ends, which takes it a while.
const END: Duration = Duration::from_mins(1);

/// One line a server: its name in one word, a blank, instructions per request.
pub(crate) fn count(args: Args) -> Outcome<String> {
    if !parts::is_there("valgrind") {
        return Err("valgrind is not installed, and nothing else counts instructions here".into());
    }
    let stage = stage::set(args)?;
    let mut text = String::new();
    for (word, name) in [("nginx", NGINX), ("portcullis", GATEWAY)] {
        let once = run(&stage, name, REQUESTS)?;
        let twice = run(&stage, name, REQUESTS * 2)?;
        let each = twice.checked_sub(once).ok_or("2,000 requests cost less than 1,000")? / u64::from(REQUESTS);
        writeln!(text, "{word} {each}")?;
    }
    Ok(text)
}

/// Instructions of a server from its start to its end, with so many requests between.
fn run(stage: &Stage, name: &str, requests: u32) -> Outcome<u64> {
    tell(&format!("{name}, {requests} requests under callgrind"));
    let is_nginx = name == NGINX;
    let config = if is_nginx {
        stage.nginx_config(false, FEW)?
    } else {
        stage.gateway_config(&Variant::MAIN, stage.provider.issuer())?
    };
    let counts = config.file.with_extension("callgrind");
    let mut command = on_cores(Some(&stage.cores.tested), Path::new("valgrind"));
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", counts.display()));
    if is_nginx {
        command.args(["nginx", "-e", "stderr", "-c"]).arg(&config.file).stdout(Stdio::null());
    } else {
        command.arg(&stage.args.gateway).args(["serve", "--config"]).arg(&config.file).stdout(Stdio::piped());
    }
    let mut server = Running::start(&mut command, config.file.with_extension("err"))?;
    if is_nginx {
        server.wait_for_port(config.port)?;
    } else {
        server.wait_for_ready_line()?;
    }
    let url = origin(config.port)?;
    stage.runtime.block_on(async {
        // Both read a header of much the same length.
        let cookie =
            if is_nginx { format!("portcullis={}", "x".repeat(1_400)) } else { session::sign_in(&url).await? };
        let mut connection = Connection::open(&url).await?;
        for _ in 0..requests {
            let answer = connection.ask(&url, Some(&cookie), None).await?;
            if answer.status != 200 {
                return Err(format!("{name} answers with {}", answer.status).into());
            }
        }
        Outcome::Ok(())
    })?;
    server.stop(END);
    let text = fs::read_to_string(&counts).map_err(|error| format!("callgrind left no counts: {error}"))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    Ok(total.ok_or("callgrind's counts have no sum")?.trim().parse()?)
}
