//! `[providers.…]`: who signs people in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::address;
use super::files;
use super::names;
use super::preset::{self, ClaimPath, Preset};
use super::secret;
use crate::config::raw::convert;
use crate::config::raw::node::{Content, Node};
use crate::config::raw::report::{Report, Wrong, nearest, printable};
use crate::config::raw::table::{Table, within};
use crate::config::secret::SecretSource;
use crate::config::settings::{ClientAuthentication, ProviderSettings, UserInfo};

/// Signature algorithms that an ID token may have: asymmetric ones alone (RFC 7518, section 3.1; RFC 8037, section 3.1).
/// An HMAC would make our client secret, or a public key taken for one, the key to every identity.
pub(super) const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Parameters of the authorization request that the flow itself sets, or that would carry others past its checks.
const OWN_PARAMETERS: [&str; 16] = [
    "client_id",
    "client_secret",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
    "client_assertion",
    "client_assertion_type",
    "code",
    "return_to",
];

/// A provider by name, and what it is when nothing is wrong with it.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) settings: Option<ProviderSettings>,
}

/// All of `[providers]`.
pub(super) fn providers(root: &Table<'_>, context: &Context<'_>) -> Vec<Named> {
    root.named("providers")
        .into_iter()
        .map(|(name, node)| {
            if let Err(wrong) = names::check(&name, "a provider") {
                context.report.error(node.place.of_key(), wrong);
            }
            let table = Table::new(
                &node,
                format!("[providers.{}]", printable(&name)),
                "providers.*".to_owned(),
                context.report,
            );
            let settings = provider(&name, &table, context);
            Named { name, settings }
        })
        .collect()
}

fn provider(name: &str, table: &Table<'_>, context: &Context<'_>) -> Option<ProviderSettings> {
    let known = preset::names();
    let words: Vec<(&str, &str)> = known.iter().map(|name| (*name, *name)).collect();
    let preset = table.choice("preset", &words).unwrap_or("oidc");
    let Some(preset) = preset::find(preset) else {
        table.error("preset", Wrong::new("this preset can't be read"));
        return None;
    };
    let label = table.text("label", "a text for the sign-in page");
    let issuer = issuer(table, &preset);
    let client_id = client_id(table);
    let (client_secret, client_authentication) = client(table, "providers.*.client_secret", context);
    let scopes = scopes(table).unwrap_or_else(|| preset.scopes.clone());
    let signing_algorithms = algorithms(table);
    let userinfo = table.choice(
        "userinfo",
        &[("always", UserInfo::Always), ("if-missing", UserInfo::IfMissing), ("never", UserInfo::Never)],
    );
    let ClaimPlaces { groups, roles } = claim_places(table);
    let mut authorization_parameters = parameters(table).unwrap_or_else(|| preset.authorization_parameters.clone());
    let allowed_login_parameters = table.each("allowed_login_parameters", "a list of parameters", parameter_name);
    let ca = files::certificates(table, "ca");
    let private_endpoints = table.each("private_endpoints", "a list of URLs", address::origin);
    let timeout = table.duration("timeout", "10s", ("1s", "60s"));
    let clock_skew = table.duration("clock_skew", "60s", ("0s", "5m"));
    let revoke_tokens = table.flag("revoke_tokens", preset.revoke_tokens);
    let max_age = max_age(table, &mut authorization_parameters);

    let client_id = client_id?;
    let roles = roles.unwrap_or_else(|| preset.roles_claims.clone());
    Some(ProviderSettings {
        name: Arc::from(name),
        label: label.or(preset.label).unwrap_or_else(|| name.to_owned()),
        issuer: issuer?,
        client_secret,
        client_authentication,
        scopes,
        resources: Vec::new(),
        signing_algorithms,
        userinfo: userinfo.unwrap_or_else(|| preset.userinfo.into()),
        groups_claim: groups.or(preset.groups_claim).map(|claim| claim.names(&client_id)).unwrap_or_default(),
        roles_claims: roles.iter().map(|claim| claim.names(&client_id)).collect(),
        authorization_parameters,
        allowed_login_parameters: allowed_login_parameters
            .map_or_else(|| vec!["login_hint".to_owned()], |list| list.into_iter().map(|item| item.value).collect()),
        ca,
        private_endpoints: private_endpoints.unwrap_or_default().into_iter().map(|url| url.value).collect(),
        timeout,
        clock_skew,
        revoke_tokens,
        max_age,
        client_id,
    })
}

/// Where groups and roles stand in the claims, as far as a table says so.
pub(super) struct ClaimPlaces {
    pub(super) groups: Option<ClaimPath>,
    pub(super) roles: Option<Vec<ClaimPath>>,
}

/// `groups_claim` and `roles_claims`.
pub(super) fn claim_places(table: &Table<'_>) -> ClaimPlaces {
    let groups = table.node("groups_claim").and_then(|node| claim(node, "groups_claim", table.report()));
    let roles = table.items("roles_claims", "a list of claims such as [\"realm_access.roles\"]");
    let roles =
        roles.map(|roles| roles.iter().filter_map(|node| claim(node, "roles_claims", table.report())).collect());
    ClaimPlaces { groups, roles }
}

/// How long ago a person may have proved who they are. The provider is asked to see to it at every sign-in (`OpenID` Connect Core 1.0,
/// section 3.1.2.1), or it would send people back with a proof that is too old for us.
fn max_age(table: &Table<'_>, parameters: &mut BTreeMap<String, String>) -> Option<Duration> {
    let span = table.duration("max_age", "12h", ("1s", "365d"));
    if !table.has("max_age") {
        return None;
    }
    if parameters.insert("max_age".to_owned(), span.as_secs().to_string()).is_some() {
        let wrong = Wrong::new("`max_age` stands in `authorization_parameters` too").note("leave it out there");
        table.error("max_age", wrong);
    }
    Some(span)
}

/// The issuer identifier: https, no query, no fragment (`OpenID` Connect Discovery 1.0, section 2). Kept byte for byte.
fn issuer(table: &Table<'_>, preset: &Preset) -> Option<String> {
    let example = &preset.issuer_example;
    let given = table.parse("issuer", &format!("a URL such as \"{example}\""), |text| issuer_of(text, example));
    if table.has("issuer") {
        return given;
    }
    if preset.issuer.is_none() {
        table.missing("issuer", &format!("the provider's issuer: issuer = \"{example}\""));
    }
    preset.issuer.clone()
}

/// An issuer identifier of which no example is known.
pub(super) fn issuer_url(text: &str) -> Result<String, Wrong> {
    issuer_of(text, "https://login.example.com")
}

fn issuer_of(text: &str, example: &str) -> Result<String, Wrong> {
    let url = address::web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("an issuer has no query and no fragment")
            .note(format!("write it as the provider's metadata does: \"{example}\"")));
    }
    if url.scheme() == "http" && !address::is_loopback(&url) {
        return Err(Wrong::new("the issuer is plain http, so anyone on the way could sign in as anyone")
            .note("write its https URL; http is for localhost alone"));
    }
    Ok(text.to_owned())
}

fn client_id(table: &Table<'_>) -> Option<String> {
    let given = table.text("client_id", "the client id that the provider gave");
    if !table.has("client_id") {
        table.missing("client_id", "the client id that the provider gave: client_id = \"app\"");
    }
    given
}

/// Secret and method belong together (`OpenID` Connect Core 1.0, section 9).
pub(super) fn client(
    table: &Table<'_>,
    pattern: &str,
    context: &Context<'_>,
) -> (Option<SecretSource>, ClientAuthentication) {
    let secret = table
        .node("client_secret")
        .and_then(|node| secret::read(node, "client_secret", pattern, context))
        .map(|found| found.source);
    let method = table.choice(
        "client_authentication",
        &[
            ("client_secret_basic", ClientAuthentication::Basic),
            ("client_secret_post", ClientAuthentication::Post),
            ("none", ClientAuthentication::None),
        ],
    );
    let has_secret = table.has("client_secret");
    match method {
        Some(ClientAuthentication::None) if has_secret => table.error(
            "client_authentication",
            Wrong::new("`client_authentication` is \"none\", but there is a `client_secret`")
                .note("leave one of them out"),
        ),
        Some(ClientAuthentication::Basic | ClientAuthentication::Post) if !has_secret => table.error(
            "client_authentication",
            Wrong::new("this `client_authentication` needs a `client_secret`")
                .note("add client_secret = { file = \"/run/secrets/…\" }, or write \"none\" for a public client"),
        ),
        _ => {}
    }
    let default = if has_secret { ClientAuthentication::Basic } else { ClientAuthentication::None };
    (secret, method.unwrap_or(default))
}

/// Scope tokens (RFC 6749, section 3.3); without `openid` there is no ID token (`OpenID` Connect Core 1.0, section 3.1.2.1).
fn scopes(table: &Table<'_>) -> Option<Vec<String>> {
    let scopes = table.each("scopes", "a list of scopes such as [\"openid\", \"email\"]", |text| {
        let token = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || !text.bytes().all(token) {
            return Err(Wrong::new(format!("`{}` is no scope", printable(text)))
                .note("write each scope as a text of its own: [\"openid\", \"email\"]"));
        }
        Ok(text.to_owned())
    })?;
    let scopes: Vec<String> = scopes.into_iter().map(|scope| scope.value).collect();
    if !scopes.iter().any(|scope| scope == "openid") && table.report().is_clean_at(&table.place("scopes")) {
        let wrong = Wrong::new("`scopes` lacks \"openid\", so the provider would say nothing of who signed in");
        table.error("scopes", wrong.note("add \"openid\" to the list"));
    }
    Some(scopes)
}

pub(super) fn algorithms(table: &Table<'_>) -> Vec<String> {
    let all = || ALGORITHMS.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let given = table.each("signing_algorithms", "a list of algorithms such as [\"RS256\"]", |text| {
        if ALGORITHMS.contains(&text) {
            return Ok(text.to_owned());
        }
        let upper = text.to_uppercase();
        let wrong = if upper == "NONE" {
            Wrong::new("\"none\" would let anyone sign in as anyone")
        } else if upper.starts_with("HS") {
            Wrong::new(format!(
                "`{}` is an HMAC: whoever knows the client secret could sign in as anyone",
                printable(text)
            ))
        } else {
            let wrong = Wrong::new(format!("`{}` is no signature algorithm that we know", printable(text)));
            match nearest(text, ALGORITHMS.into_iter()) {
                Some(near) => wrong.note(format!("did you mean \"{near}\"?")),
                None => wrong,
            }
        };
        Err(wrong.note(format!("allowed: {}", ALGORITHMS.join(", "))))
    });
    match given {
        None => all(),
        Some(list) => {
            if list.is_empty() && table.items("signing_algorithms", "a list").is_some_and(|items| items.is_empty()) {
                table.error(
                    "signing_algorithms",
                    Wrong::new("no algorithm is left").note("leave the key out to allow all safe ones"),
                );
            }
            list.into_iter().map(|item| item.value).collect()
        }
    }
}

fn claim(node: &Node, key: &str, report: &Report) -> Option<ClaimPath> {
    let expected = "a claim such as \"realm_access.roles\", or a list of names as they are";
    let read = match &node.content {
        Content::List(items) => items
            .iter()
            .map(|item| convert::text(item, key, expected).map(str::to_owned))
            .collect::<Result<Vec<String>, Wrong>>()
            .map(ClaimPath::Names),
        _ => convert::text(node, key, expected).map(|text| ClaimPath::Dotted(text.to_owned())),
    };
    let checked = read.and_then(|path| {
        let names = path.names("client");
        if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
            return Err(Wrong::new(format!("`{key}` holds an empty name")).note(format!("write {expected}")));
        }
        Ok(path)
    });
    checked.map_err(|wrong| report.error(node.place.clone(), wrong)).ok()
}

fn parameters(table: &Table<'_>) -> Option<BTreeMap<String, String>> {
    let entries = table.named("authorization_parameters");
    if !table.has("authorization_parameters") {
        return None;
    }
    let place = table.place("authorization_parameters");
    let mut parameters = BTreeMap::new();
    for (name, node) in entries {
        let value = convert::text(&node, &name, "a text").map(str::to_owned);
        match (parameter_name(&name), value) {
            (Ok(name), Ok(value)) => drop(parameters.insert(name, value)),
            (Err(wrong), _) => table.report().error(within(&place, &name).of_key(), wrong),
            (_, Err(wrong)) => table.report().error(node.place.clone(), wrong),
        }
    }
    Some(parameters)
}

/// A parameter that may go into the authorization request beside those that the flow itself sets.
fn parameter_name(text: &str) -> Result<String, Wrong> {
    if OWN_PARAMETERS.contains(&text) {
        return Err(
            Wrong::new(format!("`{text}` is set by the sign-in itself and can't be given")).note("leave it out")
        );
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        return Err(Wrong::new(format!("`{}` is no name of a parameter", printable(text)))
            .note("allowed: letters, digits, `_`, `-` and `.`"));
    }
    Ok(text.to_owned())
}
