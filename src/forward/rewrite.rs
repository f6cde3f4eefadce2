//! What becomes of a path on its way to the upstream: a prefix taken off, a prefix put on, or another path with who is asking in it.
//!
//! 1. What is taken off is what was matched: whole segments, compared as the rules read them. Where the bytes can't be cut between
//!    segments with that meaning the request is refused, never sent otherwise.
//! 2. The rest is never decoded, encoded or mended, and the query is left alone.
//! 3. What comes out begins with one slash, so that no upstream can take its start for a host (RFC 3986, section 4.2).
//! 4. What is put in for a placeholder stays within its one segment: everything but unreserved characters is encoded (RFC 3986, section
//!    2.3). A person who has no value for it, or one that could lead elsewhere, is refused.

use http::HeaderValue;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use crate::config::settings::RewriteSettings;
use crate::identity::principal::Principal;
use crate::identity::template::{Template, TemplateError};

/// The longest value that is put into a path, in bytes before it is encoded.
const MAX_VALUE: usize = 512;

/// A route's rewrite, compiled.
#[derive(Clone, Debug)]
pub struct Rewrite {
    way: Way,
    announced: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
enum Way {
    Prefixes { strip: Box<str>, add: Box<str> },
    Whole { segments: Vec<Segment>, below: Option<Box<str>> },
}

/// What stands after a slash.
#[derive(Clone, Debug)]
enum Segment {
    Plain(Box<str>),
    /// Of the person; the text is the template as written, for logs.
    Told(Template, Box<str>),
}

/// The path can't be rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncut {
    /// Not without changing its meaning. 400.
    #[error("the path can't be cut where its route says")]
    Path,
    /// The person has no value for a placeholder, or one that can't stand in a path. 403.
    #[error("`{0}` has no value that can be one segment of a path")]
    Value(Box<str>),
}

/// Why a rewrite can't be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// A placeholder can't be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A placeholder stands for several names.
    #[error("`{0}` stands for several names, and a segment of a path has one")]
    List(String),
}

impl Rewrite {
    /// Compiles what the config says.
    ///
    /// # Errors
    /// When a placeholder means nothing, or several names.
    pub fn compile(settings: &RewriteSettings) -> Result<Self, RewriteError> {
        match settings {
            RewriteSettings::Prefixes { strip, add } => {
                let announced = if strip.is_empty() { None } else { HeaderValue::from_str(strip).ok() };
                Ok(Self { way: Way::Prefixes { strip: strip.as_str().into(), add: add.as_str().into() }, announced })
            }
            RewriteSettings::Whole { template, below } => {
                let segments: Vec<Segment> =
                    split(template).into_iter().map(Segment::compile).collect::<Result<_, _>>()?;
                Ok(Self { way: Way::Whole { segments, below: below.as_deref().map(Into::into) }, announced: None })
            }
        }
    }

    /// What was taken off, for `X-Forwarded-Prefix`: an application puts it before the addresses that it makes.
    pub const fn announced(&self) -> Option<&HeaderValue> {
        self.announced.as_ref()
    }

    /// The target as the upstream gets it, for a request of `principal`.
    ///
    /// # Errors
    /// When the path does not begin with what is to be taken off, segment by segment, or the rest would begin with two slashes; when
    /// there is nobody, or nothing of them, to put into it.
    pub fn apply(&self, target: &PathAndQuery, principal: Option<&Principal>) -> Result<PathAndQuery, Uncut> {
        let mut text = String::with_capacity(target.as_str().len() + 64);
        match &self.way {
            Way::Prefixes { strip, add } => {
                text.push_str(add);
                text.push_str(cut(target.path(), strip).ok_or(Uncut::Path)?);
            }
            Way::Whole { segments, below } => {
                for segment in segments {
                    text.push('/');
                    segment.write(principal, &mut text)?;
                }
                if let Some(below) = below {
                    text.push_str(cut(target.path(), below).ok_or(Uncut::Path)?);
                }
            }
        }
        if text.is_empty() {
            text.push('/');
        }
        if text.starts_with("//") {
            return Err(Uncut::Path);
        }
        if let Some(query) = target.query() {
            text.push('?');
            text.push_str(query);
        }
        PathAndQuery::try_from(text).map_err(|_| Uncut::Path)
    }
}

impl Segment {
    fn compile(text: &str) -> Result<Self, RewriteError> {
        if !text.contains('{') {
            return Ok(Self::Plain(text.into()));
        }
        let template = Template::parse(text)?;
        if template.has_list() {
            return Err(RewriteError::List(text.to_owned()));
        }
        Ok(Self::Told(template, text.into()))
    }

    fn write(&self, principal: Option<&Principal>, out: &mut String) -> Result<(), Uncut> {
        let (template, name) = match self {
            Self::Plain(text) => {
                out.push_str(text);
                return Ok(());
            }
            Self::Told(template, name) => (template, name),
        };
        let value = principal.and_then(|principal| template.text(principal)).filter(|value| is_one_segment(value));
        let value = value.ok_or_else(|| Uncut::Value(name.clone()))?;
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let half = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase();
                out.extend(['%', half(byte >> 4), half(byte & 0xf)]);
            }
        }
        Ok(())
    }
}

/// Whether a value, once it is encoded, is one segment for every reader. An upstream that takes an encoded slash for a slash must not
/// be led up by it, nor to a segment that isn't there.
fn is_one_segment(value: &str) -> bool {
    let leads_up = |part: &str| part.is_empty() || part == "." || part == "..";
    // What follows a `;` some servers leave out.
    let seen = |part: &str| part.split(';').next().unwrap_or_default().trim().to_owned();
    value.len() <= MAX_VALUE
        && !value.chars().any(char::is_control)
        && !value.split(['/', '\\']).any(|part| leads_up(part) || leads_up(&seen(part)))
}

/// The segments of a template; a slash between braces is part of a claim's name.
fn split(template: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let cut = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '/' && depth == 0
    };
    template.split(cut).skip(1).collect()
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
        let settings = RewriteSettings::Prefixes { strip: strip.to_owned(), add: add.to_owned() };
        let target = PathAndQuery::try_from(target).unwrap();
        Rewrite::compile(&settings).unwrap().apply(&target, None).ok().map(|target| target.as_str().to_owned())
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
            Rewrite::compile(&RewriteSettings::Prefixes { strip: strip.to_owned(), add: add.to_owned() }).unwrap()
        };
        assert_eq!(compiled("/app", "/new").announced().unwrap(), "/app");
        assert!(compiled("", "/new").announced().is_none());
    }

    fn whole(template: &str, below: Option<&str>) -> Result<Rewrite, RewriteError> {
        let below = below.map(str::to_owned);
        Rewrite::compile(&RewriteSettings::Whole { template: template.to_owned(), below })
    }

    fn of(template: &str, below: Option<&str>, target: &str, subject: &str) -> Result<String, Uncut> {
        let principal = Principal {
            provider: "corp".into(),
            issuer: "https://login.example.com".to_owned(),
            subject: subject.to_owned(),
            groups: vec!["a".to_owned()],
            claims: serde_json::json!({"n": 7, "list": ["a"], "a/b": {"c": "x y"}}).as_object().unwrap().clone(),
            ..Principal::default()
        };
        let target = PathAndQuery::try_from(target).unwrap();
        whole(template, below).unwrap().apply(&target, Some(&principal)).map(|target| target.as_str().to_owned())
    }

    #[test]
    fn who_is_asking_stands_in_one_segment() {
        for (subject, expected) in [
            ("1234", "1234"),
            ("auth0|12 34", "auth0%7C12%2034"),
            ("a/b", "a%2Fb"),
            ("a?b#c;d=e&f", "a%3Fb%23c%3Bd%3De%26f"),
            ("%2e%2e", "%252e%252e"),
            ("...", "..."),
            ("J\u{f6}rg", "J%C3%B6rg"),
            ("a@b.example", "a%40b.example"),
        ] {
            assert_eq!(
                of("/api/user/{sub}", None, "/me?x=%2F", subject).unwrap(),
                format!("/api/user/{expected}?x=%2F")
            );
        }
        assert_eq!(of("/u/{claims.n}/{claims.\"a/b\".c}", None, "/me", "1").unwrap(), "/u/7/x%20y");
        assert_eq!(of("/u-{sub}.json", None, "/me", "1").unwrap(), "/u-1.json");
        assert_eq!(of("/u/{claims.none|nobody}", None, "/me", "1").unwrap(), "/u/nobody");
    }

    #[test]
    fn the_rest_follows_byte_for_byte() {
        assert_eq!(of("/u/{sub}", Some("/me"), "/me/a%20b//c?d", "1").unwrap(), "/u/1/a%20b//c?d");
        assert_eq!(of("/u/{sub}", Some("/me"), "/me/", "1").unwrap(), "/u/1/");
        assert_eq!(of("/u/{sub}", Some(""), "/x", "1").unwrap(), "/u/1/x");
        assert_eq!(of("", Some("/me"), "/me/x", "1").unwrap(), "/x");
        assert_eq!(of("/u/{sub}", Some("/me"), "/you/x", "1"), Err(Uncut::Path));
        assert_eq!(of("", Some("/me"), "/me//evil.example/", "1"), Err(Uncut::Path));
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        let long = "a".repeat(MAX_VALUE + 1);
        for subject in [
            "",
            ".",
            "..",
            "../admin",
            "a/../../admin",
            "a/",
            "/a",
            "a//b",
            "a\\..\\b",
            "..;x",
            "a/..;/b",
            " .. /x",
            "a\nb",
            "a\0",
            &long,
        ] {
            assert_eq!(of("/u/{sub}", None, "/me", subject), Err(Uncut::Value("{sub}".into())), "{subject:?}");
        }
        for missing in ["{email}", "{claims.none}", "{claims.list}", "x-{preferred_username}"] {
            assert_eq!(of(&format!("/u/{missing}"), None, "/me", "1"), Err(Uncut::Value(missing.into())));
        }
        let target = PathAndQuery::from_static("/me");
        assert_eq!(whole("/u/{sub}", None).unwrap().apply(&target, None), Err(Uncut::Value("{sub}".into())));
        assert!(matches!(whole("/u/{groups}", None), Err(RewriteError::List(_))));
        assert!(matches!(whole("/u/{subject}", None), Err(RewriteError::Template(_))));
    }

    proptest! {
        #[test]
        fn whoever_asks_the_path_has_as_many_segments(subject in any::<String>()) {
            if let Ok(path) = of("/u/{sub}/x", None, "/me", &subject) {
                let segments: Vec<&str> = path.split('/').collect();
                prop_assert_eq!(segments.len(), 4);
                let decoded = percent_decode_str(segments[2]).decode_utf8().unwrap().into_owned();
                prop_assert_eq!(decoded, subject);
            }
        }

        #[test]
        fn nothing_after_the_prefix_ever_changes(rest in "(/[!$&'()*+,\\-.0-9:;=@A-Z_a-z~%\\[\\]|^]{1,8}){1,4}/?(\\?[!$-;=?-~]{0,12})?") {
            prop_assert_eq!(rewritten("/app", "/new", &format!("/app{rest}")), Some(format!("/new{rest}")));
        }
    }
}
