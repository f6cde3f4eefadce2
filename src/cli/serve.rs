//! `portcullis serve`: serves requests until told to stop.

use std::process::ExitCode;

use super::FAILED;
use super::args::ConfigArgs;
use super::load::load;
use super::output;
use crate::config::settings::{LogFormat, Settings};
use crate::observe::log::{self, Shape};
use crate::server;

/// Serves until SIGTERM or SIGINT. Prints one `ready` line, with the address of every public listener, once all of them accept.
pub(crate) fn run(args: &ConfigArgs) -> ExitCode {
    let settings = match load(args) {
        Ok(settings) => settings,
        Err(problems) => {
            output::complain(problems);
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = start_log(&settings) {
        output::complain(error);
        return ExitCode::FAILURE;
    }
    tell_dangers(&settings);
    let running = match server::start(&settings) {
        Ok(running) => running,
        Err(error) => {
            output::complain(format_args!("can't start: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    tell_start(&settings, running.addresses());
    output::say(format_args!("ready {}", running.addresses().join(" ")));
    match running.serve_until_signal() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(format_args!("stopped with an error: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Starts logging in the shape and with the filter of the config.
pub(super) fn start_log(settings: &Settings) -> Result<(), log::BadFilter> {
    let shape = match settings.log.format {
        LogFormat::Text => Shape::Text,
        LogFormat::Json => Shape::Json,
    };
    log::start(shape, &settings.log.level)
}

fn tell_start(settings: &Settings, addresses: &[String]) {
    let names = |names: Vec<&str>| names.join(" ");
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public_url = %settings.public_url.origin().ascii_serialization(),
        listeners = addresses.join(" "),
        providers = names(settings.providers.iter().map(|provider| &*provider.name).collect()),
        upstreams = names(settings.upstreams.iter().map(|upstream| &*upstream.name).collect()),
        routes = settings.routes.len(),
        "serving"
    );
}

fn tell_dangers(settings: &Settings) {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    for danger in &settings.dangers {
        tracing::warn!("dangerous setting: {danger}");
    }
}
