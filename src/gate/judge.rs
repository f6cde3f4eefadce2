//! What every door asks of the gate: the route of an admitted request, who asks, and whether it may pass. Nothing is sent anywhere.

use std::rc::Rc;

use http::Response;
use http::header::ORIGIN;
use http::request::Parts;

use super::credential::{Credential, Recognised};
use super::decide::{Decision, decide};
use super::edge::Admitted;
use super::handle::Gate;
use super::pass::Passage;
use super::record::Record;
use super::refuse;
use super::route::{Lookup, Route};
use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::policy::asker::Asker;
use crate::policy::wanted::Wanted;

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
}

impl Gate {
    /// Judges a request that the edge admitted, and whose path is not one of our endpoints'.
    pub fn judge<'a>(&'a self, admitted: &'a Admitted, parts: &Parts, record: &mut Record) -> Judged<'a> {
        let plan = &*self.plan;
        let visit = &admitted.visit;
        let (route, also) = match plan.routes.lookup(visit.site.host(), &parts.method, &admitted.path) {
            Lookup::Found { route, also } => (route, also),
            Lookup::Odd => {
                record.decided("malformed");
                return Judged::Refused(Refusal::OddPath);
            }
            Lookup::Nothing => {
                record.decided("no_route");
                return Judged::Refused(Refusal::NoRoute);
            }
        };
        record.routed(route);
        let now = plan.site.clock.now();
        let credential = self.recognise(visit, parts, now);
        let who = credential.who().cloned();
        record.recognised(who.as_ref());
        let asker = Asker {
            principal: who.as_ref().map(|who| who.principal()),
            authenticated: who.as_ref().and_then(|who| who.authenticated()),
            certificate: admitted.certificate.as_deref(),
            client: visit.client,
            method: parts.method.as_str(),
            host: visit.site.host(),
            path: admitted.path.matching(),
            now,
        };
        let decision = decide(route, &also, &asker);
        record.decided(decision.name());
        if decision == Decision::Reported {
            tracing::warn!(
                request_id = &*visit.request_id,
                route = &*route.name,
                principal = who.as_ref().map(|who| who.principal_id()),
                "report only: the rule would have refused this request"
            );
        }
        match decision {
            Decision::Pass | Decision::Reported
                if admitted.websocket
                    && (who.is_some() || admitted.certificate.is_some())
                    && !is_own_origin(parts, visit) =>
            {
                record.decided("foreign_origin");
                Judged::Refused(Refusal::ForeignOrigin)
            }
            Decision::Pass | Decision::Reported => Judged::Pass(Passage { admitted, route, who, now }),
            Decision::SignIn(wanted) => Judged::Refused(Refusal::SignIn { route, credential, wanted }),
            Decision::StepUp(wanted) => Judged::Refused(Refusal::StepUp { route, who, wanted }),
            Decision::Forbid => Judged::Refused(Refusal::Forbidden(who)),
        }
    }
}

impl Refusal<'_> {
    /// Says no to the visitor, in their language.
    pub async fn answer(self, site: &Site, admitted: &Admitted, parts: &Parts) -> Response<Body> {
        let visit = &admitted.visit;
        match self {
            Self::OddPath => refuse::odd_path(visit),
            Self::NoRoute => refuse::no_route(visit),
            Self::SignIn { route, credential, wanted: _ } => {
                refuse::sign_in(site, admitted, route, &credential, parts).await
            }
            Self::StepUp { who, .. } | Self::Forbidden(who) => refuse::forbidden(site, visit, who.as_deref(), parts),
            Self::ForeignOrigin => refuse::foreign_origin(visit),
        }
    }
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
