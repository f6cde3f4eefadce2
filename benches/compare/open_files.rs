//! How many files a process may hold open, which bounds the WebSockets that can be held at once.

use std::fs;
use std::process::Command;

use crate::Outcome;

/// What we would like: 10,000 WebSockets are 20,000 sockets in each process on the way, and some more.
const WISHED: usize = 65_536;

/// Raises the bound of this process, and of those it starts, as far as it goes; gives the bound.
pub(crate) fn raise() -> Outcome<usize> {
    for wish in [WISHED, hard_limit()?] {
        let (pid, limit) = (std::process::id().to_string(), format!("--nofile={wish}:{wish}"));
        if Command::new("prlimit").args(["--pid", &pid, &limit]).output()?.status.success() {
            return Ok(wish);
        }
    }
    hard_limit()
}

fn hard_limit() -> Outcome<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("1024");
    Ok(hard.parse().unwrap_or(WISHED))
}
