//! What the provider promises, tried from outside by a small client.

mod flow;
mod wire;
mod wrong;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;

use crate::demo::form::Parameters;
use crate::demo::provider::{DevelopmentProvider, ProviderOptions, start};
use crate::demo::testing::{Heard, request};

pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(super) const CALLBACK: &str = "http://127.0.0.1:8080/.auth/callback/demo";
pub(super) const BASIC: &str = "Basic cG9ydGN1bGxpczpkZXZlbG9wbWVudC1zZWNyZXQ=";

/// A browser and the client behind it.
pub(super) struct Tester {
    pub(super) provider: DevelopmentProvider,
    cookie: Option<String>,
}

impl Tester {
    pub(super) async fn new() -> Self {
        Self::with(ProviderOptions::default()).await
    }

    pub(super) async fn with(options: ProviderOptions) -> Self {
        Self { provider: start(options).await.unwrap(), cookie: None }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.provider.address()
    }

    /// What a browser with our cookie gets. Keeps the cookie that comes.
    pub(super) async fn browse(&mut self, method: &str, target: &str, form: &str) -> Heard {
        let cookie = self.cookie.clone().unwrap_or_default();
        let mut headers = vec![("cookie", cookie.as_str())];
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let heard = request(self.address(), method, target, &headers, form).await.unwrap();
        if let Some(line) = heard.header("set-cookie") {
            self.cookie = line.split(';').next().map(str::to_owned);
        }
        heard
    }

    /// `/authorize` with the usual parameters and these, which win.
    pub(super) async fn authorize(&mut self, further: &[(&str, &str)]) -> Heard {
        let query = query(further);
        self.browse("GET", &format!("/authorize?{query}"), "").await
    }

    /// Signs in as alice and returns the parameters of the answer.
    pub(super) async fn sign_in(&mut self, further: &[(&str, &str)]) -> BTreeMap<String, String> {
        let query = query(further);
        let heard = self.browse("POST", &format!("/login?{query}"), "username=alice&password=x").await;
        heard.answer()
    }

    /// Redeems a code, as the client does.
    pub(super) async fn redeem(&self, code: &str) -> Heard {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    /// `/token` with HTTP Basic.
    pub(super) async fn token(&self, form: &[(&str, &str)]) -> Heard {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let headers = [("authorization", BASIC), ("content-type", "application/x-www-form-urlencoded")];
        request(self.address(), "POST", "/token", &headers, &form).await.unwrap()
    }

    /// A whole sign-in: the token response.
    pub(super) async fn tokens(&mut self, further: &[(&str, &str)]) -> Value {
        let code = self.sign_in(further).await.remove("code").unwrap();
        self.redeem(&code).await.json()
    }

    pub(super) async fn get(&self, target: &str) -> Heard {
        request(self.address(), "GET", target, &[], "").await.unwrap()
    }
}

pub(super) fn query(further: &[(&str, &str)]) -> String {
    let usual = [
        ("client_id", "portcullis"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid profile email offline_access"),
        ("state", "st&te"),
        ("nonce", "n0nce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let usual = usual.iter().filter(|(name, _)| !further.iter().any(|(other, _)| other == name));
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(usual).extend_pairs(further).finish()
}

impl Heard {
    /// The parameters that a redirect to the callback carries.
    pub(super) fn answer(&self) -> BTreeMap<String, String> {
        assert_eq!(self.status, 303, "{}", self.text());
        let url = Url::parse(self.header("location").unwrap()).unwrap();
        assert!(url.as_str().starts_with(&format!("{CALLBACK}?")), "{url}");
        Parameters::parse(url.query().unwrap().as_bytes()).pairs().iter().cloned().collect()
    }
}

/// Header and claims of a compact JWS.
pub(super) fn opened(token: &Value) -> (Value, Value) {
    let mut parts = token.as_str().unwrap().split('.');
    let mut part = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap()).unwrap();
    (part(), part())
}

/// Whether `token` is signed by a key of `keys` that its `kid` names.
pub(super) fn verifies(token: &Value, keys: &Value) -> bool {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    };
    let (header, _) = opened(token);
    let (message, signature) = token.as_str().unwrap().rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]);
    let Some(key) = key else { return false };
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let message = message.as_bytes();
    match key["kty"].as_str().unwrap() {
        "RSA" => RsaPublicKeyComponents { n: number("n"), e: number("e") }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature)
            .is_ok(),
        "EC" => {
            let point = [vec![4], number("x"), number("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &signature).is_ok()
        }
        _ => UnparsedPublicKey::new(&ED25519, number("x")).verify(message, &signature).is_ok(),
    }
}
