//! The part of the table for callers that bring an access token: whom it admits, what they are told, and that a request has one
//! credential; and how each of those tokens is made.

use portcullis::base::clock::Clock;
use serde_json::{Value, json};

use crate::cases::Outcome::{Forbidden, Malformed, Pass, SignIn, Unauthorized};
use crate::cases::{API, APP, Case, Door, Who, case};
use crate::support::hand::Hand;
use crate::support::provider::{CLIENT_ID, Provider};

/// What tokens are for here.
const AUDIENCE: &str = "https://api.example.com";

/// What the gateways' configs say of tokens.
pub(crate) const SETTINGS: &str = r#"
[bearer.corp]
audience = ["https://api.example.com"]
"#;

/// Routes that take tokens, all below `/machine`.
pub(crate) const ROUTES: &str = r#"
  { path = "/machine/*", allow = "signed-in", upstream = "app", bearer = true },
  { path = "/machine/open/*", allow = "everyone", upstream = "app", bearer = true },
  { path = "/machine/admin/*", allow = { roles = ["admin"] }, upstream = "app", bearer = true },
  { path = "/machine/orders/*", allow = { scopes = ["orders:read"] }, upstream = "app", bearer = true },
  { path = "/machine/gold/*", allow = { acr = ["gold"] }, upstream = "app", bearer = true },
  { path = "/machine/said/*", allow = { expression = '"admin" in principal.claims.roles' }, upstream = "app", bearer = true },
  { path = "/machine/relay/*", allow = "signed-in", upstream = "token", bearer = true },
  { path = "/machine/odd/*", allow = "signed-in", upstream = "app", path_parameters = true },
  { path = "/machine/odd/people/*", allow = "signed-in", upstream = "app", bearer = true, path_parameters = true },
"#;

/// What `WWW-Authenticate` says of where to learn more.
const METADATA: &str = "resource_metadata=\"https://app.example.com/.well-known/oauth-protected-resource/machine";
const INVALID: &[&str] = &["Bearer realm=", "error=\"invalid_token\"", METADATA];
const REQUEST: &[&str] = &["Bearer realm=", "error=\"invalid_request\"", METADATA];
const PROOF: &[&str] = &["DPoP realm=", "error=\"invalid_dpop_proof\"", METADATA];
const SCOPE: &[&str] = &["error=\"insufficient_scope\"", "scope=\"orders:read\"", METADATA];
const STEP_UP: &[&str] = &["error=\"insufficient_user_authentication\"", "acr_values=\"gold\"", METADATA];
const INVITED: &[&str] = &["Bearer realm=\"portcullis\", resource_metadata=", METADATA];

/// A token of alice's, or something that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// With the role user and the scope `orders:read`.
    Good,
    /// With the role admin too.
    Admin,
    /// Whose roles are a table.
    OddRoles,
    /// With another scope.
    OtherScope,
    /// From a sign-in of another class.
    Silver,
    /// From a sign-in of the class gold.
    Gold,
    /// For somebody else.
    OtherAudience,
    /// For the client that signs people in, as an ID token is.
    ForTheClient,
    /// Over.
    Expired,
    /// Not yet good.
    Early,
    /// Of another issuer.
    OtherIssuer,
    /// That says it needs no signature.
    Unsigned,
    /// Of another kind.
    ForLogout,
    /// Text.
    Nonsense,
    /// No token at all after `Bearer`.
    Nothing,
    /// A good one twice.
    Twice,
    /// Bound to a key, shown as if it were not.
    BoundAsBearer,
    /// Bound to a key, without a proof.
    BoundUnproven,
    /// Bound to a key, with a proof for another request.
    BoundElsewhere,
    /// Bound to a key, with a proof.
    Bound,
    /// Bound to a key, with a proof, and another scope.
    BoundOtherScope,
}

/// Makes tokens.
pub(crate) struct Mint {
    hand: Hand,
    proofs: std::cell::Cell<u32>,
}

impl Mint {
    pub(crate) fn new() -> Self {
        Self { hand: Hand::new(), proofs: std::cell::Cell::new(0) }
    }

    /// The headers that a caller sends with `token`.
    pub(crate) fn headers(&self, provider: &Provider, token: Token, case: &Case) -> Vec<(String, String)> {
        let text = self.token(provider, token);
        let bearer = || ("Authorization".to_owned(), format!("Bearer {text}"));
        let url = format!("https://{}{}", case.host, case.target.split('?').next().unwrap_or_default());
        let proven = |url: &str| {
            self.proofs.set(self.proofs.get() + 1);
            let proof = self.hand.proof(case.method, url, &text, &format!("proof-{}", self.proofs.get()));
            vec![("Authorization".to_owned(), format!("DPoP {text}")), ("DPoP".to_owned(), proof)]
        };
        match token {
            Token::Nothing => vec![("Authorization".to_owned(), "Bearer".to_owned())],
            Token::Twice => vec![bearer(), bearer()],
            Token::BoundUnproven => vec![("Authorization".to_owned(), format!("DPoP {text}"))],
            Token::BoundElsewhere => proven("https://app.example.com/machine/elsewhere"),
            Token::Bound | Token::BoundOtherScope => proven(&url),
            _ => vec![bearer()],
        }
    }

    fn token(&self, provider: &Provider, token: Token) -> String {
        let (header, claims) = self.parts(provider, token);
        if token == Token::Nonsense {
            return "nonsense".to_owned();
        }
        let object = |value: &Value| value.as_object().expect("an object").clone();
        provider.control().sign(&object(&header), &object(&claims)).expect("it signs")
    }

    /// What a token says.
    pub(crate) fn claims(&self, provider: &Provider, token: Token) -> Value {
        self.parts(provider, token).1
    }

    fn parts(&self, provider: &Provider, token: Token) -> (Value, Value) {
        let now = Clock::System.now().seconds();
        let mut header = json!({"typ": "at+jwt"});
        let mut claims = json!({"iss": provider.issuer(), "aud": AUDIENCE, "sub": "alice", "client_id": "cli", "jti": "j-1",
            "iat": now, "exp": now + 300, "scope": "orders:read", "roles": ["user"], "groups": ["staff"],
            "preferred_username": "alice"});
        let bound = json!({"jkt": self.hand.thumbprint()});
        let (name, value) = match token {
            Token::Good | Token::Nothing | Token::Twice | Token::Nonsense => ("roles", json!(["user"])),
            Token::Admin => ("roles", json!(["user", "admin"])),
            Token::OddRoles => ("roles", json!({"admin": true})),
            Token::OtherScope => ("scope", json!("orders:readx other")),
            Token::Silver => ("acr", json!("silver")),
            Token::Gold => ("acr", json!("gold")),
            Token::OtherAudience => ("aud", json!("https://other.example.com")),
            Token::ForTheClient => ("aud", json!(CLIENT_ID)),
            Token::Expired => ("exp", json!(now - 1000)),
            Token::Early => ("nbf", json!(now + 1000)),
            Token::OtherIssuer => ("iss", json!("https://login.evil.example")),
            Token::Unsigned => {
                header["alg"] = json!("none");
                ("roles", json!(["admin"]))
            }
            Token::ForLogout => {
                header["typ"] = json!("logout+jwt");
                ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}}))
            }
            Token::BoundOtherScope => {
                claims["scope"] = json!("other");
                ("cnf", bound)
            }
            Token::BoundAsBearer | Token::BoundUnproven | Token::BoundElsewhere | Token::Bound => ("cnf", bound),
        };
        claims[name] = value;
        (header, claims)
    }
}

fn with(
    target: &'static str,
    token: Token,
    expected: crate::cases::Outcome,
    challenge: &'static [&'static str],
) -> Case {
    Case { token: Some(token), challenge, ..case("GET", APP, target, Who::Nobody, expected) }
}

/// Callers with tokens, as programs ask and as browsers would.
pub(crate) fn all() -> Vec<Case> {
    let alice = Pass(Some("alice"));
    let beside = |who, target, token, expected, challenge| Case { who, ..with(target, token, expected, challenge) };
    let at_api = |token, expected| Case { host: API, ..with("/x", token, expected, &[]) };
    let nobody = |target, expected, challenge| Case { challenge, ..case("GET", APP, target, Who::Nobody, expected) };
    vec![
        with("/machine/x", Token::Good, alice, &[]),
        with("/machine/x?a=b&token=c", Token::Good, alice, &[]).by_script(),
        Case { method: "POST", ..with("/machine/x", Token::Good, alice, &[]) },
        with("/machine/open/x", Token::Good, alice, &[]),
        with("/machine/admin/x", Token::Good, Forbidden, &["Bearer realm=", METADATA]),
        with("/machine/admin/x", Token::Admin, alice, &[]),
        with("/machine/admin/x", Token::OddRoles, Forbidden, &["Bearer realm=", METADATA]),
        with("/machine/said/x", Token::Good, Forbidden, &["Bearer realm=", METADATA]),
        with("/machine/said/x", Token::Admin, alice, &[]),
        with("/machine/said/x", Token::OddRoles, Forbidden, &["Bearer realm=", METADATA]),
        with("/machine/orders/x", Token::Good, alice, &[]),
        with("/machine/orders/x", Token::OtherScope, Forbidden, SCOPE),
        with("/machine/gold/x", Token::Gold, alice, &[]),
        with("/machine/gold/x", Token::Silver, Unauthorized, STEP_UP),
        with("/machine/gold/x", Token::Good, Unauthorized, STEP_UP),
        with("/machine/relay/x", Token::Good, alice, &[]),
        with("/machine/x", Token::OtherAudience, Unauthorized, INVALID),
        with("/machine/x", Token::ForTheClient, Unauthorized, INVALID),
        with("/machine/x", Token::Expired, Unauthorized, INVALID),
        with("/machine/x", Token::Expired, Unauthorized, INVALID).by_script(),
        with("/machine/x", Token::Early, Unauthorized, INVALID),
        with("/machine/x", Token::OtherIssuer, Unauthorized, INVALID),
        with("/machine/x", Token::Unsigned, Unauthorized, INVALID),
        with("/machine/x", Token::ForLogout, Unauthorized, INVALID),
        with("/machine/x", Token::Nonsense, Unauthorized, INVALID),
        // Who shows a bad token is no anonymous visitor, where those may pass.
        with("/machine/open/x", Token::Expired, Unauthorized, INVALID),
        with("/machine/open/x", Token::Nonsense, Unauthorized, INVALID),
        // One credential.
        with("/machine/x", Token::Nothing, Malformed, REQUEST),
        // nginx takes one line of it alone, and says so before it asks.
        with("/machine/x", Token::Twice, Malformed, REQUEST).but(&[Door::Nginx], 400),
        beside(Who::Alice, "/machine/x", Token::Good, Malformed, REQUEST),
        beside(Who::Bob, "/machine/admin/x", Token::Admin, Malformed, REQUEST),
        beside(Who::Alice, "/machine/x", Token::Expired, Malformed, REQUEST),
        beside(Who::Alice, "/machine/admin/x", Token::Good, Malformed, REQUEST),
        // Bound tokens.
        with("/machine/x", Token::Bound, alice, &[]),
        with("/machine/orders/x?page=2", Token::Bound, alice, &[]),
        Case { method: "DELETE", ..with("/machine/x", Token::Bound, alice, &[]) },
        with("/machine/x", Token::BoundAsBearer, Unauthorized, &["error=\"invalid_token\"", METADATA]),
        with("/machine/x", Token::BoundUnproven, Unauthorized, PROOF),
        with("/machine/x", Token::BoundElsewhere, Unauthorized, PROOF),
        // A proof serves once; nginx and Apache ask a second time for what the visitor is told.
        with("/machine/orders/x", Token::BoundOtherScope, Forbidden, SCOPE),
        with("/machine/relay/x", Token::Bound, Forbidden, &["realm=", METADATA]),
        // Both readings of the path have to take it.
        with("/machine/odd/people/x", Token::Good, alice, &[]),
        with("/machine/odd/x", Token::Good, SignIn, &[]),
        with("/machine/odd/people;a/x", Token::Good, Unauthorized, INVALID),
        // Where tokens are not taken, they are the application's business, and nobody's credential.
        with("/", Token::Good, SignIn, &[]),
        with("/api/x", Token::Good, Unauthorized, &[]),
        with("/admin/x", Token::Admin, SignIn, &[]),
        with("/public/x", Token::Good, Pass(None), &[]),
        beside(Who::Alice, "/", Token::Expired, alice, &[]),
        beside(Who::Bob, "/admin/x", Token::Admin, Forbidden, &[]),
        at_api(Token::Admin, SignIn),
        // Sessions on the same routes, and nobody.
        Case { who: Who::Alice, ..nobody("/machine/x", alice, &[]) },
        Case { who: Who::Alice, ..nobody("/machine/admin/x", alice, &[]) },
        Case { who: Who::Bob, ..nobody("/machine/admin/x", Forbidden, &[]) },
        Case { who: Who::Bob, ..nobody("/machine/said/x", Forbidden, &[]) },
        Case { who: Who::Alice, ..nobody("/machine/said/x", alice, &[]) },
        nobody("/machine/x", Unauthorized, INVITED).by_script(),
        nobody("/machine/orders/x", Unauthorized, &["scope=\"orders:read\"", METADATA]).by_script(),
        nobody("/machine/x", SignIn, &[]),
        nobody("/machine/open/x", Pass(None), &[]).by_script(),
        // A token is one in `Authorization` alone.
        nobody("/machine/x?access_token=x", Unauthorized, INVITED).by_script(),
        nobody("/machine/x", Unauthorized, INVITED).by_script().with("X-Forwarded-Access-Token", "x"),
        nobody("/machine/x", Unauthorized, INVITED).by_script().with("Authorization", "Basic YWxpY2U6YWxpY2U="),
    ]
}
