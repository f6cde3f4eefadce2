//! The table of endpoints, and the way from a path to its handler.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::endpoint::callback::callback;
use crate::endpoint::login::{login, login_with};
use crate::endpoint::logout::logout;
use crate::endpoint::me::me;
use crate::endpoint::signed_out::signed_out;
use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::page::{self, Explanation};

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Its path below the prefix; `{provider}` stands for one segment.
    pub path: &'static str,
    /// The methods that it answers to.
    pub methods: &'static [Method],
    /// How metrics and logs name it.
    pub metric: &'static str,
    /// What answers it.
    pub handler: Handler,
}

/// What answers an endpoint.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Ends a sign-in.
    Callback,
    /// Begins one, at the provider that the person chooses.
    Login,
    /// Begins one at the named provider.
    LoginWith,
    /// Ends the session.
    Logout,
    /// Tells who is signed in.
    Me,
    /// Says goodbye.
    SignedOut,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];

/// Every endpoint.
pub const TABLE: &[Endpoint] = &[
    Endpoint { path: "/login", methods: READ, metric: "login", handler: Handler::Login },
    Endpoint { path: "/login/{provider}", methods: READ, metric: "login", handler: Handler::LoginWith },
    // No HEAD: it would use up the code and leave nobody signed in.
    Endpoint {
        path: "/callback/{provider}",
        methods: &[Method::GET, Method::POST],
        metric: "callback",
        handler: Handler::Callback,
    },
    Endpoint { path: "/logout", methods: &[Method::GET, Method::POST], metric: "logout", handler: Handler::Logout },
    Endpoint { path: "/signed-out", methods: READ, metric: "signed_out", handler: Handler::SignedOut },
    Endpoint { path: "/me", methods: READ, metric: "me", handler: Handler::Me },
];

/// The endpoint at `path`, a canonical path, with its `{provider}`.
pub fn find<'a>(site: &Site, path: &'a str) -> Option<(&'static Endpoint, &'a str)> {
    let below = path.strip_prefix(&site.prefix)?;
    TABLE.iter().find_map(|endpoint| matches(endpoint.path, below).map(|provider| (endpoint, provider)))
}

/// Answers a request whose path [`Site::owns`]. The caller has bounded `body`, to 64 KiB.
pub async fn dispatch(site: &Site, visit: &Visit, parts: &Parts, body: Bytes) -> Response<Body> {
    let response = match find(site, parts.uri.path()) {
        None => page::not_found(visit),
        Some((endpoint, _)) if !endpoint.methods.contains(&parts.method) => wrong_method(visit, endpoint),
        Some((endpoint, provider)) => match endpoint.handler {
            Handler::Callback => callback(site, visit, parts, &body, provider).await,
            Handler::Login => login(site, visit, parts).await,
            Handler::LoginWith => login_with(site, visit, parts, provider).await,
            Handler::Logout => logout(site, visit, parts),
            Handler::Me => me(site, visit, parts),
            Handler::SignedOut => signed_out(site, visit, parts),
        },
    };
    if parts.method == Method::HEAD { page::to_head(response) } else { response }
}

fn wrong_method(visit: &Visit, endpoint: &Endpoint) -> Response<Body> {
    let allowed = endpoint.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let explanation =
        Explanation::new("That can't be done here", format!("This address answers to {allowed} only."), "")
            .link("Go to the start", "/");
    let mut response = page::error(visit, StatusCode::METHOD_NOT_ALLOWED, &explanation);
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// The segment that stands for `{provider}`; empty for a path without one.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.strip_suffix("{provider}") {
        Some(start) => path.strip_prefix(start).filter(|name| !name.is_empty() && !name.contains('/')),
        None => (pattern == path).then_some(""),
    }
}
