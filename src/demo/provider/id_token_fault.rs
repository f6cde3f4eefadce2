//! What can be wrong with an ID token, and the list of what no relying party may accept.

use serde_json::{Value, json};

use crate::demo::provider::misbehaviour::Edit;

/// One thing that is wrong with an ID token (OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725, section 2).
#[derive(Clone, Debug)]
pub enum IdTokenFault {
    /// Any change to its claims: a `sub` that is a number, a group name with a line break.
    Claims(Edit),
    /// This claim stands in the JSON text a second time, with this value, after the right one.
    Duplicate(String, Value),
    /// `iss` is another provider.
    WrongIssuer,
    /// `aud` is another client.
    WrongAudience,
    /// `aud` is the client and a stranger, without `azp`.
    StrangerInAudience,
    /// `aud` is the client and a stranger, and `azp` is the client.
    StrangerInAudienceWithAzp,
    /// `azp` is another client.
    OtherAzp,
    /// `sub` has this many bytes.
    LongSubject(usize),
    /// `iat` is a day ahead.
    IssuedInFuture,
    /// `iat` is a year ago; `exp` is right.
    IssuedLongAgo,
    /// `exp` was a day ago.
    Expired,
    /// `exp` is right, but text.
    ExpiryAsText,
    /// `exp` is right, with a fraction (which RFC 7519, section 2, allows).
    ExpiryWithFraction,
    /// `nonce` is another one.
    WrongNonce,
    /// `at_hash` is that of another access token (OpenID Connect Core 1.0, section 3.1.3.8).
    WrongAccessTokenHash,
    /// One bit of the signature is wrong.
    BadSignature,
    /// Signed by a key that was never published, under the `kid` of the right one.
    StrangerKey,
    /// `alg` is `none`, in this spelling (RFC 8725, section 2.1).
    NoAlgorithm {
        /// `none`, `None`, `NoNe`.
        spelling: String,
        /// Whether the right key's signature stands there still.
        signature: bool,
    },
    /// HS256, keyed with the client secret.
    HmacWithClientSecret,
    /// HS256, keyed with the PEM text of the public key (RFC 8725, section 2.1).
    HmacWithPublicKey,
    /// `alg` names an algorithm that the signature is not of.
    AlgorithmSays(String),
    /// `crit` names an extension that nobody knows (RFC 7515, section 4.1.11).
    UnknownCritical,
    /// `crit` is empty, which the same section forbids.
    EmptyCritical,
    /// `b64` is false and critical: the payload is the text as it stands (RFC 7797, section 3).
    UnencodedPayload,
    /// An attacker's key in `jwk`, and its signature.
    EmbeddedKey,
    /// An attacker's certificate in `x5c`, and its signature.
    EmbeddedCertificate,
    /// An attacker's URL in `jku`, and an attacker's signature.
    KeyUrl(String),
    /// An attacker's URL in `x5u`, and an attacker's signature.
    CertificateUrl(String),
    /// This `kid`: a path, a query, a URL, a megabyte.
    KeyId(String),
    /// No `kid`.
    NoKeyId,
    /// Signed by a key that took the place of the published one a moment ago. A valid token.
    RotatedKey,
    /// Flattened JSON serialization in place of the compact one (RFC 7515, section 7.2.2).
    JsonSerialization,
    /// Spaces and line breaks within.
    Whitespace,
    /// Five parts, as if it were encrypted (RFC 7516, section 7.1).
    FiveParts,
}

impl IdTokenFault {
    /// A claim has this value.
    pub fn claim(name: &str, value: impl Into<Value>) -> Self {
        Self::Claims(Edit::set(name, value))
    }

    /// A claim is missing.
    pub fn no_claim(name: &str) -> Self {
        Self::Claims(Edit::remove(name))
    }

    /// Everything that no careful relying party accepts; a name for each, for a test's message. `listener` is the URL
    /// that `jku` and `x5u` point to: nobody may ever ask it.
    pub fn every_refusable(listener: &str) -> Vec<(String, Self)> {
        let mut all: Vec<(String, Self)> = Vec::new();
        let mut add = |name: &str, fault: Self| all.push((name.to_owned(), fault));
        for name in ["iss", "aud", "sub", "iat", "exp", "nonce"] {
            add(&format!("no {name}"), Self::no_claim(name));
        }
        for (name, claim, value) in [
            ("iss of the wrong type", "iss", json!(["x"])),
            ("empty aud array", "aud", json!([])),
            ("aud null", "aud", json!(null)),
            ("sub as array", "sub", json!(["alice"])),
            ("sub as number", "sub", json!(1)),
            ("sub null", "sub", json!(null)),
            ("empty sub", "sub", json!("")),
            ("sub with NUL", "sub", json!("alice\u{0}admin")),
            ("sub with a line break", "sub", json!("alice\r\nX-Forwarded-Roles: admin")),
            ("negative exp", "exp", json!(-1)),
            ("exp null", "exp", json!(null)),
            ("iat as text", "iat", json!("yesterday")),
            ("nonce as array", "nonce", json!(["x"])),
        ] {
            add(name, Self::claim(claim, value));
        }
        for fault in [
            Self::WrongIssuer,
            Self::WrongAudience,
            Self::StrangerInAudience,
            Self::StrangerInAudienceWithAzp,
            Self::OtherAzp,
            Self::LongSubject(256),
            Self::LongSubject(1 << 20),
            Self::IssuedInFuture,
            Self::Expired,
            Self::ExpiryAsText,
            Self::WrongNonce,
            Self::WrongAccessTokenHash,
            Self::BadSignature,
            Self::StrangerKey,
            Self::HmacWithClientSecret,
            Self::HmacWithPublicKey,
            Self::AlgorithmSays("ES384".to_owned()),
            Self::AlgorithmSays("PS256".to_owned()),
            Self::AlgorithmSays("rs256".to_owned()),
            Self::AlgorithmSays(String::new()),
            Self::UnknownCritical,
            Self::EmptyCritical,
            Self::UnencodedPayload,
            Self::EmbeddedKey,
            Self::EmbeddedCertificate,
            Self::KeyUrl(listener.to_owned()),
            Self::CertificateUrl(listener.to_owned()),
            Self::JsonSerialization,
            Self::Whitespace,
            Self::FiveParts,
        ] {
            add(&format!("{fault:?}"), fault);
        }
        for spelling in ["none", "None", "NoNe", "NONE"] {
            for signature in [false, true] {
                let fault = Self::NoAlgorithm { spelling: spelling.to_owned(), signature };
                add(&format!("{fault:?}"), fault);
            }
        }
        all
    }
}
