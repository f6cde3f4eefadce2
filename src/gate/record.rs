//! Writing down what became of a request.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, StatusCode};

use super::credential::Recognised;
use super::route::Route;
use crate::base::clock::{self, Timestamp};
use crate::http::visit::{Peer, Visit};
use crate::observe::access::{AccessLog, Entry};

/// What became of a request, gathered on its way.
pub struct Record {
    started: Instant,
    /// Its route.
    pub route: Option<Arc<Route>>,
    /// What was decided, as the log says it.
    pub decision: &'static str,
    /// Who was signed in.
    pub who: Option<Rc<Recognised>>,
    /// How long it took until the head of the upstream's answer was there.
    pub upstream: Option<Duration>,
}

/// What was asked, as the log says it: never with a query, which may carry a code.
pub struct Asked<'a> {
    /// What the edge learned.
    pub visit: &'a Visit,
    /// The method.
    pub method: &'a Method,
    /// The path.
    pub path: &'a str,
}

impl Record {
    /// A record that begins now.
    pub fn begin() -> Self {
        Self { started: clock::instant(), route: None, decision: "malformed", who: None, upstream: None }
    }

    /// How long it has taken so far.
    pub fn elapsed(&self) -> Duration {
        clock::instant().duration_since(self.started)
    }

    /// Writes the record of a request that the edge let through.
    pub fn write(&self, log: &AccessLog, time: Timestamp, asked: &Asked<'_>, status: StatusCode) {
        log.record(&Entry {
            time,
            request_id: &asked.visit.request_id,
            client: asked.visit.client,
            method: asked.method.as_str(),
            host: asked.visit.site.authority(),
            path: asked.path,
            route: self.route.as_ref().map(|route| &*route.name),
            decision: self.decision,
            principal: self.who.as_ref().map(|who| who.principal_id.as_str()),
            status: status.as_u16(),
            upstream: self.upstream,
            total: self.elapsed(),
        });
    }

    /// Writes the record of a request that the edge refused.
    pub fn write_malformed(
        &self,
        log: &AccessLog,
        time: Timestamp,
        request_id: &str,
        peer: &Peer,
        parts: &Parts,
        status: StatusCode,
    ) {
        log.record(&Entry {
            time,
            request_id,
            client: peer.remote.map(|remote| remote.ip()),
            method: parts.method.as_str(),
            host: parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
            path: parts.uri.path(),
            route: None,
            decision: self.decision,
            principal: None,
            status: status.as_u16(),
            upstream: None,
            total: self.elapsed(),
        });
    }
}
