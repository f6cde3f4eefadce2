//! The checked settings of those whose access tokens callers may bring.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::settings::ProviderSettings;

/// One issuer of access tokens.
#[derive(Clone, Debug)]
pub struct BearerSettings {
    /// The name in the config's table.
    pub name: Arc<str>,
    /// Who issues them, how its claims are read, how we prove ourselves to it, and how it is reached. Its name is that of the
    /// principals: the provider's where people sign in there too, else that of this table.
    pub issuer: ProviderSettings,
    /// What a token has to be for: its `aud` has one of these. Never empty.
    pub audience: Vec<String>,
    /// What signed tokens have to be.
    pub format: TokenFormat,
    /// Which tokens the issuer is asked about.
    pub introspection: Introspection,
    /// Where it is asked (RFC 7662, section 2); as its metadata says when absent.
    pub introspection_url: Option<Url>,
    /// The longest time for which its answer is used.
    pub introspection_cache: Duration,
    /// Where its keys are; as its metadata says when absent.
    pub jwks_url: Option<Url>,
    /// Whether a token has to be bound to a key of the caller's (RFC 9449).
    pub dpop_required: bool,
}

/// What signed tokens of an issuer have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFormat {
    /// A JWT access token by RFC 9068: it says so in `typ`, and has every claim that is needed there.
    AtJwt,
    /// Any signed JWT that is no other kind of token; one that says in `typ` that it is of RFC 9068 is held to that.
    Jwt,
}

/// Which tokens an issuer is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introspection {
    /// None: only signed tokens are taken.
    Never,
    /// Those that are no signed JWT.
    Opaque,
    /// All: what it revoked is known.
    Always,
}
