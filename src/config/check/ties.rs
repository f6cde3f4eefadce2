//! Two routes that tie: nothing says which of them wins, so the config must not have them.

use http::Method;

use crate::config::raw::node::Place;
use crate::config::raw::report::{Report, Wrong};
use crate::config::raw::table::within;
use crate::config::settings::RouteSettings;

/// Reports every pair with the same host, the same paths, and a method in common.
pub(super) fn check(routes: &[(RouteSettings, Place)], report: &Report) {
    for (index, (second, place)) in routes.iter().enumerate() {
        let first = routes.iter().take(index).find(|(first, _)| tie(first, second));
        if let Some((_, other)) = first {
            let wrong = Wrong::new("two routes tie: the same host, the same path and a method in common")
                .note("narrow one of them by `host` or `methods`, or leave it out");
            report.clash(within(place, "path"), within(other, "path"), "the other one is at", wrong);
        }
    }
}

fn tie(one: &RouteSettings, other: &RouteSettings) -> bool {
    one.host == other.host && one.path == other.path && overlap(one.methods.as_deref(), other.methods.as_deref())
}

/// A route with methods is narrower than one without and wins over it, so only two of a kind can tie.
fn overlap(one: Option<&[Method]>, other: Option<&[Method]>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.iter().any(|method| other.contains(method)),
        (None, None) => true,
        _ => false,
    }
}
