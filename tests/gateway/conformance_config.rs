//! The modules of the `OpenID` Foundation's Config RP plan, each named as there, with an oracle of our own.

use portcullis::base::clock::instant;
use portcullis::demo::provider::{Edit, Endpoint, IdTokenFault, Misbehaviour};
use serde_json::json;

use crate::sign_ins::SignIns;
use crate::support::PATIENCE;
use crate::support::answer::Answer;
use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::pause;
use crate::support::provider::Provider;
use crate::support::upstream::Upstream;

#[test]
fn oidcc_client_test_discovery_openid_config() {
    let scene = SignIns::start();
    assert!(scene.control().count(Endpoint::Discovery) > 0 || scene.control().count(Endpoint::Jwks) == 0);
    scene.assert_accepted("endpoints from the metadata");
}

/// The keys are where the metadata says, wherever that is; the usual place has none.
#[test]
fn oidcc_client_test_discovery_jwks_uri_keys() {
    let provider = Provider::start();
    let keys = Client::new(provider.issuer()).get("/jwks").send().json();
    let elsewhere = Upstream::start();
    elsewhere.on("/c9f1e0/keys", Answer::json(&keys));
    let url = format!("{}/c9f1e0/keys", elsewhere.url());
    provider.control().always(Misbehaviour::Metadata(Edit::set("jwks_uri", url)));
    let allowed = format!("private_endpoints = [{:?}]", elsewhere.url());
    let scene = SignIns::between(provider, |config| config.provider_line(&allowed));
    scene.assert_accepted("keys at a place of the provider's choice");
    assert_eq!(elsewhere.last_request().target, "/c9f1e0/keys");
    assert_eq!(scene.control().count(Endpoint::Jwks), 0, "the usual place was asked");
}

/// It must stop before anybody is sent to sign in.
#[test]
fn oidcc_client_test_discovery_issuer_mismatch() {
    for issuer in ["https://honest.example", "", "http://127.0.0.1", "ISSUER/", "ISSUER?x", "issuer"] {
        let provider = Provider::start();
        let named = issuer.replace("ISSUER", provider.issuer());
        provider.control().always(Misbehaviour::Metadata(Edit::set("issuer", named.clone())));
        let scene = SignIns::between(provider, |config| config);
        let mut browser = Browser::new();
        let page = browser.open(&scene.gateway.at("/app"));
        scene.assert_says_no(&named, &page);
        assert_eq!(page.response.status, 502, "{named}");
        scene.assert_opens_nothing(&named, &mut browser);
        assert_eq!(scene.control().count(Endpoint::Authorize), 0, "{named}: somebody was sent to sign in");
        assert_eq!(scene.upstream.connections(), 0, "{named}");
    }
    for (what, whole) in [("no issuer", json!({"authorization_endpoint": "x"})), ("a list", json!(["issuer"]))] {
        let provider = Provider::start();
        provider.control().always(Misbehaviour::Metadata(Edit::Whole(whole)));
        let scene = SignIns::between(provider, |config| config);
        let page = Browser::new().open(&scene.gateway.at("/app"));
        scene.assert_says_no(what, &page);
        assert_eq!(scene.control().count(Endpoint::Authorize), 0, "{what}");
    }
}

#[test]
fn oidcc_client_test_idtoken_sig_none() {
    let scene = SignIns::start();
    scene.control().once(IdTokenFault::NoAlgorithm { spelling: "none".to_owned(), signature: false });
    scene.assert_refused("alg none");
    assert_eq!(scene.control().fired(), 1);
}

/// The key that signs has just taken the place of the published one: the set is read anew while the token is verified.
#[test]
fn oidcc_client_test_signing_key_rotation_just_before_signing() {
    let scene = SignIns::start();
    scene.assert_accepted("before");
    scene.control().once(IdTokenFault::RotatedKey);
    scene.assert_accepted("the key changed a moment before it signed");
    assert_eq!((scene.control().fired(), scene.control().count(Endpoint::Jwks)), (1, 1), "one reading, no more");
}

#[test]
fn oidcc_client_test_signing_key_rotation() {
    let scene = SignIns::start();
    scene.assert_accepted("with the first key");
    scene.control().rotate_keys().expect("a key can be made");
    scene.assert_accepted("with the second key");
    assert_eq!(scene.control().count(Endpoint::Jwks), 1);
    scene.assert_accepted("with the second key again");
    assert_eq!(scene.control().count(Endpoint::Jwks), 0, "what is known is not asked for");
}

/// The set is read anew for an unknown key, but not as often as somebody pleases (attack 47).
#[test]
fn rotated_keys_are_picked_up_once_the_pace_allows() {
    let scene = SignIns::start();
    scene.assert_accepted("with the first key");
    scene.control().rotate_keys().expect("a key can be made");
    scene.assert_accepted("with the second key");
    scene.control().rotate_keys().expect("a key can be made");
    let began = instant();
    let mut tries = 0;
    let mut asked = 0;
    let tick = std::time::Duration::from_millis(200);
    while scene.attempt().1.response.status != 200 {
        tries += 1;
        asked = scene.control().count(Endpoint::Jwks);
        assert!(tick * tries < PATIENCE, "the third key was never picked up");
        pause(tick);
    }
    // A busy machine makes few tries in the ten seconds until the set may be read again.
    let paced = tries > 3 || began.elapsed() > std::time::Duration::from_secs(8);
    assert!(paced && asked <= 2, "{tries} sign-ins with an unknown key made us ask {asked} times");
}
