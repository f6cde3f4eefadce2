//! `strip_prefix` and `add_prefix` of a route: what becomes of its paths on their way to the upstream.

use super::pattern;
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{PathPattern, RewriteSettings};

/// What the route asks for; nothing when it has neither key. `matched` are the route's own paths.
pub(super) fn rewrite(table: &Table<'_>, matched: Option<&PathPattern>) -> Option<RewriteSettings> {
    let strip_prefix = table.parse("strip_prefix", "a path such as \"/app\"", |text| {
        let prefix = prefix(text)?;
        match matched {
            Some(matched) if !lies_below(matched, &prefix) => {
                Err(Wrong::new(format!("not every path of this route begins with `{}`", printable(&prefix)))
                    .note(format!("narrow the route: path = \"{prefix}/*\", or strip less")))
            }
            _ => Ok(prefix),
        }
    });
    let add_prefix = table.parse("add_prefix", "a path such as \"/app\"", prefix);
    if !table.has("strip_prefix") && !table.has("add_prefix") {
        return None;
    }
    let rewrite =
        RewriteSettings { strip_prefix: strip_prefix.unwrap_or_default(), add_prefix: add_prefix.unwrap_or_default() };
    if rewrite.strip_prefix == rewrite.add_prefix && !rewrite.strip_prefix.is_empty() {
        table.error("add_prefix", Wrong::new("what is taken off is put back").note("leave both out"));
    }
    Some(rewrite)
}

/// Whole segments, without a slash at the end.
fn prefix(text: &str) -> Result<String, Wrong> {
    pattern::check_path(text)?;
    if text.ends_with('/') {
        return Err(Wrong::new("a prefix has no slash at its end").note("leave it out"));
    }
    Ok(text.to_owned())
}

fn lies_below(matched: &PathPattern, prefix: &str) -> bool {
    let (PathPattern::Exact(path) | PathPattern::Below(path)) = matched;
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_whole_segments() {
        assert_eq!(prefix("/a/b").unwrap(), "/a/b");
        for bad in ["", "/", "a", "/a/", "//a", "/a/../b", "/a%2fb", "/a?b", "/a;b", "/ü"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_path_of_the_route_begins_with_what_is_stripped() {
        let below = |path: &str| PathPattern::Below(path.to_owned());
        let exact = |path: &str| PathPattern::Exact(path.to_owned());
        assert!(lies_below(&below("/app/"), "/app"));
        assert!(lies_below(&below("/app/v1/"), "/app"));
        assert!(lies_below(&exact("/app"), "/app"));
        assert!(!lies_below(&below("/"), "/app"));
        assert!(!lies_below(&below("/application/"), "/app"));
        assert!(!lies_below(&exact("/ap"), "/app"));
    }
}
