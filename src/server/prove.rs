//! What can be told of settings before anything runs: every part of the plan that needs no network and no back office is made,
//! and thrown away. So `check` finds what a start would stumble over, and a start tells all of it at once.

use std::collections::BTreeMap;
use std::path::Path;

use super::plan::{self, PlanError};
use super::{behind, stored};
use crate::base::clock::Clock;
use crate::config::finding::Finding;
use crate::config::settings::{
    ApplicationSettings, ProviderSettings, RouteSettings, Settings, UpstreamKind, UpstreamSettings,
};
use crate::forward::rewrite::Rewrite;
use crate::gate::route::RouteTable;
use crate::identity::headers::{IdentityError, IdentityHeaders, protected_names};
use crate::net::tls_client::TlsClientFault;
use crate::net::tls_server::TlsServer;
use crate::provider::{Outbound, Provider, ProviderFault};
use crate::seal::keyring::Keyring;
use crate::session::store::StoreSetup;
use crate::token::plan::TokenPlan;
use crate::token::signer::{Signer, SigningKeys};

/// Every mistake that shows when the settings are put to work, each with the key that it is about. Reads the files that the
/// settings name and `environment`; touches no network.
pub fn prove(settings: &Settings, environment: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = Keyring::load(&settings.session.keys) {
        findings.push(Finding::in_key(&["session", "keys"], error.to_string()));
    }
    if let Err(error) = stored::prove(&settings.session) {
        let key = match &error {
            StoreSetup::File { key, .. } => key,
            StoreSetup::Url(_) => "url",
        };
        findings.push(Finding::in_key(&["session", "store", key], error.to_string()));
    }
    if let Err(error) = plan::sites(settings) {
        findings.push(Finding::in_key(&["public_url"], error.to_string()));
    }
    prove_routes(&settings.routes, &mut findings);
    if let Err(error) = protected_names(&settings.upstreams) {
        findings.push(Finding::in_key(&["upstreams"], error.to_string()));
    }
    if let Some(tls) = settings.tls.as_ref()
        && let Err(error) = TlsServer::new(tls.clone())
    {
        let text = error.to_string();
        findings.push(Finding::in_key(&["tls"], text.trim_start_matches("[tls]: ")));
    }
    let mut algorithms = Vec::new();
    for upstream in &settings.upstreams {
        prove_upstream(settings, upstream, &mut findings);
        if let Ok(plan) = TokenPlan::compile(upstream, &behind::surroundings(settings, upstream)) {
            algorithms.extend(plan.algorithms());
        }
    }
    if !settings.signing_keys.is_empty()
        && let Err(error) = SigningKeys::read(&settings.signing_keys, &Signer::named(&algorithms))
    {
        findings.push(Finding::in_key(&["signing", "keys"], error.to_string()));
    }
    let outbound = plan::outbound(settings, environment).unwrap_or_else(|fault| {
        findings
            .push(Finding::in_variable(&fault.variable, "this is no proxy that can be used; write http://host:port"));
        Outbound::default()
    });
    findings.extend(settings.providers.iter().filter_map(|provider| prove_provider(provider, &outbound)));
    findings
}

/// Each rewrite by itself first, since a table stops at the first that is wrong.
fn prove_routes(routes: &[RouteSettings], findings: &mut Vec<Finding>) {
    let mut is_sound = true;
    for (index, route) in routes.iter().enumerate() {
        if let Some(Err(error)) = route.rewrite.as_ref().map(Rewrite::compile) {
            is_sound = false;
            findings.push(Finding::in_item("routes", index, "rewrite", error.to_string()));
        }
    }
    if is_sound && let Err(error) = RouteTable::compile(routes) {
        findings.push(Finding::in_key(&["routes"], error.to_string()));
    }
}

/// Each own header by itself first, since a plan stops at the first that is wrong.
fn prove_upstream(all: &Settings, settings: &UpstreamSettings, findings: &mut Vec<Finding>) {
    let mut without_headers = UpstreamSettings { headers: Vec::new(), ..settings.clone() };
    for (name, template) in &settings.headers {
        without_headers.headers = vec![(name.clone(), template.clone())];
        if let Err(error) = IdentityHeaders::compile(&without_headers) {
            let text = match error {
                IdentityError::Template { cause, .. } => cause.to_string(),
                other => other.to_string(),
            };
            findings.push(Finding::in_key(&["upstreams", &settings.name, "headers", name.as_str()], text));
        }
    }
    without_headers.headers.clear();
    let Err(error) = behind::upstream(&without_headers, &behind::surroundings(all, settings)) else { return };
    let (key, text) = match (&error, &settings.kind) {
        (PlanError::Identity(_), _) => ("identity", error.to_string()),
        (PlanError::Tokens(_), _) => ("token", error.to_string()),
        (PlanError::UpstreamTls { cause, .. }, UpstreamKind::Application(application)) => {
            (key_of_tls(cause, application), cause.to_string())
        }
        (_, UpstreamKind::Application(application)) => (key_of_addresses(application), error.to_string()),
        (_, UpstreamKind::Files(_)) => ("files", error.to_string()),
        (_, UpstreamKind::Answer(_)) => ("respond", error.to_string()),
        (_, UpstreamKind::Elsewhere) => ("url", error.to_string()),
    };
    findings.push(Finding::in_key(&["upstreams", &settings.name, key], text));
}

/// Which key names the files that TLS stumbled over.
fn key_of_tls(cause: &TlsClientFault, settings: &ApplicationSettings) -> &'static str {
    let is_shown = |file: &Path| settings.client_certificate.as_ref().is_some_and(|shown| shown.cert == file);
    match cause {
        TlsClientFault::Key { .. } | TlsClientFault::Mismatch { .. } => "client_certificate",
        TlsClientFault::Bundle { path, .. } | TlsClientFault::EmptyBundle { path } if is_shown(path) => {
            "client_certificate"
        }
        _ if settings.ca.is_some() => "ca",
        _ => key_of_addresses(settings),
    }
}

const fn key_of_addresses(settings: &ApplicationSettings) -> &'static str {
    if settings.addresses.len() > 1 { "urls" } else { "url" }
}

fn prove_provider(settings: &ProviderSettings, outbound: &Outbound) -> Option<Finding> {
    let fault = Provider::new(settings.clone(), Clock::System, outbound.clone()).err()?;
    let text = match fault {
        ProviderFault::Misconfigured { reason, .. } => reason,
        other => other.to_string(),
    };
    // What is wrong with one key begins with its name; what is left has to do with certificates.
    let named = text.strip_prefix('`').and_then(|rest| rest.split('`').next()).map(str::to_owned);
    let otherwise = if settings.ca.is_some() { "ca" } else { "issuer" };
    let key = named.as_deref().unwrap_or(otherwise);
    Some(match key {
        "max_age" => Finding::in_key(&["providers", &settings.name, "authorization_parameters", key], text),
        key => Finding::in_key(&["providers", &settings.name, key], text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadRequest, load_proving};

    fn told(folder: &Path, provider: &str, rest: &str, variable: Option<(&str, &str)>) -> String {
        let text = format!(
            "public_url = \"https://app.example.com\"\n[session]\nkeys = [{{ file = {:?} }}]\n[providers.corp]\n\
             issuer = \"https://login.example.com\"\nclient_id = \"app\"\n{provider}\n[upstreams.app]\n{rest}\n",
            folder.join("key"),
        );
        std::fs::write(folder.join("key"), crate::base::random::token().unwrap()).unwrap();
        let environment: BTreeMap<String, String> =
            variable.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let request = LoadRequest { text: Some(text), environment: environment.clone(), ..LoadRequest::default() };
        load_proving(&request, |settings| prove(settings, &environment))
            .map(|_| ())
            .map_err(|told| told.to_string())
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn what_only_later_rooms_know_is_told_with_its_key_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let plain = "url = \"http://127.0.0.1:1\"";
        assert_eq!(told(folder.path(), "", plain, None), "");
        let bad = folder.path().join("ca.pem");
        // Base64 that is no certificate: its form is right, and only TLS knows better.
        std::fs::write(&bad, "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n").unwrap();
        let headers =
            "[upstreams.app.headers]\nX-Team = \"{claims.team}\"\nX-Who = \"{nobody}\"\nX-Other = \"{noone}\"";
        for (provider, rest, variable, expected) in [
            (
                "",
                format!("{plain}\n{headers}"),
                None,
                &["upstreams.app.headers.X-Who: ", "built-in.toml:", "X-Other: ", "2 mistakes"][..],
            ),
            ("", format!("url = \"https://127.0.0.1:1\"\nca = {bad:?}"), None, &["upstreams.app.ca: ", "1 mistake"]),
            (
                "[providers.corp.authorization_parameters]\nmax_age = \"soon\"",
                plain.to_owned(),
                None,
                &["authorization_parameters.max_age: ", "whole number"],
            ),
            (
                "",
                plain.to_owned(),
                Some(("HTTPS_PROXY", "socks5://u:hush@p:1")),
                &["environment variable HTTPS_PROXY: error", "  = write http://host:port"],
            ),
        ] {
            let told = told(folder.path(), provider, &rest, variable);
            for part in expected {
                assert!(told.contains(part), "no {part} in:\n{told}");
            }
            assert!(!told.contains("hush"), "{told}");
        }
    }

    #[test]
    fn what_is_wrong_already_is_not_told_twice() {
        let folder = tempfile::tempdir().unwrap();
        let rest = "url = \"127.0.0.1:1\"\nidle_timeout = \"soon\"\n[[routes]]\npath = \"/x\"\nallow = \"everyone\"\n[[routes]]\npath = \"/x\"\nallow = \"everyone\"";
        let told = told(folder.path(), "", rest, Some(("ALL_PROXY", "socks5://p:1")));
        assert!(told.contains("4 mistakes"), "{told}");
    }
}
