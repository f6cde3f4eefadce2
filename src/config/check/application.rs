//! The keys of `[upstreams.…]` that are about an application or API: where it is, and how it is reached.

use std::num::NonZeroU32;

use rustls_pki_types::ServerName;

use super::address;
use super::files;
use super::health;
use crate::config::raw::convert;
use crate::config::raw::node::Place;
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::{Placed, Table};
use crate::config::settings::{ApplicationSettings, Balance, CertificateFiles, UpstreamAddress, UpstreamProtocol};

/// The keys that are read here; they have no meaning for anything but an application.
pub(super) const KEYS: [&str; 18] = [
    "url",
    "urls",
    "balance",
    "health",
    "eject_after",
    "eject_for",
    "protocol",
    "pass_host",
    "ca",
    "client_certificate",
    "server_name",
    "connect_timeout",
    "response_timeout",
    "idle_timeout",
    "max_idle",
    "max_requests",
    "client_cert_header",
    "token",
];

/// Faults in a row after which an address is left out, when the config doesn't say.
const EJECT_AFTER: u32 = 3;

/// Unused connections that are kept, when the config doesn't say.
const MAX_IDLE: u32 = 1_024;

/// What `url` says of an application that another proxy reaches, which asks us.
const ELSEWHERE: &str = "none";

/// Whether another proxy reaches it.
pub(super) fn is_elsewhere(table: &Table<'_>) -> bool {
    let url = table.node("url").and_then(|node| convert::text(node, "url", "").ok());
    url.is_some_and(|url| url == ELSEWHERE)
}

/// An application; `None` when its addresses are not there or wrong.
pub(super) fn application(table: &Table<'_>) -> Option<ApplicationSettings> {
    let addresses = addresses(table);
    let balance =
        table.choice("balance", &[("least_requests", Balance::LeastRequests), ("round_robin", Balance::RoundRobin)]);
    let health = health::health(table);
    let eject_after = table.whole("eject_after", 0..=1000).unwrap_or(EJECT_AFTER);
    let eject_for = table.duration("eject_for", "5s", ("1s", "10m"));
    let protocol = table.choice(
        "protocol",
        &[("auto", UpstreamProtocol::Auto), ("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)],
    );
    let pass_host = table.flag("pass_host", true);
    let ca = files::certificates(table, "ca");
    let client_certificate = client_certificate(table);
    let server_name = table.parse("server_name", "a host name", server_name);
    let connect_timeout = table.duration("connect_timeout", "5s", ("100ms", "5m"));
    let response_timeout = table.duration("response_timeout", "60s", ("100ms", "1d"));
    let idle_timeout = table.duration("idle_timeout", "60s", ("1s", "1h"));
    let max_idle = table.whole("max_idle", 0..=65_536).unwrap_or(MAX_IDLE);
    let max_requests = table.whole("max_requests", 1..=1_000_000_000).and_then(NonZeroU32::new);
    let client_cert_header = table.flag("client_cert_header", false);
    let addresses = addresses?;
    let is_secure = |address: &UpstreamAddress| matches!(address, UpstreamAddress::Web(url) if url.scheme() == "https");
    if !addresses.iter().any(is_secure) {
        for key in ["ca", "client_certificate", "server_name"] {
            if table.has(key) {
                let wrong = Wrong::new(format!("`{key}` has no meaning for an http upstream"));
                table.error(key, wrong.note(format!("write an https `url`, or leave `{key}` out")));
            }
        }
    }
    Some(ApplicationSettings {
        addresses,
        balance: balance.unwrap_or(Balance::LeastRequests),
        health,
        eject_after: NonZeroU32::new(eject_after),
        eject_for,
        protocol: protocol.unwrap_or(UpstreamProtocol::Auto),
        pass_host,
        ca,
        client_certificate,
        server_name,
        connect_timeout,
        response_timeout,
        idle_timeout,
        max_idle: usize::try_from(max_idle).unwrap_or(usize::MAX),
        max_requests,
        client_cert_header,
    })
}

fn addresses(table: &Table<'_>) -> Option<Vec<UpstreamAddress>> {
    let url = table.parse("url", "a URL such as \"http://127.0.0.1:3000\"", |text| {
        if text == ELSEWHERE { Ok(None) } else { address::upstream(text).map(Some) }
    });
    let urls = table.each(
        "urls",
        "a list of URLs such as [\"http://10.0.0.1:3000\", \"http://10.0.0.2:3000\"]",
        address::upstream,
    );
    if table.has("url") && table.has("urls") {
        let wrong = Wrong::new("`url` and `urls` are both given").note("put every address into `urls`");
        table.report().clash(table.place("urls"), table.place("url"), "`url` is at", wrong);
        return None;
    }
    if !table.has("urls") {
        return url.flatten().map(|url| vec![url]);
    }
    let urls = urls?;
    if urls.is_empty() {
        if table.report().is_clean_within(&table.place("urls")) {
            table.error("urls", Wrong::new("`urls` is an empty list").note("give at least one address"));
        }
        return None;
    }
    let mut seen: Vec<(&UpstreamAddress, &Place)> = Vec::new();
    for Placed { value, place } in &urls {
        if let Some((_, first)) = seen.iter().find(|(known, _)| *known == value) {
            let wrong = Wrong::new("this address is given twice").note("leave one of them out");
            table.report().clash(place.clone(), (*first).clone(), "it is also at", wrong);
        }
        seen.push((value, place));
    }
    Some(urls.into_iter().map(|placed| placed.value).collect())
}

fn client_certificate(table: &Table<'_>) -> Option<CertificateFiles> {
    let given = table.has("client_certificate");
    let inner = table.table("client_certificate");
    let cert = files::certificates(&inner, "cert");
    let key = files::private_key(&inner, "key");
    if given {
        for (name, fix) in [("cert", "cert = \"/…/cert.pem\""), ("key", "key = \"/…/key.pem\"")] {
            if !inner.has(name) {
                inner.missing(name, fix);
            }
        }
    }
    Some(CertificateFiles { cert: cert?, key: key? })
}

fn server_name(text: &str) -> Result<String, Wrong> {
    let wrong = || {
        Wrong::new(format!("`{}` is no host name", printable(text)))
            .note("write the name in the upstream's certificate: \"app.internal\"")
    };
    let name = ServerName::try_from(text).map_err(|_| wrong())?;
    if text.ends_with('.') {
        return Err(wrong());
    }
    Ok(name.to_str().into_owned())
}
