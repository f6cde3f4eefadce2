//! From the merged tree to [`Settings`]: every rule that one table or several together must keep. No I/O but reading the
//! files that the config names.

mod address;
mod answer;
mod application;
mod bearer;
mod claim_rule;
mod cors;
mod door;
mod doubts;
mod files;
mod health;
mod listen;
mod names;
mod pattern;
mod preset;
mod provider;
mod rewrite;
mod route;
mod rule;
mod rule_values;
mod secret;
mod session;
mod signing;
mod site;
mod store;
mod store_url;
mod ties;
mod tls;
mod token;
mod upstream;

use std::collections::BTreeMap;

use super::raw::layer::Layer;
use super::raw::node::Node;
use super::raw::report::Report;
use super::raw::table::Table;
use super::settings::{ProviderSettings, Settings, TokenSettings, UpstreamSettings};

/// What every check may look at.
pub(super) struct Context<'c> {
    /// Where mistakes go.
    pub(super) report: &'c Report,
    /// The environment, for `{ env = "…" }`.
    pub(super) environment: &'c BTreeMap<String, String>,
    /// The sources, to know which of two is the later one and what kind it is.
    pub(super) layers: &'c [Layer],
}

/// The settings that `root` makes. Mistakes are in the context's report; `None` when something needed is not there.
pub(super) fn settings(root: &Node, context: &Context<'_>) -> Option<Settings> {
    let table = Table::new(root, "the top level".to_owned(), String::new(), context.report);
    let public_url = site::public_url(&table);
    let prefix = site::prefix(&table);
    let workers = site::workers(&table);
    let trusted_proxies = listen::trusted_proxies(&table);
    let listen = listen::listen(&table, &trusted_proxies);
    let tls = tls::tls(&table, &listen);
    let limits = site::limits(&table);
    let session = session::session(&table, &limits, context);
    let providers = provider::providers(&table, context);
    let bearers = bearer::bearers(&table, &providers, context);
    let signing_keys = signing::keys(&table, context);
    let upstreams = upstream::upstreams(&table, &providers, context);
    let routes = route::routes(&table, &route::Names::new(&providers, &bearers, &upstreams), &prefix);
    let upstreams: Vec<UpstreamSettings> = upstreams.into_iter().filter_map(|upstream| upstream.settings).collect();
    tls::check_use(&table, tls.as_ref(), &routes, &upstreams);
    signing::check_use(&table, &signing_keys, &upstreams);
    let mut providers: Vec<ProviderSettings> = providers.into_iter().filter_map(|provider| provider.settings).collect();
    name_resources(&mut providers, &upstreams);
    let verify_status = door::verify_status(&table);
    let return_to_origins = site::return_to_origins(&table);
    let log = site::log(&table);
    let drain = table.duration("drain", "30s", ("0s", "1h"));
    Some(Settings {
        public_url: public_url?,
        prefix,
        workers,
        listen,
        tls,
        trusted_proxies,
        session,
        signing_keys,
        providers,
        bearer: bearers.into_iter().filter_map(|bearer| bearer.settings).collect(),
        upstreams,
        routes,
        return_to_origins,
        limits,
        verify_status,
        log,
        drain,
        dangers: Vec::new(),
        warnings: Vec::new(),
    })
}

/// A provider gives tokens for a resource only when the sign-in named it (RFC 8707, section 2.1).
fn name_resources(providers: &mut [ProviderSettings], upstreams: &[UpstreamSettings]) {
    let mut resources: Vec<String> = Vec::new();
    for upstream in upstreams {
        if let TokenSettings::Resource(settings) = &upstream.token
            && !resources.contains(&settings.resource)
        {
            resources.push(settings.resource.clone());
        }
    }
    for provider in providers {
        provider.resources.clone_from(&resources);
    }
}
