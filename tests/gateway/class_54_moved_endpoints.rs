//! Attack 54 and the mix-up cases of the `PrOfESSOS` list: metadata that leads to somebody else's door, at once or later.

use std::time::Duration;

use portcullis::demo::provider::{AnswerFault, Edit, Endpoint, Misbehaviour, ProviderOptions, SigningAlgorithm};

use crate::sign_ins::{SignIns, parameter};
use crate::support::browser::Browser;
use crate::support::pause;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;

/// Longer than the gateway takes a provider to be there without asking.
const SILENCE: Duration = Duration::from_millis(5500);

fn provider() -> Provider {
    Provider::start_with(ProviderOptions { signing: SigningAlgorithm::Es256, ..ProviderOptions::default() })
}

/// Two providers in one gateway: `honest`, and `corp`, whose metadata is `wrong`. The operator even allowed corp the other's
/// origin.
fn beside_an_honest_one(honest: &Provider, wrong: Edit) -> SignIns {
    let evil = provider();
    evil.control().always(Misbehaviour::Metadata(wrong));
    let table = format!(
        "[providers.honest]\nissuer = {:?}\nclient_id = {CLIENT_ID:?}\nclient_secret = \"the secret of the honest one\"",
        honest.issuer()
    );
    let allowed = format!("private_endpoints = [{:?}]", honest.issuer());
    SignIns::between(evil, |config| config.provider_line(&allowed).raw(&table))
}

#[test]
fn no_secret_code_or_token_goes_to_another_providers_host() {
    for name in ["token_endpoint", "userinfo_endpoint", "authorization_endpoint"] {
        let honest = provider();
        let path = name.replace("_endpoint", "").replace("authorization", "authorize");
        let scene = beside_an_honest_one(&honest, Edit::set(name, format!("{}/{path}", honest.issuer())));
        let mut browser = Browser::new();
        let page = browser.sign_in("alice", &scene.gateway.at("/.auth/login/corp?return_to=/app"));
        scene.assert_says_no(name, &page);
        assert_eq!(scene.me(&mut browser).status, 401, "{name}");
        for endpoint in [Endpoint::Token, Endpoint::Userinfo] {
            assert_eq!(honest.control().count(endpoint), 0, "{name}: the honest provider was asked at {endpoint:?}");
            assert_eq!(scene.control().count(endpoint), 0, "{name}: a code went to {endpoint:?}");
        }
    }
}

/// `IdP` confusion: people would sign in at the honest provider, which knows nothing of RFC 9207, and its code would be redeemed at
/// the other's token endpoint. Nobody is sent there to begin with.
#[test]
fn nobody_signs_in_at_one_provider_for_another() {
    let honest = provider();
    let door = format!("{}/authorize", honest.issuer());
    let scene = beside_an_honest_one(&honest, Edit::set("authorization_endpoint", door));
    let promise = "authorization_response_iss_parameter_supported";
    scene.control().always(Misbehaviour::Metadata(Edit::remove(promise)));
    honest.control().always(AnswerFault::Remove("iss".to_owned()));
    let page = Browser::new().sign_in("alice", &scene.gateway.at("/.auth/login/corp?return_to=/app"));
    scene.assert_says_no("the honest provider's door", &page);
    assert_eq!(honest.control().count(Endpoint::Authorize), 0, "somebody was sent to the honest provider");
    assert_eq!(scene.control().count(Endpoint::Token), 0, "a code of the honest provider was given away");
}

/// The metadata claims to be the honest provider's: nobody is sent anywhere.
#[test]
fn metadata_of_another_issuer_is_not_used() {
    let honest = provider();
    let scene = beside_an_honest_one(&honest, Edit::set("issuer", honest.issuer()));
    let page = Browser::new().open(&scene.gateway.at("/.auth/login/corp"));
    scene.assert_says_no("another issuer", &page);
    assert_eq!(scene.control().count(Endpoint::Authorize), 0);
}

/// The endpoints move while we run: the old ones stay in use, and the new place hears nothing.
#[test]
fn endpoints_that_move_are_not_followed() {
    let scene = SignIns::start();
    let listener = Upstream::start();
    scene.assert_accepted("before");
    for name in ["token_endpoint", "userinfo_endpoint", "jwks_uri", "authorization_endpoint", "end_session_endpoint"] {
        scene.control().always(Misbehaviour::Metadata(Edit::set(name, format!("{}/{name}", listener.url()))));
    }
    pause(SILENCE);
    scene.assert_accepted("after the document was read anew");
    let is_read = || scene.control().count(Endpoint::Discovery) > 0;
    assert!(crate::support::comes_true(is_read), "the document was not read anew");
    assert_eq!(listener.connections(), 0);
}

/// RFC 9207: an answer that names another issuer, or none though the metadata promised it, redeems no code.
#[test]
fn an_answer_of_another_issuer_redeems_no_code() {
    let scene = SignIns::start();
    let issuer = scene.provider.issuer().to_owned();
    let set = |value: &str| AnswerFault::Set("iss".to_owned(), value.to_owned());
    for fault in [
        set("https://honest.example"),
        set(&format!("{issuer}/")),
        set(&issuer.to_uppercase()),
        set(""),
        AnswerFault::Remove("iss".to_owned()),
        AnswerFault::Add("iss".to_owned(), issuer.clone()),
        AnswerFault::Add("iss".to_owned(), "https://honest.example".to_owned()),
    ] {
        let what = format!("{fault:?}");
        scene.control().once(fault);
        scene.assert_refused(&what);
        assert_eq!((scene.control().fired(), scene.control().count(Endpoint::Token)), (1, 0), "{what}");
    }
    scene.assert_accepted("its own issuer");
}

/// CSRF 1-3 of the list: a state that is wrong, from another browser's flow, or absent redeems no code.
#[test]
fn an_answer_with_another_state_redeems_no_code() {
    let scene = SignIns::start();
    let set = |value: &str| AnswerFault::Set("state".to_owned(), value.to_owned());
    let mut other = Browser::new();
    let begun = other.peek(&scene.gateway.at("/app"));
    let others = url::Url::parse(begun.header("location").expect("to the provider")).expect("a URL");
    for fault in [
        set("wrong"),
        set(""),
        set(&parameter(&others, "state")),
        AnswerFault::Remove("state".to_owned()),
        AnswerFault::Add("state".to_owned(), "second".to_owned()),
        AnswerFault::Add("code".to_owned(), "second".to_owned()),
        AnswerFault::Remove("code".to_owned()),
        AnswerFault::Set("code".to_owned(), String::new()),
    ] {
        let what = format!("{fault:?}");
        scene.control().once(fault);
        scene.assert_refused(&what);
        assert_eq!((scene.control().fired(), scene.control().count(Endpoint::Token)), (1, 0), "{what}");
    }
}

/// Token substitution: a code from another person's sign-in, put into one's own flow, is refused: PKCE and nonce bind it.
#[test]
fn a_code_of_another_sign_in_is_of_no_use() {
    let scene = SignIns::start();
    let mut mallory = Browser::new();
    mallory.stop_before = Some("/.auth/callback/".to_owned());
    let stolen = parameter(&mallory.sign_in("bob", &scene.gateway.at("/app")).url, "code");
    scene.control().once(AnswerFault::Set("code".to_owned(), stolen));
    scene.assert_refused("bob's code in alice's flow");
    assert_eq!(scene.control().count(Endpoint::Token), 1, "it was tried, with a verifier that does not fit");
}

/// The same callback twice, and a flow of one provider at the other's redirect URI.
#[test]
fn a_flow_is_of_one_provider_and_works_once() {
    let honest = provider();
    let table = format!(
        "[providers.honest]\nissuer = {:?}\nclient_id = {CLIENT_ID:?}\nclient_secret = {CLIENT_SECRET:?}",
        honest.issuer()
    );
    let scene = SignIns::start_with(ProviderOptions::default(), |config| config.raw(&table));
    let mut browser = Browser::new();
    browser.stop_before = Some("/.auth/callback/".to_owned());
    let callback = browser.sign_in("alice", &scene.gateway.at("/.auth/login/corp?return_to=/app")).url;
    let crossed = callback.as_str().replace("/callback/corp", "/callback/honest");
    let answer = browser.clone().peek(&crossed);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!((scene.control().count(Endpoint::Token), honest.control().count(Endpoint::Token)), (0, 0));
    let twin = browser.clone();
    assert_eq!(browser.peek(callback.as_str()).status, 303);
    let mut twin = twin;
    let again = twin.peek(callback.as_str());
    assert_eq!(again.status, 400, "{}", again.text());
    assert_eq!(scene.control().count(Endpoint::Token), 1, "a code was redeemed twice");
    assert_eq!(scene.me(&mut twin).status, 401);
}
