//! `[tls]`: the certificates that `https` listeners show, and those that they ask clients for.

use std::path::PathBuf;

use super::files;
use crate::config::raw::report::Wrong;
use crate::config::raw::table::Table;
use crate::config::settings::{
    Allow, CertificateFiles, ClientCertificateSettings, Conditions, ListenSettings, RouteSettings, TlsSettings,
    UpstreamKind, UpstreamSettings,
};

/// The pair at `cert` and `key` is the default; `certificates` has further ones.
pub(super) fn tls(root: &Table<'_>, listen: &ListenSettings) -> Option<TlsSettings> {
    let table = root.table("tls");
    let first = pair(&table);
    let expected =
        "a list of tables such as [{ cert = \"/etc/portcullis/cert.pem\", key = \"/etc/portcullis/key.pem\" }]";
    let more: Vec<Option<CertificateFiles>> = table
        .items("certificates", expected)
        .unwrap_or_default()
        .iter()
        .map(|node| {
            let table =
                Table::new(node, "[[tls.certificates]]".to_owned(), "tls.certificates[]".to_owned(), root.report());
            need(&table, true);
            pair(&table)
        })
        .collect();
    let wanted = !listen.https.is_empty();
    need(&table, (wanted && more.is_empty()) || table.has("cert") || table.has("key"));
    let clients = clients(&table);
    if !wanted && (first.is_some() || more.iter().any(Option::is_some)) {
        let wrong = Wrong::new("`[tls]` is given, but nothing listens with it")
            .note("add an address to `listen.https`, or leave `[tls]` out");
        table.report().warn(table.place(if table.has("cert") { "cert" } else { "certificates" }), wrong);
    }
    let certificates: Vec<CertificateFiles> = first.into_iter().chain(more.into_iter().flatten()).collect();
    (!certificates.is_empty()).then_some(TlsSettings { certificates, clients })
}

fn pair(table: &Table<'_>) -> Option<CertificateFiles> {
    let cert = files::certificates(table, "cert");
    let key = files::private_key(table, "key");
    Some(CertificateFiles { cert: cert?, key: key? })
}

fn need(table: &Table<'_>, needed: bool) {
    for name in ["cert", "key"] {
        if needed && !table.has(name) {
            table.missing(name, &format!("{name} = \"/etc/portcullis/{name}.pem\", which `listen.https` needs"));
        }
    }
}

fn clients(table: &Table<'_>) -> Option<ClientCertificateSettings> {
    let ca: Option<PathBuf> = files::certificates(table, "client_ca");
    let required = table.choice("client_certificates", &[("optional", false), ("required", true)]);
    if !table.has("client_ca") && table.has("client_certificates") {
        table.missing(
            "client_ca",
            "client_ca = \"/etc/portcullis/clients.pem\": who issues the certificates of clients",
        );
    }
    Some(ClientCertificateSettings { ca: ca?, required: required.unwrap_or(true) })
}

/// What speaks of clients' certificates needs `client_ca`: without it no rule could ever be met, and no header ever be sent.
pub(super) fn check_use(
    root: &Table<'_>,
    tls: Option<&TlsSettings>,
    routes: &[RouteSettings],
    upstreams: &[UpstreamSettings],
) {
    let asked_for = tls.is_some_and(|tls| tls.clients.is_some());
    let in_rule = |route: &RouteSettings| {
        let allowed: &[Conditions] = if let Allow::AnyOf(tables) = &route.allow { tables } else { &[] };
        allowed.iter().chain(&route.deny).any(|table| table.client_certificate.is_some())
    };
    let has_header = |upstream: &UpstreamSettings| matches!(&upstream.kind, UpstreamKind::Application(application) if application.client_cert_header);
    let user = if routes.iter().any(in_rule) {
        "a rule names a `client_certificate`"
    } else if upstreams.iter().any(has_header) {
        "an upstream has `client_cert_header`"
    } else {
        return;
    };
    let place = root.place("tls");
    // A `client_ca` that can't be used was told already.
    if !asked_for && (!root.has("tls") || root.report().is_clean_within(&place)) {
        let wrong = Wrong::new(format!("{user}, but clients are asked for none"))
            .note("add [tls] client_ca = \"/etc/portcullis/clients.pem\", and an address to `listen.https`");
        root.report().absence(place.of_key(), wrong);
    }
}
