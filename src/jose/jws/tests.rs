//! Tokens that must be refused before any key is looked at, and signatures that must not fit.

use serde_json::json;

use super::super::testing::{TestKey, compact};
use super::*;

const KINDS: &[&str] = &["JWT"];

fn fault(token: &str) -> JwsFault {
    Jws::parse(token, 64 * 1024, KINDS).err().expect("the token must be refused")
}

fn token_with(header: &Value) -> String {
    TestKey::for_algorithm(Algorithm::Es256).token(Algorithm::Es256, header, &json!({"sub": "a"}))
}

#[test]
fn a_token_is_verified_by_its_key_and_by_no_other() {
    let (key, other) = (TestKey::for_algorithm(Algorithm::Es256), TestKey::fresh_p256());
    let token = key.token(Algorithm::Es256, &json!({"alg": "ES256", "kid": "k"}), &json!({"sub": "a"}));
    let jws = Jws::parse(&token, 1024, KINDS).unwrap();
    assert_eq!(jws.key_id(), Some("k"));
    let right = Jwk::parse(key.jwk("k").as_object().unwrap()).unwrap();
    let wrong = Jwk::parse(other.jwk("k").as_object().unwrap()).unwrap();
    assert_eq!(jws.verify(&right).unwrap()["sub"], "a");
    assert!(jws.verify(&wrong).is_err());
}

#[test]
fn a_changed_claim_breaks_the_signature() {
    let key = TestKey::for_algorithm(Algorithm::Es256);
    let token = key.token(Algorithm::Es256, &json!({"alg": "ES256"}), &json!({"sub": "a"}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header = signed.split_once('.').unwrap().0;
    let forged = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"sub":"b"}"#));
    let jwk = Jwk::parse(key.jwk("k").as_object().unwrap()).unwrap();
    assert!(Jws::parse(&forged, 1024, KINDS).unwrap().verify(&jwk).is_err());
}

#[test]
fn only_the_compact_form_is_read() {
    let good = token_with(&json!({"alg": "ES256"}));
    assert!(Jws::parse(&good, 1024, KINDS).is_ok());
    for bad in [
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{good}."),
        format!("{good}.x.y"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}="),
        good.replacen('.', " .", 1),
        json!({"payload": "e30", "signatures": []}).to_string(),
    ] {
        let fault = fault(&bad);
        assert!(matches!(fault, JwsFault::NotCompact | JwsFault::Header(_)), "{bad}: {fault}");
    }
    // `e31` decodes to the bytes of `{}` when the spare bits of the last character are let through.
    let stray = format!("{}.e31.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#), "AA");
    assert_eq!(fault(&stray), JwsFault::NotCompact);
}

#[test]
fn sizes_are_bounded() {
    let good = token_with(&json!({"alg": "ES256"}));
    assert_eq!(Jws::parse(&good, good.len() - 1, KINDS).err(), Some(JwsFault::TooLong));
    let long = token_with(&json!({"alg": "ES256", "kid": "k".repeat(MAX_HEADER)}));
    assert_eq!(fault(&long), JwsFault::TooLong);
    let kid = token_with(&json!({"alg": "ES256", "kid": "k".repeat(MAX_KEY_ID + 1)}));
    assert_eq!(fault(&kid), JwsFault::KeyId);
    assert_eq!(fault(&token_with(&json!({"alg": "ES256", "kid": {"kty": "RSA"}}))), JwsFault::KeyId);
}

#[test]
fn algorithms_that_prove_nothing_are_refused() {
    for name in ["none", "NoNe", "nOnE", "", "HS256", "HS384", "HS512", "es256", "RSA1_5", "A128GCM"] {
        assert_eq!(fault(&token_with(&json!({"alg": name}))), JwsFault::Algorithm, "{name}");
    }
    assert_eq!(fault(&token_with(&json!({"typ": "JWT"}))), JwsFault::Algorithm);
    assert_eq!(fault(&token_with(&json!({"alg": ["ES256"]}))), JwsFault::Algorithm);
    assert_eq!(fault(&compact(&json!({"alg": "none"}), &json!({}), b"")), JwsFault::Algorithm);
}

#[test]
fn extensions_and_other_kinds_are_refused() {
    for header in [
        json!({"alg": "ES256", "crit": ["exp"]}),
        json!({"alg": "ES256", "crit": []}),
        json!({"alg": "ES256", "b64": false}),
        json!({"alg": "ES256", "b64": false, "crit": ["b64"]}),
    ] {
        assert_eq!(fault(&token_with(&header)), JwsFault::Extension, "{header}");
    }
    for kind in ["logout+jwt", "at+jwt", "application/at+jwt", "dpop+jwt", "JOSE+JSON", "text/JWT", ""] {
        assert_eq!(fault(&token_with(&json!({"alg": "ES256", "typ": kind}))), JwsFault::Kind, "{kind}");
    }
    assert_eq!(fault(&token_with(&json!({"alg": "ES256", "typ": 1}))), JwsFault::Kind);
    assert_eq!(fault(&token_with(&json!({"alg": "ES256", "cty": "JWT"}))), JwsFault::Kind);
    for kind in ["JWT", "jwt", "application/jwt", "APPLICATION/JWT"] {
        assert!(Jws::parse(&token_with(&json!({"alg": "ES256", "typ": kind})), 1024, KINDS).is_ok(), "{kind}");
    }
}

#[test]
fn members_that_are_there_twice_are_refused() {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = format!("{}.{}.AA", encode(r#"{"alg":"ES256","alg":"ES256"}"#), encode("{}"));
    assert_eq!(fault(&header), JwsFault::Header(JsonFault::Duplicate));
    let claims = format!("{}.{}.AA", encode(r#"{"alg":"ES256"}"#), encode(r#"{"sub":"a","sub":"b"}"#));
    assert_eq!(fault(&claims), JwsFault::Claims(JsonFault::Duplicate));
}

#[test]
fn a_key_inside_the_token_is_never_used() {
    let (key, attacker) = (TestKey::for_algorithm(Algorithm::Es256), TestKey::fresh_p256());
    let header = json!({"alg": "ES256", "kid": "k", "jwk": attacker.jwk("k"), "jku": "https://evil.example/keys",
        "x5u": "https://evil.example/cert", "x5c": ["AAAA"]});
    let token = attacker.token(Algorithm::Es256, &header, &json!({"sub": "a"}));
    let jwk = Jwk::parse(key.jwk("k").as_object().unwrap()).unwrap();
    assert!(Jws::parse(&token, 4096, KINDS).unwrap().verify(&jwk).is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_gives_an_answer(text: String) {
        let _answer = Jws::parse(&text, 1024, KINDS);
    }
}
