//! The table of endpoints, and the way from a path to its handler.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::endpoint::backchannel::backchannel;
use crate::endpoint::callback::callback;
use crate::endpoint::frontchannel::frontchannel;
use crate::endpoint::jwks::{jwks, key};
use crate::endpoint::login::{login, login_with};
use crate::endpoint::logout::logout;
use crate::endpoint::me::me;
use crate::endpoint::refresh::refresh;
use crate::endpoint::signed_out::signed_out;
use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::identity::preset::KeysForm;
use crate::page::{self, Explanation};

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Its path below the prefix; `{provider}` or `{id}` stands for one segment.
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
    /// Hears from a provider what has ended there.
    Backchannel,
    /// Ends a sign-in.
    Callback,
    /// Hears the same from a provider's page.
    Frontchannel,
    /// Begins one, at the provider that the person chooses.
    Login,
    /// Begins one at the named provider.
    LoginWith,
    /// Ends the session.
    Logout,
    /// Shows one public key of our assertions.
    Key,
    /// Shows all of them.
    Keys,
    /// Tells who is signed in.
    Me,
    /// Has the session's tokens refreshed.
    Refresh,
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
    Endpoint {
        path: "/backchannel-logout/{provider}",
        methods: &[Method::POST],
        metric: "backchannel_logout",
        handler: Handler::Backchannel,
    },
    Endpoint {
        path: "/frontchannel-logout/{provider}",
        methods: &[Method::GET],
        metric: "frontchannel_logout",
        handler: Handler::Frontchannel,
    },
    Endpoint { path: "/logout", methods: &[Method::GET, Method::POST], metric: "logout", handler: Handler::Logout },
    Endpoint { path: "/signed-out", methods: READ, metric: "signed_out", handler: Handler::SignedOut },
    Endpoint { path: "/jwks.json", methods: READ, metric: "jwks", handler: Handler::Keys },
    Endpoint { path: "/keys/{id}", methods: READ, metric: "jwks", handler: Handler::Key },
    Endpoint { path: "/me", methods: READ, metric: "me", handler: Handler::Me },
    Endpoint { path: "/refresh", methods: &[Method::POST], metric: "refresh", handler: Handler::Refresh },
];

/// The keys where applications of other gateways look for them.
const KEYS_ELSEWHERE: &Endpoint = &Endpoint { path: "", methods: READ, metric: "jwks", handler: Handler::Keys };

/// The endpoint at `path`, a canonical path, with what stands there for its placeholder.
pub fn find<'a>(site: &Site, path: &'a str) -> Option<(&'static Endpoint, &'a str)> {
    if site.keys_at(path).is_some() {
        return Some((KEYS_ELSEWHERE, ""));
    }
    let below = path.strip_prefix(&site.prefix)?;
    TABLE.iter().find_map(|endpoint| matches(endpoint.path, below).map(|provider| (endpoint, provider)))
}

/// Answers a request whose path [`Site::owns`]. The caller has bounded `body`, to 64 KiB.
pub async fn dispatch(site: &Site, visit: &Visit, parts: &Parts, body: Bytes) -> Response<Body> {
    if site.sessions.lacks_key(&parts.headers) || site.flows.lacks_key(&parts.headers) {
        site.key_desk.look().await;
    }
    site.bring(visit, &parts.headers).await;
    let response = match find(site, parts.uri.path()) {
        None => page::not_found(visit),
        Some((endpoint, _)) if !endpoint.methods.contains(&parts.method) => wrong_method(visit, endpoint),
        Some((endpoint, provider)) => match endpoint.handler {
            Handler::Backchannel => Box::pin(backchannel(site, visit, parts, &body, provider)).await,
            Handler::Callback => callback(site, visit, parts, &body, provider).await,
            Handler::Frontchannel => frontchannel(site, visit, parts, provider),
            Handler::Login => login(site, visit, parts).await,
            Handler::LoginWith => login_with(site, visit, parts, provider).await,
            Handler::Logout => logout(site, visit, parts, &body),
            Handler::Keys => jwks(site, visit, site.keys_at(parts.uri.path()).unwrap_or(KeysForm::Jwks)),
            Handler::Key => key(site, visit, provider),
            Handler::Me => me(site, visit, parts),
            Handler::Refresh => Box::pin(refresh(site, visit, parts, &body)).await,
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

/// The segment that stands for the placeholder at the pattern's end; empty for a path without one.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.split_once('{') {
        Some((start, _)) => path.strip_prefix(start).filter(|name| !name.is_empty() && !name.contains('/')),
        None => (pattern == path).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::kit::{browser, header_of, request, site, text};

    async fn ask(method: Method, uri: &str) -> Response<Body> {
        dispatch(&site(&["corp"]), &browser(), &request(&method, uri, &[]), Bytes::new()).await
    }

    #[tokio::test]
    async fn paths_find_their_endpoints_and_nothing_else() {
        let site = site(&["corp"]);
        let metric = |path| find(&site, path).map(|(endpoint, provider)| (endpoint.metric, provider.to_owned()));
        assert_eq!(metric("/.auth/login"), Some(("login", String::new())));
        assert_eq!(metric("/.auth/login/corp"), Some(("login", "corp".to_owned())));
        assert_eq!(metric("/.auth/callback/corp"), Some(("callback", "corp".to_owned())));
        for none in [
            "/.auth",
            "/.auth/",
            "/.auth/login/",
            "/.auth/login/a/b",
            "/.auth/me/",
            "/.authme",
            "/me",
            "/.auth/{provider}",
        ] {
            assert_eq!(metric(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn unknown_paths_are_404_and_wrong_methods_405() {
        assert_eq!(ask(Method::GET, "/.auth/nothing").await.status(), StatusCode::NOT_FOUND);
        let response = ask(Method::DELETE, "/.auth/me").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header_of(&response, "allow"), "GET, HEAD");
        let response = ask(Method::HEAD, "/.auth/callback/corp?state=x&code=y").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header_of(&response, "allow"), "GET, POST");
        assert_eq!(text(response).await, "");
    }

    #[tokio::test]
    async fn a_head_gets_no_body() {
        let response = ask(Method::HEAD, "/.auth/signed-out").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_ne!(header_of(&response, "content-length"), "");
        assert_eq!(text(response).await, "");
    }

    /// Rules 12 and 57 of the list of attacks: whatever is sent, an answer comes back, and never a session.
    #[tokio::test]
    async fn nonsense_gets_a_4xx_everywhere() {
        let site = site(&["corp"]);
        let long = format!("state={}", "a".repeat(60_000));
        let nonsense =
            ["&", "?&", "=", "state", "state=", "state=%", "state=%ff%fe", "state=a&state=b", "code=&code=", &long];
        for query in nonsense {
            let form = [("content-type", "application/x-www-form-urlencoded")];
            let parts = request(&Method::POST, "/.auth/callback/corp", &form);
            let response = dispatch(
                &site,
                &crate::endpoint::kit::visit(crate::http::visit::Caller::Program),
                &parts,
                Bytes::from(query.to_owned()),
            )
            .await;
            assert!(response.status().is_client_error(), "{query}: {}", response.status());
            let Ok(uri) = format!("/.auth/callback/corp?{query}").parse::<http::Uri>() else { continue };
            let parts = request(&Method::GET, &uri.to_string(), &[]);
            let response = dispatch(&site, &browser(), &parts, Bytes::new()).await;
            assert!(response.status().is_client_error(), "{query}: {}", response.status());
            assert!(response.headers().get(header::SET_COOKIE).is_none(), "{query}");
        }
        let parts =
            request(&Method::POST, "/.auth/callback/corp", &[("content-type", "application/x-www-form-urlencoded")]);
        let response = dispatch(&site, &browser(), &parts, Bytes::from_static(b"state=\xff\xfe")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
}
