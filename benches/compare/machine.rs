//! What all this was measured on.

use std::fs;
use std::process::Command;

use crate::Outcome;

/// Which cores do what, as lists that taskset reads.
#[derive(Clone)]
pub(crate) struct Cores {
    /// The one core of the server under measurement.
    pub(crate) tested: String,
    /// Where load and upstream run.
    pub(crate) load: String,
    /// The two cores of the rows with two workers.
    pub(crate) two: String,
    /// Whether load and upstream share a core with the two workers.
    pub(crate) two_are_shared: bool,
}

/// Deals the cores that this process may use.
///
/// # Errors
/// When there is only one: load and server would be measured together.
pub(crate) fn cores() -> Outcome<Cores> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0").trim();
    let all = expand(list);
    let [first, second, rest @ ..] = all.as_slice() else {
        return Err("one core is not enough: the server under measurement needs one of its own".into());
    };
    let load = if rest.is_empty() { vec![*second] } else { rest.to_vec() };
    let joined = |cores: &[usize]| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    Ok(Cores {
        tested: first.to_string(),
        load: joined(&load),
        two: joined(&[*first, *second]),
        two_are_shared: rest.is_empty(),
    })
}

/// `0-2,5` → 0, 1, 2, 5.
fn expand(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        from.parse::<usize>().ok().zip(to.parse::<usize>().ok()).map(|(from, to)| from..=to)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Moves this process, and with it every thread that it starts later, to `cores`.
pub(crate) fn move_to(cores: &str) -> Outcome<()> {
    let moved = Command::new("taskset").args(["-c", "-p", cores]).arg(std::process::id().to_string()).output()?;
    if moved.status.success() { Ok(()) } else { Err(format!("can't run on core {cores} alone").into()) }
}

/// One line: kernel, processor, cores, programs.
pub(crate) fn line() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let info = read("/proc/cpuinfo");
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("unknown", |p| p.1);
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let nginx = first_line("nginx", "-v");
    let wrk = first_line("wrk", "-v");
    format!("Linux {kernel}, {cores} × {model}; {nginx}; {wrk}")
}

/// The first line that a program says of itself, without its copyright.
fn first_line(program: &str, option: &str) -> String {
    let Ok(output) = Command::new(program).arg(option).output() else { return format!("no {program}") };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or_default().split(" [").next().unwrap_or_default().to_owned()
}
