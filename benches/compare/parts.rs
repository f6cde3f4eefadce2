//! Which of the programs that a comparison is made of are on this machine.

use std::process::Command;

use crate::{Outcome, tell};

/// What is there besides nginx, taskset and prlimit, without which there is no comparison.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    /// Load over HTTP/1.1.
    pub(crate) wrk: bool,
    /// Load over HTTP/2.
    pub(crate) h2load: bool,
}

/// Looks for them, and says aloud what is missing.
///
/// # Errors
/// When one of those is missing that everything needs.
pub(crate) fn find() -> Outcome<Parts> {
    for (name, package) in [("nginx", "nginx"), ("taskset", "util-linux"), ("prlimit", "util-linux")] {
        if !is_there(name) {
            return Err(format!(
                "{name} is not installed (Debian package {package}), and nothing can be compared without it"
            )
            .into());
        }
    }
    let optional = |name: &str, package: &str, rows: &str| {
        let there = is_there(name);
        if !there {
            tell(&format!("MISSING: {name} is not installed (Debian package {package}); {rows} are LEFT OUT"));
        }
        there
    };
    Ok(Parts {
        wrk: optional("wrk", "wrk", "all rows of HTTP/1.1 load"),
        h2load: optional("h2load", "nghttp2-client", "the rows of HTTP/2"),
    })
}

/// Whether a program of this name can be started.
pub(crate) fn is_there(name: &str) -> bool {
    Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", name]).status().is_ok_and(|status| status.success())
}
