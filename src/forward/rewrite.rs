//! What becomes of a path on its way to the upstream: a prefix taken off, a prefix put on, the rest byte for byte as it came.
//!
//! 1. What is taken off is what was matched: whole segments, compared as the rules read them. Where the bytes can't be cut between
//!    segments with that meaning the request is refused, never sent otherwise.
//! 2. The rest is never decoded, encoded or mended, and the query is left alone.
//! 3. What comes out begins with one slash, so that no upstream can take its start for a host (RFC 3986, section 4.2).

use http::HeaderValue;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use crate::config::settings::RewriteSettings;

/// A route's rewrite, compiled.
#[derive(Clone, Debug)]
pub struct Rewrite {
    strip: Box<str>,
    add: Box<str>,
    announced: Option<HeaderValue>,
}

/// The path can't be rewritten without changing its meaning. 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path can't be cut where its route says")]
pub struct Uncut;

impl Rewrite {
    /// Compiles what the config says.
    pub fn compile(settings: &RewriteSettings) -> Self {
        let strip = settings.strip_prefix.as_str();
        let announced = if strip.is_empty() { None } else { HeaderValue::from_str(strip).ok() };
        Self { strip: strip.into(), add: settings.add_prefix.as_str().into(), announced }
    }

    /// What was taken off, for `X-Forwarded-Prefix`: an application puts it before the addresses that it makes.
    pub const fn announced(&self) -> Option<&HeaderValue> {
        self.announced.as_ref()
    }

    /// The target as the upstream gets it.
    ///
    /// # Errors
    /// When the path does not begin with what is to be taken off, segment by segment, or the rest would begin with two slashes.
    pub fn apply(&self, target: &PathAndQuery) -> Result<PathAndQuery, Uncut> {
        let rest = cut(target.path(), &self.strip).ok_or(Uncut)?;
        let mut text = String::with_capacity(self.add.len() + target.as_str().len() + 1);
        text.push_str(&self.add);
        text.push_str(rest);
        if text.is_empty() {
            text.push('/');
        }
        if text.starts_with("//") {
            return Err(Uncut);
        }
        if let Some(query) = target.query() {
            text.push('?');
            text.push_str(query);
        }
        PathAndQuery::try_from(text).map_err(|_| Uncut)
    }
}

/// What stands after `prefix` in `path`, with its slash.
fn cut<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let mut rest = path;
    for wanted in prefix.split('/').skip(1) {
        let after = rest.strip_prefix('/')?;
        let end = after.find('/').unwrap_or(after.len());
        let (segment, tail) = after.split_at_checked(end)?;
        if !percent_decode_str(segment).eq(wanted.bytes()) {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(strip: &str, add: &str, target: &str) -> Option<String> {
        let settings = RewriteSettings { strip_prefix: strip.to_owned(), add_prefix: add.to_owned() };
        let target = PathAndQuery::try_from(target).unwrap();
        Rewrite::compile(&settings).apply(&target).ok().map(|target| target.as_str().to_owned())
    }

    #[test]
    fn the_rest_is_byte_for_byte() {
        for (target, expected) in [
            ("/app/x", "/x"),
            ("/app", "/"),
            ("/app/", "/"),
            ("/app?q=1", "/?q=1"),
            ("/app/?", "/?"),
            ("/app/a%20b%C3%BC/%7e;v=1?x=%2f&&=", "/a%20b%C3%BC/%7e;v=1?x=%2f&&="),
            ("/app/app/x", "/app/x"),
            ("/%61pp/%61", "/%61"),
            ("/app/a//b", "/a//b"),
            ("/app/[x]|^", "/[x]|^"),
        ] {
            assert_eq!(rewritten("/app", "", target).as_deref(), Some(expected), "{target}");
        }
    }

    #[test]
    fn a_prefix_is_put_on() {
        assert_eq!(rewritten("/old", "/new/v1", "/old/x?y").as_deref(), Some("/new/v1/x?y"));
        assert_eq!(rewritten("/old", "/new", "/old").as_deref(), Some("/new"));
        assert_eq!(rewritten("/old", "/new", "/old/").as_deref(), Some("/new/"));
        assert_eq!(rewritten("", "/base", "/").as_deref(), Some("/base/"));
        assert_eq!(rewritten("", "/base", "/x//y").as_deref(), Some("/base/x//y"));
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        for target in [
            "/application/x",
            "/",
            "/ap",
            "//app/x",
            "/app;v=1/x",
            "/app%2fx",
            "/App/x",
            "/app//evil.example/x",
            "/x/app",
        ] {
            assert_eq!(rewritten("/app", "", target), None, "{target}");
        }
        assert_eq!(rewritten("/a/b", "", "/a%2fb/x"), None);
        assert_eq!(rewritten("/a/b", "", "/a/b/x").as_deref(), Some("/x"));
    }

    #[test]
    fn only_what_was_taken_off_is_announced() {
        let compiled = |strip: &str, add: &str| {
            Rewrite::compile(&RewriteSettings { strip_prefix: strip.to_owned(), add_prefix: add.to_owned() })
        };
        assert_eq!(compiled("/app", "/new").announced().unwrap(), "/app");
        assert!(compiled("", "/new").announced().is_none());
    }

    proptest! {
        #[test]
        fn nothing_after_the_prefix_ever_changes(rest in "(/[!$&'()*+,\\-.0-9:;=@A-Z_a-z~%\\[\\]|^]{1,8}){1,4}/?(\\?[!$-;=?-~]{0,12})?") {
            prop_assert_eq!(rewritten("/app", "/new", &format!("/app{rest}")), Some(format!("/new{rest}")));
        }
    }
}
