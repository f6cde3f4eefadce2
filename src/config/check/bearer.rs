//! `[bearer.…]`: whose access tokens callers may bring in place of a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::Context;
use super::address;
use super::files;
use super::names;
use super::provider;
use super::rule_values;
use crate::config::raw::convert;
use crate::config::raw::node::{Content, Node};
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{BearerSettings, Introspection, ProviderSettings, TokenFormat, UserInfo};

/// Keys of an issuer where nobody signs in; where people do, `[providers]` has them.
const OF_ISSUER: [&str; 10] = [
    "issuer",
    "client_id",
    "client_secret",
    "client_authentication",
    "groups_claim",
    "roles_claims",
    "ca",
    "private_endpoints",
    "timeout",
    "clock_skew",
];

/// An issuer by the name of its table, and what it is when nothing is wrong with it.
pub(super) struct Named {
    pub(super) name: String,
    /// Whether people sign in there too, so that rules know it by the provider's name.
    pub(super) is_provider: bool,
    pub(super) settings: Option<BearerSettings>,
}

/// All of `[bearer]`.
pub(super) fn bearers(root: &Table<'_>, providers: &[provider::Named], context: &Context<'_>) -> Vec<Named> {
    let tables = root.named("bearer").into_iter();
    tables
        .map(|(name, node)| {
            if let Err(wrong) = names::check(&name, "an issuer of tokens") {
                context.report.error(node.place.of_key(), wrong);
            }
            let title = format!("[bearer.{}]", printable(&name));
            let table = Table::new(&node, title, "bearer.*".to_owned(), context.report);
            bearer(name, &table, providers, context)
        })
        .collect()
}

fn bearer(name: String, table: &Table<'_>, providers: &[provider::Named], context: &Context<'_>) -> Named {
    let known: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    let given = table.parse("provider", "the name of a provider", |text| {
        let index = providers.iter().position(|provider| provider.name == text);
        index.ok_or_else(|| names::unknown(text, "provider", &known))
    });
    let namesake = providers.iter().position(|provider| provider.name == name);
    let provider = if table.has("provider") { given } else { namesake };
    let is_provider = table.has("provider") || namesake.is_some();
    if table.has("provider") && namesake.is_some() && given != namesake {
        let wrong = Wrong::new(format!("`{}` is the name of another provider", printable(&name)));
        table.error("provider", wrong.note("give this table another name"));
    }
    let algorithms = table.has("signing_algorithms").then(|| provider::algorithms(table));
    let own = own_issuer(&name, table, is_provider, context);
    let source = if is_provider {
        provider.and_then(|index| providers.get(index)).and_then(|provider| provider.settings.clone())
    } else {
        own
    };
    let audience = audience(table);
    let format = table.choice("format", &[("jwt", TokenFormat::Jwt), ("at+jwt", TokenFormat::AtJwt)]);
    let introspection = table.choice(
        "introspection",
        &[("never", Introspection::Never), ("opaque", Introspection::Opaque), ("always", Introspection::Always)],
    );
    let introspection = introspection.unwrap_or(Introspection::Never);
    let introspection_url = table.parse("introspection_url", "the URL of an endpoint", endpoint);
    let introspection_cache = table.duration("introspection_cache", "1m", ("0s", "1h"));
    let jwks_url = table.parse("jwks_url", "the URL of a key set", endpoint);
    let dpop = table.choice("dpop", &[("optional", false), ("required", true)]);
    for key in ["introspection_url", "introspection_cache"] {
        if introspection == Introspection::Never && table.has(key) {
            let wrong = Wrong::new(format!("`{key}` has no effect while `introspection` is \"never\""));
            table.error(key, wrong.note("write introspection = \"opaque\", or leave it out"));
        }
    }
    if introspection == Introspection::Always && table.has("jwks_url") {
        let wrong = Wrong::new("`jwks_url` has no effect where the issuer is asked about every token");
        table.error("jwks_url", wrong.note("leave it out"));
    }
    let settings = source.zip(audience).map(|(source, audience)| BearerSettings {
        name: Arc::from(name.as_str()),
        issuer: ProviderSettings { signing_algorithms: algorithms.unwrap_or(source.signing_algorithms), ..source },
        audience,
        format: format.unwrap_or(TokenFormat::Jwt),
        introspection,
        introspection_url,
        introspection_cache,
        jwks_url,
        dpop_required: dpop.unwrap_or(false),
    });
    Named { name, is_provider, settings }
}

/// An issuer of tokens where nobody signs in. Asks for each of its keys, so that a key which belongs to a provider is told as such.
fn own_issuer(name: &str, table: &Table<'_>, is_provider: bool, context: &Context<'_>) -> Option<ProviderSettings> {
    if is_provider {
        for key in OF_ISSUER {
            if table.node(key).is_some() {
                let wrong = Wrong::new(format!("`{key}` is the provider's to say, in its table of [providers]"));
                table.error(key, wrong.note("leave it out here"));
            }
        }
        return None;
    }
    let issuer = table.parse("issuer", "a URL such as \"https://login.example.com\"", provider::issuer_url);
    if !table.has("issuer") {
        table.missing("issuer", "whose tokens these are: issuer = \"https://…\", or provider = \"…\"");
    }
    let client_id = table.text("client_id", "the client id that the issuer gave").unwrap_or_default();
    let (client_secret, client_authentication) = provider::client(table, "bearer.*.client_secret", context);
    let claims = provider::claim_places(table);
    let ca = files::certificates(table, "ca");
    let private_endpoints = table.each("private_endpoints", "a list of URLs", address::origin);
    let timeout = table.duration("timeout", "10s", ("1s", "60s"));
    let clock_skew = table.duration("clock_skew", "60s", ("0s", "5m"));
    Some(ProviderSettings {
        resources: Vec::new(),
        name: Arc::from(name),
        label: name.to_owned(),
        issuer: issuer?,
        client_secret,
        client_authentication,
        scopes: Vec::new(),
        signing_algorithms: provider::ALGORITHMS.iter().map(|name| (*name).to_owned()).collect(),
        userinfo: UserInfo::Never,
        groups_claim: claims.groups.map(|claim| claim.names(&client_id)).unwrap_or_default(),
        roles_claims: claims.roles.unwrap_or_default().iter().map(|claim| claim.names(&client_id)).collect(),
        authorization_parameters: BTreeMap::new(),
        allowed_login_parameters: Vec::new(),
        ca,
        private_endpoints: private_endpoints.unwrap_or_default().into_iter().map(|url| url.value).collect(),
        timeout,
        clock_skew,
        revoke_tokens: false,
        max_age: None,
        client_id,
    })
}

/// Without an audience a token for any other application would do (RFC 9700, section 2.3).
fn audience(table: &Table<'_>) -> Option<Vec<String>> {
    const FIX: &str = "what a token has to be for: audience = [\"https://api.example.com\"]";
    let given = table.each("audience", "a list of texts, compared exactly with `aud`", rule_values::exact);
    if !table.has("audience") {
        table.missing("audience", FIX);
    }
    let given = given?;
    if given.is_empty() && table.report().is_clean_within(&table.place("audience")) {
        table.error("audience", Wrong::new("`audience` is an empty list, so no token could ever be taken").note(FIX));
    }
    Some(given.into_iter().map(|item| item.value).collect())
}

fn endpoint(text: &str) -> Result<Url, Wrong> {
    let url = address::web_url(text)?;
    if url.scheme() == "http" && !address::is_loopback(&url) {
        return Err(Wrong::new("this is plain http, so anyone on the way could say who may pass")
            .note("write its https URL; http is for localhost alone"));
    }
    if url.fragment().is_some() {
        return Err(Wrong::new("the URL of an endpoint has no fragment"));
    }
    Ok(url)
}

/// `bearer` of a route: whose tokens it takes, as indices into all of `[bearer]`; none when it takes sessions alone.
pub(super) fn of_route(table: &Table<'_>, known: &[&str]) -> Option<Vec<usize>> {
    const FORMS: &str = "allowed: true, false, the name of a [bearer] table, or a list of such names";
    let node = table.node("bearer")?;
    let one = |node: &Node| match convert::text(node, "bearer", "the name of a [bearer] table") {
        Ok(name) => {
            let index = known.iter().position(|known| *known == name);
            if index.is_none() {
                table.report().error(node.place.clone(), unknown(name, known));
            }
            index
        }
        Err(wrong) => {
            table.report().error(node.place.clone(), wrong.note(FORMS));
            None
        }
    };
    let is_word = |text: &str| text == "true" || text == "false";
    match &node.content {
        Content::Bool(_) => all(table.flag("bearer", false), table, known),
        Content::Text(text) if node.loose && is_word(text) => all(table.flag("bearer", false), table, known),
        Content::Text(text) if !(node.loose && (text.contains(',') || text.trim_start().starts_with('['))) => {
            one(node).map(|index| vec![index])
        }
        Content::List(_) | Content::Text(_) => {
            let items = table.items("bearer", "a list of names")?;
            if items.is_empty() {
                table.error("bearer", Wrong::new("`bearer` is an empty list").note(FORMS));
            }
            let mut taken: Vec<usize> = items.iter().filter_map(one).collect();
            taken.sort_unstable();
            taken.dedup();
            (!taken.is_empty()).then_some(taken)
        }
        other => {
            let wrong = convert::kind_error("bearer", "true, false or names", other);
            table.error("bearer", wrong.note(FORMS));
            None
        }
    }
}

fn all(wanted: bool, table: &Table<'_>, known: &[&str]) -> Option<Vec<usize>> {
    if wanted && known.is_empty() {
        let wrong = Wrong::new("there is no [bearer] table, so there is nobody whose tokens to take");
        table.error("bearer", wrong.note("add [bearer.corp] with `audience`, or leave `bearer` out"));
        return None;
    }
    wanted.then(|| (0..known.len()).collect())
}

fn unknown(name: &str, known: &[&str]) -> Wrong {
    let wrong = Wrong::new(format!("there is no table [bearer.{}]", printable(name)));
    if known.is_empty() {
        wrong.note("add [bearer.corp] with `audience`")
    } else {
        wrong.note(format!("known: {}", known.join(", ")))
    }
}
