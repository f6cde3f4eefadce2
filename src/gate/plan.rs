//! Everything compiled from one config that the way of a request needs: immutable, shared by all workers.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::bearer::BearerPlan;
use super::edge::EdgeRules;
use super::route::RouteTable;
use crate::base::tally::Tally;
use crate::config::settings::Balance;
use crate::endpoint::site::Site;
use crate::forward::balance::{Place, Upstream};
use crate::forward::files::Files;
use crate::forward::fixed::FixedAnswer;
use crate::forward::health::AddressHealth;
use crate::forward::patience::Waiting;
use crate::forward::send::Address;
use crate::identity::headers::IdentityHeaders;
use crate::net::dial::Dial;
use crate::net::pool::{Keep, Pool};
use crate::provider::ProviderFault;
use crate::token::plan::TokenPlan;
use crate::token::vault::Vault;

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
    /// What routes that take access tokens share; absent when the config has nobody whose tokens to take.
    pub bearer: Option<BearerPlan>,
    /// Tokens that were fetched for upstreams.
    pub vault: Vault<ProviderFault>,
    /// Bytes of a request body; unbounded when absent.
    pub body_limit: Option<u64>,
    /// How long a request body may stand still.
    pub body_timeout: Duration,
    /// How long a request may take as a whole; unbounded when absent.
    pub request_timeout: Option<Duration>,
    /// What `/verify` answers when a request may pass.
    pub verify_status: StatusCode,
    /// Opened sessions that one worker keeps.
    pub cache: usize,
}

/// One upstream, compiled.
pub struct UpstreamPlan {
    /// Its name in the config.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Behind<ApplicationPlan>,
    /// The headers that tell it who asks.
    pub identity: IdentityHeaders,
    /// The tokens it gets.
    pub tokens: TokenPlan,
    /// Whether it gets the certificate that the client showed.
    pub client_cert_header: bool,
}

/// What can be behind us; `A` is what stands for an application.
pub enum Behind<A> {
    /// An application that is asked over HTTP.
    Application(A),
    /// A directory of files.
    Files(Files),
    /// One answer for everything.
    Answer(FixedAnswer),
    /// What another proxy reaches, which asks us whether a request may pass.
    Elsewhere,
}

/// An application, compiled.
pub struct ApplicationPlan {
    /// Where it is; at least one address.
    pub addresses: Vec<AddressPlan>,
    /// Which of them gets a request.
    pub balance: Balance,
    /// Whether it sees the host that the visitor asked for.
    pub pass_host: bool,
    /// Bound on the time until the head of its answer.
    pub response_timeout: Duration,
    /// Which connections one worker keeps to one address.
    pub keep: Keep,
}

/// One address of an application.
pub struct AddressPlan {
    /// How to reach it.
    pub dial: Dial,
    /// Its own `Host`.
    pub host: HeaderValue,
    /// How it is doing, as all workers and the health checks know it.
    pub health: Arc<AddressHealth>,
}

impl ApplicationPlan {
    /// The application as one worker sees it: with connections of its own.
    pub fn for_worker(&self, name: &Arc<str>) -> Upstream {
        let places = self.addresses.iter().map(|address| Place {
            address: Address {
                upstream: Arc::clone(name),
                pool: Pool::new(address.dial.clone(), self.keep),
                response_timeout: self.response_timeout,
                waiting: Waiting::default(),
            },
            own_host: (!self.pass_host).then(|| address.host.clone()),
            health: Arc::clone(&address.health),
            under_way: Tally::default(),
        });
        Upstream::new(places.collect(), self.balance)
    }
}
