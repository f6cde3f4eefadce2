//! The top level: who we are to browsers, how many cores work, what visitors may send, and how we log.

use std::num::NonZeroUsize;

use url::Url;

use super::address;
use super::pattern;
use crate::config::raw::report::{Wrong, nearest, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{LimitSettings, LogFormat, LogSettings};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Bounds on what `body_bytes` may be.
pub(super) const BODY_BYTES: (&str, &str) = ("1B", "1048576GiB");

/// `public_url`: plain http for this machine alone, since session cookies travel on it.
pub(super) fn public_url(table: &Table<'_>) -> Option<Url> {
    let url = table.parse("public_url", "a URL such as \"https://app.example.com\"", |text| {
        let url = address::origin(text)?;
        if url.scheme() == "http" && !address::is_loopback(&url) {
            return Err(Wrong::new("`public_url` is plain http, so session cookies could be read on the way").note(
                format!("write \"https://{}\"; http is for localhost alone", url.host_str().unwrap_or_default()),
            ));
        }
        Ok(url)
    });
    if !table.has("public_url") {
        table.missing("public_url", "the origin that browsers see: public_url = \"https://app.example.com\"");
    }
    url
}

/// `prefix`: the path below which our own endpoints live.
pub(super) fn prefix(table: &Table<'_>) -> String {
    let given = table.parse("prefix", "a path such as \"/.auth\"", |text| {
        pattern::check_path(text)?;
        if text == "/" || text.ends_with('/') || text.contains('*') || text.len() > 64 {
            return Err(Wrong::new("`prefix` is one path for our own endpoints")
                .note("write a path without a slash at its end, at most 64 long: \"/.auth\""));
        }
        Ok(text.to_owned())
    });
    given.unwrap_or_else(|| "/.auth".to_owned())
}

/// `workers`.
pub(super) fn workers(table: &Table<'_>) -> Option<NonZeroUsize> {
    table.whole("workers", 1..=1024).and_then(|count| usize::try_from(count).ok()).and_then(NonZeroUsize::new)
}

/// `[limits]`.
pub(super) fn limits(root: &Table<'_>) -> LimitSettings {
    let table = root.table("limits");
    let header_bytes = table.size("header_bytes", ("4KiB", "256KiB")).and_then(|size| usize::try_from(size).ok());
    let count = |key, bounds, default| {
        table.whole(key, bounds).and_then(|count| usize::try_from(count).ok()).unwrap_or(default)
    };
    let request_timeout = table.duration("request_timeout", "1h", ("1s", "30d"));
    LimitSettings {
        header_bytes: header_bytes.unwrap_or(64 * 1024),
        headers: count("headers", 10..=1000, 100),
        header_timeout: table.duration("header_timeout", "10s", ("1s", "5m")),
        body_bytes: table.size("body_bytes", BODY_BYTES),
        body_timeout: table.duration("body_timeout", "60s", ("1s", "1h")),
        send_timeout: table.duration("send_timeout", "60s", ("1s", "1h")),
        request_timeout: table.has("request_timeout").then_some(request_timeout),
        idle_timeout: table.duration("idle_timeout", "75s", ("1s", "1h")),
        connections: count("connections", 1..=1_000_000, 10_000),
        connections_per_address: count("connections_per_address", 1..=1_000_000, 1000),
        h2_streams: table.whole("h2_streams", 1..=1000).unwrap_or(128),
        h2_resets: table.whole("h2_resets", 10..=1_000_000).unwrap_or(500),
        h2_window: table
            .size("h2_window", ("64KiB", "16MiB"))
            .and_then(|size| u32::try_from(size).ok())
            .unwrap_or(1024 * 1024),
    }
}

/// `[log]`.
pub(super) fn log(root: &Table<'_>) -> LogSettings {
    let table = root.table("log");
    let format = table.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let level = table.parse("level", "a level such as \"info\"", level);
    LogSettings { format: format.unwrap_or(LogFormat::Text), level: level.unwrap_or_else(|| "info".to_owned()) }
}

/// `info`, or `info,portcullis=debug`. The filter's own parser takes a misspelt level for the name of a module.
fn level(text: &str) -> Result<String, Wrong> {
    for part in text.split(',') {
        let (target, level) =
            part.trim().split_once('=').map_or_else(|| (None, part.trim()), |(target, level)| (Some(target), level));
        let named = target.is_none_or(|target| {
            !target.is_empty() && target.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
        });
        if !named || !LEVELS.contains(&level) {
            let mut wrong = Wrong::new(format!("`{}` is no level", printable(part)));
            if let Some(near) = nearest(level, LEVELS.into_iter()) {
                wrong = wrong.note(format!("did you mean \"{near}\"?"));
            }
            return Err(
                wrong.note(format!("allowed: {}, or with a module: \"info,portcullis=debug\"", LEVELS.join(", ")))
            );
        }
    }
    Ok(text.to_owned())
}

/// `[return_to]`: other origins that a sign-in may lead back to.
pub(super) fn return_to_origins(root: &Table<'_>) -> Vec<Url> {
    let table = root.table("return_to");
    let origins = table.each("origins", "a list of URLs", |text| {
        let url = address::origin(text)?;
        if url.scheme() == "http" && !address::is_loopback(&url) {
            return Err(Wrong::new("a plain http origin can be impersonated on the way")
                .note(format!("write \"https://{}\"", url.host_str().unwrap_or_default())));
        }
        Ok(url)
    });
    origins.unwrap_or_default().into_iter().map(|origin| origin.value).collect()
}
