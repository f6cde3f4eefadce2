//! A refresh: new tokens for a refresh token, and the provider's newest word on who the person is (RFC 6749, section 6; `OpenID` Connect
//! Core 1.0, section 12).
//!
//! 1. An ID token that comes along is verified like the first one; its `iss` and `sub` are those of the session, its nonce that of the
//!    sign-in or none, and `azp` is us. Where it does not hold, nothing of the answer is used, and the session is over.
//! 2. A refresh is no new authentication: `auth_time` never grows by one.
//! 3. What is not in the answer stays: the refresh token, the ID token, the life of the access token, the scopes.
//! 4. Claims are read as at the sign-in, from the ID token and `UserInfo`. While `UserInfo` can't be had, what it told before stays:
//!    groups never vanish because an endpoint is away. A `UserInfo` of somebody else ends the session.
//! 5. The provider's own trouble, and mistakes of our config, end no session. `invalid_grant` does, and what asks for the person.
//! 6. What came for a refresh token is kept when the keys to verify it can't be had: the token that was sent is used up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::OpenIdProvider;
use super::claims::{self, AUTHENTICATION};
use super::discovery::Metadata;
use super::id_token::{self, Doubt, Nonce, Verified};
use super::redeem::{self, TokenFault};
use super::userinfo::{self, UserInfoFault};
use crate::base::clock::Timestamp;
use crate::identity::principal::Principal;
use crate::provider::{ProviderFault, RefreshFault, Refreshed};
use crate::session::model::{Granted, Session, Tokens};

/// Errors of the token endpoint that only the person can mend (RFC 6749, section 5.2; `OpenID` Connect Core 1.0, section 3.1.2.6).
const OVER: &[&str] =
    &["invalid_grant", "interaction_required", "login_required", "consent_required", "account_selection_required"];
/// How long `UserInfo` may keep new tokens from being used.
const USERINFO_LIMIT: Duration = Duration::from_secs(5);

/// Refreshes a session's tokens.
pub(super) async fn refresh(
    provider: &OpenIdProvider,
    session: &Session,
    held: Option<Granted>,
) -> Result<Refreshed, RefreshFault> {
    let settings = &provider.settings;
    let over = |error: &str| RefreshFault::Over { provider: Arc::clone(&settings.name), error: error.to_owned() };
    let Some(refresh_token) = &session.tokens.refresh_token else { return Err(over("there is no refresh token")) };
    if session.principal.issuer != settings.issuer {
        return Err(over("it is from another issuer"));
    }
    let known = match provider.book.get().await {
        Ok(known) => known,
        Err(fault) => return Err(RefreshFault::Later { fault, held: held.map(Box::new) }),
    };
    let granted = if let Some(held) = held {
        held
    } else {
        let (calls, asked) = (provider.book.calls(), provider.clock.now());
        let granted = redeem::refresh(settings, calls, &known.metadata, refresh_token, asked).await;
        granted.map_err(|fault| refused(provider, fault))?
    };
    let verified = match &granted.id_token {
        None => None,
        Some(id_token) => {
            let expected = provider.expected(Nonce::Earlier(session.nonce.as_deref()), None);
            let tokens = (id_token.as_str(), granted.access_token.as_str());
            let verified = id_token::verify(&settings.name, &provider.book, &known, tokens, &expected).await;
            Some(verified.map_err(|doubt| match doubt {
                Doubt::Refused(fault) => RefreshFault::Untrusted(fault),
                Doubt::NoKeys(fault) => RefreshFault::Later { fault, held: Some(Box::new(granted.clone())) },
            })?)
        }
    };
    if verified.as_ref().is_some_and(|verified| verified.subject != session.principal.subject) {
        let reason = "the ID token of a refresh is about another subject";
        return Err(RefreshFault::Untrusted(ProviderFault::untrusted(&settings.name, reason)));
    }
    let mut principal = person(provider, &known.metadata, session, &granted, verified.as_ref()).await?;
    if let Some(scopes) = &granted.scopes {
        principal.scopes.clone_from(scopes);
    }
    let told = verified.as_ref().map(|verified| &verified.claims);
    Ok(Refreshed {
        principal,
        obtained: granted.asked,
        authenticated: authenticated(session, verified.as_ref().and_then(|verified| verified.authenticated)),
        provider_session: told.and_then(id_token::provider_session).or_else(|| session.provider_session.clone()),
        tokens: tokens(session, granted),
    })
}

/// What an answer without tokens means for the session.
fn refused(provider: &OpenIdProvider, fault: TokenFault) -> RefreshFault {
    let name = &provider.settings.name;
    match fault {
        TokenFault::Call(fault) => RefreshFault::Later { fault, held: None },
        TokenFault::IdToken(fault) => RefreshFault::Untrusted(fault),
        TokenFault::Refused(error) if OVER.contains(&error.as_str()) => {
            RefreshFault::Over { provider: Arc::clone(name), error }
        }
        TokenFault::Refused(error) => RefreshFault::Later { fault: redeem::refusal(name, &error), held: None },
    }
}

/// The tokens after the refresh: each new one in place of the one before.
fn tokens(session: &Session, granted: Granted) -> Tokens {
    let before = &session.tokens;
    // A provider that told the life of the first token has not changed it by being silent.
    let before_life = before.access_expires.map(|ends| ends.since(session.obtained));
    let life = granted.expires_in.map(Duration::from_secs).or(before_life);
    Tokens {
        access_expires: life.map(|life| granted.asked.after(life)),
        access_token: Some(granted.access_token),
        refresh_token: granted.refresh_token.or_else(|| before.refresh_token.clone()),
        id_token: granted.id_token.or_else(|| before.id_token.clone()),
    }
}

/// `auth_time` of a refresh is that of the original authentication; whatever else it says never makes it later.
fn authenticated(session: &Session, told: Option<Timestamp>) -> Option<Timestamp> {
    match (session.authenticated, told) {
        (Some(before), Some(told)) => Some(before.min(told)),
        (None, Some(told)) => Some(told.min(session.created)),
        (before, None) => before,
    }
}

/// The person, by the provider's newest word.
async fn person(
    provider: &OpenIdProvider,
    metadata: &Metadata,
    session: &Session,
    granted: &Granted,
    verified: Option<&Verified>,
) -> Result<Principal, RefreshFault> {
    let settings = &provider.settings;
    let before = &session.principal;
    // Without a new ID token the one before goes on telling what it told.
    let told = match verified {
        Some(verified) => Some(verified.claims.clone()),
        None => session.tokens.id_token.as_deref().and_then(id_token::claims_of),
    };
    let Some(told) = told else { return Ok(before.clone()) };
    let userinfo = match &metadata.userinfo {
        Some(url) if userinfo::is_wanted(settings, &told) => {
            let calls = provider.book.calls();
            let asked = userinfo::ask(&settings.name, calls, url, &granted.access_token, &before.subject);
            let reason = format!("the UserInfo endpoint took longer than {USERINFO_LIMIT:?}");
            let late = |_| Err(UserInfoFault::Unusable(ProviderFault::unavailable(&settings.name, reason)));
            match timeout(USERINFO_LIMIT, asked).await.unwrap_or_else(late) {
                Ok(claims) => Some(claims),
                Err(UserInfoFault::OtherSubject(fault)) => return Err(RefreshFault::Untrusted(fault)),
                Err(UserInfoFault::Unusable(fault)) => {
                    tracing::warn!(%fault, principal = before.id(), "after a refresh the claims of UserInfo stay as they were");
                    Some(before.claims.clone())
                }
            }
        }
        _ if verified.is_none() => return Ok(before.clone()),
        _ => None,
    };
    let scopes = before.scopes.clone();
    let mut principal =
        claims::principal(settings, &before.subject, told, userinfo, scopes).map_err(|claims::TooLarge| {
            RefreshFault::Untrusted(ProviderFault::untrusted(&settings.name, "the claims are larger than 64 KiB"))
        })?;
    keep_authentication(&mut principal.claims, &before.claims);
    Ok(principal)
}

/// How the person signed in stays known when an ID token is silent on it.
fn keep_authentication(claims: &mut Map<String, Value>, before: &Map<String, Value>) {
    for name in AUTHENTICATION {
        if let (false, Some(value)) = (claims.contains_key(*name), before.get(*name)) {
            claims.insert((*name).to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests;
