//! The load comparison: nginx `proxy_pass` without authentication against the gateway with a real session, slice by slice in turn.
//!
//! ```text
//! cargo bench --bench compare -- [--rounds N] [--seconds N] [--only NAME,…] [--sessions N] [--gateway PATH] [--json FILE]
//! ```
//!
//! The table goes to standard output as Markdown, progress to standard error. CPU time per request is the main figure: it
//! moves least on a shared machine. It needs nginx, wrk, taskset and prlimit; h2load and valgrind for the rows that name them.

mod args;
mod client;
mod cpu;
mod figure;
mod gateway;
mod instructions;
mod json;
mod load;
mod machine;
mod memory;
mod mint;
mod nginx;
mod open_files;
mod ours;
mod parts;
mod process;
mod provider;
mod report;
mod rows;
mod session;
mod side;
mod stage;
mod upstream;
mod websocket;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use self::args::{Args, Wish};

/// What went wrong, in words for whoever runs the comparison.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tells the person at the terminal how far we are; the table alone goes to standard output.
pub(crate) fn tell(line: &str) {
    // Nobody is left to tell when standard error is closed, and the measurement is still good.
    let _closed = writeln!(io::stderr(), "{line}");
}

fn main() -> ExitCode {
    let wish = match args::parse(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(problem) => {
            tell(&problem);
            return ExitCode::from(2);
        }
    };
    let done = match wish {
        Wish::Nothing => {
            tell("compare measures only under `cargo bench`; nothing to test here");
            Ok(())
        }
        Wish::Help => print(args::HELP),
        Wish::Compare(args) => compare(args),
        Wish::Instructions(args) => instructions::count(args).and_then(|text| print(&text)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("compare: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn compare(args: Args) -> Outcome<()> {
    let json = args.json.clone();
    let stage = stage::set(args)?;
    let measured = rows::measure(&stage)?;
    print(&report::markdown(&stage, &measured.figures))?;
    if let Some(path) = json {
        std::fs::write(path, json::text(&stage, &measured.figures)?)?;
    }
    if measured.failed.is_empty() {
        Ok(())
    } else {
        Err(format!("these rows could not be measured: {}", measured.failed.join(", ")).into())
    }
}
