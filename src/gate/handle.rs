//! The story of one request, from the listener's hand to the answer.

use std::pin::pin;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::arrival::Arrival;
use super::bearer::metadata;
use super::bearer::table::TokenTable;
use super::credential::{self, Recognised, Recognition};
use super::edge::{self, Admitted, Malformed};
use super::introduce::{Introduction, Introductions};
use super::judge::Judged;
use super::pass;
use super::plan::{Behind, Plan};
use super::record::{Asked, Record};
use super::table::Table;
use super::ties::Ties;
use super::{at_hand, reception, refuse};
use crate::base::clock::Timestamp;
use crate::base::tally::Tally;
use crate::forward::balance::Upstream;
use crate::http::body::Body;
use crate::http::grpc::is_grpc;
use crate::http::visit::{Peer, Visit};
use crate::observe::access::AccessLog;
use crate::page;
use crate::token::purse::Purse;

/// One worker's way of answering requests.
pub struct Gate {
    pub(super) plan: Arc<Plan>,
    pub(super) upstreams: Vec<Behind<Upstream>>,
    pub(super) tunnels: Tally,
    pub(super) ties: Ties,
    /// For each upstream, what the gateway gets for itself.
    pub(super) purses: Box<[Purse]>,
    table: Table<Recognised>,
    pub(super) tokens: TokenTable,
    introductions: Introductions,
    access: AccessLog,
}

impl Gate {
    /// A worker's gate; `tunnels` counts the WebSockets it opens.
    pub fn new(plan: Arc<Plan>, access: AccessLog, tunnels: Tally) -> Self {
        let upstreams = plan
            .upstreams
            .iter()
            .map(|upstream| match &upstream.kind {
                Behind::Application(application) => Behind::Application(application.for_worker(&upstream.name)),
                Behind::Files(files) => Behind::Files(files.clone()),
                Behind::Answer(answer) => Behind::Answer(answer.clone()),
                Behind::Elsewhere => Behind::Elsewhere,
            })
            .collect();
        let table = Table::new(plan.cache);
        let tokens = TokenTable::new(plan.cache);
        let purses = plan.upstreams.iter().map(|_| Purse::default()).collect();
        Self {
            upstreams,
            tunnels,
            purses,
            ties: Ties::default(),
            table,
            tokens,
            introductions: Introductions::default(),
            access,
            plan,
        }
    }

    /// Answers one request.
    pub async fn handle(&self, peer: &Peer, mut arrival: Arrival) -> Response<Body> {
        let parts = &mut *arrival.parts;
        let mut record = self.begin_record();
        let admitted = match edge::admit(parts, peer, &self.plan.edge) {
            Ok(admitted) => admitted,
            Err(malformed) => return self.refuse_malformed(&record, peer, parts, &malformed),
        };
        let told = self.access.is_on().then(|| (parts.method.clone(), parts.uri.clone()));
        let (is_head, is_safe) = (parts.method == Method::HEAD, parts.method.is_safe());
        let is_call = is_grpc(&parts.headers);
        let answered = {
            let answer = pin!(self.answer(&admitted, arrival, &mut record));
            match self.plan.request_timeout {
                None => Some(answer.await),
                Some(limit) => Box::pin(tokio::time::timeout(limit, answer)).await.ok(),
            }
        };
        let mut response = answered.unwrap_or_else(|| give_up(&admitted, &record, is_safe));
        if is_head && matches!(response.body(), Body::Own(_)) {
            response = page::to_head(response);
        }
        if let Some((method, uri)) = told {
            self.tell(&record, &admitted.visit, (&method, uri.path()), response.status());
        }
        if is_call && is_refusal(&response) {
            response = page::to_grpc(&response);
        }
        if let Some(sharing) = record.sharing() {
            sharing.write(response.headers_mut());
        }
        response
    }

    /// Closes what sessions that are over have open.
    pub fn cut_what_is_over(&self) {
        self.ties.look(&self.plan.site);
    }

    /// Closes upstream connections that nobody uses, and what sessions that are over have open.
    pub fn sweep(&self) {
        self.cut_what_is_over();
        for upstream in &self.upstreams {
            if let Behind::Application(upstream) = upstream {
                upstream.sweep();
            }
        }
    }

    /// How this request's visitor is introduced: made anew only when the client or the site is another than before.
    pub fn introduction(&self, admitted: &Admitted) -> Introduction {
        self.introductions.of(admitted)
    }

    /// Everything compiled from the config.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A record of a request that begins now.
    pub fn begin_record(&self) -> Record {
        Record::begin(self.access.is_on())
    }

    /// Writes down what became of a request, if anybody wants to know: its method and path, and the status of the answer.
    pub fn tell(&self, record: &Record, visit: &Visit, (method, path): (&Method, &str), status: StatusCode) {
        if self.access.is_on() {
            let asked = Asked {
                request_id: &visit.request_id,
                client: visit.client,
                method,
                host: visit.site.authority(),
                path,
            };
            record.write(&self.access, self.plan.site.clock.now(), &asked, status);
        }
    }

    /// Answers a request that the edge refused.
    pub fn refuse_malformed(
        &self,
        record: &Record,
        peer: &Peer,
        parts: &Parts,
        malformed: &Malformed,
    ) -> Response<Body> {
        let request_id = edge::fresh_request_id();
        tracing::debug!(request_id = &*request_id, reason = malformed.reason, "refused a malformed request");
        let response = refuse::malformed(&self.plan.site, malformed, parts, &request_id);
        if self.access.is_on() {
            let asked = Asked {
                request_id: &request_id,
                client: peer.remote.map(|remote| remote.ip()),
                method: &parts.method,
                host: parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
                path: parts.uri.path(),
            };
            record.write(&self.access, self.plan.site.clock.now(), &asked, response.status());
        }
        if is_grpc(&parts.headers) { page::to_grpc(&response) } else { response }
    }

    async fn answer(&self, admitted: &Admitted, arrival: Arrival, record: &mut Record) -> Response<Body> {
        let plan = &*self.plan;
        let parts = &*arrival.parts;
        let visit = &admitted.visit;
        if plan.site.owns(admitted.path.matching()) {
            record.decided("endpoint");
            return Box::pin(reception::answer(&plan.site, visit, arrival)).await;
        }
        if let Some(bearer) = &plan.bearer
            && let Some(document) = metadata::answer(bearer, &plan.routes, admitted, parts)
        {
            record.decided("metadata");
            return document;
        }
        match self.judge(admitted, parts, record).await {
            Judged::Pass(passage) => pass::through(self, &passage, arrival, record).await,
            Judged::Refused(refusal) => Box::pin(refusal.answer(&plan.site, admitted, parts)).await,
        }
    }

    /// Brings the session of a request to hand when it lives in a store; [`Gate::recognise`] asks nobody.
    pub(super) async fn bring_session(&self, visit: &Visit, parts: &Parts) {
        let site = &self.plan.site;
        if let Some(stored) = &site.stored {
            at_hand::bring(site, stored, &self.table, &parts.headers, visit.site.host()).await;
        }
    }

    pub(super) fn recognise(&self, visit: &Visit, parts: &Parts, now: Timestamp) -> Recognition {
        let site = &self.plan.site;
        credential::recognise(site, &self.table, self.upstreams.len(), &parts.headers, visit.site.host(), now)
    }
}

/// What is said of a request that took too long as a whole: to a visitor who has not sent all of it that they were too slow (RFC 9110,
/// section 15.5.9), and else that the application was, for many clients send again what was answered with 408.
fn give_up(admitted: &Admitted, record: &Record, is_safe: bool) -> Response<Body> {
    let visit = &admitted.visit;
    let waits_for_visitor = record.upload().is_some_and(|upload| {
        // Over HTTP/2 an upstream reads on, and waits for what would not come.
        upload.give_up();
        upload.waits_for_visitor()
    });
    if waits_for_visitor {
        return refuse::too_slow(visit);
    }
    tracing::warn!(request_id = &*visit.request_id, "a request took longer than `limits.request_timeout`");
    let retry = is_safe.then(|| visit.site.at(admitted.path.target().as_str()));
    page::upstream_timeout(visit, retry.as_deref())
}

/// Whether an answer is our own, and no success.
fn is_refusal(response: &Response<Body>) -> bool {
    !matches!(response.body(), Body::Upstream(_))
        && !response.status().is_success()
        && !response.status().is_informational()
}
