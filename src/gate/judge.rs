//! What every door asks of the gate: the route of an admitted request, who asks, and whether it may pass. Nothing is sent anywhere.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::bearer::challenge::{self, Denial};
use super::bearer::{Acceptance, Desk};
use super::cors::{self, Preflight};
use super::credential::{Credential, Recognised};
use super::csrf::{self, Sender};
use super::decide::{Decision, decide};
use super::edge::Admitted;
use super::handle::Gate;
use super::pass::Passage;
use super::record::Record;
use super::refuse;
use super::renewal;
use super::route::{Lookup, Other, Route};
use crate::base::clock::Timestamp;
use crate::config::settings::CsrfCheck;
use crate::endpoint::refreshing::LONGEST_WAIT;
use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::policy::asker::Asker;
use crate::policy::wanted::Wanted;
use crate::session::cookie::Broken;
use crate::session::csrf::is_token;
use crate::session::refresh::flight::Flight;

/// What becomes of a request.
pub enum Judged<'a> {
    /// It goes to the upstream of its route.
    Pass(Passage<'a>),
    /// It goes nowhere.
    Refused(Refusal<'a>),
}

/// Why a request goes nowhere.
pub enum Refusal<'a> {
    /// Its path may mean several things, and its route does not allow that.
    OddPath,
    /// No route is for it.
    NoRoute,
    /// It asks in advance whether a page may send another one: that is answered here.
    Preflight(Preflight<'a>),
    /// Somebody has to sign in first.
    SignIn {
        /// The route that asks for it.
        route: &'a Route,
        /// What the request brought instead.
        credential: Credential,
        /// What the sign-in should have.
        wanted: &'a Wanted,
    },
    /// Whoever asks has to sign in anew, in another way (RFC 9470).
    StepUp {
        /// The route that asks for it.
        route: &'a Route,
        /// Who asks.
        who: Option<Rc<Recognised>>,
        /// What the new sign-in has to have.
        wanted: &'a Wanted,
    },
    /// Whoever asks may not pass.
    Forbidden(Option<Rc<Recognised>>),
    /// Another site's page opens a WebSocket in somebody's name.
    ForeignOrigin,
    /// It would change something, and doesn't show that a page of ours sent it.
    Forged(CsrfCheck),
    /// Whoever asks brought a token, and it is not taken, or not admitted.
    Bearer {
        /// What the route takes.
        acceptance: &'a Acceptance,
        /// Why.
        denial: Box<Denial>,
    },
}

impl Gate {
    /// Judges a request that the edge admitted, and whose path is not one of our endpoints'. Waits, within a bound, for the refresh of a
    /// session whose access token is over.
    pub async fn judge<'a>(&'a self, admitted: &'a Admitted, parts: &Parts, record: &mut Record) -> Judged<'a> {
        let visit = &admitted.visit;
        let (route, also) = match self.route(admitted, parts, record) {
            Ok(found) => found,
            Err(refusal) => return Judged::Refused(refusal),
        };
        record.routed(route);
        if route.cors.is_some() {
            record.shared(cors::sharing(route, &also, &parts.headers));
        }
        let (credential, now) = match self.credential(route, &also, admitted, parts, record).await {
            Ok(found) => found,
            Err((acceptance, denial)) => {
                record.decided(denial.name());
                return Judged::Refused(Refusal::Bearer { acceptance, denial });
            }
        };
        let who = credential.who().cloned();
        record.recognised(who.as_ref());
        let decision = decide(route, &also, &asker(admitted, &parts.method, who.as_deref(), now));
        let is_unknown = matches!((&credential, &decision), (Credential::Unknown, Decision::SignIn(_)));
        record.decided(if is_unknown { "store_away" } else { decision.name() });
        if decision == Decision::Reported {
            tracing::warn!(
                request_id = &*visit.request_id,
                route = &*route.name,
                principal = who.as_ref().map(|who| who.principal_id()),
                "report only: the rule would have refused this request"
            );
        }
        // A program is told what its token lacks, and sent nowhere.
        if let (Some(acceptance), Credential::Bearer(who)) = (&route.bearer, &credential)
            && !decision.passes()
        {
            let denial = match decision {
                Decision::StepUp(wanted) => Denial::step_up(wanted),
                _ => Denial::forbidden(acceptance, &who.principal().scopes),
            };
            return Judged::Refused(Refusal::Bearer { acceptance, denial: Box::new(denial) });
        }
        match decision {
            Decision::Pass | Decision::Reported => {
                self.admit(Passage { admitted, route, who, now }, &also, &credential, parts, record)
            }
            Decision::SignIn(wanted) => Judged::Refused(Refusal::SignIn { route, credential, wanted }),
            Decision::StepUp(wanted) => Judged::Refused(Refusal::StepUp { route, who, wanted }),
            Decision::Forbid => Judged::Refused(Refusal::Forbidden(who)),
        }
    }
}

impl Gate {
    /// What becomes of a request of somebody who may pass: it goes on, unless another site's page sent it.
    fn admit<'a>(
        &self,
        passage: Passage<'a>,
        also: &[Other<'_>],
        credential: &Credential,
        parts: &Parts,
        record: &mut Record,
    ) -> Judged<'a> {
        let sessions = &self.plan.site.sessions;
        let session = passage.who.as_ref().and_then(|who| who.session());
        let is_sessions = |token: &[u8]| session.is_some_and(|session| is_token(sessions, &session.id, token));
        let sender = match credential {
            Credential::Session(_) => Sender::Session(&is_sessions),
            Credential::Bearer(_) => Sender::Bearer,
            Credential::Absent | Credential::Broken(_) | Credential::Over | Credential::Unknown => Sender::Nobody,
        };
        match forged((passage.route, also), sender, passage.admitted, parts) {
            None => Judged::Pass(passage),
            Some(Forged::WebSocket) => {
                record.decided("foreign_origin");
                Judged::Refused(Refusal::ForeignOrigin)
            }
            Some(Forged::Lacking(check)) => {
                record.decided("csrf");
                Judged::Refused(Refusal::Forged(check))
            }
        }
    }

    /// The route of a request, and those of other readings of its path.
    fn route<'a>(
        &'a self,
        admitted: &Admitted,
        parts: &Parts,
        record: &mut Record,
    ) -> Result<(&'a Arc<Route>, Vec<Other<'a>>), Refusal<'a>> {
        let (routes, host) = (&self.plan.routes, admitted.visit.site.host());
        if let Some(preflight) = cors::preflight(routes, host, &admitted.path, parts) {
            record.routed(preflight.route());
            record.decided("preflight");
            return Err(Refusal::Preflight(preflight));
        }
        match routes.lookup(host, &parts.method, &admitted.path) {
            Lookup::Found { route, also } => Ok((route, also)),
            Lookup::Odd => {
                record.decided("malformed");
                Err(Refusal::OddPath)
            }
            Lookup::Nothing => {
                record.decided("no_route");
                Err(Refusal::NoRoute)
            }
        }
    }

    /// What the request brings to show who asks: a token where its route takes tokens, else a session. With the time at which that is known.
    async fn credential<'a>(
        &self,
        route: &'a Route,
        also: &[Other<'a>],
        admitted: &Admitted,
        parts: &Parts,
        record: &mut Record,
    ) -> Result<(Credential, Timestamp), (&'a Acceptance, Box<Denial>)> {
        let clock = &self.plan.site.clock;
        let now = clock.now();
        if let (Some(acceptance), Some(plan)) = (&route.bearer, &self.plan.bearer)
            && parts.headers.contains_key(AUTHORIZATION)
        {
            let desk = Desk { plan, site: &self.plan.site, table: &self.tokens, upstreams: self.upstreams.len() };
            let caller = desk.recognise(acceptance, admitted, parts, now);
            let caller = Box::pin(caller).await.map_err(|denial| (acceptance, Box::new(denial)))?;
            if let Some((who, proof)) = caller {
                record.proved(proof);
                // Every reading of the path has to take the token.
                let issuer = who.bearer().map(|vouched| vouched.issuer);
                let takes = |other: &Other<'_>| {
                    other.route.bearer.as_ref().zip(issuer).is_some_and(|(others, issuer)| others.takes(issuer))
                };
                return if also.iter().all(takes) {
                    Ok((Credential::Bearer(who), clock.now()))
                } else {
                    Err((acceptance, Box::new(Denial::elsewhere())))
                };
            }
        }
        // A browser asks in advance without the session, so whoever sends one along is no browser.
        if cors::is_preflight(parts) {
            return Ok((Credential::Absent, now));
        }
        self.bring_session(&admitted.visit, parts).await;
        let now = if self.plan.site.stored.is_some() { clock.now() } else { now };
        let mut recognition = self.recognise(&admitted.visit, parts, now);
        // Another gateway may seal with a key that stands in our files by now.
        if matches!(recognition.credential, Credential::Broken(Broken::UnknownKey)) {
            Box::pin(self.plan.site.key_desk.look()).await;
            self.bring_session(&admitted.visit, parts).await;
            recognition = self.recognise(&admitted.visit, parts, now);
        }
        match recognition.flight {
            Some(flight) if renewal::waits(&self.plan, route, &flight) => {
                let credential = Box::pin(self.recognise_after(flight, &admitted.visit, parts)).await;
                Ok((credential, clock.now()))
            }
            _ => Ok((recognition.credential, now)),
        }
    }

    /// Whatever became of the refresh that was waited for, nobody waits twice.
    async fn recognise_after(&self, flight: Flight, visit: &Visit, parts: &Parts) -> Credential {
        flight.landed(LONGEST_WAIT).await;
        self.recognise(visit, parts, self.plan.site.clock.now()).credential
    }

    /// Whether a request that was admitted may still pass now that `who` is known better.
    pub(super) fn admits(&self, admitted: &Admitted, method: &Method, who: Option<&Recognised>) -> bool {
        let plan = &*self.plan;
        let Lookup::Found { route, also } = plan.routes.lookup(admitted.visit.site.host(), method, &admitted.path)
        else {
            return false;
        };
        decide(route, &also, &asker(admitted, method, who, plan.site.clock.now())).passes()
    }
}

fn asker<'a>(admitted: &'a Admitted, method: &'a Method, who: Option<&'a Recognised>, now: Timestamp) -> Asker<'a> {
    let visit = &admitted.visit;
    Asker {
        principal: who.map(Recognised::principal),
        authenticated: who.and_then(Recognised::authenticated),
        certificate: admitted.certificate.as_deref(),
        client: visit.client,
        method: method.as_str(),
        host: visit.site.host(),
        path: admitted.path.matching(),
        now,
    }
}

impl Refusal<'_> {
    /// Says no to the visitor, in their language.
    pub async fn answer(self, site: &Site, admitted: &Admitted, parts: &Parts) -> Response<Body> {
        let visit = &admitted.visit;
        match self {
            Self::OddPath => refuse::odd_path(visit),
            Self::NoRoute => refuse::no_route(visit),
            Self::Preflight(preflight) => preflight.answer(visit, &parts.headers),
            Self::SignIn { route, credential, wanted } => {
                invite(refuse::sign_in(site, admitted, route, &credential, wanted, parts).await, route, visit)
            }
            Self::StepUp { route, who, wanted } => {
                refuse::step_up(site, admitted, route, who.as_deref(), wanted, parts).await
            }
            Self::Forbidden(who) => refuse::forbidden(site, visit, who.as_deref(), parts),
            Self::ForeignOrigin => refuse::foreign_origin(visit),
            Self::Forged(check) => refuse::forged(site, visit, check),
            Self::Bearer { acceptance, denial } => denial.answer(acceptance, visit),
        }
    }
}

/// A 401 that also says which tokens the route takes, where it takes any.
#[must_use]
pub fn invite(mut response: Response<Body>, route: &Route, visit: &Visit) -> Response<Body> {
    if let Some(acceptance) = route.bearer.as_ref().filter(|_| response.status() == StatusCode::UNAUTHORIZED) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge::invitation(acceptance, &visit.site));
    }
    response
}

/// A request of somebody who may pass, that they did not send themselves, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// Another site's page opens a WebSocket.
    WebSocket,
    /// It would change something, and lacks this.
    Lacking(CsrfCheck),
}

/// Whether somebody else's page sent the request of somebody who may pass. Pure, so that `explain` gives the same answer.
pub fn forged(
    (route, also): (&Route, &[Other<'_>]),
    sender: Sender<'_>,
    admitted: &Admitted,
    parts: &Parts,
) -> Option<Forged> {
    if admitted.websocket
        && (matches!(sender, Sender::Session(_)) || admitted.certificate.is_some())
        && !is_own_origin(parts, &admitted.visit)
    {
        return Some(Forged::WebSocket);
    }
    csrf::lacking((route, also), sender, admitted, parts).map(Forged::Lacking)
}

/// Browsers send cookies and certificates with a WebSocket handshake whatever page began it, and say in `Origin` which page that was
/// (RFC 6455, section 10.2). Programs without a browser send none.
fn is_own_origin(parts: &Parts, visit: &Visit) -> bool {
    let mut origins = parts.headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin.as_bytes() == visit.site.as_str().as_bytes(),
        (Some(_), Some(_)) => false,
    }
}
