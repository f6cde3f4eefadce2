//! The metadata document and the JWKS.

use std::sync::Arc;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::{Value, json};

use crate::demo::answer::{Answer, json};
use crate::demo::provider::State;
use crate::demo::provider::misbehaviour::{KeysFault, Misbehaviour};

/// `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0, section 4.2).
pub(crate) fn metadata(state: &Arc<State>) -> Answer {
    let issuer = &state.issuer;
    let base = issuer.trim_end_matches('/');
    let mut metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "userinfo_endpoint": format!("{base}/userinfo"),
        "jwks_uri": format!("{base}/jwks"),
        "revocation_endpoint": format!("{base}/revoke"),
        "end_session_endpoint": format!("{base}/end_session"),
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [state.control.keys().current().algorithm()],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "select_account", "create"],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "sid", "acr", "amr", "name",
            "given_name", "family_name", "preferred_username", "email", "email_verified", "roles", "groups",
        ],
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_response_iss_parameter_supported": true,
    });
    for edit in state.control.take(|fault| match fault {
        Misbehaviour::Metadata(edit) => Some(edit.clone()),
        _ => None,
    }) {
        edit.apply(&mut metadata);
    }
    cacheable(json(StatusCode::OK, &metadata))
}

/// `/jwks` (RFC 7517, section 5).
pub(crate) fn keys(state: &Arc<State>) -> Answer {
    let mut right = state.control.keys().current().jwk();
    let mut others = Vec::new();
    let mut padding = None;
    let mut edits = Vec::new();
    for fault in state.control.take(|fault| match fault {
        Misbehaviour::Keys(fault) => Some(fault.clone()),
        _ => None,
    }) {
        match fault {
            KeysFault::Many(count) => others.extend((0..count).map(|index| decoy(Some(index)))),
            KeysFault::Padding(bytes) => padding = Some("p".repeat(bytes)),
            KeysFault::SeveralWithoutKid => {
                right.shift_remove("kid");
                others.extend([decoy(None), decoy(None)]);
            }
            KeysFault::Edit(edit) => edits.push(edit),
        }
    }
    others.push(Value::Object(right));
    let mut document = json!({ "keys": others });
    if let (Some(padding), Value::Object(document)) = (padding, &mut document) {
        document.insert("padding".to_owned(), Value::String(padding));
    }
    for edit in edits {
        edit.apply(&mut document);
    }
    cacheable(json(StatusCode::OK, &document))
}

/// An RSA key of the right size that nobody holds the private half of.
fn decoy(index: Option<usize>) -> Value {
    let mut modulus = [0_u8; 256];
    // Without randomness it is the same number each time, which is a decoy still.
    let _unseeded = rand::fill(&mut modulus);
    let [first, .., last] = &mut modulus;
    *first |= 0x80;
    *last |= 1;
    let mut key =
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"});
    if let (Some(index), Value::Object(key)) = (index, &mut key) {
        key.insert("kid".to_owned(), Value::String(format!("decoy-{index}")));
    }
    key
}

/// Public documents may be kept, for a short while since a development provider changes often.
fn cacheable(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    answer
}
