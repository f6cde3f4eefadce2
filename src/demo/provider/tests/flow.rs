//! A good citizen: sign-in, refresh, userinfo, sign-out, and everything that it refuses.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{BASIC, CALLBACK, Tester, VERIFIER, opened, query, verifies};
use crate::base::clock::Clock;
use crate::demo::provider::{AccessTokenForm, Endpoint, Person, ProviderOptions, SigningAlgorithm};
use crate::demo::testing::request;

#[tokio::test]
async fn a_whole_sign_in_with_every_algorithm() {
    for signing in [SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
        let mut tester = Tester::with(ProviderOptions { signing, ..ProviderOptions::default() }).await;
        let page = tester.authorize(&[("login_hint", "al\"ice")]).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("Never use in production: any password works."));
        assert!(page.text().contains("al&#34;ice"), "{}", page.text());

        let answer = tester.sign_in(&[]).await;
        assert_eq!(answer["state"], "st&te");
        assert_eq!(answer["iss"], tester.provider.issuer());
        let tokens = tester.redeem(&answer["code"]).await.json();
        let (header, claims) = opened(&tokens["id_token"]);
        let keys = tester.get("/jwks").await.json();
        assert!(verifies(&tokens["id_token"], &keys), "{signing:?} {header}");
        assert_eq!(claims["iss"], tester.provider.issuer());
        assert_eq!((&claims["aud"], &claims["sub"]), (&json!("portcullis"), &json!("alice")));
        assert_eq!((&claims["nonce"], &claims["email_verified"]), (&json!("n0nce"), &json!(true)));
        assert_eq!(claims["roles"], json!(["user", "admin"]));
        assert_eq!(claims["groups"], json!(["staff", "engineering"]));
        assert!(claims["exp"].as_u64() > claims["iat"].as_u64());
        assert!(claims["sid"].is_string() && claims["auth_time"].is_u64());
        let access_token = tokens["access_token"].as_str().unwrap();
        let hash = if signing == SigningAlgorithm::EdDsa { &digest::SHA512 } else { &digest::SHA256 };
        let hash = digest::digest(hash, access_token.as_bytes());
        let half = &hash.as_ref()[..hash.as_ref().len() / 2];
        assert_eq!(claims["at_hash"], URL_SAFE_NO_PAD.encode(half));

        let bearer = format!("Bearer {access_token}");
        let userinfo = request(tester.address(), "GET", "/userinfo", &[("authorization", &bearer)], "").await.unwrap();
        assert_eq!(userinfo.json()["email"], "alice@example.com");
        assert_eq!(tester.get("/userinfo").await.status, 401);
    }
}

#[tokio::test]
async fn one_sign_in_serves_six_tabs_until_it_is_asked_for_anew() {
    let clock = Clock::manual(1_800_000_000);
    let mut tester = Tester::with(ProviderOptions { clock: clock.clone(), ..ProviderOptions::default() }).await;
    assert_eq!(tester.authorize(&[("prompt", "none")]).await.answer()["error"], "login_required");
    tester.sign_in(&[]).await;
    for _ in 0..6 {
        assert!(tester.authorize(&[]).await.answer().contains_key("code"));
    }
    assert!(tester.authorize(&[("prompt", "none")]).await.answer().contains_key("code"));
    assert_eq!(tester.authorize(&[("prompt", "login")]).await.status, 200);
    assert_eq!(tester.authorize(&[("max_age", "0")]).await.status, 200);
    assert_eq!(tester.authorize(&[("acr_values", "strong")]).await.status, 200);
    clock.advance(Duration::from_secs(61));
    assert!(tester.authorize(&[("max_age", "61")]).await.answer().contains_key("code"));
    assert_eq!(tester.authorize(&[("max_age", "60")]).await.status, 200);
    let answer = tester.sign_in(&[("acr_values", "strong weak")]).await;
    let (_, claims) = opened(&tester.redeem(&answer["code"]).await.json()["id_token"]);
    assert_eq!((&claims["acr"], &claims["auth_time"]), (&json!("strong"), &json!(1_800_000_061)));
}

#[tokio::test]
async fn requests_that_do_not_hold_together_are_refused() {
    let mut tester = Tester::new().await;
    for (name, value) in [
        ("client_id", "nobody"),
        ("redirect_uri", "http://127.0.0.1.evil.example/cb"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", ""),
    ] {
        let heard = tester.authorize(&[(name, value)]).await;
        assert_eq!((heard.status, heard.header("location")), (400, None), "{name}={value}");
    }
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "profile", "invalid_scope"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("prompt", "none login", "invalid_request"),
        ("max_age", "soon", "invalid_request"),
        ("request", "x.y.z", "request_not_supported"),
        ("request_uri", "http://127.0.0.1/r", "request_uri_not_supported"),
    ] {
        let answer = tester.authorize(&[(name, value)]).await.answer();
        assert_eq!(answer["error"], error, "{name}={value}");
        assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("st&te", tester.provider.issuer()));
    }
    let twice = format!("/authorize?{}&nonce=other", query(&[]));
    assert_eq!(tester.browse("GET", &twice, "").await.answer()["error"], "invalid_request");
    let twice = format!("/authorize?{}&redirect_uri=http://127.0.0.1:1/", query(&[]));
    assert_eq!(tester.browse("GET", &twice, "").await.status, 400);
}

#[tokio::test]
async fn a_code_is_bound_to_client_uri_and_verifier_and_works_once() {
    let mut tester = Tester::new().await;
    let redeem = async |tester: &Tester, code: &str, uri: &str, verifier: &str| {
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", uri)];
        tester.token(&[&form[..], &[("code_verifier", verifier)]].concat()).await
    };
    for (uri, verifier) in [(CALLBACK, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX"), ("http://127.0.0.1/", VERIFIER)]
    {
        let code = tester.sign_in(&[]).await.remove("code").unwrap();
        let heard = redeem(&tester, &code, uri, verifier).await;
        assert_eq!((heard.status, heard.json()["error"].as_str()), (400, Some("invalid_grant")));
    }
    let code = tester.sign_in(&[]).await.remove("code").unwrap();
    assert_eq!(redeem(&tester, &code, CALLBACK, VERIFIER).await.status, 200);
    assert_eq!(redeem(&tester, &code, CALLBACK, VERIFIER).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn clients_authenticate_in_the_body_or_the_header_but_not_in_both() {
    let mut tester = Tester::new().await;
    let code = tester.sign_in(&[]).await.remove("code").unwrap();
    let form = |secret: &str| {
        let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
        let client = [("code_verifier", VERIFIER), ("client_id", "portcullis"), ("client_secret", secret)];
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).extend_pairs(client).finish()
    };
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let ask = async |headers: &[(&str, &str)], form: &str| {
        request(tester.address(), "POST", "/token", headers, form).await.unwrap()
    };
    let heard = ask(&[kind], &form("wrong")).await;
    assert_eq!((heard.status, heard.json()["error"].as_str()), (401, Some("invalid_client")));
    assert!(heard.header("www-authenticate").is_some());
    assert_eq!(ask(&[kind], &form("")).await.status, 401);
    assert_eq!(ask(&[kind, ("authorization", BASIC)], &form("development-secret")).await.status, 400);
    assert_eq!(ask(&[kind], &form("development-secret")).await.status, 200);
    let last = tester.provider.control().requests(Endpoint::Token).pop().unwrap();
    assert_eq!(last.parameter("code_verifier"), Some(VERIFIER));
    assert_eq!(tester.provider.control().count(Endpoint::Token), 4);
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_replay_ends_them_all() {
    let mut tester = Tester::new().await;
    assert!(tester.tokens(&[("scope", "openid")]).await.get("refresh_token").is_none());
    let tokens = tester.tokens(&[]).await;
    let refresh = async |token: &str| tester.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await;
    let first = tokens["refresh_token"].as_str().unwrap();
    let renewed = refresh(first).await.json();
    let (_, claims) = opened(&renewed["id_token"]);
    assert_eq!((&claims["sub"], claims.get("nonce")), (&json!("alice"), None));
    let second = renewed["refresh_token"].as_str().unwrap();
    assert_ne!(first, second);
    assert_eq!(refresh(first).await.json()["error"], "invalid_grant");
    assert_eq!(refresh(second).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn revoked_tokens_work_no_longer() {
    let mut tester = Tester::new().await;
    let tokens = tester.tokens(&[]).await;
    let form = format!("token={}", tokens["refresh_token"].as_str().unwrap());
    let headers = [("authorization", BASIC), ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(request(tester.address(), "POST", "/revoke", &headers, &form).await.unwrap().status, 200);
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let userinfo = request(tester.address(), "GET", "/userinfo", &[("authorization", &bearer)], "").await.unwrap();
    assert_eq!(userinfo.status, 401);
}

#[tokio::test]
async fn signing_out_needs_the_right_hint_or_a_yes() {
    let mut tester = Tester::new().await;
    let tokens = tester.tokens(&[]).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let next = "post_logout_redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2F";

    let asked = tester.browse("GET", &format!("/end_session?client_id=portcullis&{next}&confirm=yes"), "").await;
    assert_eq!((asked.status, asked.header("set-cookie")), (200, None), "a link alone signs nobody out");
    assert!(tester.authorize(&[("prompt", "none")]).await.answer().contains_key("code"));
    let elsewhere = "post_logout_redirect_uri=https%3A%2F%2Fevil.example%2F";
    let heard = tester.browse("GET", &format!("/end_session?id_token_hint={hint}&{elsewhere}"), "").await;
    assert_eq!((heard.status, heard.header("location")), (400, None));

    let heard = tester.browse("GET", &format!("/end_session?id_token_hint={hint}&{next}&state=a%26b"), "").await;
    assert_eq!((heard.status, heard.header("location")), (303, Some("http://127.0.0.1:8080/?state=a%26b")));
    assert_eq!(tester.authorize(&[("prompt", "none")]).await.answer()["error"], "login_required");
    tester.sign_in(&[]).await;
    let old_hint = tester.browse("GET", &format!("/end_session?id_token_hint={hint}"), "").await;
    assert!(old_hint.text().contains("confirm"), "the hint of another sign-in proves nothing");
    assert_eq!(tester.browse("POST", "/end_session", "confirm=yes").await.status, 200);
    assert_eq!(tester.authorize(&[("prompt", "none")]).await.answer()["error"], "login_required");
}

#[tokio::test]
async fn people_and_claims_can_be_added_while_it_runs() {
    let mut tester = Tester::new().await;
    let heard = tester.browse("POST", &format!("/login?{}", query(&[])), "username=%3Cb%3E").await;
    assert_eq!(heard.status, 422);
    tester.provider.control().put_person(Person::new("carol", json!({"sub": "c-1", "team": {"lead": true}})));
    let heard = tester.browse("POST", &format!("/login?{}", query(&[])), "username=carol").await;
    let (_, claims) = opened(&tester.redeem(&heard.answer()["code"]).await.json()["id_token"]);
    assert_eq!((&claims["sub"], &claims["team"]["lead"]), (&json!("c-1"), &json!(true)));
    let created = format!("/login?{}", query(&[("prompt", "create")]));
    let heard = tester.browse("POST", &created, "username=dave").await;
    let (_, claims) = opened(&tester.redeem(&heard.answer()["code"]).await.json()["id_token"]);
    assert_eq!((&claims["email"], &claims["email_verified"]), (&json!("dave@example.com"), &json!(false)));
}

#[tokio::test]
async fn access_tokens_can_be_signed() {
    let access_tokens = AccessTokenForm::Jwt { audience: "https://api.example.com".to_owned() };
    let mut tester = Tester::with(ProviderOptions { access_tokens, ..ProviderOptions::default() }).await;
    let tokens = tester.tokens(&[]).await;
    let (header, claims) = opened(&tokens["access_token"]);
    assert_eq!((&header["typ"], &claims["aud"]), (&json!("at+jwt"), &json!("https://api.example.com")));
    assert!(verifies(&tokens["access_token"], &tester.get("/jwks").await.json()));
}
