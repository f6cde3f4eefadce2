//! Path patterns of routes: `/x` is exact, `/x/*` is `/x/` and all below it, `/*` is everything.

use crate::config::raw::report::{Wrong, printable};
use crate::config::settings::PathPattern;

const FORMS: &str = "allowed: \"/x\" for one path, \"/x/*\" for all below it, \"/*\" for everything";

/// A path pattern. The edge refuses every ambiguous path before a rule is looked at (design, invariant 2), so a pattern
/// that holds one could never match and is a mistake.
pub(super) fn parse(text: &str) -> Result<PathPattern, Wrong> {
    let (path, below) = match text.strip_suffix("/*") {
        Some(rest) => (format!("{rest}/"), true),
        None => (text.to_owned(), false),
    };
    if path.contains('*') {
        return Err(Wrong::new("`*` stands only at the end, after a `/`").note(FORMS));
    }
    check_path(&path)?;
    Ok(if below { PathPattern::Below(path) } else { PathPattern::Exact(path) })
}

/// Whether `path` has one meaning only: a path of unreserved characters and sub-delimiters (RFC 3986, section 3.3)
/// without encodings, parameters, empty or dot segments.
pub(super) fn check_path(path: &str) -> Result<(), Wrong> {
    let fail = |message: &str, fix: &str| Err(Wrong::new(message).note(fix).note(FORMS));
    if !path.starts_with('/') {
        return fail("a path begins with `/`", &format!("write \"/{}\"", printable(path)));
    }
    if path.contains(['?', '#']) {
        return fail("a path has no query and no fragment", "leave out everything from `?` or `#` on");
    }
    if path.contains('%') {
        return fail("a path here has no percent-encoding", "write the character itself, or a pattern above it");
    }
    if path.contains("//") {
        return fail("a path has no empty segment", "write one `/`");
    }
    if path.contains(['\\', ';']) {
        return fail("`\\` and `;` mean different things to different servers", "leave them out");
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return fail("a path has no dot segments", "write where it leads");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/".contains(&byte);
    if !path.bytes().all(plain) {
        return fail("this path holds a character that URLs only carry encoded", "write a pattern above it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        assert_eq!(parse("/x").unwrap(), PathPattern::Exact("/x".to_owned()));
        assert_eq!(parse("/x/").unwrap(), PathPattern::Exact("/x/".to_owned()));
        assert_eq!(parse("/").unwrap(), PathPattern::Exact("/".to_owned()));
        assert_eq!(parse("/x/*").unwrap(), PathPattern::Below("/x/".to_owned()));
        assert_eq!(parse("/*").unwrap(), PathPattern::Below("/".to_owned()));
        assert!(parse("/.well-known/a~b@c:1").is_ok());
    }

    #[test]
    fn nothing_that_can_be_read_in_two_ways() {
        for bad in [
            "",
            "x",
            "*",
            "/x*",
            "/*/x",
            "/x/**",
            "/x?y",
            "/x#y",
            "/a%2fb",
            "/a%41",
            "//x",
            "/x//y",
            "/x//*",
            "/a;b",
            "/a\\b",
            "/../x",
            "/x/..",
            "/x/./y",
            "/.",
            "/a b",
            "/ü",
            "/a\"b",
            "/a\nb",
            "/a<b",
            "https://a.example/x",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
