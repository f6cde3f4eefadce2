//! Where a browser may be sent after a sign-in.

use url::Url;

use crate::http::visit::SiteOrigin;

/// A checked target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// `text` when it is a path here or a URL at an allowed origin, else `/`.
    pub fn parse(text: &str, allowed_origins: &[Url], own: &SiteOrigin) -> Self {
        if text.starts_with('/') && !text.starts_with("//") && !text.contains(['\\', '\t', '\r', '\n']) {
            return Self(text.to_owned());
        }
        match Url::parse(text) {
            Ok(url) if url.origin() == own.url().origin() => Self(text.to_owned()),
            Ok(url) if allowed_origins.iter().any(|allowed| allowed.origin() == url.origin()) => Self(text.to_owned()),
            _ => Self("/".to_owned()),
        }
    }

    /// As it was checked.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As an absolute URL.
    pub fn location(&self, site: &SiteOrigin) -> String {
        if self.0.starts_with('/') { site.at(&self.0) } else { self.0.clone() }
    }
}
