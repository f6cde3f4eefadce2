//! One issuer of access tokens that callers bring: verifies signed ones by its keys (RFC 9068), and asks it about others (RFC 7662).

mod introspect;
mod keys;
mod token;

use std::sync::{Arc, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use self::introspect::{Memory, Word};
use self::keys::Keys;
use self::token::{Expected, Said, Vouching};
use super::calls::Calls;
use super::claims;
use super::issuer_url;
use crate::base::clock::{Clock, Timestamp};
use crate::config::settings::{BearerSettings, Introspection, TokenFormat};
use crate::identity::principal::Principal;
use crate::identity::vouched::{Binding, Vouched};
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::{Jwk, KeySet};
use crate::jose::jws::{Jws, JwsFault};
use crate::provider::bearer::BearerFault;
use crate::provider::{Outbound, ProviderFault};

/// The longest token that is looked at, in bytes.
pub(in crate::provider) const LONGEST: usize = 16 * 1024;
/// What an access token's header may call it. Other kinds have names of their own.
const KINDS: &[&str] = &["JWT", "JOSE", "at+jwt"];
/// How many keys are tried for a token that names none.
const MOST_KEYS: usize = 10;
/// Claims about the token that aren't kept with the principal.
const PROTOCOL: &[&str] = &["active", "cnf", "scope", "scp", "token_type", "token_use", "typ"];
/// How long what was read stays before it is read anew, and the wait after a failure.
const FRESH: Duration = Duration::from_hours(1);
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// What is said of a token without a key, where that is asked for.
const UNBOUND: &str = "the token is bound to no key, and this issuer's have to be (cnf)";
/// What is said of a signature that no key at hand made.
const UNKNOWN_KEY: &str = "the token is signed with a key that is not in the issuer's key set";

/// One issuer of access tokens.
pub(in crate::provider) struct TokenIssuer {
    index: usize,
    settings: BearerSettings,
    algorithms: Vec<Algorithm>,
    clock: Clock,
    calls: Calls,
    keys: Keys,
    memory: Memory,
}

/// What a text that came as a token is.
pub(in crate::provider) enum Form<'t> {
    /// A signed token whose form is right, with the issuer that it names.
    Signed(Box<Jws<'t>>, Option<String>),
    /// A signed token that breaks a rule of its form.
    Malformed,
    /// Anything else: only its issuer knows what it means.
    Opaque,
}

impl<'t> Form<'t> {
    /// What `token` is.
    pub(in crate::provider) fn of(token: &'t str) -> Self {
        match Jws::parse(token, LONGEST, KINDS) {
            Ok(jws) => {
                let issuer = jws.unverified_claims().get("iss").and_then(Value::as_str).map(str::to_owned);
                Self::Signed(Box::new(jws), issuer)
            }
            Err(JwsFault::NotCompact) if !looks_signed(token) => Self::Opaque,
            Err(_) if looks_signed(token) => Self::Malformed,
            Err(_) => Self::Opaque,
        }
    }
}

/// Whether a text is meant to be a JWS: three parts, the first of which is a JSON object with an `alg`.
fn looks_signed(token: &str) -> bool {
    let mut parts = token.split('.');
    let (header, rest) = (parts.next().unwrap_or_default(), parts.count());
    let header = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    rest == 2 && serde_json::from_slice::<Map<String, Value>>(&header).is_ok_and(|header| header.contains_key("alg"))
}

enum Signature {
    Fits(u64),
    UnknownKey,
}

impl TokenIssuer {
    pub(in crate::provider) fn new(
        index: usize,
        settings: BearerSettings,
        clock: Clock,
        outbound: Outbound,
    ) -> Result<Self, ProviderFault> {
        let misconfigured = |reason: &str| ProviderFault::misconfigured(&settings.name, reason);
        let home = issuer_url(&settings.issuer.issuer).ok_or_else(|| misconfigured("`issuer` is no https URL"))?;
        let algorithms: Vec<Algorithm> =
            settings.issuer.signing_algorithms.iter().filter_map(|name| Algorithm::from_name(name)).collect();
        if algorithms.len() != settings.issuer.signing_algorithms.len() || algorithms.is_empty() {
            return Err(misconfigured("`signing_algorithms` has one that is not supported, or none"));
        }
        let calls = Calls::new(&settings.issuer, &home, Arc::clone(&outbound.proxies))?;
        let keys = Keys::new(&settings, home, outbound);
        Ok(Self { index, algorithms, clock, calls, keys, memory: Memory::new(), settings })
    }

    pub(in crate::provider) const fn settings(&self) -> &BearerSettings {
        &self.settings
    }

    /// Which reading of its keys is in use.
    pub(in crate::provider) fn keys_number(&self) -> u64 {
        self.keys.number()
    }

    /// Whether a text of this form may be a token of this issuer.
    pub(in crate::provider) fn may_be_of(&self, form: &Form<'_>) -> bool {
        match form {
            Form::Signed(_, issuer) => issuer.as_deref() == Some(self.settings.issuer.issuer.as_str()),
            Form::Malformed => false,
            Form::Opaque => self.settings.introspection != Introspection::Never,
        }
    }

    /// What `token` says, if it holds.
    pub(in crate::provider) async fn vouch(&self, token: &str, form: &Form<'_>) -> Result<Vouched, BearerFault> {
        let vouched = match form {
            Form::Signed(jws, _) if self.settings.introspection != Introspection::Always => self.verify(jws).await?,
            _ => self.introspect(token).await?,
        };
        if self.settings.dpop_required && vouched.binding.key.is_none() {
            return Err(BearerFault::Refused(UNBOUND));
        }
        Ok(vouched)
    }

    async fn verify(&self, jws: &Jws<'_>) -> Result<Vouched, BearerFault> {
        if !self.algorithms.contains(&jws.algorithm()) {
            return Err(BearerFault::Refused("the token is signed in a way that `signing_algorithms` does not list"));
        }
        let strict = jws.kind() == Some("at+jwt");
        if self.settings.format == TokenFormat::AtJwt && !strict {
            return Err(BearerFault::Refused("the token does not say that it is an access token (typ at+jwt)"));
        }
        let known = self.keys.get(&self.calls).await?;
        let mut signature = check_signature(&known.keys, known.number, jws)?;
        if matches!(signature, Signature::UnknownKey) {
            let renewed = self.keys.renew_keys(&self.calls, &known).await?;
            signature = check_signature(&renewed.keys, renewed.number, jws)?;
        }
        let Signature::Fits(number) = signature else { return Err(BearerFault::Refused(UNKNOWN_KEY)) };
        self.conclude(jws.unverified_claims(), Vouching::Signature { strict }, number).map_err(BearerFault::Refused)
    }

    async fn introspect(&self, token: &str) -> Result<Vouched, BearerFault> {
        let asked = async {
            let known = self.keys.get(&self.calls).await?;
            let url = known.introspection.as_ref();
            let url = url.ok_or_else(|| ProviderFault::misconfigured(&self.settings.name, "nobody can be asked"))?;
            Ok(match introspect::ask(&self.settings.issuer, &self.calls, url, token).await? {
                None => Word::bad("the issuer says that the token is not active"),
                Some((claims, size)) => match self.conclude(&claims, Vouching::Issuer, known.number) {
                    Ok(vouched) => {
                        let life = vouched.until.since(self.clock.now());
                        Word::good(vouched, life, size)
                    }
                    Err(reason) => Word::bad(reason),
                },
            })
        };
        let word = self.memory.of(token, asked).await?;
        word.said.map(|vouched| (*vouched).clone()).map_err(BearerFault::Refused)
    }

    /// Checks what is said, and makes the principal of it.
    fn conclude(&self, claims: &Map<String, Value>, vouched_by: Vouching, keys: u64) -> Result<Vouched, &'static str> {
        let now = self.clock.now();
        let (principal, said) = caller(&self.settings, claims, vouched_by, now)?;
        let until = match (said.expires.map(|end| end.after(self.settings.issuer.clock_skew)), vouched_by) {
            (Some(end), Vouching::Signature { .. }) => end,
            (end, _) => {
                let longest = now.after(self.settings.introspection_cache);
                end.map_or(longest, |end| end.min(longest))
            }
        };
        Ok(Vouched {
            issuer: self.index,
            keys,
            principal,
            authenticated: said.authenticated,
            until,
            binding: said.binding,
        })
    }

    /// Reads metadata and keys now, and anew every hour; sooner while there are none. Holds the issuer only while it reads.
    pub(in crate::provider) async fn keep_fresh(issuer: Weak<Self>) {
        let mut retry = RETRY.0;
        loop {
            let Some(this) = issuer.upgrade() else { return };
            let outcome = this.keys.renew(&this.calls).await;
            drop(this);
            let pause = match outcome {
                Ok(_) => {
                    retry = RETRY.0;
                    FRESH
                }
                Err(fault) => {
                    tracing::warn!(%fault, "can't read what is needed to check access tokens; trying again in {retry:?}");
                    let pause = retry;
                    retry = (retry * 2).min(RETRY.1);
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// Whom a claim set speaks for, and what else it says, when `vouched_by` vouches for it.
fn caller(
    settings: &BearerSettings,
    claims: &Map<String, Value>,
    vouched_by: Vouching,
    now: Timestamp,
) -> Result<(Principal, Said), &'static str> {
    let issuer = &settings.issuer;
    let expected = Expected {
        issuer: &issuer.issuer,
        audience: &settings.audience,
        client_id: &issuer.client_id,
        vouched_by,
        now,
        skew: issuer.clock_skew,
    };
    let mut said = token::check(claims, &expected)?;
    let mut kept = claims.clone();
    for name in PROTOCOL {
        kept.shift_remove(*name);
    }
    if let (false, Some(name)) = (kept.contains_key("preferred_username"), kept.get("username").cloned()) {
        kept.insert("preferred_username".to_owned(), name);
    }
    let scopes = std::mem::take(&mut said.scopes);
    let mut principal = claims::principal(issuer, &said.subject, kept, None, scopes)
        .map_err(|claims::TooLarge| "the token's claims are larger than 64 KiB")?;
    // In an ID token that is always our own client; here it is the caller's, for which some issuers have no `client_id`.
    if let Some(client) = claims.get("azp") {
        principal.claims.insert("azp".to_owned(), client.clone());
    }
    Ok((principal, said))
}

/// What the claims of a token would say, had its signature been verified. Nothing is.
pub(in crate::provider) fn unverified(
    settings: &BearerSettings,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<(Principal, Option<Timestamp>, Binding), &'static str> {
    let vouched_by = Vouching::Signature { strict: settings.format == TokenFormat::AtJwt };
    let (principal, said) = caller(settings, claims, vouched_by, now)?;
    if settings.dpop_required && said.binding.key.is_none() {
        return Err(UNBOUND);
    }
    Ok((principal, said.authenticated, said.binding))
}

/// Tries the keys that may have signed. A token without `kid` may be tried with several.
fn check_signature(keys: &KeySet, number: u64, jws: &Jws<'_>) -> Result<Signature, BearerFault> {
    let candidates: Vec<&Jwk> = keys.candidates(jws.key_id(), jws.algorithm()).take(MOST_KEYS).collect();
    if candidates.iter().any(|key| jws.verify(key).is_ok()) {
        return Ok(Signature::Fits(number));
    }
    if candidates.is_empty() || jws.key_id().is_none() {
        return Ok(Signature::UnknownKey);
    }
    Err(BearerFault::Refused("the token's signature does not fit"))
}
