//! For tests: settings, metadata, claims and a provider of a few lines that says whatever it is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::discovery::Metadata;
use crate::base::clock::Clock;
use crate::config::secret::SecretSource;
use crate::config::settings::{ClientAuthentication, ProviderSettings, UserInfo};
use crate::jose::algorithm::Algorithm;
use crate::jose::testing::TestKey;
use crate::provider::neighbours::Neighbours;
use crate::provider::{Answer, Begin, Outbound, Provider, ProviderFault, SignedIn};
use crate::session::flow::Pending;

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const NONCE: &str = "the-nonce-that-was-sent";
pub(super) const SECRET: &str = "canary secret&=+%/ü";
pub(super) const CODE: &str = "canary-code";
pub(super) const ACCESS_TOKEN: &str = "canary-access-token";

pub(super) fn settings(issuer: &str) -> ProviderSettings {
    ProviderSettings {
        name: Arc::from("corp"),
        label: "Corporate login".to_owned(),
        issuer: issuer.to_owned(),
        client_id: "app".to_owned(),
        client_secret: Some(SecretSource::Inline(SecretString::from(SECRET.to_owned()))),
        client_authentication: ClientAuthentication::Basic,
        scopes: vec!["openid".to_owned(), "email".to_owned()],
        resources: Vec::new(),
        signing_algorithms: vec!["RS256".to_owned(), "ES256".to_owned()],
        userinfo: UserInfo::Never,
        groups_claim: vec!["groups".to_owned()],
        roles_claims: vec![vec!["roles".to_owned()], vec!["realm_access".to_owned(), "roles".to_owned()]],
        authorization_parameters: BTreeMap::new(),
        allowed_login_parameters: Vec::new(),
        ca: None,
        private_endpoints: Vec::new(),
        timeout: Duration::from_secs(3),
        clock_skew: Duration::from_secs(30),
        revoke_tokens: true,
        max_age: None,
    }
}

pub(super) fn document(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/keys"),
        "end_session_endpoint": format!("{issuer}/end"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

pub(super) fn metadata(issuer: &str) -> Metadata {
    let url = |path: &str| Url::parse(&format!("{issuer}/{path}")).unwrap();
    Metadata {
        authorization: url("authorize"),
        token: url("token"),
        userinfo: Some(url("userinfo")),
        jwks: url("keys"),
        end_session: Some(url("end")),
        revocation: None,
        answers_with_issuer: false,
        takes_claims: false,
    }
}

pub(super) fn claims() -> Value {
    json!({"iss": "https://idp.example", "sub": "alice", "aud": "app", "exp": NOW + 300, "iat": NOW, "nonce": NONCE,
        "email": "alice@example.com", "email_verified": true})
}

/// An ID token with these claims, signed as good ones are.
pub(super) fn id_token(claims: &Value) -> String {
    TestKey::for_algorithm(Algorithm::Es256).token(Algorithm::Es256, &json!({"alg": "ES256", "kid": "good"}), claims)
}

/// What the rig answers at one path.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) delay: Duration,
}

impl Reply {
    pub(super) fn json(body: &Value) -> Self {
        Self::new(200, "application/json", body.to_string())
    }

    pub(super) fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, kind, body: body.into(), headers: Vec::new(), delay: Duration::ZERO }
    }
}

/// One request that came in.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

#[derive(Default)]
struct Script {
    replies: BTreeMap<String, Reply>,
    seen: Vec<Seen>,
}

/// A provider on loopback that answers by script.
pub(super) struct Rig {
    pub(super) issuer: String,
    script: Arc<Mutex<Script>>,
}

impl Rig {
    /// A rig with good metadata and keys; what it answers at `/token` depends on the sign-in.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script: Arc<Mutex<Script>> = Arc::default();
        let shared = Arc::clone(&script);
        drop(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&shared);
                let service = hyper::service::service_fn(move |request| answer(Arc::clone(&shared), request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                drop(tokio::spawn(connection));
            }
        }));
        let rig = Self { issuer, script };
        rig.set("/.well-known/openid-configuration", Reply::json(&document(&rig.issuer)));
        rig.set_keys(&[TestKey::for_algorithm(Algorithm::Es256).jwk("good")]);
        rig
    }

    pub(super) fn set(&self, path: &str, reply: Reply) {
        self.script.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    pub(super) fn remove(&self, path: &str) {
        self.script.lock().unwrap().replies.remove(path);
    }

    pub(super) fn set_keys(&self, keys: &[Value]) {
        self.set("/keys", Reply::json(&json!({"keys": keys})));
    }

    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        self.script.lock().unwrap().seen.iter().filter(|seen| seen.path == path).cloned().collect()
    }

    pub(super) fn settings(&self) -> ProviderSettings {
        settings(&self.issuer)
    }

    pub(super) fn provider(&self) -> Provider {
        provider(self.settings())
    }

    /// Good claims for this sign-in.
    pub(super) fn claims(&self, pending: &Pending) -> Value {
        let mut claims = claims();
        claims["iss"] = json!(self.issuer);
        claims["nonce"] = json!(pending.nonce);
        claims
    }

    pub(super) fn set_token(&self, id_token: &str) {
        self.set(
            "/token",
            Reply::json(&json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 60,
                "refresh_token": "canary-refresh", "id_token": id_token})),
        );
    }

    /// A whole sign-in in which the rig signs what `change` makes of the good claims.
    pub(super) async fn sign_in(
        &self,
        provider: &Provider,
        change: impl FnOnce(&mut Value),
    ) -> Result<SignedIn, ProviderFault> {
        let pending = begin(provider).await?;
        let mut claims = self.claims(&pending);
        change(&mut claims);
        self.set_token(&id_token(&claims));
        provider.finish(&pending, with_code()).await
    }
}

pub(super) fn provider(settings: ProviderSettings) -> Provider {
    let outbound = Outbound { neighbours: Neighbours::of(std::slice::from_ref(&settings)), ..Outbound::default() };
    Provider::new(settings, Clock::manual(NOW), outbound).unwrap()
}

pub(super) async fn begin(provider: &Provider) -> Result<Pending, ProviderFault> {
    let redirect_uri = "https://app.example/.auth/callback/corp".to_owned();
    Ok(provider
        .begin(Begin { redirect_uri, parameters: Vec::new(), wanted: crate::policy::wanted::Wanted::default() })
        .await?
        .pending)
}

pub(super) fn with_code() -> Answer {
    Answer { code: Some(CODE.to_owned()), ..Answer::default() }
}

async fn answer(script: Arc<Mutex<Script>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let path = head.uri.path().to_owned();
    let reply = {
        let mut script = script.lock().unwrap();
        script.seen.push(Seen { path: path.clone(), headers: head.headers, body });
        script.replies.get(&path).cloned().unwrap_or_else(|| Reply::new(503, "text/plain", "no"))
    };
    tokio::time::sleep(reply.delay).await;
    let mut response = Response::builder().status(reply.status).header("content-type", reply.kind);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(reply.body.into())).unwrap())
}
