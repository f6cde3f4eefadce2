//! What the tokens say: claims of ID tokens and access tokens, and which claims a scope opens.

use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::base::clock::Timestamp;
use crate::base::random;
use crate::demo::provider::State;
use crate::demo::provider::draft::Draft;
use crate::demo::provider::id_token_fault::IdTokenFault;
use crate::demo::provider::keys::{self, Keys};
use crate::demo::provider::misbehaviour::Misbehaviour;
use crate::demo::provider::options::{AccessTokenForm, Client};
use crate::demo::provider::store::Grant;
use crate::demo::provider::token::token_id;

/// The claims that `profile` opens (OpenID Connect Core 1.0, section 5.4).
const PROFILE: [&str; 14] = [
    "name",
    "family_name",
    "given_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
];
/// The claims that `email` opens.
const EMAIL: [&str; 2] = ["email", "email_verified"];

/// What may be said about the person of `grant`; `sub` comes first.
pub(crate) fn person_claims(state: &State, grant: &Grant) -> Map<String, Value> {
    let username = grant.login.username.as_str();
    let mut claims = Map::from_iter([("sub".to_owned(), Value::from(username))]);
    let person = state.control.person(username).map(|person| person.claims).unwrap_or_default();
    for (name, value) in person {
        let closed = (PROFILE.contains(&name.as_str()) && !grant.has("profile"))
            || (EMAIL.contains(&name.as_str()) && !grant.has("email"));
        if !closed {
            claims.insert(name, value);
        }
    }
    claims
}

/// An access token in the form that the options ask for.
pub(crate) fn access_token(state: &State, grant: &Grant, now: Timestamp) -> io::Result<String> {
    let AccessTokenForm::Jwt { audience } = &state.options.access_tokens else {
        return random::token().map_err(io::Error::other);
    };
    let key = state.control.keys().current();
    let header = json!({"alg": key.algorithm(), "typ": "at+jwt", "kid": key.id});
    let mut claims = json!({
        "iss": state.issuer,
        "aud": audience,
        "client_id": grant.client_id,
        "scope": grant.scopes.join(" "),
        "iat": now.seconds(),
        "exp": now.after(state.options.lifetimes.access_token).seconds(),
        "jti": token_id()?,
        "auth_time": grant.login.auth_time.seconds(),
    });
    let person = person_claims(state, grant);
    for name in ["sub", "roles", "groups"] {
        if let (Some(value), Some(claims)) = (person.get(name), claims.as_object_mut()) {
            claims.insert(name.to_owned(), value.clone());
        }
    }
    match (header, claims) {
        (Value::Object(header), Value::Object(claims)) => keys::compact(&key, &header, &claims),
        _ => Err(io::Error::other("a JSON object is an object")),
    }
}

/// An ID token (OpenID Connect Core 1.0, section 2), wrong in the ways that were asked for.
pub(crate) async fn id_token(
    state: &Arc<State>,
    client: &Client,
    grant: &Grant,
    access_token: &str,
    now: Timestamp,
) -> io::Result<String> {
    let faults = state.control.take(|fault| match fault {
        Misbehaviour::IdToken(fault) => Some(fault.clone()),
        _ => None,
    });
    let mut claims = person_claims(state, grant);
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", json!(state.issuer));
    put("aud", json!(client.id));
    put("iat", json!(now.seconds()));
    put("exp", json!(now.after(state.options.lifetimes.id_token).seconds()));
    put("auth_time", json!(grant.login.auth_time.seconds()));
    put("sid", json!(grant.login.sid));
    put("amr", json!(["pwd"]));
    put("at_hash", json!(at_hash(state.control.keys(), access_token)));
    if let Some(nonce) = &grant.nonce {
        put("nonce", json!(nonce));
    }
    if let Some(acr) = &grant.login.acr {
        put("acr", json!(acr));
    }
    let mut draft = Draft::new(state.control.keys().current(), claims);
    let secret = client.secret.clone().unwrap_or_default();
    let state = Arc::clone(state);
    // Faults may need a new RSA key, which would hold up whoever shares this thread.
    let make = move || {
        for fault in faults {
            if matches!(fault, IdTokenFault::RotatedKey) {
                state.control.keys().rotate()?;
            }
            draft.spoil(fault, state.control.keys(), &secret)?;
        }
        state.control.hook(&mut draft);
        draft.finish().map(|token| state.control.rewritten(token))
    };
    tokio::task::spawn_blocking(make).await.map_err(io::Error::other)?
}

/// `at_hash`: the left half of the hash that goes with the algorithm (OpenID Connect Core 1.0, section 3.1.3.6).
fn at_hash(keys: &Keys, access_token: &str) -> String {
    // Ed25519 hashes with SHA-512, the others with SHA-256.
    let algorithm = if keys.current().algorithm() == "EdDSA" { &digest::SHA512 } else { &digest::SHA256 };
    let hash = digest::digest(algorithm, access_token.as_bytes());
    let hash = hash.as_ref();
    URL_SAFE_NO_PAD.encode(hash.get(..hash.len() / 2).unwrap_or_default())
}
