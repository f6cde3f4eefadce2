//! An `OpenID` provider: its messages only, one file each. Where `openidconnect`'s types end: `library`.

mod answer;
mod authorize;
pub(super) mod bearer;
mod calls;
mod claims;
mod client_auth;
mod departure;
mod discovery;
mod end_session;
mod grant;
mod id_token;
mod known;
mod library;
mod logout_later;
mod logout_token;
mod redeem;
mod refresh;
mod revoke;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
mod userinfo;

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::base::clock::{Clock, Timestamp};
use crate::config::settings::{ClientAuthentication, ProviderSettings};
use crate::identity::principal::Principal;
use crate::jose::algorithm::Algorithm;
use crate::provider::oidc::calls::Calls;
use crate::provider::oidc::departure::Departures;
use crate::provider::oidc::discovery::Home;
use crate::provider::oidc::id_token::Nonce;
use crate::provider::oidc::known::{Book, Known};
use crate::provider::oidc::logout_token::Heard;
use crate::provider::{
    Answer, Begin, Begun, LoggedOut, LogoutTokenFault, Outbound, ProviderFault, RefreshFault, Refreshed, SignedIn,
};
use crate::session::flow::Pending;
use crate::session::model::{Granted, Session, Tokens};
use crate::token::grant::{Fetched, Grant};

/// How long what was read stays before it is read anew.
const FRESH: Duration = Duration::from_hours(1);
/// The first and the longest wait before another try after a failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// The most sign-outs whose tokens are being revoked at once. A provider that is down would let them pile up.
const MOST_REVOCATIONS: usize = 256;

/// One `OpenID` provider.
pub(crate) struct OpenIdProvider {
    settings: ProviderSettings,
    algorithms: Vec<Algorithm>,
    max_age: Option<u64>,
    clock: Clock,
    book: Book,
    departures: Departures,
    heard: Heard,
    /// Bounds the logout tokens that wait for keys.
    kept_logouts: Arc<Semaphore>,
    revocations: Arc<Semaphore>,
}

impl OpenIdProvider {
    /// A provider as the settings describe it.
    pub(super) fn new(settings: ProviderSettings, clock: Clock, outbound: Outbound) -> Result<Self, ProviderFault> {
        let misconfigured = |reason: &str| ProviderFault::misconfigured(&settings.name, reason);
        let url = issuer_url(&settings.issuer).ok_or_else(|| {
            misconfigured(
                "`issuer` is no https URL without user, query and fragment (http is for a provider on this machine)",
            )
        })?;
        let algorithms = settings
            .signing_algorithms
            .iter()
            .map(|name| {
                Algorithm::from_name(name)
                    .ok_or_else(|| misconfigured("`signing_algorithms` has one that is not supported"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            return Err(misconfigured("`signing_algorithms` is empty"));
        }
        if settings.client_authentication != ClientAuthentication::None && settings.client_secret.is_none() {
            return Err(misconfigured(
                "`client_secret` is missing; a public client has `client_authentication = \"none\"`",
            ));
        }
        if settings.authorization_parameters.keys().any(|name| authorize::RESERVED.contains(&name.as_str())) {
            return Err(misconfigured("`authorization_parameters` has one that the gateway sets itself"));
        }
        let max_age = settings.authorization_parameters.get("max_age").map(|text| text.parse());
        let max_age = max_age.transpose().map_err(|_| misconfigured("`max_age` is no whole number of seconds"))?;
        let calls = Calls::new(&settings, &url, outbound.proxies)?;
        let home = Home {
            provider: Arc::clone(&settings.name),
            issuer: settings.issuer.clone(),
            url,
            neighbours: outbound.neighbours,
        };
        Ok(Self {
            algorithms,
            max_age,
            clock,
            departures: Departures::default(),
            book: Book::new(home, calls),
            heard: Heard::new(),
            kept_logouts: Arc::new(Semaphore::new(logout_later::MOST_KEPT)),
            revocations: Arc::new(Semaphore::new(MOST_REVOCATIONS)),
            settings,
        })
    }

    pub(super) const fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.book.at_hand().is_some()
    }

    pub(super) async fn begin(&self, begin: Begin) -> Result<Begun, ProviderFault> {
        let known = self.book.get_answering().await?;
        self.depart(&known, &begin)
    }

    /// `None` when the provider has to be asked first.
    pub(super) fn begin_at_once(&self, begin: &Begin) -> Option<Result<Begun, ProviderFault>> {
        self.book.at_hand_answering().map(|known| self.depart(&known, begin))
    }

    fn depart(&self, known: &Arc<Known>, begin: &Begin) -> Result<Begun, ProviderFault> {
        let misconfigured =
            |problem: authorize::Problem| ProviderFault::misconfigured(&self.settings.name, problem.to_string());
        // What a visitor adds, or a rule wants, makes a kind of its own, which is not worth keeping.
        let is_usual = begin.parameters.is_empty() && begin.wanted.is_nothing();
        if is_usual {
            let pending = authorize::pending(&self.settings, begin).map_err(misconfigured)?;
            if let Some(url) = self.departures.url(known, begin, &pending) {
                return Ok(Begun { url, pending });
            }
        }
        let (url, pending) = authorize::begin(&self.settings, &known.metadata, begin).map_err(misconfigured)?;
        if is_usual {
            self.departures.keep(known, begin, &pending, &url);
        }
        Ok(Begun { url, pending })
    }

    pub(super) async fn finish(&self, pending: &Pending, answer: Answer) -> Result<SignedIn, ProviderFault> {
        let (settings, name) = (&self.settings, &self.settings.name);
        if pending.issuer != settings.issuer {
            return Err(ProviderFault::untrusted(name, "the sign-in was begun with another issuer"));
        }
        let known = self.book.get().await?;
        let code = answer::code(name, pending, known.metadata.answers_with_issuer, answer)?;
        let calls = self.book.calls();
        let asked = self.clock.now();
        let redeemed = redeem::redeem(settings, calls, &known.metadata, pending, code, asked).await?;
        let id_token = redeemed.id_token.unwrap_or_default();
        let expected = self.expected(Nonce::Sent(&pending.nonce), self.max_age);
        let tokens = (id_token.as_str(), redeemed.access_token.as_str());
        let verified = id_token::verify(name, &self.book, &known, tokens, &expected).await?;
        let userinfo = match &known.metadata.userinfo {
            Some(url) if userinfo::is_wanted(settings, &verified.claims) => {
                Some(userinfo::ask(name, calls, url, &redeemed.access_token, &verified.subject).await?)
            }
            _ => None,
        };
        let provider_session = id_token::provider_session(&verified.claims);
        // What is left out is as it was asked for (RFC 6749, section 5.1).
        let scopes = redeemed.scopes.unwrap_or_else(|| settings.scopes.clone());
        let principal = claims::principal(settings, &verified.subject, verified.claims, userinfo, scopes)
            .map_err(|claims::TooLarge| ProviderFault::untrusted(name, "the claims are larger than 64 KiB"))?;
        let tokens = Tokens {
            access_expires: redeemed.expires_in.map(|seconds| asked.after(Duration::from_secs(seconds))),
            access_token: Some(redeemed.access_token),
            refresh_token: redeemed.refresh_token,
            id_token: Some(id_token),
        };
        Ok(SignedIn {
            principal,
            tokens,
            obtained: asked,
            nonce: Some(pending.nonce.clone()),
            authenticated: verified.authenticated,
            provider_session,
        })
    }

    pub(super) async fn refresh(&self, session: &Session, held: Option<Granted>) -> Result<Refreshed, RefreshFault> {
        refresh::refresh(self, session, held).await
    }

    /// What an ID token of now must be.
    fn expected<'a>(&'a self, nonce: Nonce<'a>, max_age: Option<u64>) -> id_token::Expected<'a> {
        id_token::Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce,
            algorithms: &self.algorithms,
            max_age,
            now: self.clock.now(),
            skew: self.settings.clock_skew,
        }
    }

    pub(super) async fn grant(&self, grant: &Grant) -> Result<Fetched, ProviderFault> {
        let known = self.book.get().await?;
        grant::ask(&self.settings, self.book.calls(), &known.metadata, grant, &self.clock).await
    }

    pub(super) fn end_session(&self, hint: Option<&str>, return_to: &str, state: &str) -> Option<String> {
        let known = self.book.at_hand()?;
        let endpoint = known.metadata.end_session.as_ref()?;
        Some(end_session::url(endpoint, &self.settings.client_id, hint, return_to, state))
    }

    pub(super) fn page_origins(&self) -> Vec<String> {
        let issuer = Url::parse(&self.settings.issuer).ok().map(|url| url.origin());
        let known = self.book.at_hand();
        let end_session = known.and_then(|known| known.metadata.end_session.as_ref().map(Url::origin));
        let mut origins: Vec<String> =
            issuer.into_iter().chain(end_session).map(|origin| origin.ascii_serialization()).collect();
        origins.dedup();
        origins
    }

    /// Verifies a logout token with what is at hand.
    pub(super) fn logged_out(&self, token: &str) -> Result<LoggedOut, LogoutTokenFault> {
        let known = self.book.at_hand();
        let expected = logout_later::expected(self, self.clock.now());
        logout_token::verify(known.as_ref().map(|known| &known.keys), token, &expected, &self.heard)
    }

    pub(super) async fn is_soon_loaded(&self) -> bool {
        logout_later::is_soon_loaded(self).await
    }

    pub(super) fn logged_out_later(
        this: &Arc<Self>,
        token: &str,
    ) -> Option<impl Future<Output = Option<LoggedOut>> + Send + use<>> {
        logout_later::judge(this, token)
    }

    /// Gives tokens back; `None` when there is nothing to give back, or nobody to give it to.
    pub(super) fn revoke(this: &Arc<Self>, tokens: &Tokens) -> Option<impl Future<Output = ()> + Send + use<>> {
        let has_any = tokens.refresh_token.is_some() || tokens.access_token.is_some();
        if !has_any || !this.settings.revoke_tokens {
            return None;
        }
        let endpoint = this.book.at_hand()?.metadata.revocation.clone()?;
        let Ok(permit) = Arc::clone(&this.revocations).try_acquire_owned() else {
            tracing::warn!(provider = %this.settings.name, "too many tokens are being revoked; those of a sign-out end when they end");
            return None;
        };
        let (this, tokens) = (Arc::clone(this), tokens.clone());
        Some(async move {
            revoke::revoke(&this.settings, this.book.calls(), &endpoint, &tokens).await;
            drop(permit);
        })
    }

    /// Holds the provider only while it reads, so that one that a reload replaced can go.
    pub(super) async fn keep_fresh(provider: Weak<Self>) {
        let mut retry = RETRY.0;
        loop {
            let Some(this) = provider.upgrade() else { return };
            let outcome = this.book.renew().await;
            drop(this);
            let pause = match outcome {
                Ok(_) => {
                    retry = RETRY.0;
                    FRESH
                }
                Err(fault) => {
                    tracing::warn!(%fault, "can't read the provider's metadata and keys; trying again in {retry:?}");
                    let pause = retry;
                    retry = (retry * 2).min(RETRY.1);
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// Whom unverified claims would tell of: as after a sign-in, without `UserInfo`.
pub(super) fn principal_of(
    settings: &ProviderSettings,
    claims: Map<String, Value>,
) -> Result<(Principal, Option<Timestamp>), &'static str> {
    let subject = claims.get("sub").and_then(Value::as_str).ok_or("they need a text as `sub`")?.to_owned();
    let authenticated = match claims.get("auth_time") {
        None | Some(Value::Null) => None,
        Some(when) => Some(Timestamp::from_seconds(when.as_u64().ok_or("`auth_time` is no whole number of seconds")?)),
    };
    let mut claims = claims;
    let scopes = match claims.shift_remove("scope") {
        None => settings.scopes.clone(),
        Some(Value::String(scope)) => scope.split_ascii_whitespace().map(str::to_owned).collect(),
        Some(_) => return Err("`scope` is no text"),
    };
    let principal = claims::principal(settings, &subject, claims, None, scopes);
    principal.map(|principal| (principal, authenticated)).map_err(|claims::TooLarge| "they are larger than 64 KiB")
}

/// An issuer identifier is an `https` URL without query and fragment (`OpenID` Connect Core 1.0, section 1.2). Plain `http`
/// is for a provider on this machine: there is nobody between.
pub(super) fn issuer_url(issuer: &str) -> Option<Url> {
    let url = Url::parse(issuer).ok()?;
    let loopback = match url.host()? {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let secure = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (secure && plain).then_some(url)
}
