//! `token` and `assertion` of an upstream: what it gets to prove who asks.

use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret as _;
use url::Url;

use super::upstream::header_name;
use super::{Context, names, secret};
use crate::config::raw::convert;
use crate::config::raw::node::{Content, Node};
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{
    AssertionSettings, ClientCredentialsSettings, ExchangeSettings, RequestedToken, ResourceSettings, StaticScheme,
    StaticSettings, SubjectToken, Target, TokenSettings,
};
use crate::config::token_settings::SIGNING_ALGORITHM_NAMES;

const WORDS: [&str; 4] = ["none", "access_token", "id_token", "assertion"];
const KINDS: [&str; 5] = ["assertion", "exchange", "resource", "client_credentials", "static"];

/// Claims that every assertion has, or that say what it is.
const OWN_CLAIMS: [&str; 7] = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti"];

/// `token`: a word, or a table with the one kind that it is.
pub(super) fn token(upstream: &Table<'_>, providers: &[&str], context: &Context<'_>) -> TokenSettings {
    let Some(node) = upstream.node("token") else { return TokenSettings::None };
    let is_table = matches!(&node.content, Content::Table(_))
        || matches!(&node.content, Content::Text(text) if node.loose && text.trim_start().starts_with('{'));
    if !is_table {
        let word = upstream.choice("token", &WORDS.map(|word| (word, word)));
        return match word {
            Some("access_token") => TokenSettings::AccessToken,
            Some("id_token") => TokenSettings::IdToken,
            Some("assertion") => TokenSettings::Assertion(AssertionSettings::default()),
            _ => TokenSettings::None,
        };
    }
    let table = Table::new(node, "`token`".to_owned(), "upstreams.*.token".to_owned(), upstream.report());
    // Asked for in any case, so that whoever misspells one is told of all.
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| table.node(kind).is_some()).collect();
    match given.as_slice() {
        ["assertion"] => TokenSettings::Assertion(assertion_table(&table.table("assertion"), false)),
        ["exchange"] => TokenSettings::Exchange(exchange(&table.table("exchange"))),
        ["resource"] => resource(&table.table("resource")).map_or(TokenSettings::None, TokenSettings::Resource),
        ["client_credentials"] => client_credentials(&table.table("client_credentials"), providers)
            .map_or(TokenSettings::None, TokenSettings::ClientCredentials),
        ["static"] => fixed(&table.table("static"), context).map_or(TokenSettings::None, TokenSettings::Static),
        [] => {
            if context.report.is_clean_within(&upstream.place("token")) {
                let wrong = Wrong::new("`token` names no kind of token");
                upstream.error(
                    "token",
                    wrong.note(format!("allowed: {}, or one of {} with a table", WORDS.join(", "), KINDS.join(", "))),
                );
            }
            TokenSettings::None
        }
        several => {
            let wrong = Wrong::new(format!("`token` can't be several things: {}", several.join(", ")));
            upstream.error("token", wrong.note("keep one of them, and make upstreams of their own of the others"));
            TokenSettings::None
        }
    }
}

/// `assertion`: `true`, or a table with what is to be different.
pub(super) fn assertion(upstream: &Table<'_>) -> Option<AssertionSettings> {
    let node: &Node = upstream.node("assertion")?;
    let is_flag = matches!(&node.content, Content::Bool(_)) || convert::flag(node, "assertion").is_ok();
    if is_flag {
        return upstream.flag("assertion", false).then(AssertionSettings::default);
    }
    Some(assertion_table(&upstream.table_as("assertion", "upstreams.*.assertion"), true))
}

/// Who signs is told by the shapes of presets alone.
fn assertion_table(table: &Table<'_>, has_signer: bool) -> AssertionSettings {
    let audience = one_or_more(table, "audience", "a text, or a list of texts", |text| name(text, "audience"));
    let lifetime = table.duration("lifetime", "5m", ("30s", "1h"));
    let claims = table.each("claims", "a list of names of claims such as [\"email\", \"groups\"]", |text| {
        if OWN_CLAIMS.contains(&text) {
            return Err(Wrong::new(format!("the claim `{text}` is set by the gateway")).note("leave it out"));
        }
        name(text, "claims")
    });
    let algorithm = table.choice("algorithm", &SIGNING_ALGORITHM_NAMES.map(|name| (name, name)));
    AssertionSettings {
        audience,
        issuer: table.parse("issuer", "a text", |text| name(text, "issuer")),
        lifetime: table.has("lifetime").then_some(lifetime),
        claims: claims.map(|claims| claims.into_iter().map(|claim| claim.value).collect()),
        algorithm: algorithm.map(str::to_owned),
        signer: if has_signer { table.parse("signer", "a text", |text| name(text, "signer")) } else { None },
    }
}

fn exchange(table: &Table<'_>) -> ExchangeSettings {
    let subject = table
        .choice("subject_token", &[("access_token", SubjectToken::AccessToken), ("id_token", SubjectToken::IdToken)]);
    let requested = table.choice(
        "requested_token_type",
        &[
            ("access_token", RequestedToken::AccessToken),
            ("jwt", RequestedToken::Jwt),
            ("id_token", RequestedToken::IdToken),
        ],
    );
    ExchangeSettings { subject: subject.unwrap_or(SubjectToken::AccessToken), requested, target: target(table) }
}

fn resource(table: &Table<'_>) -> Option<ResourceSettings> {
    let resource = table.parse("resource", "an absolute URI such as \"https://api.example.com\"", resource_uri);
    if !table.has("resource") {
        table.missing("resource", "resource = \"https://api.example.com\": the API as the provider knows it");
    }
    let scopes = scopes(table);
    Some(ResourceSettings { resource: resource?, scopes })
}

fn client_credentials(table: &Table<'_>, providers: &[&str]) -> Option<ClientCredentialsSettings> {
    let provider = table.parse("provider", "the name of a provider", |text| {
        let known = providers.iter().find(|name| **name == text);
        known.map(|name| Arc::from(*name)).ok_or_else(|| names::unknown(text, "provider", providers))
    });
    let target = target(table);
    let provider = match (provider, providers) {
        (Some(provider), _) => Some(provider),
        (None, [only]) if !table.has("provider") => Some(Arc::from(*only)),
        (None, _) => {
            if !table.has("provider") {
                table.missing("provider", "provider = \"…\": which of the providers gives the token");
            }
            None
        }
    };
    Some(ClientCredentialsSettings { provider: provider?, target })
}

fn target(table: &Table<'_>) -> Target {
    Target {
        audience: one_or_more(table, "audience", "a text, or a list of texts", |text| name(text, "audience")),
        resource: one_or_more(table, "resource", "an absolute URI, or a list of them", resource_uri),
        scopes: scopes(table),
    }
}

fn fixed(table: &Table<'_>, context: &Context<'_>) -> Option<StaticSettings> {
    for key in ["bearer", "username", "password", "header", "value"] {
        table.node(key);
    }
    let read = |key: &'static str| {
        let node = table.node(key)?;
        let found = secret::read(node, key, &format!("upstreams.*.token.static.{key}"), context)?;
        // A secret that can't stand in a header would be found out at the first request.
        if found.value.expose_secret().chars().any(char::is_control) {
            context.report.error(
                found.place,
                Wrong::new(format!("`{key}` holds a control character, which no header can carry")),
            );
            return None;
        }
        Some(found.source)
    };
    let given: Vec<&str> = ["bearer", "username", "header"].into_iter().filter(|key| table.has(key)).collect();
    match given.as_slice() {
        ["bearer"] => {
            Some(StaticSettings { header: AUTHORIZATION, scheme: StaticScheme::Bearer, secret: read("bearer")? })
        }
        ["username"] => {
            let user = table.text("username", "a user name").filter(|name| {
                // RFC 7617, section 2: the first colon ends the user's name.
                let fits = !name.contains(':');
                if !fits {
                    table.error("username", Wrong::new("a user name of Basic has no colon"));
                }
                fits
            });
            if !table.has("password") {
                table.missing("password", "password = { file = \"/run/secrets/…\" }");
            }
            let secret = read("password");
            Some(StaticSettings { header: AUTHORIZATION, scheme: StaticScheme::Basic(user?), secret: secret? })
        }
        ["header"] => {
            let header = table.parse("header", "the name of a header", any_header);
            if !table.has("value") {
                table.missing("value", "value = { file = \"/run/secrets/…\" }");
            }
            let secret = read("value");
            Some(StaticSettings { header: header?, scheme: StaticScheme::Plain, secret: secret? })
        }
        _ => {
            let wrong = Wrong::new("a static credential is one of three")
                .note("allowed: { bearer = SECRET }, { username = \"…\", password = SECRET } or { header = \"X-Api-Key\", value = SECRET }");
            context.report.error(table.here(), wrong);
            None
        }
    }
}

fn any_header(text: &str) -> Result<HeaderName, Wrong> {
    if text.eq_ignore_ascii_case("authorization") { Ok(AUTHORIZATION) } else { header_name(text) }
}

/// A text that can stand in a form and in a token.
fn name(text: &str, key: &str) -> Result<String, Wrong> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new(format!("`{key}` is empty or holds a control character")));
    }
    Ok(text.to_owned())
}

/// An absolute URI without a fragment (RFC 8707, section 2).
fn resource_uri(text: &str) -> Result<String, Wrong> {
    let wrong = || {
        Wrong::new(format!("`{}` is no absolute URI without a fragment", printable(text)))
            .note("write it like \"https://api.example.com\", as the provider knows it")
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if url.fragment().is_some() || !plain { Err(wrong()) } else { Ok(text.to_owned()) }
}

/// Scopes, each a text of its own (RFC 6749, section 3.3).
fn scopes(table: &Table<'_>) -> Vec<String> {
    let scopes = table.each("scopes", "a list of scopes such as [\"read\", \"write\"]", |text| {
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if text.is_empty() || !text.bytes().all(fits) {
            return Err(Wrong::new(format!("`{}` is no scope", printable(text)))
                .note("write each scope as a text of its own: [\"read\", \"write\"]"));
        }
        Ok(text.to_owned())
    });
    scopes.unwrap_or_default().into_iter().map(|scope| scope.value).collect()
}

/// One text, or a list of them.
fn one_or_more(
    table: &Table<'_>,
    key: &'static str,
    expected: &str,
    parse: impl Fn(&str) -> Result<String, Wrong>,
) -> Vec<String> {
    match table.node(key) {
        Some(Node { content: Content::Text(_), loose: false, .. }) => {
            table.parse(key, expected, parse).into_iter().collect()
        }
        _ => table.each(key, expected, parse).unwrap_or_default().into_iter().map(|item| item.value).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_an_absolute_uri_without_a_fragment() {
        for good in ["https://api.example.com", "https://api.example.com/v1?x=y", "urn:example:api", "api://7b1f"] {
            assert_eq!(resource_uri(good).unwrap(), good);
        }
        for bad in ["", "api", "/api", "https://api.example.com/#x", "https://api.example.com/ x"] {
            assert!(resource_uri(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_static_credential_may_be_in_authorization_and_not_in_what_frames_a_message() {
        assert_eq!(any_header("Authorization").unwrap(), AUTHORIZATION);
        assert_eq!(any_header("X-Api-Key").unwrap(), "x-api-key");
        for bad in ["Host", "Cookie", "Transfer_Encoding", "X Y"] {
            assert!(any_header(bad).is_err(), "{bad}");
        }
    }
}
