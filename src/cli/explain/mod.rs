//! `portcullis explain`: which route a request has, what its rule sees and decides, and what the upstream would get. No network.

mod case;
mod outcome;
mod tell;

use std::process::ExitCode;

use super::FAILED;
use super::args::ExplainArgs;
use super::load::load;
use super::output;
use outcome::Ending;

/// Exit code for a config with mistakes.
const MISTAKES: u8 = 1;

/// Explains one request on standard output. The exit code tells the decision.
pub(crate) fn run(args: &ExplainArgs) -> ExitCode {
    let settings = match load(&args.config) {
        Ok(settings) => settings,
        Err(problems) => {
            output::complain(problems);
            return ExitCode::from(MISTAKES);
        }
    };
    let outcome = case::read(args, &settings).and_then(|case| outcome::of(&case, &settings));
    match outcome {
        Ok(outcome) => {
            if args.json {
                output::say(tell::json(&outcome));
            } else {
                output::say(tell::text(&outcome));
            }
            ExitCode::from(code(&outcome.ending))
        }
        Err(problem) => {
            output::complain(problem);
            ExitCode::from(FAILED)
        }
    }
}

const fn code(ending: &Ending) -> u8 {
    match ending {
        Ending::Passes { .. } | Ending::Ours | Ending::Preflight { shared: true, .. } => 0,
        Ending::SignIn { .. } => 3,
        Ending::StepUp { .. } => 4,
        Ending::Forbidden | Ending::Forged(_) => 5,
        Ending::Refused { .. } | Ending::Preflight { shared: false, .. } => 6,
    }
}
