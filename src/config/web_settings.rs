//! What routes say about pages in browsers: which other origins may read their answers, and what a writing request has to show.

use std::time::Duration;

use http::{HeaderName, Method};

/// Which pages of other origins may read a route's answers (Fetch, section 3.3: CORS).
#[derive(Clone, Debug)]
pub struct CorsSettings {
    /// Whose pages.
    pub origins: CorsOrigins,
    /// The methods that they may use.
    pub methods: Vec<Method>,
    /// The headers that they may send beside those that every page may.
    pub headers: Vec<HeaderName>,
    /// The headers that they may read beside those that every page may.
    pub expose: Vec<HeaderName>,
    /// How long a browser may remember what a preflight told it.
    pub max_age: Duration,
    /// Whether they may come with the person's cookies and certificates.
    pub credentials: bool,
}

/// What a request that changes something has to show beside a session's cookie, which browsers add whatever page sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrfCheck {
    /// The token that `/me` tells, in a header.
    Token,
    /// That a page of this origin sent it.
    SameOrigin,
    /// That a page of this site sent it: of this origin or a sibling host.
    SameSite,
}

/// Whose pages may read a route's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Anybody's, without credentials.
    Anyone,
    /// Those of these origins, as browsers write them (RFC 6454, section 6.2): compared whole, byte for byte.
    These(Vec<String>),
}
