//! `portcullis check`: every mistake in a config, and no network.

use std::process::ExitCode;

use super::args::ConfigArgs;
use super::load::load;
use super::output;
use crate::config::settings::Settings;

/// Exit code for a config with mistakes.
const MISTAKES: u8 = 1;

/// Tells every mistake on standard error, or that there is none on standard output.
pub(crate) fn run(args: &ConfigArgs) -> ExitCode {
    match load(args) {
        Ok(settings) => {
            for warning in &settings.warnings {
                output::complain(format_args!("warning: {warning}"));
            }
            for danger in &settings.dangers {
                output::complain(format_args!("danger: {danger}"));
            }
            output::say(summary(&settings));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            output::complain(problems);
            ExitCode::from(MISTAKES)
        }
    }
}

fn summary(settings: &Settings) -> String {
    let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    format!(
        "ok: {}, {}, {} for {}",
        count(settings.routes.len(), "route"),
        count(settings.providers.len(), "provider"),
        count(settings.upstreams.len(), "upstream"),
        settings.public_url.origin().ascii_serialization(),
    )
}
