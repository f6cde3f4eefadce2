//! Templates of identity headers: text with placeholders such as `{claims.team}`, all or nothing.
//!
//! 1. A placeholder without a value, or with one that can't be written, gives no header at all, never half of one.
//! 2. Printable ASCII is written as it is. `%`, a space at either end of a value and every letter beyond ASCII are written
//!    as `%` and two hex digits for each UTF-8 byte (RFC 3986, section 2.1), so that two values never read as one.
//! 3. A control character is never written, in no form (RFC 9110, section 5.5).
//! 4. A name in a list that holds the joiner is left out, so that it never reads as two names.

use std::borrow::Cow;

use serde_json::Value;

use super::principal::Principal;

/// The most bytes of one header's value.
pub const MAX_VALUE: usize = 8 * 1024;

/// A header's value with placeholders for what is known of the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Subject,
    Issuer,
    Provider,
    Email,
    VerifiedEmail,
    PreferredUsername,
    Name,
    Groups,
    Roles,
    Claim(Vec<String>),
}

/// What a placeholder stands for.
enum Found<'a> {
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>, usize),
}

/// A template's value for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What the header says.
    pub value: String,
    /// How many names of its lists could not be written and were left out.
    pub left_out: usize,
}

/// A template that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It has no characters.
    #[error("the template is empty; write what the header should say, such as \"{{claims.team}}\"")]
    Empty,
    /// A brace is not closed or not opened.
    #[error(
        "`{template}` has a single `{brace}`; write \"{{claims.team}}\" for a placeholder, or the brace twice for itself"
    )]
    Brace {
        /// The template.
        template: String,
        /// The brace that stands alone.
        brace: char,
    },
    /// A placeholder names nothing that we know.
    #[error(
        "`{{{placeholder}}}` is no placeholder; there are {{sub}}, {{iss}}, {{provider}}, {{email}}, {{verified_email}}, \
         {{preferred_username}}, {{name}}, {{groups}}, {{roles}}, and {{claims.…}} for every other claim"
    )]
    Placeholder {
        /// What stands between the braces.
        placeholder: String,
    },
    /// Its text has a character that no header may have.
    #[error("`{template}` has a character other than printable ASCII, which no header can carry as text")]
    Character {
        /// The template, escaped.
        template: String,
    },
}

impl Template {
    /// Reads a template. `{{` and `}}` stand for the braces themselves; a claim's name that holds a dot is quoted:
    /// `{claims."https://example.com/team".name}`.
    ///
    /// # Errors
    /// Says what is wrong, and what would be right.
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        if template.is_empty() {
            return Err(TemplateError::Empty);
        }
        if !template.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(TemplateError::Character { template: template.escape_debug().to_string() });
        }
        let lone = |brace| TemplateError::Brace { template: template.to_owned(), brace };
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = template.chars();
        while let Some(next) = rest.next() {
            let doubled = rest.as_str().starts_with(next);
            match next {
                '{' | '}' if doubled => {
                    rest.next();
                    text.push(next);
                }
                '}' => return Err(lone('}')),
                '{' => {
                    let (placeholder, after) = rest.as_str().split_once('}').ok_or_else(|| lone('{'))?;
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(Piece::Field(Field::parse(placeholder)?));
                    rest = after.chars();
                }
                other => text.push(other),
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self { pieces })
    }

    /// What it says of `principal`, the names of a list with `join` between them. `None` when a placeholder has no value
    /// or one that can't be written, or when there would be more than [`MAX_VALUE`] bytes.
    pub fn write(&self, principal: &Principal, join: &str) -> Option<Written> {
        let mut value = String::new();
        let mut left_out = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => value.push_str(text),
                Piece::Field(field) => match field.find(principal)? {
                    Found::One(found) => value.push_str(&encode(&found)?),
                    Found::Many(names, unwritable) => {
                        let (list, dropped) = join_names(&names, join)?;
                        left_out += unwritable + dropped;
                        value.push_str(&list);
                    }
                },
            }
            if value.len() > MAX_VALUE {
                return None;
            }
        }
        Some(Written { value, left_out })
    }
}

impl Field {
    fn parse(placeholder: &str) -> Result<Self, TemplateError> {
        let unknown = || TemplateError::Placeholder { placeholder: placeholder.to_owned() };
        // The claims that have a field of their own are not kept among the others.
        let standard = placeholder.strip_prefix("claims.").unwrap_or(placeholder);
        match standard {
            "sub" => return Ok(Self::Subject),
            "iss" => return Ok(Self::Issuer),
            "email" => return Ok(Self::Email),
            "preferred_username" => return Ok(Self::PreferredUsername),
            "name" => return Ok(Self::Name),
            _ => {}
        }
        match placeholder {
            "provider" => Ok(Self::Provider),
            "verified_email" => Ok(Self::VerifiedEmail),
            "groups" => Ok(Self::Groups),
            "roles" => Ok(Self::Roles),
            _ => placeholder.strip_prefix("claims.").and_then(claim_path).map(Self::Claim).ok_or_else(unknown),
        }
    }

    fn find<'a>(&self, principal: &'a Principal) -> Option<Found<'a>> {
        let one = |text: &'a str| (!text.is_empty()).then_some(Found::One(Cow::Borrowed(text)));
        let many = |names: &'a [String]| {
            let names = names.iter().map(|name| Cow::Borrowed(name.as_str())).collect();
            Some(Found::Many(names, 0))
        };
        match self {
            Self::Subject => one(&principal.subject),
            Self::Issuer => one(&principal.issuer),
            Self::Provider => one(&principal.provider),
            Self::Email => one(principal.email.as_deref()?),
            Self::VerifiedEmail => principal.email.as_deref().filter(|_| principal.email_verified).and_then(one),
            Self::PreferredUsername => one(principal.preferred_username.as_deref()?),
            Self::Name => one(principal.name.as_deref()?),
            Self::Groups => many(&principal.groups),
            Self::Roles => many(&principal.roles),
            Self::Claim(path) => find_claim(principal, path),
        }
    }
}

/// The names of a path such as `a.b` or `"a.b".c`.
fn claim_path(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if name.is_empty() || name.contains(['{', '"']) {
            return None;
        }
        names.push(name.to_owned());
        if after.is_empty() {
            return Some(names);
        }
        rest = after.strip_prefix('.')?;
    }
}

fn find_claim<'a>(principal: &'a Principal, path: &[String]) -> Option<Found<'a>> {
    let (first, inner) = path.split_first()?;
    let value = inner.iter().try_fold(principal.claims.get(first)?, |value, name| value.as_object()?.get(name))?;
    match value {
        Value::Array(values) => {
            let names: Vec<_> = values.iter().filter_map(scalar).collect();
            let unwritable = values.len() - names.len();
            Some(Found::Many(names, unwritable))
        }
        other => scalar(other).filter(|text| !text.is_empty()).map(Found::One),
    }
}

/// Texts, numbers and truth values as text; objects, lists in lists and null have none.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The names with `join` between them, and how many were left out; `None` when none is left.
fn join_names(names: &[Cow<'_, str>], join: &str) -> Option<(String, usize)> {
    let fits = |name: &&Cow<'_, str>| !name.is_empty() && !name.contains(join);
    // Encoding may bring the joiner in, were it one of `%0-9A-F`: looked at again, so that no preset can get it wrong.
    let encoded: Vec<String> =
        names.iter().filter(fits).filter_map(|name| encode(name)).filter(|name| !name.contains(join)).collect();
    (!encoded.is_empty()).then(|| (encoded.join(join), names.len() - encoded.len()))
}

/// `value` as rules 2 and 3 say.
fn encode(value: &str) -> Option<String> {
    if value.chars().any(char::is_control) {
        return None;
    }
    let last = value.len().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (index, byte) in value.bytes().enumerate() {
        let plain = match byte {
            b'%' => false,
            b' ' => index != 0 && index != last,
            other => other.is_ascii_graphic(),
        };
        if plain {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 0xf]
                    .map(|half| char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase()),
            );
        }
    }
    Some(out)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Somebody of whom everything is known.
    pub(in crate::identity) fn person() -> Principal {
        let claims = json!({
            "team": "red", "level": 3, "staff": true, "empty": "", "nothing": null, "badges": ["x", 7, {"no": 1}, "y"],
            "address": { "city": "Berlin" }, "https://example.com/unit": { "name": "north" },
        });
        Principal {
            provider: "corp".into(),
            issuer: "https://login.example.com".to_owned(),
            subject: "1234".to_owned(),
            email: Some("alice@example.com".to_owned()),
            email_verified: true,
            preferred_username: Some("alice".to_owned()),
            name: Some("Alice Liddell".to_owned()),
            groups: vec!["staff".to_owned(), "dev ops".to_owned()],
            roles: vec!["admin".to_owned(), "user".to_owned()],
            claims: claims.as_object().unwrap().clone(),
            ..Principal::default()
        }
    }

    fn written(template: &str) -> Option<String> {
        Template::parse(template).unwrap().write(&person(), ",").map(|written| written.value)
    }

    #[test]
    fn placeholders_stand_for_what_is_known() {
        for (template, expected) in [
            ("plain text", "plain text"),
            ("{sub}", "1234"),
            ("{claims.sub}@{iss}", "1234@https://login.example.com"),
            ("{provider}:{email}", "corp:alice@example.com"),
            ("{verified_email}", "alice@example.com"),
            ("{claims.preferred_username}", "alice"),
            ("g={groups}; r={roles}", "g=staff,dev ops; r=admin,user"),
            ("{claims.team}/{claims.level}/{claims.staff}", "red/3/true"),
            ("{claims.address.city}", "Berlin"),
            ("{claims.\"https://example.com/unit\".name}", "north"),
            ("{claims.badges}", "x,7,y"),
            ("{{{sub}}}", "{1234}"),
            ("{{sub}}", "{sub}"),
        ] {
            assert_eq!(written(template).as_deref(), Some(expected), "{template}");
        }
    }

    #[test]
    fn one_missing_value_takes_the_whole_header_away() {
        for template in [
            "team {claims.none}",
            "{sub}{claims.empty}",
            "{claims.nothing}",
            "{claims.address}",
            "{claims.team.deeper}",
            "{claims.address.street}",
        ] {
            assert_eq!(written(template), None, "{template}");
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (template, hint) in [
            ("", "empty"),
            ("{", "single `{`"),
            ("a}b", "single `}`"),
            ("{sub", "single `{`"),
            ("{subject}", "{sub}"),
            ("{}", "{claims."),
            ("{claims.}", "{claims."),
            ("{claims.a..b}", "{claims."),
            ("{claims.\"a}", "{claims."),
            ("a\r\nX: y", "printable"),
            ("caf\u{e9}", "printable"),
        ] {
            let problem = Template::parse(template).unwrap_err().to_string();
            assert!(problem.contains(hint), "{template}: {problem}");
            assert!(!problem.contains('\n'), "{problem}");
        }
    }

    #[test]
    fn values_are_encoded_so_that_no_two_read_as_one() {
        for (value, expected) in [
            ("alice", "alice"),
            ("Alice Liddell", "Alice Liddell"),
            ("100%", "100%25"),
            ("Jos\u{e9}", "Jos%C3%A9"),
            ("Jos%C3%A9", "Jos%25C3%25A9"),
            ("bob ", "bob%20"),
            (" bob", "%20bob"),
            ("\u{a0}bob", "%C2%A0bob"),
            ("\u{202e}bob", "%E2%80%AEbob"),
        ] {
            assert_eq!(encode(value).as_deref(), Some(expected), "{value}");
        }
        for control in ["\r", "\n", "\0", "\t", "\u{1b}[2J", "\u{7f}", "\u{80}", "\u{9f}"] {
            assert_eq!(encode(control), None, "{control:?}");
        }
    }

    #[test]
    fn a_group_never_becomes_two() {
        let join = |names: &[&str], join| {
            let names: Vec<_> = names.iter().map(|name| Cow::Borrowed(*name)).collect();
            join_names(&names, join)
        };
        assert_eq!(join(&["a,admin", "b"], ","), Some(("b".to_owned(), 1)));
        assert_eq!(join(&["a|admin", "b,c"], "|"), Some(("b,c".to_owned(), 1)));
        assert_eq!(join(&["a admin", " admin", "b"], " "), Some(("b".to_owned(), 2)));
        assert_eq!(join(&[" admin", "b"], ","), Some(("%20admin,b".to_owned(), 0)));
        assert_eq!(join(&["a\r\nadmin", "", "b"], ","), Some(("b".to_owned(), 2)));
        assert_eq!(join(&["caf\u{e9}", "b"], "%"), Some(("b".to_owned(), 1)));
        assert_eq!(join(&["a,b"], ","), None);
        assert_eq!(join(&[], ","), None);
    }

    #[test]
    fn a_value_ends_at_8_kib() {
        let mut person = person();
        let template = Template::parse("{name}").unwrap();
        person.name = Some("x".repeat(MAX_VALUE));
        assert!(template.write(&person, ",").is_some());
        person.name = Some("x".repeat(MAX_VALUE + 1));
        assert!(template.write(&person, ",").is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_printable_and_can_be_undone(value in any::<String>()) {
            if let Some(encoded) = encode(&value) {
                prop_assert!(encoded.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
                prop_assert_eq!(encoded.trim(), encoded.as_str());
                let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap();
                prop_assert_eq!(decoded.as_ref(), value.as_str());
            } else {
                prop_assert!(value.chars().any(char::is_control));
            }
        }

        #[test]
        fn no_template_makes_the_parser_panic(template in any::<String>()) {
            if let Ok(template) = Template::parse(&template) {
                let _written = template.write(&person(), ",");
            }
        }
    }
}
