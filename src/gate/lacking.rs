//! What a request takes along to prove who asks, and what mends it when there is no token to take.

use std::time::Duration;

use http::Response;
use http::request::Parts;

use super::bearer::Acceptance;
use super::bearer::challenge::Denial;
use super::handle::Gate;
use super::papers::{self, AtHand, NoPapers};
use super::pass::Passage;
use super::plan::UpstreamPlan;
use super::record::Record;
use super::refuse;
use super::renewal;
use crate::endpoint::refresh::unavailable;
use crate::forward::request_out::Papers;
use crate::http::body::Body;
use crate::page;
use crate::policy::wanted;
use crate::token::relay::TokenProblem;

/// A token that ends sooner than this after the sign-in is not worth another one.
const SHORTEST_TOKEN_LIFE: Duration = Duration::from_secs(30);

/// What the request takes along to prove who asks. `Err` is an answer of ours in its place.
pub(super) async fn gather(
    gate: &Gate,
    passage: &Passage<'_>,
    plan: &UpstreamPlan,
    parts: &Parts,
    record: &mut Record,
) -> Result<Papers, Response<Body>> {
    let error = match collect(gate, passage, plan, parts).await {
        Ok(papers) => return Ok(papers),
        Err(error) => error,
    };
    Err(match lacking(passage, plan, &error, record) {
        Lacking::SignIn => {
            let site = &gate.plan.site;
            Box::pin(refuse::sign_in_again(site, passage.admitted, passage.route, &wanted::NOTHING, parts)).await
        }
        Lacking::Caller { acceptance, denial } => denial.answer(acceptance, &passage.admitted.visit),
        Lacking::Later => unavailable(&passage.admitted.visit),
        Lacking::Token => token_unavailable(passage, parts),
    })
}

/// What a request takes along, fetched where it has to be.
pub(super) async fn collect(
    gate: &Gate,
    passage: &Passage<'_>,
    plan: &UpstreamPlan,
    parts: &Parts,
) -> Result<Papers, NoPapers> {
    match papers::at_hand(gate, passage, plan)? {
        AtHand::Papers(papers) => Ok(papers),
        AtHand::Wanted(wanted) => Box::pin(papers::fetched(gate, passage, plan, wanted, parts)).await,
    }
}

/// There is no token for the upstream, and a new sign-in would bring none.
pub fn token_unavailable(passage: &Passage<'_>, parts: &Parts) -> Response<Body> {
    let visit = &passage.admitted.visit;
    let retry = parts.method.is_safe().then(|| visit.site.at(passage.admitted.path.target().as_str()));
    page::token_unavailable(visit, retry.as_deref())
}

/// What mends it that an upstream would have to go without a token.
pub enum Lacking<'a> {
    /// A new sign-in.
    SignIn,
    /// The refresh of the session's tokens, as soon as the provider can be asked: no sign-in brings one sooner.
    Later,
    /// Another token of the caller, whose own can't stand for the one that the upstream asks for.
    Caller {
        /// What the route takes.
        acceptance: &'a Acceptance,
        /// What the caller is told.
        denial: Box<Denial>,
    },
    /// Nothing that the visitor could do.
    Token,
}

/// No token for the upstream. A refresh brings a new one as soon as the provider can be asked. Else a new sign-in mends a token that has
/// ended, and a provider that wants to see the person, and only that; one that were no better as soon as it came would have the browser
/// go round in circles. A bearer caller can bring another token at once.
pub(super) fn lacking<'a>(
    passage: &Passage<'a>,
    plan: &UpstreamPlan,
    error: &NoPapers,
    record: &mut Record,
) -> Lacking<'a> {
    let Passage { admitted, route, who, now } = passage;
    let request_id = &*admitted.visit.request_id;
    record.decided("no_token");
    if let (Some(acceptance), Some(who), NoPapers::Problem(problem)) = (&route.bearer, who, error)
        && matches!(problem, TokenProblem::Bound | TokenProblem::Missing(_))
        && who.bearer().is_some()
    {
        tracing::info!(
            request_id,
            upstream = &*plan.name,
            "an application asks for a token that a caller's own can't stand for"
        );
        return Lacking::Caller { acceptance, denial: Box::new(Denial::of_no_use(problem)) };
    }
    if matches!(error, NoPapers::Problem(TokenProblem::Expired)) && renewal::comes_later(passage) {
        return Lacking::Later;
    }
    let age = who
        .as_ref()
        .map_or(Duration::ZERO, |who| who.session().map_or(Duration::MAX, |session| now.since(session.created)));
    if error.asks_for_sign_in() && age > SHORTEST_TOKEN_LIFE {
        tracing::info!(request_id, upstream = &*plan.name, %error, "no token to send; asking for a new sign-in");
        return Lacking::SignIn;
    }
    tracing::warn!(request_id, upstream = &*plan.name, %error, "no token to send, and a new sign-in would bring none");
    Lacking::Token
}
