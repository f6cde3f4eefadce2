//! Begins sign-ins: `/login`, `/login/{provider}`, and what the gate sends people to who are not signed in.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::endpoint::fault::{dropped, internal, provider_fault};
use crate::endpoint::origin::is_prefetch;
use crate::endpoint::site::{Offer, Site};
use crate::http::body::Body;
use crate::http::query::Query;
use crate::http::return_to::ReturnTo;
use crate::http::visit::{Caller, Visit};
use crate::page::html::Link;
use crate::page::{self, Explanation};
use crate::policy::wanted::Wanted;
use crate::provider::{Begin, Provider};
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

/// What is asked of a provider besides a sign-in.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Further parameters of the request.
    pub parameters: Vec<(String, String)>,
    /// What the sign-in should have.
    pub wanted: Wanted,
    /// How many in a row were begun because a rule wanted more, this one included.
    pub round: u8,
}

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
///
/// What is wanted of the sign-in is asked for at once where there is one provider. Who has to choose is asked for it after.
pub async fn begin_sign_in(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    return_to: &ReturnTo,
    wanted: &Wanted,
) -> Response<Body> {
    let login = || site.login_path(None, return_to);
    if !may_begin(visit, parts) {
        return page::unauthorized_json(visit, &login());
    }
    match site.offers.as_slice() {
        [] => page::not_found(visit),
        [only] => {
            let ask = Ask { wanted: wanted.clone(), round: u8::from(!wanted.is_nothing()), ..Ask::default() };
            begin_with(site, visit, parts, only, ask, return_to).await
        }
        _ => page::redirect(visit, onward_status(parts), &visit.site.at(&login())),
    }
}

async fn begin_at(site: &Site, visit: &Visit, parts: &Parts, offer: &Offer, parameters: &Query) -> Response<Body> {
    let return_to = site.return_to(visit, given(parameters, "return_to"));
    if !may_begin(visit, parts) {
        return page::unauthorized_json(visit, &site.login_path(None, &return_to));
    }
    let ask = Ask { parameters: passed_on(offer, parameters), ..Ask::default() };
    begin_with(site, visit, parts, offer, ask, &return_to).await
}

/// Begins a flow at one provider. Whoever is signed in already gets a new flow all the same.
pub(crate) async fn begin_with(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    offer: &Offer,
    ask: Ask,
    return_to: &ReturnTo,
) -> Response<Body> {
    let Ask { parameters, wanted, round } = ask;
    let redirect_uri = site.redirect_uri(&visit.site, offer.provider.name());
    let request = Begin { redirect_uri, parameters, wanted };
    let begun = if let Some(begun) = offer.provider.begin_at_once(&request) {
        Ok(begun)
    } else {
        let (provider, request) = (Arc::clone(&offer.provider), request.clone());
        site.office.run(async move { provider.begin(request).await }).await
    };
    let retry = || retry_path(site, &offer.provider, &request.parameters, return_to);
    match begun {
        Ok(Ok(begun)) => {
            let flow = Flow {
                provider: Arc::clone(offer.provider.name()),
                pending: begun.pending,
                return_to: return_to.as_str().to_owned(),
                started: site.clock.now(),
                round,
            };
            depart(site, visit, parts, &flow, &begun.url)
        }
        Ok(Err(fault)) => provider_fault(visit, &fault, offer.provider.label(), &retry()),
        Err(cause) => dropped(visit, &cause, &retry()),
    }
}

/// Keeps the flow in its cookie and sends the browser to the provider.
fn depart(site: &Site, visit: &Visit, parts: &Parts, flow: &Flow, url: &str) -> Response<Body> {
    match site.flows.begin(flow, &parts.headers, visit.site.host(), flow.started) {
        Ok(cookies) => page::with_cookies(page::redirect(visit, onward_status(parts), url), cookies),
        Err(problem) => internal(visit, "a sign-in's cookie can't be written", &problem),
    }
}

fn choose(site: &Site, visit: &Visit, offers: &[Offer], parameters: &Query) -> Response<Body> {
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
fn passed_on(offer: &Offer, parameters: &Query) -> Vec<(String, String)> {
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
pub(crate) fn given<'a>(parameters: &'a Query, name: &str) -> Option<&'a str> {
    parameters.get(name).filter(|value| !value.is_empty())
}

/// Whether whoever asks would finish a flow: a browser's window, and nothing that only looks ahead.
pub(crate) fn may_begin(visit: &Visit, parts: &Parts) -> bool {
    visit.caller == Caller::Browser && parts.method != Method::HEAD && !is_prefetch(&parts.headers)
}

/// After anything but a `GET` the browser must not repeat the method, and its body, elsewhere: 303 (RFC 9700, section 4.12).
pub fn onward_status(parts: &Parts) -> StatusCode {
    if parts.method == Method::GET { StatusCode::FOUND } else { StatusCode::SEE_OTHER }
}

fn read(parts: &Parts) -> Option<Query> {
    Query::parse(parts.uri.query().unwrap_or_default().as_bytes()).ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::kit::{STATE, browser, cookies, flow, get, header_of, request, site, text, visit};
    use crate::policy::wanted::NOTHING;

    fn departed(site: &Site, visit: &Visit, parts: &Parts, target: &ReturnTo) -> Response<Body> {
        let url = format!("https://login.example.com/authorize?state={STATE}");
        depart(site, visit, parts, &flow(target.as_str()), &url)
    }

    fn passed(query: &str, allowed: &[&str]) -> Vec<(String, String)> {
        let provider = crate::endpoint::kit::provider("corp", "Corp");
        let offer = Offer { provider, login_parameters: allowed.iter().map(|name| (*name).to_owned()).collect() };
        passed_on(&offer, &Query::parse(query.as_bytes()).unwrap())
    }

    #[test]
    fn only_named_parameters_go_on_and_never_the_protocols_own() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            passed("login_hint=a%40b&scope=admin&ui_locales=de", &["ui_locales"]),
            [pair("login_hint", "a@b"), pair("ui_locales", "de")]
        );
        for name in PROTOCOL {
            assert_eq!(passed(&format!("{name}=x"), &[]), [], "{name}");
            if *name != "prompt" {
                assert_eq!(passed(&format!("{name}=x"), &[name]), [], "{name} even when the config names it");
            }
        }
        assert_eq!(passed("prompt=none", &[]), []);
        assert_eq!(passed("prompt=select_account", &[]), [pair("prompt", "select_account")]);
        assert_eq!(passed("login_hint=", &[]), []);
        assert_eq!(passed("login_hint=a", &["login_hint"]).len(), 1, "once, though named twice");
        assert_eq!(passed(&format!("login_hint={}", "a".repeat(MAX_PARAMETER + 1)), &[]), []);
        assert_eq!(passed("login_hint=a%0d%0ab", &[]), []);
    }

    #[tokio::test]
    async fn a_begun_flow_is_a_cookie_and_a_redirect() {
        for (method, status) in [(Method::GET, StatusCode::FOUND), (Method::POST, StatusCode::SEE_OTHER)] {
            let (site, visit) = (site(&["corp"]), browser());
            let target = site.return_to(&visit, Some("/deep?x=1"));
            let parts = request(&method, "/deep?x=1", &[]);
            let response = departed(&site, &visit, &parts, &target);
            assert_eq!(response.status(), status);
            assert!(header_of(&response, "location").starts_with("https://login.example.com/authorize?"));
            assert_eq!(header_of(&response, "cache-control"), "no-store");
            let set: Vec<http::HeaderValue> = cookies(&response).iter().map(|line| line.parse().unwrap()).collect();
            let back = get("/", &[("cookie", &crate::endpoint::kit::jar(&set))]);
            let (flow, _) = site.flows.take(&back.headers, "app.example.com", "corp", STATE, site.clock.now()).unwrap();
            assert_eq!(flow.return_to, "/deep?x=1");
            assert_eq!(flow.started, site.clock.now());
        }
    }

    #[tokio::test]
    async fn a_target_too_long_for_the_cookie_keeps_nobody_out() {
        let (site, visit) = (site(&["corp"]), browser());
        let target = site.return_to(&visit, Some(&format!("/{}", "a".repeat(60_000))));
        let response = departed(&site, &visit, &get("/", &[]), &target);
        assert_eq!(response.status(), StatusCode::FOUND);
        assert!(cookies(&response).iter().any(|cookie| cookie.len() > 20));
    }

    #[tokio::test]
    async fn several_providers_are_offered_as_links() {
        let (site, visit) = (site(&["corp", "guest"]), browser());
        let parts = get("/.auth/login?return_to=%2Fx%3Fy%3Dz&login_hint=a&scope=admin", &[]);
        let response = login(&site, &visit, &parts).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(cookies(&response).is_empty());
        let html = text(response).await;
        for name in ["corp", "guest"] {
            assert!(html.contains(&format!("/.auth/login/{name}?login_hint=a&#38;return_to=%2Fx%3Fy%3Dz")), "{html}");
        }
        let target = site.return_to(&visit, Some("/x?y=z"));
        let response = begin_sign_in(&site, &visit, &get("/x?y=z", &[]), &target, &NOTHING).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(header_of(&response, "location"), "https://app.example.com/.auth/login?return_to=%2Fx%3Fy%3Dz");
    }

    #[tokio::test]
    async fn an_evil_return_to_is_gone_before_it_is_shown() {
        let site = site(&["corp", "guest"]);
        let html = text(login(&site, &browser(), &get("/.auth/login?return_to=//evil.example/", &[])).await).await;
        assert!(!html.contains("evil"));
    }

    #[tokio::test]
    async fn programs_heads_and_prefetches_begin_no_flow() {
        let site = site(&["corp"]);
        let target = site.return_to(&browser(), None);
        let prefetch = [("sec-purpose", "prefetch;prerender")];
        let cases = [
            (visit(Caller::Program), get("/.auth/login", &[])),
            (browser(), request(&Method::HEAD, "/.auth/login", &[])),
            (browser(), get("/.auth/login", &prefetch)),
        ];
        for (visit, parts) in cases {
            let answers = [
                login(&site, &visit, &parts).await,
                login_with(&site, &visit, &parts, "corp").await,
                begin_sign_in(&site, &visit, &parts, &target, &NOTHING).await,
            ];
            for response in answers {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                assert!(cookies(&response).is_empty() && header_of(&response, "location").is_empty());
            }
        }
    }

    #[tokio::test]
    async fn an_unreachable_provider_is_a_503_with_a_way_back() {
        let (site, visit) = (site(&["corp"]), browser());
        let parts = get("/.auth/login/corp?return_to=%2Fx&acr_values=high", &[]);
        let response = login_with(&site, &visit, &parts, "corp").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header_of(&response, "retry-after"), "5");
        assert!(header_of(&response, "location").is_empty() && cookies(&response).is_empty());
        assert!(text(response).await.contains("/.auth/login/corp?acr_values=high&#38;return_to=%2Fx"));
    }

    #[tokio::test]
    async fn unknown_providers_and_doubled_parameters_are_refused() {
        let (site, visit) = (site(&["corp"]), browser());
        let response = login_with(&site, &visit, &get("/.auth/login/x", &[]), "x").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let doubled = get("/.auth/login?return_to=/a&return_to=/b", &[]);
        assert_eq!(login(&site, &visit, &doubled).await.status(), StatusCode::BAD_REQUEST);
    }
}
