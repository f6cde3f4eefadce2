//! Everything compiled from one config that the way of a request needs: immutable, shared by all workers.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::edge::EdgeRules;
use super::route::RouteTable;
use crate::config::settings::TokenSettings;
use crate::endpoint::site::Site;
use crate::identity::headers::IdentityHeaders;
use crate::net::dial::Dial;

/// One config, compiled.
pub struct Plan {
    /// What our own endpoints know.
    pub site: Arc<Site>,
    /// What the edge lets through.
    pub edge: EdgeRules,
    /// Who may pass where.
    pub routes: RouteTable,
    /// What is behind us; routes name them by index.
    pub upstreams: Vec<UpstreamPlan>,
    /// Bytes of a request body; unbounded when absent.
    pub body_limit: Option<u64>,
    /// How long a request body may stand still.
    pub body_timeout: Duration,
    /// Opened sessions that one worker keeps.
    pub table_capacity: usize,
}

/// One upstream, compiled.
pub struct UpstreamPlan {
    /// Its name in the config.
    pub name: Arc<str>,
    /// How to reach it.
    pub dial: Dial,
    /// Its own `Host`.
    pub host: HeaderValue,
    /// Whether it sees the host that the visitor asked for.
    pub pass_host: bool,
    /// Bound on the time until the head of its answer.
    pub response_timeout: Duration,
    /// How long an unused connection to it is kept.
    pub idle_timeout: Duration,
    /// The headers that tell it who asks.
    pub identity: IdentityHeaders,
    /// The token it gets.
    pub token: TokenSettings,
    /// Whether it gets the certificate that the client showed.
    pub client_cert_header: bool,
}
