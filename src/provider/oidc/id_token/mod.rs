//! The ID token: form, signature, claims (`OpenID` Connect Core 1.0, section 3.1.3.7).
//!
//! The library checks the signature with a key that we chose, `iss`, `aud` (nobody but us in it), `exp` and `nonce`. The rest
//! is checked here, each rule with a test:
//! 1. `alg` is one that the settings allow; keys come from the provider's set and fit it.
//! 2. Dates are whole seconds; `iat` is neither in the future nor older than an hour; `nbf` has come.
//! 3. `sub` is 1 to 255 printable ASCII characters without a space at an end (section 2).
//! 4. `azp`, if there, is us; with several audiences it must be there.
//! 5. `at_hash`, if there, fits the access token (section 3.1.3.8).
//! 6. `auth_time` is not in the future, and recent enough where `max_age` was asked for.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::known::{Book, Known};
use super::library;
use crate::base::clock::Timestamp;
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::{Jwk, KeySet};
use crate::jose::jws::Jws;
use crate::provider::ProviderFault;

/// The longest ID token that is read, in bytes.
pub(super) const LONGEST: usize = 64 * 1024;
/// What `typ` may say, if it is there (RFC 8725, section 3.11: other kinds of token have names of their own).
const KINDS: &[&str] = &["JWT", "JOSE"];
/// How long before now an ID token may have been issued: it was asked for a moment ago.
pub(super) const OLDEST: Duration = Duration::from_hours(1);
/// The last second of the year 9999: later dates are a mistake or an attack.
const LAST_SECOND: u64 = 253_402_300_799;
/// How many keys are tried for a token that names none.
pub(super) const MOST_KEYS: usize = 10;

/// The nonce that an ID token must have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Nonce<'a> {
    /// This one, which was sent with the request.
    Sent(&'a str),
    /// This one or none: it came with a refresh, and this was sent at the sign-in (section 12.2).
    Earlier(Option<&'a str>),
}

/// What an ID token must be.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: Nonce<'a>,
    pub(super) algorithms: &'a [Algorithm],
    /// Seconds, where the configured parameters ask for `max_age`.
    pub(super) max_age: Option<u64>,
    pub(super) now: Timestamp,
    pub(super) skew: Duration,
}

/// An ID token that holds.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) claims: Map<String, Value>,
    pub(super) subject: String,
    pub(super) authenticated: Option<Timestamp>,
}

/// Why an ID token does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No key at hand may have signed it: the keys may have changed.
    UnknownKey,
    /// Anything else. Never holds a claim's value.
    Broken(String),
}

/// Why an ID token is not taken.
#[derive(Debug)]
pub(super) enum Doubt {
    /// It does not hold.
    Refused(ProviderFault),
    /// The keys that would tell can't be had now.
    NoKeys(ProviderFault),
}

impl From<Doubt> for ProviderFault {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Refused(fault) | Doubt::NoKeys(fault) => fault,
        }
    }
}

/// Verifies `token`; reads the provider's keys anew once when none of them may have signed it.
pub(super) async fn verify(
    provider: &Arc<str>,
    book: &Book,
    known: &Arc<Known>,
    tokens: (&str, &str),
    expected: &Expected<'_>,
) -> Result<Verified, Doubt> {
    let mut outcome = verify_with(&known.keys, tokens, expected);
    if outcome.as_ref().is_err_and(|refusal| *refusal == Refusal::UnknownKey) {
        let renewed = book.renew_keys(known).await.map_err(Doubt::NoKeys)?;
        outcome = verify_with(&renewed.keys, tokens, expected);
    }
    outcome.map_err(|refusal| {
        let reason = match refusal {
            Refusal::UnknownKey => "the ID token is signed with a key that is not in the provider's key set".to_owned(),
            Refusal::Broken(reason) => reason,
        };
        Doubt::Refused(ProviderFault::untrusted(provider, reason))
    })
}

/// The provider's own session (`sid`), for logout.
pub(super) fn provider_session(claims: &Map<String, Value>) -> Option<String> {
    claims.get("sid").and_then(Value::as_str).filter(|sid| sid.len() <= 255).map(str::to_owned)
}

/// The claims of an ID token that was verified before.
pub(super) fn claims_of(verified: &str) -> Option<Map<String, Value>> {
    Some(parse(verified).ok()?.unverified_claims().clone())
}

/// Verifies an ID token, and that the access token belongs to it, with the keys at hand.
fn verify_with(keys: &KeySet, tokens: (&str, &str), expected: &Expected<'_>) -> Result<Verified, Refusal> {
    let (token, access_token) = tokens;
    let jws = parse(token).map_err(Refusal::Broken)?;
    let algorithm = jws.algorithm();
    if !expected.algorithms.contains(&algorithm) {
        let reason =
            format!("the ID token is signed with {}, which `signing_algorithms` does not list", algorithm.name());
        return Err(Refusal::Broken(reason));
    }
    check_signature(keys, &jws, token, expected)?;
    let claims = jws.unverified_claims();
    let authenticated = check_claims(claims, expected).map_err(broken)?;
    check_access_token(claims, access_token, algorithm).map_err(broken)?;
    let subject = subject(claims).map_err(broken)?.to_owned();
    Ok(Verified { claims: claims.clone(), subject, authenticated })
}

fn broken(reason: &str) -> Refusal {
    Refusal::Broken(format!("the ID token {reason}"))
}

/// Whether a text has the form of an ID token and its dates are numbers that can be counted with: looked at before the
/// library reads it.
pub(super) fn check_form(token: &str) -> Result<(), String> {
    let jws = parse(token)?;
    for name in ["exp", "iat", "nbf", "auth_time"] {
        date(jws.unverified_claims(), name).map_err(|reason| format!("the ID token {reason}"))?;
    }
    Ok(())
}

fn parse(token: &str) -> Result<Jws<'_>, String> {
    Jws::parse(token, LONGEST, KINDS).map_err(|fault| format!("the ID token is refused: {fault}"))
}

/// Has the library check signature and claims with each key that may have signed. A token without `kid` may be tried with
/// several (section 10.1 asks providers for a `kid` then, and not all heed it).
fn check_signature(keys: &KeySet, jws: &Jws<'_>, token: &str, expected: &Expected<'_>) -> Result<(), Refusal> {
    let candidates: Vec<&Jwk> = keys.candidates(jws.key_id(), jws.algorithm()).take(MOST_KEYS).collect();
    for key in &candidates {
        match library::verify_id_token(token, key, jws.algorithm(), expected) {
            Ok(()) => return Ok(()),
            Err(library::IdTokenFault::Signature) => {}
            Err(library::IdTokenFault::Claims(reason)) => return Err(broken(reason)),
        }
    }
    if candidates.is_empty() || jws.key_id().is_none() {
        return Err(Refusal::UnknownKey);
    }
    Err(broken("has a signature that does not fit"))
}

/// The rules that the library leaves to us. Gives `auth_time`.
fn check_claims(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<Option<Timestamp>, &'static str> {
    let latest = expected.now.after(expected.skew);
    let issued = date(claims, "iat")?.ok_or("has no iat")?;
    if issued > latest {
        return Err("was issued in the future; does the clock run right?");
    }
    if issued.after(OLDEST).after(expected.skew) < expected.now {
        return Err("was issued more than an hour ago");
    }
    date(claims, "exp")?.ok_or("has no exp")?;
    if date(claims, "nbf")?.is_some_and(|begins| begins > latest) {
        return Err("is not valid yet (nbf)");
    }
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1);
    match claims.get("azp") {
        None | Some(Value::Null) if several => return Err("has several audiences and no azp"),
        None | Some(Value::Null) => {}
        Some(party) if party.as_str() == Some(expected.client_id) => {}
        Some(_) => return Err("was issued to another client (azp)"),
    }
    let authenticated = date(claims, "auth_time")?;
    if authenticated.is_some_and(|when| when > latest) {
        return Err("has an auth_time in the future");
    }
    if let Some(max_age) = expected.max_age {
        let when = authenticated.ok_or("has no auth_time, though max_age was asked for")?;
        if when.after(Duration::from_secs(max_age)).after(expected.skew) < expected.now {
            return Err("tells of an authentication that is longer ago than max_age");
        }
    }
    Ok(authenticated)
}

/// A date in whole seconds (RFC 7519, section 2, lets fractions pass; no provider sends them, and attackers do).
pub(super) fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, &'static str> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(seconds) if seconds <= LAST_SECOND => Ok(Some(Timestamp::from_seconds(seconds))),
            _ => Err("has a date that is no whole number of seconds"),
        },
    }
}

pub(super) fn subject(claims: &Map<String, Value>) -> Result<&str, &'static str> {
    let subject = claims.get("sub").and_then(Value::as_str).ok_or("has no text as sub")?;
    let printable = subject.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    let fits = (1..=255).contains(&subject.len()) && printable && subject.trim() == subject;
    fits.then_some(subject).ok_or("has a sub that is empty, too long, or not of printable ASCII")
}

/// `at_hash` is the left half of the access token's hash. Without it the code flow says nothing (section 3.1.3.6).
fn check_access_token(
    claims: &Map<String, Value>,
    access_token: &str,
    algorithm: Algorithm,
) -> Result<(), &'static str> {
    let Some(hash) = claims.get("at_hash") else { return Ok(()) };
    let digest = aws_lc_rs::digest::digest(algorithm.digest(), access_token.as_bytes());
    let half = digest.as_ref().get(..digest.as_ref().len() / 2).unwrap_or_default();
    if hash.as_str() == Some(URL_SAFE_NO_PAD.encode(half).as_str()) {
        Ok(())
    } else {
        Err("belongs to another access token (at_hash)")
    }
}

#[cfg(test)]
mod tests;
