//! The development provider that signs people in during a comparison.

use std::time::Duration;

use portcullis::demo::provider::{self, DevelopmentProvider, Lifetimes, ProviderOptions};

use crate::Outcome;

/// The client that the gateway is there.
pub(crate) const CLIENT_ID: &str = "portcullis";
/// Its secret.
pub(crate) const CLIENT_SECRET: &str = "development-secret";

/// How long its tokens last: longer than any comparison, so that no refresh falls into a slice.
const TOKENS: Duration = Duration::from_hours(8);

/// Starts it on the present runtime.
pub(crate) async fn start() -> Outcome<DevelopmentProvider> {
    let lifetimes = Lifetimes { access_token: TOKENS, id_token: TOKENS, ..Lifetimes::default() };
    Ok(provider::start(ProviderOptions { lifetimes, ..ProviderOptions::default() }).await?)
}
