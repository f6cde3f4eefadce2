//! The annotated reference file can't drift from what the reader knows.

use std::collections::BTreeSet;

use super::*;
use crate::config::settings::{OutsideStore, StoreSettings};
use crate::config::source::load_with;

fn desk() -> (Desk, LoadRequest) {
    let mut desk = Desk::new();
    let (cert, key) = certificate();
    desk.write("cert.pem", &cert);
    desk.write("corp-ca.pem", &cert);
    desk.write("api-ca.pem", &cert);
    desk.write("key.pem", &key);
    desk.write("redis-ca.pem", &cert);
    desk.write("redis-password", "hush\n");
    desk.write("clients.pem", &cert);
    desk.write("other-cert.pem", &cert);
    desk.write("other-key.pem", &key);
    std::fs::create_dir(desk.path("www")).unwrap();
    desk.environment.insert("OLD_SESSION_KEY".to_owned(), crate::base::random::token().unwrap());
    for name in ["api-key", "service-password", "service-token"] {
        desk.write(name, "hush\n");
    }
    desk.write("signing-key.pem", &key);
    desk.write("old-signing-key.pem", &certificate().1);
    let file = desk.write("portcullis.toml", &read("config/portcullis.toml"));
    let request = LoadRequest { files: vec![file], environment: desk.environment.clone(), ..LoadRequest::default() };
    (desk, request)
}

#[test]
fn the_reference_loads_as_it_stands() {
    let (desk, request) = desk();
    let settings = desk.load_request(&request).unwrap_or_else(|told| panic!("{told}"));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert!(settings.dangers.is_empty());
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let (_desk, request) = desk();
    let (_, known) = load_with(&request, |_| Vec::new());
    let table: ::toml::Table = ::toml::from_str(&read("config/portcullis.toml")).unwrap();
    let mut written = BTreeSet::new();
    collect(&::toml::Value::Table(table), "", &mut written);
    // What `deny` takes is written out for `allow`.
    let told_of_allow = |key: &str| key.strip_prefix("routes[].deny.").map(|rest| format!("routes[].allow.{rest}"));
    let is_told = |key: &str| told_of_allow(key).is_some_and(|twin| written.contains(&twin));
    // Where a secret is shown from a file, it could be from a variable as well.
    let optional = |key: &&String| {
        let is_secret = key.contains("client_secret.") || key.starts_with("session.store.");
        let last = key.rsplit('.').next().unwrap_or_default();
        last != "env" && !(is_secret && last == "file") && !is_told(key)
    };
    let missing: Vec<&String> = known.difference(&written).filter(optional).collect();
    assert!(missing.is_empty(), "the reference lacks {missing:?}");
    assert!(known.len() > 70, "the check saw only {} keys", known.len());
    let extra: Vec<&String> = written.difference(&known).collect();
    assert!(extra.is_empty(), "nobody reads {extra:?}");
}

/// The keys of a value, with `*` for names of the operator's own and `[]` for items of a list.
fn collect(value: &::toml::Value, pattern: &str, written: &mut BTreeSet<String>) {
    match value {
        ::toml::Value::Table(table) => {
            for (key, value) in table {
                let inner = match pattern {
                    "" => key.clone(),
                    "providers" | "bearer" | "upstreams" | "routes[].allow.claims" => format!("{pattern}.*"),
                    "providers.*.authorization_parameters" | "upstreams.*.headers" => continue,
                    _ => format!("{pattern}.{key}"),
                };
                if !inner.ends_with('*') {
                    written.insert(inner.clone());
                }
                collect(value, &inner, written);
            }
        }
        ::toml::Value::Array(items) => {
            let pattern = match pattern {
                "routes[].allow" | "routes[].deny" => pattern.to_owned(),
                _ => format!("{pattern}[]"),
            };
            for item in items {
                collect(item, &pattern, written);
            }
        }
        _ => {}
    }
}

#[test]
fn the_defaults_in_the_reference_are_the_defaults() {
    let (desk, request) = desk();
    let shown = desk.load_request(&request).unwrap();
    let text = right("", "[providers.corp.authorization_parameters]\nui_locales = \"en\"\n").replace(
        "client_id = \"app\"",
        "client_id = \"app\"\npreset = \"keycloak\"\nclient_secret = { file = \"/run/secrets/client-secret\" }",
    );
    let implied = toml(&text).unwrap();
    let common = |settings: &Settings| {
        let (session, provider, upstream) =
            (&settings.session, &settings.providers[0], settings.upstreams.iter().find(|u| &*u.name == "app").unwrap());
        format!(
            "{:#?}",
            (
                (&settings.prefix, settings.drain, &settings.listen.http, &settings.log),
                (session.idle, session.lifetime, &session.cookie_name, session.max_cookie_bytes, session.flow_lifetime),
                (
                    settings.limits.header_bytes,
                    settings.limits.header_timeout,
                    settings.limits.idle_timeout,
                    settings.limits.connections,
                    settings.limits.connections_per_address,
                    settings.limits.headers,
                    settings.limits.body_timeout,
                    settings.limits.send_timeout,
                    settings.limits.h2_streams,
                    settings.limits.h2_resets,
                    settings.limits.h2_window,
                    settings.listen.h2c
                ),
                (
                    provider.client_authentication,
                    &provider.scopes,
                    &provider.signing_algorithms,
                    provider.userinfo,
                    &provider.groups_claim
                ),
                (&provider.roles_claims, &provider.allowed_login_parameters, provider.timeout, provider.clock_skew),
                (&upstream.identity, &upstream.token, &upstream.kind),
                (settings.routes.last().map(|route| (route.signed_out, route.allowances))),
            )
        )
    };
    assert_eq!(common(&shown), common(&implied));
}

#[test]
fn the_defaults_of_a_store_in_the_reference_are_the_defaults() {
    let (desk, request) = desk();
    let shown = desk.load_request(&request).unwrap();
    let StoreSettings::Outside(shown) = &shown.session.store else { panic!("the reference shows a store") };
    let plain = right("", "").replace("[upstreams.app]", "store = \"redis://localhost\"\n[upstreams.app]");
    let table = plain.replace("\"redis://localhost\"", "{ url = \"redis://localhost\" }");
    for implied in [toml(&plain).unwrap(), toml(&table).unwrap()] {
        let StoreSettings::Outside(implied) = &implied.session.store else { panic!("a store is given") };
        let common = |store: &OutsideStore| {
            let OutsideStore { timeout, fresh_for, keep_for, prefix, cookie_fallback, only_large, .. } = store;
            format!("{timeout:?} {fresh_for:?} {keep_for:?} {prefix} {cookie_fallback} {only_large}")
        };
        assert_eq!(common(shown), common(implied));
    }
}
