//! Where a browser may be sent after a sign-in or sign-out: a path on this site or a URL at a configured origin, else `/`.
//!
//! 1. Browsers and URL libraries read crooked URLs differently, so a URL is compared as text with the configured origin, character
//!    by character, and only what follows it may vary.
//! 2. Its path has to be one that the edge would let in, and may not begin with two slashes in any spelling.
//! 3. It never leads into a sign-in or sign-out, which would go round in circles.
//! 4. What is accepted is kept byte for byte.

use std::fmt;

use http::uri::PathAndQuery;
use url::Url;

use crate::http::path::CanonicalPath;
use crate::http::visit::SiteOrigin;

/// The longest target that is kept, in bytes: it travels in a cookie.
pub const MAX_BYTES: usize = 2048;

/// Our own endpoints that a browser may be sent to.
const OWN_PAGES: &[&str] = &["account", "me"];

/// A place that a browser may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo {
    /// A path with query on this site, or a URL at a configured origin.
    text: String,
    is_path: bool,
}

impl ReturnTo {
    /// The start page of this site.
    pub fn start() -> Self {
        Self { text: "/".to_owned(), is_path: true }
    }

    /// What `text` asks for if it may be had, else [`Self::start`]. `allowed_origins` are URLs without a path; `prefix` is the path
    /// below which our own endpoints live.
    pub fn parse(text: &str, allowed_origins: &[Url], own: &SiteOrigin, prefix: &str) -> Self {
        Self::accept(text, allowed_origins, own, prefix).unwrap_or_else(Self::start)
    }

    fn accept(text: &str, allowed_origins: &[Url], own: &SiteOrigin, prefix: &str) -> Option<Self> {
        if text.len() > MAX_BYTES || !text.bytes().all(is_unsuspicious) {
            return None;
        }
        if text.starts_with('/') {
            return is_safe_path(text, Some(prefix)).then(|| Self { text: text.to_owned(), is_path: true });
        }
        if let Some(path) = below_origin(text, own) {
            return is_safe_path(path, Some(prefix)).then(|| Self { text: path.to_owned(), is_path: true });
        }
        let origins = allowed_origins.iter().filter_map(SiteOrigin::new);
        let path = origins.into_iter().find_map(|origin| below_origin(text, &origin))?;
        is_safe_path(path, None).then(|| Self { text: text.to_owned(), is_path: false })
    }

    /// As it is kept in a flow: [`Self::parse`] reads it back.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The absolute URL for a `Location`, built from the configured origin (design, invariant 5).
    pub fn location(&self, site: &SiteOrigin) -> String {
        if self.is_path { site.at(&self.text) } else { self.text.clone() }
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Printable ASCII without the characters that URL parsers quarrel about.
const fn is_unsuspicious(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'`')
}

/// What follows `origin` in `text`, or `/` when nothing follows. `None` when `text` is at another origin.
fn below_origin<'a>(text: &'a str, origin: &SiteOrigin) -> Option<&'a str> {
    let rest = text.strip_prefix(origin.as_str())?;
    // The parser that browsers agree on has to see the same origin.
    if Url::parse(text).ok()?.origin() != origin.url().origin() {
        return None;
    }
    // Whatever else is not a path is refused with the path.
    Some(if rest.is_empty() { "/" } else { rest })
}

/// Whether a browser that is sent to this path, query and fragment stays where it is sent. With `own_prefix`, also whether it
/// stays out of our own sign-in.
fn is_safe_path(text: &str, own_prefix: Option<&str>) -> bool {
    let before_fragment = text.split('#').next().unwrap_or_default();
    let Ok(path) =
        PathAndQuery::try_from(before_fragment).map_err(drop).and_then(|t| CanonicalPath::parse(&t).map_err(drop))
    else {
        return false;
    };
    let sent = path.sent();
    let first = sent.split('/').nth(1).unwrap_or_default().to_ascii_lowercase();
    let leaves = first.is_empty() && sent.len() > 1 || first.contains("%2f") || first.contains("%5c");
    !leaves && own_prefix.is_none_or(|prefix| !turns_in_circles(&path, prefix))
}

/// Whether the path leads into our own endpoints, other than to a page that is made to be returned to.
fn turns_in_circles(path: &CanonicalPath, prefix: &str) -> bool {
    let is_own = |reading: &str| {
        reading
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|endpoint| !OWN_PAGES.contains(&endpoint))
    };
    is_own(path.matching()) || path.other_readings().any(|reading| is_own(&reading))
}

#[cfg(test)]
mod tests;
