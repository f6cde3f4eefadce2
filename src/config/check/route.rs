//! `[[routes]]`: who may pass where, and to which upstream.

use std::sync::Arc;

use http::Method;

use super::bearer;
use super::cors;
use super::doubts;
use super::names;
use super::pattern;
use super::provider;
use super::rewrite;
use super::rule;
use super::ties;
use super::upstream;
use crate::config::raw::node::{Node, Place};
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::{Table, within};
use crate::config::settings::{
    Allow, Conditions, PathAllowances, PathPattern, ProviderSettings, RouteSettings, SignedOut, TokenSettings,
};

/// The names that a route may speak of.
pub(super) struct Names<'n> {
    bearers: Vec<&'n str>,
    /// Providers, and issuers of tokens where nobody signs in.
    vouchers: Vec<&'n str>,
    upstreams: Vec<&'n str>,
    /// Those that get no token, by their index.
    without_token: Vec<usize>,
    /// The providers without mistakes.
    settings: Vec<&'n ProviderSettings>,
}

impl<'n> Names<'n> {
    /// The names of all of them, those with mistakes too.
    pub(super) fn new(
        providers: &'n [provider::Named],
        bearers: &'n [bearer::Named],
        upstreams: &'n [upstream::Named],
    ) -> Self {
        let mut vouchers: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
        vouchers.extend(bearers.iter().filter(|bearer| !bearer.is_provider).map(|bearer| bearer.name.as_str()));
        Self {
            bearers: bearers.iter().map(|bearer| bearer.name.as_str()).collect(),
            vouchers,
            upstreams: upstreams.iter().map(|upstream| upstream.name.as_str()).collect(),
            without_token: gets_no_token(upstreams),
            settings: providers.iter().filter_map(|provider| provider.settings.as_ref()).collect(),
        }
    }
}

fn gets_no_token(upstreams: &[upstream::Named]) -> Vec<usize> {
    let none = |named: &upstream::Named| {
        named.settings.as_ref().is_some_and(|settings| matches!(settings.token, TokenSettings::None))
    };
    upstreams.iter().enumerate().filter(|(_, named)| none(named)).map(|(index, _)| index).collect()
}

/// All of `[[routes]]`, or the one route that a config without any implies.
pub(super) fn routes(root: &Table<'_>, names: &Names<'_>, prefix: &str) -> Vec<RouteSettings> {
    let nodes = root.items("routes", "a list of tables, each begun with [[routes]]");
    let nodes = match nodes {
        Some(nodes) if !nodes.is_empty() => nodes,
        Some(_) | None => return implied(root, names),
    };
    let mut routes: Vec<(RouteSettings, Place)> = Vec::new();
    for node in &nodes {
        routes.extend(route(node, names, prefix, root).map(|route| (route, node.place.clone())));
    }
    ties::check(&routes, root.report());
    // What is doubtful may only follow from a mistake.
    if root.report().is_clean_within(&root.place("routes")) {
        // Who sends a token may have claims that no provider's settings tell of.
        let settings: &[&ProviderSettings] = if names.bearers.is_empty() { &names.settings } else { &[] };
        doubts::check(&routes, settings, root.report());
    }
    let routes: Vec<RouteSettings> = routes.into_iter().map(|(route, _)| route).collect();
    if routes.iter().any(|route| asks_for_sign_in(&route.allow)) {
        need_provider(root, names);
    }
    if routes.len() == nodes.len() {
        for (index, name) in names.upstreams.iter().enumerate() {
            if !routes.iter().any(|route| route.upstream == index) {
                let place = within(&root.place("upstreams"), name).of_key();
                let wrong = Wrong::new(format!("no route leads to the upstream `{name}`"));
                root.report().warn(place, wrong.note("add a route for it, or leave it out"));
            }
        }
    }
    routes
}

/// Without routes and with one upstream, everything needs a sign-in and goes there.
fn implied(root: &Table<'_>, names: &Names<'_>) -> Vec<RouteSettings> {
    if root.has("routes") && !root.report().is_clean_at(&root.place("routes")) {
        return Vec::new();
    }
    need_provider(root, names);
    if names.upstreams.len() > 1 {
        let known = names.upstreams.join(", ");
        let wrong = Wrong::new(format!("there are several upstreams ({known}), but no [[routes]] to choose by"))
            .note("add [[routes]] tables with `path`, `allow` and `upstream`");
        root.report().absence(root.place("routes"), wrong);
    }
    vec![RouteSettings {
        name: Arc::from("/*"),
        host: None,
        path: PathPattern::Below("/".to_owned()),
        methods: None,
        allow: Allow::SignedIn,
        deny: Vec::new(),
        report_only: false,
        signed_out: SignedOut::Auto,
        upstream: 0,
        rewrite: None,
        allowances: PathAllowances::default(),
        body_bytes: None,
        bearer: (0..names.bearers.len()).collect(),
        retry_unauthorized: false,
        cors: None,
        csrf: None,
    }]
}

/// Whether somebody may have to sign in; a rule of certificates and networks alone never asks for it.
fn asks_for_sign_in(allow: &Allow) -> bool {
    match allow {
        Allow::Everyone => false,
        Allow::SignedIn => true,
        Allow::AnyOf(tables) => tables.iter().any(Conditions::asks_who),
    }
}

fn need_provider(root: &Table<'_>, names: &Names<'_>) {
    if names.vouchers.is_empty() && (!root.has("providers") || root.report().is_clean_at(&root.place("providers"))) {
        root.missing("providers", "who signs people in: [providers.corp] with issuer, client_id and client_secret");
    }
}

fn route(node: &Node, names: &Names<'_>, prefix: &str, root: &Table<'_>) -> Option<RouteSettings> {
    let table = Table::new(node, "[[routes]]".to_owned(), "routes[]".to_owned(), root.report());
    let name = table.text("name", "a name for logs");
    let host = table.parse("host", "a host name", host);
    let path = table.parse("path", "a path such as \"/admin/*\"", |text| {
        let pattern = pattern::parse(text)?;
        below_prefix(&pattern, prefix)?;
        Ok((pattern, text.to_owned()))
    });
    if !table.has("path") {
        table.missing("path", "its paths: path = \"/*\" for everything");
    }
    let methods = methods(&table);
    let allow = table.node("allow").and_then(|node| rule::allow(node, &names.vouchers, root.report()));
    if !table.has("allow") {
        table.missing("allow", "who may pass: allow = \"signed-in\"");
    }
    let deny = table.node("deny").map(|node| rule::deny(node, &names.vouchers, root.report()));
    let report_only = table.flag("report_only", false);
    let signed_out = table.choice(
        "signed_out",
        &[("redirect", SignedOut::Redirect), ("401", SignedOut::Unauthorized), ("auto", SignedOut::Auto)],
    );
    let upstream = upstream(&table, names);
    let rewrite = rewrite::rewrite(&table, path.as_ref().map(|(path, _)| path), allow.as_ref());
    let allowances = PathAllowances {
        encoded_slash: table.flag("encoded_slash", false),
        path_parameters: table.flag("path_parameters", false),
        empty_segments: table.flag("empty_segments", false),
    };
    let body_bytes = table.size("body_bytes", super::site::BODY_BYTES);
    let bearer = bearer::of_route(&table, &names.bearers);
    let retry_unauthorized = table.flag("retry_unauthorized", false);
    if retry_unauthorized && upstream.is_some_and(|upstream| names.without_token.contains(&upstream)) {
        let wrong = Wrong::new("`retry_unauthorized` has no effect where the upstream gets no token")
            .note("leave it out, or give the upstream one: token = \"access_token\"");
        root.report().warn(table.place("retry_unauthorized"), wrong);
    }
    let cors = cors::cors(&table);
    let csrf = cors::csrf(&table, methods.as_deref());
    if allow == Some(Allow::Everyone) && matches!(signed_out, Some(SignedOut::Redirect | SignedOut::Unauthorized)) {
        let wrong = Wrong::new("`signed_out` has no effect where everyone may pass").note("leave it out");
        root.report().warn(table.place("signed_out"), wrong);
    }
    if report_only {
        let wrong = Wrong::new("`report_only` is on, so this route forbids nothing");
        root.report().warn(table.place("report_only"), wrong.note("leave it out once the log shows what you expect"));
    }
    let host = if table.has("host") { Some(host?) } else { None };
    let methods = if table.has("methods") { Some(methods?) } else { None };
    let (path, written) = path?;
    Some(RouteSettings {
        name: Arc::from(name.unwrap_or(written)),
        host,
        path,
        methods,
        allow: allow?,
        deny: deny.unwrap_or_else(|| Some(Vec::new()))?,
        report_only,
        signed_out: signed_out.unwrap_or(SignedOut::Auto),
        upstream: upstream?,
        rewrite,
        allowances,
        body_bytes,
        bearer: bearer.unwrap_or_default(),
        retry_unauthorized,
        cors,
        csrf,
    })
}

/// Our own endpoints answer below the prefix before any route is looked at.
fn below_prefix(pattern: &PathPattern, prefix: &str) -> Result<(), Wrong> {
    let (PathPattern::Exact(path) | PathPattern::Below(path)) = pattern;
    let below = path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below {
        return Err(Wrong::new(format!("paths below `{prefix}` are Portcullis's own, so this route is never met"))
            .note("choose another path, or move ours with `prefix`"));
    }
    Ok(())
}

fn host(text: &str) -> Result<String, Wrong> {
    let example = "write a name such as \"app.example.com\", or an address";
    if text.contains("://") || text.contains('/') {
        return Err(Wrong::new("a host is no URL").note(example));
    }
    let url = url::Url::parse(&format!("https://{text}/"))
        .map_err(|_| Wrong::new(format!("`{}` is no host", printable(text))).note(example))?;
    let colon_outside = text.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    if colon_outside {
        return Err(Wrong::new("a host here has no port").note("leave out the `:` and what follows"));
    }
    if text.contains(['@', '*', '?', '#', '\\']) || text.chars().any(char::is_whitespace) || text.ends_with('.') {
        return Err(Wrong::new(format!("`{}` is no single host", printable(text))).note(example));
    }
    url.host_str().map(str::to_lowercase).ok_or_else(|| Wrong::new("a host is needed").note(example))
}

/// `methods`, of a route or of what it shares with pages of other origins.
pub(super) fn methods(table: &Table<'_>) -> Option<Vec<Method>> {
    let methods = table.each("methods", "a list of methods such as [\"GET\", \"HEAD\"]", |text| {
        let upper = text.to_ascii_uppercase();
        let wrong = Wrong::new(format!("`{}` is no method", printable(text)));
        if upper != text && Method::from_bytes(upper.as_bytes()).is_ok() {
            return Err(wrong.note(format!("methods are upper-case: \"{}\"", printable(&upper))));
        }
        if ["CONNECT", "TRACE"].contains(&text) {
            return Err(Wrong::new(format!("{text} is never passed on")).note("leave it out"));
        }
        let method = Method::from_bytes(text.as_bytes()).ok();
        method.filter(|_| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')).ok_or_else(|| {
            wrong.note("allowed: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and others of A-Z and `-`")
        })
    })?;
    if methods.is_empty() && table.report().is_clean_within(&table.place("methods")) {
        table.error("methods", Wrong::new("`methods` is an empty list").note("leave the key out to mean all methods"));
    }
    Some(methods.into_iter().map(|method| method.value).collect())
}

fn upstream(table: &Table<'_>, names: &Names<'_>) -> Option<usize> {
    let given = table.parse("upstream", "the name of an upstream", |text| {
        let index = names.upstreams.iter().position(|name| *name == text);
        index.ok_or_else(|| names::unknown(text, "upstream", &names.upstreams))
    });
    if table.has("upstream") {
        return given;
    }
    if names.upstreams.len() == 1 {
        return Some(0);
    }
    table.missing("upstream", "where it leads: upstream = \"…\"");
    None
}
