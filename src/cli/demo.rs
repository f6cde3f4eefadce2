//! `portcullis demo`: gateway, development identity provider and sample application in one process.

use std::process::ExitCode;

use super::FAILED;
use super::args::DemoArgs;
use super::output;

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    output::complain(format_args!("demo is not built in yet (it would listen on {})", args.listen));
    ExitCode::from(FAILED)
}
