//! Logout tokens that come before the keys that verify them: at a gateway that has only just started, or right after the provider changed
//! its keys. Not every provider sends a token twice, so one that is right in all but its signature is kept until keys are there.
//!
//! 1. What its claims rule out is refused at once, and never kept.
//! 2. It is judged by the time at which it came, however long its keys take.
//! 3. One reading of the keys after it came decides: a key that is not among them then is nobody's.
//! 4. It does not count as heard: a provider that sends it again, as it was told to, is told yes.
//! 5. So many are kept, and for so long. Strangers can make some that look right, and cost a provider no more readings than before.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::OpenIdProvider;
use super::known::{KEY_PACE, Known};
use super::logout_token::{self, Expected};
use crate::base::clock::Timestamp;
use crate::provider::{LoggedOut, LogoutTokenFault};

/// The most that are kept at once.
pub(super) const MOST_KEPT: usize = 256;
/// How long one is kept: logout tokens are made for two minutes at the most (`OpenID` Connect Back-Channel Logout 1.0, section 2.4).
const LONGEST: Duration = Duration::from_mins(2);
/// How long whoever brought one may be kept waiting for what is being read already.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits for metadata and keys that are being read already; whether they are there. Nothing is asked of anyone.
pub(super) async fn is_soon_loaded(provider: &OpenIdProvider) -> bool {
    provider.book.is_first_reading() && timeout(PATIENCE, provider.book.arrival()).await.is_ok()
}

/// Has `token` judged when there are keys that are newer than it; `None` when too many wait for that.
pub(super) fn judge(
    provider: &Arc<OpenIdProvider>,
    token: &str,
) -> Option<impl Future<Output = Option<LoggedOut>> + Send + use<>> {
    let permit = Arc::clone(&provider.kept_logouts).try_acquire_owned().ok()?;
    let (provider, token, came) = (Arc::clone(provider), token.to_owned(), provider.clock.now());
    Some(async move {
        let outcome = timeout(LONGEST, until_known(&provider, &token, came)).await;
        drop(permit);
        outcome.ok().flatten()
    })
}

async fn until_known(provider: &OpenIdProvider, token: &str, came: Timestamp) -> Option<LoggedOut> {
    let expected = expected(provider, came);
    let known = provider.book.arrival().await;
    match logout_token::judge(Some(&known.keys), token, &expected) {
        Err(LogoutTokenFault::UnknownKey) => {}
        outcome => return outcome.ok(),
    }
    let newer = newer_keys(provider, &known).await;
    logout_token::judge(Some(&newer.keys), token, &expected).ok()
}

/// Keys that were read after `seen`, however long the pace of such readings and the provider's troubles make it take.
async fn newer_keys(provider: &OpenIdProvider, seen: &Arc<Known>) -> Arc<Known> {
    loop {
        match provider.book.renew_keys(seen).await {
            Ok(newer) if !Arc::ptr_eq(&newer, seen) => return newer,
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, "can't read the provider's keys for a logout token"),
        }
        sleep(KEY_PACE).await;
    }
}

/// What a logout token that came then must be.
pub(super) fn expected(provider: &OpenIdProvider, came: Timestamp) -> Expected<'_> {
    Expected {
        issuer: &provider.settings.issuer,
        client_id: &provider.settings.client_id,
        algorithms: &provider.algorithms,
        now: came,
        skew: provider.settings.clock_skew,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::rig::{NOW, Reply, Rig, begin, document};
    use super::*;
    use crate::jose::algorithm::Algorithm;
    use crate::jose::testing::TestKey;
    use crate::provider::Provider;

    const DOCUMENT: &str = "/.well-known/openid-configuration";

    fn claims(rig: &Rig) -> Value {
        json!({"iss": rig.issuer, "aud": "app", "iat": NOW, "exp": NOW + 120, "jti": "one", "sid": "sid-1",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}}})
    }

    fn token(key: &TestKey, key_id: &str, claims: &Value) -> String {
        key.token(Algorithm::Es256, &json!({"alg": "ES256", "kid": key_id}), claims)
    }

    fn key() -> &'static TestKey {
        TestKey::for_algorithm(Algorithm::Es256)
    }

    fn keys_read(rig: &Rig) -> usize {
        rig.seen("/keys").len()
    }

    async fn outcome(provider: &Provider, token: &str) -> Option<String> {
        provider.logged_out_later(token).expect("there is room").await?.provider_session
    }

    #[tokio::test]
    async fn a_token_with_a_new_key_counts_once_the_keys_were_read_anew() {
        let rig = Rig::start().await;
        let provider = rig.provider();
        begin(&provider).await.unwrap();
        let (good, made_up) = (token(key(), "new", &claims(&rig)), token(key(), "made-up", &claims(&rig)));
        assert_eq!(provider.logged_out(&good), Err(LogoutTokenFault::UnknownKey));
        rig.set_keys(&[key().jwk("new")]);
        let (good, made_up) = tokio::join!(outcome(&provider, &good), outcome(&provider, &made_up));
        assert_eq!((good.as_deref(), made_up), (Some("sid-1"), None));
        assert_eq!(keys_read(&rig), 2, "once at first, once for both of them");
    }

    #[tokio::test]
    async fn a_token_that_comes_first_waits_for_what_others_read() {
        let rig = Rig::start().await;
        let provider = rig.provider();
        let good = token(key(), "good", &claims(&rig));
        assert_eq!(provider.logged_out(&good), Err(LogoutTokenFault::NoKeys));
        let waiting = tokio::spawn(provider.logged_out_later(&good).unwrap());
        let slow = Reply { delay: Duration::from_millis(300), ..Reply::json(&document(&rig.issuer)) };
        rig.set(DOCUMENT, slow);
        let (soon, begun) = tokio::join!(provider.is_soon_loaded(), begin(&provider));
        assert!(soon && begun.is_ok());
        assert_eq!(waiting.await.unwrap().unwrap().provider_session.as_deref(), Some("sid-1"));
        assert!(provider.logged_out(&good).is_ok(), "what was judged later did not count as heard");
        assert_eq!((rig.seen(DOCUMENT).len(), keys_read(&rig)), (1, 1), "it asked nobody by itself");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_reading_that_failed() {
        let rig = Rig::start().await;
        let provider = rig.provider();
        rig.remove(DOCUMENT);
        assert!(begin(&provider).await.is_err());
        let waited = timeout(Duration::from_millis(500), provider.is_soon_loaded()).await;
        assert_eq!(waited, Ok(false));
    }

    #[tokio::test]
    async fn so_many_are_kept_and_no_more() {
        let rig = Rig::start().await;
        let provider = rig.provider();
        let good = token(key(), "good", &claims(&rig));
        let kept: Vec<_> = (0..MOST_KEPT).map(|_| provider.logged_out_later(&good).unwrap()).collect();
        assert!(provider.logged_out_later(&good).is_none());
        drop(kept);
        assert!(provider.logged_out_later(&good).is_some());
    }
}
