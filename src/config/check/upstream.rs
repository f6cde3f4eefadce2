//! `[upstreams.…]`: what is behind us, and what it gets to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;

use super::address;
use super::files;
use super::names;
use crate::config::raw::convert;
use crate::config::raw::report::{Report, Wrong, nearest, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{FUTURE_IDENTITY_PRESETS, KNOWN_IDENTITY_PRESETS, TokenSettings, UpstreamSettings};

/// Headers that belong to the message or to the gateway, and what to do instead.
const RESERVED: [(&str, &str); 23] = [
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
    ("x-forwarded-proto", "it is set by the gateway"),
    ("x-real-ip", "it is set by the gateway"),
];

/// An upstream by name, and what it is when nothing is wrong with it.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) settings: Option<UpstreamSettings>,
}

/// All of `[upstreams]`.
pub(super) fn upstreams(root: &Table<'_>, report: &Report) -> Vec<Named> {
    let found: Vec<Named> = root
        .named("upstreams")
        .into_iter()
        .map(|(name, node)| {
            if let Err(wrong) = names::check(&name, "an upstream") {
                report.error(node.place.of_key(), wrong);
            }
            let table =
                Table::new(&node, format!("[upstreams.{}]", printable(&name)), "upstreams.*".to_owned(), report);
            let settings = upstream(&name, &table);
            Named { name, settings }
        })
        .collect();
    if found.is_empty() && (!root.has("upstreams") || report.is_clean_at(&root.place("upstreams"))) {
        root.missing("upstreams", "what is behind us: [upstreams.app] with url = \"http://127.0.0.1:3000\"");
    }
    found
}

fn upstream(name: &str, table: &Table<'_>) -> Option<UpstreamSettings> {
    let url = table.parse("url", "a URL such as \"http://127.0.0.1:3000\"", address::origin);
    if !table.has("url") {
        table.missing("url", "where it is: url = \"http://127.0.0.1:3000\"");
    }
    let identity = table.parse("identity", "the name of a header preset", identity);
    let headers = headers(table);
    let token = table.choice(
        "token",
        &[
            ("none", TokenSettings::None),
            ("access_token", TokenSettings::AccessToken),
            ("id_token", TokenSettings::IdToken),
        ],
    );
    let token = token.unwrap_or(TokenSettings::None);
    let pass_host = table.flag("pass_host", true);
    let ca = files::certificates(table, "ca");
    let connect_timeout = table.duration("connect_timeout", "5s", ("100ms", "5m"));
    let response_timeout = table.duration("response_timeout", "60s", ("100ms", "1d"));
    let idle_timeout = table.duration("idle_timeout", "60s", ("1s", "1h"));
    let client_cert_header = table.flag("client_cert_header", false);
    let url = url?;
    let is_plain = url.scheme() == "http";
    if ca.is_some() && is_plain {
        table.error(
            "ca",
            Wrong::new("`ca` has no meaning for an http upstream").note("write an https `url`, or leave `ca` out"),
        );
    }
    if token != TokenSettings::None && is_plain && !address::is_loopback(&url) {
        let wrong = Wrong::new("this upstream gets a bearer token over plain http")
            .note("write an https `url`, unless nobody can listen on the way");
        table.report().warn(table.place("url"), wrong);
    }
    Some(UpstreamSettings {
        name: Arc::from(name),
        url,
        identity: identity.unwrap_or_else(|| "portcullis".to_owned()),
        headers,
        token,
        pass_host,
        ca,
        connect_timeout,
        response_timeout,
        idle_timeout,
        client_cert_header,
    })
}

fn identity(text: &str) -> Result<String, Wrong> {
    if KNOWN_IDENTITY_PRESETS.contains(&text) {
        return Ok(text.to_owned());
    }
    let allowed = format!("allowed: {}", KNOWN_IDENTITY_PRESETS.join(", "));
    if FUTURE_IDENTITY_PRESETS.contains(&text) {
        return Err(Wrong::new(format!("the header preset `{text}` is not in this release")).note(allowed));
    }
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

fn header_name(text: &str) -> Result<HeaderName, Wrong> {
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
