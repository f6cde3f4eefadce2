//! Diagnostics by `tracing`, as text or JSON, on standard error.
//!
//! 1. Our own events pass as the filter in the config says. Those of other crates never pass below `info`, whatever it says: HTTP
//!    libraries tell headers and bodies there, and with them cookies, codes and tokens (design, invariant 10).
//! 2. A panic is told by its place alone, on one line: its message may quote the text that it stumbled over.

use std::io;
use std::panic::{self, PanicHookInfo};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
    let filter = filter.parse::<Targets>().map_err(|error| BadFilter(error.to_string()))?;
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_told));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    // The error says only that a subscriber stands already; then a hook does too.
    let started = match shape {
        Shape::Text => registry.with(lines).try_init(),
        Shape::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    if started.is_ok() {
        panic::set_hook(Box::new(tell_panic));
    }
    Ok(())
}

/// Whether an event may be told at all, before the config's filter has its say.
fn may_be_told(event: &Metadata<'_>) -> bool {
    is_ours(event.target()) || *event.level() <= Level::INFO
}

fn is_ours(target: &str) -> bool {
    target == "access" || target == "portcullis" || target.starts_with("portcullis::")
}

fn tell_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(place, thread, "a task panicked; this is a mistake in the program, and worth a report");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_events_may_be_ours() {
        for ours in ["access", "portcullis", "portcullis::gate::handle"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["hyper::proto", "h2::codec", "rustls", "portcullis_evil", "accessory", ""] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn other_crates_are_silent_below_info_at_any_filter() {
        use std::sync::{Arc, Mutex};

        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);

        impl io::Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let filter = "trace,hyper=trace".parse::<Targets>().unwrap();
        let subscriber = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_told)).with(lines);
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "hyper::proto", "one");
            tracing::debug!(target: "h2::codec", "two");
            tracing::info!(target: "hyper::proto", "three");
            tracing::trace!(target: "portcullis::gate", "four");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("one") && !text.contains("two"), "{text}");
        assert!(text.contains("three") && text.contains("four"), "{text}");
    }
}
