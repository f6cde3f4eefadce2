//! `[upstreams.…]`: what is behind us, and what it gets to know.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;

use super::address;
use super::answer;
use super::application;
use super::{Context, names, provider, token};
use crate::config::raw::convert;
use crate::config::raw::report::{Wrong, nearest, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{KNOWN_IDENTITY_PRESETS, TokenSettings, UpstreamAddress, UpstreamKind, UpstreamSettings};

/// Headers that belong to the message or to the gateway, and what to do instead.
const RESERVED: [(&str, &str); 25] = [
    ("host", "use `pass_host`"),
    ("cookie", "sessions never reach an upstream"),
    ("set-cookie", "it is no request header"),
    ("authorization", "use `token`"),
    ("connection", "it is about one connection alone"),
    ("keep-alive", "it is about one connection alone"),
    ("proxy-connection", "it is about one connection alone"),
    ("proxy-authenticate", "it is about one connection alone"),
    ("proxy-authorization", "it is about one connection alone"),
    ("te", "it is about one connection alone"),
    ("trailer", "it is about one connection alone"),
    ("transfer-encoding", "it is about one connection alone"),
    ("upgrade", "it is about one connection alone"),
    ("http2-settings", "it is about one connection alone"),
    ("expect", "it belongs to the request's body"),
    ("date", "it belongs to the message"),
    ("via", "it is set by the gateway"),
    ("forwarded", "it is set by the gateway"),
    ("x-forwarded-for", "it is set by the gateway"),
    ("x-forwarded-host", "it is set by the gateway"),
    ("x-forwarded-port", "it is set by the gateway"),
    ("x-forwarded-prefix", "it is set by the gateway where a route has `strip_prefix`"),
    ("x-forwarded-proto", "it is set by the gateway"),
    ("x-real-ip", "it is set by the gateway"),
    ("x-request-id", "it is set by the gateway"),
];

/// An upstream by name, and what it is when nothing is wrong with it.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) settings: Option<UpstreamSettings>,
}

/// All of `[upstreams]`.
pub(super) fn upstreams(root: &Table<'_>, providers: &[provider::Named], context: &Context<'_>) -> Vec<Named> {
    let report = context.report;
    let providers: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    let found: Vec<Named> = root
        .named("upstreams")
        .into_iter()
        .map(|(name, node)| {
            if let Err(wrong) = names::check(&name, "an upstream") {
                report.error(node.place.of_key(), wrong);
            }
            let table =
                Table::new(&node, format!("[upstreams.{}]", printable(&name)), "upstreams.*".to_owned(), report);
            let settings = upstream(&name, &table, &providers, context);
            Named { name, settings }
        })
        .collect();
    if found.is_empty() && (!root.has("upstreams") || report.is_clean_at(&root.place("upstreams"))) {
        root.missing("upstreams", "what is behind us: [upstreams.app] with url = \"http://127.0.0.1:3000\"");
    }
    found
}

fn upstream(name: &str, table: &Table<'_>, providers: &[&str], context: &Context<'_>) -> Option<UpstreamSettings> {
    let kind = kind(table);
    let identity = table.parse("identity", "the name of a header preset", identity);
    let headers = headers(table);
    let token = token::token(table, providers, context);
    let assertion = token::assertion(table);
    let kind = kind?;
    if let UpstreamKind::Application(application) = &kind
        && !matches!(token, TokenSettings::None)
        && application.addresses.iter().any(can_be_overheard)
    {
        let wrong = Wrong::new("this upstream gets a token over plain http")
            .note("write an https `url`, unless nobody can listen on the way");
        table.report().warn(table.place(if table.has("url") { "url" } else { "urls" }), wrong);
    }
    Some(UpstreamSettings {
        name: Arc::from(name),
        kind,
        identity: identity.unwrap_or_else(|| "portcullis".to_owned()),
        headers,
        token,
        assertion,
    })
}

fn can_be_overheard(address: &UpstreamAddress) -> bool {
    matches!(address, UpstreamAddress::Web(url) if url.scheme() == "http" && !address::is_loopback(url))
}

/// What it is: exactly one of an application, a directory of files and a fixed answer.
fn kind(table: &Table<'_>) -> Option<UpstreamKind> {
    let application = application::application(table);
    let files = table.parse("files", "the path of a directory", directory);
    let answer = answer::answer(table);
    let about_who = ["identity", "headers", "assertion"];
    let elsewhere = application::is_elsewhere(table);
    let of_reaching_it = || application::KEYS.into_iter().filter(|key| !["url", "token"].contains(key));
    let (what, meaningless): (_, Vec<&str>) =
        match (table.has("url") || table.has("urls"), table.has("files"), table.has("respond")) {
            (true, false, false) if elsewhere => {
                ("an application that another proxy reaches", of_reaching_it().chain(answer::KEYS).collect())
            }
            (true, false, false) => ("an application", answer::KEYS.to_vec()),
            (false, true, false) => {
                ("a directory of files", [&application::KEYS[..], &answer::KEYS, &about_who].concat())
            }
            (false, false, true) => ("a fixed answer", [&application::KEYS[..], &about_who].concat()),
            (false, false, false) => {
                table.missing("url", "where it is: url = \"http://127.0.0.1:3000\"");
                return None;
            }
            _ => {
                let given: Vec<&str> =
                    ["url", "urls", "files", "respond"].into_iter().filter(|key| table.has(key)).collect();
                let wrong = Wrong::new(format!("one upstream can't be several things: {}", given.join(", ")))
                    .note("keep one of them, and make upstreams of their own of the others");
                table.error(given.last().copied().unwrap_or("url"), wrong);
                return None;
            }
        };
    for key in meaningless.into_iter().filter(|key| table.has(key)) {
        table.error(key, Wrong::new(format!("`{key}` has no meaning for {what}")).note("leave it out"));
    }
    match (application, files, answer) {
        (Some(application), _, _) => Some(UpstreamKind::Application(Box::new(application))),
        (_, Some(files), _) => Some(UpstreamKind::Files(files)),
        (_, _, Some(answer)) => Some(UpstreamKind::Answer(answer)),
        (None, None, None) if elsewhere => Some(UpstreamKind::Elsewhere),
        (None, None, None) => None,
    }
}

/// A directory that is there. An absolute path, so that it means the same wherever we are started.
fn directory(text: &str) -> Result<PathBuf, Wrong> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(Wrong::new("this path is not absolute").note("write it from the root on: \"/srv/www\""));
    }
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err(Wrong::new(format!("{} is no directory", printable(text))).note("name the directory above it")),
        Err(error) => Err(Wrong::new(format!("can't use the directory {}: {error}", printable(text)))
            .note("mend the path or the directory")),
    }
}

fn identity(text: &str) -> Result<String, Wrong> {
    if KNOWN_IDENTITY_PRESETS.contains(&text) {
        return Ok(text.to_owned());
    }
    let allowed = format!("allowed: {}", KNOWN_IDENTITY_PRESETS.join(", "));
    let mut wrong = Wrong::new(format!("`{}` is no header preset", printable(text)));
    if let Some(near) = nearest(text, KNOWN_IDENTITY_PRESETS.iter().copied()) {
        wrong = wrong.note(format!("did you mean \"{near}\"?"));
    }
    Err(wrong.note(allowed))
}

/// Own headers. Two names that an upstream may take for one another are a mistake (design, invariant 3).
fn headers(table: &Table<'_>) -> Vec<(HeaderName, String)> {
    let mut headers = Vec::new();
    let mut folded: BTreeMap<String, crate::config::raw::node::Place> = BTreeMap::new();
    for (name, node) in table.named("headers") {
        let place = node.place.of_key();
        let parsed = header_name(&name);
        let template = convert::text(&node, &name, "a template such as \"{claims.team}\"").and_then(template);
        let fold = name.to_lowercase().replace(['_', '.'], "-");
        if let Some(first) = folded.insert(fold, place.clone()) {
            let wrong =
                Wrong::new(format!("`{}` and another header differ only in case, `-`, `_` or `.`", printable(&name)))
                    .note("keep one of them");
            table.report().clash(place.clone(), first, "the other one is at", wrong);
        }
        match (parsed, template) {
            (Ok(name), Ok(template)) => headers.push((name, template)),
            (name, template) => {
                if let Err(wrong) = name {
                    table.report().error(place, wrong);
                }
                if let Err(wrong) = template {
                    table.report().error(node.place.clone(), wrong);
                }
            }
        }
    }
    headers
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, Wrong> {
    let name = HeaderName::try_from(text).map_err(|_| {
        Wrong::new(format!("`{}` is no name of a header", printable(text))).note("write it like \"X-Team\"")
    })?;
    let fold = name.as_str().replace(['_', '.'], "-");
    if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| *reserved == fold) {
        return Err(Wrong::new(format!("the header `{text}` can't be set here")).note((*instead).to_owned()));
    }
    if fold.starts_with("content-") || fold.starts_with("sec-") || fold.starts_with("proxy-") {
        return Err(Wrong::new(format!("the header `{text}` can't be set here")).note("it belongs to the message"));
    }
    // What a proxy that asks us acts upon.
    if fold.starts_with("x-envoy-") || (fold.starts_with("x-portcullis-") && fold != "x-portcullis-assertion") {
        return Err(Wrong::new(format!("the header `{text}` can't be set here")).note("proxies take it for ours"));
    }
    Ok(name)
}

/// Only the form is checked here: printable ASCII, `{…}` for a placeholder, `{{` and `}}` for the braces themselves. What
/// a placeholder means is known where headers are compiled.
fn template(text: &str) -> Result<String, Wrong> {
    let example = "write it like \"{claims.team}\"";
    if text.is_empty() {
        return Err(Wrong::new("this template is empty").note(example));
    }
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(Wrong::new("a header's text is printable ASCII").note(example));
    }
    let unbalanced = || Wrong::new("the braces of this template don't match").note(example);
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (_, from) = rest.split_at_checked(at).ok_or_else(unbalanced)?;
        rest = if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
            after
        } else {
            let (placeholder, after) =
                from.strip_prefix('{').and_then(|from| from.split_once('}')).ok_or_else(unbalanced)?;
            if placeholder.is_empty() || placeholder.contains('{') {
                return Err(unbalanced());
            }
            after
        };
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_match_or_are_doubled() {
        for good in ["plain", "{name}", "a{name}b{groups}", "{{a}}", "{{{name}}}", "{claims.\"https://a.example/b\".c}"]
        {
            assert!(template(good).is_ok(), "{good}");
        }
        for bad in ["", "{", "}", "{name", "name}", "{}", "{a{b}}", "ü", "a\nb", "{{name}"] {
            assert!(template(bad).is_err(), "{bad}");
        }
    }
}
