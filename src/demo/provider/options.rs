//! What a development provider is started with: clients, people, signing algorithm, lifetimes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Map, Value, json};
use url::{Host, Url};

use crate::base::clock::Clock;

/// What a development provider is started with.
#[derive(Clone)]
pub struct ProviderOptions {
    /// Where it listens: a loopback address; port 0 takes any free port.
    pub listen: SocketAddr,
    /// The issuer, when it is not `http://` and the address: for a TLS front or a name of its own. May have a path.
    pub issuer: Option<String>,
    /// Who may ask for sign-ins.
    pub clients: Vec<Client>,
    /// Who can sign in.
    pub people: Vec<Person>,
    /// How ID tokens are signed.
    pub signing: SigningAlgorithm,
    /// What access tokens look like.
    pub access_tokens: AccessTokenForm,
    /// Who gets refresh tokens, and how often one works.
    pub refresh_tokens: RefreshTokens,
    /// How long things work.
    pub lifetimes: Lifetimes,
    /// Where its time comes from.
    pub clock: Clock,
}

impl Default for ProviderOptions {
    /// Any free port of 127.0.0.1, alice and bob, and one client `portcullis` with the secret `development-secret`
    /// whose redirect URIs may be at any loopback address.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            issuer: None,
            clients: vec![Client::development("portcullis", "development-secret")],
            people: vec![Person::alice(), Person::bob()],
            signing: SigningAlgorithm::Rs256,
            access_tokens: AccessTokenForm::Opaque,
            refresh_tokens: RefreshTokens::default(),
            lifetimes: Lifetimes::default(),
            clock: Clock::System,
        }
    }
}

/// One client (RFC 6749, section 2).
#[derive(Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; a client without one is public and authenticates with `none`.
    pub secret: Option<String>,
    /// Where answers may go.
    pub redirects: Redirects,
    /// Where a browser may go after signing out.
    pub post_logout: Redirects,
}

impl Client {
    /// A confidential client whose URIs may be at any loopback address.
    pub fn development(id: &str, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: Some(secret.to_owned()),
            redirects: Redirects::LoopbackOr(Vec::new()),
            post_logout: Redirects::LoopbackOr(Vec::new()),
        }
    }
}

/// Which URIs a client may name.
#[derive(Clone)]
pub enum Redirects {
    /// These, byte for byte (RFC 9700, section 2.1).
    Exactly(Vec<String>),
    /// Any path at a loopback address or `localhost`, on any port, and at these origins (`https://app.example.com`).
    /// For demos and tests, whose ports are not known beforehand.
    LoopbackOr(Vec<String>),
}

impl Redirects {
    /// Whether `uri` is one of them. A URI with a fragment, a user name or another scheme than http and https never is.
    pub fn allow(&self, uri: &str) -> bool {
        let Ok(url) = Url::parse(uri) else { return false };
        let plain = matches!(url.scheme(), "http" | "https")
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && uri.bytes().all(|byte| byte.is_ascii_graphic());
        plain
            && match self {
                Self::Exactly(uris) => uris.iter().any(|known| known == uri),
                Self::LoopbackOr(origins) => is_loopback(&url) || origins.contains(&url.origin().ascii_serialization()),
            }
    }

    /// The origins that are spelt out in it.
    pub(crate) fn origins(&self) -> Vec<String> {
        match self {
            Self::Exactly(uris) => {
                uris.iter().filter_map(|uri| Url::parse(uri).ok()).map(|u| u.origin().ascii_serialization()).collect()
            }
            Self::LoopbackOr(origins) => origins.clone(),
        }
    }
}

/// Whether the host of `url` is this machine: 127.0.0.0/8, `::1`, `localhost` and what is below it (RFC 6761, section 6.3).
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Someone who can sign in, with any password.
#[derive(Clone)]
pub struct Person {
    /// What they type.
    pub username: String,
    /// Their claims. `sub` is the user name when it is not among them. The claims of the scopes `profile` and `email`
    /// are given only when the scope is asked for; every other claim always.
    pub claims: Map<String, Value>,
}

impl Person {
    /// A person with these claims; anything that is not a JSON object gives no claims.
    pub fn new(username: &str, claims: Value) -> Self {
        let claims = if let Value::Object(claims) = claims { claims } else { Map::new() };
        Self { username: username.to_owned(), claims }
    }

    /// alice: roles `user` and `admin`.
    pub fn alice() -> Self {
        Self::new(
            "alice",
            json!({
                "sub": "alice",
                "name": "Alice Liddell", "given_name": "Alice", "family_name": "Liddell",
                "preferred_username": "alice",
                "email": "alice@example.com", "email_verified": true,
                "roles": ["user", "admin"], "groups": ["staff", "engineering"],
            }),
        )
    }

    /// bob: role `user`.
    pub fn bob() -> Self {
        Self::new(
            "bob",
            json!({
                "sub": "bob",
                "name": "Bob Example", "given_name": "Bob", "family_name": "Example",
                "preferred_username": "bob",
                "email": "bob@example.com", "email_verified": true,
                "roles": ["user"], "groups": ["staff"],
            }),
        )
    }
}

/// How ID tokens are signed (RFC 7518, section 3.1; RFC 8037, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSA PKCS #1 v1.5 with SHA-256 and a 2048-bit key.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// What access tokens look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTokenForm {
    /// 43 random characters.
    Opaque,
    /// A signed JWT (RFC 9068).
    Jwt {
        /// Its `aud`.
        audience: String,
    },
}

/// Who gets refresh tokens, and how often one works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefreshTokens {
    /// Whether every sign-in gets one, rather than those that ask for `offline_access` (OpenID Connect Core 1.0, section 11).
    pub always: bool,
    /// Whether one goes on working, and no refresh brings another; else each works once (RFC 9700, section 4.14.2).
    pub reusable: bool,
    /// For how long after its first use one may be used again, by a client that didn't hear the answer; a later use ends all that came
    /// of the sign-in.
    pub leeway: Duration,
}

/// How long things work.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// An authorization code.
    pub code: Duration,
    /// An access token.
    pub access_token: Duration,
    /// An ID token.
    pub id_token: Duration,
    /// A sign-in at the provider itself.
    pub login: Duration,
}

impl Default for Lifetimes {
    /// A minute for codes, five minutes for tokens, eight hours for a sign-in.
    fn default() -> Self {
        Self {
            code: Duration::from_mins(1),
            access_token: Duration::from_mins(5),
            id_token: Duration::from_mins(5),
            login: Duration::from_hours(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_go_to_loopback_or_where_they_were_registered() {
        let open = Redirects::LoopbackOr(vec!["https://app.example.com".to_owned()]);
        for good in
            ["http://127.0.0.1:8080/cb", "http://[::1]:1/cb?a=b", "http://a.localhost/", "https://app.example.com/x"]
        {
            assert!(open.allow(good), "{good}");
        }
        for bad in [
            "http://127.0.0.1.example.com/",
            "http://alice@127.0.0.1/",
            "http://127.0.0.1/#x",
            "https://app.example.com:444/",
            "https://app.example.com.evil.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "/cb",
            "http://127.0.0.1/a b",
        ] {
            assert!(!open.allow(bad), "{bad}");
        }
        let exact = Redirects::Exactly(vec!["https://app.example.com/cb".to_owned()]);
        assert!(exact.allow("https://app.example.com/cb"));
        assert!(!exact.allow("https://app.example.com/cb/"));
        assert!(!exact.allow("http://127.0.0.1/cb"));
    }
}
