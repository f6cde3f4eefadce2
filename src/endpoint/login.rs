//! Begins sign-ins: `/login`, `/login/{provider}`, and what the gate sends people to who are not signed in.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::endpoint::fault::{dropped, internal, provider_fault};
use crate::endpoint::origin::is_prefetch;
use crate::endpoint::site::{Offer, Site};
use crate::http::body::Body;
use crate::http::query::Parameters;
use crate::http::return_to::ReturnTo;
use crate::http::visit::{Caller, Visit};
use crate::page::html::Link;
use crate::page::{self, Explanation};
use crate::provider::{Begin, Begun, Provider};
use crate::session::flow::Flow;

/// The longest parameter that is passed on to a provider, in bytes.
const MAX_PARAMETER: usize = 512;

/// What the protocol itself sets. No config lets a visitor say any of it (RFC 9700, section 4.7.1).
const PROTOCOL: &[&str] = &[
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "id_token_hint",
    "nonce",
    "prompt",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "return_to",
    "scope",
    "state",
];

/// Values of `prompt` that anybody may ask for: both make the provider ask more of the person, never less
/// (`OpenID` Connect Core 1.0, section 3.1.2.1).
const PROMPTS: &[&str] = &["login", "select_account"];

/// `GET /login`: straight on when there is one provider, else the page to choose one.
pub async fn login(site: &Site, visit: &Visit, parts: &Parts) -> Response<Body> {
    let Some(parameters) = read(parts) else { return unreadable(visit) };
    match site.offers.as_slice() {
        [] => page::not_found(visit),
        [only] => begin_at(site, visit, parts, only, &parameters).await,
        several => choose(site, visit, several, &parameters),
    }
}

/// `GET /login/{provider}`.
pub async fn login_with(site: &Site, visit: &Visit, parts: &Parts, name: &str) -> Response<Body> {
    let Some(parameters) = read(parts) else { return unreadable(visit) };
    match site.offer(name) {
        Some(offer) => begin_at(site, visit, parts, offer, &parameters).await,
        None => page::not_found(visit),
    }
}

/// What somebody without a session gets where one is needed: on to the provider when there is one, else to the page
/// where they choose. Programs, `HEAD` and prefetches get 401 instead: a flow that nobody finishes is never begun.
pub async fn begin_sign_in(site: &Site, visit: &Visit, parts: &Parts, return_to: &ReturnTo) -> Response<Body> {
    let login = site.login_path(None, return_to);
    if !may_begin(visit, parts) {
        return page::unauthorized_json(visit, &login);
    }
    match site.offers.as_slice() {
        [] => page::not_found(visit),
        [only] => begin(site, visit, parts, only, Vec::new(), return_to).await,
        _ => page::redirect(visit, onward_status(parts), &visit.site.at(&login)),
    }
}

async fn begin_at(site: &Site, visit: &Visit, parts: &Parts, offer: &Offer, parameters: &Parameters) -> Response<Body> {
    let return_to = site.return_to(visit, given(parameters, "return_to"));
    if !may_begin(visit, parts) {
        return page::unauthorized_json(visit, &site.login_path(None, &return_to));
    }
    begin(site, visit, parts, offer, passed_on(offer, parameters), &return_to).await
}

/// Begins a flow at one provider. Whoever is signed in already gets a new flow all the same.
async fn begin(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    offer: &Offer,
    parameters: Vec<(String, String)>,
    return_to: &ReturnTo,
) -> Response<Body> {
    let provider = Arc::clone(&offer.provider);
    let retry = retry_path(site, &offer.provider, &parameters, return_to);
    let request = Begin { redirect_uri: site.redirect_uri(&visit.site, provider.name()), parameters };
    match site.office.run(async move { provider.begin(request).await }).await {
        Ok(Ok(begun)) => depart(site, visit, parts, offer, begun, return_to),
        Ok(Err(fault)) => provider_fault(visit, &fault, offer.provider.label(), &retry),
        Err(cause) => dropped(visit, &cause, &retry),
    }
}

/// Keeps the flow in its cookie and sends the browser to the provider.
fn depart(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    offer: &Offer,
    begun: Begun,
    return_to: &ReturnTo,
) -> Response<Body> {
    let now = site.clock.now();
    let provider = Arc::clone(offer.provider.name());
    let mut flow = Flow { provider, pending: begun.pending, return_to: return_to.as_str().to_owned(), started: now };
    let host = visit.site.host();
    // A target too long for a cookie must not keep anybody from signing in.
    let cookies = site.flows.begin(&flow, &parts.headers, host, now).or_else(|_| {
        "/".clone_into(&mut flow.return_to);
        site.flows.begin(&flow, &parts.headers, host, now)
    });
    match cookies {
        Ok(cookies) => page::with_cookies(page::redirect(visit, onward_status(parts), &begun.url), cookies),
        Err(problem) => internal(visit, "a sign-in's cookie can't be written", &problem),
    }
}

fn choose(site: &Site, visit: &Visit, offers: &[Offer], parameters: &Parameters) -> Response<Body> {
    let return_to = site.return_to(visit, given(parameters, "return_to"));
    if visit.caller == Caller::Program {
        return page::unauthorized_json(visit, &site.login_path(None, &return_to));
    }
    let choices: Vec<Link<'_>> = offers
        .iter()
        .map(|offer| {
            let passed = passed_on(offer, parameters);
            Link::new(offer.provider.label(), retry_path(site, &offer.provider, &passed, &return_to))
        })
        .collect();
    page::chooser(visit, &choices)
}

/// The path that begins the same sign-in again.
fn retry_path(site: &Site, provider: &Provider, parameters: &[(String, String)], return_to: &ReturnTo) -> String {
    let mut pairs: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    pairs.push(("return_to", return_to.as_str()));
    site.login_path_with(Some(provider.name()), &pairs)
}

/// What of the visitor's parameters goes on to the provider: those that the config names, and nothing of the protocol's
/// own. Everything else is ignored, so that a link can't add scopes or change the request.
fn passed_on(offer: &Offer, parameters: &Parameters) -> Vec<(String, String)> {
    let named = offer.login_parameters.iter().map(String::as_str).filter(|name| *name != "login_hint");
    let mut passed: Vec<(String, String)> = std::iter::once("login_hint")
        .chain(named)
        .filter(|name| !PROTOCOL.contains(name))
        .filter_map(|name| given(parameters, name).map(|value| (name.to_owned(), value.to_owned())))
        .filter(|(_, value)| value.len() <= MAX_PARAMETER && !value.contains(char::is_control))
        .collect();
    let may_ask = |value: &&str| PROMPTS.contains(value) || offer.login_parameters.iter().any(|name| name == "prompt");
    if let Some(prompt) = given(parameters, "prompt").filter(may_ask).filter(|value| value.len() <= MAX_PARAMETER) {
        passed.push(("prompt".to_owned(), prompt.to_owned()));
    }
    passed
}

/// A parameter's value; an empty one is as good as none (RFC 6749, section 3.1).
pub(crate) fn given<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.get(name).filter(|value| !value.is_empty())
}

fn may_begin(visit: &Visit, parts: &Parts) -> bool {
    visit.caller == Caller::Browser && parts.method != Method::HEAD && !is_prefetch(&parts.headers)
}

/// After anything but a `GET` the browser must not repeat the method, and its body, elsewhere: 303 (RFC 9700, section 4.12).
fn onward_status(parts: &Parts) -> StatusCode {
    if parts.method == Method::GET { StatusCode::FOUND } else { StatusCode::SEE_OTHER }
}

fn read(parts: &Parts) -> Option<Parameters> {
    Parameters::parse(parts.uri.query().unwrap_or_default()).ok()
}

fn unreadable(visit: &Visit) -> Response<Body> {
    let explanation = Explanation::new(
        "This link can't be read",
        "A part of the address came twice, or is not well formed.",
        "Go to the start and sign in from there.",
    )
    .link("Go to the start", "/");
    page::error(visit, StatusCode::BAD_REQUEST, &explanation)
}
