//! Refreshes against a provider on loopback: what comes of good answers, of odd ones that are right, and of wrong ones.

use serde_json::json;

use super::super::rig::{self, NOW, Reply, Rig, id_token, provider};
use super::*;
use crate::base::clock::instant;
use crate::config::settings::UserInfo;
use crate::jose::algorithm::Algorithm;
use crate::jose::testing::TestKey;
use crate::provider::Provider;

/// A rig, its provider with these settings, and a session of a sign-in there that has come to its first refresh.
async fn scene(userinfo: UserInfo, change: impl FnOnce(&mut Value)) -> (Rig, Provider, Session) {
    let rig = Rig::start().await;
    let mut settings = rig.settings();
    settings.userinfo = userinfo;
    rig.set("/userinfo", Reply::json(&json!({"sub": "alice", "groups": ["from-userinfo"]})));
    let provider = provider(settings);
    let signed_in = rig.sign_in(&provider, change).await.unwrap();
    let now = Timestamp::from_seconds(NOW);
    let session = Session {
        id: [1; 16],
        version: 0,
        principal: signed_in.principal,
        tokens: signed_in.tokens,
        obtained: signed_in.obtained,
        nonce: signed_in.nonce,
        created: now,
        used: now,
        authenticated: signed_in.authenticated,
        provider_session: signed_in.provider_session,
        asked: crate::policy::wanted::Wanted::default(),
        round: 0,
    };
    (rig, provider, session)
}

/// Claims of a good ID token for a refresh, which has no nonce.
fn claims(rig: &Rig) -> Value {
    let mut claims = rig::claims();
    claims["iss"] = json!(rig.issuer);
    claims.as_object_mut().unwrap().shift_remove("nonce");
    claims
}

fn answer(rig: &Rig, body: &Value) {
    rig.set("/token", Reply::json(body));
}

/// An answer with every token, and this ID token.
fn good(id_token: &str) -> Value {
    json!({"access_token": "second-access", "token_type": "bearer", "expires_in": 120, "refresh_token": "second-refresh",
        "id_token": id_token, "scope": "openid"})
}

fn untrusted(outcome: &Result<Refreshed, RefreshFault>, case: &str) {
    assert!(matches!(outcome, Err(RefreshFault::Untrusted(_))), "{case}: {outcome:?}");
}

fn later(outcome: Result<Refreshed, RefreshFault>, case: &str) -> Option<Box<Granted>> {
    match outcome {
        Err(RefreshFault::Later { held, .. }) => held,
        other => panic!("{case}: {other:?}"),
    }
}

#[tokio::test]
async fn a_refresh_gives_new_tokens_and_the_newest_word_on_the_person() {
    let (rig, provider, session) = scene(UserInfo::Never, |claims| {
        claims["roles"] = json!(["admin"]);
        claims["acr"] = json!("gold");
        claims["sid"] = json!("sid-1");
        claims["auth_time"] = json!(NOW - 9);
    })
    .await;
    let mut told = claims(&rig);
    told["roles"] = json!(["user"]);
    told["auth_time"] = json!(NOW - 1);
    let raw = id_token(&told);
    answer(&rig, &good(&raw));
    let refreshed = provider.refresh(&session, None).await.unwrap();
    let request = rig.seen("/token").pop().unwrap();
    let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
    let sent = [("grant_type", "refresh_token"), ("refresh_token", "canary-refresh")];
    assert_eq!(form, sent.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(request.headers["authorization"].to_str().unwrap().starts_with("Basic "));
    assert_eq!(refreshed.principal.roles, ["user"]);
    assert_eq!(refreshed.principal.claims["acr"], "gold", "how the person signed in stays known");
    assert_eq!(refreshed.authenticated, Some(Timestamp::from_seconds(NOW - 9)), "a refresh is no authentication");
    assert_eq!(refreshed.provider_session.as_deref(), Some("sid-1"));
    assert_eq!(refreshed.obtained, Timestamp::from_seconds(NOW));
    let expected = Tokens {
        access_token: Some("second-access".to_owned()),
        access_expires: Some(Timestamp::from_seconds(NOW + 120)),
        refresh_token: Some("second-refresh".to_owned()),
        id_token: Some(raw),
    };
    assert!(refreshed.tokens == expected, "{:?}", refreshed.tokens);
}

#[tokio::test]
async fn what_is_not_in_the_answer_stays() {
    let (rig, provider, session) = scene(UserInfo::Never, |claims| claims["groups"] = json!(["staff"])).await;
    answer(&rig, &json!({"access_token": "second-access", "token_type": "Bearer", "scope": "email"}));
    let refreshed = provider.refresh(&session, None).await.unwrap();
    assert_eq!(refreshed.principal.scopes, ["email"], "what is granted by now");
    let same = Principal { scopes: session.principal.scopes.clone(), ..refreshed.principal };
    assert_eq!(same, session.principal);
    assert_eq!(refreshed.tokens.refresh_token, session.tokens.refresh_token);
    assert_eq!(refreshed.tokens.id_token, session.tokens.id_token);
    assert_eq!(refreshed.tokens.access_token.as_deref(), Some("second-access"));
    let life = |tokens: &Tokens| tokens.access_expires.map(|ends| ends.seconds() - NOW);
    assert_eq!(life(&refreshed.tokens), Some(60), "the life of the first one, told at the sign-in");
}

#[tokio::test]
async fn an_id_token_that_does_not_hold_ends_the_session() {
    let (rig, provider, session) = scene(UserInfo::Always, |_| ()).await;
    rig.set("/userinfo", Reply::json(&json!({"sub": "alice"})));
    let asked = rig.seen("/userinfo").len();
    for (name, value) in [
        ("sub", json!("bob")),
        ("iss", json!("https://other.example")),
        ("aud", json!("another-client")),
        ("aud", json!(["app", "stranger"])),
        ("azp", json!("another-client")),
        ("nonce", json!("another")),
        ("exp", json!(NOW - 1000)),
        ("iat", json!(NOW + 1000)),
        ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
    ] {
        let mut told = claims(&rig);
        told[name] = value;
        answer(&rig, &good(&id_token(&told)));
        untrusted(&provider.refresh(&session, None).await, &format!("{name}: {}", told[name]));
    }
    let stranger = TestKey::for_algorithm(Algorithm::Rs256);
    let forged = stranger.token(Algorithm::Rs256, &json!({"alg": "RS256", "kid": "good"}), &claims(&rig));
    let right = id_token(&claims(&rig));
    let (head, _) = right.rsplit_once('.').unwrap();
    for broken in [forged, format!("{head}.AAAA"), format!("{head}."), "a.b.c".to_owned(), " ".to_owned()] {
        answer(&rig, &good(&broken));
        untrusted(&provider.refresh(&session, None).await, &broken);
    }
    assert_eq!(rig.seen("/userinfo").len(), asked, "the access token of such an answer is not used");
    answer(&rig, &good(&right));
    provider.refresh(&session, None).await.unwrap();
}

#[tokio::test]
async fn the_nonce_of_the_sign_in_may_come_again() {
    let (rig, provider, session) = scene(UserInfo::Never, |_| ()).await;
    let mut told = claims(&rig);
    told["nonce"] = json!(session.nonce);
    answer(&rig, &good(&id_token(&told)));
    provider.refresh(&session, None).await.unwrap();
}

#[tokio::test]
async fn only_what_the_person_has_to_mend_ends_the_session() {
    let (rig, provider, session) = scene(UserInfo::Never, |_| ()).await;
    let refuse = async |status: u16, error: &str| {
        rig.set("/token", Reply::new(status, "application/json", json!({ "error": error }).to_string()));
        provider.refresh(&session, None).await
    };
    for error in OVER {
        assert!(matches!(refuse(400, error).await, Err(RefreshFault::Over { error: told, .. }) if told == *error));
    }
    assert!(matches!(refuse(401, "invalid_grant").await, Err(RefreshFault::Over { .. })));
    for error in
        ["invalid_client", "unauthorized_client", "invalid_request", "invalid_scope", "server_error", "slow_down"]
    {
        assert!(later(refuse(400, error).await, error).is_none());
    }
    assert!(later(refuse(503, "invalid_grant").await, "a server error says nothing of the session").is_none());
    assert!(later(refuse(429, "invalid_grant").await, "nor does one of haste").is_none());
    let json = "application/json";
    for (status, kind, body) in [
        (200, "text/html", "<html>"),
        (200, json, "<html>"),
        (200, json, ""),
        (200, json, "{}"),
        (200, json, "{\"access_token\":\"a\"}"),
        (200, json, "{\"access_token\":\"a b\",\"token_type\":\"Bearer\"}"),
        (200, json, "{\"access_token\":\"a\",\"token_type\":\"mac\"}"),
        (204, json, ""),
        (400, json, ""),
        (400, "text/plain", "no"),
        (302, "text/plain", ""),
        (500, "text/plain", "out of order"),
    ] {
        rig.set("/token", Reply::new(status, kind, body));
        assert!(later(provider.refresh(&session, None).await, &format!("{status} {kind} {body}")).is_none());
    }
    rig.set("/token", Reply { delay: Duration::from_secs(30), ..Reply::json(&json!({})) });
    let began = instant();
    later(provider.refresh(&session, None).await, "too slow");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn claims_come_from_userinfo_as_at_the_sign_in_and_never_vanish_because_it_is_away() {
    let (rig, provider, mut session) = scene(UserInfo::IfMissing, |_| ()).await;
    assert_eq!(session.principal.groups, ["from-userinfo"]);
    answer(&rig, &good(&id_token(&claims(&rig))));
    rig.set("/userinfo", Reply::json(&json!({"sub": "alice", "groups": ["newer"]})));
    assert_eq!(provider.refresh(&session, None).await.unwrap().principal.groups, ["newer"]);
    assert_eq!(rig.seen("/userinfo").pop().unwrap().headers["authorization"], "Bearer second-access");
    for away in [
        Reply::new(503, "text/plain", "no"),
        Reply::new(401, "text/plain", "no"),
        Reply::new(200, "text/html", "<html>"),
        Reply::json(&json!({"groups": ["nobody's"]})),
    ] {
        rig.set("/userinfo", away);
        let refreshed = provider.refresh(&session, None).await.unwrap();
        assert_eq!(refreshed.principal.groups, ["from-userinfo"]);
        assert_eq!(refreshed.tokens.access_token.as_deref(), Some("second-access"), "the new tokens are used");
    }
    rig.set("/userinfo", Reply::json(&json!({"sub": "bob", "groups": ["admins"]})));
    untrusted(&provider.refresh(&session, None).await, "somebody else's claims");

    // Without an ID token in the answer, the one before goes on telling what it told, and UserInfo is asked all the same.
    answer(&rig, &json!({"access_token": "third", "token_type": "Bearer"}));
    rig.set("/userinfo", Reply::json(&json!({"sub": "alice", "email": "other@example.com"})));
    let refreshed = provider.refresh(&session, None).await.unwrap();
    assert!(refreshed.principal.groups.is_empty(), "UserInfo was there, and knows of no groups any more");
    assert_eq!(refreshed.principal.email.as_deref(), Some("alice@example.com"), "the ID token's claims win");
    session.tokens.id_token = None;
    assert_eq!(provider.refresh(&session, None).await.unwrap().principal, session.principal);
}

#[tokio::test]
async fn what_cannot_be_verified_now_is_held_and_not_asked_for_again() {
    let (rig, provider, session) = scene(UserInfo::Never, |_| ()).await;
    let key = TestKey::for_algorithm(Algorithm::Rs256);
    let raw = key.token(Algorithm::Rs256, &json!({"alg": "RS256", "kid": "new"}), &claims(&rig));
    answer(&rig, &good(&raw));
    rig.set("/keys", Reply::new(503, "text/plain", "no"));
    let held = later(provider.refresh(&session, None).await, "the keys are away");
    let held = *held.expect("what came is kept");
    let asked = rig.seen("/token").len();
    answer(&rig, &json!({}));
    rig.set_keys(&[key.jwk("new")]);
    // The key set is read again no sooner than some seconds after the last time; reading everything anew does not wait.
    let fresh = provider_again(&rig);
    let refreshed = fresh.refresh(&session, Some(held)).await.unwrap();
    assert_eq!(refreshed.tokens.refresh_token.as_deref(), Some("second-refresh"));
    assert_eq!(rig.seen("/token").len(), asked, "the refresh token was used once");
}

/// Another provider at the same rig, which has read nothing yet.
fn provider_again(rig: &Rig) -> Provider {
    let mut settings = rig.settings();
    settings.userinfo = UserInfo::Never;
    provider(settings)
}

#[tokio::test]
async fn a_session_of_another_issuer_or_without_a_refresh_token_asks_nobody() {
    let (rig, provider, session) = scene(UserInfo::Never, |_| ()).await;
    let asked = rig.seen("/token").len();
    let mut other = session.clone();
    other.principal.issuer = "https://other.example".to_owned();
    assert!(matches!(provider.refresh(&other, None).await, Err(RefreshFault::Over { .. })));
    let mut without = session;
    without.tokens.refresh_token = None;
    assert!(matches!(provider.refresh(&without, None).await, Err(RefreshFault::Over { .. })));
    assert_eq!(rig.seen("/token").len(), asked);
}

#[tokio::test]
async fn the_time_of_authentication_never_grows() {
    let at = |seconds| Some(Timestamp::from_seconds(seconds));
    let (_rig, _provider, mut session) = scene(UserInfo::Never, |_| ()).await;
    for (before, told, expected) in
        [(at(5), at(9), at(5)), (at(5), at(3), at(3)), (at(5), None, at(5)), (None, at(9), at(9)), (None, None, None)]
    {
        session.authenticated = before;
        session.created = Timestamp::from_seconds(20);
        assert_eq!(authenticated(&session, told), expected);
    }
    session.authenticated = None;
    assert_eq!(authenticated(&session, at(30)), at(20), "not later than the sign-in here");
}
