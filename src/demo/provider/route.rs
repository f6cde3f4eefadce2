//! Which endpoint a request is for; counts it, remembers it, and lets the wire misbehave.

use std::sync::Arc;

use http::header::{COOKIE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use url::Url;

use crate::demo::answer::{Answer, method_not_allowed, text};
use crate::demo::form::{self, Parameters};
use crate::demo::provider::State;
use crate::demo::provider::control::{Endpoint, Recorded};
use crate::demo::provider::misbehaviour::Misbehaviour;
use crate::demo::provider::options::is_loopback;
use crate::demo::provider::{authorize, discovery, end_session, login, token, transport, userinfo};

/// The longest form that is read.
const LONGEST_FORM: usize = 256 * 1024;

/// A request as the endpoints see it.
pub(crate) struct Asked {
    /// Its method.
    pub(crate) method: Method,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// The parameters of its query.
    pub(crate) query: Parameters,
    /// The parameters of its form.
    pub(crate) form: Parameters,
}

impl Asked {
    /// Where the parameters of an endpoint that answers both methods are.
    pub(crate) fn parameters(&self) -> &Parameters {
        if self.method == Method::POST { &self.form } else { &self.query }
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Whether another site made the browser post this (Fetch Metadata Request Headers, section 2.3). Clients that are
    /// no browsers don't say.
    pub(crate) fn is_cross_site(&self) -> bool {
        self.headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
    }
}

fn endpoint(path: &str) -> Option<(Endpoint, &'static str)> {
    Some(match path {
        "/.well-known/openid-configuration" => (Endpoint::Discovery, "GET, HEAD"),
        "/jwks" => (Endpoint::Jwks, "GET, HEAD"),
        "/authorize" => (Endpoint::Authorize, "GET, POST"),
        "/login" => (Endpoint::Login, "POST"),
        "/token" => (Endpoint::Token, "POST"),
        "/userinfo" => (Endpoint::Userinfo, "GET, POST"),
        "/revoke" => (Endpoint::Revoke, "POST"),
        "/end_session" => (Endpoint::EndSession, "GET, POST"),
        _ => return None,
    })
}

/// The answer to one request.
pub(crate) async fn answer(state: Arc<State>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    if !is_for_us(&state, &parts.headers) {
        return text(StatusCode::MISDIRECTED_REQUEST, "This provider goes by another name.\n");
    }
    let query = Parameters::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let path = parts.uri.path().strip_prefix(&state.base).unwrap_or_default();
    if path == "/hop" {
        return hop(&state, &query);
    }
    let Some((endpoint, methods)) = endpoint(path) else {
        return text(StatusCode::NOT_FOUND, "There is nothing here. See /.well-known/openid-configuration.\n");
    };
    if !methods.split(", ").any(|method| parts.method.as_str() == method) {
        return method_not_allowed(methods);
    }
    let form = match form::whole(body, LONGEST_FORM).await {
        Ok(body) if form::is_form(&parts.headers) => Parameters::parse(&body),
        Ok(_) => Parameters::default(),
        Err(status) => return text(status, "The body can't be read.\n"),
    };
    let asked = Asked { method: parts.method, headers: parts.headers, query, form };
    state.control.record(recorded(endpoint, &asked));
    let faults = state.control.take(|fault| match fault {
        Misbehaviour::Transport(at, fault) if *at == endpoint => Some(fault.clone()),
        _ => None,
    });
    let here = format!("{}{}", own_origin(&state), state.base);
    // On the heap: an endpoint's future is large, and most of them wait for something.
    transport::misbehave(faults, &here, Box::pin(dispatch(&state, endpoint, &asked))).await
}

async fn dispatch(state: &Arc<State>, endpoint: Endpoint, asked: &Asked) -> Answer {
    match endpoint {
        Endpoint::Discovery => discovery::metadata(state),
        Endpoint::Jwks => discovery::keys(state),
        Endpoint::Authorize => authorize::authorize(state, asked),
        Endpoint::Login => login::login(state, asked),
        Endpoint::Token => token::token(state, asked).await,
        Endpoint::Userinfo => userinfo::userinfo(state, asked),
        Endpoint::Revoke => token::revoke(state, asked),
        Endpoint::EndSession => end_session::end_session(state, asked),
    }
}

/// Whether the request names the issuer or this machine: a page of another site that points its own name at loopback
/// (DNS rebinding) gets nothing.
fn is_for_us(state: &State, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    host.eq_ignore_ascii_case(&state.authority) || Url::parse(&format!("http://{host}/")).is_ok_and(|u| is_loopback(&u))
}

/// The scheme, host and port of the issuer.
pub(crate) fn own_origin(state: &State) -> String {
    Url::parse(&state.issuer).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// One more redirect of a chain that a test asked for.
fn hop(state: &State, query: &Parameters) -> Answer {
    let number = |name| query.one(name).ok().flatten().and_then(|text| text.parse::<u32>().ok());
    let url = query.one("url").ok().flatten().filter(|url| state.control.is_target(url));
    let status = number("status").and_then(|status| u16::try_from(status).ok());
    match (status, number("hops"), url) {
        (Some(status @ 300..=399), Some(hops), Some(url)) => {
            let here = format!("{}{}", own_origin(state), state.base);
            transport::hop(status, url, hops, &here)
        }
        _ => text(StatusCode::BAD_REQUEST, "This is no part of a chain.\n"),
    }
}

fn recorded(endpoint: Endpoint, asked: &Asked) -> Recorded {
    let headers = asked.headers.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    Recorded {
        endpoint,
        method: asked.method.as_str().to_owned(),
        headers: headers.collect(),
        parameters: [asked.query.pairs(), asked.form.pairs()].concat(),
    }
}
