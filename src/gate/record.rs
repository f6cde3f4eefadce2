//! Writing down what became of a request.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::bearer::replay::Name;
use super::cors::Sharing;
use super::credential::Recognised;
use super::route::Route;
use crate::base::clock::{self, Timestamp};
use crate::http::body::Watch;
use crate::observe::access::{AccessLog, Entry};

/// What became of a request, gathered on its way.
pub struct Record {
    /// When it came; nothing where nobody writes it down, for reading the clock has its price.
    started: Option<Instant>,
    route: Option<Arc<Route>>,
    decision: &'static str,
    who: Option<Rc<Recognised>>,
    upstream: Option<Duration>,
    /// Boxed, since every open connection keeps room for this record.
    sharing: Option<Box<Sharing>>,
    /// Boxed for the same reason.
    proof: Option<Box<Name>>,
    /// How far the request's body has come.
    upload: Option<Rc<Watch>>,
}

/// What was asked, as the log says it: never with a query, which may carry a code.
pub struct Asked<'a> {
    /// Names the request.
    pub request_id: &'a str,
    /// The client's address, as far as it is known.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: &'a Method,
    /// The host.
    pub host: &'a str,
    /// The path.
    pub path: &'a str,
}

impl Record {
    /// A record that begins now. `is_told` says whether it will be written down.
    pub fn begin(is_told: bool) -> Self {
        let started = is_told.then(clock::instant);
        Self {
            started,
            route: None,
            decision: "malformed",
            who: None,
            upstream: None,
            sharing: None,
            proof: None,
            upload: None,
        }
    }

    /// Notes the route.
    pub fn routed(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }

    /// Notes who is signed in.
    pub fn recognised(&mut self, who: Option<&Rc<Recognised>>) {
        self.who = who.cloned();
    }

    /// Notes what the answer says of who may read it.
    pub fn shared(&mut self, sharing: Option<Sharing>) {
        self.sharing = sharing.map(Box::new);
    }

    /// What the answer says of who may read it; nothing where that is left to the upstream.
    pub const fn sharing(&mut self) -> Option<Box<Sharing>> {
        self.sharing.take()
    }

    /// Notes the proof of a key that came with the request's token.
    pub fn proved(&mut self, proof: Option<Name>) {
        self.proof = proof.map(Box::new);
    }

    /// The proof of a key that came with the request's token.
    pub fn proof(&self) -> Option<Name> {
        self.proof.as_deref().copied()
    }

    /// Notes the body that goes to an upstream.
    pub fn uploads(&mut self, upload: Option<Rc<Watch>>) {
        self.upload = upload;
    }

    /// How far the body has come that goes to an upstream; nothing where there is none.
    pub fn upload(&self) -> Option<&Watch> {
        self.upload.as_deref()
    }

    /// Notes what was decided, as the log says it.
    pub const fn decided(&mut self, decision: &'static str) {
        self.decision = decision;
    }

    /// Notes that the head of the upstream's answer is there, or won't come.
    pub fn upstream_answered(&mut self) {
        self.upstream = self.elapsed();
    }

    /// Writes it down.
    pub fn write(&self, log: &AccessLog, time: Timestamp, asked: &Asked<'_>, status: StatusCode) {
        log.record(&Entry {
            time,
            request_id: asked.request_id,
            client: asked.client,
            method: asked.method.as_str(),
            host: asked.host,
            path: asked.path,
            route: self.route.as_ref().map(|route| &*route.name),
            decision: self.decision,
            principal: self.who.as_ref().map(|who| who.principal_id()),
            status: status.as_u16(),
            upstream: self.upstream,
            total: self.elapsed().unwrap_or_default(),
        });
    }

    fn elapsed(&self) -> Option<Duration> {
        self.started.map(|started| clock::instant().duration_since(started))
    }
}
