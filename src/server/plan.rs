//! Config → plan: the only place that puts the rooms together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{behind, key_watch, secret_watch, stored};
use crate::base::clock::Clock;
use crate::base::office::Office;
use crate::base::random::{self, NoRandomness};
use crate::config::settings::{ProviderSettings, SessionSettings, Settings};
use crate::endpoint::pace::Pace;
use crate::endpoint::site::{Offer, Site};
use crate::gate::bearer::BearerPlan;
use crate::gate::bearer::replay::Replays;
use crate::gate::edge::EdgeRules;
use crate::gate::route::{RouteError, RouteTable};
use crate::gate::{Plan, UpstreamPlan};
use crate::http::protected::ProtectedNames;
use crate::http::visit::SiteOrigin;
use crate::identity::headers::{IdentityError, protected_names};
use crate::identity::preset::{KeysForm, PresetError, Presets};
use crate::jose::algorithm::Algorithm;
use crate::net::outbound_proxy::{Proxies, ProxyFault};
use crate::net::tls_client::TlsClientFault;
use crate::provider::bearer::TokenIssuers;
use crate::provider::neighbours::Neighbours;
use crate::provider::{Outbound, Provider, ProviderFault};
use crate::seal::keyring::{KeyError, Keyring};
use crate::session::cookie::SessionCookies;
use crate::session::ended::EndedSessions;
use crate::session::flow::{FlowCookies, UsedFlows};
use crate::session::key_desk::KeyDesk;
use crate::session::model::Lifetimes;
use crate::session::refresh::refreshes::Refreshes;
use crate::session::refresh::schedule::Schedule;
use crate::session::store::StoreSetup;
use crate::token::plan::{Bearer, TokenPlanError};
use crate::token::signer::{Signer, SignerError};
use crate::token::vault::Vault;

/// Why settings that are right by themselves can't be put to work.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The session keys can't be used.
    #[error("[session] keys: {0}")]
    Keys(#[from] KeyError),
    /// The store of sessions can't be used.
    #[error("[session.store]: {0}")]
    Store(#[from] StoreSetup),
    /// A provider can't be used.
    #[error(transparent)]
    Provider(#[from] ProviderFault),
    /// Identity headers can't be compiled.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The built-in presets can't be read.
    #[error(transparent)]
    Presets(#[from] PresetError),
    /// The routes can't be compiled.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// An upstream's TLS settings can't be used.
    #[error("[upstreams.{upstream}]: {cause}")]
    UpstreamTls {
        /// Its name in the config.
        upstream: Arc<str>,
        /// What is wrong.
        cause: TlsClientFault,
    },
    /// The signing keys can't be used.
    #[error("[signing] keys: {0}")]
    Signer(#[from] SignerError),
    /// The tokens of an upstream can't be compiled.
    #[error(transparent)]
    Tokens(#[from] TokenPlanError),
    /// A URL has no host, or one that can't stand in a header.
    #[error("`{0}` names no host that can be used")]
    Url(String),
    /// The system gives no random numbers.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The proxy variables of the environment can't be read.
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
}

/// Puts the rooms together. Touches no network; providers begin to read their metadata in the back office.
///
/// # Errors
/// When a key, preset, certificate or URL can't be used.
pub fn assemble(settings: &Settings, office: &Office) -> Result<Plan, PlanError> {
    let upstreams = upstreams(settings, office)?;
    Ok(Plan {
        site: Arc::new(site(settings, &upstreams, office)?),
        edge: edge(settings)?,
        routes: RouteTable::compile(&settings.routes)?,
        upstreams,
        vault: Vault::new(Clock::System),
        bearer: bearer(settings, office)?,
        body_limit: settings.limits.body_bytes,
        body_timeout: settings.limits.body_timeout,
        request_timeout: settings.limits.request_timeout,
        verify_status: settings.verify_status,
        cache: settings.session.cache,
    })
}

/// What the edge lets through.
///
/// # Errors
/// When a URL or a preset can't be used.
pub fn edge(settings: &Settings) -> Result<EdgeRules, PlanError> {
    let protected = protected_names(&settings.upstreams)?;
    Ok(EdgeRules {
        sites: sites(settings)?,
        trusted_proxies: settings.trusted_proxies.clone(),
        protected: Arc::new(ProtectedNames::new(protected.names, protected.prefixes)),
        headers: settings.limits.headers,
        header_bytes: settings.limits.header_bytes,
    })
}

fn upstreams(settings: &Settings, office: &Office) -> Result<Vec<UpstreamPlan>, PlanError> {
    let compile = |upstream| behind::upstream(upstream, &behind::surroundings(settings, upstream));
    let plans: Vec<UpstreamPlan> = settings.upstreams.iter().map(compile).collect::<Result<_, _>>()?;
    for (settings, plan) in settings.upstreams.iter().zip(&plans) {
        behind::look_after(settings, plan, office);
        if let Bearer::Static(credential) = &plan.tokens.bearer {
            let source = credential.settings().secret.clone();
            office.accompany(secret_watch::watch_static(Arc::downgrade(credential), source));
        }
    }
    Ok(plans)
}

/// The algorithms of all assertions: `None` for one that takes any key.
pub(super) fn algorithms(upstreams: &[UpstreamPlan]) -> Vec<Option<Algorithm>> {
    upstreams.iter().flat_map(|upstream| upstream.tokens.algorithms()).collect()
}

/// Where applications look for our public keys, by the presets in use.
fn key_paths(settings: &Settings) -> Result<Vec<(String, KeysForm)>, PlanError> {
    let presets = Presets::built_in()?;
    let mut paths: Vec<(String, KeysForm)> = Vec::new();
    for preset in settings.upstreams.iter().filter_map(|upstream| presets.get(&upstream.identity)) {
        let new = preset.keys.iter().filter(|(path, _)| !paths.iter().any(|(known, _)| known == path));
        let new: Vec<_> = new.cloned().collect();
        paths.extend(new);
    }
    Ok(paths)
}

fn site(settings: &Settings, upstreams: &[UpstreamPlan], office: &Office) -> Result<Site, PlanError> {
    let session = &settings.session;
    let keyring = Arc::new(Keyring::load(&session.keys)?);
    let (key_desk, asked) = KeyDesk::open();
    office.accompany(key_watch::watch(Arc::downgrade(&keyring), session.keys.clone(), asked));
    let signer = Arc::new(Signer::load(&settings.signing_keys, &algorithms(upstreams))?);
    office.accompany(secret_watch::watch_signer(Arc::downgrade(&signer), settings.signing_keys.clone()));
    let secure = settings.public_url.scheme() == "https";
    let sessions = Arc::new(SessionCookies::new(Arc::clone(&keyring), session, secure));
    let ended = EndedSessions::new(session.lifetime);
    Ok(Site {
        prefix: settings.prefix.clone(),
        clock: Clock::System,
        office: office.clone(),
        offers: offers(settings, office)?,
        stored: stored::stored(session, sessions.names().session(), &ended, office)?,
        sessions,
        flows: Arc::new(FlowCookies::new(keyring, session, secure, UsedFlows::new(session.flow_lifetime))),
        ended,
        front_channel: Pace::default(),
        key_desk,
        refreshes: refreshes(session)?,
        lifetimes: Lifetimes { idle: session.idle, absolute: session.lifetime },
        signer,
        key_paths: key_paths(settings)?,
        return_to_origins: settings.return_to_origins.clone(),
        cookie_name: session.cookie_name.clone(),
    })
}

/// Each process has a seed of its own, so that gateways which share nothing refresh at different moments.
fn refreshes(session: &SessionSettings) -> Result<Arc<Refreshes>, NoRandomness> {
    let seed = u64::from_be_bytes(random::bytes()?);
    let schedule = Schedule::new(session.refresh_ahead, session.idle, seed);
    Ok(Refreshes::new(schedule, session.refresh_grace, session.lifetime))
}

fn bearer(settings: &Settings, office: &Office) -> Result<Option<BearerPlan>, PlanError> {
    if settings.bearer.is_empty() {
        return Ok(None);
    }
    let outbound = outbound(settings, &environment())?;
    let issuers = Arc::new(TokenIssuers::new(&settings.bearer, &Clock::System, &outbound)?);
    for task in issuers.keep_fresh() {
        office.accompany(task);
    }
    let certificates = settings.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
    Ok(Some(BearerPlan { issuers, replays: Replays::default(), certificates }))
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn offers(settings: &Settings, office: &Office) -> Result<Vec<Offer>, PlanError> {
    let outbound = outbound(settings, &environment())?;
    settings.providers.iter().map(|provider| offer(provider, &outbound, office)).collect()
}

/// How our own calls to providers go out.
pub(super) fn outbound(settings: &Settings, environment: &BTreeMap<String, String>) -> Result<Outbound, ProxyFault> {
    Ok(Outbound {
        proxies: Arc::new(Proxies::from_environment(environment)?),
        neighbours: Neighbours::of(&settings.providers),
    })
}

fn offer(settings: &ProviderSettings, outbound: &Outbound, office: &Office) -> Result<Offer, PlanError> {
    let provider = Arc::new(Provider::new(settings.clone(), Clock::System, outbound.clone())?);
    office.accompany(provider.keep_fresh());
    Ok(Offer { provider, login_parameters: settings.allowed_login_parameters.clone() })
}

/// The public URL first, then each host that a route names, under the same scheme and port.
pub(super) fn sites(settings: &Settings) -> Result<Vec<Arc<SiteOrigin>>, PlanError> {
    let unusable = |url: &str| PlanError::Url(url.to_owned());
    let public = SiteOrigin::new(&settings.public_url).ok_or_else(|| unusable(settings.public_url.as_str()))?;
    let mut sites = vec![Arc::new(public)];
    for host in settings.routes.iter().filter_map(|route| route.host.as_deref()) {
        if sites.iter().any(|site| site.host() == host) {
            continue;
        }
        let mut url = settings.public_url.clone();
        url.set_host(Some(host)).map_err(|_| unusable(host))?;
        sites.push(Arc::new(SiteOrigin::new(&url).ok_or_else(|| unusable(host))?));
    }
    Ok(sites)
}
