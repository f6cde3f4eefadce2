//! The checked settings of what an upstream gets to prove who asks: tokens of the session, tokens of our own, tokens that are fetched.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::secret::SecretSource;

/// Which token an upstream gets.
#[derive(Clone, Debug)]
pub enum TokenSettings {
    /// None; the visitor's own `Authorization`, if any, passes as it came.
    None,
    /// The access token of the session.
    AccessToken,
    /// The ID token of the session.
    IdToken,
    /// A token that the gateway signs.
    Assertion(AssertionSettings),
    /// A token that the provider gives for one of the session (RFC 8693).
    Exchange(ExchangeSettings),
    /// An access token for one resource, by the session's refresh token (RFC 8707).
    Resource(ResourceSettings),
    /// A token that the gateway gets for itself (RFC 6749, section 4.4).
    ClientCredentials(ClientCredentialsSettings),
    /// A credential that stands in the config or a file.
    Static(StaticSettings),
}

/// A token that the gateway signs: what differs from its shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssertionSettings {
    /// Who it is for; as its shape says when empty.
    pub audience: Vec<String>,
    /// Who it is from; as its shape says when absent.
    pub issuer: Option<String>,
    /// How long it lasts; as its shape says when absent.
    pub lifetime: Option<Duration>,
    /// Claims that it has besides those of its shape; as the shape says when absent.
    pub claims: Option<Vec<String>>,
    /// One of [`SIGNING_ALGORITHM_NAMES`]; as the shape says when absent.
    pub algorithm: Option<String>,
    /// Who signs, for shapes that say so.
    pub signer: Option<String>,
}

/// Algorithms that an assertion can be signed with, by their JOSE names.
pub const SIGNING_ALGORITHM_NAMES: [&str; 3] = ["ES256", "EdDSA", "RS256"];

/// Which token of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectToken {
    /// The access token.
    AccessToken,
    /// The ID token.
    IdToken,
}

/// What kind of token is asked for (RFC 8693, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedToken {
    /// `urn:ietf:params:oauth:token-type:access_token`.
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:jwt`.
    Jwt,
    /// `urn:ietf:params:oauth:token-type:id_token`.
    IdToken,
}

/// What a token is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Names of services (RFC 8693, section 2.1).
    pub audience: Vec<String>,
    /// Absolute URIs without a fragment (RFC 8707, section 2).
    pub resource: Vec<String>,
    /// Scopes.
    pub scopes: Vec<String>,
}

/// A token that the provider gives for one of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSettings {
    /// For which.
    pub subject: SubjectToken,
    /// What kind is asked for; the provider chooses when absent.
    pub requested: Option<RequestedToken>,
    /// What for.
    pub target: Target,
}

/// An access token for one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceSettings {
    /// The resource: an absolute URI without a fragment.
    pub resource: String,
    /// Scopes; those of the sign-in when empty.
    pub scopes: Vec<String>,
}

/// A token that the gateway gets for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCredentialsSettings {
    /// From which provider: one that is configured.
    pub provider: Arc<str>,
    /// What for.
    pub target: Target,
}

/// A credential that stands in the config or a file.
#[derive(Clone, Debug)]
pub struct StaticSettings {
    /// The header that it goes into.
    pub header: HeaderName,
    /// How it is written there.
    pub scheme: StaticScheme,
    /// The secret.
    pub secret: SecretSource,
}

/// How a credential is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaticScheme {
    /// `Bearer SECRET` (RFC 6750, section 2.1).
    Bearer,
    /// `Basic`, with this user (RFC 7617).
    Basic(String),
    /// The secret alone.
    Plain,
}
