//! What the endpoints' tests share: a site made by hand, a browser's requests, and a look into answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use url::Url;

use crate::base::clock::{Clock, Timestamp};
use crate::base::office::Office;
use crate::config::settings::{ClientAuthentication, ProviderSettings, SessionSettings, StoreSettings, UserInfo};
use crate::endpoint::pace::Pace;
use crate::endpoint::site::{Offer, Site};
use crate::http::body::Body;
use crate::http::visit::{Caller, SiteOrigin, Visit};
use crate::identity::principal::Principal;
use crate::provider::{Outbound, Provider};
use crate::seal::keyring::Keyring;
use crate::session::cookie::SessionCookies;
use crate::session::ended::EndedSessions;
use crate::session::flow::{Flow, FlowCookies, Pending, UsedFlows};
use crate::session::key_desk::KeyDesk;
use crate::session::model::{Lifetimes, Session, Tokens};
use crate::session::refresh::refreshes::Refreshes;
use crate::session::refresh::schedule::Schedule;
use crate::token::signer::Signer;

pub(crate) const NOW: u64 = 1_800_000_000;
/// Every site made here opens what another one sealed.
const KEY: &str = "bm90IGEgc2VjcmV0IGJ1dCBhIGtleSBmb3IgdGVzdHM";
/// Nobody answers there.
pub(crate) const ISSUER: &str = "https://127.0.0.1:1";
pub(crate) const STATE: &str = "c3RhdGUtc3RhdGUtc3RhdGUtc3RhdGUtc3RhdGUtc3Q";

/// A provider that can't be reached.
pub(crate) fn provider(name: &str, label: &str) -> Arc<Provider> {
    let settings = ProviderSettings {
        name: Arc::from(name),
        label: label.to_owned(),
        issuer: ISSUER.to_owned(),
        client_id: "app".to_owned(),
        client_secret: None,
        client_authentication: ClientAuthentication::None,
        scopes: vec!["openid".to_owned()],
        resources: Vec::new(),
        signing_algorithms: vec!["RS256".to_owned()],
        userinfo: UserInfo::Never,
        groups_claim: vec!["groups".to_owned()],
        roles_claims: Vec::new(),
        authorization_parameters: BTreeMap::new(),
        allowed_login_parameters: Vec::new(),
        ca: None,
        private_endpoints: Vec::new(),
        timeout: Duration::from_secs(1),
        clock_skew: Duration::from_mins(1),
        revoke_tokens: true,
        max_age: None,
    };
    Arc::new(Provider::new(settings, Clock::manual(NOW), Outbound::default()).unwrap())
}

pub(crate) fn site(providers: &[&str]) -> Site {
    let keyring = Arc::new(Keyring::new(&[SecretString::from(KEY)]).unwrap());
    let settings = SessionSettings {
        keys: Vec::new(),
        store: StoreSettings::Cookie,
        idle: Duration::from_hours(8),
        lifetime: Duration::from_hours(168),
        cookie_name: "portcullis".to_owned(),
        max_cookie_bytes: 16 * 1024,
        flow_lifetime: Duration::from_mins(10),
        refresh_ahead: None,
        refresh_grace: Duration::from_mins(1),
        cache: 8192,
    };
    Site {
        prefix: "/.auth".to_owned(),
        clock: Clock::manual(NOW),
        office: Office::new(Handle::current()),
        offers: providers
            .iter()
            .map(|name| Offer { provider: provider(name, name), login_parameters: vec!["acr_values".to_owned()] })
            .collect(),
        sessions: Arc::new(SessionCookies::new(Arc::clone(&keyring), &settings, true)),
        flows: Arc::new(FlowCookies::new(keyring, &settings, true, UsedFlows::new(settings.flow_lifetime))),
        ended: EndedSessions::new(settings.lifetime),
        stored: None,
        front_channel: Pace::default(),
        key_desk: KeyDesk::open().0,
        refreshes: Refreshes::new(Schedule::new(None, settings.idle, 1), settings.refresh_grace, settings.lifetime),
        lifetimes: Lifetimes { idle: settings.idle, absolute: settings.lifetime },
        signer: Arc::new(Signer::load(&[], &[None]).unwrap()),
        key_paths: Vec::new(),
        return_to_origins: vec![Url::parse("https://front.example.com").unwrap()],
        cookie_name: settings.cookie_name,
    }
}

pub(crate) fn visit(caller: Caller) -> Visit {
    Visit {
        request_id: Arc::from("0123456789abcdef0123456789abcdef"),
        client: None,
        site: Arc::new(SiteOrigin::new(&Url::parse("https://app.example.com").unwrap()).unwrap()),
        caller,
    }
}

pub(crate) fn browser() -> Visit {
    visit(Caller::Browser)
}

pub(crate) fn request(method: &Method, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request.into_parts().0
}

pub(crate) fn get(uri: &str, headers: &[(&str, &str)]) -> Parts {
    request(&Method::GET, uri, headers)
}

pub(crate) fn session() -> Session {
    let now = Timestamp::from_seconds(NOW);
    Session {
        id: [7; 16],
        version: 0,
        principal: Principal {
            provider: Arc::from("corp"),
            issuer: ISSUER.to_owned(),
            subject: "alice-1".to_owned(),
            email: Some("alice@example.com".to_owned()),
            email_verified: true,
            preferred_username: Some("alice".to_owned()),
            name: Some("Alice".to_owned()),
            groups: vec!["staff".to_owned()],
            roles: vec!["admin".to_owned()],
            claims: Map::from_iter([("team".to_owned(), Value::from("red"))]),
            ..Principal::default()
        },
        tokens: Tokens {
            access_token: Some("ACCESS-TOKEN".to_owned()),
            access_expires: None,
            refresh_token: Some("REFRESH-TOKEN".to_owned()),
            id_token: Some("ID-TOKEN".to_owned()),
        },
        obtained: now,
        nonce: Some("nonce".to_owned()),
        created: now,
        used: now,
        authenticated: Some(now),
        provider_session: None,
        asked: crate::policy::wanted::Wanted::default(),
        round: 0,
    }
}

pub(crate) fn flow(return_to: &str) -> Flow {
    Flow {
        provider: Arc::from("corp"),
        pending: Pending {
            issuer: ISSUER.to_owned(),
            state: STATE.to_owned(),
            nonce: "nonce".to_owned(),
            verifier: "verifier".to_owned(),
            redirect_uri: "https://app.example.com/.auth/callback/corp".to_owned(),
            wanted: crate::policy::wanted::Wanted::default(),
        },
        return_to: return_to.to_owned(),
        started: Timestamp::from_seconds(NOW),
        round: 0,
    }
}

/// A browser's `Cookie` header after an answer with these `Set-Cookie` lines.
pub(crate) fn jar(set: &[HeaderValue]) -> String {
    let pairs: Vec<&str> = set.iter().map(|line| line.to_str().unwrap().split(';').next().unwrap()).collect();
    pairs.join("; ")
}

/// The cookie of a browser that is signed in.
pub(crate) fn signed_in(site: &Site) -> String {
    jar(&site.sessions.write(&session(), &HeaderMap::new(), "app.example.com", site.clock.now()).unwrap())
}

/// The cookie of a browser in the midst of a sign-in at `corp`.
pub(crate) fn signing_in(site: &Site, return_to: &str) -> String {
    jar(&site.flows.begin(&flow(return_to), &HeaderMap::new(), "app.example.com", site.clock.now()).unwrap())
}

/// The `Set-Cookie` lines of an answer.
pub(crate) fn cookies(response: &Response<Body>) -> Vec<String> {
    response.headers().get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
}

pub(crate) fn header_of<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

pub(crate) async fn text(response: Response<Body>) -> String {
    let bytes: Bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
