//! `[session]`: keys that are worth the name, and times that fit together.

use std::ops::RangeInclusive;

use super::Context;
use super::{secret, store};
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::secret::SecretSource;
use crate::config::session_key;
use crate::config::settings::{LimitSettings, SessionSettings};

const LARGEST_COOKIES: (&str, &str) = ("4KiB", "64KiB");
const CACHE: RangeInclusive<u32> = 16..=100_000_000;

/// `[session]`.
pub(super) fn session(root: &Table<'_>, limits: &LimitSettings, context: &Context<'_>) -> SessionSettings {
    let table = root.table("session");
    let keys = keys(&table, context);
    let store = store::store(&table, context);
    let idle = table.duration("idle", "8h", ("1s", "365d"));
    let lifetime = table.duration("lifetime", "7d", ("1s", "365d"));
    if idle > lifetime {
        let key = if table.has("idle") { "idle" } else { "lifetime" };
        table.error(
            key,
            Wrong::new("`idle` is longer than `lifetime`").note("make `idle` at most as long as `lifetime`"),
        );
    }
    let cookie_name = table.parse("cookie_name", "a name such as \"portcullis\"", cookie_name);
    let max_cookie_bytes = table
        .size("max_cookie_bytes", LARGEST_COOKIES)
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(16 * 1024);
    if max_cookie_bytes >= limits.header_bytes {
        let wrong = Wrong::new("`session.max_cookie_bytes` leaves no room in `limits.header_bytes` for anything else")
            .note("make `limits.header_bytes` at least twice as large");
        table.error("max_cookie_bytes", wrong);
    }
    SessionSettings {
        keys,
        store,
        idle,
        lifetime,
        cookie_name: cookie_name.unwrap_or_else(|| "portcullis".to_owned()),
        max_cookie_bytes,
        flow_lifetime: table.duration("flow_lifetime", "10m", ("1s", "1h")),
        refresh_ahead: Some(table.duration("refresh_ahead", "1m", ("1s", "1h"))).filter(|_| table.has("refresh_ahead")),
        refresh_grace: table.duration("refresh_grace", "1m", ("0s", "10m")),
        cache: table.whole("cache", CACHE).and_then(|count| usize::try_from(count).ok()).unwrap_or(8192),
    }
}

fn keys(table: &Table<'_>, context: &Context<'_>) -> Vec<SecretSource> {
    let report = table.report();
    let given = table.items("keys", "a list of secrets such as [{ file = \"/run/secrets/session-key\" }]");
    let is_given = table.has("keys");
    let mut sources = Vec::new();
    let mut seen: Vec<(Vec<u8>, crate::config::raw::node::Place)> = Vec::new();
    let given = given.unwrap_or_default();
    if given.is_empty() && (!is_given || report.is_clean_at(&table.place("keys"))) {
        let wrong = Wrong::new("`session.keys` has no key: one is made at start, and a restart signs everyone out")
            .note("write a key to a file with `portcullis keygen`, and name it: keys = [{ file = \"…\" }]");
        report.warn(table.place("keys"), wrong);
    }
    for node in given {
        let Some(found) = secret::read(&node, "session.keys", "session.keys[]", context) else { continue };
        let lines = session_key::lines(&found.value);
        if lines.is_empty() {
            let wrong = Wrong::new("there is no session key in it, only comments");
            report.error(found.place.clone(), wrong.note("write one there with `portcullis keygen`"));
        }
        for (line, key) in &lines {
            let this =
                if lines.len() > 1 { format!("the session key in line {line}") } else { "this session key".to_owned() };
            match session_key::decode(key) {
                Ok(key) => {
                    if let Some((_, first)) = seen.iter().find(|(other, _)| *other == *key) {
                        let wrong = Wrong::new(format!("{this} is given twice")).note("leave one of them out");
                        report.clash(found.place.clone(), first.clone(), "it is also at", wrong);
                    }
                    seen.push((key.to_vec(), found.place.clone()));
                }
                Err(weak) => {
                    let wrong = Wrong::new(format!("{this} {weak}"))
                        .note("make one with `portcullis keygen`: 32 random bytes, in base64url");
                    report.error(found.place.clone(), wrong);
                }
            }
        }
        sources.push(found.source);
    }
    for (mut key, _) in seen {
        zeroize::Zeroize::zeroize(&mut key);
    }
    sources
}

/// A cookie's name is a token (RFC 6265, section 4.1.1); ours gets its `__Host-` prefix and its suffixes later.
fn cookie_name(text: &str) -> Result<String, Wrong> {
    if text.starts_with("__") {
        return Err(Wrong::new("the prefix of a cookie's name is added by us").note("write the rest of the name alone"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > 32 || !text.bytes().all(plain) {
        return Err(Wrong::new(format!("`{}` is no name for our cookies", printable(text)))
            .note("allowed: 1 to 32 letters, digits, `_` and `-`"));
    }
    Ok(text.to_owned())
}
