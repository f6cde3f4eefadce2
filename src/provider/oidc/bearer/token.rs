//! What a claim set has to say to be an access token for us, whether a signature or the issuer's own word vouches for it. Pure.
//!
//! Rules, each with a test:
//! 1. `iss` is the issuer, byte for byte; `aud`, a text or a list of texts, has one of the configured ones (RFC 9068, section 4).
//! 2. `exp` is there for a signed token, and is not over; `nbf` and `iat` are not in the future.
//! 3. A token of RFC 9068, by its `typ` or by the config, has `iss`, `exp`, `aud`, `sub`, `client_id`, `iat` and `jti` (section 2.2).
//! 4. Nothing that is recognisably an ID token, a refresh token, a logout token or another event is an access token. Where our own
//!    client is an audience, as it is of every ID token, a token has to show that it is none.
//! 5. A binding (`cnf`) that we can't check can't be met (RFC 7800, section 3.1).

use std::time::Duration;

use serde_json::{Map, Value};

use crate::base::clock::Timestamp;
use crate::identity::vouched::Binding;
use crate::provider::oidc::id_token::{date, subject};

/// Claims that no access token has: those of an ID token (`OpenID` Connect Core 1.0, sections 2 and 3.3.2.11) and of an event (RFC 8417).
const OF_OTHER_KINDS: &[&str] = &["nonce", "at_hash", "c_hash", "s_hash", "events", "toe"];
/// Claims that an access token has, and an ID token has not.
const OF_ACCESS: &[&str] = &["scope", "scp", "client_id", "cid", "appid"];
/// The most scopes that count.
const MOST_SCOPES: usize = 1000;
/// What the principal of a service begins with where the issuer gives it no subject.
const CLIENT: &str = "client:";

/// What a claim set has to say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a [String],
    /// Our own client there, if we have one.
    pub(super) client_id: &'a str,
    pub(super) vouched_by: Vouching,
    pub(super) now: Timestamp,
    pub(super) skew: Duration,
}

/// What vouches for a claim set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouching {
    /// A signature; `strict` for a token of RFC 9068.
    Signature { strict: bool },
    /// The issuer's answer (RFC 7662).
    Issuer,
}

/// What a claim set says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) subject: String,
    pub(super) scopes: Vec<String>,
    pub(super) authenticated: Option<Timestamp>,
    pub(super) expires: Option<Timestamp>,
    pub(super) binding: Binding,
}

/// Checks a claim set. Errors never hold a claim's value.
pub(super) fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<Said, &'static str> {
    let is_signed = expected.vouched_by != Vouching::Issuer;
    match claims.get("iss") {
        Some(issuer) if issuer.as_str() == Some(expected.issuer) => {}
        None if !is_signed => {}
        _ => return Err("the token is of another issuer (iss)"),
    }
    let latest = expected.now.after(expected.skew);
    let expires = date(claims, "exp").map_err(|_| "the token's end can't be read (exp)")?;
    match expires {
        Some(end) if end.after(expected.skew) <= expected.now => return Err("the token has ended (exp)"),
        None if is_signed => return Err("the token has no end (exp)"),
        Some(_) | None => {}
    }
    if date(claims, "nbf").map_err(|_| "the token's begin can't be read (nbf)")?.is_some_and(|begin| begin > latest) {
        return Err("the token is not valid yet (nbf)");
    }
    let issued = date(claims, "iat").map_err(|_| "the token's date can't be read (iat)")?;
    if issued.is_some_and(|issued| issued > latest) {
        return Err("the token was issued in the future (iat)");
    }
    check_kind(claims)?;
    let by_own_client = check_audience(claims, expected)?;
    if by_own_client && is_signed && !OF_ACCESS.iter().any(|name| claims.contains_key(*name)) {
        return Err("the token may be an ID token: it is for our own client, and has neither scope nor client_id");
    }
    if expected.vouched_by == (Vouching::Signature { strict: true }) {
        check_strict(claims)?;
    }
    let authenticated = date(claims, "auth_time").map_err(|_| "the token's auth_time can't be read")?;
    if authenticated.is_some_and(|when| when > latest) {
        return Err("the token has an auth_time in the future");
    }
    Ok(Said {
        subject: who(claims, is_signed)?,
        scopes: scopes(claims),
        authenticated,
        expires,
        binding: binding(claims)?,
    })
}

/// Whether the audience is there; tells whether only our own client's id made it so.
fn check_audience(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<bool, &'static str> {
    const WRONG: &str = "the token is for another audience (aud)";
    let texts: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().map(Value::as_str).collect::<Option<_>>().ok_or(WRONG)?,
        None => return Err("the token says not what it is for (aud)"),
        Some(_) => return Err(WRONG),
    };
    let mut ours = texts.iter().filter(|text| expected.audience.iter().any(|wanted| wanted == *text)).peekable();
    if ours.peek().is_none() {
        return Err(WRONG);
    }
    Ok(ours.all(|text| *text == expected.client_id))
}

/// Tokens of other kinds that the same issuer signs with the same keys (RFC 8725, section 3.11).
fn check_kind(claims: &Map<String, Value>) -> Result<(), &'static str> {
    const OTHER: &str = "the token is of another kind than an access token";
    // Some releases of Keycloak repeat the nonce in access tokens, and say of those what they are.
    let says_bearer = claims.get("typ").and_then(Value::as_str) == Some("Bearer");
    if OF_OTHER_KINDS.iter().any(|name| claims.contains_key(*name) && !(says_bearer && *name == "nonce")) {
        return Err(OTHER);
    }
    // What some providers write in place of a `typ` in the header.
    let names = [("typ", &["bearer", "dpop", "at+jwt", "jwt"][..]), ("token_use", &["access", "access_token"][..])];
    for (name, access) in names.into_iter().chain([("token_type", &["bearer", "dpop", "access_token"][..])]) {
        let fits =
            |value: &Value| value.as_str().is_some_and(|text| access.iter().any(|a| text.eq_ignore_ascii_case(a)));
        if !claims.get(name).is_none_or(|value| value.is_null() || fits(value)) {
            return Err(OTHER);
        }
    }
    Ok(())
}

fn check_strict(claims: &Map<String, Value>) -> Result<(), &'static str> {
    let is_text = |name| claims.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if is_text("client_id") && is_text("jti") && claims.contains_key("iat") {
        Ok(())
    } else {
        Err("the token lacks a claim that RFC 9068 asks for (client_id, iat, jti)")
    }
}

/// The subject. An issuer that is asked may give a service none, which then goes by its client; no subject is taken for one of those.
fn who(claims: &Map<String, Value>, is_signed: bool) -> Result<String, &'static str> {
    const UNFIT: &str = "the token has no subject that can be used (sub)";
    if is_signed || claims.get("sub").is_some_and(|subject| !subject.is_null()) {
        let subject = subject(claims).map_err(|_| UNFIT)?;
        return if is_signed || !subject.starts_with(CLIENT) { Ok(subject.to_owned()) } else { Err(UNFIT) };
    }
    let client = claims.get("client_id").and_then(Value::as_str).ok_or(UNFIT)?;
    let fits = !client.is_empty() && client.len() <= 200 && client.bytes().all(|byte| byte.is_ascii_graphic());
    let is_service = claims.get("username").is_none_or(Value::is_null);
    if fits && is_service { Ok(format!("{CLIENT}{client}")) } else { Err(UNFIT) }
}

/// `scope`, a text with spaces between (RFC 8693, section 4.2), or `scp`, a list or such a text. Another shape has none.
fn scopes(claims: &Map<String, Value>) -> Vec<String> {
    let found: Vec<&str> = match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let clean = |scope: &&str| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
    found.into_iter().filter(clean).take(MOST_SCOPES).map(str::to_owned).collect()
}

fn binding(claims: &Map<String, Value>) -> Result<Binding, &'static str> {
    const UNKNOWN: &str = "the token is bound in a way that can't be checked (cnf)";
    let members = match claims.get("cnf") {
        None => return Ok(Binding::default()),
        Some(Value::Object(members)) if !members.is_empty() => members,
        Some(_) => return Err(UNKNOWN),
    };
    let mut binding = Binding::default();
    for (name, value) in members {
        let text = value.as_str().filter(|text| !text.is_empty()).ok_or(UNKNOWN)?.to_owned();
        match name.as_str() {
            "jkt" => binding.key = Some(text),
            "x5t#S256" => binding.certificate = Some(text),
            _ => return Err(UNKNOWN),
        }
    }
    Ok(binding)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn expected(vouched_by: Vouching, audience: &[String]) -> Expected<'_> {
        let now = Timestamp::from_seconds(NOW);
        let skew = Duration::from_secs(30);
        Expected { issuer: "https://idp.example", audience, client_id: "app", vouched_by, now, skew }
    }

    fn good() -> Value {
        json!({"iss": "https://idp.example", "aud": "api", "sub": "alice", "exp": NOW + 60, "iat": NOW, "jti": "j",
            "client_id": "cli", "scope": "a b"})
    }

    fn judge(claims: &Value, vouched_by: Vouching, audience: &[&str]) -> Result<Said, &'static str> {
        let audience: Vec<String> = audience.iter().map(|text| (*text).to_owned()).collect();
        check(claims.as_object().unwrap(), &expected(vouched_by, &audience))
    }

    const PLAIN: Vouching = Vouching::Signature { strict: false };
    const STRICT: Vouching = Vouching::Signature { strict: true };

    #[test]
    fn a_good_token_says_who_and_what() {
        for vouching in [PLAIN, STRICT, Vouching::Issuer] {
            let said = judge(&good(), vouching, &["other", "api"]).unwrap();
            assert_eq!((said.subject.as_str(), said.scopes), ("alice", vec!["a".to_owned(), "b".to_owned()]));
            assert_eq!(said.binding, Binding::default());
        }
    }

    #[test]
    fn each_rule_refuses_what_breaks_it() {
        for (name, value) in [
            ("iss", json!("https://idp.example/")),
            ("iss", json!(["https://idp.example"])),
            ("iss", json!("https://IDP.example")),
            ("aud", json!("API")),
            ("aud", json!("api ")),
            ("aud", json!("x api")),
            ("aud", json!(["x"])),
            ("aud", json!(["api", 7])),
            ("aud", json!([])),
            ("aud", json!({"api": true})),
            ("aud", Value::Null),
            ("exp", json!(NOW - 30)),
            ("exp", json!("1900000000")),
            ("exp", json!(1e300)),
            ("exp", json!(-1)),
            ("exp", json!(1_900_000_000.5)),
            ("nbf", json!(NOW + 31)),
            ("nbf", json!("now")),
            ("iat", json!(NOW + 31)),
            ("auth_time", json!(NOW + 31)),
            ("sub", json!("")),
            ("sub", json!(["alice"])),
            ("sub", json!(7)),
            ("sub", json!("a\u{0}b")),
            ("nonce", json!("n")),
            ("at_hash", json!("h")),
            ("events", json!({})),
            ("typ", json!("ID")),
            ("typ", json!("Refresh")),
            ("typ", json!("Logout")),
            ("token_use", json!("id")),
            ("token_type", json!("refresh_token")),
            ("cnf", json!({})),
            ("cnf", json!("x")),
            ("cnf", json!({"jwk": {}})),
            ("cnf", json!({"jkt": 7})),
            ("cnf", json!({"jkt": "a", "kid": "b"})),
        ] {
            for vouching in [PLAIN, STRICT, Vouching::Issuer] {
                let mut claims = good();
                claims[name] = value.clone();
                assert!(judge(&claims, vouching, &["api"]).is_err(), "{name}: {value} by {vouching:?}");
            }
        }
        for name in ["iss", "exp", "sub", "aud"] {
            let mut claims = good();
            claims.as_object_mut().unwrap().remove(name);
            assert!(judge(&claims, PLAIN, &["api"]).is_err(), "{name}");
        }
    }

    #[test]
    fn a_token_of_the_profile_has_all_that_it_asks_for() {
        for name in ["client_id", "iat", "jti"] {
            let mut claims = good();
            claims.as_object_mut().unwrap().remove(name);
            assert!(judge(&claims, STRICT, &["api"]).is_err(), "{name}");
            assert!(judge(&claims, PLAIN, &["api"]).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_id_token_is_none_even_where_our_client_is_an_audience() {
        let id_token = json!({"iss": "https://idp.example", "aud": "app", "sub": "alice", "exp": NOW + 60, "iat": NOW, "azp": "app"});
        assert!(judge(&id_token, PLAIN, &["app"]).is_err());
        let mut access = id_token;
        access["scope"] = json!("a");
        assert!(judge(&access, PLAIN, &["app"]).is_ok());
    }

    #[test]
    fn a_service_without_a_subject_goes_by_its_client_and_nobody_else_does() {
        let service = json!({"aud": "api", "client_id": "backup"});
        assert_eq!(judge(&service, Vouching::Issuer, &["api"]).unwrap().subject, "client:backup");
        assert!(judge(&json!({"aud": "api", "sub": "client:backup"}), Vouching::Issuer, &["api"]).is_err());
        assert!(judge(&json!({"aud": "api", "client_id": "c", "username": "u"}), Vouching::Issuer, &["api"]).is_err());
        assert!(judge(&json!({"aud": "api"}), Vouching::Issuer, &["api"]).is_err());
    }

    #[test]
    fn scopes_of_another_shape_are_none() {
        for (value, count) in [
            (json!("a b"), 2),
            (json!(" a  a"), 2),
            (json!(["a", 1, "b c", "d"]), 2),
            (json!({"a": true}), 0),
            (json!(7), 0),
        ] {
            let mut claims = good();
            claims["scope"] = value.clone();
            assert_eq!(judge(&claims, PLAIN, &["api"]).unwrap().scopes.len(), count, "{value}");
        }
    }

    #[test]
    fn bindings_are_read_whole() {
        let mut claims = good();
        claims["cnf"] = json!({"jkt": "k", "x5t#S256": "c"});
        let binding = judge(&claims, PLAIN, &["api"]).unwrap().binding;
        assert_eq!((binding.key.as_deref(), binding.certificate.as_deref()), (Some("k"), Some("c")));
    }
}
