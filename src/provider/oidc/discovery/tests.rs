//! Documents that must not be believed.

use serde_json::{Value, json};

use super::super::rig::{document, metadata};
use super::*;
use crate::config::settings::ProviderSettings;

fn home(issuer: &str) -> Home {
    Home {
        provider: Arc::from("corp"),
        issuer: issuer.to_owned(),
        url: Url::parse(issuer).unwrap(),
        neighbours: Neighbours::default(),
    }
}

fn check(issuer: &str, document: &Value) -> Result<Metadata, ProviderFault> {
    home(issuer).check(document.to_string().as_bytes())
}

fn with(name: &str, value: Value) -> Value {
    let mut document = document("https://idp.example");
    document[name] = value;
    document
}

#[test]
fn the_document_is_below_the_issuer() {
    for (issuer, expected) in [
        ("https://idp.example", "https://idp.example/.well-known/openid-configuration"),
        ("https://idp.example/", "https://idp.example/.well-known/openid-configuration"),
        ("https://idp.example/realms/a", "https://idp.example/realms/a/.well-known/openid-configuration"),
        ("https://idp.example/realms/a/", "https://idp.example/realms/a/.well-known/openid-configuration"),
    ] {
        assert_eq!(home(issuer).document().unwrap().as_str(), expected);
    }
}

#[test]
fn a_good_document_is_read() {
    let mut expected = metadata("https://idp.example");
    assert_eq!(check("https://idp.example", &document("https://idp.example")).unwrap(), expected);
    expected.answers_with_issuer = true;
    let document = with("authorization_response_iss_parameter_supported", json!(true));
    assert_eq!(check("https://idp.example", &document).unwrap(), expected);
}

#[test]
fn the_issuer_is_compared_byte_for_byte() {
    for other in ["https://idp.example/", "https://IDP.example", "https://idp.example:443", "https://evil.example", ""]
    {
        let fault = check("https://idp.example", &with("issuer", json!(other))).unwrap_err();
        assert!(matches!(fault, ProviderFault::Untrusted { .. }), "{other}");
    }
    assert!(check("https://idp.example", &with("issuer", json!(["https://idp.example"]))).is_err());
    assert!(check("https://idp.example/", &with("issuer", json!("https://idp.example/"))).is_ok());
}

#[test]
fn endpoints_are_https_and_plain() {
    for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "end_session_endpoint"] {
        for bad in [
            "http://idp.example/x",
            "ftp://idp.example/x",
            "file:///etc/passwd",
            "gopher://idp.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "//idp.example/x",
            "/x",
            "",
            "https://user@idp.example/x",
            "https://u:p@idp.example/x",
            "https://idp.example/x#fragment",
            "https://",
        ] {
            assert!(check("https://idp.example", &with(name, json!(bad))).is_err(), "{name}: {bad}");
        }
        assert!(check("https://idp.example", &with(name, json!(7))).is_err(), "{name}");
    }
    for required in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        assert!(check("https://idp.example", &with(required, Value::Null)).is_err(), "{required}");
    }
    assert!(check("http://127.0.0.1:9", &document("http://127.0.0.1:9")).is_ok());
}

#[test]
fn the_authorization_endpoint_cannot_set_our_parameters() {
    let fault = check("https://idp.example", &with("authorization_endpoint", json!("https://idp.example/a?state=x")));
    assert!(fault.is_err());
    assert!(check("https://idp.example", &with("authorization_endpoint", json!("https://idp.example/a?p=x"))).is_ok());
}

#[test]
fn a_document_that_says_things_twice_is_refused() {
    let text = document("https://idp.example").to_string().replacen('{', r#"{"issuer":"https://evil.example","#, 1);
    assert!(home("https://idp.example").check(text.as_bytes()).is_err());
    for text in ["", "[]", "<html>", "\u{feff}{}", "{\"issuer\":\"https://idp.example\"}"] {
        assert!(home("https://idp.example").check(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn an_endpoint_that_moves_to_another_origin_is_held() {
    let first = metadata("https://idp.example");
    let (held, moved) = metadata("https://evil.example").held_to(&first);
    assert_eq!(held, first);
    assert_eq!(moved.len(), 5, "{moved:?}");
    let mut same_origin = first.clone();
    same_origin.token.set_path("/new/token");
    let (held, moved) = same_origin.clone().held_to(&first);
    assert_eq!((held, moved.len()), (same_origin, 0));
    let mut without = first.clone();
    without.userinfo = None;
    let (held, _) = without.clone().held_to(&first);
    assert_eq!(held.userinfo, None);
    assert_eq!(without.filled_from(&first), first);
}

#[test]
fn endpoints_at_another_providers_home_are_refused() {
    let mut other: ProviderSettings = super::super::rig::settings("https://good.example");
    other.name = Arc::from("good");
    let own = super::super::rig::settings("https://idp.example");
    let mut home = home("https://idp.example");
    home.neighbours = Neighbours::of(&[own, other]);
    let mut found = metadata("https://idp.example");
    assert!(home.check_neighbours(&found).is_ok());
    found.token = Url::parse("https://good.example/token").unwrap();
    assert!(matches!(home.check_neighbours(&found), Err(ProviderFault::Untrusted { .. })));
    found = metadata("https://idp.example");
    found.userinfo = Some(Url::parse("https://good.example/userinfo").unwrap());
    assert!(matches!(home.check_neighbours(&found), Err(ProviderFault::Untrusted { .. })));
    found = metadata("https://idp.example");
    found.authorization = Url::parse("https://good.example/authorize").unwrap();
    assert!(matches!(home.check_neighbours(&found), Err(ProviderFault::Untrusted { .. })));
}
