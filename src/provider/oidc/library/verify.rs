//! Signature, `iss`, `aud`, `exp` and `nonce` of an ID token, as the crate checks them, with one key of ours.

use std::str::FromStr as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openidconnect::core::CoreIdToken;
use openidconnect::{
    ClaimsVerificationError, ClientId, IdTokenVerifier, IssuerUrl, JsonWebKeySet, Nonce as Sent, NonceVerifier,
    SignatureVerificationError,
};

use super::super::id_token::{Expected, Nonce};
use super::key::{VerifyingKey, named};
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::Jwk;

/// Why the crate refuses an ID token, without any of its contents.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum IdTokenFault {
    /// The key did not make the signature.
    Signature,
    /// A claim is not as it must be, to follow on "the ID token".
    Claims(&'static str),
}

/// Verifies an ID token with this key and algorithm, and no other. It must expire later than now, less the leeway for clocks.
pub(in super::super) fn verify_id_token(
    text: &str,
    key: &Jwk,
    algorithm: Algorithm,
    expected: &Expected<'_>,
) -> Result<(), IdTokenFault> {
    let token = CoreIdToken::from_str(text)
        .map_err(|_| IdTokenFault::Claims("lacks a claim, or has one of another type than the standard says"))?;
    let issuer = IssuerUrl::new(expected.issuer.to_owned()).map_err(|_| IdTokenFault::Claims("can't be compared"))?;
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(expected.now.seconds()).saturating_sub(expected.skew);
    // A public client's verifier: a token that is signed with the client's secret is never taken.
    let verifier = IdTokenVerifier::new_public_client(
        ClientId::new(expected.client_id.to_owned()),
        issuer,
        JsonWebKeySet::new(vec![VerifyingKey::from(key)]),
    )
    .set_allowed_algs([named(algorithm)])
    .set_time_fn(move || now.into());
    token
        .claims(&verifier, |nonce: Option<&Sent>| check(expected.nonce, nonce))
        .map(|_| ())
        .map_err(|error| fault(&error))
}

/// The crate's own comparison, which tells nothing by the time it takes.
fn check(expected: Nonce<'_>, nonce: Option<&Sent>) -> Result<(), String> {
    match (expected, nonce) {
        (Nonce::Sent(sent) | Nonce::Earlier(Some(sent)), Some(_)) => (&Sent::new(sent.to_owned())).verify(nonce),
        (Nonce::Earlier(_), None) => Ok(()),
        (Nonce::Sent(_), None) => Err("missing".to_owned()),
        (Nonce::Earlier(None), Some(_)) => Err("none was sent".to_owned()),
    }
}

fn fault(error: &ClaimsVerificationError) -> IdTokenFault {
    IdTokenFault::Claims(match error {
        ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::CryptoError(_)
            | SignatureVerificationError::InvalidKey(_)
            | SignatureVerificationError::NoMatchingKey,
        ) => return IdTokenFault::Signature,
        ClaimsVerificationError::Expired(_) => "has expired",
        ClaimsVerificationError::InvalidAudience(_) => "is for another audience (aud)",
        ClaimsVerificationError::InvalidIssuer(_) => "is from another issuer (iss)",
        ClaimsVerificationError::InvalidNonce(_) => "has no nonce, or another one than was sent",
        _ => "is refused by the library",
    })
}
