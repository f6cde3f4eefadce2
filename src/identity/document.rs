//! Identity headers that are no plain templates: a JSON object, a list of claims in base64, a header for each claim.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::field::scalar;
use super::headers::Rendered;
use super::principal::Principal;
use super::shape::all_claims;
use super::template::{MAX_VALUE, Template, encode, join_names};

/// The most headers that the claims of one person make, and the most bytes of all of them.
const MOST_CLAIMS: usize = 64;
const MOST_CLAIM_BYTES: usize = 16 * 1024;

/// The most bytes of the list of claims, before base64.
const MOST_PRINCIPAL_BYTES: usize = 12 * 1024;

/// One identity header, or several, made in a way of its own.
#[derive(Clone, Debug)]
pub enum Document {
    /// A JSON object in printable ASCII.
    Json(HeaderName, Vec<(String, Template)>),
    /// The list of claims of Azure App Service.
    Principal(PrincipalList),
    /// A header for each claim.
    Claims(ClaimHeaders),
}

/// `{"auth_typ", "claims": [{"typ", "val"}], "name_typ", "role_typ"}` in JSON and base64.
#[derive(Clone, Debug)]
pub struct PrincipalList {
    /// The header that it goes into.
    pub header: HeaderName,
    /// `auth_typ`.
    pub authentication: Template,
    /// `name_typ`.
    pub name_type: String,
    /// `role_typ`.
    pub role_type: String,
    /// Types and what they tell; claims whose name is not among those templates keep it.
    pub claims: Vec<(String, Template)>,
}

/// A header for each claim.
#[derive(Clone, Debug)]
pub struct ClaimHeaders {
    /// How their names begin.
    pub prefix: String,
    /// How `false` and `true` are written.
    pub truth: [String; 2],
}

impl Document {
    /// The name that it sets, when there is but one.
    pub const fn name(&self) -> Option<&HeaderName> {
        match self {
            Self::Json(header, _) => Some(header),
            Self::Principal(list) => Some(&list.header),
            Self::Claims(_) => None,
        }
    }

    /// Adds what it says of `principal`.
    pub fn render(&self, principal: &Principal, join: &str, rendered: &mut Rendered) {
        match self {
            Self::Json(header, members) => {
                let object: Map<String, Value> = members
                    .iter()
                    .filter_map(|(name, template)| Some((name.clone(), template.json(principal)?)))
                    .collect();
                if !object.is_empty() {
                    put(rendered, header, &ascii(&json!(object).to_string()), MAX_VALUE);
                }
            }
            Self::Principal(list) => list.render(principal, rendered),
            Self::Claims(headers) => headers.render(principal, join, rendered),
        }
    }
}

impl PrincipalList {
    fn render(&self, principal: &Principal, rendered: &mut Rendered) {
        let mut claims = Vec::new();
        let mut add = |kind: &str, value: &Value| match value {
            Value::Array(items) => claims.extend(items.iter().map(|item| json!({"typ": kind, "val": told(item)}))),
            other => claims.push(json!({"typ": kind, "val": told(other)})),
        };
        for (kind, template) in &self.claims {
            if let Some(value) = template.json(principal) {
                add(kind, &value);
            }
        }
        // What a type above tells is not told again under its own name, and an address that nobody verified not at all.
        let own = ["email", "email_verified", "name", "preferred_username", "groups", "roles"];
        for (name, value) in all_claims(principal).iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            add(name, value);
        }
        let Some(authentication) = self.authentication.json(principal) else { return };
        let text = json!({
            "auth_typ": authentication, "claims": claims, "name_typ": self.name_type, "role_typ": self.role_type,
        })
        .to_string();
        if text.len() > MOST_PRINCIPAL_BYTES {
            rendered.left_out += 1;
            return;
        }
        put(rendered, &self.header, &STANDARD.encode(text), usize::MAX);
    }
}

impl ClaimHeaders {
    fn render(&self, principal: &Principal, join: &str, rendered: &mut Rendered) {
        let mut all = all_claims(principal);
        all.insert("sub".to_owned(), Value::from(principal.subject.as_str()));
        all.insert("iss".to_owned(), Value::from(principal.issuer.as_str()));
        let mut found: Vec<(HeaderName, HeaderValue)> = Vec::new();
        let mut twice: Vec<HeaderName> = Vec::new();
        let mut bytes = 0;
        // The two that say who it is come first, so that no crowd of claims leaves them out.
        let (who, others): (Vec<_>, Vec<_>) = all.iter().partition(|(name, _)| ["sub", "iss"].contains(&name.as_str()));
        for (name, value) in who.into_iter().chain(others) {
            let Some((text, dropped)) = self.value(value, join) else { continue };
            rendered.left_out += dropped;
            let Some((name, value)) = self.name(name).zip(HeaderValue::try_from(text).ok()) else {
                rendered.left_out += 1;
                continue;
            };
            // Two claims whose names an upstream could take for one another are both left out, so that neither passes for the other.
            if found.iter().any(|(known, _)| folded(known) == folded(&name)) || twice.contains(&name) {
                twice.push(name);
                continue;
            }
            bytes += name.as_str().len() + value.len();
            if found.len() == MOST_CLAIMS || bytes > MOST_CLAIM_BYTES {
                rendered.left_out += 1;
                break;
            }
            found.push((name, value));
        }
        rendered.left_out += twice.len();
        found.retain(|(name, _)| !twice.iter().any(|other| folded(other) == folded(name)));
        rendered.headers.extend(found);
    }

    /// A claim's header: what can't stand in a name becomes a dash.
    fn name(&self, claim: &str) -> Option<HeaderName> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '-' };
        let name: String = self.prefix.chars().chain(claim.chars().map(plain)).collect();
        HeaderName::try_from(name).ok()
    }

    /// A claim's value, and how many of its items can't be written; `None` when there is nothing to write.
    fn value(&self, value: &Value, join: &str) -> Option<(String, usize)> {
        let [no, yes] = &self.truth;
        let truth = |truth: bool| if truth { yes.clone() } else { no.clone() };
        let (text, dropped) = match value {
            Value::Null => return None,
            Value::Bool(value) => (truth(*value), 0),
            Value::Array(items) => {
                let names: Vec<_> = items
                    .iter()
                    .filter_map(|item| match item {
                        Value::Bool(value) => Some(truth(*value).into()),
                        other => scalar(other),
                    })
                    .collect();
                let (list, dropped) = join_names(&names, join)?;
                (list, dropped + items.len() - names.len())
            }
            Value::Object(_) => (ascii(&value.to_string()), 0),
            other => (encode(&scalar(other)?)?, 0),
        };
        (!text.is_empty() && text.len() <= MAX_VALUE).then_some((text, dropped))
    }
}

/// A value as the list of claims tells it: texts as they are, everything else as JSON.
fn told(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(text.as_str()),
        other => Value::from(other.to_string()),
    }
}

fn put(rendered: &mut Rendered, header: &HeaderName, text: &str, longest: usize) {
    match HeaderValue::from_str(text) {
        Ok(value) if text.len() <= longest => rendered.headers.push((header.clone(), value)),
        _ => rendered.left_out += 1,
    }
}

fn folded(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}

/// JSON text with every character beyond ASCII, and DEL, as an escape (RFC 8259, section 7), which JSON's own writer leaves as they are.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str("\\u");
                let digit = |shift: u32| char::from_digit(u32::from(*unit) >> shift & 0xf, 16).unwrap_or('0');
                out.extend([digit(12), digit(8), digit(4), digit(0)]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::template::tests::person;

    fn claims(change: impl FnOnce(&mut Principal)) -> (Vec<(String, String)>, usize) {
        let mut person = person();
        change(&mut person);
        let mut rendered = Rendered::default();
        let headers = ClaimHeaders { prefix: "OIDC_CLAIM_".to_owned(), truth: ["0".to_owned(), "1".to_owned()] };
        headers.render(&person, ",", &mut rendered);
        let texts = rendered.headers.iter();
        let texts = texts.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        (texts, rendered.left_out)
    }

    fn of<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let name = format!("oidc_claim_{name}");
        headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_claim_has_its_header() {
        let (headers, left_out) = claims(|_| {});
        for (name, value) in [
            ("sub", "1234"),
            ("iss", "https://login.example.com"),
            ("team", "red"),
            ("level", "3"),
            ("staff", "1"),
            ("email_verified", "1"),
            ("groups", "staff,dev ops"),
            ("badges", "x,7,y"),
            ("address", "{\"city\":\"Berlin\"}"),
            ("https---example.com-unit", "{\"name\":\"north\"}"),
        ] {
            assert_eq!(of(&headers, name), Some(value), "{name}");
        }
        assert_eq!((of(&headers, "empty"), of(&headers, "nothing"), left_out), (None, None, 1));
    }

    #[test]
    fn claims_that_would_share_a_header_have_none() {
        let (headers, left_out) = claims(|person| {
            for name in ["a b", "a-b", "A_b", "Sub"] {
                person.claims.insert(name.to_owned(), json!("x"));
            }
        });
        assert!(headers.iter().all(|(_, value)| value != "x"), "{headers:?}");
        assert_eq!(of(&headers, "sub"), None, "who somebody is must not be doubtful");
        assert_eq!(left_out, 4);
    }

    #[test]
    fn a_crowd_of_claims_leaves_room_for_who_it_is() {
        let (headers, left_out) = claims(|person| {
            person.claims.clear();
            for index in 0..1000 {
                person.claims.insert(format!("c{index}"), json!("x".repeat(100)));
            }
        });
        assert_eq!((of(&headers, "sub"), headers.len() <= MOST_CLAIMS), (Some("1234"), true));
        assert!(left_out > 0);
        let (headers, _) = claims(|person| drop(person.claims.insert("evil".to_owned(), json!("a\r\nX: y"))));
        assert_eq!(of(&headers, "evil"), None);
    }

    #[test]
    fn json_is_printable_ascii() {
        let template = |text| Template::parse(text).unwrap();
        let members = vec![("user".to_owned(), template("{name}")), ("none".to_owned(), template("{claims.none}"))];
        let document = Document::Json(HeaderName::from_static("x-u"), members);
        let mut rendered = Rendered::default();
        let person = Principal { name: Some("J\u{f6}rg \"\u{1f600}\"\r\n\u{7f}".to_owned()), ..person() };
        document.render(&person, ",", &mut rendered);
        let text = rendered.headers[0].1.to_str().unwrap();
        assert_eq!(text, r#"{"user":"J\u00f6rg \"\ud83d\ude00\"\r\n\u007f"}"#);
        let back: Value = serde_json::from_str(text).unwrap();
        assert_eq!(back["user"], person.name.unwrap());
    }
}
