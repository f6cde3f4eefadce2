//! Templates of identity headers: text with placeholders such as `{claims.team}`, all or nothing.
//!
//! 1. A placeholder without a value, or with one that can't be written, gives no header at all, never half of one.
//! 2. Printable ASCII is written as it is. `%`, a space at either end of a value and every letter beyond ASCII are written
//!    as `%` and two hex digits for each UTF-8 byte (RFC 3986, section 2.1), so that two values never read as one.
//! 3. A control character is never written, in no form (RFC 9110, section 5.5).
//! 4. A name in a list that holds the joiner is left out, so that it never reads as two names.
//! 5. `{claims.team|none}` stands for `none` where the claim has no value.

use std::borrow::Cow;

use serde_json::Value;

use super::field::{Field, Found};
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
    Field { field: Field, default: Option<String> },
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
         {{preferred_username}}, {{name}}, {{groups}}, {{roles}}, and {{claims.…}} for every other claim; {{claims.team|none}} is \
         `none` where there is no such claim"
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
                    pieces.push(Piece::parse(placeholder)?);
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

    /// A template that says this of everyone.
    pub fn plain(text: &str) -> Self {
        Self { pieces: vec![Piece::Text(text.to_owned())] }
    }

    /// What it says of `principal`, the names of a list with `join` between them. `None` when a placeholder has no value
    /// or one that can't be written, or when there would be more than [`MAX_VALUE`] bytes.
    pub fn write(&self, principal: &Principal, join: &str) -> Option<Written> {
        let mut value = String::new();
        let mut left_out = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => value.push_str(text),
                Piece::Field { field, default } => {
                    let (text, dropped) = match (written(field, principal, join), default) {
                        (Some(written), _) => written,
                        (None, Some(default)) => (default.clone(), 0),
                        (None, None) => return None,
                    };
                    left_out += dropped;
                    value.push_str(&text);
                }
            }
            if value.len() > MAX_VALUE {
                return None;
            }
        }
        Some(Written { value, left_out })
    }

    /// What it says of `principal` as JSON: a placeholder that stands alone keeps its kind, a list its items; anything else is a text,
    /// not encoded. `None` when a placeholder has no value.
    pub fn json(&self, principal: &Principal) -> Option<Value> {
        if let [Piece::Field { field, default }] = self.pieces.as_slice() {
            return field.json(principal).or_else(|| default.clone().map(Value::String));
        }
        self.text(principal).map(Value::String)
    }

    /// What it says of `principal` as plain text, not encoded. `None` when a placeholder has no value, or several.
    pub fn text(&self, principal: &Principal) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Field { field, default } => match (field.find(principal), default) {
                    (Some(Found::One(one)), _) => text.push_str(&one),
                    (Some(Found::Many(..)) | None, Some(default)) => text.push_str(default),
                    (Some(Found::Many(..)) | None, None) => return None,
                },
            }
        }
        Some(text)
    }

    /// Whether it has a placeholder for several names.
    pub fn has_list(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Field { field: Field::Groups | Field::Roles, .. }))
    }
}

impl Piece {
    /// What stands between braces: a field, and what stands in its place where it has no value.
    fn parse(placeholder: &str) -> Result<Self, TemplateError> {
        // Within quotes the bar belongs to a claim's name.
        let mut quoted = false;
        let bar = placeholder.bytes().position(|byte| {
            quoted ^= byte == b'"';
            byte == b'|' && !quoted
        });
        let (name, default) = match bar.and_then(|bar| placeholder.split_at_checked(bar)) {
            Some((name, default)) => (name, default.strip_prefix('|').map(str::to_owned)),
            None => (placeholder, None),
        };
        let unknown = || TemplateError::Placeholder { placeholder: placeholder.to_owned() };
        let field = Field::parse(name).ok_or_else(unknown)?;
        if default.as_ref().is_some_and(|default| default.contains('{')) {
            return Err(unknown());
        }
        Ok(Self::Field { field, default })
    }
}

/// A field in a header, and how many of its names were left out; `None` when it has no value that can be written.
fn written(field: &Field, principal: &Principal, join: &str) -> Option<(String, usize)> {
    match field.find(principal)? {
        Found::One(found) => encode(&found).map(|text| (text, 0)),
        Found::Many(names, unwritable) => join_names(&names, join).map(|(list, dropped)| (list, unwritable + dropped)),
    }
}

/// The names with `join` between them, and how many were left out; `None` when none is left.
pub(super) fn join_names(names: &[Cow<'_, str>], join: &str) -> Option<(String, usize)> {
    let fits = |name: &&Cow<'_, str>| !name.is_empty() && !name.contains(join);
    // Encoding may bring the joiner in, were it one of `%0-9A-F`: looked at again, so that no preset can get it wrong.
    let encoded: Vec<String> =
        names.iter().filter(fits).filter_map(|name| encode(name)).filter(|name| !name.contains(join)).collect();
    (!encoded.is_empty()).then(|| (encoded.join(join), names.len() - encoded.len()))
}

/// `value` as rules 2 and 3 say.
pub(super) fn encode(value: &str) -> Option<String> {
    let bytes = value.as_bytes();
    // Counted, since that looks at many bytes at once; most values have none.
    let odd = bytes.iter().filter(|byte| !matches!(byte, b' '..=b'$' | b'&'..=b'~')).count();
    if odd == 0 && bytes.first() != Some(&b' ') && bytes.last() != Some(&b' ') {
        return Some(value.to_owned());
    }
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
            ("{claims.team|none}-{claims.nobody|none}", "red-none"),
            ("{claims.empty|}x", "x"),
            ("{claims.\"a|b\"|c|d}", "c|d"),
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
            ("{|x}", "{claims."),
            ("{sub|{x}", "{claims."),
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
    fn as_json_a_lone_placeholder_keeps_its_kind() {
        let json = |template: &str| Template::parse(template).unwrap().json(&person());
        for (template, expected) in [
            ("{groups}", json!(["staff", "dev ops"])),
            ("{claims.level}", json!(3)),
            ("{claims.staff}", json!(true)),
            ("{claims.address}", json!({"city": "Berlin"})),
            ("{claims.badges}", json!(["x", 7, {"no": 1}, "y"])),
            ("id:{sub}", json!("id:1234")),
            ("{claims.none|nobody}", json!("nobody")),
            ("{email}", json!("alice@example.com")),
        ] {
            assert_eq!(json(template), Some(expected), "{template}");
        }
        for template in ["{claims.none}", "x{claims.none}", "x{groups}", "{claims.nothing}", "{claims.empty}"] {
            assert_eq!(json(template), None, "{template}");
        }
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
