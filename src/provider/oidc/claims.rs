//! From claims to a principal: what counts as email, group and role, and which claims are kept.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::userinfo::CLAIMS_LIMIT;
use crate::config::settings::ProviderSettings;
use crate::identity::principal::{Principal, Unclear};

/// The most groups, and the most roles, that a person may have; more are left out.
const MOST_ENTRIES: usize = 1000;

/// Claims about the token rather than the person (`OpenID` Connect Core 1.0, section 2; RFC 7519, section 4.1). They come
/// from the ID token alone and aren't kept. The sources of distributed claims hold access tokens of others (section 5.6.2).
const PROTOCOL: &[&str] = &[
    "_claim_names",
    "_claim_sources",
    "at_hash",
    "aud",
    "auth_time",
    "azp",
    "c_hash",
    "exp",
    "iat",
    "iss",
    "jti",
    "nbf",
    "nonce",
    "s_hash",
    "sid",
    "sub",
];

/// What the ID token says of how the person signed in; `UserInfo` has no say in it.
pub(super) const AUTHENTICATION: &[&str] = &["acr", "amr"];

/// A claim and the one that says whether it was verified: both come from one source or not at all.
const PAIRS: &[(&str, &str)] = &[("email", "email_verified"), ("phone_number", "phone_number_verified")];

/// The claims are larger than [`CLAIMS_LIMIT`] together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// The principal that a verified ID token and, where it was asked, `UserInfo` tell of. The ID token's claims win.
pub(super) fn principal(
    settings: &ProviderSettings,
    subject: &str,
    id_token: Map<String, Value>,
    userinfo: Option<Map<String, Value>>,
    scopes: Vec<String>,
) -> Result<Principal, TooLarge> {
    // A provider that leaves the groups to another source names that source (section 5.6.2): there are more than we know.
    let distributed = |path: &[String]| {
        let elsewhere = id_token.get("_claim_names").and_then(Value::as_object);
        path.first().is_some_and(|name| elsewhere.is_some_and(|names| names.contains_key(name)))
    };
    let mut unclear = Unclear {
        groups: distributed(&settings.groups_claim),
        roles: settings.roles_claims.iter().any(|path| distributed(path)),
    };
    let mut claims = merge(id_token, userinfo.unwrap_or_default());
    for name in PROTOCOL {
        claims.shift_remove(*name);
    }
    let size = serde_json::to_vec(&claims).map_or(usize::MAX, |text| text.len());
    if size > CLAIMS_LIMIT {
        return Err(TooLarge);
    }
    let email = text(&claims, "email");
    let mut roles: Vec<String> = Vec::new();
    for path in &settings.roles_claims {
        let (found, is_whole) = entries(&claims, path);
        unclear.roles |= !is_whole;
        let more: Vec<String> = found.into_iter().filter(|role| !roles.contains(role)).collect();
        roles.extend(more);
    }
    unclear.roles |= roles.len() > MOST_ENTRIES;
    roles.truncate(MOST_ENTRIES);
    let (groups, is_whole) = entries(&claims, &settings.groups_claim);
    unclear.groups |= !is_whole;
    Ok(Principal {
        provider: Arc::clone(&settings.name),
        issuer: settings.issuer.clone(),
        subject: subject.to_owned(),
        // Only the JSON value (`OpenID` Connect Core 1.0, section 5.1): a provider that writes texts may have them from anywhere.
        email_verified: email.is_some() && claims.get("email_verified") == Some(&Value::Bool(true)),
        email,
        preferred_username: text(&claims, "preferred_username"),
        name: text(&claims, "name"),
        groups,
        roles,
        scopes,
        unclear,
        claims,
    })
}

/// Whether the ID token lacks something that the scopes or the config ask for.
pub(super) fn lacks_something(settings: &ProviderSettings, claims: &Map<String, Value>) -> bool {
    let asked = |scope: &str| settings.scopes.iter().any(|asked| asked == scope);
    let no_email = asked("email") && text(claims, "email").is_none();
    let no_name = asked("profile") && text(claims, "name").is_none() && text(claims, "preferred_username").is_none();
    let no_groups = !settings.groups_claim.is_empty() && at(claims, &settings.groups_claim).is_none();
    let no_roles =
        !settings.roles_claims.is_empty() && settings.roles_claims.iter().all(|path| at(claims, path).is_none());
    no_email || no_name || no_groups || no_roles
}

/// Adds what only `UserInfo` has. An address from one source is never joined with the other's word that it was verified.
fn merge(mut id_token: Map<String, Value>, mut userinfo: Map<String, Value>) -> Map<String, Value> {
    for name in PROTOCOL.iter().chain(AUTHENTICATION) {
        userinfo.shift_remove(*name);
    }
    for (value, verified) in PAIRS {
        if !id_token.contains_key(*value) {
            id_token.shift_remove(*verified);
        } else if userinfo.get(*value) != id_token.get(*value) {
            userinfo.shift_remove(*verified);
        }
    }
    for (name, value) in userinfo {
        id_token.entry(name).or_insert(value);
    }
    id_token
}

/// A text without control characters, not empty.
fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name).and_then(Value::as_str).filter(|text| is_clean(text)).map(str::to_owned)
}

fn is_clean(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// The value at a path of names from the outside in.
fn at<'a>(claims: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
}

/// The entries of a list, or the one entry that a text is; any other shape has none. An entry is never split: a comma in a
/// group's name makes no second group. Also tells whether that is all that the claim says.
fn entries(claims: &Map<String, Value>, path: &[String]) -> (Vec<String>, bool) {
    let (listed, is_read): (&[Value], bool) = match at(claims, path) {
        Some(Value::Array(values)) => (values, true),
        Some(value @ Value::String(_)) => (std::slice::from_ref(value), true),
        Some(Value::Null) => (&[], true),
        // Where the way there ends too early, something stands in it that is no table.
        Some(_) => (&[], false),
        None => (&[], at_nothing(claims, path)),
    };
    let clean = listed.iter().filter_map(Value::as_str).filter(|entry| is_clean(entry)).take(MOST_ENTRIES);
    let found: Vec<String> = clean.map(str::to_owned).collect();
    let is_whole = is_read && found.len() == listed.len();
    (found, is_whole)
}

/// Whether nothing at all stands at `path`, rather than something that can't be looked into.
fn at_nothing(claims: &Map<String, Value>, path: &[String]) -> bool {
    let mut inside = Some(claims);
    for name in path {
        let Some(object) = inside else { return false };
        match object.get(name) {
            None | Some(Value::Null) => return true,
            Some(value) => inside = value.as_object(),
        }
    }
    path.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rig::settings;
    use super::*;

    fn build(id_token: &Value, userinfo: Option<&Value>) -> Principal {
        let object = |value: &Value| value.as_object().unwrap().clone();
        principal(&settings("https://idp.example"), "alice", object(id_token), userinfo.map(object), Vec::new())
            .unwrap()
    }

    #[test]
    fn the_principal_has_what_the_claims_say_and_no_protocol_claims() {
        let all = json!({"iss": "x", "sub": "alice", "aud": "app", "exp": 1, "iat": 1, "nbf": 1, "nonce": "n", "at_hash": "h",
            "c_hash": "h", "azp": "app", "auth_time": 1, "sid": "s", "jti": "j", "_claim_sources": {"a": {"access_token": "t"}},
            "acr": "gold", "amr": ["pwd"], "email": "a@b.example", "email_verified": true, "name": "Alice",
            "preferred_username": "alice", "groups": ["g1", "g,2"], "realm_access": {"roles": ["user", "admin"]}, "team": {"a": 1}});
        let who = build(&all, None);
        assert_eq!(
            (who.issuer.as_str(), who.subject.as_str(), &*who.provider),
            ("https://idp.example", "alice", "corp")
        );
        assert_eq!((who.email.as_deref(), who.email_verified), (Some("a@b.example"), true));
        assert_eq!(
            (who.groups, who.roles),
            (vec!["g1".to_owned(), "g,2".to_owned()], vec!["user".to_owned(), "admin".to_owned()])
        );
        for name in PROTOCOL {
            assert!(!who.claims.contains_key(*name), "{name}");
        }
        for name in ["acr", "amr", "team", "groups"] {
            assert!(who.claims.contains_key(name), "{name}");
        }
    }

    #[test]
    fn only_true_verifies_an_email() {
        for (value, expected) in [
            (json!(true), true),
            (json!("true"), false),
            (json!(false), false),
            (json!("false"), false),
            (json!("TRUE"), false),
            (json!("yes"), false),
            (json!(1), false),
            (json!(null), false),
            (json!([true]), false),
        ] {
            assert_eq!(
                build(&json!({"email": "a@b", "email_verified": value}), None).email_verified,
                expected,
                "{value}"
            );
        }
        assert!(!build(&json!({"email": "a@b"}), None).email_verified);
        assert!(!build(&json!({"email_verified": true}), None).email_verified);
        for email in [json!(["a@b"]), json!(1), json!(""), json!("a@b\r\nX: y"), json!("a@b\u{0}")] {
            let who = build(&json!({"email": email, "email_verified": true}), None);
            assert_eq!((who.email, who.email_verified), (None, false), "{email}");
        }
    }

    #[test]
    fn an_address_is_never_joined_with_another_sources_verification() {
        let mixed = build(&json!({"email": "mine@b"}), Some(&json!({"email": "other@b", "email_verified": true})));
        assert_eq!((mixed.email.as_deref(), mixed.email_verified), (Some("mine@b"), false));
        let mixed = build(&json!({"email_verified": true}), Some(&json!({"email": "other@b"})));
        assert_eq!((mixed.email.as_deref(), mixed.email_verified), (Some("other@b"), false));
        let same = build(&json!({"email": "mine@b"}), Some(&json!({"email": "mine@b", "email_verified": true})));
        assert!(same.email_verified);
    }

    #[test]
    fn userinfo_adds_and_never_replaces() {
        let who = build(
            &json!({"name": "Alice", "groups": ["user"]}),
            Some(
                &json!({"sub": "alice", "iss": "https://evil", "name": "Root", "groups": ["admin"], "acr": "gold", "team": "x"}),
            ),
        );
        assert_eq!((who.name.as_deref(), who.groups), (Some("Alice"), vec!["user".to_owned()]));
        assert_eq!(who.issuer, "https://idp.example");
        assert!(who.claims.get("acr").is_none() && who.claims["team"] == "x");
    }

    #[test]
    fn odd_shapes_of_groups_give_no_groups() {
        let groups = |value: Value| build(&json!({"groups": value}), None).groups;
        assert_eq!(groups(json!("one,two")), ["one,two"]);
        assert_eq!(groups(json!(["a", 1, null, ["b"], {"c": 1}, "", "d\n", "e\u{7f}", "f"])), ["a", "f"]);
        for odd in [json!({"admin": true}), json!(true), json!(7), json!(null)] {
            assert!(groups(odd.clone()).is_empty(), "{odd}");
        }
        assert_eq!(groups(json!(vec!["g"; 5000])).len(), MOST_ENTRIES);
        assert!(build(&json!({"realm_access": ["roles"]}), None).roles.is_empty());
    }

    #[test]
    fn lists_that_may_lack_something_are_marked() {
        let unclear = |claims: Value| {
            let unclear = build(&claims, None).unclear;
            (unclear.groups, unclear.roles)
        };
        for whole in [
            json!({}),
            json!({"groups": null, "roles": null}),
            json!({"groups": ["a"], "roles": "b"}),
            json!({"groups": [], "realm_access": {}}),
        ] {
            assert_eq!(unclear(whole.clone()), (false, false), "{whole}");
        }
        for (odd, expected) in [
            (json!({"groups": {"banned": true}}), (true, false)),
            (json!({"groups": ["a", 1]}), (true, false)),
            (json!({"groups": "a\n"}), (true, false)),
            (json!({"groups": vec!["g"; 1001]}), (true, false)),
            (json!({"_claim_names": {"groups": "src1"}}), (true, false)),
            (json!({"roles": 7}), (false, true)),
            (json!({"realm_access": ["roles"]}), (false, true)),
            (json!({"realm_access": {"roles": [["a"]]}}), (false, true)),
        ] {
            assert_eq!(unclear(odd.clone()), expected, "{odd}");
        }
    }

    #[test]
    fn claims_are_bounded_together() {
        let half = json!({"a": "x".repeat(CLAIMS_LIMIT / 2)});
        let other = json!({"b": "x".repeat(CLAIMS_LIMIT / 2)});
        let object = |value: &Value| value.as_object().unwrap().clone();
        let settings = settings("https://idp.example");
        assert!(principal(&settings, "alice", object(&half), None, Vec::new()).is_ok());
        assert_eq!(principal(&settings, "alice", object(&half), Some(object(&other)), Vec::new()), Err(TooLarge));
    }
}
