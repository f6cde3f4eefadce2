//! The store of sessions, put together from the settings; nothing of it is there when sessions live in cookies alone.

use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::office::Office;
use crate::config::settings::{SessionSettings, StoreSettings};
use crate::session::ended::EndedSessions;
use crate::session::model::Lifetimes;
use crate::session::store::{Store, StoreSetup};
use crate::session::stored::{Foundations, StoredSessions, watch};

/// For how long beyond a session's lifetime its end is told: clocks differ.
const SLACK: Duration = Duration::from_mins(10);

/// The sessions in the store that the settings name, kept of one mind with other gateways; `cookie_name` is that of the first cookie.
///
/// # Errors
/// When a file of the store's settings can't be used.
pub(super) fn stored(
    settings: &SessionSettings,
    cookie_name: &str,
    ended: &EndedSessions,
    office: &Office,
) -> Result<Option<StoredSessions>, StoreSetup> {
    let (StoreSettings::Outside(outside), Some(store)) = (&settings.store, prove(settings)?) else { return Ok(None) };
    let foundations = Foundations {
        clock: Clock::System,
        lifetimes: Lifetimes { idle: settings.idle, absolute: settings.lifetime },
        cookie_name: cookie_name.to_owned(),
        ended: ended.clone(),
    };
    let sessions = StoredSessions::new(store, outside, foundations);
    office.accompany(watch(sessions.clone()));
    Ok(Some(sessions))
}

/// The store itself, if the settings name one: not connected, so that its settings are proved without a network.
///
/// # Errors
/// When a file of the store's settings can't be used.
pub(super) fn prove(settings: &SessionSettings) -> Result<Option<Store>, StoreSetup> {
    let StoreSettings::Outside(outside) = &settings.store else { return Ok(None) };
    Store::new(outside, settings.lifetime.saturating_add(SLACK)).map(Some)
}
