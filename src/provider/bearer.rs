//! Whose access tokens callers may bring, and what a token that came says.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::clock::{Clock, Timestamp};
use crate::config::settings::BearerSettings;
use crate::identity::principal::Principal;
use crate::identity::vouched::{Binding, Vouched};
use crate::provider::oidc::bearer::{Form, LONGEST, TokenIssuer, unverified};
use crate::provider::{Outbound, ProviderFault};

/// Why a token is not taken. Never holds any of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BearerFault {
    /// It does not hold, or is not for us. 401.
    #[error("{0}")]
    Refused(&'static str),
    /// Whoever could tell can't be asked now. 503: nobody is let in because an issuer is away.
    #[error(transparent)]
    Unknown(#[from] ProviderFault),
}

/// Whom the claims of an access token would speak for, when they proved who they are, and whose hands it would be bound to: for tools that
/// ask what would be decided. Nothing is verified.
///
/// # Errors
/// Why a token with these claims would not be taken.
pub fn caller_of(
    settings: &BearerSettings,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<(Principal, Option<Timestamp>, Binding), &'static str> {
    unverified(settings, claims, now)
}

/// All issuers of one config.
pub struct TokenIssuers {
    issuers: Vec<Arc<TokenIssuer>>,
}

impl TokenIssuers {
    /// The issuers that these settings describe, in their order. Touches no network.
    ///
    /// # Errors
    /// [`ProviderFault::Misconfigured`] when settings contradict themselves or a CA bundle can't be read.
    pub fn new(settings: &[BearerSettings], clock: &Clock, outbound: &Outbound) -> Result<Self, ProviderFault> {
        let issuers = settings.iter().enumerate().map(|(index, settings)| {
            TokenIssuer::new(index, settings.clone(), clock.clone(), outbound.clone()).map(Arc::new)
        });
        Ok(Self { issuers: issuers.collect::<Result<_, _>>()? })
    }

    /// Keeps the keys of each issuer fresh, until this is dropped.
    pub fn keep_fresh(&self) -> impl Iterator<Item = impl Future<Output = ()> + Send + use<>> + '_ {
        self.issuers.iter().map(|issuer| TokenIssuer::keep_fresh(Arc::downgrade(issuer)))
    }

    /// Whether what was verified by this reading of an issuer's keys still counts.
    pub fn is_current(&self, issuer: usize, keys: u64) -> bool {
        self.issuers.get(issuer).is_some_and(|issuer| issuer.keys_number() == keys)
    }

    /// The issuer identifier of the one at `index`.
    pub fn identifier(&self, index: usize) -> Option<&str> {
        self.issuers.get(index).map(|issuer| issuer.settings().issuer.issuer.as_str())
    }

    /// Whether all tokens of the one at `index` have to be bound to a key.
    pub fn requires_dpop(&self, index: usize) -> bool {
        self.issuers.get(index).is_some_and(|issuer| issuer.settings().dpop_required)
    }

    /// What `token` says by one of the issuers at `accepted`. Runs in the back office.
    ///
    /// # Errors
    /// When none of them vouches for it. That one can't be asked counts more than that another refuses it.
    pub async fn vouch(&self, accepted: &[usize], token: &str) -> Result<Vouched, BearerFault> {
        if token.len() > LONGEST {
            return Err(BearerFault::Refused("the token is too long"));
        }
        let form = Form::of(token);
        let mut outcome = BearerFault::Refused(match form {
            Form::Malformed => "the token is malformed, of another kind, or signed in a way that is never taken",
            Form::Signed(..) | Form::Opaque => "the token is of no issuer whose tokens are taken here",
        });
        for issuer in accepted.iter().filter_map(|index| self.issuers.get(*index)) {
            if !issuer.may_be_of(&form) {
                continue;
            }
            match issuer.vouch(token, &form).await {
                Ok(vouched) => return Ok(vouched),
                Err(fault) if matches!(outcome, BearerFault::Refused(_)) => outcome = fault,
                Err(_) => {}
            }
        }
        Err(outcome)
    }
}
