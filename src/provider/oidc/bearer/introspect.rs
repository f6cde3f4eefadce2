//! Asking an issuer about a token (RFC 7662), and remembering what it said.
//!
//! Rules, each with a test:
//! 1. Only `"active": true`, the JSON value, admits; everything else that the issuer says, and every failure to say it, does not.
//! 2. What it says is checked like the claims of a signed token (section 4): audience, issuer and end above all.
//! 3. The token goes in the form of a POST to the issuer alone, with our client's proof (section 2.1), and into no log.
//! 4. Answers are kept by the token's SHA-256, for each issuer and audience by itself, up to a bound: a good one no longer than the token
//!    lasts and than the config says, a bad one for some seconds. Failures are not kept, but an issuer that is away is asked nothing for a second.
//! 5. Many callers that bring the same token have it asked about once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use moka::Expiry;
use moka::future::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::base::clock::instant;
use crate::config::settings::ProviderSettings;
use crate::identity::vouched::Vouched;
use crate::jose::json::parse_object;
use crate::provider::ProviderFault;
use crate::provider::oidc::calls::Calls;
use crate::provider::oidc::client_auth::Credentials;

/// Bound on the answer, in bytes.
const ANSWER_LIMIT: usize = 256 * 1024;
/// Bytes of answers that are kept for one issuer, about.
const MEMORY: u64 = 32 * 1024 * 1024;
/// How long a token that is not active stays so here.
const BAD_FOR: Duration = Duration::from_secs(10);
/// How long a failure is passed on without another try.
const FAIL_FAST: Duration = Duration::from_secs(1);
/// Questions that one issuer is asked at once.
const AT_ONCE: usize = 64;

/// What the issuer said, as it is kept.
#[derive(Clone)]
pub(super) struct Word {
    pub(super) said: Result<Arc<Vouched>, &'static str>,
    /// How long it counts.
    life: Duration,
    /// About how much memory it takes, in bytes.
    size: u32,
}

impl Word {
    /// The token holds, for `life` at most.
    pub(super) fn good(vouched: Vouched, life: Duration, size: usize) -> Self {
        Self { said: Ok(Arc::new(vouched)), life, size: u32::try_from(size).unwrap_or(u32::MAX) }
    }

    /// It does not.
    pub(super) const fn bad(reason: &'static str) -> Self {
        Self { said: Err(reason), life: BAD_FOR, size: 0 }
    }
}

struct Lives;

impl Expiry<[u8; 32], Word> for Lives {
    fn expire_after_create(&self, _: &[u8; 32], word: &Word, _: Instant) -> Option<Duration> {
        Some(word.life)
    }
}

/// What one issuer said of tokens.
pub(super) struct Memory {
    words: Cache<[u8; 32], Word>,
    failed: Mutex<Option<(Instant, ProviderFault)>>,
    places: Semaphore,
}

impl Memory {
    pub(super) fn new() -> Self {
        let words = Cache::builder()
            .max_capacity(MEMORY)
            .weigher(|_, word: &Word| word.size.saturating_add(512))
            .expire_after(Lives)
            .build();
        Self { words, failed: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }

    /// What the issuer says of `token`: what it said lately, else what `ask` brings. Whoever brings the same token meanwhile waits for
    /// that.
    pub(super) async fn of<F>(&self, token: &str, ask: F) -> Result<Word, ProviderFault>
    where
        F: Future<Output = Result<Word, ProviderFault>>,
    {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let asked = async {
            if let Some((when, fault)) = &*self.failed.lock().unwrap_or_else(PoisonError::into_inner)
                && when.elapsed() < FAIL_FAST
            {
                return Err(fault.clone());
            }
            let place = self.places.acquire().await;
            let answer = ask.await;
            drop(place);
            // Only an issuer that is away is spared: what it makes of one odd token must not keep others out.
            let away = answer.as_ref().err().filter(|fault| matches!(fault, ProviderFault::Unavailable { .. }));
            let failed = away.map(|fault| (instant(), fault.clone()));
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
            answer
        };
        self.words.try_get_with(key, asked).await.map_err(|fault| (*fault).clone())
    }
}

/// Asks about a token. `None`: it is not active.
pub(super) async fn ask(
    settings: &ProviderSettings,
    calls: &Calls,
    url: &Url,
    token: &str,
) -> Result<Option<(Map<String, Value>, usize)>, ProviderFault> {
    let untrusted = |reason: &str| ProviderFault::untrusted(&settings.name, reason);
    let (headers, body) = question(settings, Credentials::read(settings)?, token)?;
    let answer = calls.post("the introspection endpoint", url, headers, body, ANSWER_LIMIT).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            let status = answer.status.as_u16();
            let reason = format!(
                "the introspection endpoint answered {status}; may our client ask it, and is its secret right?"
            );
            return Err(ProviderFault::misconfigured(&settings.name, reason));
        }
        status => return Err(untrusted(&format!("the introspection endpoint answered {}", status.as_u16()))),
    }
    if !answer.is_of_type("application/json") {
        return Err(untrusted("the introspection endpoint's answer is not application/json"));
    }
    let claims = parse_object(&answer.body)
        .map_err(|fault| untrusted(&format!("the introspection endpoint's answer: {fault}")))?;
    let is_active = claims.get("active") == Some(&Value::Bool(true));
    Ok(is_active.then_some((claims, answer.body.len())))
}

fn question(
    settings: &ProviderSettings,
    credentials: Credentials,
    token: &str,
) -> Result<(HeaderMap, Bytes), ProviderFault> {
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token).append_pair("token_type_hint", "access_token");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    match credentials {
        Credentials::Basic(secret) => drop(headers.insert(AUTHORIZATION, basic(settings, &secret)?)),
        Credentials::Post(secret) => {
            form.append_pair("client_id", &settings.client_id).append_pair("client_secret", secret.expose_secret());
        }
        Credentials::Public => {
            if !settings.client_id.is_empty() {
                form.append_pair("client_id", &settings.client_id);
            }
        }
    }
    Ok((headers, Bytes::from(form.finish())))
}

/// Id and secret are form-encoded first (RFC 6749, section 2.3.1).
fn basic(settings: &ProviderSettings, secret: &SecretString) -> Result<HeaderValue, ProviderFault> {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&settings.client_id), encode(secret.expose_secret()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| ProviderFault::misconfigured(&settings.name, "the client's secret can't be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}
