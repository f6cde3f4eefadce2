//! One slice of load: wrk or h2load on its own core, and what the server used meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::base::clock;

use crate::Outcome;
use crate::client::BROWSER;
use crate::cpu;
use crate::process;
use crate::side::Side;

/// What is asked for, and by how many.
#[derive(Clone)]
pub(crate) struct Load {
    /// Connections at once.
    pub(crate) connections: u32,
    /// The path.
    pub(crate) path: String,
    /// The least bytes of a right answer, to notice a wrong one.
    pub(crate) body: usize,
    /// Lines of a path, a tab and a `Cookie` header, asked for one after the other instead of `path`.
    pub(crate) lines: Option<PathBuf>,
    /// Further header fields.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// What came of one slice.
#[derive(Clone, Copy)]
pub(crate) struct Slice {
    /// Requests answered.
    pub(crate) requests: f64,
    /// Seconds it took.
    pub(crate) seconds: f64,
    /// CPU seconds of the server's processes.
    pub(crate) cpu: f64,
    /// Bytes of all bodies, as wrk counts them with their heads.
    pub(crate) bytes: f64,
    /// Microseconds that half of the requests took at most; absent where nobody counted.
    pub(crate) p50: Option<f64>,
    /// Microseconds that 99 of 100 requests took at most.
    pub(crate) p99: Option<f64>,
}

/// What runs the load.
pub(crate) struct Runner<'a> {
    /// Its cores.
    pub(crate) cores: &'a str,
    /// Seconds a slice.
    pub(crate) seconds: u64,
    /// Where its scripts are.
    pub(crate) folder: &'a Path,
}

/// Says the figures exactly; wrk's own words are rounded.
const TELL: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\nslice %.0f %.0f %.0f %.0f %.0f %.0f %.0f\n", summary.requests, summary.duration,
    summary.bytes, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50), latency:percentile(99)))
end
"#;

/// Asks for line after line of a file, from a place in it that differs from slice to slice.
const CYCLE: &str = r#"
local file, fields
init = function(args)
  file = assert(io.open(args[1], "r"))
  local start = tonumber(args[2])
  file:seek("set", start)
  if start > 0 then file:read("*l") end
  local all = {}
  for name, value in pairs(wrk.headers) do all[#all + 1] = name .. ": " .. value .. "\r\n" end
  fields = " HTTP/1.1\r\n" .. table.concat(all) .. "Cookie: "
end
request = function()
  local line = file:read("*l")
  if not line then
    file:seek("set", 0)
    line = file:read("*l")
  end
  local tab = line:find("\t", 1, true)
  return "GET " .. line:sub(1, tab - 1) .. fields .. line:sub(tab + 1) .. "\r\n\r\n"
end
"#;

impl Runner<'_> {
    /// One slice of HTTP/1.1 at `side`; `share` (0 to 1) says where in the lines it begins.
    pub(crate) fn wrk(&self, side: &Side, load: &Load, share: f64) -> Outcome<Slice> {
        let script = self.folder.join(if load.lines.is_some() { "cycle.lua" } else { "tell.lua" });
        fs::write(&script, if load.lines.is_some() { format!("{CYCLE}{TELL}") } else { TELL.to_owned() })?;
        let mut wrk = process::on_cores(Some(self.cores), Path::new("wrk"));
        wrk.arg("-t1").arg(format!("-c{}", load.connections)).arg(format!("-d{}s", self.seconds)).arg("-s").arg(script);
        for (name, value) in BROWSER {
            wrk.arg("-H").arg(format!("{name}: {value}"));
        }
        for (name, value) in &load.fields {
            wrk.arg("-H").arg(format!("{name}: {value}"));
        }
        if load.lines.is_none() && !side.cookie.is_empty() {
            wrk.arg("-H").arg(format!("Cookie: {}", side.cookie));
        }
        if !side.bearer.is_empty() {
            wrk.arg("-H").arg(format!("Authorization: Bearer {}", side.bearer));
        }
        wrk.arg(side.url(&load.path)?.as_str());
        if let Some(lines) = &load.lines {
            wrk.arg("--").arg(lines).arg(start_in(lines, share)?.to_string());
        }
        let (text, cpu, _) = watched(side, &mut wrk)?;
        let slice = parse_wrk(&text, cpu)?;
        check_size(side, load, &slice)?;
        Ok(slice)
    }

    /// One slice of HTTP/2 without TLS at `side`, in streams of one connection for each 16 of them.
    pub(crate) fn h2load(&self, side: &Side, load: &Load) -> Outcome<Slice> {
        let mut h2load = process::on_cores(Some(self.cores), Path::new("h2load"));
        let connections = load.connections.div_ceil(16);
        h2load.arg(format!("-c{connections}")).arg("-m16").arg("-t1").arg("-D").arg(self.seconds.to_string());
        for (name, value) in BROWSER {
            h2load.arg("-H").arg(format!("{}: {value}", name.to_ascii_lowercase()));
        }
        if !side.cookie.is_empty() {
            h2load.arg("-H").arg(format!("cookie: {}", side.cookie));
        }
        h2load.arg(side.h2_origin.join(&load.path)?.as_str());
        let (text, cpu, seconds) = watched(side, &mut h2load)?;
        let slice = parse_h2load(&text, cpu, seconds)?;
        check_size(side, load, &slice)?;
        Ok(slice)
    }
}

fn start_in(lines: &Path, share: f64) -> Outcome<u64> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "any place in the file will do, so rounding does not matter; the share is never below 0"
    )]
    Ok((fs::metadata(lines)?.len() as f64 * share) as u64)
}

/// Runs `command` and gives its words, the CPU seconds that the server used meanwhile, and the seconds it took.
fn watched(side: &Side, command: &mut Command) -> Outcome<(String, f64, f64)> {
    let (started, before) = (clock::instant(), cpu::seconds(side.process.pid())?);
    let output = command.output()?;
    let cpu = cpu::seconds(side.process.pid())? - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("{command:?} failed:\n{text}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok((text, cpu, started.elapsed().as_secs_f64()))
}

/// The answers were as long as right ones: wrk takes a redirect to a sign-in for a good answer.
fn check_size(side: &Side, load: &Load, slice: &Slice) -> Outcome<()> {
    let least = f64::from(u32::try_from(load.body).unwrap_or(u32::MAX));
    // The load ends in the middle of some answers, one a connection at most, whose bytes are counted and which are not.
    if slice.bytes / slice.requests < least {
        let (name, path) = (side.name, &load.path);
        return Err(format!(
            "{name} answers {path} with fewer than {least} bytes: these are not the application's answers"
        )
        .into());
    }
    Ok(())
}

fn parse_wrk(text: &str, cpu: f64) -> Outcome<Slice> {
    let line = text.lines().find_map(|line| line.strip_prefix("slice "));
    let line = line.ok_or_else(|| format!("wrk said nothing of its slice:\n{text}"))?;
    let figures: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let &[requests, duration, bytes, socket_errors, status_errors, p50, p99] = figures.as_slice() else {
        return Err(format!("wrk's figures read as nothing known: {line}").into());
    };
    if requests < 1.0 || socket_errors > 0.0 || status_errors > 0.0 {
        let problem =
            format!("{requests} requests, {socket_errors} socket errors, {status_errors} answers of 400 and above");
        return Err(problem.into());
    }
    Ok(Slice { requests, seconds: duration / 1e6, cpu, bytes, p50: Some(p50), p99: Some(p99) })
}

/// `requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout` and
/// `traffic: 1.2MB (1234567) total, … 1.1MB (1123456) data`.
fn parse_h2load(text: &str, cpu: f64, seconds: f64) -> Outcome<Slice> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    let count = |what: &str| {
        let part = line("requests: ").split(", ").find_map(|part| part.strip_suffix(what)?.trim().parse::<f64>().ok());
        part.ok_or_else(|| format!("h2load said nothing of {what}:\n{text}"))
    };
    let (requests, lost) = (count("succeeded")?, count("failed")? + count("errored")? + count("timeout")?);
    if requests < 1.0 || lost > 0.0 {
        return Err(format!("{requests} requests succeeded and {lost} did not").into());
    }
    let data = line("traffic: ").split(", ").find_map(|part| part.strip_suffix(") data")?.rsplit_once('('));
    let bytes = data.and_then(|(_, bytes)| bytes.parse().ok()).ok_or("h2load said nothing of its traffic")?;
    Ok(Slice { requests, seconds, cpu, bytes, p50: None, p99: None })
}
