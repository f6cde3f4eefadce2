//! Diagnostics by `tracing`, as text or JSON, on standard error.

use std::io;

use tracing_subscriber::EnvFilter;

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The filter in the config can't be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "`[log] level` can't be read: {0}; write \"info\", \"debug\" or a filter such as \"info,portcullis::provider=debug\""
)]
pub struct BadFilter(String);

/// Starts logging for the whole process. A second call changes nothing, so that a process may hold several gateways.
///
/// # Errors
/// When `filter` can't be read.
pub fn start(shape: Shape, filter: &str) -> Result<(), BadFilter> {
    let filter = EnvFilter::try_new(filter).map_err(|error| BadFilter(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    // The error says only that a subscriber stands already.
    drop(match shape {
        Shape::Text => builder.try_init(),
        Shape::Json => builder.json().flatten_event(true).try_init(),
    });
    Ok(())
}
