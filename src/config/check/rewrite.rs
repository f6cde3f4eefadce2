//! `rewrite`, `strip_prefix` and `add_prefix` of a route: what becomes of its paths on their way to the upstream.

use super::pattern;
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{Allow, PathPattern, RewriteSettings};

/// What the route asks for; nothing when it has none of the keys. `matched` are the route's own paths, `allow` is who may pass.
pub(super) fn rewrite(
    table: &Table<'_>,
    matched: Option<&PathPattern>,
    allow: Option<&Allow>,
) -> Option<RewriteSettings> {
    let whole = table.parse("rewrite", "a path such as \"/api/user/{sub}\"", |text| whole(text, matched, allow));
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
    let prefixes: Vec<&str> = ["strip_prefix", "add_prefix"].into_iter().filter(|key| table.has(key)).collect();
    if table.has("rewrite") {
        if let Some(key) = prefixes.first() {
            let wrong = Wrong::new(format!("`{key}` and `rewrite` exclude each other"));
            table.error(key, wrong.note("`rewrite` is the whole new path: write the prefix into it"));
        }
        return whole;
    }
    if prefixes.is_empty() {
        return None;
    }
    let (strip, add) = (strip_prefix.unwrap_or_default(), add_prefix.unwrap_or_default());
    if strip == add && !strip.is_empty() {
        table.error("add_prefix", Wrong::new("what is taken off is put back").note("leave both out"));
    }
    Some(RewriteSettings::Prefixes { strip, add })
}

/// A whole new path. What its placeholders mean is known where routes are compiled; here it is looked at with a letter in the place of
/// each.
fn whole(text: &str, matched: Option<&PathPattern>, allow: Option<&Allow>) -> Result<RewriteSettings, Wrong> {
    let (template, takes_rest) = match text.strip_suffix("/*") {
        Some(template) => (template, true),
        None => (text, false),
    };
    let (bare, placeholders) = without_placeholders(template)?;
    let looked_at = if takes_rest && bare.is_empty() { "/".to_owned() } else { bare };
    pattern::check_path(&looked_at)?;
    if template.contains('*') {
        return Err(Wrong::new("`*` stands only at the end, after a `/`"));
    }
    if takes_rest && template.ends_with('/') {
        return Err(Wrong::new("a path has no empty segment").note("write one `/`"));
    }
    if placeholders > 0 && allow == Some(&Allow::Everyone) {
        return Err(Wrong::new("everyone may pass here, so there may be nobody to put into the path")
            .note("write allow = \"signed-in\", or a path without placeholders"));
    }
    let below = match (matched, takes_rest) {
        (Some(PathPattern::Below(path)), true) => Some(path.trim_end_matches('/').to_owned()),
        (Some(PathPattern::Exact(_)), true) => {
            return Err(Wrong::new("this route is for one path, so nothing of it is left to put in the place of `/*`")
                .note("leave out the `/*` here, or end the route's `path` with it"));
        }
        (Some(PathPattern::Below(_)), false) => {
            return Err(Wrong::new("this route is for many paths, and all of them would become this one")
                .note("end it with `/*`, which is what of the path is below the route's, or make the route's `path` a single one"));
        }
        (_, false) => None,
        (None, true) => Some(String::new()),
    };
    Ok(RewriteSettings::Whole { template: template.to_owned(), below })
}

/// The path with an `x` for each placeholder, and how many there are.
fn without_placeholders(text: &str) -> Result<(String, usize), Wrong> {
    let unbalanced = || Wrong::new("the braces of this path don't match").note("write it like \"/api/user/{sub}\"");
    let (mut bare, mut count, mut rest) = (String::new(), 0, text);
    while let Some((before, after)) = rest.split_once('{') {
        let (placeholder, after) = after.split_once('}').ok_or_else(unbalanced)?;
        if placeholder.is_empty() || placeholder.contains('{') || before.contains('}') {
            return Err(unbalanced());
        }
        bare.push_str(before);
        bare.push('x');
        count += 1;
        rest = after;
    }
    if rest.contains('}') {
        return Err(unbalanced());
    }
    bare.push_str(rest);
    Ok((bare, count))
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
    fn a_whole_path_fits_the_routes_own() {
        let (one, many) = (PathPattern::Exact("/me".to_owned()), PathPattern::Below("/me/".to_owned()));
        let read = |text: &str, matched: &PathPattern| whole(text, Some(matched), Some(&Allow::SignedIn));
        let expected = |template: &str, below: Option<&str>| {
            Some(RewriteSettings::Whole { template: template.to_owned(), below: below.map(str::to_owned) })
        };
        assert_eq!(read("/api/user/{sub}", &one).ok(), expected("/api/user/{sub}", None));
        assert_eq!(read("/u/{sub}/*", &many).ok(), expected("/u/{sub}", Some("/me")));
        assert_eq!(read("/*", &many).ok(), expected("", Some("/me")));
        assert_eq!(read("/u-{claims.\"a/b\"}.json", &one).ok(), expected("/u-{claims.\"a/b\"}.json", None));
        assert_eq!(read("/u/{sub}/*", &PathPattern::Below("/".to_owned())).ok(), expected("/u/{sub}", Some("")));
        for bad in [
            "",
            "u",
            "/u/{sub",
            "/u/sub}",
            "/u/{}",
            "/u/{a{b}}",
            "//{sub}",
            "/../{sub}",
            "/u?{sub}",
            "/u%2f",
            "/u;x",
            "/*/x",
        ] {
            assert!(read(bad, &one).is_err() && read(bad, &many).is_err(), "{bad}");
        }
        assert!(read("/u/*", &one).is_err() && read("/u/{sub}", &many).is_err() && read("/u//*", &many).is_err());
        assert!(whole("/u/{sub}", Some(&one), Some(&Allow::Everyone)).is_err());
        assert!(whole("/u", Some(&one), Some(&Allow::Everyone)).is_ok());
    }

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
