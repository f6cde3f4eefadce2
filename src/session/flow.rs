//! The flow: one sign-in on its way, kept in a sealed cookie of its own, one per tab.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

/// What the provider's answer must match. Written to no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The issuer that the request went to (RFC 9207, section 2.4).
    pub issuer: String,
    /// `state`: 43 base64url characters (RFC 6749, section 10.12).
    pub state: String,
    /// `nonce` of the ID token (OpenID Connect Core 1.0, section 3.1.2.1).
    pub nonce: String,
    /// The PKCE verifier (RFC 7636, section 4.1).
    pub verifier: String,
    /// The redirect URI, repeated exactly at the token endpoint (RFC 6749, section 4.1.3).
    pub redirect_uri: String,
}

/// One sign-in on its way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The provider's name in our config.
    pub provider: Arc<str>,
    /// What the answer must match.
    pub pending: Pending,
    /// Where the browser wanted to go: a path with query on this site, or a URL at a configured origin.
    pub return_to: String,
    /// When it began.
    pub started: Timestamp,
}
