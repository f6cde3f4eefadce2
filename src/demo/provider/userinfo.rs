//! The userinfo endpoint.

use std::sync::Arc;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use serde_json::Value;

use crate::demo::answer::{Answer, json, text};
use crate::demo::provider::State;
use crate::demo::provider::guard;
use crate::demo::provider::id_token::person_claims;
use crate::demo::provider::misbehaviour::Misbehaviour;
use crate::demo::provider::route::Asked;

/// `/userinfo` (OpenID Connect Core 1.0, section 5.3); the token in the header only (RFC 6750, section 2.1).
pub(crate) fn userinfo(state: &Arc<State>, asked: &Asked) -> Answer {
    let value = asked.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.map(|(_, token)| token.trim());
    let grant = token.and_then(|token| guard(&state.store).access(token, state.now()).cloned());
    let Some(grant) = grant else {
        let mut answer = text(StatusCode::UNAUTHORIZED, "A valid access token is needed.\n");
        let challenge = if token.is_some() { "Bearer error=\"invalid_token\"" } else { "Bearer" };
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        return answer;
    };
    let mut claims = Value::Object(person_claims(state, &grant));
    for edit in state.control.take(|fault| match fault {
        Misbehaviour::Userinfo(edit) => Some(edit.clone()),
        _ => None,
    }) {
        edit.apply(&mut claims);
    }
    json(StatusCode::OK, &claims)
}
