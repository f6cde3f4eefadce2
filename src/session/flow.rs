//! The flow: one sign-in on its way, kept in a sealed cookie of its own, one per tab.
//!
//! 1. A sign-in ends in the browser that began it: the answer's `state` has to be that of a flow in its cookies.
//! 2. A flow works once. The browser's copy is cleared by the answer that takes it, and this process remembers which were
//!    used; the provider's code works once as well (RFC 6749, section 4.1.2).
//! 3. A browser holds six flows at the most; what is stale or does not open goes first, then the oldest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::names::{CookieKind, CookieNames};
use super::set_cookie::{self, Unwritable};
use crate::base::clock::Timestamp;
use crate::config::settings::SessionSettings;
use crate::http::cookie_scan;
use crate::policy::wanted::Wanted;
use crate::seal::aead::{Purpose, SealError};
use crate::seal::keyring::Keyring;

/// The first byte of a flow inside its seal. Any change to [`Flow`] or [`Pending`] takes the next number.
const FORMAT: u8 = 2;
/// Room for a flow that returns to a page with a path of usual length.
const USUAL_BYTES: usize = 512;
/// The most flows that a browser holds at once: so many tabs may be signing in.
const MAX_FLOWS: usize = 6;
/// The most cookies of flows that one request is searched for, and one answer clears.
const MAX_SEEN: usize = 128;
/// The most used flows that are remembered. Whoever pushes one out by using so many others gains a replay of their own.
const MAX_USED: u64 = 100_000;

/// What the provider's answer must match. Written to no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The issuer that the request went to (RFC 9207, section 2.4).
    pub issuer: String,
    /// `state`: 43 base64url characters (RFC 6749, section 10.12).
    pub state: String,
    /// `nonce` of the ID token (`OpenID` Connect Core 1.0, section 3.1.2.1).
    pub nonce: String,
    /// The PKCE verifier (RFC 7636, section 4.1).
    pub verifier: String,
    /// The redirect URI, repeated exactly at the token endpoint (RFC 6749, section 4.1.3).
    pub redirect_uri: String,
    /// What was asked of the sign-in besides that it is one (RFC 9470).
    pub wanted: Wanted,
}

/// One sign-in on its way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The provider's name in our config.
    pub provider: Arc<str>,
    /// What the answer must match.
    pub pending: Pending,
    /// Where the browser wanted to go: a path with query on this site, or a URL at a configured origin.
    pub return_to: String,
    /// When it began.
    pub started: Timestamp,
    /// How many sign-ins in a row were begun because a rule wanted more of them, this one included.
    pub round: u8,
}

/// Remembers which flows were used, so that none works twice. Its copies share one memory; it should outlive a reload.
#[derive(Clone, Debug)]
pub struct UsedFlows {
    states: Cache<[u8; 32], ()>,
}

/// Reads and writes the flows' cookies on one site.
#[derive(Clone, Debug)]
pub struct FlowCookies {
    keyring: Arc<Keyring>,
    names: CookieNames,
    lifetime: Duration,
    secure: bool,
    used: UsedFlows,
}

/// The cookie of a flow as it came.
struct Sent<'a> {
    /// Its place among them.
    place: usize,
    /// Its value; none when it came with two.
    value: Option<&'a [u8]>,
}

/// Why a flow could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// It can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It does not fit a cookie, even without the page to return to.
    #[error("the sign-in's cookie would be larger than browsers take; the issuer or the redirect URI is too long")]
    TooLarge,
    /// The cookie's name can't be written.
    #[error(transparent)]
    Name(#[from] Unwritable),
}

/// Why a provider's answer belongs to no flow of this browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowProblem {
    /// This browser began no such sign-in, or its cookie is gone.
    #[error("no sign-in with this state was begun in this browser")]
    Unknown,
    /// It took too long.
    #[error("the sign-in took too long")]
    Stale,
    /// It was begun with another provider (RFC 9207, section 1: mix-up).
    #[error("the sign-in was begun with another provider")]
    OtherProvider,
    /// It was used already.
    #[error("the sign-in was used already")]
    Used,
}

impl UsedFlows {
    /// A memory of what was used within `lifetime`, the longest that a flow works.
    pub fn new(lifetime: Duration) -> Self {
        // The policy admits every newcomer, which the cache's default would not.
        let states = Cache::builder()
            .max_capacity(MAX_USED)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(lifetime.saturating_add(Duration::from_mins(1)).min(Duration::from_hours(24)))
            .build();
        Self { states }
    }

    /// Whether this is the first use of `state`; the next one is not.
    fn is_first(&self, state: &str) -> bool {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, state.as_bytes()).as_ref());
        self.states.entry(hash).or_insert(()).is_fresh()
    }
}

impl FlowCookies {
    /// Cookies as `settings` say, sealed with `keyring`. `secure` says that browsers reach this site over TLS.
    pub fn new(keyring: Arc<Keyring>, settings: &SessionSettings, secure: bool, used: UsedFlows) -> Self {
        Self {
            keyring,
            names: CookieNames::new(&settings.cookie_name, secure),
            lifetime: settings.flow_lifetime,
            secure,
            used,
        }
    }

    /// The `Set-Cookie` values that put `flow` into the browser that sent `headers`, and clear what is too much there.
    /// A page to return to that is too long for a cookie becomes `/`.
    ///
    /// # Errors
    /// When the flow can't be sealed or fits no cookie.
    pub fn begin(
        &self,
        flow: &Flow,
        headers: &HeaderMap,
        site_host: &str,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, FlowError> {
        let name = self.names.flow(&flow.pending.state);
        let value = if let Some(value) = self.seal(flow, &name, site_host)? {
            value
        } else {
            let shorter = Flow { return_to: "/".to_owned(), ..flow.clone() };
            self.seal(&shorter, &name, site_host)?.ok_or(FlowError::TooLarge)?
        };
        let life = flow.started.after(self.lifetime).since(now);
        let mut cookies = vec![set_cookie::set(&name, &value, self.secure, life)?];
        let surplus = self.surplus(headers, site_host, now);
        cookies.extend(surplus.into_iter().filter(|old| *old != name).filter_map(|old| self.cleared(&old)));
        Ok(cookies)
    }

    /// The flow in this browser that a provider's answer with `state` belongs to, and the `Set-Cookie` values that clear
    /// it. It is used up, whatever comes of it.
    ///
    /// # Errors
    /// When there is none, or it is stale, of another provider, or used. A provider that is not the flow's leaves the
    /// flow as it is.
    pub fn take(
        &self,
        headers: &HeaderMap,
        site_host: &str,
        provider: &str,
        state: &str,
        now: Timestamp,
    ) -> Result<(Flow, Vec<HeaderValue>), FlowProblem> {
        let name = self.names.flow(state);
        let value = one_value(headers, &name).ok_or(FlowProblem::Unknown)?;
        let flow = self.open(value, &name, site_host).ok_or(FlowProblem::Unknown)?;
        // The name is a short hash of the state; what counts is the state itself.
        verify_slices_are_equal(flow.pending.state.as_bytes(), state.as_bytes()).map_err(|_| FlowProblem::Unknown)?;
        if *flow.provider != *provider {
            return Err(FlowProblem::OtherProvider);
        }
        if self.is_stale(&flow, now) {
            return Err(FlowProblem::Stale);
        }
        if !self.used.is_first(state) {
            return Err(FlowProblem::Used);
        }
        Ok((flow, self.cleared(&name).into_iter().collect()))
    }

    /// The `Set-Cookie` values that clear every flow that the browser sent.
    pub fn clear_all(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        self.sent(headers).keys().filter_map(|name| self.cleared(name)).collect()
    }

    /// The names of the flows that have to go so that one more makes [`MAX_FLOWS`] at the most.
    fn surplus(&self, headers: &HeaderMap, site_host: &str, now: Timestamp) -> Vec<String> {
        let mut gone = Vec::new();
        let mut kept = Vec::new();
        for (name, sent) in self.sent(headers) {
            let flow = sent.value.and_then(|value| self.open(value, name, site_host));
            match flow.filter(|flow| !self.is_stale(flow, now)) {
                // Flows of one second are told apart by their place: browsers send older cookies first (RFC 6265, section 5.4).
                Some(flow) => kept.push((flow.started, sent.place, name)),
                None => gone.push(name.to_owned()),
            }
        }
        kept.sort_unstable();
        let too_many = kept.len().saturating_sub(MAX_FLOWS - 1);
        gone.extend(kept.iter().take(too_many).map(|(_, _, name)| (*name).to_owned()));
        gone
    }

    /// The flows that the browser sent, by name, at most [`MAX_SEEN`].
    fn sent<'a>(&self, headers: &'a HeaderMap) -> BTreeMap<&'a str, Sent<'a>> {
        let mut sent = BTreeMap::new();
        for (name, value) in cookie_scan::pairs(headers) {
            if self.names.kind(name) == Some(CookieKind::Flow)
                && let Ok(name) = std::str::from_utf8(name)
                && (sent.len() < MAX_SEEN || sent.contains_key(name))
            {
                let place = sent.len();
                let known = sent.entry(name).or_insert(Sent { place, value: Some(value) });
                if known.value != Some(value) {
                    known.value = None;
                }
            }
        }
        sent
    }

    /// The cookie's value; `None` when it is too long for a cookie.
    fn seal(&self, flow: &Flow, name: &str, site_host: &str) -> Result<Option<String>, FlowError> {
        let mut plain = Vec::with_capacity(USUAL_BYTES);
        plain.push(FORMAT);
        let plain = postcard::to_extend(flow, plain).map_err(|_| FlowError::TooLarge)?;
        let sealed = self.keyring.seal(Purpose::Flow, &[name.as_bytes(), site_host.as_bytes()], &plain)?;
        let value = URL_SAFE_NO_PAD.encode(sealed);
        Ok((value.len() <= set_cookie::room(name.len())).then_some(value))
    }

    /// Whether a flow in these headers is sealed with a key that is not known here.
    pub fn lacks_key(&self, headers: &HeaderMap) -> bool {
        let mut values = self.sent(headers).into_values().filter_map(|sent| sent.value);
        values.any(|value| URL_SAFE_NO_PAD.decode(value).is_ok_and(|sealed| self.keyring.lacks_key_of(&sealed)))
    }

    fn open(&self, value: &[u8], name: &str, site_host: &str) -> Option<Flow> {
        let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        let opened = self.keyring.open(Purpose::Flow, &[name.as_bytes(), site_host.as_bytes()], &sealed)?;
        let (&[FORMAT], plain) = opened.plain.split_first_chunk::<1>()? else { return None };
        let (flow, rest) = postcard::take_from_bytes(plain).ok()?;
        rest.is_empty().then_some(flow)
    }

    fn is_stale(&self, flow: &Flow, now: Timestamp) -> bool {
        now >= flow.started.after(self.lifetime)
    }

    fn cleared(&self, name: &str) -> Option<HeaderValue> {
        set_cookie::clear(name, self.secure)
    }
}

/// The value of the cookie `name`, unless it came with two.
fn one_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = cookie_scan::pairs(headers).filter(|(sent, _)| *sent == name.as_bytes()).map(|(_, value)| value);
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}
