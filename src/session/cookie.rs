//! Stand-in: the session in cookies.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};

use crate::base::clock::Timestamp;
use crate::session::model::Session;

/// Stand-in.
#[derive(Clone, Debug)]
pub struct SessionCookies;

/// Stand-in.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Whether it should be written anew.
    pub reseal: bool,
}

/// Stand-in.
#[derive(Debug)]
pub enum Reading {
    /// None.
    Absent,
    /// Unreadable.
    Broken,
    /// Open.
    Open(Box<Opened>),
}

/// Stand-in.
#[derive(Debug, thiserror::Error)]
#[error("the session is too large")]
pub struct SessionTooLarge;

/// Stand-in.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Stand-in.
    #[error(transparent)]
    TooLarge(#[from] SessionTooLarge),
    /// Stand-in for every other cause.
    #[error("it can't be sealed")]
    Seal,
}

impl SessionCookies {
    /// Stand-in.
    pub fn read(&self, headers: &HeaderMap, _site_host: &str, _now: Timestamp) -> Reading {
        let Some(value) = find(headers, "__Host-s=") else { return Reading::Absent };
        let opened = URL_SAFE_NO_PAD.decode(value).ok().and_then(|bytes| postcard::from_bytes(&bytes).ok());
        opened.map_or(Reading::Broken, |session| Reading::Open(Box::new(Opened { session, reseal: false })))
    }

    /// Stand-in.
    ///
    /// # Errors
    /// Over 4 KiB.
    pub fn write(
        &self,
        session: &Session,
        _headers: &HeaderMap,
        _site_host: &str,
        _now: Timestamp,
    ) -> Result<Vec<HeaderValue>, WriteError> {
        let text = postcard::to_stdvec(session).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default();
        if text.len() > 4096 {
            return Err(SessionTooLarge.into());
        }
        Ok(HeaderValue::from_str(&format!("__Host-s={text}; Path=/; Secure; HttpOnly; SameSite=Lax"))
            .into_iter()
            .collect())
    }

    /// Stand-in.
    pub fn clear(&self, _headers: &HeaderMap) -> Vec<HeaderValue> {
        vec![HeaderValue::from_static("__Host-s=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")]
    }
}

/// Stand-in.
pub fn find(headers: &HeaderMap, start: &str) -> Option<String> {
    let mut crumbs =
        headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split("; "));
    crumbs.find_map(|crumb| crumb.strip_prefix(start)).map(str::to_owned)
}
