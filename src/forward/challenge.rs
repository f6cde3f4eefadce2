//! An upstream's own "that sign-in is not enough" in its `WWW-Authenticate` (RFC 9470, section 3), and what it wants instead.

use std::time::Duration;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use crate::policy::wanted::Wanted;

/// The longest header that is read, in bytes.
const LONGEST: usize = 4096;
/// The most classes that are asked for, and the longest of them.
const MOST_CLASSES: usize = 10;
const LONGEST_CLASS: usize = 255;

/// What the upstream wants of a sign-in; nothing when it refused for another reason. One that says not what it wants gets a fresh one.
pub fn insufficient(headers: &HeaderMap) -> Option<Wanted> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    lines.filter(|line| line.len() <= LONGEST).find_map(of_line)
}

#[derive(Default)]
struct Challenge {
    is_ours: bool,
    error: String,
    acr_values: String,
    max_age: Option<u32>,
}

impl Challenge {
    fn wanted(&self) -> Option<Wanted> {
        if !self.is_ours || self.error != "insufficient_user_authentication" {
            return None;
        }
        let is_class = |class: &&str| {
            class.len() <= LONGEST_CLASS
                && class.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        let classes = self.acr_values.split_ascii_whitespace().filter(is_class).take(MOST_CLASSES);
        let acr: Vec<String> = classes.map(str::to_owned).collect();
        let max_age = self.max_age.or_else(|| acr.is_empty().then_some(0));
        Some(Wanted { acr, amr: Vec::new(), max_age: max_age.map(|seconds| Duration::from_secs(seconds.into())) })
    }
}

/// The first challenge of a line that says so (RFC 9110, section 11.6.1: a list in which a scheme and its parameters are parted by
/// spaces, and parameters by commas, as schemes are).
fn of_line(line: &str) -> Option<Wanted> {
    let mut challenge = Challenge::default();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = token(rest);
        if name.is_empty() {
            return challenge.wanted();
        }
        let Some(value) = after.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            // A name without a value begins the next challenge.
            if let Some(wanted) = challenge.wanted() {
                return Some(wanted);
            }
            let is_ours = name.eq_ignore_ascii_case("Bearer") || name.eq_ignore_ascii_case("DPoP");
            challenge = Challenge { is_ours, ..Challenge::default() };
            rest = after;
            continue;
        };
        let (value, after) = value_of(value.trim_start_matches([' ', '\t', '=']))?;
        match name {
            name if name.eq_ignore_ascii_case("error") => challenge.error = value,
            name if name.eq_ignore_ascii_case("acr_values") => challenge.acr_values = value,
            name if name.eq_ignore_ascii_case("max_age") => challenge.max_age = value.parse().ok(),
            _ => {}
        }
        rest = after;
    }
}

fn token(text: &str) -> (&str, &str) {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    text.split_at(text.find(|c| !is_of_token(c)).unwrap_or(text.len()))
}

/// A token or a quoted string (RFC 9110, section 5.6.4); `None` when a quote is never closed.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = token(text);
        return Some((value.to_owned(), after));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return quoted.get(at + 1..).map(|after| (value, after)),
            '\\' => value.push(letters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&str]) -> Option<(String, Option<u64>)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
        }
        insufficient(&headers).map(|wanted| (wanted.acr.join(" "), wanted.max_age.map(|age| age.as_secs())))
    }

    #[test]
    fn a_challenge_says_what_it_wants() {
        let text = |text: &str| text.to_owned();
        let insufficient = "Bearer error=\"insufficient_user_authentication\"";
        for (line, expected) in [
            (format!("{insufficient}, acr_values=\"myACR other\""), (text("myACR other"), None)),
            (format!("{insufficient}, error_description=\"a, \\\"b\\\" c=d\", max_age=\"5\""), (text(""), Some(5))),
            (format!("{insufficient}, max_age=60, acr_values=gold"), (text("gold"), Some(60))),
            (format!("Basic realm=\"x, y\", {insufficient}"), (text(""), Some(0))),
            (format!("{insufficient}, Basic realm=\"x\""), (text(""), Some(0))),
            (format!("Negotiate YWJj==, {insufficient} , acr_values = \"a\""), (text("a"), None)),
            (text("DPoP algs=\"ES256\", error=\"insufficient_user_authentication\", max_age=1"), (text(""), Some(1))),
            (text("bearer ERROR=insufficient_user_authentication"), (text(""), Some(0))),
            (format!("{insufficient}, acr_values=\"a\\\\b ok\", max_age=\"-1\""), (text("ok"), None)),
        ] {
            assert_eq!(read(&[&line]), Some(expected), "{line}");
        }
        assert_eq!(read(&["Basic realm=\"x\"", insufficient]), Some((text(""), Some(0))));
    }

    #[test]
    fn anything_else_is_not_taken_for_one() {
        for line in [
            "",
            "Bearer",
            "Bearer error=\"invalid_token\"",
            "Basic error=\"insufficient_user_authentication\"",
            "Bearer realm=\"error=insufficient_user_authentication\"",
            "Bearer error=\"invalid_token\", Basic error=\"insufficient_user_authentication\"",
            "Bearer error=\"insufficient_user_authentication",
            "error=insufficient_user_authentication",
            &format!("Bearer error=\"insufficient_user_authentication\", x=\"{}\"", "a".repeat(LONGEST)),
        ] {
            assert_eq!(read(&[line]), None, "{line}");
        }
        assert_eq!(read(&[]), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "[ -~]{0,60}") {
            let _wanted = of_line(&line);
        }

        #[test]
        fn what_is_wanted_can_stand_in_a_quoted_string(values in "[ -~]{0,40}") {
            let line = format!("Bearer error=insufficient_user_authentication, acr_values=\"{values}\"");
            for class in of_line(&line).into_iter().flat_map(|wanted| wanted.acr) {
                prop_assert!(class.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'));
            }
        }
    }
}
