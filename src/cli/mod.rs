//! Floor 6: one file per command.

mod args;
mod check;
mod demo;
mod explain;
mod keygen;
mod load;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command};

/// Exit code for a command that could not do its work for another reason than the config.
pub(crate) const FAILED: u8 = 2;

/// Runs the command that this process was started with.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Keygen(args) => keygen::run(args),
    }
}
