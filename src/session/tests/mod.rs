//! Tests of the session's and the flows' cookies, with a browser of a few lines.

mod cookie;
mod flow;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use serde_json::json;

use super::model::{Session, Tokens};
use crate::base::clock::Timestamp;
use crate::config::settings::{SessionSettings, StoreSettings};
use crate::identity::principal::Principal;
use crate::seal::keyring::Keyring;

pub(super) const HOST: &str = "app.example.com";
pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

/// A session with something in every field.
pub(super) fn sample() -> Session {
    let claims = json!({ "team": "red", "nested": { "level": 3 }, "list": ["a", "b"] });
    Session {
        id: [7; 16],
        version: 3,
        principal: Principal {
            provider: "corp".into(),
            issuer: "https://login.example.com".to_owned(),
            subject: "248289761001".to_owned(),
            email: Some("alice@example.com".to_owned()),
            email_verified: true,
            preferred_username: Some("alice".to_owned()),
            name: Some("Alice Liddell".to_owned()),
            groups: vec!["staff".to_owned()],
            roles: vec!["admin".to_owned(), "user".to_owned()],
            claims: claims.as_object().unwrap().clone(),
            ..Principal::default()
        },
        tokens: Tokens {
            access_token: Some("the-access-token".to_owned()),
            access_expires: Some(NOW.after(Duration::from_mins(5))),
            refresh_token: Some("the-refresh-token".to_owned()),
            id_token: Some("the.id.token".to_owned()),
        },
        obtained: NOW,
        nonce: Some("the-nonce".to_owned()),
        created: NOW,
        used: NOW,
        authenticated: Some(NOW),
        provider_session: Some("sid-1".to_owned()),
        asked: crate::policy::wanted::Wanted::default(),
        round: 0,
    }
}

/// As [`sample`], with a token of so many characters that do not compress.
pub(super) fn large(bytes: usize) -> Session {
    let mut session = sample();
    let mut token = String::new();
    while token.len() < bytes {
        token.push_str(&crate::base::random::token().unwrap());
    }
    token.truncate(bytes);
    session.tokens.access_token = Some(token);
    session
}

pub(super) fn settings() -> SessionSettings {
    SessionSettings {
        keys: Vec::new(),
        store: StoreSettings::Cookie,
        idle: Duration::from_hours(8),
        lifetime: Duration::from_hours(24 * 7),
        cookie_name: "portcullis".to_owned(),
        max_cookie_bytes: 16 * 1024,
        flow_lifetime: Duration::from_mins(10),
        refresh_ahead: None,
        refresh_grace: Duration::from_mins(1),
        cache: 8192,
    }
}

pub(super) fn ring(seeds: &[u8]) -> Arc<Keyring> {
    let key = |seed: &u8| {
        let bytes: Vec<u8> = (0..32_u8).map(|i| i.wrapping_mul(37).wrapping_add(*seed)).collect();
        SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
    };
    Arc::new(Keyring::new(&seeds.iter().map(key).collect::<Vec<_>>()).unwrap())
}

/// As much of a browser as cookies need.
#[derive(Clone, Default)]
pub(super) struct Browser {
    pub(super) jar: BTreeMap<String, String>,
}

impl Browser {
    /// Takes `Set-Cookie` values in, as a browser would, and checks what every one of ours must keep to.
    pub(super) fn take(&mut self, answer: &[HeaderValue]) {
        let mut seen = Vec::new();
        for header in answer {
            let text = header.to_str().unwrap();
            assert!(text.len() < 3_800, "a cookie of {} bytes", text.len());
            let (pair, attributes) = text.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(!seen.contains(&name), "{name} is set twice in one answer");
            seen.push(name);
            for needed in ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age="] {
                assert!(attributes.contains(needed), "{needed} is missing: {attributes}");
            }
            assert!(!attributes.contains("Domain"), "{attributes}");
            assert_eq!(attributes.contains("Secure"), name.starts_with("__Host-"), "{name}: {attributes}");
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let line: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = HeaderMap::new();
        if !line.is_empty() {
            headers.insert(COOKIE, HeaderValue::try_from(line.join("; ")).unwrap());
        }
        headers
    }
}
