//! `session.store`: a text, or a table with what else there is to say about a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::secret;
use super::{Context, files, store_url};
use crate::base::units::parse_duration;
use crate::config::raw::node::{Content, Node};
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::secret::SecretSource;
use crate::config::settings::CertificateFiles;
use crate::config::store_settings::{OutsideStore, RedisAddress, RedisServers, StorePlace, StoreSettings};

const EXPECTED: &str = "allowed: \"cookie\", a store's URL, or a table with `url`";
const TIMEOUT: &str = "1s";
const FRESH_FOR: &str = "5s";
const KEEP_FOR: &str = "15m";
const PREFIX: &str = "portcullis";

/// `session.store`; cookies when it is absent, or can't be read.
pub(super) fn store(session: &Table<'_>, context: &Context<'_>) -> StoreSettings {
    let Some(node) = session.node("store") else { return StoreSettings::Cookie };
    let read = match &node.content {
        Content::Text(text) if text == "cookie" => None,
        Content::Text(text) => plain(node, text, context),
        Content::Table(_) => table(node, context),
        other => {
            let wrong = Wrong::new(format!("`store` takes a text or a table, not {}", other.kind())).note(EXPECTED);
            context.report.error(node.place.clone(), wrong);
            None
        }
    };
    read.map_or(StoreSettings::Cookie, |store| StoreSettings::Outside(Arc::new(store)))
}

fn plain(node: &Node, text: &str, context: &Context<'_>) -> Option<OutsideStore> {
    let place = place(node, text, context)?;
    if has_password(&place) {
        secret::read(node, "session.store", "session.store", context)?;
    }
    Some(OutsideStore {
        place,
        password: None,
        ca: None,
        certificate: None,
        timeout: duration(TIMEOUT),
        fresh_for: duration(FRESH_FOR),
        keep_for: duration(KEEP_FOR),
        prefix: PREFIX.to_owned(),
        cookie_fallback: true,
        only_large: false,
    })
}

fn table(node: &Node, context: &Context<'_>) -> Option<OutsideStore> {
    let table = Table::new(node, "[session.store]".to_owned(), "session.store".to_owned(), context.report);
    let url = table.node("url").cloned();
    let place = url.as_ref().and_then(|url| url_place(url, context));
    let password = password(&table, "password", context);
    let sentinel_password = password_of_sentinels(&table, place.as_ref(), context);
    let (ca, certificate) = tls(&table, place.as_ref());
    let timeout = table.duration("timeout", TIMEOUT, ("50ms", "30s"));
    let fresh_for = table.duration("fresh_for", FRESH_FOR, ("1s", "5m"));
    let keep_for = table.duration("keep_for", KEEP_FOR, ("0s", "24h"));
    let prefix = table.parse("prefix", "a name such as \"portcullis\"", prefix);
    let cookie_fallback = table.flag("cookie_fallback", true);
    let only_large = table.choice("sessions", &[("all", false), ("large", true)]).unwrap_or(false);
    if url.is_none() {
        table.missing("url", "url = \"redis://host:6379\", or another store's URL");
    }
    if let Some(place) = &place
        && password.is_some()
        && (has_password(place) || matches!(place, StorePlace::Sqlite(_)))
    {
        let what =
            if has_password(place) { "`url` has a password already" } else { "a file of SQLite has no password" };
        table.error("password", Wrong::new(what).note("keep one of them: `password` can be { file = \"…\" }"));
    }
    let mut place = place?;
    if let StorePlace::Redis(redis) = &mut place {
        redis.sentinel_password = sentinel_password;
    }
    Some(OutsideStore {
        place,
        password,
        ca,
        certificate,
        timeout,
        fresh_for,
        keep_for,
        prefix: prefix.unwrap_or_else(|| PREFIX.to_owned()),
        cookie_fallback,
        only_large,
    })
}

/// `url` may be a secret, since a password may stand in it.
fn url_place(node: &Node, context: &Context<'_>) -> Option<StorePlace> {
    if let Content::Text(text) = &node.content {
        let place = place(node, text, context)?;
        if has_password(&place) {
            secret::read(node, "session.store.url", "session.store.url", context)?;
        }
        return Some(place);
    }
    let found = secret::read(node, "session.store.url", "session.store.url", context)?;
    place(node, found.value.expose_secret(), context)
}

fn place(node: &Node, text: &str, context: &Context<'_>) -> Option<StorePlace> {
    let place = store_url::parse(text).map_err(|wrong| context.report.error(node.place.clone(), wrong)).ok()?;
    warn_of_plain_text(node, &place, context);
    Some(place)
}

/// A password that crosses a network has to be kept from those who listen there.
fn warn_of_plain_text(node: &Node, place: &StorePlace, context: &Context<'_>) {
    let wrong = match place {
        StorePlace::Redis(redis) if !redis.tls && redis.password.is_some() && !is_here(&redis.servers) => {
            Wrong::new("the store's password crosses the network in plain text")
                .note("write rediss:// if it speaks TLS")
        }
        StorePlace::Postgres(postgres) if !postgres.url.contains("sslmode=") && !is_local_url(&postgres.url) => {
            Wrong::new("the store's URL has no `sslmode`, so that its certificate is not checked, and TLS not needed")
                .note("add ?sslmode=verify-full, or ?sslmode=disable where the network is trusted")
        }
        _ => return,
    };
    context.report.warn(node.place.clone(), wrong);
}

fn is_here(servers: &RedisServers) -> bool {
    let is_here = |address: &RedisAddress| match address {
        RedisAddress::Unix(_) => true,
        RedisAddress::Tcp(host, _) => is_loopback(host),
    };
    match servers {
        RedisServers::One(address) => is_here(address),
        RedisServers::Sentinels { sentinels: all, .. } | RedisServers::Cluster(all) => all.iter().all(is_here),
    }
}

fn is_local_url(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| url.host_str().is_none_or(is_loopback))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

const fn has_password(place: &StorePlace) -> bool {
    match place {
        StorePlace::Redis(redis) => redis.password.is_some(),
        StorePlace::Postgres(postgres) => postgres.password.is_some(),
        StorePlace::Sqlite(_) => false,
    }
}

fn password(table: &Table<'_>, key: &'static str, context: &Context<'_>) -> Option<SecretSource> {
    let node = table.node(key)?;
    let name = format!("session.store.{key}");
    Some(secret::read(node, &name, &name, context)?.source)
}

fn password_of_sentinels(table: &Table<'_>, place: Option<&StorePlace>, context: &Context<'_>) -> Option<SecretSource> {
    let password = password(table, "sentinel_password", context)?;
    let watched =
        matches!(place, Some(StorePlace::Redis(redis)) if matches!(redis.servers, RedisServers::Sentinels { .. }));
    if place.is_some() && !watched {
        let wrong = Wrong::new("`sentinel_password` is given, and `url` names no sentinels")
            .note("write url = \"redis+sentinel://host,host/primary\", or leave it out");
        table.error("sentinel_password", wrong);
    }
    Some(password)
}

fn tls(table: &Table<'_>, place: Option<&StorePlace>) -> (Option<PathBuf>, Option<CertificateFiles>) {
    let ca = files::certificates(table, "ca");
    let cert = files::certificates(table, "cert");
    let key = files::private_key(table, "key");
    for (given, other) in [("cert", "key"), ("key", "cert")] {
        if table.has(given) && !table.has(other) {
            table.missing(other, &format!("{other} = \"/etc/portcullis/{other}.pem\", which belongs to `{given}`"));
        }
    }
    let fix = match place {
        Some(StorePlace::Sqlite(_)) => Some("leave it out: SQLite is a file of this machine"),
        Some(StorePlace::Redis(redis)) if !redis.tls => Some("write rediss:// in `url`"),
        Some(StorePlace::Postgres(postgres)) if postgres.url.contains("sslmode=disable") => {
            Some("write sslmode=verify-full in `url`")
        }
        Some(StorePlace::Postgres(_) | StorePlace::Redis(_)) | None => None,
    };
    if let Some(fix) = fix
        && let Some(given) = ["ca", "cert", "key"].into_iter().find(|given| table.has(given))
    {
        table.error(given, Wrong::new(format!("`{given}` is for TLS, and this store is spoken to without")).note(fix));
    }
    (ca, cert.zip(key).map(|(cert, key)| CertificateFiles { cert, key }))
}

/// A name that can stand in front of every record's and every table's.
fn prefix(text: &str) -> Result<String, Wrong> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins || text.len() > 32 || !text.bytes().all(plain) {
        return Err(Wrong::new(format!("`{}` is no prefix for a store", printable(text)))
            .note("allowed: 1 to 32 of a-z, 0-9 and `_`, a letter first"));
    }
    Ok(text.to_owned())
}

fn duration(text: &str) -> Duration {
    parse_duration(text).unwrap_or_default()
}
