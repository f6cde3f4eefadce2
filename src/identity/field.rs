//! What a placeholder such as `{claims.team}` stands for, and where its value is.

use std::borrow::Cow;

use serde_json::Value;

use super::principal::Principal;

/// One thing that is known of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// `{sub}`.
    Subject,
    /// `{iss}`.
    Issuer,
    /// `{provider}`: its name in our config.
    Provider,
    /// `{email}`, verified or not.
    Email,
    /// `{verified_email}`: absent when the provider did not verify it.
    VerifiedEmail,
    /// `{email_verified}`.
    EmailVerified,
    /// `{preferred_username}`.
    PreferredUsername,
    /// `{name}`.
    Name,
    /// `{groups}`.
    Groups,
    /// `{roles}`.
    Roles,
    /// `{claims.…}`: the names from the outside in.
    Claim(Vec<String>),
}

/// The value of a field as text.
pub enum Found<'a> {
    /// One text; never empty.
    One(Cow<'a, str>),
    /// Several, and how many more there are that are no texts.
    Many(Vec<Cow<'a, str>>, usize),
}

impl Field {
    /// The field of this name; `None` when there is none. A claim's name that holds a dot is quoted:
    /// `claims."https://example.com/team".name`.
    pub fn parse(name: &str) -> Option<Self> {
        // The claims that have a field of their own are not kept among the others.
        match name.strip_prefix("claims.").unwrap_or(name) {
            "sub" => return Some(Self::Subject),
            "iss" => return Some(Self::Issuer),
            "email" => return Some(Self::Email),
            "preferred_username" => return Some(Self::PreferredUsername),
            "name" => return Some(Self::Name),
            _ => {}
        }
        match name {
            "provider" => Some(Self::Provider),
            "verified_email" => Some(Self::VerifiedEmail),
            "email_verified" | "claims.email_verified" => Some(Self::EmailVerified),
            "groups" => Some(Self::Groups),
            "roles" => Some(Self::Roles),
            _ => name.strip_prefix("claims.").and_then(claim_path).map(Self::Claim),
        }
    }

    /// The field that an assertion's claim of this name tells: one of ours, else the provider's claim of that very name.
    pub fn of_claim(name: &str) -> Self {
        match name {
            "groups" => Self::Groups,
            "roles" => Self::Roles,
            "provider" => Self::Provider,
            "email_verified" => Self::EmailVerified,
            "sub" => Self::Subject,
            "email" => Self::Email,
            "preferred_username" => Self::PreferredUsername,
            "name" => Self::Name,
            other => Self::Claim(vec![other.to_owned()]),
        }
    }

    /// Its value as text; `None` when there is none.
    pub fn find<'a>(&self, principal: &'a Principal) -> Option<Found<'a>> {
        let many = |names: &'a [String]| {
            let names = names.iter().map(|name| Cow::Borrowed(name.as_str())).collect();
            Some(Found::Many(names, 0))
        };
        match self {
            Self::Groups => many(&principal.groups),
            Self::Roles => many(&principal.roles),
            Self::EmailVerified => {
                principal.email.as_ref()?;
                Some(Found::One(Cow::Borrowed(if principal.email_verified { "true" } else { "false" })))
            }
            Self::Claim(path) => find_claim(principal, path),
            _ => self.text(principal).map(|text| Found::One(Cow::Borrowed(text))),
        }
    }

    /// Its value as it is; `None` when there is none, or nothing in it.
    pub fn json(&self, principal: &Principal) -> Option<Value> {
        let list = |names: &[String]| (!names.is_empty()).then(|| Value::from(names));
        match self {
            Self::Groups => list(&principal.groups),
            Self::Roles => list(&principal.roles),
            Self::EmailVerified => principal.email.as_ref().map(|_| Value::Bool(principal.email_verified)),
            Self::Claim(path) => {
                let value = claim(principal, path)?;
                let is_nothing = value.is_null() || value.as_str().is_some_and(str::is_empty);
                (!is_nothing).then(|| value.clone())
            }
            _ => self.text(principal).map(Value::from),
        }
    }

    fn text<'a>(&self, principal: &'a Principal) -> Option<&'a str> {
        let text = match self {
            Self::Subject => Some(principal.subject.as_str()),
            Self::Issuer => Some(principal.issuer.as_str()),
            Self::Provider => Some(&*principal.provider),
            Self::Email => principal.email.as_deref(),
            Self::VerifiedEmail => principal.email.as_deref().filter(|_| principal.email_verified),
            Self::PreferredUsername => principal.preferred_username.as_deref(),
            Self::Name => principal.name.as_deref(),
            Self::EmailVerified | Self::Groups | Self::Roles | Self::Claim(_) => None,
        };
        text.filter(|text| !text.is_empty())
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

fn claim<'a>(principal: &'a Principal, path: &[String]) -> Option<&'a Value> {
    let (first, inner) = path.split_first()?;
    inner.iter().try_fold(principal.claims.get(first)?, |value, name| value.as_object()?.get(name))
}

fn find_claim<'a>(principal: &'a Principal, path: &[String]) -> Option<Found<'a>> {
    match claim(principal, path)? {
        Value::Array(values) => {
            let names: Vec<_> = values.iter().filter_map(scalar).collect();
            let unwritable = values.len() - names.len();
            Some(Found::Many(names, unwritable))
        }
        other => scalar(other).filter(|text| !text.is_empty()).map(Found::One),
    }
}

/// Texts, numbers and truth values as text; objects, lists in lists and null have none.
pub(super) fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
