//! The outcome of a case: the edge, the route, the rules and the decision, by the same functions that the proxy uses.

use std::sync::Arc;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::case::Case;
use crate::config::settings::{CsrfCheck, Settings, TokenSettings, UpstreamAddress, UpstreamKind};
use crate::endpoint::site::owns;
use crate::gate::cors;
use crate::gate::csrf::Sender;
use crate::gate::decide::{Decision, decide};
use crate::gate::edge::{self, Admitted};
use crate::gate::judge::{Forged, forged};
use crate::gate::route::{Lookup, Other, Route, RouteTable};
use crate::identity::headers::IdentityHeaders;
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
    /// Somebody has to sign in.
    SignIn { wanted: Wanted },
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
        who: case.who.as_ref().map(|who| format!("{}:{}", who.provider, who.subject)),
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
    let asker = Asker {
        principal: case.who.as_ref(),
        authenticated: case.authenticated,
        certificate: None,
        client: admitted.visit.client,
        method: parts.method.as_str(),
        host: admitted.visit.site.host(),
        path: admitted.path.matching(),
        now: case.now,
    };
    let ending = match decide(route, &also, &asker) {
        decision @ (Decision::Pass | Decision::Reported) => {
            let csrf = match proof(case, &parts, &admitted, (route, &also)) {
                Proof::Forged(forged) => {
                    return Ok(Outcome { request, rules: asked(route, &also, &asker), ending: Ending::Forged(forged) });
                }
                Proof::Asked(check) => Some(check),
                Proof::Nothing => None,
            };
            match upstream(case, settings, route, &admitted)? {
                Some(upstream) => Ending::Passes { upstream, reported: decision == Decision::Reported, csrf },
                None => {
                    Ending::Refused { status: 400, reason: "the path can't be rewritten as the route says".to_owned() }
                }
            }
        }
        Decision::SignIn(wanted) => Ending::SignIn { wanted: wanted.clone() },
        Decision::StepUp(wanted) => Ending::StepUp { wanted: wanted.clone() },
        Decision::Forbid => Ending::Forbidden,
    };
    Ok(Outcome { request, rules: asked(route, &also, &asker), ending })
}

/// What whoever may pass has to show beside a session.
enum Proof {
    /// Nothing, or it is there.
    Nothing,
    /// This; the case has no headers by which to tell.
    Asked(CsrfCheck),
    /// Somebody else's page sent it.
    Forged(Forged),
}

/// A case has no session of its own, so that a token is taken for the right one.
fn proof(case: &Case, parts: &Parts, admitted: &Admitted, (route, also): (&Route, &[Other<'_>])) -> Proof {
    let sender = match &case.who {
        None => Sender::Nobody,
        Some(_) if route.bearer.is_some() && parts.headers.contains_key(AUTHORIZATION) => Sender::Bearer,
        Some(_) => Sender::Session(&|_| true),
    };
    match forged((route, also), sender, admitted, parts) {
        None => Proof::Nothing,
        Some(Forged::Lacking(check)) if !case.has_headers => Proof::Asked(check),
        Some(forged) => Proof::Forged(forged),
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

/// What the upstream of `route` would get; nothing when the path can't be rewritten.
fn upstream(case: &Case, settings: &Settings, route: &Route, admitted: &Admitted) -> Result<Option<Upstream>, String> {
    let upstream = settings.upstreams.get(route.upstream).ok_or("the route leads to no upstream")?;
    let received = admitted.path.target();
    let target = match &route.rewrite {
        None => received.clone(),
        Some(rewrite) => match rewrite.apply(received, case.who.as_ref()) {
            Ok(target) => target,
            Err(_) => return Ok(None),
        },
    };
    let identity = IdentityHeaders::compile(upstream).map_err(|error| error.to_string())?;
    let rendered = case.who.as_ref().map(|who| identity.render(who)).unwrap_or_default();
    let written = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let (addresses, has_headers) = match &upstream.kind {
        UpstreamKind::Application(application) => (application.addresses.iter().map(address).collect(), true),
        UpstreamKind::Files(folder) => (vec![folder.display().to_string()], false),
        UpstreamKind::Answer(_) => (vec!["a fixed answer".to_owned()], false),
        UpstreamKind::Elsewhere => (vec!["by another proxy".to_owned()], true),
    };
    let headers = rendered.headers.iter().filter(|_| has_headers);
    Ok(Some(Upstream {
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
    }))
}
