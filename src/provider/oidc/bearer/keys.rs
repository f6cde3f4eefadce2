//! What is read of an issuer of access tokens: its keys, and where it may be asked about a token.
//!
//! Rules:
//! 1. Nobody waits for an issuer that is known to be down: for a second after a failure everyone gets that failure.
//! 2. What was read once goes on being used when reading it anew fails.
//! 3. A token with an unknown key has the key set read anew, once in ten seconds at the most.
//! 4. `issuer` in the metadata is the configured one, byte for byte (RFC 8414, section 3.3), and an endpoint that moves to another
//!    origin while we run is not followed.
//! 5. When the keys are others than before, their number grows, so that what was verified by the old ones is verified anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use http::StatusCode;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use crate::base::clock::instant;
use crate::config::settings::{BearerSettings, Introspection};
use crate::jose::json::parse_object;
use crate::jose::jwk::KeySet;
use crate::provider::oidc::calls::Calls;
use crate::provider::oidc::discovery::DOCUMENT_LIMIT;
use crate::provider::{Outbound, ProviderFault};

/// How long a failure is passed on without another try.
const FAIL_FAST: Duration = Duration::from_secs(1);
/// The least time between two readings of the key set for unknown keys.
const KEY_PACE: Duration = Duration::from_secs(10);

/// What was last read.
pub(super) struct Known {
    pub(super) keys: KeySet,
    /// Which reading of the keys these are; counted from 1.
    pub(super) number: u64,
    pub(super) introspection: Option<Url>,
    jwks: Option<Url>,
    digest: Vec<u8>,
}

/// The place where it is kept.
pub(super) struct Keys {
    provider: Arc<str>,
    issuer: String,
    home: Url,
    jwks: Option<Url>,
    introspection: Option<Url>,
    asks: Introspection,
    outbound: Outbound,
    known: ArcSwapOption<Known>,
    number: AtomicU64,
    reading: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    failed: Option<(Instant, ProviderFault)>,
    keys_asked: Option<Instant>,
}

impl Keys {
    pub(super) fn new(settings: &BearerSettings, home: Url, outbound: Outbound) -> Self {
        Self {
            provider: Arc::clone(&settings.issuer.name),
            issuer: settings.issuer.issuer.clone(),
            home,
            jwks: settings.jwks_url.clone(),
            introspection: settings.introspection_url.clone(),
            asks: settings.introspection,
            outbound,
            known: ArcSwapOption::empty(),
            number: AtomicU64::new(0),
            reading: Mutex::default(),
        }
    }

    /// Which reading of the keys is in use.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// What is known; reads it when nothing is yet.
    pub(super) async fn get(&self, calls: &Calls) -> Result<Arc<Known>, ProviderFault> {
        if let Some(known) = self.known.load_full() {
            return Ok(known);
        }
        let reading = self.reading.lock().await;
        // Somebody else may have read it while we waited for our turn.
        if let Some(known) = self.known.load_full() {
            return Ok(known);
        }
        if let Some((when, fault)) = &reading.failed
            && when.elapsed() < FAIL_FAST
        {
            return Err(fault.clone());
        }
        self.read(calls, reading).await
    }

    /// Reads everything anew. On failure what is known stays.
    pub(super) async fn renew(&self, calls: &Calls) -> Result<Arc<Known>, ProviderFault> {
        self.read(calls, self.reading.lock().await).await
    }

    /// Reads the key set anew, since `seen` had no key for a token. Gives what is known by then, which is `seen` itself when the last
    /// such reading is too short a time ago.
    pub(super) async fn renew_keys(&self, calls: &Calls, seen: &Arc<Known>) -> Result<Arc<Known>, ProviderFault> {
        let mut reading = self.reading.lock().await;
        let current = self.known.load_full().unwrap_or_else(|| Arc::clone(seen));
        let is_newer = !Arc::ptr_eq(&current, seen);
        let too_soon = reading.keys_asked.is_some_and(|when| when.elapsed() < KEY_PACE);
        if is_newer || too_soon {
            return Ok(current);
        }
        reading.keys_asked = Some(instant());
        tracing::info!(issuer = %self.provider, "an access token names an unknown key; reading the key set anew");
        self.read(calls, reading).await
    }

    async fn read(&self, calls: &Calls, mut reading: MutexGuard<'_, Reading>) -> Result<Arc<Known>, ProviderFault> {
        let before = self.known.load_full();
        match Box::pin(self.read_all(calls, before.as_deref())).await {
            Ok(known) => {
                reading.failed = None;
                let known = Arc::new(known);
                self.known.store(Some(Arc::clone(&known)));
                self.number.store(known.number, Ordering::Release);
                Ok(known)
            }
            Err(fault) => {
                reading.failed = Some((instant(), fault.clone()));
                Err(fault)
            }
        }
    }

    async fn read_all(&self, calls: &Calls, before: Option<&Known>) -> Result<Known, ProviderFault> {
        let verifies = self.asks != Introspection::Always;
        let asks = self.asks != Introspection::Never;
        let is_told = (!verifies || self.jwks.is_some()) && (!asks || self.introspection.is_some());
        let document = if is_told { Map::new() } else { self.document(calls).await? };
        let jwks = match &self.jwks {
            Some(url) => Some(url.clone()),
            None if verifies => {
                Some(self.endpoint(&document, "jwks_uri", before.and_then(|known| known.jwks.as_ref()))?)
            }
            None => None,
        };
        let introspection = match &self.introspection {
            Some(url) => Some(url.clone()),
            None if asks => {
                let first = before.and_then(|known| known.introspection.as_ref());
                let url = self.endpoint(&document, "introspection_endpoint", first)?;
                self.check_neighbours(&url)?;
                Some(url)
            }
            None => None,
        };
        let (keys, digest) = match &jwks {
            Some(url) => self.key_set(calls, url).await?,
            None => (KeySet::default(), Vec::new()),
        };
        let number = match before {
            Some(before) if before.digest == digest => before.number,
            Some(before) => before.number + 1,
            None => 1,
        };
        Ok(Known { keys, number, introspection, jwks, digest })
    }

    /// The metadata by `OpenID` Connect Discovery 1.0, section 4, or where there is none by RFC 8414, section 3.
    async fn document(&self, calls: &Calls) -> Result<Map<String, Value>, ProviderFault> {
        let base = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        let misread = |_| ProviderFault::misconfigured(&self.provider, "`issuer` is no URL");
        let url = Url::parse(&format!("{base}/.well-known/openid-configuration")).map_err(misread)?;
        let mut answer = calls.get("the discovery document", &url, None, DOCUMENT_LIMIT).await?;
        if answer.status == StatusCode::NOT_FOUND {
            let mut url = self.home.clone();
            let path = self.home.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
            answer = calls.get("the metadata", &url, None, DOCUMENT_LIMIT).await?;
        }
        if answer.status != StatusCode::OK {
            let status = answer.status.as_u16();
            let reason = format!("its metadata answered {status}; is `issuer` exactly what the provider calls itself?");
            return Err(ProviderFault::misconfigured(&self.provider, reason));
        }
        let untrusted = |reason: String| ProviderFault::untrusted(&self.provider, reason);
        let document = parse_object(&answer.body).map_err(|fault| untrusted(format!("its metadata: {fault}")))?;
        if document.get("issuer").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(untrusted("its metadata is of another issuer than the configured one".to_owned()));
        }
        Ok(document)
    }

    /// An endpoint that the metadata names: `https`, or `http` where the issuer itself is.
    fn endpoint(&self, document: &Map<String, Value>, name: &str, first: Option<&Url>) -> Result<Url, ProviderFault> {
        let url = document.get(name).and_then(Value::as_str).and_then(|text| Url::parse(text).ok());
        let fits = |url: &Url| {
            let secure = url.scheme() == "https" || (url.scheme() == "http" && self.home.scheme() == "http");
            secure
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
                && url.has_host()
        };
        let url = url.filter(fits).ok_or_else(|| {
            let key = if name == "jwks_uri" { "jwks_url" } else { "introspection_url" };
            let reason = format!("its metadata has no {name} that can be used; name it with `{key}`");
            ProviderFault::misconfigured(&self.provider, reason)
        })?;
        match first {
            Some(first) if first.origin() != url.origin() => {
                tracing::error!(issuer = %self.provider, endpoint = name,
                    "metadata moved an endpoint to another origin; the old one stays in use until a restart");
                Ok(first.clone())
            }
            _ => Ok(url),
        }
    }

    /// Our secret and callers' tokens go to no other configured provider's host.
    fn check_neighbours(&self, url: &Url) -> Result<(), ProviderFault> {
        let stranger = self.outbound.neighbours.stranger_at(&self.provider, &self.home.origin(), &url.origin());
        stranger.map_or(Ok(()), |stranger| {
            let reason = format!("its metadata names an endpoint at the host of provider `{stranger}`");
            Err(ProviderFault::untrusted(&self.provider, reason))
        })
    }

    async fn key_set(&self, calls: &Calls, url: &Url) -> Result<(KeySet, Vec<u8>), ProviderFault> {
        let answer = calls.get("the key set", url, None, DOCUMENT_LIMIT).await?;
        if answer.status != StatusCode::OK {
            let reason = format!("the key set's address answered {}", answer.status.as_u16());
            return Err(ProviderFault::untrusted(&self.provider, reason));
        }
        let keys = KeySet::parse(&answer.body);
        let keys = keys.map_err(|fault| ProviderFault::untrusted(&self.provider, fault.to_string()))?;
        Ok((keys, digest(&SHA256, &answer.body).as_ref().to_vec()))
    }
}
