//! Attack 42: a token that brings its own key, or says where to fetch one. Nobody is ever asked, and the key is never used.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::demo::provider::IdTokenFault;
use serde_json::{Map, Value, json};

use crate::sign_ins::SignIns;
use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::provider::Provider;
use crate::support::upstream::Upstream;

#[test]
fn keys_in_the_header_are_neither_used_nor_fetched() {
    let scene = SignIns::start();
    let listener = Upstream::start();
    let url = format!("{}/keys", listener.url());
    for fault in [
        IdTokenFault::EmbeddedKey,
        IdTokenFault::EmbeddedCertificate,
        IdTokenFault::KeyUrl(url.clone()),
        IdTokenFault::CertificateUrl(url),
    ] {
        let what = format!("{fault:?}");
        scene.control().once(fault);
        scene.assert_refused(&what);
        assert_eq!(scene.control().fired(), 1, "{what}");
    }
    assert_eq!(listener.connections(), 0);
}

/// Every order and nesting of the `PrOfESSOS` list, each signed by a stranger whose key is where the header says.
#[test]
fn no_order_or_nesting_of_keys_helps_a_stranger() {
    let scene = SignIns::start();
    let listener = Upstream::start();
    let honest = Client::new(scene.provider.issuer()).get("/jwks").send().json();
    listener.on("/keys", Answer::json(&honest));
    let (url, good) = (format!("{}/keys", listener.url()), format!("{}/jwks", scene.provider.issuer()));
    let key = honest["keys"][0].clone();
    let mut nested = key.clone();
    for name in ["jku", "x5u"] {
        nested[name] = json!(url);
    }
    for header in [
        json!({"jku": url}),
        json!({"jku": [good, url]}),
        json!({"jku": [url, good]}),
        json!({"jku": good}),
        json!({"x5u": url}),
        json!({"x5u": [url, good]}),
        json!({"jwk": nested}),
        json!({"jwk": [key, nested]}),
        json!({"jwk": key.to_string()}),
        json!({"x5c": ["AAAA"]}),
        json!({"x5c": []}),
        json!({"x5t": "AAAA", "x5t#S256": "AAAA"}),
        json!({"jku": url, "x5u": url, "jwk": key, "kid": url}),
        json!({"jku": "file:///etc/passwd"}),
        json!({"jku": "gopher://127.0.0.1:1/x"}),
    ] {
        let (control, extra) = (scene.control().clone(), header.clone());
        scene.control().rewrite(move |token| {
            let claims = part(&token, 1);
            control.sign_as_stranger(extra.as_object().expect("an object"), &claims).expect("it can be signed")
        });
        scene.assert_refused(&header.to_string());
    }
    assert_eq!(listener.connections(), 0, "a URL in a token was asked");
    scene.control().behave();
    scene.assert_accepted("a good sign-in after it");
}

/// The same header names with the right signature change nothing: they are not looked at, or the token is refused.
#[test]
fn a_url_in_a_token_that_is_signed_well_is_not_asked_either() {
    let scene = SignIns::start();
    let listener = Upstream::start();
    let url = format!("{}/keys", listener.url());
    scene.control().mint(move |header, _| {
        for name in ["jku", "x5u"] {
            header.insert(name.to_owned(), json!(url));
        }
    });
    let (_, page) = scene.attempt();
    assert!(matches!(page.response.status, 200 | 502), "{}", page.response.status);
    assert_eq!(listener.connections(), 0);
}

/// Two providers, one browser: a token that the other one signed is no token of this one, whichever flow it is put into.
#[test]
fn the_keys_of_one_provider_say_nothing_for_another() {
    let other = Provider::start();
    let tables = format!(
        "[providers.other]\nissuer = {:?}\nclient_id = \"portcullis\"\nclient_secret = \"development-secret\"",
        other.issuer()
    );
    let scene =
        SignIns::start_with(portcullis::demo::provider::ProviderOptions::default(), |config| config.raw(&tables));
    let login = scene.gateway.at("/.auth/login/corp?return_to=/app");
    let signer = other.control().clone();
    scene.control().rewrite(move |token| signer.sign(&Map::new(), &part(&token, 1)).expect("it can be signed"));
    let mut browser = crate::support::browser::Browser::new();
    // Both flows are open in this browser, begun one after the other.
    browser.peek(&scene.gateway.at("/.auth/login/other"));
    let page = browser.sign_in("alice", &login);
    scene.assert_says_no("signed by the other provider", &page);
    assert_eq!(scene.me(&mut browser).status, 401);
    scene.control().behave();
    assert_eq!(browser.sign_in("alice", &login).response.status, 200);
}

fn part(token: &str, index: usize) -> Map<String, Value> {
    let text = token.split('.').nth(index).expect("a JWS has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("an object")
}
