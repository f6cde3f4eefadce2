//! An ID token before it is signed: what a fault changes about it, and how it becomes text.

use std::io;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::demo::provider::der;
use crate::demo::provider::id_token_fault::IdTokenFault;
use crate::demo::provider::keys::{Key, Keys};
use crate::demo::provider::misbehaviour::Edit;

const DAY: u64 = 86_400;
const STRANGER: &str = "another-client";

/// A token before it is signed.
pub(crate) struct Draft {
    /// The JOSE header.
    pub(crate) header: Map<String, Value>,
    /// The claims.
    pub(crate) claims: Map<String, Value>,
    /// Claims that come a second time.
    duplicates: Vec<(String, Value)>,
    signer: Signer,
    form: Form,
}

enum Signer {
    /// This key.
    Key(Arc<Key>),
    /// This key, and then one bit is turned.
    Spoilt(Arc<Key>),
    /// HMAC with SHA-256.
    Secret(Vec<u8>),
    /// Nobody.
    Nobody,
}

enum Form {
    Compact,
    Json,
    Whitespace,
    FiveParts,
}

impl Draft {
    /// A right token: signed by the provider's key, under its `kid`.
    pub(crate) fn new(key: Arc<Key>, claims: Map<String, Value>) -> Self {
        let header = Map::from_iter([
            ("alg".to_owned(), Value::from(key.algorithm())),
            ("typ".to_owned(), Value::from("JWT")),
            ("kid".to_owned(), Value::from(key.id.as_str())),
        ]);
        Self { header, claims, duplicates: Vec::new(), signer: Signer::Key(key), form: Form::Compact }
    }

    /// Signs with another key, under its `kid`.
    pub(crate) fn sign_with(&mut self, key: Arc<Key>) {
        self.head("alg", key.algorithm());
        self.head("kid", key.id.as_str());
        self.signer = Signer::Key(key);
    }

    fn head(&mut self, name: &str, value: impl Into<Value>) {
        self.header.insert(name.to_owned(), value.into());
    }

    fn claim(&mut self, name: &str, value: impl Into<Value>) {
        self.claims.insert(name.to_owned(), value.into());
    }

    fn number(&self, name: &str) -> u64 {
        self.claims.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    /// Signs as an attacker, under the `kid` of the right key.
    fn attack(&mut self, keys: &Keys) -> io::Result<Arc<Key>> {
        let attacker = keys.attacker()?;
        self.head("alg", attacker.algorithm());
        self.signer = Signer::Key(Arc::clone(&attacker));
        Ok(attacker)
    }

    fn hmac(&mut self, secret: &[u8]) {
        self.head("alg", "HS256");
        self.signer = Signer::Secret(secret.to_vec());
    }

    /// Makes it wrong. `secret` is the client's.
    pub(crate) fn spoil(&mut self, fault: IdTokenFault, keys: &Keys, secret: &str) -> io::Result<()> {
        if let Some(header_fault) = self.spoil_claims(fault) {
            self.spoil_header(header_fault, keys, secret)?;
        }
        Ok(())
    }

    /// Changes the claims, or hands the fault back when it is about something else.
    fn spoil_claims(&mut self, fault: IdTokenFault) -> Option<IdTokenFault> {
        let client = self.claims.get("aud").cloned().unwrap_or_default();
        match fault {
            IdTokenFault::Claims(edit) => match edit {
                Edit::Set(name, value) => self.claim(&name, value),
                Edit::Remove(name) => drop(self.claims.shift_remove(&name)),
                Edit::Whole(Value::Object(claims)) => self.claims = claims,
                Edit::Whole(_) => self.claims.clear(),
            },
            IdTokenFault::Duplicate(name, value) => self.duplicates.push((name, value)),
            IdTokenFault::WrongIssuer => self.claim("iss", "https://another-provider.example"),
            IdTokenFault::WrongAudience => self.claim("aud", STRANGER),
            IdTokenFault::StrangerInAudience => self.claim("aud", json!([client, STRANGER])),
            IdTokenFault::StrangerInAudienceWithAzp => {
                self.claim("aud", json!([client, STRANGER]));
                self.claim("azp", client);
            }
            IdTokenFault::OtherAzp => self.claim("azp", STRANGER),
            IdTokenFault::LongSubject(length) => self.claim("sub", "s".repeat(length)),
            IdTokenFault::IssuedInFuture => self.claim("iat", self.number("iat") + DAY),
            IdTokenFault::IssuedLongAgo => self.claim("iat", self.number("iat").saturating_sub(365 * DAY)),
            IdTokenFault::Expired => self.claim("exp", self.number("iat").saturating_sub(DAY)),
            IdTokenFault::ExpiryAsText => self.claim("exp", self.number("exp").to_string()),
            IdTokenFault::ExpiryWithFraction => {
                // Seconds since the epoch fit 32 bits until 2106, so the float is exact.
                let seconds = u32::try_from(self.number("exp")).map_or(f64::MAX, f64::from);
                self.claim("exp", seconds + 0.5);
            }
            IdTokenFault::WrongNonce => self.claim("nonce", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            IdTokenFault::WrongAccessTokenHash => self.claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
            other => return Some(other),
        }
        None
    }

    fn spoil_header(&mut self, fault: IdTokenFault, keys: &Keys, secret: &str) -> io::Result<()> {
        match fault {
            IdTokenFault::BadSignature => self.signer = Signer::Spoilt(keys.current()),
            IdTokenFault::StrangerKey => drop(self.attack(keys)?),
            IdTokenFault::NoAlgorithm { spelling, signature } => {
                self.head("alg", spelling);
                if !signature {
                    self.signer = Signer::Nobody;
                }
            }
            IdTokenFault::HmacWithClientSecret => self.hmac(secret.as_bytes()),
            IdTokenFault::HmacWithPublicKey => self.hmac(keys.current().pem()?.as_bytes()),
            IdTokenFault::AlgorithmSays(algorithm) => self.head("alg", algorithm),
            IdTokenFault::UnknownCritical => {
                self.head("crit", json!(["urn:example:unknown"]));
                self.head("urn:example:unknown", true);
            }
            IdTokenFault::EmptyCritical => self.head("crit", json!([])),
            IdTokenFault::UnencodedPayload => {
                self.head("crit", json!(["b64"]));
                self.head("b64", false);
            }
            IdTokenFault::EmbeddedKey => {
                let jwk = self.attack(keys)?.jwk();
                self.head("jwk", jwk);
            }
            IdTokenFault::EmbeddedCertificate => {
                let certificate = der::own_certificate(&*self.attack(keys)?)?;
                self.head("x5c", json!([STANDARD.encode(certificate)]));
            }
            IdTokenFault::KeyUrl(url) => {
                self.attack(keys)?;
                self.head("jku", url);
            }
            IdTokenFault::CertificateUrl(url) => {
                self.attack(keys)?;
                self.head("x5u", url);
            }
            IdTokenFault::KeyId(kid) => self.head("kid", kid),
            IdTokenFault::NoKeyId => drop(self.header.shift_remove("kid")),
            IdTokenFault::RotatedKey => self.sign_with(keys.current()),
            IdTokenFault::JsonSerialization => self.form = Form::Json,
            IdTokenFault::Whitespace => self.form = Form::Whitespace,
            IdTokenFault::FiveParts => self.form = Form::FiveParts,
            _ => {}
        }
        Ok(())
    }

    /// The token's text.
    pub(crate) fn finish(self) -> io::Result<String> {
        let header = URL_SAFE_NO_PAD.encode(json!(self.header).to_string());
        let payload = URL_SAFE_NO_PAD.encode(with_duplicates(&self.claims, &self.duplicates));
        let message = format!("{header}.{payload}");
        let signature = match self.signer {
            Signer::Key(key) => key.sign(message.as_bytes())?,
            Signer::Spoilt(key) => {
                let mut signature = key.sign(message.as_bytes())?;
                if let Some(byte) = signature.get_mut(10) {
                    *byte ^= 1;
                }
                signature
            }
            Signer::Secret(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes()).as_ref().to_vec()
            }
            Signer::Nobody => Vec::new(),
        };
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(match self.form {
            Form::Compact => format!("{message}.{signature}"),
            Form::Json => json!({"protected": header, "payload": payload, "signature": signature}).to_string(),
            Form::Whitespace => format!("{header}.\r\n {payload}.{signature}\n"),
            Form::FiveParts => format!("{header}..{payload}.{payload}.{signature}"),
        })
    }
}

/// The JSON text of `claims` with members that come once more at its end.
fn with_duplicates(claims: &Map<String, Value>, duplicates: &[(String, Value)]) -> String {
    let mut text = json!(claims).to_string();
    for (name, value) in duplicates {
        text.pop();
        let comma = if text.ends_with('{') { "" } else { "," };
        text = format!("{text}{comma}{}:{value}}}", json!(name));
    }
    text
}
