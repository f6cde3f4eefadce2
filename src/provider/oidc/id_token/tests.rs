//! ID tokens that must be refused, one rule at a time, and the few variations that must not be.

use serde_json::json;

use super::super::rig::{self, NONCE, NOW};
use super::*;
use crate::jose::testing::{TestKey, compact};

const ALGORITHMS: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Es256];
const ACCESS_TOKEN: &str = "SlAV32hkKG";

fn expected() -> Expected<'static> {
    Expected {
        issuer: "https://idp.example",
        client_id: "app",
        nonce: Nonce::Sent(NONCE),
        algorithms: ALGORITHMS,
        max_age: None,
        now: Timestamp::from_seconds(NOW),
        skew: Duration::from_secs(30),
    }
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn good_keys() -> KeySet {
    key_set(&[TestKey::for_algorithm(Algorithm::Es256).jwk("good")])
}

/// The good claims with `name` set to `value`, or taken away when `value` is absent.
fn with(name: &str, value: Option<Value>) -> Value {
    let mut claims = rig::claims();
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().shift_remove(name)),
    }
    claims
}

fn outcome(claims: &Value) -> Result<Verified, Refusal> {
    verify_with(&good_keys(), (&rig::id_token(claims), ACCESS_TOKEN), &expected())
}

fn reason(outcome: Result<Verified, Refusal>) -> String {
    match outcome {
        Err(Refusal::Broken(reason)) => reason,
        Err(Refusal::UnknownKey) => "unknown key".to_owned(),
        Ok(_) => panic!("the token must be refused"),
    }
}

/// Refused for a reason that has `part` in it, so that the right rule is seen at work.
fn refused(name: &str, value: Option<Value>, part: &str) {
    let claims = with(name, value);
    let reason = reason(outcome(&claims));
    assert!(reason.contains(part), "{claims}: {reason}");
}

#[test]
fn a_good_token_holds() {
    let verified = outcome(&rig::claims()).unwrap();
    assert_eq!((verified.subject.as_str(), verified.authenticated), ("alice", None));
    assert_eq!(verified.claims["email"], "alice@example.com");
    assert!(outcome(&with("aud", Some(json!(["app"])))).is_ok());
    assert!(outcome(&with("azp", Some(json!("app")))).is_ok());
    assert!(outcome(&with("nbf", Some(Value::Null))).is_ok());
    let sure = outcome(&with("auth_time", Some(json!(NOW - 5)))).unwrap();
    assert_eq!(sure.authenticated, Some(Timestamp::from_seconds(NOW - 5)));
}

#[test]
fn issuer_audience_and_party_must_be_right() {
    for issuer in ["https://evil.example", "https://idp.example/", "HTTPS://idp.example", "https://idp.example:443"] {
        refused("iss", Some(json!(issuer)), "(iss)");
    }
    refused("iss", None, "lacks a claim");
    refused("iss", Some(json!("")), "lacks a claim");
    for audience in [json!("other"), json!([]), json!(["other"]), json!(""), json!("APP")] {
        refused("aud", Some(audience), "(aud)");
    }
    refused("aud", None, "(aud)");
    refused("aud", Some(json!(["app", "stranger"])), "(aud)");
    let mut several = with("aud", Some(json!(["app", "stranger"])));
    several["azp"] = json!("app");
    assert!(reason(outcome(&several)).contains("(aud)"));
    refused("aud", Some(json!(["app", "app"])), "no azp");
    for party in [json!("other"), json!(""), json!(["app"]), json!(1)] {
        let reason = reason(outcome(&with("azp", Some(party.clone()))));
        assert!(reason.contains("(azp)") || reason.contains("lacks a claim"), "{party}: {reason}");
    }
}

#[test]
fn dates_must_be_there_and_sane() {
    refused("exp", None, "lacks a claim");
    refused("iat", None, "lacks a claim");
    refused("exp", Some(json!(NOW - 30)), "expired");
    assert!(outcome(&with("exp", Some(json!(NOW - 29)))).is_ok());
    refused("iat", Some(json!(NOW + 31)), "future");
    assert!(outcome(&with("iat", Some(json!(NOW + 30)))).is_ok());
    refused("iat", Some(json!(NOW - 3631)), "an hour ago");
    assert!(outcome(&with("iat", Some(json!(NOW - 3630)))).is_ok());
    refused("nbf", Some(json!(NOW + 31)), "(nbf)");
    assert!(outcome(&with("nbf", Some(json!(NOW + 30)))).is_ok());
    refused("auth_time", Some(json!(NOW + 31)), "auth_time");
}

#[test]
fn odd_numbers_have_a_defined_refusal() {
    for name in ["exp", "iat", "nbf", "auth_time"] {
        for odd in [
            json!("1800000300"),
            json!(1_800_000_000.5),
            json!(1e300),
            json!(-1),
            json!(u64::MAX),
            json!(i64::MAX),
            json!([NOW]),
            json!({}),
            json!(true),
            json!("2027-01-15T08:00:00Z"),
        ] {
            let claims = with(name, Some(odd.clone()));
            assert!(check_form(&rig::id_token(&claims)).is_err(), "{name} = {odd}");
            // Even if the library sees it first, there is an answer and no panic.
            assert!(outcome(&claims).is_err(), "{name} = {odd}");
        }
    }
    assert_eq!(check_form(&rig::id_token(&rig::claims())), Ok(()));
}

#[test]
fn a_refresh_brings_the_nonce_of_the_sign_in_or_none() {
    let verify = |nonce: Option<Value>, earlier: Nonce<'static>| {
        let claims = with("nonce", nonce);
        let expected = Expected { nonce: earlier, ..expected() };
        verify_with(&good_keys(), (&rig::id_token(&claims), ACCESS_TOKEN), &expected).is_ok()
    };
    assert!(verify(None, Nonce::Earlier(Some(NONCE))) && verify(None, Nonce::Earlier(None)));
    assert!(verify(Some(json!(NONCE)), Nonce::Earlier(Some(NONCE))));
    assert!(!verify(Some(json!("other")), Nonce::Earlier(Some(NONCE))));
    assert!(!verify(Some(json!(NONCE)), Nonce::Earlier(None)));
    assert!(!verify(None, Nonce::Sent(NONCE)));
}

#[test]
fn the_nonce_must_be_the_one_that_was_sent() {
    refused("nonce", None, "nonce");
    for nonce in ["", "other", "the-nonce-that-was-sent "] {
        refused("nonce", Some(json!(nonce)), "nonce");
    }
    refused("nonce", Some(json!([NONCE])), "lacks a claim");
}

#[test]
fn a_subject_is_short_printable_text() {
    refused("sub", None, "lacks a claim");
    for odd in [json!(["alice"]), json!(7), json!(null), json!({"a": 1})] {
        refused("sub", Some(odd), "lacks a claim");
    }
    for odd in ["", " alice", "alice ", "al\u{0}ice", "al\nice", "älice", "\u{202e}alice"] {
        refused("sub", Some(json!(odd)), "has a sub");
    }
    refused("sub", Some(json!("a".repeat(256))), "has a sub");
    assert!(outcome(&with("sub", Some(json!("a".repeat(255))))).is_ok());
    assert!(outcome(&with("sub", Some(json!("auth0|5f 7")))).is_ok());
}

#[test]
fn the_access_token_must_belong_to_it() {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, ACCESS_TOKEN.as_bytes());
    let hash = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]);
    assert!(outcome(&with("at_hash", Some(json!(hash)))).is_ok());
    for wrong in ["", "AAAAAAAAAAAAAAAAAAAAAA", &URL_SAFE_NO_PAD.encode(digest.as_ref())] {
        refused("at_hash", Some(json!(wrong)), "at_hash");
    }
    // The example of OpenID Connect Core 1.0, appendix A.3, whose token is signed with RS256.
    let claims = json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"});
    let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
    assert_eq!(check_access_token(claims.as_object().unwrap(), token, Algorithm::Rs256), Ok(()));
}

#[test]
fn an_authentication_must_be_recent_where_that_was_asked() {
    let recent = Expected { max_age: Some(60), ..expected() };
    let outcome = |claims: &Value| verify_with(&good_keys(), (&rig::id_token(claims), ACCESS_TOKEN), &recent);
    assert!(reason(outcome(&rig::claims())).contains("no auth_time"));
    assert!(reason(outcome(&with("auth_time", Some(json!(NOW - 91))))).contains("max_age"));
    assert!(outcome(&with("auth_time", Some(json!(NOW - 90)))).is_ok());
}

#[test]
fn the_settings_say_which_algorithms_count() {
    let token = |algorithm: Algorithm| {
        let header = json!({"alg": algorithm.name(), "kid": "k"});
        TestKey::for_algorithm(algorithm).token(algorithm, &header, &rig::claims())
    };
    for algorithm in Algorithm::ALL {
        let keys = key_set(&[TestKey::for_algorithm(algorithm).jwk("k")]);
        let outcome = verify_with(&keys, (&token(algorithm), ACCESS_TOKEN), &expected());
        if ALGORITHMS.contains(&algorithm) {
            assert!(outcome.is_ok(), "{algorithm:?}");
        } else {
            assert!(reason(outcome).contains("signing_algorithms"), "{algorithm:?}");
        }
        let all = Expected { algorithms: &Algorithm::ALL, ..expected() };
        assert!(verify_with(&keys, (&token(algorithm), ACCESS_TOKEN), &all).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn signatures_of_others_and_swapped_algorithms_are_refused() {
    let rsa = TestKey::for_algorithm(Algorithm::Rs256);
    let keys = key_set(&[rsa.jwk("k")]);
    let all = Expected { algorithms: &Algorithm::ALL, ..expected() };
    let verify = |token: &str| verify_with(&keys, (token, ACCESS_TOKEN), &all);
    let sign = |made: Algorithm, named: &str| rsa.token(made, &json!({"alg": named, "kid": "k"}), &rig::claims());
    assert!(verify(&sign(Algorithm::Rs256, "RS256")).is_ok());
    assert!(reason(verify(&sign(Algorithm::Rs256, "PS256"))).contains("signature"));
    assert!(reason(verify(&sign(Algorithm::Ps256, "RS256"))).contains("signature"));
    assert!(reason(verify(&sign(Algorithm::Rs256, "RS512"))).contains("signature"));
    assert_eq!(reason(verify(&sign(Algorithm::Rs256, "ES256"))), "unknown key");
    for weak in ["none", "NoNe", "HS256", "HS512"] {
        assert!(reason(verify(&sign(Algorithm::Rs256, weak))).contains("algorithm"), "{weak}");
    }
    let unsigned = compact(&json!({"alg": "none"}), &rig::claims(), b"");
    assert!(reason(verify(&unsigned)).contains("algorithm"));
    // An HMAC with the public key as its secret: in the forms in which libraries were fooled.
    let jwk = rsa.jwk("k");
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [jwk.to_string().into_bytes(), modulus, jwk["n"].to_string().into_bytes(), rig::SECRET.into()] {
        let signed = compact(&json!({"alg": "HS256", "kid": "k"}), &rig::claims(), b"");
        let signed = signed.trim_end_matches('.');
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert!(reason(verify(&forged)).contains("algorithm"));
    }
    let other = TestKey::fresh_rsa().token(Algorithm::Rs256, &json!({"alg": "RS256", "kid": "k"}), &rig::claims());
    assert!(reason(verify(&other)).contains("signature"));
}

#[test]
fn a_token_without_a_key_id_is_tried_with_each_key_that_fits() {
    let key = TestKey::for_algorithm(Algorithm::Es256);
    let nameless = key.token(Algorithm::Es256, &json!({"alg": "ES256"}), &rig::claims());
    let strangers = |count: usize| (0..count).map(|_| TestKey::fresh_p256().jwk("s")).collect::<Vec<_>>();
    assert!(verify_with(&good_keys(), (&nameless, ACCESS_TOKEN), &expected()).is_ok());
    let mut keys = strangers(MOST_KEYS - 1);
    keys.push(key.jwk("k"));
    assert!(verify_with(&key_set(&keys), (&nameless, ACCESS_TOKEN), &expected()).is_ok());
    let mut keys = strangers(MOST_KEYS);
    keys.push(key.jwk("k"));
    assert_eq!(reason(verify_with(&key_set(&keys), (&nameless, ACCESS_TOKEN), &expected())), "unknown key");
    let named = key.token(Algorithm::Es256, &json!({"alg": "ES256", "kid": "gone"}), &rig::claims());
    assert_eq!(reason(verify_with(&good_keys(), (&named, ACCESS_TOKEN), &expected())), "unknown key");
}

#[test]
fn a_token_of_another_kind_is_no_id_token() {
    for kind in ["logout+jwt", "at+jwt", "application/at+jwt", "secevent+jwt"] {
        let header = json!({"alg": "ES256", "kid": "good", "typ": kind});
        let token = TestKey::for_algorithm(Algorithm::Es256).token(Algorithm::Es256, &header, &rig::claims());
        let reason = reason(verify_with(&good_keys(), (&token, ACCESS_TOKEN), &expected()));
        assert!(reason.contains("another kind"), "{kind}: {reason}");
    }
}

#[test]
fn a_refusal_never_quotes_the_token() {
    for (name, value) in [
        ("nonce", json!("canary")),
        ("aud", json!("canary")),
        ("iss", json!("https://canary")),
        ("email", json!(["canary"])),
        ("sub", json!("canary\u{0}")),
    ] {
        let reason = reason(outcome(&with(name, Some(value))));
        assert!(!reason.contains("canary"), "{reason}");
    }
}
