//! Tokens for upstreams: exchange, refresh for a resource, client credentials. What may be taken of the answer `token::grant` says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::calls::Calls;
use super::client_auth::Credentials;
use super::discovery::Metadata;
use crate::base::clock::Clock;
use crate::config::settings::ProviderSettings;
use crate::http::client::Answer;
use crate::jose::json::parse_object;
use crate::provider::ProviderFault;
use crate::token::grant::{Fetched, Grant};

/// Bound on the answer, in bytes.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Asks the token endpoint.
pub(super) async fn ask(
    settings: &ProviderSettings,
    calls: &Calls,
    metadata: &Metadata,
    grant: &Grant,
    clock: &Clock,
) -> Result<Fetched, ProviderFault> {
    let (headers, body) = request(settings, &Credentials::read(settings)?, grant)?;
    let asked = clock.now();
    let answer = calls.post("the token endpoint", &metadata.token, headers, body.into(), ANSWER_LIMIT).await?;
    let untrusted = |reason: String| ProviderFault::untrusted(&settings.name, reason);
    if answer.status != StatusCode::OK {
        return Err(refusal(settings, &answer));
    }
    if !answer.is_of_type("application/json") {
        return Err(untrusted("the token endpoint's answer is not application/json".to_owned()));
    }
    let object =
        parse_object(&answer.body).map_err(|fault| untrusted(format!("the token endpoint's answer: {fault}")))?;
    // Its life is counted from when it was asked for, so that it never seems longer than it is.
    grant
        .take(&object, asked)
        .map_err(|reason| untrusted(format!("the token endpoint's answer to {}: {reason}", grant.name())))
}

/// The form, and who sends it (RFC 6749, section 2.3.1).
fn request(
    settings: &ProviderSettings,
    credentials: &Credentials,
    grant: &Grant,
) -> Result<(HeaderMap, String), ProviderFault> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut form = Serializer::new(String::new());
    form.extend_pairs(grant.form());
    if let Some(scope) = grant.scope() {
        form.append_pair("scope", &scope);
    }
    match credentials {
        Credentials::Basic(secret) => {
            headers.insert(AUTHORIZATION, basic(settings, secret.expose_secret())?);
        }
        Credentials::Post(secret) => {
            form.append_pair("client_id", &settings.client_id).append_pair("client_secret", secret.expose_secret());
        }
        Credentials::Public => drop(form.append_pair("client_id", &settings.client_id)),
    }
    Ok((headers, form.finish()))
}

/// Id and secret are form-encoded before they are joined.
fn basic(settings: &ProviderSettings, secret: &str) -> Result<HeaderValue, ProviderFault> {
    let encode = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
    let joined = Zeroizing::new(format!("{}:{}", *encode(&settings.client_id), *encode(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(joined.as_bytes())))
        .map_err(|_| ProviderFault::misconfigured(&settings.name, "`client_id` and `client_secret` fit no header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The endpoint's own error (RFC 6749, section 5.2). What concerns our credentials, or what was configured to be asked for, is the
/// operator's to mend.
fn refusal(settings: &ProviderSettings, answer: &Answer) -> ProviderFault {
    let object = parse_object(&answer.body).unwrap_or_default();
    match object.get("error").and_then(Value::as_str) {
        Some(
            error @ ("invalid_client"
            | "unauthorized_client"
            | "unsupported_grant_type"
            | "invalid_target"
            | "invalid_scope"),
        ) => ProviderFault::misconfigured(
            &settings.name,
            format!(
                "the token endpoint says {error}; check the client there, and what the upstream's `token` asks for"
            ),
        ),
        Some(error) => ProviderFault::refused(&settings.name, error),
        None => {
            let reason = format!("the token endpoint answered {} without an error code", answer.status.as_u16());
            ProviderFault::untrusted(&settings.name, reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rig::{ACCESS_TOKEN, NOW, Reply, Rig, SECRET, provider};
    use super::*;
    use crate::config::settings::{ClientAuthentication, Target};

    fn grant() -> Grant {
        Grant::ClientCredentials(Target {
            audience: vec!["a b&c".to_owned()],
            resource: Vec::new(),
            scopes: vec!["r".to_owned(), "w".to_owned()],
        })
    }

    fn good() -> Reply {
        Reply::json(&json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 60}))
    }

    #[tokio::test]
    async fn the_endpoint_is_asked_as_the_client_proves_itself_there() {
        let rig = Rig::start().await;
        rig.set("/token", good());
        for (authentication, in_header, in_form) in [
            (ClientAuthentication::Basic, true, ""),
            (ClientAuthentication::Post, false, "&client_id=app&client_secret=canary+secret%26%3D%2B%25%2F%C3%BC"),
            (ClientAuthentication::None, false, "&client_id=app"),
        ] {
            let mut settings = rig.settings();
            settings.client_authentication = authentication;
            let fetched = provider(settings).grant(&grant()).await.unwrap();
            assert_eq!(fetched.kept().value, format!("Bearer {ACCESS_TOKEN}"));
            assert_eq!(fetched.ends().seconds(), NOW + 60);
            let seen = rig.seen("/token").pop().unwrap();
            assert_eq!(seen.body, format!("grant_type=client_credentials&audience=a+b%26c&scope=r+w{in_form}"));
            let sent = seen.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
            let pair = STANDARD.encode("app:canary+secret%26%3D%2B%25%2F%C3%BC");
            assert_eq!(sent, in_header.then(|| format!("Basic {pair}")));
        }
    }

    #[tokio::test]
    async fn every_refusal_has_its_kind_and_none_a_secret() {
        let rig = Rig::start().await;
        let provider = rig.provider();
        let error = |name: &str| {
            Reply::new(400, "application/json", json!({"error": name, "error_description": SECRET}).to_string())
        };
        for (reply, expected) in [
            (error("invalid_target"), "invalid_target; check"),
            (error("invalid_client"), "invalid_client; check"),
            (error("interaction_required"), "refused: interaction_required"),
            (Reply::new(400, "text/html", "no"), "answered 400 without"),
            (Reply::new(500, "text/html", "no"), "answered 500"),
            (Reply::new(200, "text/html", "{}"), "is not application/json"),
            (Reply::json(&json!({"access_token": ACCESS_TOKEN, "token_type": "DPoP"})), "token_type is not Bearer"),
            (
                Reply::new(200, "application/json", "{\"access_token\":\"a\",\"access_token\":\"b\"}"),
                "the token endpoint's answer",
            ),
        ] {
            rig.set("/token", reply);
            let told = provider.grant(&grant()).await.unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("canary"), "{told}");
        }
    }
}
