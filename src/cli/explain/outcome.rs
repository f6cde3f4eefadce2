//! The outcome of a case: the edge, the route, the rules and the decision, by the same functions that the proxy uses.

use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

use super::case::{Case, Token};
use crate::config::settings::{
    CsrfCheck, Settings, SignedOut, TokenSettings, UpstreamAddress, UpstreamKind, UpstreamSettings,
};
use crate::endpoint::login::onward_status;
use crate::endpoint::site::owns;
use crate::forward::rewrite::Uncut;
use crate::gate::bearer::second;
use crate::gate::cors;
use crate::gate::csrf::Sender;
use crate::gate::decide::{Decision, decide};
use crate::gate::edge::{self, Admitted};
use crate::gate::judge::{Forged, forged};
use crate::gate::refuse::sends_to_sign_in;
use crate::gate::route::{Lookup, Other, Route, RouteTable};
use crate::identity::headers::IdentityHeaders;
use crate::identity::principal::Principal;
use crate::policy::asker::Asker;
use crate::policy::trace::{Traced, trace};
use crate::policy::wanted::Wanted;
use crate::server::plan;

/// What became of a case.
pub(super) struct Outcome {
    pub(super) request: Requested,
    /// The routes that were asked, that of the form for matching first.
    pub(super) rules: Vec<Asked>,
    pub(super) ending: Ending,
}

/// The request, as far as it could be read.
pub(super) struct Requested {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) host: Option<String>,
    pub(super) path: Option<String>,
    pub(super) client: Option<String>,
    pub(super) who: Option<String>,
}

/// One route that was asked.
pub(super) struct Asked {
    pub(super) route: Arc<str>,
    /// The path as this reading has it.
    pub(super) path: String,
    pub(super) report_only: bool,
    pub(super) rule: Traced,
    pub(super) decision: &'static str,
}

/// How it ends.
pub(super) enum Ending {
    /// One of our own endpoints answers.
    Ours,
    /// It goes to an upstream.
    Passes { upstream: Upstream, reported: bool, csrf: Option<CsrfCheck> },
    /// Somebody has to sign in. The status is that of a redirect or 401, where the case says enough to tell.
    SignIn { wanted: Wanted, status: Option<u16> },
    /// Somebody has to sign in anew.
    StepUp { wanted: Wanted },
    /// It goes nowhere.
    Forbidden,
    /// It asks in advance whether a page of another origin may send another one, and this route answers.
    Preflight { shared: bool, route: Arc<str> },
    /// Whoever is signed in may pass, and somebody else's page sent it.
    Forged(Forged),
    /// It is refused before any rule is looked at, or has no route.
    Refused { status: u16, reason: String },
}

/// What the upstream would get.
pub(super) struct Upstream {
    pub(super) name: Arc<str>,
    pub(super) addresses: Vec<String>,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) token: &'static str,
}

/// Follows a case to its end.
///
/// # Errors
/// When the settings can't be put to work, which a check of them would have told.
pub(super) fn of(case: &Case, settings: &Settings) -> Result<Outcome, String> {
    let mut request = Requested {
        method: case.method.clone(),
        url: case.url.clone(),
        host: None,
        path: None,
        client: None,
        who: case.who.as_ref().map(name),
    };
    let refused = |request: Requested, status: u16, reason: &str| {
        let ending = Ending::Refused { status, reason: reason.to_owned() };
        Ok(Outcome { request, rules: Vec::new(), ending })
    };
    let mut parts = match &case.parts {
        Ok(parts) => parts.clone(),
        Err(reason) => return refused(request, 400, reason),
    };
    let rules = plan::edge(settings).map_err(|error| error.to_string())?;
    let admitted = match edge::admit(&mut parts, &case.peer, &rules) {
        Ok(admitted) => admitted,
        Err(malformed) => return refused(request, malformed.status.as_u16(), malformed.reason),
    };
    request.host = Some(admitted.visit.site.host().to_owned());
    request.path = Some(admitted.path.matching().to_owned());
    request.client = admitted.visit.client.map(|client| client.to_string());
    if owns(&settings.prefix, admitted.path.matching()) {
        return Ok(Outcome { request, rules: Vec::new(), ending: Ending::Ours });
    }
    let table = RouteTable::compile(&settings.routes).map_err(|error| error.to_string())?;
    if let Some(preflight) = cors::preflight(&table, admitted.visit.site.host(), &admitted.path, &parts) {
        let ending = Ending::Preflight { shared: preflight.is_shared(), route: Arc::clone(&preflight.route().name) };
        return Ok(Outcome { request, rules: Vec::new(), ending });
    }
    let (route, also) = match table.lookup(admitted.visit.site.host(), &parts.method, &admitted.path) {
        Lookup::Found { route, also } => (route, also),
        Lookup::Odd => return refused(request, 400, "the path can be read in more than one way"),
        Lookup::Nothing => return refused(request, 404, "no route is for this host, path and method"),
    };
    let token = match token(case, route, &also, &parts.uri) {
        Ok(token) => token,
        Err((status, reason)) => return refused(request, status, reason),
    };
    // What says itself anything to a route that takes no tokens is the application's business.
    let who = case.who.as_ref().filter(|_| case.token.is_none() || token.is_some());
    request.who = who.map(name);
    let asker = Asker {
        principal: who,
        authenticated: case.authenticated.filter(|_| who.is_some()),
        certificate: None,
        client: admitted.visit.client,
        method: parts.method.as_str(),
        host: admitted.visit.site.host(),
        path: admitted.path.matching(),
        now: case.now,
    };
    let ending = match decide(route, &also, &asker) {
        decision @ (Decision::Pass | Decision::Reported) => {
            let reported = decision == Decision::Reported;
            match forged((route, &also), sender(who, token), &admitted, &parts) {
                None => passes(who, settings, route, &admitted, token, (reported, None))?,
                Some(Forged::Lacking(check)) if !case.has_headers => {
                    passes(who, settings, route, &admitted, token, (reported, Some(check)))?
                }
                Some(forged) => Ending::Forged(forged),
            }
        }
        Decision::SignIn(wanted) => sign_in(case, route, &admitted, &parts, wanted),
        Decision::StepUp(wanted) => Ending::StepUp { wanted: wanted.clone() },
        Decision::Forbid => Ending::Forbidden,
    };
    Ok(Outcome { request, rules: asked(route, &also, &asker), ending })
}

fn name(who: &Principal) -> String {
    format!("{}:{}", who.provider, who.subject)
}

/// A case has no session of its own, so that a token for writing requests is taken for the right one.
fn sender(who: Option<&Principal>, token: Option<&Token>) -> Sender<'static> {
    match (who, token) {
        (None, _) => Sender::Nobody,
        (Some(_), Some(_)) => Sender::Bearer,
        (Some(_), None) => Sender::Session(&|_| true),
    }
}

fn sign_in(case: &Case, route: &Route, admitted: &Admitted, parts: &Parts, wanted: &Wanted) -> Ending {
    let is_told = case.has_headers || route.signed_out != SignedOut::Auto;
    let is_sent = sends_to_sign_in(route, &admitted.visit, &parts.headers);
    let status = if is_sent { onward_status(parts).as_u16() } else { 401 };
    Ending::SignIn { wanted: wanted.clone(), status: is_told.then_some(status) }
}

/// The token of the case, where the route looks at it; the status and why, when it is not taken.
fn token<'c>(
    case: &'c Case,
    route: &Route,
    also: &[Other<'_>],
    uri: &Uri,
) -> Result<Option<&'c Token>, (u16, &'static str)> {
    const ELSEWHERE: &str = "the token is of no issuer whose tokens are taken here";
    let (Some(token), Some(acceptance)) = (&case.token, &route.bearer) else { return Ok(None) };
    let takes = |other: &Other<'_>| other.route.bearer.as_ref().is_some_and(|others| others.takes(token.issuer));
    match token.fault {
        _ if second::is_in_query(uri) => Err((400, "the request has a second token in its query")),
        _ if !acceptance.takes(token.issuer) => Err((401, ELSEWHERE)),
        Some(fault) => Err((401, fault)),
        None if !also.iter().all(takes) => Err((401, ELSEWHERE)),
        None => Ok(Some(token)),
    }
}

/// How a request ends that may pass.
fn passes(
    who: Option<&Principal>,
    settings: &Settings,
    route: &Route,
    admitted: &Admitted,
    token: Option<&Token>,
    (reported, csrf): (bool, Option<CsrfCheck>),
) -> Result<Ending, String> {
    let refused = |status, reason: &str| Ok(Ending::Refused { status, reason: reason.to_owned() });
    let upstream = settings.upstreams.get(route.upstream).ok_or("the route leads to no upstream")?;
    let target = match route.rewrite.as_ref().map(|rewrite| rewrite.apply(admitted.path.target(), who)) {
        None => admitted.path.target().clone(),
        Some(Ok(target)) => target,
        Some(Err(Uncut::Path)) => return refused(400, "the path can't be rewritten as the route says"),
        Some(Err(Uncut::Value(_))) => return refused(403, "nothing of the person could stand in the path (rewrite)"),
    };
    match (&upstream.token, token) {
        (TokenSettings::AccessToken, Some(token)) if token.is_bound => {
            refused(403, "the token is bound to the caller, and the upstream can't use it")
        }
        (TokenSettings::IdToken, Some(_)) => {
            refused(403, "the upstream asks for an ID token, which a sign-in alone has")
        }
        _ => Ok(Ending::Passes { upstream: dressed(who, upstream, &target)?, reported, csrf }),
    }
}

fn address(address: &UpstreamAddress) -> String {
    match address {
        UpstreamAddress::Web(url) => url.origin().ascii_serialization(),
        UpstreamAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn asked(route: &Route, also: &[Other<'_>], asker: &Asker<'_>) -> Vec<Asked> {
    let one = |route: &Route, path: &str| {
        let asker = Asker { path, ..*asker };
        Asked {
            route: Arc::clone(&route.name),
            path: path.to_owned(),
            report_only: route.report_only,
            rule: trace(&route.rule, &asker),
            decision: decide(route, &[], &asker).name(),
        }
    };
    let mut rules = vec![one(route, asker.path)];
    rules.extend(also.iter().map(|other| one(other.route, &other.path)));
    rules
}

/// What an upstream would get.
fn dressed(who: Option<&Principal>, upstream: &UpstreamSettings, target: &PathAndQuery) -> Result<Upstream, String> {
    let identity = IdentityHeaders::compile(upstream).map_err(|error| error.to_string())?;
    let rendered = who.map(|who| identity.render(who)).unwrap_or_default();
    let written = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let (addresses, has_headers) = match &upstream.kind {
        UpstreamKind::Application(application) => (application.addresses.iter().map(address).collect(), true),
        UpstreamKind::Files(folder) => (vec![folder.display().to_string()], false),
        UpstreamKind::Answer(_) => (vec!["a fixed answer".to_owned()], false),
        UpstreamKind::Elsewhere => (vec!["by another proxy".to_owned()], true),
    };
    let headers = rendered.headers.iter().filter(|_| has_headers);
    Ok(Upstream {
        name: Arc::clone(&upstream.name),
        addresses,
        target: target.as_str().to_owned(),
        headers: headers.map(|(name, value)| (name.as_str().to_owned(), written(value))).collect(),
        token: match &upstream.token {
            TokenSettings::None => "none",
            TokenSettings::AccessToken => "access_token",
            TokenSettings::IdToken => "id_token",
            TokenSettings::Assertion(_) => "assertion",
            TokenSettings::Exchange(_) => "exchange",
            TokenSettings::Resource(_) => "resource",
            TokenSettings::ClientCredentials(_) => "client_credentials",
            TokenSettings::Static(_) => "static",
        },
    })
}
