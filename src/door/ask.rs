//! The question behind every door: may this request, which another proxy received, pass to the upstream of its route?

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response, StatusCode};

use crate::endpoint::refresh::unavailable;
use crate::gate::Gate;
use crate::gate::credential::Credential;
use crate::gate::edge::{Admitted, Overheard, Told, admit_told};
use crate::gate::judge::{Judged, Refusal, invite};
use crate::gate::lacking::{Lacking, token_unavailable};
use crate::gate::record::Record;
use crate::gate::refuse;
use crate::gate::route::Route;
use crate::gate::vouch::{Unvouched, Vouched};
use crate::http::body::Body;
use crate::http::visit::Peer;
use crate::net::ready::Added;
use crate::page;

/// Said by us or by nobody.
static OURS_ALONE: HeaderName = AUTHORIZATION;
/// Said by the visitor, without our cookies.
static WITHOUT_OURS: HeaderName = COOKIE;

/// What somebody without a session is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedOut {
    /// 401, whoever asks: the proxy knows what to do then.
    Unauthorized,
    /// What the route says: a redirect to sign in, or a 401 for whoever can't follow one. The proxy hands it on.
    AsRouted,
}

/// A request that another proxy received.
pub struct Question<'q> {
    /// Its headers, and the version that the question came in.
    pub parts: Box<Parts>,
    /// What it asks for.
    pub told: Told,
    /// Whose forwarding headers are in question.
    pub peer: &'q Peer,
    /// What somebody without a session is told.
    pub signed_out: SignedOut,
}

/// What becomes of the request.
pub enum Answer<'g> {
    /// It may pass, dressed like this.
    Pass(Box<Permit<'g>>),
    /// It may not; this is for the visitor.
    Refused(Box<Response<Body>>),
}

/// A yes, with what the proxy has to do to the request before its upstream sees it.
pub struct Permit<'g> {
    /// What the upstream has to see.
    pub vouched: Vouched<'g>,
    /// The request.
    pub admitted: Admitted,
    /// Protected headers that the request brought.
    pub brought: Vec<HeaderName>,
}

/// Asks. A yes is written down with `status`.
pub async fn ask<'g>(gate: &'g Gate, question: Question<'_>, status: StatusCode) -> Answer<'g> {
    let Question { mut parts, told, peer, signed_out } = question;
    let mut record = gate.begin_record();
    let Overheard { admitted, protected } = match admit_told(&mut parts, &told, peer, &gate.plan().edge) {
        Ok(overheard) => overheard,
        Err(malformed) => return Answer::Refused(Box::new(gate.refuse_malformed(&record, peer, &parts, &malformed))),
    };
    let mut decided = decide(gate, &admitted, &mut parts, signed_out, &mut record).await;
    // A proxy that was told no may ask once more for what its visitor is told, and a proof that got nobody anything is still unused.
    if let (Err(_), Some(proof), Some(bearer)) = (&decided, record.proof(), &gate.plan().bearer) {
        bearer.replays.forget(proof);
    }
    if let (Err(refused), Some(sharing)) = (&mut decided, record.sharing()) {
        sharing.write(refused.headers_mut());
    }
    let status = decided.as_ref().map_or_else(|refused| refused.status(), |_| status);
    gate.tell(&record, &admitted.visit, (&parts.method, parts.uri.path()), status);
    match decided {
        Ok(vouched) => Answer::Pass(Box::new(Permit { vouched, admitted, brought: protected })),
        Err(refused) => Answer::Refused(refused),
    }
}

async fn decide<'g>(
    gate: &'g Gate,
    admitted: &Admitted,
    parts: &mut Parts,
    signed_out: SignedOut,
    record: &mut Record,
) -> Result<Vouched<'g>, Box<Response<Body>>> {
    let (site, visit) = (&gate.plan().site, &admitted.visit);
    // Our own endpoints are behind no route: whoever guards them with a question would have nobody sign in.
    if site.owns(admitted.path.matching()) {
        record.decided("no_route");
        return Err(Box::new(refuse::no_route(visit)));
    }
    let sign_in = |route: &Route, credential: &Credential, parts: &Parts| {
        let response = match signed_out {
            SignedOut::Unauthorized => refuse::unauthorized(site, visit, credential, parts),
            SignedOut::AsRouted => refuse::lead_to_sign_in(site, visit, route, credential, parts),
        };
        invite(response, route, visit)
    };
    let refused = match gate.judge(admitted, parts, record).await {
        Judged::Pass(passage) => match gate.vouch(&passage, parts, record).await {
            Ok(vouched) => return Ok(vouched),
            Err(Unvouched::OddPath) => refuse::odd_path(visit),
            Err(Unvouched::NoPath) => refuse::no_path(visit),
            Err(Unvouched::Lacking(Lacking::SignIn)) => sign_in(passage.route, &Credential::Absent, parts),
            Err(Unvouched::Lacking(Lacking::Later)) => unavailable(visit),
            Err(Unvouched::Lacking(Lacking::Token)) => token_unavailable(&passage, parts),
            Err(Unvouched::Lacking(Lacking::Caller { acceptance, denial })) => denial.answer(acceptance, visit),
        },
        Judged::Refused(Refusal::OddPath) => refuse::odd_path(visit),
        Judged::Refused(Refusal::NoRoute) => refuse::no_route(visit),
        Judged::Refused(Refusal::Preflight(preflight)) => preflight.answer(visit, &parts.headers),
        // What the sign-in should have is no matter of the login endpoint's: it begins here.
        Judged::Refused(Refusal::SignIn { route, credential, wanted })
            if signed_out == SignedOut::AsRouted && !wanted.is_nothing() =>
        {
            let sent = Box::pin(refuse::sign_in(site, admitted, route, &credential, wanted, parts)).await;
            invite(sent, route, visit)
        }
        Judged::Refused(Refusal::SignIn { route, credential, .. }) => sign_in(route, &credential, parts),
        Judged::Refused(Refusal::StepUp { wanted, .. }) if signed_out == SignedOut::Unauthorized => {
            page::insufficient(visit, wanted)
        }
        Judged::Refused(Refusal::StepUp { route, who, wanted }) => {
            Box::pin(refuse::step_up(site, admitted, route, who.as_deref(), wanted, parts)).await
        }
        Judged::Refused(Refusal::Forbidden(who)) => refuse::forbidden(site, visit, who.as_deref(), parts),
        Judged::Refused(Refusal::ForeignOrigin) => refuse::foreign_origin(visit),
        Judged::Refused(Refusal::Forged(check)) => refuse::forged(site, visit, check),
        Judged::Refused(Refusal::Bearer { acceptance, denial }) => denial.answer(acceptance, visit),
    };
    Err(Box::new(refused))
}

impl Permit<'_> {
    /// Adds where the request came from, as we say it, to `set`.
    pub fn forwarding(&self, gate: &Gate, set: &mut HeaderMap) {
        let introduction = gate.introduction(&self.admitted);
        Added { ready: &[&introduction.forwarding], more: &[], hints: None }.set(set);
    }

    /// The names of headers that the upstream must not see as the visitor sent them: what only we may say, and what we say of nobody else.
    /// Names of `set` are left out, since setting them takes the visitor's away.
    pub fn removed<'p>(&'p self, set: &'p HeaderMap) -> Vec<&'p str> {
        let lost = [(&OURS_ALONE, &self.vouched.authorization), (&WITHOUT_OURS, &self.vouched.cookie)];
        let lost = lost.into_iter().filter_map(|(name, value)| value.is_none().then_some(name));
        let unsaid = self.vouched.upstream.identity.names();
        let all = unsaid.chain(lost).chain(&self.brought).chain(&self.vouched.cleared);
        // A handful of names, most of different lengths: looking at the text of each is cheaper than hashing one.
        let mut names: Vec<&str> = Vec::with_capacity(32);
        names.extend(set.keys().map(HeaderName::as_str));
        let kept = names.len();
        for name in all {
            let name = name.as_str();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.drain(..kept);
        names
    }
}
