//! One of the two that are compared: a server, where it is, and who asks it.

use url::Url;

use crate::Outcome;
use crate::process::Running;

/// A server under measurement.
pub(crate) struct Side {
    /// What the report calls it.
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) origin: Url,
    /// Where it speaks HTTP/2 without TLS, if it does.
    pub(crate) h2_origin: Url,
    /// The `Cookie` header of who asks it; empty for nobody.
    pub(crate) cookie: String,
    /// The access token of who asks it, in place of a cookie; empty for nobody.
    pub(crate) bearer: String,
    /// The process.
    pub(crate) process: Running,
}

impl Side {
    /// The URL of `path` there.
    pub(crate) fn url(&self, path: &str) -> Outcome<Url> {
        Ok(self.origin.join(path)?)
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn authority(&self) -> &str {
        &self.origin[url::Position::BeforeHost..url::Position::AfterPort]
    }
}

/// `http://127.0.0.1:PORT/`.
pub(crate) fn origin(port: u16) -> Outcome<Url> {
    Ok(Url::parse(&format!("http://127.0.0.1:{port}/"))?)
}
