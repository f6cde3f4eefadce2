//! What a verified bearer token says: whom it speaks for, how long, and whose hands it is bound to.

use crate::base::clock::Timestamp;
use crate::identity::principal::Principal;

/// What a verified access token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Vouched {
    /// Which of the config's token issuers said it: an index into its `bearer` tables.
    pub issuer: usize,
    /// The issuer's keys by which it was verified; it has to be verified anew when they are others.
    pub keys: u64,
    /// Whom it speaks for.
    pub principal: Principal,
    /// When the person last proved who they are, if the token says so (RFC 9068, section 2.2.1).
    pub authenticated: Option<Timestamp>,
    /// From when on it may not be used without asking again: its end, or sooner.
    pub until: Timestamp,
    /// Whose hands it is bound to.
    pub binding: Binding,
}

/// Whose hands a token is bound to (RFC 7800, section 3.1); nobody's in particular when both are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The thumbprint of the key that signs a proof for each request: `jkt` (RFC 9449, section 6.1).
    pub key: Option<String>,
    /// SHA-256 of the client certificate, in base64url: `x5t#S256` (RFC 8705, section 3.1).
    pub certificate: Option<String>,
}
