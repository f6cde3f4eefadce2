//! What we know of a provider: metadata and keys, read by one task at a time, kept while the provider is away.
//!
//! Rules, each with a test:
//! 1. Nobody waits for a provider that is known to be down: for a second after a failure everyone gets that failure.
//! 2. What was read once goes on being used when reading it anew fails.
//! 3. Nobody is sent to sign in at a provider that does not answer: one that was silent for a while is asked first.
//! 4. A token with an unknown key has the key set read anew, once in ten seconds at the most, so that forged tokens can't
//!    make us flood the provider (`OpenID` Connect Core 1.0, section 10.1.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::StatusCode;
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::calls::Calls;
use super::discovery::{DOCUMENT_LIMIT, Home, Metadata};
use crate::base::clock::instant;
use crate::jose::jwk::KeySet;
use crate::provider::ProviderFault;

/// How long a failure is passed on without another try.
const FAIL_FAST: Duration = Duration::from_secs(1);
/// The least time between two readings of the key set for unknown keys.
pub(super) const KEY_PACE: Duration = Duration::from_secs(10);

/// How long after hearing of a provider it is taken to be there.
const TRUST_IN_LIFE: Duration = Duration::from_secs(5);
/// How long the question whether it is there may take.
const LONGEST_PROBE: Duration = Duration::from_secs(3);

/// Metadata and keys as last read.
pub(super) struct Known {
    pub(super) metadata: Metadata,
    pub(super) keys: KeySet,
}

/// The place where they are kept.
pub(super) struct Book {
    home: Home,
    calls: Calls,
    known: ArcSwapOption<Known>,
    /// Tells whoever waits that something was read.
    news: Notify,
    reading: Mutex<Reading>,
    heard: Heard,
}

/// What the one that reads has to remember.
#[derive(Default)]
struct Reading {
    failed: Option<(Instant, ProviderFault)>,
    first_seen: Option<Metadata>,
    keys_asked: Option<Instant>,
}

/// When the provider was last heard of, to be asked by every thread without waiting.
struct Heard {
    since: Instant,
    /// Milliseconds after `since`, and one; zero when it was never heard of.
    at: AtomicU64,
}

impl Heard {
    fn now(&self) {
        let after = u64::try_from(instant().duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        self.at.store(after.saturating_add(1), Ordering::Relaxed);
    }

    fn is_lately(&self) -> bool {
        let Some(at) = self.at.load(Ordering::Relaxed).checked_sub(1) else { return false };
        instant().duration_since(self.since) < Duration::from_millis(at).saturating_add(TRUST_IN_LIFE)
    }
}

impl Book {
    /// An empty book.
    pub(super) fn new(home: Home, calls: Calls) -> Self {
        let heard = Heard { since: instant(), at: AtomicU64::new(0) };
        Self { home, calls, known: ArcSwapOption::empty(), news: Notify::new(), reading: Mutex::default(), heard }
    }

    /// Our line to the provider.
    pub(super) const fn calls(&self) -> &Calls {
        &self.calls
    }

    /// What is known, without asking anyone.
    pub(super) fn at_hand(&self) -> Option<Arc<Known>> {
        self.known.load_full()
    }

    /// What is known, as soon as somebody else has read it. Asks nobody.
    pub(super) async fn arrival(&self) -> Arc<Known> {
        loop {
            // Made before the look, it hears of what is read after the look.
            let news = self.news.notified();
            if let Some(known) = self.at_hand() {
                return known;
            }
            news.await;
        }
    }

    /// Whether nothing was read yet and somebody is about it; the first reading begins with the process.
    pub(super) fn is_first_reading(&self) -> bool {
        self.at_hand().is_none() && self.reading.try_lock().map_or(true, |reading| reading.failed.is_none())
    }

    /// What is known of a provider that was heard of lately, without asking or waiting for anyone.
    pub(super) fn at_hand_answering(&self) -> Option<Arc<Known>> {
        if self.heard.is_lately() { self.at_hand() } else { None }
    }

    /// What is known; reads it when nothing is yet.
    pub(super) async fn get(&self) -> Result<Arc<Known>, ProviderFault> {
        if let Some(known) = self.at_hand() {
            return Ok(known);
        }
        let reading = self.reading.lock().await;
        // Somebody else may have read it while we waited for our turn.
        if let Some(known) = self.at_hand() {
            return Ok(known);
        }
        if let Some((when, fault)) = &reading.failed
            && when.elapsed() < FAIL_FAST
        {
            return Err(fault.clone());
        }
        self.read(reading).await
    }

    /// What is known of a provider that is there: one that was not heard of lately is asked first, so that nobody is sent to
    /// an address where no one answers.
    pub(super) async fn get_answering(&self) -> Result<Arc<Known>, ProviderFault> {
        let known = self.get().await?;
        let mut reading = self.reading.lock().await;
        if self.heard.is_lately() {
            return Ok(known);
        }
        if let Some((when, fault)) = &reading.failed
            && when.elapsed() < FAIL_FAST
        {
            return Err(fault.clone());
        }
        let outcome = tokio::time::timeout(LONGEST_PROBE, self.home.read(&self.calls)).await.unwrap_or_else(|_| {
            let reason = format!("its discovery document did not come within {LONGEST_PROBE:?}");
            Err(ProviderFault::unavailable(&self.home.provider, reason))
        });
        if let Err(fault @ ProviderFault::Unavailable { .. }) = outcome {
            reading.failed = Some((instant(), fault.clone()));
            return Err(fault);
        }
        // Whatever else it said: it is there, and what was read and checked before goes on being used.
        self.heard.now();
        drop(reading);
        Ok(known)
    }

    /// Reads everything anew. On failure what is known stays.
    pub(super) async fn renew(&self) -> Result<Arc<Known>, ProviderFault> {
        self.read(self.reading.lock().await).await
    }

    /// Reads the key set anew, since `seen` had no key for a token. Gives what is known by then, which is `seen` itself
    /// when the last such reading is too short a time ago.
    pub(super) async fn renew_keys(&self, seen: &Arc<Known>) -> Result<Arc<Known>, ProviderFault> {
        let mut reading = self.reading.lock().await;
        let current = self.at_hand().unwrap_or_else(|| Arc::clone(seen));
        let newer = !Arc::ptr_eq(&current, seen);
        let too_soon = reading.keys_asked.is_some_and(|when| when.elapsed() < KEY_PACE);
        if newer || too_soon {
            return Ok(current);
        }
        reading.keys_asked = Some(instant());
        tracing::info!(provider = %self.home.provider, "a token names an unknown key; reading the key set anew");
        let keys = self.read_keys(&current.metadata).await?;
        let known = self.keep(Known { metadata: current.metadata.clone(), keys });
        drop(reading);
        Ok(known)
    }

    async fn read(&self, mut reading: MutexGuard<'_, Reading>) -> Result<Arc<Known>, ProviderFault> {
        let outcome = Box::pin(self.read_all(reading.first_seen.as_ref())).await;
        match outcome {
            Ok(known) => {
                reading.failed = None;
                self.heard.now();
                let first = reading.first_seen.take();
                reading.first_seen = Some(match first {
                    Some(first) => first.filled_from(&known.metadata),
                    None => known.metadata.clone(),
                });
                Ok(self.keep(known))
            }
            Err(fault) => {
                reading.failed = Some((instant(), fault.clone()));
                Err(fault)
            }
        }
    }

    fn keep(&self, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        self.known.store(Some(Arc::clone(&known)));
        self.news.notify_waiters();
        known
    }

    async fn read_all(&self, first_seen: Option<&Metadata>) -> Result<Known, ProviderFault> {
        let mut metadata = self.home.read(&self.calls).await?;
        if let Some(first) = first_seen {
            let (held, moved) = metadata.held_to(first);
            for endpoint in moved {
                tracing::error!(
                    provider = %self.home.provider,
                    endpoint,
                    "metadata moved an endpoint to another origin; the old one stays in use until a restart"
                );
            }
            metadata = held;
        }
        self.home.check_neighbours(&metadata)?;
        let keys = self.read_keys(&metadata).await?;
        Ok(Known { metadata, keys })
    }

    async fn read_keys(&self, metadata: &Metadata) -> Result<KeySet, ProviderFault> {
        let provider = &self.home.provider;
        let answer = self.calls.get("the key set", &metadata.jwks, None, DOCUMENT_LIMIT).await?;
        if answer.status != StatusCode::OK {
            let reason = format!("the key set's address answered {}", answer.status.as_u16());
            return Err(ProviderFault::untrusted(provider, reason));
        }
        // A set without keys is no reason to turn people away yet: the first token that it can't verify has it read anew.
        KeySet::parse(&answer.body).map_err(|fault| ProviderFault::untrusted(provider, fault.to_string()))
    }
}

#[cfg(test)]
mod tests;
