//! One signed token in compact form, read strictly and verified with a key that somebody else chose (RFC 7515; RFC 8725).
//!
//! Rules, each with a test:
//! 1. Three parts of base64url without padding, white space or stray bits (RFC 7515, section 2).
//! 2. Header and claims are objects that name each member once.
//! 3. `alg` is one of ours, compared exactly; the caller says which of them it takes.
//! 4. `crit` and `b64` are refused: there is no extension that we know (RFC 7515, section 4.1.11; RFC 7797).
//! 5. `jwk`, `jku`, `x5u` and `x5c` are not looked at: no key ever comes from the token itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json::{JsonFault, parse_object};
use super::jwk::{BadSignature, Jwk, MAX_KEY_ID};

/// The longest header that is read, in base64url characters.
pub const MAX_HEADER: usize = 8 * 1024;

/// Why a text is no token that we look at further. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsFault {
    /// It is longer than the caller takes, or its header is longer than [`MAX_HEADER`].
    #[error("it is too long")]
    TooLong,
    /// It isn't three parts of base64url: an encrypted token has five, JSON serialisation has none.
    #[error("it is not in the compact form of a signed token")]
    NotCompact,
    /// The header is no JSON object with each member once.
    #[error("its header can't be read: {0}")]
    Header(JsonFault),
    /// The claims are no JSON object with each member once.
    #[error("its claims can't be read: {0}")]
    Claims(JsonFault),
    /// `alg` is missing, is `none`, or isn't an asymmetric algorithm that we know.
    #[error("its signature algorithm is missing or not one that is ever accepted")]
    Algorithm,
    /// `crit` or `b64` asks for an extension.
    #[error("its header asks for an extension that is not supported")]
    Extension,
    /// `typ` is that of another kind of token, or `cty` is there.
    #[error("its header says that it is another kind of token")]
    Kind,
    /// `kid` is no text, or longer than [`MAX_KEY_ID`].
    #[error("its key id is malformed")]
    KeyId,
}

/// A signed token whose form is right. Nothing in it may be believed before [`Jws::verify`].
pub struct Jws<'a> {
    algorithm: Algorithm,
    kind: Option<String>,
    key_id: Option<String>,
    claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Reads a token of at most `longest` bytes whose `typ` is absent or one of `kinds`, compared without regard to case
    /// and to a leading `application/` (RFC 7515, section 4.1.9).
    ///
    /// # Errors
    /// When one of the rules above is broken.
    pub fn parse(token: &'a str, longest: usize, kinds: &[&str]) -> Result<Self, JwsFault> {
        Self::parse_with_header(token, longest, kinds).map(|(_, jws)| jws)
    }

    /// The same, with the header: for the one kind of token that brings its own key ([`super::proof`]).
    pub(super) fn parse_with_header(
        token: &'a str,
        longest: usize,
        kinds: &[&str],
    ) -> Result<(Map<String, Value>, Self), JwsFault> {
        if token.len() > longest {
            return Err(JwsFault::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsFault::NotCompact)?;
        let (header, claims) = signed.split_once('.').ok_or(JwsFault::NotCompact)?;
        if header.len() > MAX_HEADER {
            return Err(JwsFault::TooLong);
        }
        // A fourth dot would be left in `claims`, where base64url has no place for it.
        let header = parse_object(&part(header)?).map_err(JwsFault::Header)?;
        let (claims, signature) = (part(claims)?, part(signature)?);
        let (algorithm, kind) = check_header(&header, kinds)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id.clone()),
            Some(_) => return Err(JwsFault::KeyId),
        };
        let claims = parse_object(&claims).map_err(JwsFault::Claims)?;
        Ok((header, Self { algorithm, kind, key_id, claims, signed, signature }))
    }

    /// `alg`.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `typ` in lower case, without `application/`; absent when the token says nothing of its kind.
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// `kid`, to be compared with the ids of keys at hand and used for nothing else.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The claims, not yet to be believed.
    pub const fn unverified_claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claims, if `key` made the signature.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(&self, key: &Jwk) -> Result<&Map<String, Value>, BadSignature> {
        key.verify(self.algorithm, self.signed.as_bytes(), &self.signature)?;
        Ok(&self.claims)
    }
}

/// Strict base64url: no padding, and the bits that the last character has to spare are zero.
fn part(text: &str) -> Result<Vec<u8>, JwsFault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwsFault::NotCompact)
}

fn check_header(header: &Map<String, Value>, kinds: &[&str]) -> Result<(Algorithm, Option<String>), JwsFault> {
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(JwsFault::Extension);
    }
    if header.contains_key("cty") {
        return Err(JwsFault::Kind);
    }
    let mut bare = None;
    if let Some(kind) = header.get("typ") {
        let kind = kind.as_str().ok_or(JwsFault::Kind)?.to_ascii_lowercase();
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        if !kinds.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
            return Err(JwsFault::Kind);
        }
        bare = Some(kind.to_owned());
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
    Ok((algorithm.ok_or(JwsFault::Algorithm)?, bare))
}

#[cfg(test)]
mod tests;
