//! The token request, and a look at its answer before anything else gets to see it (RFC 6749, sections 4.1.3 and 5).

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
use crate::config::settings::ProviderSettings;
use crate::http::client::Answer;
use crate::jose::json::parse_object;
use crate::provider::ProviderFault;
use crate::session::flow::Pending;

/// Bound on the answer, in bytes.
const ANSWER_LIMIT: usize = 256 * 1024;
/// The longest access or refresh token that is taken, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// What came for the code. The ID token is not verified yet.
pub(super) struct Redeemed {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    /// Seconds that the access token lasts, if the provider said so.
    pub(super) expires_in: Option<u64>,
    /// What was granted, if the provider said so (RFC 6749, section 5.1).
    pub(super) scopes: Option<Vec<String>>,
    /// As it came, byte for byte.
    pub(super) id_token: String,
}

/// Redeems a code.
pub(super) async fn redeem(
    settings: &ProviderSettings,
    calls: &Calls,
    metadata: &Metadata,
    pending: &Pending,
    code: String,
) -> Result<Redeemed, ProviderFault> {
    let credentials = Credentials::read(settings)?;
    let endpoint = TokenEndpoint { provider: &settings.name, calls, url: &metadata.token };
    library::redeem(settings, metadata, pending, code, credentials, &endpoint).await
}

/// The token endpoint as the library may reach it.
pub(super) struct TokenEndpoint<'a> {
    provider: &'a Arc<str>,
    calls: &'a Calls,
    url: &'a Url,
}

impl TokenEndpoint<'_> {
    /// Sends the form and hands on an answer only if it can be looked at without harm.
    pub(super) async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, ProviderFault> {
        let answer = self.calls.post("the token endpoint", self.url, headers, body, ANSWER_LIMIT).await?;
        if answer.status == StatusCode::OK {
            check(&answer).map_err(|reason| ProviderFault::untrusted(self.provider, reason))?;
        }
        Ok(answer)
    }

    /// The endpoint refused with this `error`. What concerns our own credentials is for the operator to mend.
    pub(super) fn refusal(&self, error: &str) -> ProviderFault {
        match error {
            "invalid_client" | "unauthorized_client" => ProviderFault::misconfigured(
                self.provider,
                format!(
                    "the token endpoint says {error}; check `client_id`, `client_secret` and `client_authentication`"
                ),
            ),
            error => ProviderFault::refused(self.provider, error),
        }
    }

    /// The endpoint's answer makes no sense.
    pub(super) fn nonsense(&self, status: Option<StatusCode>) -> ProviderFault {
        let reason = match status {
            Some(status) => format!("the token endpoint answered {} without an error code", status.as_u16()),
            None => "the token endpoint's answer can't be read".to_owned(),
        };
        ProviderFault::untrusted(self.provider, reason)
    }
}

/// The rules for an answer with tokens. Their characters are checked here, before the library sees them, since it would
/// panic at a header value with control characters.
fn check(answer: &Answer) -> Result<(), String> {
    if !answer.is_of_type("application/json") {
        return Err("the token endpoint's answer is not application/json".to_owned());
    }
    let object = parse_object(&answer.body).map_err(|fault| format!("the token endpoint's answer: {fault}"))?;
    token(&object, "access_token")?.ok_or("the token endpoint gave no access token")?;
    token(&object, "refresh_token")?;
    // The type is compared without regard to case (RFC 6749, section 5.1); one that we don't know can't be used (section 7.1).
    match object.get("token_type") {
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("Bearer") => {}
        _ => return Err("the token endpoint's token type is not Bearer".to_owned()),
    }
    match object.get("expires_in") {
        None | Some(Value::Null) => {}
        Some(seconds) if seconds.as_u64().is_some_and(|seconds| u32::try_from(seconds).is_ok()) => {}
        Some(_) => return Err("the token endpoint's expires_in is no whole number of seconds".to_owned()),
    }
    match object.get("id_token") {
        Some(Value::String(text)) => id_token::check_form(text),
        _ => Err("the token endpoint gave no ID token".to_owned()),
    }
}

/// A token of printable ASCII: VSCHAR (RFC 6749, appendix A.12) less the space, which no bearer token may have (RFC 6750,
/// section 2.1).
fn token<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let fits =
                !text.is_empty() && text.len() <= LONGEST_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
            if fits {
                Ok(Some(text))
            } else {
                Err(format!("its {name} is empty, too long or has characters that no token has"))
            }
        }
        Some(_) => Err(format!("its {name} is no text")),
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

    #[test]
    fn a_good_answer_passes_whatever_the_case_of_its_type() {
        for kind in ["Bearer", "bearer", "BEARER", "bEARER"] {
            let mut body = good();
            body["token_type"] = json!(kind);
            assert_eq!(check(&answer(&body)), Ok(()), "{kind}");
        }
        let mut body = good();
        body.as_object_mut().unwrap().remove("expires_in");
        assert_eq!(check(&answer(&body)), Ok(()));
    }

    #[test]
    fn tokens_with_odd_characters_never_get_further() {
        for name in ["access_token", "refresh_token"] {
            for value in [
                json!("a\r\nX: y"),
                json!("a\u{0}"),
                json!("a b"),
                json!("tökn"),
                json!(""),
                json!("a".repeat(LONGEST_TOKEN + 1)),
                json!(7),
                json!(["a"]),
            ] {
                let mut body = good();
                body[name] = value;
                let reason = check(&answer(&body)).unwrap_err();
                assert!(!reason.contains("X: y"), "{reason}");
            }
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_refused() {
        for (name, value) in [
            ("access_token", Value::Null),
            ("token_type", Value::Null),
            ("token_type", json!("MAC")),
            ("token_type", json!("N_A")),
            ("expires_in", json!("60")),
            ("expires_in", json!(-1)),
            ("expires_in", json!(1.5)),
            ("expires_in", json!(1e300)),
            ("id_token", Value::Null),
            ("id_token", json!({})),
            ("id_token", json!("a.b.c")),
        ] {
            let mut body = good();
            body[name] = value;
            assert!(check(&answer(&body)).is_err(), "{name}: {}", body[name]);
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
