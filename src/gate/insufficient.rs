//! An upstream that finds a person's sign-in not good enough (RFC 9470): a browser's window goes back to the provider, as if a rule had
//! asked for it. Everyone else gets the upstream's own answer, which says what it wants.

use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, response};

use super::credential::Recognised;
use super::edge::Admitted;
use super::handle::Gate;
use super::pass::Passage;
use super::record::Record;
use super::refuse;
use super::route::Route;
use crate::config::settings::SignedOut;
use crate::forward::challenge::insufficient;
use crate::http::body::Body;
use crate::http::visit::Caller;

/// What a sign-in needs of a request that has gone to its upstream: kept only for those that may need it.
pub struct Standby {
    cookies: Option<HeaderValue>,
}

impl Standby {
    /// For a window in which somebody is signed in, on a route that sends people to sign in.
    pub fn of(admitted: &Admitted, route: &Route, who: Option<&Recognised>, parts: &Parts) -> Option<Self> {
        let has_session = || who.is_some_and(|who| who.session().is_some());
        let is_window = admitted.visit.caller == Caller::Browser && parts.method == Method::GET && !admitted.in_advance;
        let may = is_window && route.signed_out != SignedOut::Unauthorized && has_session();
        may.then(|| Self { cookies: parts.headers.get(COOKIE).cloned() })
    }

    /// The answer in place of the upstream's 401, when that says that the sign-in is not good enough.
    pub async fn answer(
        self,
        gate: &Gate,
        passage: &Passage<'_>,
        head: &response::Parts,
        record: &mut Record,
    ) -> Option<Response<Body>> {
        let wanted = insufficient(&head.headers)?;
        record.decided("step_up");
        let Passage { admitted, route, who, .. } = passage;
        tracing::info!(
            request_id = &*admitted.visit.request_id,
            route = &*route.name,
            "an upstream wants another sign-in"
        );
        let parts = self.request(admitted)?;
        Some(refuse::step_up(&gate.plan.site, admitted, route, who.as_deref(), &wanted, &parts).await)
    }

    /// The request again, as far as a sign-in looks at it.
    fn request(self, admitted: &Admitted) -> Option<Parts> {
        let (mut parts, ()) = Request::get(admitted.path.target().as_str()).body(()).ok()?.into_parts();
        parts.headers = HeaderMap::from_iter(self.cookies.map(|cookies| (COOKIE, cookies)));
        Some(parts)
    }
}
