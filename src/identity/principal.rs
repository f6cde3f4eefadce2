//! Who is asking: issuer and subject, and what the provider said about them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A person or service that a provider vouched for. Only `(issuer, subject)` identifies it (`OpenID` Connect Core 1.0, section 5.7).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Principal {
    /// The provider's name in our config.
    pub provider: Arc<str>,
    /// The issuer identifier.
    pub issuer: String,
    /// The subject identifier, unique within the issuer, never reassigned.
    pub subject: String,
    /// The email address, if the provider gave one.
    pub email: Option<String>,
    /// Whether the provider verified it: only the JSON value `true` (or the text `"true"`) says so.
    pub email_verified: bool,
    /// The name the person signs in with there.
    pub preferred_username: Option<String>,
    /// The name for people to read.
    pub name: Option<String>,
    /// Groups, from the claim that the config names.
    pub groups: Vec<String>,
    /// Roles, from the claims that the preset or config names.
    pub roles: Vec<String>,
    /// What the provider granted (RFC 6749, section 3.3): a session's as the token endpoint said, a bearer token's own.
    pub scopes: Vec<String>,
    /// Which of the lists above may lack something.
    pub unclear: Unclear,
    /// Every other claim of the ID token and `UserInfo` that is about the person, for headers, rules and `/me`.
    pub claims: Map<String, Value>,
}

/// Which lists of a principal may lack something that the provider said: a claim had a shape that can't be read, or more entries than
/// are kept. Rules that deny take what may be missing for there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclear {
    /// Groups.
    pub groups: bool,
    /// Roles.
    pub roles: bool,
}

impl Principal {
    /// An opaque, stable name for logs: a hash over issuer and subject that tells nothing of either (16 hex digits).
    pub fn id(&self) -> String {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(&(self.issuer.len() as u64).to_be_bytes());
        context.update(self.issuer.as_bytes());
        context.update(self.subject.as_bytes());
        let digest = context.finish();
        let first: [u8; 8] = digest.as_ref().first_chunk().copied().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

/// The form in which a principal travels inside a sealed session: claims as JSON text, since the sealed format isn't self-describing.
#[derive(Serialize, Deserialize)]
struct Packed {
    provider: Arc<str>,
    issuer: String,
    subject: String,
    email: Option<String>,
    email_verified: bool,
    preferred_username: Option<String>,
    name: Option<String>,
    groups: Vec<String>,
    roles: Vec<String>,
    scopes: Vec<String>,
    unclear: Unclear,
    claims: String,
}

impl Serialize for Principal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Packed {
            provider: Arc::clone(&self.provider),
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            email: self.email.clone(),
            email_verified: self.email_verified,
            preferred_username: self.preferred_username.clone(),
            name: self.name.clone(),
            groups: self.groups.clone(),
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            unclear: self.unclear,
            claims: serde_json::to_string(&self.claims).map_err(serde::ser::Error::custom)?,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = Packed::deserialize(deserializer)?;
        Ok(Self {
            provider: packed.provider,
            issuer: packed.issuer,
            subject: packed.subject,
            email: packed.email,
            email_verified: packed.email_verified,
            preferred_username: packed.preferred_username,
            name: packed.name,
            groups: packed.groups,
            roles: packed.roles,
            scopes: packed.scopes,
            unclear: packed.unclear,
            claims: serde_json::from_str(&packed.claims).map_err(serde::de::Error::custom)?,
        })
    }
}
