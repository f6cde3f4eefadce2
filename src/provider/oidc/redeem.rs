//! The token request, and a look at its answer before anything else gets to see it (RFC 6749, sections 4.1.3 and 5).
//!
//! 1. What goes on is what was looked at, and nothing else of the answer.
//! 2. A token is text of usual characters; the type is Bearer. What breaks that is refused.
//! 3. Nobody is turned away over how a provider says something that could as well be missing: a life in digits or in nonsense, a refresh
//!    token or an ID token that is an empty text, scopes in a list.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use super::calls::Calls;
use super::client_auth::Credentials;
use super::discovery::Metadata;
use super::id_token;
use super::library;
use crate::base::clock::Timestamp;
use crate::config::settings::ProviderSettings;
use crate::http::client::Answer;
use crate::jose::json::parse_object;
use crate::provider::ProviderFault;
use crate::session::flow::Pending;
use crate::session::model::Granted;
use crate::token::life::told_life;
use crate::token::text::{optional_token_text, token_text};

/// Bound on the answer, in bytes.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Why a token request gave nothing.
#[derive(Debug)]
pub(super) enum TokenFault {
    /// No tokens came.
    Call(ProviderFault),
    /// The endpoint refused with this error code (RFC 6749, section 5.2).
    Refused(String),
    /// Tokens came, with an ID token that is none.
    IdToken(ProviderFault),
}

/// Redeems a code. What comes is not verified yet, but has an ID token.
pub(super) async fn redeem(
    settings: &ProviderSettings,
    calls: &Calls,
    metadata: &Metadata,
    pending: &Pending,
    code: String,
    asked: Timestamp,
) -> Result<Granted, ProviderFault> {
    let endpoint = TokenEndpoint { provider: &settings.name, calls, url: &metadata.token, needs_id_token: true, asked };
    let credentials = Credentials::read(settings)?;
    let granted = library::redeem(settings, metadata, pending, code, credentials, &endpoint).await;
    granted.map_err(|fault| endpoint.as_provider_fault(fault))
}

/// Sends a refresh token. What comes is not verified yet, and may have no ID token (`OpenID` Connect Core 1.0, section 12.2).
pub(super) async fn refresh(
    settings: &ProviderSettings,
    calls: &Calls,
    metadata: &Metadata,
    refresh_token: &str,
    asked: Timestamp,
) -> Result<Granted, TokenFault> {
    let endpoint =
        TokenEndpoint { provider: &settings.name, calls, url: &metadata.token, needs_id_token: false, asked };
    let credentials = Credentials::read(settings).map_err(TokenFault::Call)?;
    library::refresh(settings, metadata, refresh_token, credentials, &endpoint).await
}

/// The fault that an error code of the token endpoint is. What concerns our own credentials is for the operator to mend.
pub(super) fn refusal(provider: &Arc<str>, error: &str) -> ProviderFault {
    match error {
        "invalid_client" | "unauthorized_client" => ProviderFault::misconfigured(
            provider,
            format!("the token endpoint says {error}; check `client_id`, `client_secret` and `client_authentication`"),
        ),
        error => ProviderFault::refused(provider, error),
    }
}

/// The token endpoint as the library may reach it.
pub(super) struct TokenEndpoint<'a> {
    provider: &'a Arc<str>,
    calls: &'a Calls,
    url: &'a Url,
    needs_id_token: bool,
    pub(super) asked: Timestamp,
}

impl TokenEndpoint<'_> {
    /// Sends the form and hands on an answer only if it can be looked at without harm.
    pub(super) async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, TokenFault> {
        let answer = self.calls.post("the token endpoint", self.url, headers, body, ANSWER_LIMIT).await;
        let mut answer = answer.map_err(TokenFault::Call)?;
        if answer.status == StatusCode::OK {
            let untrusted = |reason| ProviderFault::untrusted(self.provider, reason);
            let object = check(&answer).map_err(|reason| TokenFault::Call(untrusted(reason)))?;
            check_id_token(&object, self.needs_id_token).map_err(|reason| TokenFault::IdToken(untrusted(reason)))?;
            answer.body = Value::Object(object).to_string().into();
        }
        Ok(answer)
    }

    fn as_provider_fault(&self, fault: TokenFault) -> ProviderFault {
        match fault {
            TokenFault::Call(fault) | TokenFault::IdToken(fault) => fault,
            TokenFault::Refused(error) => refusal(self.provider, &error),
        }
    }

    /// The endpoint's answer makes no sense.
    pub(super) fn nonsense(&self, status: Option<StatusCode>) -> TokenFault {
        let reason = match status {
            Some(status) => format!("the token endpoint answered {} without an error code", status.as_u16()),
            None => "the token endpoint's answer can't be read".to_owned(),
        };
        TokenFault::Call(ProviderFault::untrusted(self.provider, reason))
    }
}

/// What an answer with tokens says, by the rules, in the words of RFC 6749. Its characters are checked here, before the library sees them,
/// since it would panic at a header value with control characters.
fn check(answer: &Answer) -> Result<Map<String, Value>, String> {
    if !answer.is_of_type("application/json") {
        return Err("the token endpoint's answer is not application/json".to_owned());
    }
    let object = parse_object(&answer.body).map_err(|fault| format!("the token endpoint's answer: {fault}"))?;
    let access_token = token_text(&object, "access_token")?.ok_or("the token endpoint gave no access token")?;
    // The type is compared without regard to case (RFC 6749, section 5.1); one that we don't know can't be used (section 7.1).
    match object.get("token_type") {
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("Bearer") => {}
        _ => return Err("the token endpoint's token type is not Bearer".to_owned()),
    }
    let said = [
        ("access_token", Some(Value::from(access_token))),
        ("token_type", Some(Value::from("Bearer"))),
        ("refresh_token", optional_token_text(&object, "refresh_token")?.map(Value::from)),
        // A token that ends as it is given would be of no use to anyone: the provider must mean something else.
        ("expires_in", told_life(&object).filter(|seconds| *seconds > 0).map(Value::from)),
        ("scope", scope(&object).map(Value::from)),
        ("id_token", object.get("id_token").filter(|value| !value.is_null() && *value != "").cloned()),
    ];
    Ok(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

/// The scopes as one text; `None` leaves them as they were asked for (RFC 6749, section 5.1).
fn scope(object: &Map<String, Value>) -> Option<String> {
    match object.get("scope")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(all) => all.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|all| all.join(" ")),
        _ => None,
    }
}

fn check_id_token(object: &Map<String, Value>, is_needed: bool) -> Result<(), String> {
    match object.get("id_token") {
        Some(Value::String(text)) => id_token::check_form(text),
        None if !is_needed => Ok(()),
        _ => Err("the token endpoint gave no ID token".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::super::rig;
    use super::*;

    fn answer(body: &Value) -> Answer {
        Answer {
            status: StatusCode::OK,
            content_type: Some(HeaderValue::from_static("application/json")),
            body: body.to_string().into(),
        }
    }

    fn good() -> Value {
        json!({"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": rig::id_token(&rig::claims())})
    }

    /// As for an answer to a code.
    fn whole_check(body: &Value) -> Result<(), String> {
        check_id_token(&check(&answer(body))?, true)
    }

    #[test]
    fn a_refresh_may_come_without_an_id_token_but_not_with_a_broken_one() {
        let with = |id_token: Value| {
            let mut body = good();
            body["id_token"] = id_token;
            check(&answer(&body)).unwrap()
        };
        for none in [Value::Null, json!("")] {
            let object = with(none);
            assert_eq!(check_id_token(&object, false), Ok(()));
            assert!(check_id_token(&object, true).is_err());
        }
        for broken in [json!("a.b.c"), json!(" "), json!(7), json!({}), json!([])] {
            assert!(check_id_token(&with(broken), false).is_err());
        }
    }

    #[test]
    fn what_could_as_well_be_missing_is_taken_in_any_form() {
        let said = |name: &str, value: Value| {
            let mut body = good();
            body[name] = value;
            check(&answer(&body)).unwrap().get(name).cloned()
        };
        for (told, counts) in [
            (json!(60), Some(60)),
            (json!("3600"), Some(3_600)),
            (json!(u64::MAX), Some(u64::from(u32::MAX))),
            (json!(0), None),
            (json!(-1), None),
            (json!("soon"), None),
            (json!(["60"]), None),
            (Value::Null, None),
        ] {
            assert_eq!(said("expires_in", told.clone()), counts.map(Value::from), "{told}");
        }
        assert_eq!(said("refresh_token", json!("rt")), Some(json!("rt")));
        assert_eq!(said("refresh_token", json!("")), None);
        assert_eq!(said("scope", json!("openid email")), Some(json!("openid email")));
        assert_eq!(said("scope", json!(["openid", "email"])), Some(json!("openid email")));
        assert_eq!(said("scope", json!([])), Some(json!("")));
        for odd in [json!(7), json!([7]), Value::Null] {
            assert_eq!(said("scope", odd), None);
        }
        assert_eq!(said("unknown", json!({"x": [1]})), None);
    }

    #[test]
    fn a_good_answer_passes_whatever_the_case_of_its_type() {
        for kind in ["Bearer", "bearer", "BEARER", "bEARER"] {
            let mut body = good();
            body["token_type"] = json!(kind);
            assert_eq!(whole_check(&body), Ok(()), "{kind}");
        }
        let mut body = good();
        body.as_object_mut().unwrap().remove("expires_in");
        assert_eq!(whole_check(&body), Ok(()));
    }

    #[test]
    fn tokens_with_odd_characters_never_get_further() {
        for name in ["access_token", "refresh_token"] {
            for value in [
                json!("a\r\nX: y"),
                json!("a\u{0}"),
                json!("a b"),
                json!("tökn"),
                json!("a".repeat(20_000)),
                json!(7),
                json!(["a"]),
            ] {
                let mut body = good();
                body[name] = value;
                let reason = whole_check(&body).unwrap_err();
                assert!(!reason.contains("X: y"), "{reason}");
            }
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_refused() {
        for (name, value) in [
            ("access_token", Value::Null),
            ("access_token", json!("")),
            ("token_type", Value::Null),
            ("token_type", json!("MAC")),
            ("token_type", json!("N_A")),
            ("id_token", Value::Null),
            ("id_token", json!({})),
            ("id_token", json!("a.b.c")),
        ] {
            let mut body = good();
            body[name] = value;
            assert!(whole_check(&body).is_err(), "{name}: {}", body[name]);
        }
        let twice = good().to_string().replacen('{', r#"{"access_token":"other","#, 1);
        let mut doubled = answer(&good());
        doubled.body = twice.into();
        assert!(check(&doubled).is_err());
        let mut html = answer(&good());
        html.content_type = Some(HeaderValue::from_static("text/html"));
        assert!(check(&html).is_err());
    }
}
