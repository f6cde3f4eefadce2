//! Tokens for upstreams: exchange (RFC 8693) and client credentials (RFC 6749, section 4.4), as JWTs that say for whom and for what.

use std::io;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::demo::answer::{Answer, json};
use crate::demo::provider::State;
use crate::demo::provider::client_auth::{TokenError, authenticate};
use crate::demo::provider::guard;
use crate::demo::provider::keys;
use crate::demo::provider::misbehaviour::Misbehaviour;
use crate::demo::provider::route::Asked;
use crate::demo::provider::token::token_id;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The answer of the token endpoint to these grants; `None` when it is asked for another.
pub(crate) fn answer(state: &Arc<State>, asked: &Asked) -> Option<Result<Answer, TokenError>> {
    let grant = asked.form.one("grant_type").ok().flatten()?;
    match grant {
        TOKEN_EXCHANGE | "client_credentials" => Some(make(state, asked, grant == TOKEN_EXCHANGE)),
        _ => None,
    }
}

fn make(state: &Arc<State>, asked: &Asked, is_exchange: bool) -> Result<Answer, TokenError> {
    let client = authenticate(state, asked)?;
    let one = |name: &'static str| asked.form.one(name).ok().flatten();
    let all = |name: &str| -> Vec<&str> {
        asked.form.pairs().iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    };
    let (subject, issued) = if is_exchange {
        (subject(state, asked)?, one("requested_token_type").unwrap_or(ACCESS_TOKEN))
    } else {
        (client.id.clone(), ACCESS_TOKEN)
    };
    let audience: Vec<&str> = all("audience").into_iter().chain(all("resource")).collect();
    // Nobody is known here by this name (RFC 8693, section 2.2.2; RFC 8707, section 2).
    if audience.contains(&"unknown") {
        return Err(TokenError::bad("invalid_target", "there is no such service"));
    }
    let scope = one("scope").unwrap_or_default();
    let lifetime = state.options.lifetimes.access_token;
    let token = token(state, &subject, &audience, scope, &client.id);
    let token = token.map_err(|_| TokenError::bad("invalid_request", "no token can be made"))?;
    let mut response = json!({
        "access_token": token, "token_type": if issued == ACCESS_TOKEN { "Bearer" } else { "N_A" },
        "expires_in": lifetime.as_secs(), "scope": scope,
    });
    if let Some(members) = response.as_object_mut().filter(|_| is_exchange) {
        members.insert("issued_token_type".to_owned(), Value::from(issued));
    }
    for edit in state.control.take(|fault| match fault {
        Misbehaviour::TokenAnswer(edit) => Some(edit.clone()),
        _ => None,
    }) {
        edit.apply(&mut response);
    }
    Ok(json(StatusCode::OK, &response))
}

/// Whom the subject token is about: one of ours, that has not ended.
fn subject(state: &Arc<State>, asked: &Asked) -> Result<String, TokenError> {
    let one = |name: &'static str| asked.form.one(name).ok().flatten();
    let (Some(token), Some(kind)) = (one("subject_token"), one("subject_token_type")) else {
        return Err(TokenError::bad("invalid_request", "subject_token and subject_token_type are needed"));
    };
    let known = match kind {
        ACCESS_TOKEN => guard(&state.store).access(token, state.now()).map(|grant| grant.login.username.clone()),
        ID_TOKEN | JWT => state
            .control
            .keys()
            .own_claims(token)
            .filter(|claims| claims.get("exp").and_then(Value::as_u64).is_some_and(|end| end > state.now().seconds()))
            .and_then(|claims| claims.get("sub").and_then(Value::as_str).map(str::to_owned)),
        _ => None,
    };
    known.ok_or_else(|| TokenError::bad("invalid_grant", "the subject token is not good"))
}

fn token(state: &Arc<State>, subject: &str, audience: &[&str], scope: &str, client: &str) -> io::Result<String> {
    let key = state.control.keys().current();
    let now = state.now();
    let header = json!({"alg": key.algorithm(), "typ": "at+jwt", "kid": key.id});
    let claims = json!({
        "iss": state.issuer, "sub": subject, "aud": audience, "client_id": client, "scope": scope, "iat": now.seconds(),
        "exp": now.after(state.options.lifetimes.access_token).seconds(), "jti": token_id()?,
    });
    let object = |value: &Value| value.as_object().cloned().unwrap_or_else(Map::new);
    keys::compact(&key, &object(&header), &object(&claims))
}
