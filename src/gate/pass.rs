//! Saying yes: the request is dressed for its upstream, sent, and its answer made fit for the visitor.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;

use http::header::SET_COOKIE;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Response, StatusCode, Version, response};
use http_body::Body as _;

use super::arrival::Arrival;
use super::bearer::{DPOP, second};
use super::credential::Recognised;
use super::csrf::CSRF_TOKEN;
use super::edge::Admitted;
use super::handle::Gate;
use super::insufficient::Standby;
use super::lacking::gather;
use super::plan::{Behind, UpstreamPlan};
use super::record::Record;
use super::refuse;
use super::renewal;
use super::route::Route;
use crate::base::clock::Timestamp;
use crate::base::tally::Counted;
use crate::config::settings::CsrfCheck;
use crate::endpoint::site::Site;
use crate::forward::balance::{Exchange, Upstream};
use crate::forward::files::{FileFault, Files};
use crate::forward::request_out::{Dressing, dress};
use crate::forward::response_in;
use crate::forward::rewrite::{Rewrite, Uncut};
use crate::forward::send::UpstreamFault;
use crate::forward::upgrade::{self, Expected, VisitorSide};
use crate::http::body::{Body, RequestBody, UpstreamBody};
use crate::http::cookie_scan;
use crate::http::grpc::is_grpc;
use crate::net::pool::Lease;
use crate::net::ready::{Added, ReadyHeaders};
use crate::page;

/// What an upstream is told of somebody who is nobody.
static NOTHING: LazyLock<ReadyHeaders> = LazyLock::new(ReadyHeaders::default);

/// A request that was admitted, with all that is known of it.
pub struct Passage<'a> {
    /// What the edge found.
    pub admitted: &'a Admitted,
    /// Its route.
    pub route: &'a Route,
    /// Who is signed in.
    pub who: Option<Rc<Recognised>>,
    /// When.
    pub now: Timestamp,
}

/// What the visitor sent, on its way through.
struct Load {
    parts: Box<Parts>,
    body: RequestBody,
    /// The visitor's connection, should both sides change protocols.
    visitor_side: VisitorSide,
    /// The path and query for the upstream.
    target: PathAndQuery,
    /// Whether it may be sent once more when the upstream refuses the token.
    may_repeat: bool,
}

/// Takes an admitted request to its upstream and brings back the answer.
pub async fn through(gate: &Gate, passage: &Passage<'_>, arrival: Arrival, record: &mut Record) -> Response<Body> {
    let Arrival { parts, body, visitor_side } = arrival;
    let Passage { admitted, route, who, now } = passage;
    let visit = &admitted.visit;
    let (Some(plan), Some(upstream)) = (gate.plan.upstreams.get(route.upstream), gate.upstreams.get(route.upstream))
    else {
        return page::upstream_unavailable(visit, None);
    };
    let limit = route.body_bytes.or(gate.plan.body_limit);
    // What says by itself that it is too large goes nowhere; the rest is counted on its way.
    if limit.is_some_and(|limit| body.size_hint().lower() > limit) {
        record.decided("too_large");
        return refuse::too_large(visit);
    }
    let target = match target(passage) {
        Ok(target) => target,
        Err(Uncut::Path) => {
            record.decided("malformed");
            return refuse::odd_path(visit);
        }
        Err(uncut @ Uncut::Value(_)) => {
            tracing::warn!(request_id = &*visit.request_id, route = &*route.name, reason = %uncut, "no path for this person");
            record.decided("no_path");
            return refuse::no_path(visit);
        }
    };
    let site = &gate.plan.site;
    let renewal = who.as_ref().and_then(|who| renewal::renewal(who, route, &parts.headers, *now));
    // What a directory or a fixed answer says on a public route is the same for everyone.
    let personal = who.is_some() && !route.rule.is_public();
    // Over HTTP/2 a success opens the tunnel (RFC 8441, section 5), and nobody here would be at its other end.
    if admitted.websocket && parts.version == Version::HTTP_2 && !matches!(upstream, Behind::Application(_)) {
        return page::upstream_unavailable(visit, None);
    }
    let answered = match upstream {
        Behind::Application(upstream) => {
            let mut body = RequestBody::new(body, limit, gate.plan.body_timeout, parts.version == Version::HTTP_2);
            record.uploads(body.watch());
            if let Some(who) = who {
                body = body.tied(|| gate.ties.leash(who));
            }
            if second::may_be_in(passage, &parts.headers, &body) {
                body = match Box::pin(second::without_second(passage, body, record)).await {
                    Ok(body) => body,
                    Err(refusal) => return refusal,
                };
            }
            let load = Load { parts, body, visitor_side, target, may_repeat: renewal::may_try_again(gate, passage) };
            application(gate, passage, plan, upstream, load, record).await
        }
        // Only another proxy reaches it.
        Behind::Elsewhere => return page::not_found(visit),
        Behind::Files(files) => {
            let answered = Box::pin(from_files(files, admitted, personal, &parts, &target)).await;
            answered.map(|response| response.map(|body| tied(gate, who.as_ref(), body)))
        }
        Behind::Answer(fixed) => {
            let mut response = fixed.answer();
            response_in::receive(response.headers_mut(), personal, |_| false);
            Ok(response)
        }
    };
    // The gateway's own words bring no cookie along.
    let mut response = match answered {
        Ok(response) => response,
        Err(refusal) => return refusal,
    };
    response_in::settle(&mut response);
    // A cookie on an answer that others may be given from a cache would sign them in as this person: it waits for the next answer.
    if let Some(renewal) = renewal.filter(|_| response_in::is_kept_private(response.headers())) {
        for cookie in renewal.write(site, visit.site.host(), site.clock.now()) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    response
}

/// The path and query for the upstream: as they came, but for what the route makes of them.
pub(super) fn target(passage: &Passage<'_>) -> Result<PathAndQuery, Uncut> {
    let came = passage.admitted.path.target();
    let Some(rewrite) = &passage.route.rewrite else { return Ok(came.clone()) };
    rewrite.apply(came, passage.who.as_ref().map(|who| who.principal()))
}

/// Asks an application. `Err` is an answer of ours in its place.
async fn application(
    gate: &Gate,
    passage: &Passage<'_>,
    plan: &UpstreamPlan,
    upstream: &Upstream,
    load: Load,
    record: &mut Record,
) -> Result<Response<Body>, Response<Body>> {
    let Passage { admitted, route, who, .. } = passage;
    let visit = &admitted.visit;
    let Load { mut parts, mut body, visitor_side, target, may_repeat } = load;
    let papers = gather(gate, passage, plan, &parts, record).await?;
    let spare = may_repeat.then(|| spare(&parts, &mut body, &target));
    let site = &gate.plan.site;
    let is_safe = parts.method.is_safe();
    let grpc = admitted.takes_trailers && parts.version == Version::HTTP_2 && is_grpc(&parts.headers);
    let over_http1 = parts.version != Version::HTTP_2;
    let expected = (admitted.websocket && !over_http1).then(|| upgrade::begin_for_http2(&mut parts.headers));

    keep_proofs(passage, &mut parts.headers);
    let standby = Standby::of(admitted, route, who.as_deref(), &parts);
    cookie_scan::strip(&mut parts.headers, |name| site.sessions.is_ours(name));
    let introduction = gate.introduction(admitted);
    let identity = who.as_ref().and_then(|who| who.identity(route.upstream, &plan.identity, &visit.request_id));
    let ready = [&*introduction.forwarding, identity.unwrap_or(&NOTHING)];
    let certificate = admitted.certificate.as_ref().filter(|_| plan.client_cert_header);
    let dressing = Dressing {
        target,
        host: &introduction.host,
        request_id: &visit.request_id,
        prefix: route.rewrite.as_ref().and_then(Rewrite::announced),
        certificate: certificate.map(|certificate| certificate.header()),
        papers,
        websocket: admitted.websocket,
        grpc: grpc.then_some(&gate.plan.edge.protected),
    };
    let (request, more) = dress(parts, body, dressing);
    let added = Added { ready: &ready, more: &more, hints: visitor_side.hints() };
    debug_assert!(
        added.pairs().all(|(name, _)| !request.headers().contains_key(name)),
        "what the gateway says was not taken from the visitor's headers"
    );

    let upload = request.body().watch();
    let answered = upstream.send(request, &added).await;
    record.upstream_answered();
    let Exchange { answer, lease, under_way } =
        answered.map_err(|fault| upstream_fault(site, admitted, &fault, is_safe))?;
    if answer.status() == StatusCode::UNAUTHORIZED
        && let Some(spare) = spare.filter(|spare| spare.body.is_whole())
        && let Some(newer) = Box::pin(renewal::with_new_tokens(gate, passage, &spare.parts.method)).await
    {
        drop(lease);
        return once_more(gate, newer, plan, upstream, (spare, visitor_side), record).await;
    }
    let (mut head, ()) = answer.into_parts();
    if let Some(standby) = standby.filter(|_| head.status == StatusCode::UNAUTHORIZED)
        && let Some(refusal) = Box::pin(standby.answer(gate, passage, &head, record)).await
    {
        return Err(refusal);
    }
    response_in::receive_head(&mut head, over_http1, who.is_some(), |name| site.sessions.is_ours(name));
    let is_tunnel = head.status == StatusCode::SWITCHING_PROTOCOLS;
    // Over HTTP/2 a success opens the tunnel (RFC 8441, section 5), also when the upstream has opened none.
    if is_tunnel || (expected.is_some() && head.status.is_success()) {
        let agreed = is_tunnel && admitted.websocket && agree(&mut head, expected.as_ref());
        if !agreed {
            tracing::warn!(upstream = &*plan.name, "an upstream answered a handshake wrongly, or one that nobody sent");
            return Err(page::upstream_unavailable(visit, None));
        }
        open_tunnel(gate, who.as_ref(), visitor_side, lease, under_way);
        return Ok(Response::from_parts(head, Body::Empty));
    }
    let body = tied(gate, who.as_ref(), Body::Upstream(UpstreamBody::new(lease, grpc, under_way, upload)));
    Ok(Response::from_parts(head, body))
}

/// A body that ends when the session of whoever gets it does.
fn tied(gate: &Gate, who: Option<&Rc<Recognised>>, body: Body) -> Body {
    match who {
        Some(who) => body.tied(gate.ties.leash(who)),
        None => body,
    }
}

/// Both sides have agreed to speak something else from now on.
fn open_tunnel(
    gate: &Gate,
    who: Option<&Rc<Recognised>>,
    visitor_side: VisitorSide,
    lease: Lease<RequestBody>,
    under_way: Option<Counted>,
) {
    if let Some(upstream_side) = lease.into_tunnel() {
        let tie = who.map(|who| gate.ties.leash(who));
        upgrade::tunnel(visitor_side, upstream_side, &gate.tunnels, under_way, tie);
    }
}

/// What it takes to send a request once more: its head as it came, and its body, of which the beginning is kept from now on.
struct Spare {
    parts: Box<Parts>,
    body: RequestBody,
    target: PathAndQuery,
}

fn spare(parts: &Parts, body: &mut RequestBody, target: &PathAndQuery) -> Box<Spare> {
    let kept = std::mem::replace(body, RequestBody::empty()).keeping();
    let again = kept.again();
    *body = kept;
    // Not its extensions: they belong to the visitor's connection.
    let mut copy = http::Request::new(()).into_parts().0;
    copy.method.clone_from(&parts.method);
    copy.uri.clone_from(&parts.uri);
    copy.version = parts.version;
    copy.headers.clone_from(&parts.headers);
    Box::new(Spare { parts: Box::new(copy), body: again, target: target.clone() })
}

/// The upstream's answer, or one of ours in its place.
type Answered = Result<Response<Body>, Response<Body>>;

/// Sends a request once more, with new tokens. On the heap, for it holds the whole way to the upstream again.
fn once_more<'a>(
    gate: &'a Gate,
    passage: Passage<'a>,
    plan: &'a UpstreamPlan,
    upstream: &'a Upstream,
    (spare, visitor_side): (Box<Spare>, VisitorSide),
    record: &'a mut Record,
) -> Pin<Box<dyn Future<Output = Answered> + 'a>> {
    Box::pin(async move {
        tracing::info!(upstream = &*plan.name, "an upstream refused a token; trying once more with a new one");
        record.recognised(passage.who.as_ref());
        let Spare { parts, body, target } = *spare;
        let load = Load { parts, body, visitor_side, target, may_repeat: false };
        application(gate, &passage, plan, upstream, load, record).await
    })
}

/// Takes out what proved to us who sent the request: it was for us.
fn keep_proofs(passage: &Passage<'_>, headers: &mut HeaderMap) {
    if passage.who.as_ref().is_some_and(|who| who.bearer().is_some()) {
        headers.remove(&DPOP);
    }
    if passage.route.csrf == Some(CsrfCheck::Token) {
        headers.remove(&CSRF_TOKEN);
    }
}

/// Makes the head of an upstream's 101 fit for the visitor: a 101 too, or over HTTP/2 a 200. `false` when it answers another
/// handshake than ours.
fn agree(head: &mut response::Parts, expected: Option<&Expected>) -> bool {
    let Some(expected) = expected else {
        upgrade::announce(&mut head.headers);
        return true;
    };
    head.status = StatusCode::OK;
    expected.is_met(&mut head.headers)
}

/// Looks into a directory. `Err` is an answer of ours in its place.
async fn from_files(
    files: &Files,
    admitted: &Admitted,
    personal: bool,
    parts: &Parts,
    target: &PathAndQuery,
) -> Result<Response<Body>, Response<Body>> {
    let visit = &admitted.visit;
    match files.answer(parts, target, || with_slash(admitted)).await {
        Ok(mut response) => {
            response_in::receive(response.headers_mut(), personal, |_| false);
            Ok(response)
        }
        Err(FileFault::NotFound) => Err(refuse::no_route(visit)),
        Err(FileFault::Method) => Err(refuse::read_only(visit)),
        Err(fault @ FileFault::System { .. }) => {
            tracing::warn!(request_id = &*visit.request_id, error = %fault, "no answer from a directory of files");
            Err(page::upstream_unavailable(visit, None))
        }
    }
}

/// This request's own URL with a slash after its path, built from our configured one (design, invariant 5).
fn with_slash(admitted: &Admitted) -> String {
    let query = admitted.path.target().query().map(|query| format!("?{query}")).unwrap_or_default();
    admitted.visit.site.at(&format!("{}/{query}", admitted.path.sent()))
}

/// Only what can be repeated without harm gets a link to try it again.
fn upstream_fault(site: &Site, admitted: &Admitted, fault: &UpstreamFault, is_safe: bool) -> Response<Body> {
    let visit = &admitted.visit;
    let request_id = &*visit.request_id;
    let retry = is_safe.then(|| visit.site.at(admitted.path.target().as_str()));
    match fault {
        UpstreamFault::Unreachable { .. } | UpstreamFault::Broken { .. } | UpstreamFault::NoAddress => {
            tracing::warn!(request_id, error = %fault, "no answer from an upstream");
            page::upstream_unavailable(visit, retry.as_deref())
        }
        UpstreamFault::Timeout { .. } => {
            tracing::warn!(request_id, error = %fault, "no answer from an upstream");
            page::upstream_timeout(visit, retry.as_deref())
        }
        UpstreamFault::TooLarge => refuse::too_large(visit),
        UpstreamFault::TooSlow => refuse::too_slow(visit),
        UpstreamFault::SessionOver => page::unauthorized(visit, &site.login_path(None, &site.return_to(visit, None))),
        UpstreamFault::Visitor => refuse::body_broke_off(visit),
    }
}
