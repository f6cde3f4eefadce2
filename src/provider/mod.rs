//! Floor 3: who signs people in. Speaks to providers; never sees a visitor's request.

pub mod bearer;
pub mod neighbours;
pub mod oidc;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::base::clock::{Clock, Timestamp};
use crate::config::settings::ProviderSettings;
use crate::identity::principal::Principal;
use crate::net::outbound_proxy::Proxies;
use crate::policy::wanted::Wanted;
use crate::provider::neighbours::Neighbours;
use crate::provider::oidc::OpenIdProvider;
use crate::session::flow::Pending;
use crate::session::model::{Granted, Session, Tokens};
use crate::token::grant::{Fetched, Grant};

/// What a sign-in begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where the provider sends the browser back to.
    pub redirect_uri: String,
    /// Further authorization parameters; the caller has checked them against the config's list.
    pub parameters: Vec<(String, String)>,
    /// What the sign-in should have besides that it is one.
    pub wanted: Wanted,
}

/// A sign-in that has begun.
pub struct Begun {
    /// Where to send the browser.
    pub url: String,
    /// What the answer must match.
    pub pending: Pending,
}

/// The provider's answer as the browser brought it; each parameter came at most once.
#[derive(Clone, Default)]
pub struct Answer {
    /// `code`.
    pub code: Option<String>,
    /// `iss` (RFC 9207).
    pub issuer: Option<String>,
    /// `error` (RFC 6749, section 4.1.2.1).
    pub error: Option<String>,
    /// `error_description`: untrusted text.
    pub error_description: Option<String>,
}

/// A sign-in that has ended well.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub principal: Principal,
    /// Their tokens.
    pub tokens: Tokens,
    /// When the tokens were asked for.
    pub obtained: Timestamp,
    /// The nonce that was sent, and that later ID tokens are held to.
    pub nonce: Option<String>,
    /// `auth_time`.
    pub authenticated: Option<Timestamp>,
    /// `sid`.
    pub provider_session: Option<String>,
}

/// A session's tokens and person after a refresh.
#[derive(Debug)]
pub struct Refreshed {
    /// Who, by the newest word of the provider.
    pub principal: Principal,
    /// The tokens: new ones, and those that stay in use.
    pub tokens: Tokens,
    /// When the tokens were asked for.
    pub obtained: Timestamp,
    /// When the person last proved who they are; a refresh is no such proof.
    pub authenticated: Option<Timestamp>,
    /// The provider's own session.
    pub provider_session: Option<String>,
}

/// Why a refresh gave no tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshFault {
    /// The provider says that what it granted is over, or that the person has to do something first: a new sign-in is needed.
    #[error("provider `{provider}` refreshes this session no more: {error}")]
    Over {
        /// Its name in our config.
        provider: Arc<str>,
        /// `error`, cut to printable ASCII and 64 characters.
        error: String,
    },
    /// The answer is about somebody else, or is not the provider's: nothing of it may be used (`OpenID` Connect Core 1.0, section 12.2).
    #[error(transparent)]
    Untrusted(ProviderFault),
    /// Nothing came that could be used, and another try may bring it.
    #[error("{fault}")]
    Later {
        /// What happened.
        fault: ProviderFault,
        /// What the provider gave, if that could not be verified for want of its keys.
        held: Option<Box<Granted>>,
    },
}

/// What a logout token says has ended at the provider. At least one of the names is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// `sid`: this session alone, where it is named.
    pub provider_session: Option<String>,
    /// `sub`: whose it was; all of theirs where no session is named.
    pub subject: Option<String>,
    /// Nothing that began after this second is meant.
    pub before: Timestamp,
    /// `jti`: names the token, for those who must not hear it twice.
    pub id: String,
}

/// Why a logout token is refused. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogoutTokenFault {
    /// No key at hand may have signed it: the keys may have changed.
    #[error("is signed with a key that is not known here")]
    UnknownKey,
    /// Nothing is known of the provider yet, so nobody can tell whether it holds.
    #[error("can't be judged yet, since the provider's keys are not there")]
    NoKeys,
    /// Anything else; reads on after "the logout token".
    #[error("{0}")]
    Invalid(&'static str),
}

/// Why a provider could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderFault {
    /// It can't be reached, is too slow, or answers with a server error: worth another try later. 503.
    #[error("provider `{provider}` is not available: {reason}")]
    Unavailable {
        /// Its name in our config.
        provider: Arc<str>,
        /// What happened; never a secret, code or token.
        reason: String,
    },
    /// It answered with an error of its own, such as `access_denied`. 403 for that one, else 502.
    #[error("provider `{provider}` refused: {error}")]
    Refused {
        /// Its name in our config.
        provider: Arc<str>,
        /// `error`, cut to printable ASCII and 64 characters.
        error: String,
    },
    /// The answer that the browser brought is not the one to this sign-in: it names another issuer, or has no code. 400.
    #[error("the answer for provider `{provider}` can't be used: {reason}")]
    BadAnswer {
        /// Its name in our config.
        provider: Arc<str>,
        /// Which check; never a secret, code or token.
        reason: String,
    },
    /// What it said can't be trusted: a check of the protocol failed. 502.
    #[error("provider `{provider}` gave an answer that can't be trusted: {reason}")]
    Untrusted {
        /// Its name in our config.
        provider: Arc<str>,
        /// Which check; never a secret, code or token.
        reason: String,
    },
    /// Our own settings for it are wrong: the secret can't be read, say. 500.
    #[error("provider `{provider}` can't be used as it is configured: {reason}")]
    Misconfigured {
        /// Its name in our config.
        provider: Arc<str>,
        /// What and the fix.
        reason: String,
    },
}

impl ProviderFault {
    /// Whether a new sign-in may mend it: the provider wants to see the person, or what the session holds is no good any more
    /// (RFC 6749, section 5.2; `OpenID` Connect Core 1.0, section 3.1.2.6).
    pub fn asks_for_sign_in(&self) -> bool {
        let errors = [
            "interaction_required",
            "login_required",
            "consent_required",
            "account_selection_required",
            "invalid_grant",
        ];
        matches!(self, Self::Refused { error, .. } if errors.contains(&error.as_str()))
    }

    pub(crate) fn unavailable(provider: &Arc<str>, reason: impl Into<String>) -> Self {
        Self::Unavailable { provider: Arc::clone(provider), reason: reason.into() }
    }

    pub(crate) fn bad_answer(provider: &Arc<str>, reason: impl Into<String>) -> Self {
        Self::BadAnswer { provider: Arc::clone(provider), reason: reason.into() }
    }

    pub(crate) fn untrusted(provider: &Arc<str>, reason: impl Into<String>) -> Self {
        Self::Untrusted { provider: Arc::clone(provider), reason: reason.into() }
    }

    pub(crate) fn misconfigured(provider: &Arc<str>, reason: impl Into<String>) -> Self {
        Self::Misconfigured { provider: Arc::clone(provider), reason: reason.into() }
    }

    /// The provider's own `error`, cut to printable ASCII and 64 characters, for it is untrusted text.
    pub(crate) fn refused(provider: &Arc<str>, error: &str) -> Self {
        let error = error.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect();
        Self::Refused { provider: Arc::clone(provider), error }
    }
}

/// Whom the claims of an ID token of this provider would tell of, and when they proved who they are: for tools that ask what would be
/// decided. Nothing is verified. `scope` is taken for what was granted.
///
/// # Errors
/// Why the claims can't be those of a person.
pub fn principal_of(
    settings: &ProviderSettings,
    claims: Map<String, Value>,
) -> Result<(Principal, Option<Timestamp>), &'static str> {
    oidc::principal_of(settings, claims)
}

/// What all providers share on their way out.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// The proxies of our environment.
    pub proxies: Arc<Proxies>,
    /// Where each configured provider is at home, so that no secret goes to another's host.
    pub neighbours: Neighbours,
}

/// One provider that people can sign in with.
pub struct Provider {
    oidc: Arc<OpenIdProvider>,
}

impl Provider {
    /// A provider as the settings describe it. Touches no network: metadata is read at the first use.
    ///
    /// # Errors
    /// [`ProviderFault::Misconfigured`] when the settings contradict themselves or the CA bundle can't be read.
    pub fn new(settings: ProviderSettings, clock: Clock, outbound: Outbound) -> Result<Self, ProviderFault> {
        Ok(Self { oidc: Arc::new(OpenIdProvider::new(settings, clock, outbound)?) })
    }

    /// Its name in our config and in URLs.
    pub fn name(&self) -> &Arc<str> {
        &self.oidc.settings().name
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.oidc.settings().issuer
    }

    /// How far its clock may differ from ours.
    pub fn clock_skew(&self) -> Duration {
        self.oidc.settings().clock_skew
    }

    /// What people read on the sign-in page.
    pub fn label(&self) -> &str {
        &self.oidc.settings().label
    }

    /// Begins a sign-in: makes state, nonce and verifier, and the URL to send the browser to.
    ///
    /// # Errors
    /// When the provider's metadata can't be had or trusted.
    pub async fn begin(&self, begin: Begin) -> Result<Begun, ProviderFault> {
        self.oidc.begin(begin).await
    }

    /// Begins a sign-in at once, without waiting for anyone; `None` when the provider was not heard of lately, and [`Self::begin`]
    /// has to ask it first.
    ///
    /// # Errors
    /// When no request can be made.
    pub fn begin_at_once(&self, begin: &Begin) -> Option<Result<Begun, ProviderFault>> {
        self.oidc.begin_at_once(begin)
    }

    /// Ends a sign-in: checks the answer (`iss` first), redeems the code, and verifies what comes back. The caller has
    /// compared `state` with the one in `pending` before.
    ///
    /// # Errors
    /// When the answer is an error, or any check fails.
    pub async fn finish(&self, pending: &Pending, answer: Answer) -> Result<SignedIn, ProviderFault> {
        self.oidc.finish(pending, answer).await
    }

    /// Has the session's tokens refreshed (RFC 6749, section 6), and verifies what comes back (`OpenID` Connect Core 1.0, section 12.2).
    /// With `held`, what an earlier try gave is verified, and the provider is not asked again.
    ///
    /// # Errors
    /// When there are no new tokens, and whether there may be later.
    pub async fn refresh(&self, session: &Session, held: Option<Granted>) -> Result<Refreshed, RefreshFault> {
        self.oidc.refresh(session, held).await
    }

    /// Asks the token endpoint for a token of an upstream.
    ///
    /// # Errors
    /// When the provider refuses, can't be reached in time, or gives what can't be sent as a bearer token.
    pub async fn grant(&self, grant: &Grant) -> Result<Fetched, ProviderFault> {
        self.oidc.grant(grant).await
    }

    /// Where to send a browser to end the provider's own session (`OpenID` Connect RP-Initiated Logout 1.0, section 2);
    /// `None` when the provider has no such endpoint, or its metadata is not at hand.
    pub fn end_session(
        &self,
        id_token_hint: Option<&str>,
        post_logout_redirect_uri: &str,
        state: &str,
    ) -> Option<String> {
        self.oidc.end_session(id_token_hint, post_logout_redirect_uri, state)
    }

    /// When the person's proof of who they are is too old for the operator's `max_age`; never where there is none. Counted from the
    /// sign-in where the provider did not say when it was (`auth_time`). The leeway for clocks is the one of the check at the sign-in,
    /// so that what passed there is not over at once.
    pub fn proof_ends(&self, session: &Session) -> Timestamp {
        let settings = self.oidc.settings();
        settings.max_age.map_or(Timestamp::from_seconds(u64::MAX), |span| {
            session.authenticated.unwrap_or(session.created).after(span).after(settings.clock_skew)
        })
    }

    /// What a logout token says (`OpenID` Connect Back-Channel Logout 1.0, section 2.6). Asks nobody, and hears a token once.
    ///
    /// # Errors
    /// When the token is refused, or can't be judged yet. What comes before its keys may still hold: see [`Self::logged_out_later`].
    pub fn logged_out(&self, token: &str) -> Result<LoggedOut, LogoutTokenFault> {
        self.oidc.logged_out(token)
    }

    /// Waits for the provider's metadata and keys, three seconds at the most, where they are being read for the first time; whether they
    /// are there. Asks nobody.
    pub async fn is_soon_loaded(&self) -> bool {
        self.oidc.is_soon_loaded().await
    }

    /// What a logout token says that came before its keys, as soon as they are there; for the back office. Reads the keys anew where it
    /// has to, once in ten seconds at the most for all. Gives `None` when they do not verify it, and where two minutes brought none. There
    /// is nothing to wait for when too many wait already.
    pub fn logged_out_later(&self, token: &str) -> Option<impl Future<Output = Option<LoggedOut>> + Send + use<>> {
        OpenIdProvider::logged_out_later(&self.oidc, token)
    }

    /// Gives tokens back to the provider (RFC 7009), for the back office; `None` when there is nothing to give back, or nobody to give
    /// it to.
    pub fn revoke(&self, tokens: &Tokens) -> Option<impl Future<Output = ()> + Send + use<>> {
        OpenIdProvider::revoke(&self.oidc, tokens)
    }

    /// Where the provider's own pages may be, for whoever lets them frame an answer: the origins of its issuer and of its end-session
    /// endpoint.
    pub fn page_origins(&self) -> Vec<String> {
        self.oidc.page_origins()
    }

    /// Reads the provider's metadata and keys now, and anew every hour; sooner while it has none. Runs in the back
    /// office until this provider is dropped.
    pub fn keep_fresh(&self) -> impl Future<Output = ()> + Send + use<> {
        OpenIdProvider::keep_fresh(Arc::downgrade(&self.oidc))
    }

    /// Whether metadata and keys are at hand, for readiness reports.
    pub fn is_loaded(&self) -> bool {
        self.oidc.is_loaded()
    }
}
