//! Misbehaviour really takes place, once or until it is told to behave.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Tester, opened, verifies};
use crate::demo::provider::{AnswerFault, Edit, IdTokenFault, KeysFault, Misbehaviour};

async fn faulty(tester: &mut Tester, fault: IdTokenFault) -> Value {
    tester.provider.control().once(fault);
    tester.tokens(&[]).await["id_token"].take()
}

#[tokio::test]
async fn everything_refusable_differs_from_a_right_token() {
    let mut tester = Tester::new().await;
    let listener = "http://127.0.0.1:9/keys";
    let faults = IdTokenFault::every_refusable(listener);
    let expected = faults.len();
    let mut seen = std::collections::BTreeSet::new();
    for (name, fault) in faults {
        assert!(seen.insert(name.clone()), "{name} comes twice");
        let token = faulty(&mut tester, fault).await;
        assert!(is_wrong(&token, &tester.get("/jwks").await.json(), tester.provider.issuer()), "{name}: {token}");
    }
    assert_eq!(tester.provider.control().fired(), expected as u64);
    let right = tester.tokens(&[]).await["id_token"].take();
    assert!(!is_wrong(&right, &tester.get("/jwks").await.json(), tester.provider.issuer()), "{right}");
}

/// What a careful relying party looks at; kept apart from how the provider makes its tokens.
fn is_wrong(token: &Value, keys: &Value, issuer: &str) -> bool {
    let text = token.as_str().unwrap();
    let well_formed =
        text.split('.').count() == 3 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !well_formed {
        return true;
    }
    let (header, claims) = opened(token);
    let iat = claims["iat"].as_u64().unwrap_or(u64::MAX);
    let sub = claims["sub"].as_str().unwrap_or_default();
    header["alg"] != "RS256"
        || header.get("crit").is_some()
        || !verifies(token, keys)
        || claims["iss"] != issuer
        || claims["aud"] != "portcullis"
        || claims.get("azp").is_some_and(|azp| azp != "portcullis")
        || sub != "alice"
        || claims["nonce"] != "n0nce"
        || claims["exp"].as_u64().is_none_or(|exp| exp <= iat)
        || iat > claims["auth_time"].as_u64().unwrap() + 60
        || claims["at_hash"] == "AAAAAAAAAAAAAAAAAAAAAA"
}

#[tokio::test]
async fn forged_signatures_are_what_they_claim_to_be() {
    use aws_lc_rs::hmac;
    let mut tester = Tester::new().await;
    let parts = |token: &Value| {
        let (message, signature) = token.as_str().unwrap().rsplit_once('.').unwrap();
        (message.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
    };
    let token = faulty(&mut tester, IdTokenFault::HmacWithClientSecret).await;
    let (message, signature) = parts(&token);
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"development-secret");
    hmac::verify(&key, message.as_bytes(), &signature).unwrap();
    let token = faulty(&mut tester, IdTokenFault::HmacWithPublicKey).await;
    let (message, signature) = parts(&token);
    let pem = tester.provider.control().keys().current().pem().unwrap();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes()), message.as_bytes(), &signature).unwrap();
    let token = faulty(&mut tester, IdTokenFault::EmbeddedKey).await;
    let (header, _) = opened(&token);
    let mut jwk = header["jwk"].clone();
    jwk["kid"] = header["kid"].clone();
    assert!(verifies(&token, &json!({"keys": [jwk]})), "who believes the header's key accepts it");
    assert!(!verifies(&token, &tester.get("/jwks").await.json()));
    let token = faulty(&mut tester, IdTokenFault::KeyUrl("http://127.0.0.1:9/".to_owned())).await;
    assert_eq!(opened(&token).0["jku"], "http://127.0.0.1:9/");
    let token = faulty(&mut tester, IdTokenFault::NoAlgorithm { spelling: "NoNe".to_owned(), signature: false }).await;
    assert!(token.as_str().unwrap().ends_with('.') && opened(&token).0["alg"] == "NoNe");
}

#[tokio::test]
async fn a_rotated_key_signs_valid_tokens_under_a_new_kid() {
    let mut tester = Tester::new().await;
    let before = tester.get("/jwks").await.json();
    let token = faulty(&mut tester, IdTokenFault::RotatedKey).await;
    assert!(!verifies(&token, &before));
    assert!(verifies(&token, &tester.get("/jwks").await.json()));
}

#[tokio::test]
async fn claims_come_twice_in_the_text() {
    let mut tester = Tester::new().await;
    let token = faulty(&mut tester, IdTokenFault::Duplicate("sub".to_owned(), json!("admin"))).await;
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!(text.matches("\"sub\"").count(), 2, "{text}");
    assert_eq!(opened(&token).1["sub"], "admin");
}

#[tokio::test]
async fn hooks_see_every_token_until_told_to_behave() {
    let mut tester = Tester::new().await;
    let control = tester.provider.control().clone();
    control.mint(|header, claims| {
        header.insert("typ".to_owned(), json!("logout+jwt"));
        claims.clear();
    });
    control.rewrite(|token| format!("{token}~"));
    for _ in 0..2 {
        let token = tester.tokens(&[]).await["id_token"].take();
        assert!(token.as_str().unwrap().ends_with('~'));
        let (header, claims) = opened(&token);
        assert_eq!((&header["typ"], claims), (&json!("logout+jwt"), json!({})));
    }
    control.behave();
    assert_eq!(opened(&tester.tokens(&[]).await["id_token"]).1["sub"], "alice");
    let claims = Map::from_iter([("a".to_owned(), json!(1))]);
    let keys = tester.get("/jwks").await.json();
    assert!(verifies(&json!(control.sign(&Map::new(), &claims).unwrap()), &keys));
    assert!(!verifies(&json!(control.sign_as_stranger(&Map::new(), &claims).unwrap()), &keys));
}

#[tokio::test]
async fn answers_metadata_keys_tokens_and_userinfo_can_be_changed() {
    let mut tester = Tester::new().await;
    let control = tester.provider.control().clone();
    control.always(AnswerFault::Remove("iss".to_owned()));
    assert!(!tester.sign_in(&[]).await.contains_key("iss"));
    assert!(!tester.authorize(&[]).await.answer().contains_key("iss"));
    control.behave();
    control.once(AnswerFault::Set("state".to_owned(), "other".to_owned()));
    assert_eq!(tester.authorize(&[]).await.answer()["state"], "other");
    let description = "<script>alert(1)</script>".to_owned();
    control.once(AnswerFault::Error { error: "access_denied".to_owned(), description: description.clone() });
    let answer = tester.authorize(&[]).await.answer();
    assert_eq!((answer["error"].as_str(), &answer["error_description"]), ("access_denied", &description));

    control.once(Misbehaviour::Metadata(Edit::set("token_endpoint", "http://169.254.169.254/")));
    let metadata = tester.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["token_endpoint"], "http://169.254.169.254/");
    let metadata = tester.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["token_endpoint"], format!("{}/token", tester.provider.issuer()));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);

    control.once(KeysFault::Many(10_000));
    assert_eq!(tester.get("/jwks").await.json()["keys"].as_array().unwrap().len(), 10_001);
    control.once(KeysFault::SeveralWithoutKid);
    let keys = tester.get("/jwks").await.json()["keys"].as_array().unwrap().clone();
    assert!(keys.len() == 3 && keys.iter().all(|key| key.get("kid").is_none()));
    control.once(KeysFault::Padding(1 << 20));
    assert!(tester.get("/jwks").await.body.len() > 1 << 20);

    control.once(Misbehaviour::TokenAnswer(Edit::remove("id_token")));
    assert!(tester.tokens(&[]).await.get("id_token").is_none());
    control.once(Misbehaviour::TokenRefused { error: "invalid_grant".to_owned(), description: String::new() });
    assert_eq!(tester.tokens(&[]).await["error"], "invalid_grant");
    control.once(Misbehaviour::Userinfo(Edit::Whole(json!([]))));
    let bearer = format!("Bearer {}", tester.tokens(&[]).await["access_token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let heard = crate::demo::testing::request(tester.address(), "GET", "/userinfo", &headers, "").await.unwrap();
    assert_eq!(heard.json(), json!([]));
}
