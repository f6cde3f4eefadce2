//! Gives tokens back that nobody needs any more (RFC 7009), without anybody waiting for it.
//!
//! 1. The refresh token first, since with it most providers end all that came of it; then the access token (section 2.1).
//! 2. We prove ourselves as at the token endpoint.
//! 3. A provider that is down is asked twice more, after a second and after five. Then its tokens end when they end.
//! 4. Any answer but a server's error is the end of it: 200 says that the token is gone, or never was (section 2.2).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret as _;
use url::Url;
use url::form_urlencoded::{self, Serializer};

use super::calls::Calls;
use super::client_auth::Credentials;
use crate::config::settings::ProviderSettings;
use crate::jose::json::parse_object;
use crate::provider::ProviderFault;
use crate::session::model::Tokens;

/// Bound on the answer, in bytes. Nothing but an error code is read from it.
const ANSWER_LIMIT: usize = 16 * 1024;
/// The waits before another try.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Gives all of `tokens` back that can be given back. What fails is told in the log, without the tokens.
pub(super) async fn revoke(settings: &ProviderSettings, calls: &Calls, endpoint: &Url, tokens: &Tokens) {
    revoke_with(PAUSES, settings, calls, endpoint, tokens).await;
}

async fn revoke_with(
    pauses: [Duration; 2],
    settings: &ProviderSettings,
    calls: &Calls,
    endpoint: &Url,
    tokens: &Tokens,
) {
    let refresh = tokens.refresh_token.as_ref().map(|token| ("refresh_token", token));
    let access = tokens.access_token.as_ref().map(|token| ("access_token", token));
    for (kind, token) in refresh.into_iter().chain(access) {
        let mut pauses = pauses.into_iter();
        while let Err(fault) = revoke_one(settings, calls, endpoint, kind, token).await {
            match pauses.next() {
                Some(pause) if matches!(fault, ProviderFault::Unavailable { .. }) => tokio::time::sleep(pause).await,
                _ => {
                    tracing::warn!(kind, error = %fault, "a token could not be revoked at a sign-out; it ends when it ends");
                    break;
                }
            }
        }
    }
}

async fn revoke_one(
    settings: &ProviderSettings,
    calls: &Calls,
    endpoint: &Url,
    kind: &str,
    token: &str,
) -> Result<(), ProviderFault> {
    let (headers, body) = request(settings, &Credentials::read(settings)?, kind, token)?;
    let answer = calls.post("the revocation endpoint", endpoint, headers, body.into(), ANSWER_LIMIT).await?;
    if answer.status.is_success() {
        return Ok(());
    }
    let object = parse_object(&answer.body).unwrap_or_default();
    match object.get("error").and_then(serde_json::Value::as_str) {
        // Some providers revoke refresh tokens alone (RFC 7009, section 2.2.1).
        Some("unsupported_token_type") => Ok(()),
        Some(error) => Err(ProviderFault::refused(&settings.name, error)),
        None => {
            let reason = format!("the revocation endpoint answered {}", answer.status.as_u16());
            Err(ProviderFault::untrusted(&settings.name, reason))
        }
    }
}

/// RFC 7009, section 2.1.
fn request(
    settings: &ProviderSettings,
    credentials: &Credentials,
    kind: &str,
    token: &str,
) -> Result<(HeaderMap, String), ProviderFault> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token).append_pair("token_type_hint", kind);
    match credentials {
        Credentials::Basic(secret) => {
            headers.insert(AUTHORIZATION, basic(&settings.name, &settings.client_id, secret.expose_secret())?);
        }
        Credentials::Post(secret) => {
            form.append_pair("client_id", &settings.client_id).append_pair("client_secret", secret.expose_secret());
        }
        Credentials::Public => drop(form.append_pair("client_id", &settings.client_id)),
    }
    Ok((headers, form.finish()))
}

/// Id and secret are form-encoded before they are joined (RFC 6749, section 2.3.1).
fn basic(provider: &Arc<str>, client_id: &str, secret: &str) -> Result<HeaderValue, ProviderFault> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encode(client_id), encode(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|_| ProviderFault::misconfigured(provider, "`client_id` and `client_secret` fit no header"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rig::{Reply, Rig, SECRET};
    use super::*;
    use crate::config::settings::ClientAuthentication;
    use crate::provider::Provider;
    use crate::provider::oidc::rig;

    fn tokens() -> Tokens {
        Tokens {
            access_token: Some("canary-access".to_owned()),
            refresh_token: Some("canary-refresh&=+".to_owned()),
            ..Tokens::default()
        }
    }

    async fn revoke_at(rig: &Rig, provider: &Provider) -> bool {
        let mut document = rig::document(&rig.issuer);
        document["revocation_endpoint"] = json!(format!("{}/revoke", rig.issuer));
        rig.set("/.well-known/openid-configuration", Reply::json(&document));
        rig::begin(provider).await.unwrap();
        match provider.revoke(&tokens()) {
            Some(task) => {
                task.await;
                true
            }
            None => false,
        }
    }

    fn forms(rig: &Rig) -> Vec<Vec<(String, String)>> {
        let parse = |body: &str| form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        rig.seen("/revoke").iter().map(|seen| parse(&seen.body)).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[tokio::test]
    async fn the_refresh_token_goes_first_with_our_own_proof() {
        let rig = Rig::start().await;
        rig.set("/revoke", Reply::new(200, "text/plain", ""));
        assert!(revoke_at(&rig, &rig.provider()).await);
        let expected = [
            vec![pair("token", "canary-refresh&=+"), pair("token_type_hint", "refresh_token")],
            vec![pair("token", "canary-access"), pair("token_type_hint", "access_token")],
        ];
        assert_eq!(forms(&rig), expected);
        for seen in rig.seen("/revoke") {
            let value = seen.headers[AUTHORIZATION].to_str().unwrap().strip_prefix("Basic ").unwrap();
            let text = String::from_utf8(STANDARD.decode(value).unwrap()).unwrap();
            let secret: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
            assert_eq!(text, format!("app:{secret}"));
            assert_eq!(seen.headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
        }
    }

    #[tokio::test]
    async fn other_clients_say_who_they_are_in_the_form() {
        let rig = Rig::start().await;
        rig.set("/revoke", Reply::new(200, "text/plain", ""));
        let mut settings = rig.settings();
        settings.client_authentication = ClientAuthentication::Post;
        assert!(revoke_at(&rig, &rig::provider(settings)).await);
        let posted = forms(&rig).remove(0);
        assert_eq!(posted[2..], [pair("client_id", "app"), pair("client_secret", SECRET)]);
        let mut settings = rig.settings();
        (settings.client_authentication, settings.client_secret) = (ClientAuthentication::None, None);
        assert!(revoke_at(&rig, &rig::provider(settings)).await);
        assert_eq!(forms(&rig).pop().unwrap()[2..], [pair("client_id", "app")]);
    }

    #[tokio::test]
    async fn a_provider_that_refuses_is_not_asked_again_for_that_token() {
        let rig = Rig::start().await;
        let refusal = json!({"error": "unsupported_token_type"}).to_string();
        for reply in [Reply::new(400, "application/json", refusal), Reply::new(404, "text/html", "<p>")] {
            let before = rig.seen("/revoke").len();
            rig.set("/revoke", reply);
            assert!(revoke_at(&rig, &rig.provider()).await);
            assert_eq!(rig.seen("/revoke").len() - before, 2, "each token once");
        }
    }

    #[tokio::test]
    async fn a_provider_that_is_down_is_asked_three_times() {
        let rig = Rig::start().await;
        rig.set("/revoke", Reply::new(503, "text/plain", ""));
        let (settings, issuer) = (rig.settings(), Url::parse(&rig.issuer).unwrap());
        let calls = Calls::new(&settings, &issuer, Arc::default()).unwrap();
        let endpoint = issuer.join("/revoke").unwrap();
        revoke_with([Duration::from_millis(1); 2], &settings, &calls, &endpoint, &tokens()).await;
        assert_eq!(rig.seen("/revoke").len(), 6, "three times for each token");
    }

    #[tokio::test]
    async fn nobody_is_asked_where_there_is_nobody_to_ask() {
        let rig = Rig::start().await;
        let provider = rig.provider();
        assert!(provider.revoke(&tokens()).is_none(), "nothing is known of the provider");
        rig::begin(&provider).await.unwrap();
        assert!(provider.revoke(&tokens()).is_none(), "it has no such endpoint");
        let mut settings = rig.settings();
        settings.revoke_tokens = false;
        assert!(!revoke_at(&rig, &rig::provider(settings)).await, "the operator does not want it");
        let provider = rig.provider();
        rig::begin(&provider).await.unwrap();
        assert!(provider.revoke(&Tokens::default()).is_none(), "there is nothing to give back");
    }
}
