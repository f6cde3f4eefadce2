//! The token endpoint: redeems codes and refresh tokens; and the revocation endpoint.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::{HeaderValue, PRAGMA};
use serde_json::json;

use crate::base::random;
use crate::demo::answer::{Answer, json, text};
use crate::demo::form::Repeated;
use crate::demo::provider::State;
use crate::demo::provider::client_auth::{TokenError, authenticate};
use crate::demo::provider::guard;
use crate::demo::provider::id_token;
use crate::demo::provider::misbehaviour::Misbehaviour;
use crate::demo::provider::options::Client;
use crate::demo::provider::route::Asked;
use crate::demo::provider::store::Grant;
use crate::demo::provider::upstream_tokens;

/// `/token`.
pub(crate) async fn token(state: &Arc<State>, asked: &Asked) -> Answer {
    let refusals = state.control.take(|fault| match fault {
        Misbehaviour::TokenRefused { error, description } => Some((error.clone(), description.clone())),
        _ => None,
    });
    if let Some((error, description)) = refusals.first() {
        return json(StatusCode::BAD_REQUEST, &json!({"error": error, "error_description": description}));
    }
    if let Some(answer) = upstream_tokens::answer(state, asked) {
        return answer.unwrap_or_else(|fault| fault.answer());
    }
    let (client, grant) = match redeem(state, asked) {
        Ok(found) => found,
        Err(fault) => return fault.answer(),
    };
    match tokens(state, asked, client, grant).await {
        Ok(answer) => answer,
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "No token can be made.\n"),
    }
}

/// Who asks and what for.
fn redeem<'a>(state: &'a State, asked: &Asked) -> Result<(&'a Client, Grant), TokenError> {
    let client = authenticate(state, asked)?;
    let one = |name| {
        asked.form.one(name).map_err(|repeated: Repeated| TokenError::bad("invalid_request", repeated.to_string()))
    };
    let need = |name: &'static str| {
        one(name)
            .and_then(|value| value.ok_or_else(|| TokenError::bad("invalid_request", format!("`{name}` is missing"))))
    };
    let now = state.now();
    let grant = match one("grant_type")? {
        Some("authorization_code") => {
            let (code, uri, verifier) = (need("code")?, need("redirect_uri")?, need("code_verifier")?);
            guard(&state.store).redeem(code, &client.id, uri, verifier, now)
        }
        Some("refresh_token") => {
            let token = need("refresh_token")?;
            // No nonce after the first ID token (OpenID Connect Core 1.0, section 12.2).
            let used = guard(&state.store).use_refresh(token, &client.id, state.options.refresh_tokens, now);
            used.map(|grant| Grant { nonce: None, ..grant })
        }
        _ => {
            return Err(TokenError::bad(
                "unsupported_grant_type",
                "grant_type must be `authorization_code` or `refresh_token`",
            ));
        }
    };
    grant.map(|grant| (client, grant)).map_err(|why| TokenError::bad("invalid_grant", why))
}

/// The token response (RFC 6749, section 5.1; OpenID Connect Core 1.0, section 3.1.3.3).
async fn tokens(state: &Arc<State>, asked: &Asked, client: &Client, grant: Grant) -> std::io::Result<Answer> {
    let now = state.now();
    let lifetimes = &state.options.lifetimes;
    let access_token = id_token::access_token(state, &grant, now)?;
    let id_token = id_token::id_token(state, client, &grant, &access_token, now).await?;
    let mut response = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": lifetimes.access_token.as_secs(),
        "id_token": id_token,
        "scope": grant.scopes.join(" "),
    });
    {
        let mut store = guard(&state.store);
        store.keep_access(access_token, grant.clone(), lifetimes, now);
        let rules = state.options.refresh_tokens;
        let is_first = asked.form.one("grant_type").ok().flatten() == Some("authorization_code");
        if (rules.always || grant.has("offline_access")) && (is_first || !rules.reusable) {
            let refresh = store.issue_refresh(grant, lifetimes, now).map_err(std::io::Error::other)?;
            if let Some(response) = response.as_object_mut() {
                response.insert("refresh_token".to_owned(), refresh.into());
            }
        }
    }
    for edit in state.control.take(|fault| match fault {
        Misbehaviour::TokenAnswer(edit) => Some(edit.clone()),
        _ => None,
    }) {
        edit.apply(&mut response);
    }
    let mut answer = json(StatusCode::OK, &response);
    answer.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

/// A name for a JWT: 128 random bits.
pub(crate) fn token_id() -> std::io::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random::bytes::<16>().map_err(std::io::Error::other)?))
}

/// `/revoke` (RFC 7009): 200 whether the token is known or not.
pub(crate) fn revoke(state: &Arc<State>, asked: &Asked) -> Answer {
    let client = match authenticate(state, asked) {
        Ok(client) => client,
        Err(fault) => return fault.answer(),
    };
    match asked.form.one("token") {
        Ok(Some(token)) => {
            guard(&state.store).revoke(token, &client.id);
            text(StatusCode::OK, "")
        }
        _ => TokenError::bad("invalid_request", "`token` must come once").answer(),
    }
}
