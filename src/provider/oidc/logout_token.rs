//! The logout token: a provider's word that a session there, or a person's every session, has ended (`OpenID` Connect Back-Channel
//! Logout 1.0, sections 2.4 and 2.6).
//!
//! Each rule has a test:
//! 1. Form, `alg` and signature as for an ID token, with keys that are at hand: nothing is asked of anyone (section 2.6, steps 1 to 3).
//! 2. `typ` is `logout+jwt`, `JWT`, or absent. Providers from before the explicit type send the last two; `events` and `nonce` keep ID
//!    tokens apart from logout tokens in any case (section 4).
//! 3. `iss` and `aud` as for an ID token: the configured issuer, and nobody but us. `iat` is neither in the future nor older than an
//!    hour, `exp` has not come.
//! 4. `events` has the event of back-channel logout, an object.
//! 5. There is no `nonce`, whatever its value.
//! 6. `sub` or `sid` is there, each a text that could be one.
//! 7. `jti` is there, and was not heard before. It is remembered for as long as the token could pass rule 3.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::{Map, Value};

use super::id_token::{MOST_KEYS, OLDEST, date, subject};
use crate::base::clock::Timestamp;
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::{Jwk, KeySet};
use crate::jose::jws::Jws;
use crate::provider::{LoggedOut, LogoutTokenFault};

/// The longest logout token that is read, in bytes. They hold a handful of short claims.
const LONGEST: usize = 16 * 1024;
const KINDS: &[&str] = &["logout+jwt", "JWT"];
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The longest `sid` and `jti`, in bytes.
const LONGEST_ID: usize = 1024;
/// The most tokens that are remembered. Only the provider can make any, so nobody else fills this.
const MOST_HEARD: u64 = 100_000;
/// More than the leeway for clocks can be on either side.
const SLACK: Duration = Duration::from_mins(11);

/// What a logout token must be.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) algorithms: &'a [Algorithm],
    pub(super) now: Timestamp,
    pub(super) skew: Duration,
}

/// The logout tokens that were heard lately, by a hash of their `jti`.
pub(super) struct Heard {
    ids: Cache<[u8; 32], ()>,
}

impl Heard {
    pub(super) fn new() -> Self {
        // The policy admits every newcomer, which the cache's default would not.
        let ids = Cache::builder()
            .max_capacity(MOST_HEARD)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(OLDEST.saturating_add(SLACK))
            .build();
        Self { ids }
    }

    fn is_first(&self, id: &str) -> bool {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, id.as_bytes()).as_ref());
        self.ids.entry(hash).or_insert(()).is_fresh()
    }
}

/// Verifies `token` with the keys at hand, and remembers it.
pub(super) fn verify(
    keys: Option<&KeySet>,
    token: &str,
    expected: &Expected<'_>,
    heard: &Heard,
) -> Result<LoggedOut, LogoutTokenFault> {
    let logged_out = judge(keys, token, expected)?;
    if heard.is_first(&logged_out.id) { Ok(logged_out) } else { Err(LogoutTokenFault::Invalid("was heard before")) }
}

/// Verifies `token` with these keys, where there are any yet.
pub(super) fn judge(
    keys: Option<&KeySet>,
    token: &str,
    expected: &Expected<'_>,
) -> Result<LoggedOut, LogoutTokenFault> {
    let jws = Jws::parse(token, LONGEST, KINDS).map_err(|_| {
        LogoutTokenFault::Invalid("is no signed token in the compact form, or has a header that is refused")
    })?;
    if !expected.algorithms.contains(&jws.algorithm()) {
        return Err(LogoutTokenFault::Invalid("is signed with an algorithm that `signing_algorithms` does not list"));
    }
    // What its own claims rule out costs no signature.
    let logged_out = check_claims(jws.unverified_claims(), expected).map_err(LogoutTokenFault::Invalid)?;
    check_signature(keys.ok_or(LogoutTokenFault::NoKeys)?, &jws)?;
    Ok(logged_out)
}

fn check_signature(keys: &KeySet, jws: &Jws<'_>) -> Result<(), LogoutTokenFault> {
    let candidates: Vec<&Jwk> = keys.candidates(jws.key_id(), jws.algorithm()).take(MOST_KEYS).collect();
    if candidates.iter().any(|key| jws.verify(key).is_ok()) {
        return Ok(());
    }
    if candidates.is_empty() || jws.key_id().is_none() {
        return Err(LogoutTokenFault::UnknownKey);
    }
    Err(LogoutTokenFault::Invalid("has a signature that does not fit"))
}

/// What it says.
fn check_claims(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<LoggedOut, &'static str> {
    let latest = expected.now.after(expected.skew);
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err("is from another issuer (iss)");
    }
    if !is_for_us_alone(claims.get("aud"), expected.client_id) {
        return Err("is for another audience (aud)");
    }
    let issued = date(claims, "iat")?.ok_or("has no iat")?;
    if issued > latest {
        return Err("was issued in the future; does the clock run right?");
    }
    if issued.after(OLDEST).after(expected.skew) < expected.now {
        return Err("was issued more than an hour ago");
    }
    if date(claims, "exp")?.ok_or("has no exp")?.after(expected.skew) <= expected.now {
        return Err("has expired");
    }
    let event = claims.get("events").and_then(Value::as_object).and_then(|events| events.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err("does not tell of a back-channel logout (events)");
    }
    if claims.contains_key("nonce") {
        return Err("has a nonce, as no logout token may");
    }
    let provider_session = claims.get("sid").map(|sid| text(sid).ok_or("has a sid that is no text of usual length"));
    let subject = claims.contains_key("sub").then(|| subject(claims));
    if provider_session.is_none() && subject.is_none() {
        return Err("names neither a session nor a person (sid, sub)");
    }
    Ok(LoggedOut {
        provider_session: provider_session.transpose()?.map(str::to_owned),
        subject: subject.transpose()?.map(str::to_owned),
        // A token that is held back for long ends nothing that began after it was made.
        before: expected.now.min(issued.after(expected.skew)),
        id: claims.get("jti").and_then(text).ok_or("has no jti of usual length")?.to_owned(),
    })
}

fn is_for_us_alone(audience: Option<&Value>, client_id: &str) -> bool {
    match audience {
        Some(Value::String(audience)) => audience == client_id,
        Some(Value::Array(all)) => !all.is_empty() && all.iter().all(|one| one.as_str() == Some(client_id)),
        _ => false,
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| (1..=LONGEST_ID).contains(&text.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rig::NOW;
    use super::*;
    use crate::jose::testing::TestKey;

    const ALGORITHMS: &[Algorithm] = &[Algorithm::Es256];

    fn expected() -> Expected<'static> {
        Expected {
            issuer: "https://idp.example",
            client_id: "app",
            algorithms: ALGORITHMS,
            now: Timestamp::from_seconds(NOW),
            skew: Duration::from_secs(30),
        }
    }

    fn claims() -> Value {
        json!({"iss": "https://idp.example", "aud": "app", "iat": NOW, "exp": NOW + 120, "jti": "one", "sub": "alice",
            "sid": "sid-1", "events": {EVENT: {}}})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn without(names: &[&str]) -> Value {
        let mut claims = claims();
        for name in names {
            claims.as_object_mut().unwrap().shift_remove(*name);
        }
        claims
    }

    fn signed(header: &Value, claims: &Value) -> String {
        TestKey::for_algorithm(Algorithm::Es256).token(Algorithm::Es256, header, claims)
    }

    fn keys() -> KeySet {
        let key = TestKey::for_algorithm(Algorithm::Es256).jwk("good");
        KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap()
    }

    fn outcome(claims: &Value) -> Result<LoggedOut, LogoutTokenFault> {
        let token = signed(&json!({"alg": "ES256", "kid": "good", "typ": "logout+jwt"}), claims);
        verify(Some(&keys()), &token, &expected(), &Heard::new())
    }

    #[track_caller]
    fn refused(claims: &Value, part: &str) {
        match outcome(claims) {
            Err(LogoutTokenFault::Invalid(reason)) => assert!(reason.contains(part), "{claims}: {reason}"),
            other => panic!("{claims}: {other:?}"),
        }
    }

    #[test]
    fn a_good_token_says_who_and_until_when() {
        let said = outcome(&claims()).unwrap();
        assert_eq!((said.provider_session.as_deref(), said.subject.as_deref()), (Some("sid-1"), Some("alice")));
        assert_eq!(said.before.seconds(), NOW);
        for good in [
            without(&["sid"]),
            without(&["sub"]),
            with("aud", json!(["app"])),
            with("unknown", json!({"x": [1]})),
            with("events", json!({EVENT: {"x": 1}, "https://another.example/event": 1})),
            with("iat", json!(NOW + 30)),
            with("exp", json!(NOW - 29)),
        ] {
            assert!(outcome(&good).is_ok(), "{good}");
        }
        assert_eq!(outcome(&with("iat", json!(NOW - 600))).unwrap().before.seconds(), NOW - 570, "held back for long");
    }

    #[test]
    fn every_claim_that_must_be_there_must_be_right() {
        refused(&without(&["iss"]), "iss");
        refused(&with("iss", json!("https://idp.example/")), "iss");
        for aud in [json!("other"), json!(["app", "other"]), json!([]), json!(null), json!(["other"]), json!(7)] {
            refused(&with("aud", aud), "aud");
        }
        refused(&without(&["aud"]), "aud");
        refused(&without(&["iat"]), "iat");
        refused(&with("iat", json!(NOW + 31)), "future");
        refused(&with("iat", json!(NOW - 3_700)), "hour ago");
        refused(&with("iat", json!("now")), "whole number");
        refused(&without(&["exp"]), "exp");
        refused(&with("exp", json!(NOW - 30)), "expired");
        refused(&with("exp", json!(1e300)), "whole number");
        for events in [
            json!(null),
            json!({}),
            json!([EVENT]),
            json!(EVENT),
            json!({EVENT: null}),
            json!({EVENT: true}),
            json!({"x": {}}),
        ] {
            refused(&with("events", events), "events");
        }
        refused(&without(&["events"]), "events");
        for nonce in [json!("n"), json!(null), json!("")] {
            refused(&with("nonce", nonce), "nonce");
        }
        refused(&without(&["sub", "sid"]), "neither");
        for bad in [json!(""), json!(7), json!(null), json!(["x"])] {
            refused(&with("sid", bad.clone()), "sid");
            refused(&with("sub", bad.clone()), "sub");
            refused(&with("jti", bad), "jti");
        }
        refused(&without(&["jti"]), "jti");
    }

    #[test]
    fn without_keys_what_its_claims_rule_out_is_refused_all_the_same() {
        let heard = Heard::new();
        let token = |claims: &Value| signed(&json!({"alg": "ES256", "kid": "good"}), claims);
        let hear = |claims: &Value| verify(None, &token(claims), &expected(), &heard);
        assert_eq!(hear(&claims()), Err(LogoutTokenFault::NoKeys));
        assert!(matches!(hear(&with("aud", json!("other"))), Err(LogoutTokenFault::Invalid(_))));
        assert!(verify(Some(&keys()), &token(&claims()), &expected(), &heard).is_ok(), "it was not heard before");
    }

    #[test]
    fn a_token_is_heard_once() {
        let heard = Heard::new();
        let token = |claims: &Value| signed(&json!({"alg": "ES256", "kid": "good"}), claims);
        let hear = |claims: &Value| verify(Some(&keys()), &token(claims), &expected(), &heard);
        assert!(hear(&with("aud", json!("other"))).is_err(), "one that is refused is not remembered");
        assert!(hear(&claims()).is_ok());
        assert_eq!(hear(&claims()), Err(LogoutTokenFault::Invalid("was heard before")));
        assert_eq!(hear(&with("sid", json!("another"))), Err(LogoutTokenFault::Invalid("was heard before")));
        assert!(hear(&with("jti", json!("two"))).is_ok());
    }

    #[test]
    fn header_and_signature_are_those_of_the_provider() {
        let check = |token: &str| verify(Some(&keys()), token, &expected(), &Heard::new());
        for kind in [json!(null), json!("at+jwt"), json!("dpop+jwt"), json!("id_token"), json!(7)] {
            let token = signed(&json!({"alg": "ES256", "kid": "good", "typ": kind}), &claims());
            assert!(matches!(check(&token), Err(LogoutTokenFault::Invalid(_))), "{kind}");
        }
        for kind in ["logout+jwt", "application/logout+jwt", "LOGOUT+JWT", "JWT"] {
            assert!(check(&signed(&json!({"alg": "ES256", "kid": "good", "typ": kind}), &claims())).is_ok(), "{kind}");
        }
        let good = signed(&json!({"alg": "ES256", "kid": "good"}), &claims());
        let unknown = signed(&json!({"alg": "ES256", "kid": "other"}), &claims());
        assert_eq!(check(&unknown), Err(LogoutTokenFault::UnknownKey));
        let (front, signature) = good.rsplit_once('.').unwrap();
        let turned = |byte: u8| if byte == b'A' { 'B' } else { 'A' };
        let spoilt: String = signature
            .bytes()
            .enumerate()
            .map(|(n, byte)| if n == 10 { turned(byte) } else { char::from(byte) })
            .collect();
        let spoilt = format!("{front}.{spoilt}");
        assert_eq!(check(&spoilt), Err(LogoutTokenFault::Invalid("has a signature that does not fit")));
        let unsigned = signed(&json!({"alg": "none"}), &claims());
        for bad in ["", "a.b.c", &unsigned, &format!("{good} "), &"a".repeat(LONGEST + 1)] {
            assert!(matches!(check(bad), Err(LogoutTokenFault::Invalid(_))), "{bad}");
        }
        let other =
            TestKey::for_algorithm(Algorithm::Rs256).token(Algorithm::Rs256, &json!({"alg": "RS256"}), &claims());
        assert!(matches!(check(&other), Err(LogoutTokenFault::Invalid(_))), "an algorithm that is not configured");
    }
}
