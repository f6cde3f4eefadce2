//! What the config says of a provider, seen at the provider: how the client proves itself, and when `UserInfo` is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::demo::provider::{Client, Endpoint, IdTokenFault, ProviderOptions, Recorded, Redirects};

use crate::sign_ins::SignIns;
use crate::support::gateway::GatewayConfig;
use crate::support::provider::Provider;
use crate::support::upstream::Upstream;

/// Characters that must be form-encoded before HTTP Basic takes them (RFC 6749, section 2.3.1).
const SECRET: &str = "s:cr/et+ %1&=ü";

fn signs_in_with(secret: Option<&str>, lines: &str) -> Recorded {
    let client = Client {
        id: "ap p:1".to_owned(),
        secret: secret.map(str::to_owned),
        redirects: Redirects::LoopbackOr(Vec::new()),
        post_logout: Redirects::LoopbackOr(Vec::new()),
    };
    let provider = Provider::start_with(ProviderOptions { clients: vec![client], ..ProviderOptions::default() });
    let upstream = Upstream::start();
    let table = format!("[providers.corp]\nissuer = {:?}\nclient_id = \"ap p:1\"\n{lines}", provider.issuer());
    let gateway = GatewayConfig::on_loopback().upstream("app", &upstream.url()).raw(&table).start();
    let page = crate::support::browser::Browser::new().sign_in("alice", &gateway.at("/app"));
    assert_eq!(page.response.status, 200, "{}\n{}", page.text(), gateway.logs());
    provider.control().requests(Endpoint::Token).remove(0)
}

#[test]
fn client_secret_basic_sends_the_secret_in_the_header_alone() {
    for lines in [
        format!("client_secret = {SECRET:?}"),
        format!("client_secret = {SECRET:?}\nclient_authentication = \"client_secret_basic\""),
    ] {
        let asked = signs_in_with(Some(SECRET), &lines);
        let pair = asked.header("authorization").and_then(|value| value.strip_prefix("Basic ")).expect("Basic");
        let pair = String::from_utf8(STANDARD.decode(pair).expect("base64")).expect("text");
        assert_eq!(pair, "ap+p%3A1:s%3Acr%2Fet%2B+%251%26%3D%C3%BC");
        assert_eq!(asked.parameter("client_secret"), None);
    }
}

#[test]
fn client_secret_post_sends_the_secret_in_the_form_alone() {
    let lines = format!("client_secret = {SECRET:?}\nclient_authentication = \"client_secret_post\"");
    let asked = signs_in_with(Some(SECRET), &lines);
    assert_eq!((asked.parameter("client_id"), asked.parameter("client_secret")), (Some("ap p:1"), Some(SECRET)));
    assert_eq!(asked.header("authorization"), None);
}

#[test]
fn a_public_client_sends_its_name_alone() {
    for lines in ["", "client_authentication = \"none\""] {
        let asked = signs_in_with(None, lines);
        assert_eq!((asked.parameter("client_id"), asked.parameter("client_secret")), (Some("ap p:1"), None));
        assert_eq!(asked.header("authorization"), None);
    }
}

/// A secret that is wrong is the operator's to mend: people read a page, and the log says where to look.
#[test]
fn a_wrong_secret_is_told_to_the_operator_without_being_written() {
    let provider = Provider::start();
    let upstream = Upstream::start();
    let gateway = GatewayConfig::on_loopback()
        .client(provider.issuer(), "portcullis", "not-the-right-secret")
        .upstream("app", &upstream.url())
        .start();
    let page = crate::support::browser::Browser::new().sign_in("alice", &gateway.at("/app"));
    assert_eq!(page.response.status, 500, "{}", page.text());
    assert!(gateway.logs_come_to_hold("invalid_client"), "{}", gateway.logs());
    let logs = gateway.logs();
    assert!(logs.contains("client_secret"), "{logs}");
    assert!(!logs.contains("not-the-right-secret"), "{logs}");
    assert_eq!(upstream.connections(), 0);
}

fn userinfo_is_asked(setting: &str, lacks: Option<&str>) -> bool {
    let provider = Provider::start();
    let upstream = Upstream::start();
    // The development provider's ID token says everything, but for what is taken out of it here.
    if let Some(name) = lacks {
        provider.control().always(IdTokenFault::no_claim(name));
    } else {
        provider.control().mint(|_, claims| {
            for (name, value) in [("email", "alice@example.com"), ("name", "Alice")] {
                claims.insert(name.to_owned(), value.into());
            }
            for name in ["groups", "roles"] {
                claims.insert(name.to_owned(), serde_json::json!(["user"]));
            }
        });
    }
    let gateway = GatewayConfig::on_loopback()
        .client(provider.issuer(), "portcullis", "development-secret")
        .provider_line(setting)
        .upstream("app", &upstream.url())
        .start();
    let page = crate::support::browser::Browser::new().sign_in("alice", &gateway.at("/app"));
    assert_eq!(page.response.status, 200, "{}\n{}", page.text(), gateway.logs());
    provider.control().count(Endpoint::Userinfo) > 0
}

#[test]
fn userinfo_is_asked_always_when_something_is_missing_or_never() {
    assert!(userinfo_is_asked("userinfo = \"always\"", None));
    assert!(!userinfo_is_asked("userinfo = \"if-missing\"", None));
    assert!(userinfo_is_asked("userinfo = \"if-missing\"", Some("groups")));
    assert!(!userinfo_is_asked("userinfo = \"never\"", Some("groups")));
    assert!(!userinfo_is_asked("userinfo = \"never\"", None));
}

/// Where `UserInfo` is asked only for what is missing, what is missing comes from there.
#[test]
fn what_the_id_token_lacks_comes_from_userinfo() {
    let scene = SignIns::start_with(ProviderOptions::default(), |config| config);
    scene.control().always(IdTokenFault::no_claim("groups"));
    let seen = scene.assert_accepted("groups from UserInfo");
    assert_eq!(seen.head.all("x-forwarded-groups"), ["staff,engineering"]);
}
