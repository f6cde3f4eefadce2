//! Names that operators give to providers and upstreams.

use crate::config::raw::report::{Wrong, nearest, printable};

/// The most a name may hold.
const MAX_NAME: usize = 32;

/// A name that can stand in a URL, a log line and an environment variable: `[a-z0-9_-]{1,32}`.
pub(super) fn check(name: &str, what: &str) -> Result<(), Wrong> {
    let spelt = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(spelt) {
        return Ok(());
    }
    Err(Wrong::new(format!("`{}` is no name for {what}", printable(name)))
        .note("allowed: 1 to 32 of a-z, 0-9, `_` and `-`"))
}

/// What is said of a name that nothing has.
pub(super) fn unknown(name: &str, what: &str, known: &[&str]) -> Wrong {
    let mut wrong = Wrong::new(format!("there is no {what} `{}`", printable(name)));
    if let Some(near) = nearest(name, known.iter().copied()) {
        wrong = wrong.note(format!("did you mean \"{near}\"?"));
    }
    if known.is_empty() {
        wrong.note(format!("add a table [{what}s.{}]", printable(name)))
    } else {
        wrong.note(format!("known: {}", known.join(", ")))
    }
}
