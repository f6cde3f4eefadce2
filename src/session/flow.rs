//! The flow: one sign-in on its way, kept in a sealed cookie of its own, one per tab.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

/// What the provider's answer must match. Written to no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The issuer that the request went to (RFC 9207, section 2.4).
    pub issuer: String,
    /// `state`: 43 base64url characters (RFC 6749, section 10.12).
    pub state: String,
    /// `nonce` of the ID token (OpenID Connect Core 1.0, section 3.1.2.1).
    pub nonce: String,
    /// The PKCE verifier (RFC 7636, section 4.1).
    pub verifier: String,
    /// The redirect URI, repeated exactly at the token endpoint (RFC 6749, section 4.1.3).
    pub redirect_uri: String,
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
}

/// Stand-in.
#[derive(Clone, Debug)]
pub struct FlowCookies;

/// Stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowProblem {
    /// No such flow in this browser.
    #[error("unknown")]
    Unknown,
    /// Too old.
    #[error("stale")]
    Stale,
    /// Of another provider.
    #[error("other provider")]
    OtherProvider,
    /// Used.
    #[error("used")]
    Used,
}

impl FlowCookies {
    /// Stand-in.
    ///
    /// # Errors
    /// Too large.
    pub fn begin(
        &self,
        flow: &Flow,
        headers: &HeaderMap,
        site_host: &str,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, FlowProblem> {
        let text = postcard::to_stdvec(flow).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default();
        if text.len() > 4000 {
            return self.begin(&Flow { return_to: "/".to_owned(), ..flow.clone() }, headers, site_host, now);
        }
        Ok(HeaderValue::from_str(&format!("__Host-f={text}; Path=/; Secure; HttpOnly; SameSite=Lax"))
            .into_iter()
            .collect())
    }

    /// Stand-in.
    ///
    /// # Errors
    /// See [`FlowProblem`].
    pub fn take(
        &self,
        headers: &HeaderMap,
        _site_host: &str,
        provider: &str,
        state: &str,
        now: Timestamp,
    ) -> Result<(Flow, Vec<HeaderValue>), FlowProblem> {
        let value = crate::session::cookie::find(headers, "__Host-f=").ok_or(FlowProblem::Unknown)?;
        let bytes = URL_SAFE_NO_PAD.decode(value).map_err(|_| FlowProblem::Unknown)?;
        let flow: Flow = postcard::from_bytes(&bytes).map_err(|_| FlowProblem::Unknown)?;
        if flow.pending.state != state {
            return Err(FlowProblem::Unknown);
        }
        if &*flow.provider != provider {
            return Err(FlowProblem::OtherProvider);
        }
        if now.since(flow.started).as_secs() > 600 {
            return Err(FlowProblem::Stale);
        }
        Ok((flow, self.clear_all(headers)))
    }

    /// Stand-in.
    pub fn clear_all(&self, _headers: &HeaderMap) -> Vec<HeaderValue> {
        vec![HeaderValue::from_static("__Host-f=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")]
    }
}
