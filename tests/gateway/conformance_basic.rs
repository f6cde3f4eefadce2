//! The modules of the `OpenID` Foundation's Basic RP plan, each named as there, with an oracle of our own (see `sign_ins`).

use portcullis::demo::provider::{Edit, Endpoint, IdTokenFault, KeysFault, Misbehaviour, ProviderOptions};

use crate::sign_ins::{SignIns, parameter};
use crate::support::browser::Browser;

/// The ID token has this fault, and the sign-in must be refused.
fn refused(fault: IdTokenFault) {
    let scene = SignIns::start();
    let what = format!("{fault:?}");
    scene.control().once(fault);
    scene.assert_refused(&what);
    assert_eq!(scene.control().fired(), 1, "the fault did not take place");
    assert_eq!(scene.control().count(Endpoint::Token), 1, "a code is redeemed once");
    scene.assert_accepted("a good sign-in after it");
}

#[test]
fn oidcc_client_test() {
    let scene = SignIns::start();
    let (mut browser, seen) = scene.sign_in("the happy path");
    let control = scene.control();
    for endpoint in [Endpoint::Token, Endpoint::Userinfo] {
        assert_eq!(control.count(endpoint), 1, "{endpoint:?}");
    }
    let asked = control.requests(Endpoint::Authorize).remove(0);
    assert_eq!(asked.parameter("response_type"), Some("code"));
    assert_eq!(asked.parameter("code_challenge_method"), Some("S256"));
    let token = seen.header("authorization").expect("the upstream gets the access token");
    let userinfo = control.requests(Endpoint::Userinfo).remove(0);
    assert_eq!(userinfo.header("authorization"), Some(token), "the token goes in the header (RFC 6750, section 2.1)");
    assert!(userinfo.parameters.is_empty(), "and nowhere else");
    assert_eq!(scene.me(&mut browser).json()["sub"], "alice");
}

#[test]
fn oidcc_client_test_invalid_iss() {
    refused(IdTokenFault::WrongIssuer);
}

#[test]
fn oidcc_client_test_missing_sub() {
    refused(IdTokenFault::no_claim("sub"));
}

#[test]
fn oidcc_client_test_invalid_aud() {
    refused(IdTokenFault::WrongAudience);
}

#[test]
fn oidcc_client_test_missing_iat() {
    refused(IdTokenFault::no_claim("iat"));
}

#[test]
fn oidcc_client_test_kid_absent_single_jwks() {
    let scene = SignIns::start();
    scene.control().once(IdTokenFault::NoKeyId);
    scene.assert_accepted("one key, no kid");
    assert_eq!(scene.control().fired(), 1);
}

/// The suite lets a client refuse or try all keys; we try all.
#[test]
fn oidcc_client_test_kid_absent_multiple_jwks() {
    let provider = crate::support::provider::Provider::start();
    provider.control().always(KeysFault::SeveralWithoutKid);
    let scene = SignIns::between(provider, |config| config);
    scene.control().always(IdTokenFault::NoKeyId);
    scene.assert_accepted("three keys, no kid");
    assert!(scene.control().fired() > 0);
}

#[test]
fn oidcc_client_test_idtoken_sig_rs256() {
    // The development provider signs with RS256 unless it is told otherwise.
    let scene = SignIns::start_with(ProviderOptions::default(), |config| {
        config.provider_line("signing_algorithms = [\"RS256\"]")
    });
    scene.assert_accepted("RS256");
}

/// The suite lets a client of the code flow accept it; we never do.
#[test]
fn oidcc_client_test_idtoken_sig_none() {
    refused(IdTokenFault::NoAlgorithm { spelling: "none".to_owned(), signature: false });
}

#[test]
fn oidcc_client_test_invalid_sig_rs256() {
    refused(IdTokenFault::BadSignature);
}

/// The suite can't see whether a client heeds this one.
#[test]
fn oidcc_client_test_userinfo_invalid_sub() {
    let scene = SignIns::start();
    scene.control().once(Misbehaviour::Userinfo(Edit::set("sub", "bob")));
    scene.assert_refused_at_last("UserInfo tells of bob");
    assert_eq!((scene.control().fired(), scene.control().count(Endpoint::Userinfo)), (1, 1));
    scene.assert_accepted("a good sign-in after it");
}

#[test]
fn oidcc_client_test_nonce_invalid() {
    refused(IdTokenFault::WrongNonce);
}

#[test]
fn oidcc_client_test_scope_userinfo_claims() {
    let scene = SignIns::start_with(ProviderOptions::default(), |config| {
        config.provider_line("scopes = [\"openid\", \"profile\", \"email\", \"phone\", \"address\"]")
    });
    // What only UserInfo says must be there.
    for (name, value) in [("phone_number", "+44 20 7946 0000"), ("nickname", "Al")] {
        scene.control().always(Misbehaviour::Userinfo(Edit::set(name, value)));
    }
    let (mut browser, _) = scene.sign_in("claims by scope");
    let asked = scene.control().requests(Endpoint::Authorize).remove(0);
    assert_eq!(asked.parameter("scope"), Some("openid profile email phone address"));
    let me = scene.me(&mut browser).json();
    assert_eq!(me["claims"]["phone_number"], "+44 20 7946 0000");
    assert_eq!((&me["email"], &me["claims"]["nickname"]), (&"alice@example.com".into(), &"Al".into()));
}

#[test]
fn oidcc_client_test_client_secret_basic() {
    let scene = SignIns::start();
    scene.assert_accepted("client_secret_basic");
    let asked = scene.control().requests(Endpoint::Token).remove(0);
    assert!(asked.header("authorization").is_some_and(|value| value.starts_with("Basic ")));
    assert_eq!(asked.parameter("client_secret"), None, "one way to authenticate, not two (RFC 6749, section 2.3)");
}

/// What makes the tests above count: a browser that was refused is sent to sign in anew, with nothing of the old flow.
#[test]
fn a_refused_sign_in_can_be_tried_again_at_once() {
    let scene = SignIns::start();
    scene.control().once(IdTokenFault::WrongNonce);
    let mut browser = Browser::new();
    let refused = browser.sign_in("alice", &scene.gateway.at("/app"));
    scene.assert_says_no("a wrong nonce", &refused);
    let first = scene.control().requests(Endpoint::Authorize).remove(0);
    let again = browser.peek(&scene.gateway.at("/app"));
    let second = url::Url::parse(again.header("location").expect("on to the provider")).expect("a URL");
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(first.parameter(name), Some(parameter(&second, name).as_str()), "{name} is used twice");
    }
    assert_eq!(browser.sign_in("alice", &scene.gateway.at("/app")).response.status, 200);
}
