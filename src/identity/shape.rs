//! The shape of a signed token about somebody, as data: which claims it has, and how issuer and audience are called.

use std::time::Duration;

use http::HeaderName;
use serde_json::{Map, Value};

use super::principal::Principal;
use super::template::{Template, TemplateError};
use crate::jose::algorithm::Algorithm;
use crate::jose::signing::Padding;

/// What an assertion looks like.
#[derive(Clone, Debug)]
pub struct AssertionShape {
    /// The header that it goes into.
    pub header: HeaderName,
    /// Whether an upstream with this preset gets it without asking.
    pub always: bool,
    /// The algorithm that its applications expect; that of the first signing key when absent.
    pub algorithm: Option<Algorithm>,
    /// How long it lasts.
    pub lifetime: Duration,
    /// How its parts are written.
    pub padding: Padding,
    /// Who it is from, unless the upstream's settings say otherwise.
    pub issuer: Named,
    /// Who it is for, unless the upstream's settings say otherwise.
    pub audience: Named,
    /// Further members of its header.
    pub jose: Vec<(String, Said)>,
    /// Its claims.
    pub claims: Vec<(String, Said)>,
    /// Which of the person's claims it has besides.
    pub further: Further,
}

/// Which claims of the person an assertion has besides those of its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Further {
    /// Those of these names, where they are known; the upstream's settings may name others.
    Listed(Vec<String>),
    /// Every one.
    All,
}

/// How an issuer or an audience is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The gateway's public URL, without a slash at its end.
    PublicUrl,
    /// The host and port that the visitor asked for.
    Host,
    /// The upstream: its URL, or its name where it has none or several.
    Upstream,
    /// What this says of the person, or the same of everyone.
    Of(Template),
}

/// The value of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The issuer.
    Issuer,
    /// The audience: a text when there is one, a list when there are several (RFC 7519, section 4.1.3).
    Audience,
    /// The audiences, always as a list.
    Audiences,
    /// A random name that no other assertion has.
    Id,
    /// When it was made.
    Issued,
    /// When it ends.
    Expires,
    /// An opaque name of the session; absent for a caller without one.
    Session,
    /// Our client id at the provider of the person.
    Client,
    /// Who signs, as the upstream's settings call it.
    Signer,
    /// What is known of the person.
    Of(Template),
}

impl Named {
    /// Reads it as the data writes it.
    ///
    /// # Errors
    /// When it is no template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(match text {
            "{public_url}" => Self::PublicUrl,
            "{host}" => Self::Host,
            "{upstream}" => Self::Upstream,
            other => Self::Of(Template::parse(other)?),
        })
    }
}

impl Said {
    /// Reads it as the data writes it.
    ///
    /// # Errors
    /// When it is no template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(match text {
            "{issuer}" => Self::Issuer,
            "{audience}" => Self::Audience,
            "{audiences}" => Self::Audiences,
            "{id}" => Self::Id,
            "{issued}" => Self::Issued,
            "{expires}" => Self::Expires,
            "{session}" => Self::Session,
            "{client}" => Self::Client,
            "{signer}" => Self::Signer,
            other => Self::Of(Template::parse(other)?),
        })
    }
}

/// Every claim that is known of somebody. What has a field of its own comes from there, since it was looked at more closely.
pub fn all_claims(principal: &Principal) -> Map<String, Value> {
    let mut all = principal.claims.clone();
    let put = |all: &mut Map<String, Value>, name: &str, value: Option<Value>| match value {
        Some(value) => drop(all.insert(name.to_owned(), value)),
        None => drop(all.shift_remove(name)),
    };
    put(&mut all, "email", principal.email.clone().map(Value::from));
    put(&mut all, "email_verified", principal.email.as_ref().map(|_| Value::from(principal.email_verified)));
    put(&mut all, "preferred_username", principal.preferred_username.clone().map(Value::from));
    put(&mut all, "name", principal.name.clone().map(Value::from));
    for (name, list) in [("groups", &principal.groups), ("roles", &principal.roles)] {
        if !all.contains_key(name) && !list.is_empty() {
            all.insert(name.to_owned(), Value::from(list.as_slice()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::template::tests::person;

    #[test]
    fn what_has_a_field_is_told_as_the_field_knows_it() {
        let mut person = person();
        person.claims.insert("email".to_owned(), Value::from("evil\r\n@example.com"));
        person.claims.insert("email_verified".to_owned(), Value::from("true"));
        let all = all_claims(&person);
        assert_eq!(all["email"], "alice@example.com");
        assert_eq!(all["email_verified"], true);
        assert_eq!(all["groups"][1], "dev ops");
        assert_eq!(all["team"], "red");
        person.email = None;
        person.name = None;
        let all = all_claims(&person);
        assert!(!all.contains_key("email") && !all.contains_key("email_verified") && !all.contains_key("name"));
    }
}
