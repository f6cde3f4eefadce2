//! Routes that are right by themselves and may not do what they seem to: a narrowed one that others fall past, and rules that admit
//! nobody. These are warnings; nothing here stops a start.

use crate::config::raw::node::Place;
use crate::config::raw::report::{Report, Wrong};
use crate::config::raw::table::within;
use crate::config::settings::{Allow, Conditions, PathPattern, ProviderSettings, RouteSettings};

/// Warns about what is doubtful. `routes` come with the places of their tables.
pub(super) fn check(routes: &[(RouteSettings, Place)], providers: &[&ProviderSettings], report: &Report) {
    for (route, place) in routes {
        fallback(route, place, routes, report);
        never(route, place, providers, report);
    }
}

/// A route for some methods or one host leaves the other requests for its paths to a less specific route. Where that one leads to the
/// same upstream and asks for less, the rule can be walked around.
fn fallback(route: &RouteSettings, place: &Place, routes: &[(RouteSettings, Place)], report: &Report) {
    if route.methods.is_some() {
        let here = |other: &RouteSettings| other.host == route.host && other.path == route.path;
        // Somebody who wrote a route for the other methods of this very path has thought of them.
        let is_thought_of = routes.iter().any(|(other, _)| here(other) && other.methods.is_none());
        let next = routes.iter().map(|(other, _)| other).filter(|other| !here(other) && falls_to(route, other));
        let laxer = next.max_by_key(|other| specificity(other)).filter(|other| is_laxer(other, route));
        if let Some(laxer) = laxer.filter(|_| !is_thought_of) {
            let wrong = Wrong::new(format!(
                "requests with other methods fall to the route `{}`, which asks for less and leads to the same upstream",
                laxer.name
            ));
            let note = "leave `methods` out, or add a route for the other methods of this path";
            report.warn(within(place, "methods"), wrong.note(note));
        }
    }
    if route.host.is_some() {
        let next = routes.iter().map(|(other, _)| other).filter(|other| other.host.is_none() && covers(other, route));
        let laxer = next.max_by_key(|other| specificity(other)).filter(|other| is_laxer(other, route));
        if let Some(laxer) = laxer {
            let wrong = Wrong::new(format!(
                "at our other hosts the route `{}` has these paths, asks for less and leads to the same upstream",
                laxer.name
            ));
            report.warn(
                within(place, "host"),
                wrong.note("leave `host` out, or give the other route a `host` of its own"),
            );
        }
    }
}

/// Whether a request for `route`'s paths that its methods don't take may meet `other`.
fn falls_to(route: &RouteSettings, other: &RouteSettings) -> bool {
    let fits_host = other.host == route.host || other.host.is_none();
    let takes_others = match (&route.methods, &other.methods) {
        (Some(taken), Some(methods)) => methods.iter().any(|method| !taken.contains(method)),
        _ => true,
    };
    fits_host && takes_others && covers(other, route)
}

/// Whether `other`'s paths have all of `route`'s among them.
fn covers(other: &RouteSettings, route: &RouteSettings) -> bool {
    match (&other.path, &route.path) {
        (PathPattern::Below(above), PathPattern::Below(path) | PathPattern::Exact(path)) => path.starts_with(above),
        (PathPattern::Exact(one), PathPattern::Exact(path)) => one == path,
        (PathPattern::Exact(_), PathPattern::Below(_)) => false,
    }
}

/// What wins among routes that fit (`gate/route`): the host, then an exact path, then a longer one, then a named method.
fn specificity(route: &RouteSettings) -> (bool, bool, usize, bool) {
    let (is_exact, length) = match &route.path {
        PathPattern::Exact(path) => (true, path.len()),
        PathPattern::Below(path) => (false, path.len()),
    };
    (route.host.is_some(), is_exact, length, route.methods.is_some())
}

/// Whether `other` surely asks for less than `route`, and leads to the same upstream.
fn is_laxer(other: &RouteSettings, route: &RouteSettings) -> bool {
    let strictness = |allow: &Allow| match allow {
        Allow::Everyone => 0,
        Allow::SignedIn => 1,
        Allow::AnyOf(_) => 2,
    };
    other.upstream == route.upstream
        && (strictness(&other.allow) < strictness(&route.allow)
            || (other.allow == route.allow && other.deny.is_empty() && !route.deny.is_empty())
            || (other.report_only && !route.report_only && other.allow != Allow::Everyone))
}

/// Rules that admit nobody, each for a reason that can be told.
fn never(route: &RouteSettings, place: &Place, providers: &[&ProviderSettings], report: &Report) {
    let allow = within(place, "allow");
    if let Allow::AnyOf(tables) = &route.allow {
        for (index, table) in tables.iter().enumerate() {
            let which = if tables.len() == 1 { String::new() } else { format!(" (table {} of `allow`)", index + 1) };
            if let Some(why) = admits_nobody(table, providers) {
                report.warn(allow.clone(), Wrong::new(format!("nobody can ever be admitted by this{which}: {why}")));
            } else if route.deny.contains(table) {
                let wrong =
                    Wrong::new(format!("nobody can ever be admitted by this{which}: `deny` has the same table"));
                report.warn(allow.clone(), wrong.note("what `deny` holds is looked at first"));
            }
        }
    }
    if route.allow == Allow::Everyone && route.deny.iter().any(Conditions::asks_who) {
        let wrong = Wrong::new("everyone may pass here, so whom `deny` means need only sign out to get in");
        report.warn(within(place, "deny"), wrong.note("write allow = \"signed-in\""));
    }
}

fn admits_nobody(table: &Conditions, providers: &[&ProviderSettings]) -> Option<String> {
    let of_table = |provider: &&&ProviderSettings| match &table.providers {
        Some(names) => names.iter().any(|name| **name == *provider.name),
        None => true,
    };
    let asked: Vec<&&ProviderSettings> = providers.iter().filter(of_table).collect();
    if asked.is_empty() {
        return None;
    }
    if let (Some(emails), Some(domains)) = (&table.emails, &table.email_domains) {
        let domain_of = |email: &str| email.split_once('@').map(|(_, domain)| domain.to_owned());
        if !emails.iter().any(|email| domain_of(email).is_some_and(|domain| domains.contains(&domain))) {
            return Some("none of its `emails` is in its `email_domains`".to_owned());
        }
    }
    if let (Some(accounts), Some(names)) = (&table.accounts, &table.providers)
        && !accounts.iter().any(|account| names.contains(&account.provider))
    {
        return Some("none of its `accounts` is at its `providers`".to_owned());
    }
    if table.groups.is_some() && asked.iter().all(|provider| provider.groups_claim.is_empty()) {
        return Some("no provider of it has a `groups_claim`".to_owned());
    }
    if table.roles.is_some() && asked.iter().all(|provider| provider.roles_claims.is_empty()) {
        return Some("no provider of it has `roles_claims`".to_owned());
    }
    None
}
