//! Loading a config so that a command knows everything that is wrong with it.

use super::args::ConfigArgs;
use crate::config::settings::Settings;
use crate::config::{Problems, load_proving};
use crate::server::prove::prove;

/// The settings, proved as far as that goes without a network.
///
/// # Errors
/// Every mistake in all sources, and those that only show when the settings are put to work.
pub(super) fn load(args: &ConfigArgs) -> Result<Settings, Problems> {
    let request = args.request();
    load_proving(&request, |settings| prove(settings, &request.environment))
}
