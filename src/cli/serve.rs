//! `portcullis serve`: serves requests until told to stop.

use std::process::ExitCode;

use super::FAILED;
use super::args::ConfigArgs;
use super::output;

/// Serves.
pub(crate) fn run(args: &ConfigArgs) -> ExitCode {
    output::complain(format_args!("serve is not built in yet ({} config files named)", args.files.len()));
    ExitCode::from(FAILED)
}
