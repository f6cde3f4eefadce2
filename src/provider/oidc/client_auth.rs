//! How we prove to the provider that we are its client (`OpenID` Connect Core 1.0, section 9).

use secrecy::SecretString;

use crate::config::settings::{ClientAuthentication, ProviderSettings};
use crate::provider::ProviderFault;

/// The proof for one request.
pub(super) enum Credentials {
    /// `client_secret_basic`.
    Basic(SecretString),
    /// `client_secret_post`.
    Post(SecretString),
    /// `none`: the client id alone.
    Public,
}

impl Credentials {
    /// The proof as the settings have it now: the secret is read at each use, so that a changed file counts at once.
    pub(super) fn read(settings: &ProviderSettings) -> Result<Self, ProviderFault> {
        let misconfigured = |reason: String| ProviderFault::misconfigured(&settings.name, reason);
        let secret = || {
            let source = settings.client_secret.as_ref();
            let source = source.ok_or_else(|| misconfigured("`client_secret` is missing".to_owned()))?;
            source.read().map_err(|cause| misconfigured(cause.to_string()))
        };
        match settings.client_authentication {
            ClientAuthentication::Basic => secret().map(Self::Basic),
            ClientAuthentication::Post => secret().map(Self::Post),
            ClientAuthentication::None => Ok(Self::Public),
        }
    }
}
