//! Sessions of many different people, sealed with the gateway's own key by its own library, without signing each of them in.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use portcullis::base::clock::{Clock, Timestamp};
use portcullis::base::random;
use portcullis::config::settings::{SessionSettings, StoreSettings};
use portcullis::demo::provider::DevelopmentProvider;
use portcullis::identity::principal::Principal;
use portcullis::seal::keyring::Keyring;
use portcullis::session::cookie::SessionCookies;
use portcullis::session::model::{Session, Tokens};
use secrecy::SecretString;
use serde_json::{Map, json};

use crate::{Outcome, gateway};

/// Writes `count` lines of a path, a tab and the `Cookie` header of a session of its own, good at `host` for the gateway
/// whose only session key is `key`.
pub(crate) fn sessions(file: &Path, count: usize, key: &str, host: &str, issuer: &str) -> Outcome<()> {
    let cookies = cookies(key)?;
    let now = Clock::System.now();
    let mut out = BufWriter::new(File::create(file)?);
    for number in 0..count {
        let session = session(number, issuer, now)?;
        let header = cookie_header(&cookies, &session, host, now)?;
        writeln!(out, "/\t{header}")?;
    }
    Ok(out.flush()?)
}

/// The defaults of the gateway's config.
fn cookies(key: &str) -> Outcome<SessionCookies> {
    let settings = SessionSettings {
        keys: Vec::new(),
        store: StoreSettings::Cookie,
        idle: Duration::from_hours(8),
        lifetime: Duration::from_hours(7 * 24),
        cookie_name: "portcullis".to_owned(),
        max_cookie_bytes: 16 * 1024,
        flow_lifetime: Duration::from_mins(10),
        refresh_ahead: None,
        refresh_grace: Duration::from_mins(1),
        cache: 8192,
    };
    let keyring = Keyring::new(&[SecretString::from(key.to_owned())])?;
    Ok(SessionCookies::new(Arc::new(keyring), &settings, false))
}

fn session(number: usize, issuer: &str, now: Timestamp) -> Outcome<Session> {
    let name = format!("person-{number}");
    let mut claims = Map::new();
    claims.insert("locale".to_owned(), json!("en"));
    Ok(Session {
        id: random::bytes::<16>()?,
        version: 0,
        principal: Principal {
            provider: "bench".into(),
            issuer: issuer.to_owned(),
            subject: name.clone(),
            email: Some(format!("{name}@example.com")),
            email_verified: true,
            preferred_username: Some(name.clone()),
            name: Some(name),
            groups: vec!["staff".to_owned()],
            roles: vec!["user".to_owned()],
            claims,
            ..Principal::default()
        },
        tokens: Tokens::default(),
        obtained: now,
        nonce: None,
        created: now,
        used: now,
        authenticated: Some(now),
        provider_session: None,
        asked: portcullis::policy::wanted::Wanted::default(),
        round: 0,
    })
}

/// The pairs of the `Set-Cookie` lines, as a browser sends them back.
fn cookie_header(cookies: &SessionCookies, session: &Session, host: &str, now: Timestamp) -> Outcome<String> {
    let lines = cookies.write(session, &HeaderMap::new(), host, now)?;
    let pairs: Vec<&str> = lines.iter().filter_map(|line| line.to_str().ok()?.split(';').next()).collect();
    Ok(pairs.join("; "))
}

/// An access token of the development provider for `alice` (RFC 9068), good for longer than any comparison.
pub(crate) fn access_token(provider: &DevelopmentProvider) -> Outcome<String> {
    let now = Clock::System.now().seconds();
    let header = json!({"typ": "at+jwt"});
    let claims = json!({"iss": provider.issuer(), "aud": gateway::AUDIENCE, "sub": "alice", "client_id": "bench", "jti": "bench",
        "iat": now, "exp": now + 8 * 3600, "scope": "orders:read", "email": "alice@example.com", "roles": ["user", "admin"]});
    let (Some(header), Some(claims)) = (header.as_object(), claims.as_object()) else {
        return Err("no objects".into());
    };
    Ok(provider.control().sign(header, claims)?)
}
