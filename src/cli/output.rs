//! The one way to standard output and standard error.

use std::fmt::Display;
use std::io::Write as _;

/// One line of result. An output that was closed early, as by `head`, is no failure of ours.
pub(crate) fn say(text: impl Display) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// One line for the person at the terminal.
pub(crate) fn complain(text: impl Display) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
