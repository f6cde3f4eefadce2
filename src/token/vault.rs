//! Tokens that were fetched, shared by all workers: each is fetched once, by one task, and kept until shortly before it ends.
//!
//! Rules, each with a test:
//! 1. Of one token at most one request is under way; whoever else wants it waits for that one.
//! 2. A refusal is remembered for a moment, so that a provider that is down is not asked by every request.
//! 3. What is kept is bounded by its weight. What is forgotten is fetched again.

use std::future::Future;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use super::grant::{Fetched, Key};
use crate::base::clock::{Clock, Timestamp};

/// The most that is kept, in bytes.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// How long a refusal is remembered.
const REFUSED: Duration = Duration::from_secs(2);

/// Tokens that were fetched; `E` is why one could not be.
#[derive(Clone)]
pub struct Vault<E> {
    kept: Cache<Key, Outcome<E>>,
    clock: Clock,
}

#[derive(Clone)]
struct Outcome<E> {
    result: Result<Fetched, E>,
    until: Timestamp,
    /// How long it is kept at the most, whatever the clock does.
    span: Duration,
}

struct ByOutcome;

impl<E> Expiry<Key, Outcome<E>> for ByOutcome {
    fn expire_after_create(&self, _key: &Key, outcome: &Outcome<E>, _now: Instant) -> Option<Duration> {
        Some(outcome.span)
    }

    fn expire_after_update(
        &self,
        _key: &Key,
        outcome: &Outcome<E>,
        _now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(outcome.span)
    }
}

impl<E: Clone + Send + Sync + 'static> Vault<E> {
    /// An empty vault.
    pub fn new(clock: Clock) -> Self {
        let weigh = |_: &Key, outcome: &Outcome<E>| outcome.result.as_ref().map_or(512, Fetched::weight);
        Self { kept: Cache::builder().max_capacity(MOST_BYTES).weigher(weigh).expire_after(ByOutcome).build(), clock }
    }

    /// The token of this key: the one that is kept, or else what `fetch` brings.
    ///
    /// # Errors
    /// What `fetch` says, now or a moment ago.
    pub async fn get<F>(&self, key: Key, fetch: F) -> Result<Fetched, E>
    where
        F: Future<Output = Result<Fetched, E>> + Send,
    {
        let clock = self.clock.clone();
        let filling = async {
            let result = fetch.await;
            let now = clock.now();
            let until = result.as_ref().map_or_else(|_| now.after(REFUSED), Fetched::renew);
            // A token that is as good as over still serves those who wait for it.
            Outcome { result, until, span: until.since(now).max(Duration::from_secs(1)) }
        };
        let now = self.clock.now();
        let entry = self.kept.entry(key).or_insert_with_if(Box::pin(filling), |kept| now >= kept.until).await;
        entry.into_value().result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::config::settings::Target;
    use crate::token::grant::{Grant, Whose};

    struct Desk {
        vault: Vault<String>,
        clock: Clock,
        asked: Arc<AtomicUsize>,
    }

    fn desk() -> Desk {
        let clock = Clock::manual(1_000);
        Desk { vault: Vault::new(clock.clone()), clock, asked: Arc::default() }
    }

    fn key(audience: &str) -> Key {
        let target = Target { audience: vec![audience.to_owned()], ..Target::default() };
        Grant::ClientCredentials(target).key("corp", "api", Whose::Gateway)
    }

    impl Desk {
        async fn get(&self, key: Key, token: Option<&str>) -> Result<String, String> {
            let fetch = async {
                self.asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                let token = token.ok_or_else(|| "refused".to_owned())?;
                let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": 100});
                let grant = Grant::ClientCredentials(Target::default());
                Ok(grant.take(answer.as_object().unwrap(), self.clock.now()).unwrap())
            };
            self.vault.get(key, fetch).await.map(|fetched| fetched.kept().value.to_str().unwrap().to_owned())
        }
    }

    #[tokio::test]
    async fn a_token_is_fetched_once_until_shortly_before_its_end() {
        let desk = desk();
        let (one, two, three) =
            tokio::join!(desk.get(key("a"), Some("x")), desk.get(key("a"), Some("y")), desk.get(key("a"), Some("z")));
        assert_eq!((one.clone().unwrap(), &one, &one), ("Bearer x".to_owned(), &two, &three));
        assert_eq!(desk.asked.load(Ordering::SeqCst), 1);
        desk.clock.advance(Duration::from_secs(74));
        assert_eq!(desk.get(key("a"), Some("y")).await.unwrap(), "Bearer x");
        desk.clock.advance(Duration::from_secs(1));
        assert_eq!(desk.get(key("a"), Some("y")).await.unwrap(), "Bearer y");
        assert_eq!(desk.get(key("b"), Some("z")).await.unwrap(), "Bearer z");
    }

    #[tokio::test]
    async fn a_refusal_is_remembered_for_a_moment() {
        let desk = desk();
        assert!(desk.get(key("a"), None).await.is_err());
        assert!(desk.get(key("a"), Some("x")).await.is_err());
        assert_eq!(desk.asked.load(Ordering::SeqCst), 1);
        desk.clock.advance(REFUSED);
        assert_eq!(desk.get(key("a"), Some("x")).await.unwrap(), "Bearer x");
    }
}
