//! The redirect URI: ends a sign-in in the browser that began it, or says calmly why not.
//!
//! 1. A parameter that comes twice is refused before anything else is looked at (RFC 6749, section 3.1).
//! 2. The state must be that of a flow in this very browser, begun with this very provider, before the code is redeemed
//!    (RFC 6749, section 10.12; RFC 9700, section 4.4.2.2).
//! 3. A flow works once: its cookie goes, whatever comes of it.
//! 4. A session gets a new name and takes the place of the one before (session fixation).
//! 5. Nothing here redirects back to the provider: after a failure a person decides to try again.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::base::clock::{Timestamp, instant};
use crate::base::random::{self, NoRandomness};
use crate::endpoint::fault::{dropped, internal, not_kept, provider_fault};
use crate::endpoint::form;
use crate::endpoint::keep::{NotKept, keep};
use crate::endpoint::login::given;
use crate::endpoint::origin::{Source, source};
use crate::endpoint::site::{Offer, Site};
use crate::endpoint::step_up;
use crate::http::body::Body;
use crate::http::query::Query;
use crate::http::return_to::ReturnTo;
use crate::http::visit::{Caller, Visit};
use crate::page::{self, Explanation, Question};
use crate::policy::wanted::Wanted;
use crate::provider::{Answer, ProviderFault, SignedIn};
use crate::session::cookie::SessionTooLarge;
use crate::session::ended::EndedMeanwhile;
use crate::session::flow::{Flow, FlowProblem};
use crate::session::model::Session;

/// The field that tells a form of ours from the provider's.
const AGAIN: &str = "portcullis_again";

/// The longest that a sign-in waits for its date. Gateways whose clocks differ by more date it later all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Between two looks at the clock, which tells whole seconds.
const STEP: Duration = Duration::from_millis(20);

/// What a provider answers that can't give what was asked of a sign-in.
const UNMET: &str = "unmet_authentication_requirements";

/// The longest value that our own form repeats; a code that is longer is none.
const MAX_REPEATED: usize = 8 * 1024;

/// `GET` and `POST /callback/{provider}`: the answer in the query, or in a form (OAuth 2.0 Form Post Response Mode).
pub async fn callback(site: &Site, visit: &Visit, parts: &Parts, body: &[u8], name: &str) -> Response<Body> {
    let Some(offer) = site.offer(name) else { return page::not_found(visit) };
    let Some(parameters) = read(parts, body) else {
        return bad(site, visit, parts, "A part of the provider's answer came twice, or is not well formed.");
    };
    let Some(state) = given(&parameters, "state") else {
        return bad(site, visit, parts, "The provider's answer doesn't say which sign-in it belongs to.");
    };
    let taken = site.flows.take(&parts.headers, visit.site.host(), name, state, site.clock.now());
    let (flow, cleared) = match taken {
        Ok(taken) => taken,
        Err(FlowProblem::Unknown) if is_cut_off(visit, parts, &parameters) => {
            return ask_to_continue(site, visit, name, &parameters);
        }
        Err(problem) => return refuse(site, visit, parts, offer, problem),
    };
    let response = finish(site, visit, parts, offer, flow, answer(&parameters)).await;
    page::with_cookies(response, cleared)
}

async fn finish(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    offer: &Offer,
    flow: Flow,
    answer: Answer,
) -> Response<Body> {
    let return_to = site.return_to(visit, Some(&flow.return_to));
    let retry = site.login_path(Some(offer.provider.name()), &return_to);
    let provider = Arc::clone(&offer.provider);
    let Flow { pending, started, round, .. } = flow;
    let asked = pending.wanted.clone();
    let seen = site.ended.epoch();
    let outcome = site.office.run(async move { provider.finish(&pending, answer).await }).await;
    match outcome {
        Ok(Ok(signed_in)) => {
            let asking = Asking { wanted: asked, started, seen, round, return_to };
            end(site, visit, parts, Arrival { offer, signed_in, asking }).await
        }
        // OpenID Connect Core Error Code unmet_authentication_requirements 1.0, section 2.
        Ok(Err(ProviderFault::Refused { error, .. })) if error == UNMET && !asked.is_nothing() => {
            step_up::unmet(site, visit, offer, &return_to)
        }
        Ok(Err(fault)) => provider_fault(visit, &fault, offer.provider.label(), &retry),
        Err(cause) => dropped(visit, &cause, &retry),
    }
}

/// What was asked of a sign-in that has ended.
struct Asking {
    wanted: Wanted,
    started: Timestamp,
    /// The epoch of ended sessions before the provider was asked.
    seen: u64,
    round: u8,
    return_to: ReturnTo,
}

/// A sign-in that ended well.
struct Arrival<'a> {
    offer: &'a Offer,
    signed_in: SignedIn,
    asking: Asking,
}

/// A sign-in that ended well: on to where the browser wanted to go, unless it has not what was asked of it (`OpenID` Connect Core
/// 1.0, section 3.1.3.7, points 12 and 13). The time counts from when it was asked for.
async fn end(site: &Site, visit: &Visit, parts: &Parts, arrival: Arrival<'_>) -> Response<Body> {
    let Arrival { offer, signed_in, asking } = &arrival;
    let authenticated = signed_in.authenticated.map(|when| when.after(offer.provider.clock_skew()));
    let is_met = asking.wanted.is_met(&signed_in.principal, authenticated, asking.started);
    if is_met {
        let location = asking.return_to.location(&visit.site);
        let response = if parts.method == Method::POST {
            page::onward(visit, "You are signed in", &location)
        } else {
            page::redirect(visit, StatusCode::SEE_OTHER, &location)
        };
        return begin(site, visit, parts, arrival, response).await;
    }
    let page = step_up::unmet(site, visit, offer, &asking.return_to);
    let same = |known: &Session| {
        let (known, new) = (&known.principal, &signed_in.principal);
        known.issuer == new.issuer && known.subject == new.subject
    };
    // What they have may be better than what came.
    if site.session(visit, &parts.headers).as_deref().is_some_and(same) {
        return page;
    }
    begin(site, visit, parts, arrival, page).await
}

/// Begins the session, unless what it relies on was ended while the sign-in was on its way.
async fn begin(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    arrival: Arrival<'_>,
    response: Response<Body>,
) -> Response<Body> {
    let Arrival { offer, signed_in, asking } = arrival;
    let (started, seen) = (asking.started, asking.seen);
    let retry = site.login_path(Some(offer.provider.name()), &asking.return_to);
    let session = match name_session(site, signed_in, asking) {
        Ok(session) => session,
        Err(cause) => return internal(visit, "a session can't be named", &cause),
    };
    match site.ended.admit(&session, started, seen) {
        Ok(created) => {
            if site.clock.now() < created {
                wait_for(site, created).await;
                // What was ended meanwhile, this session was to come of too.
                if let Err(cause) = site.ended.admit(&session, started, seen) {
                    return ended_meanwhile(site, visit, parts, offer, &cause);
                }
            }
            let session = Session { created, used: created, ..session };
            admit(site, visit, parts, &session, &retry, response).await
        }
        Err(cause) => ended_meanwhile(site, visit, parts, offer, &cause),
    }
}

/// Waits for the second in which a session is to begin that comes right after an end of others: one that were there before its date could
/// not be hit by another end in this very second.
async fn wait_for(site: &Site, created: Timestamp) {
    let until = instant() + LONGEST_WAIT;
    while site.clock.now() < created && instant() < until {
        tokio::time::sleep(STEP).await;
    }
}

/// A session of a new name, whatever the browser had before.
fn name_session(site: &Site, signed_in: SignedIn, asking: Asking) -> Result<Session, NoRandomness> {
    let (id, now) = (random::bytes()?, site.clock.now());
    let SignedIn { principal, tokens, obtained, nonce, authenticated, provider_session } = signed_in;
    let Asking { wanted: asked, started: _, seen: _, round, return_to: _ } = asking;
    Ok(Session {
        id,
        version: 0,
        principal,
        tokens,
        obtained,
        nonce,
        created: now,
        used: now,
        authenticated,
        provider_session,
        asked,
        round,
    })
}

/// The provider, or the person elsewhere, ended while this sign-in was on its way what it relies on.
fn ended_meanwhile(site: &Site, visit: &Visit, parts: &Parts, offer: &Offer, cause: &EndedMeanwhile) -> Response<Body> {
    tracing::info!(
        request_id = &*visit.request_id,
        provider = &**offer.provider.name(),
        error = %cause,
        "nobody was signed in"
    );
    let explanation = Explanation::new(
        "You were signed out meanwhile",
        "While you were signing in, you were signed out everywhere.",
        "Please sign in again.",
    );
    failed(site, visit, parts, Some(offer), explanation)
}

/// Keeps a new session, by way of `response`; it takes the place of the one before. When that can't be, the answer says why.
async fn admit(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    session: &Session,
    retry: &str,
    response: Response<Body>,
) -> Response<Body> {
    let cookies = match keep(site, visit, &parts.headers, session).await {
        Ok(cookies) => cookies,
        Err(NotKept::TooLarge(problem)) => return too_large(visit, session, &problem),
        Err(NotKept::Away(fault)) => return not_kept(visit, &fault, retry),
        Err(cause) => return internal(visit, "a session can't be written", &cause),
    };
    site.end_session(visit, &parts.headers);
    tracing::info!(
        request_id = &*visit.request_id,
        provider = &*session.principal.provider,
        principal = session.principal.id(),
        "signed in"
    );
    page::with_cookies(response, cookies)
}

fn too_large(visit: &Visit, session: &Session, problem: &SessionTooLarge) -> Response<Body> {
    tracing::error!(
        request_id = &*visit.request_id,
        provider = &*session.principal.provider,
        principal = session.principal.id(),
        error = %problem,
        "a sign-in failed because its session doesn't fit the cookies"
    );
    let explanation = Explanation::new(
        "You can't be signed in yet",
        "Your account carries more data than this site keeps in its cookies.",
        "Tell whoever runs this site. They can keep sessions in a store (session.store), ask the provider for fewer scopes or \
         claims, or raise session.max_cookie_bytes.",
    )
    .link("Go to the start", "/");
    page::error(visit, StatusCode::INTERNAL_SERVER_ERROR, &explanation)
}

fn read(parts: &Parts, body: &[u8]) -> Option<Query> {
    if parts.method == Method::POST {
        return form::read(parts, body);
    }
    Query::parse(parts.uri.query().unwrap_or_default().as_bytes()).ok()
}

fn answer(parameters: &Query) -> Answer {
    let value = |name| given(parameters, name).map(str::to_owned);
    Answer {
        code: value("code"),
        issuer: value("iss"),
        error: value("error"),
        error_description: value("error_description"),
    }
}

/// Whether the flow is missing only because the browser kept its cookies back: a form that another site posts comes
/// without `SameSite=Lax` cookies.
fn is_cut_off(visit: &Visit, parts: &Parts, parameters: &Query) -> bool {
    parts.method == Method::POST
        && visit.caller == Caller::Browser
        && source(&parts.headers, &visit.site) != Source::Own
        && given(parameters, AGAIN).is_none()
}

/// Has the person post the provider's answer once more, from this site, so that the cookies come along. The answer
/// stays in the form: in a URL it would get into histories and logs.
fn ask_to_continue(site: &Site, visit: &Visit, name: &str, parameters: &Query) -> Response<Body> {
    let mut fields: Vec<(&str, &str)> = ["state", "code", "iss", "error"]
        .into_iter()
        .filter_map(|field| given(parameters, field).map(|value| (field, value)))
        .filter(|(_, value)| value.len() <= MAX_REPEATED)
        .collect();
    fields.push((AGAIN, "1"));
    let action = site.path(&format!("/callback/{name}"));
    page::ask(
        visit,
        &Question {
            title: "Almost there",
            what: "One more step, and you are signed in.",
            action: &action,
            fields: &fields,
            button: "Continue",
            others: &[],
        },
    )
}

/// A sign-in that isn't this browser's, is too old, or was used before: a restored tab, a double click, or an attack.
fn refuse(site: &Site, visit: &Visit, parts: &Parts, offer: &Offer, problem: FlowProblem) -> Response<Body> {
    tracing::warn!(
        request_id = &*visit.request_id,
        provider = &**offer.provider.name(),
        error = %problem,
        "an answer fits no sign-in of this browser"
    );
    let (title, what, advice) = match problem {
        FlowProblem::Unknown => (
            "This sign-in isn't known here",
            "The answer that came back belongs to no sign-in of this browser.",
            "Sign in again. If it doesn't help, allow cookies for this site, and stay in one browser.",
        ),
        FlowProblem::Stale => {
            ("This sign-in took too long", "A sign-in has to end within a few minutes.", "Please sign in again.")
        }
        FlowProblem::OtherProvider => (
            "This sign-in got mixed up",
            "The answer came from another provider than the one that was asked.",
            "Nobody was signed in. Please start again.",
        ),
        FlowProblem::Used => {
            ("This sign-in is over", "The answer was used before, and it works only once.", "Please sign in again.")
        }
    };
    failed(site, visit, parts, Some(offer), Explanation::new(title, what, advice))
}

fn bad(site: &Site, visit: &Visit, parts: &Parts, what: &'static str) -> Response<Body> {
    tracing::warn!(request_id = &*visit.request_id, reason = what, "an answer can't be read");
    failed(site, visit, parts, None, Explanation::new("This sign-in can't go on", what, "Please sign in again."))
}

/// A 400 with the ways on. Whoever is signed in already is told so first: the Back button brought them here.
fn failed(
    site: &Site,
    visit: &Visit,
    parts: &Parts,
    offer: Option<&Offer>,
    mut explanation: Explanation<'_>,
) -> Response<Body> {
    let again = site.login_path(offer.map(|offer| &**offer.provider.name()), &site.return_to(visit, None));
    if site.session(visit, &parts.headers).is_some() {
        explanation.advice = "You are signed in already, so you can simply go on.".into();
        explanation = explanation.link("Go on", "/").link("Sign in again", again);
    } else {
        explanation = explanation.link("Try again", again).link("Go to the start", "/");
    }
    page::error(visit, StatusCode::BAD_REQUEST, &explanation)
}

#[cfg(test)]
mod tests;
