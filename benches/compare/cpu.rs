//! What the processes of a server used: CPU time and memory, from `/proc` (proc(5)).

use std::fs;

use crate::Outcome;

/// The process `pid` and all that it started.
fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        next += 1;
        for task in threads(parent) {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{task}/children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

fn threads(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Seconds of CPU, in user code and in the kernel, that the processes of `pid` have used.
///
/// # Errors
/// When it is gone.
pub(crate) fn seconds(pid: u32) -> Outcome<f64> {
    tree(pid).into_iter().map(process_seconds).sum()
}

/// To the nanosecond where the kernel counts so, else utime + stime in hundredths.
fn process_seconds(pid: u32) -> Outcome<f64> {
    let exact = threads(pid).into_iter().map(|task| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    if let Some(nanoseconds) = exact.sum::<Option<f64>>().filter(|sum| *sum > 0.0) {
        return Ok(nanoseconds / 1e9);
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold blanks; utime and stime are the 12th and 13th words after it.
    let words: Vec<&str> = stat.rsplit_once(") ").map_or("", |halves| halves.1).split_whitespace().collect();
    let tick = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
    let ticks = tick(11).zip(tick(12)).ok_or("/proc/PID/stat reads as nothing known")?;
    Ok((ticks.0 + ticks.1) / 100.0)
}

/// MiB that the processes of `pid` hold, pages shared with others counted in part (`Pss`).
///
/// # Errors
/// When it is gone or belongs to someone else.
pub(crate) fn memory(pid: u32) -> Outcome<f64> {
    let mut kib = 0.0;
    for process in tree(pid) {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        kib += line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).ok_or("no Pss is told")?;
    }
    Ok(kib / 1024.0)
}
