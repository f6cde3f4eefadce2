//! Whole sign-ins against a provider on loopback: the good one, and what must not end well.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

use super::rig::{self, ACCESS_TOKEN, CODE, NOW, Reply, Rig, SECRET, begin, document, id_token, provider, with_code};
use super::*;
use crate::base::clock::{Timestamp, instant};
use crate::config::settings::UserInfo;
use crate::jose::testing::TestKey;
use crate::provider::Provider;
use crate::provider::neighbours::Neighbours;

fn untrusted<T>(outcome: Result<T, ProviderFault>) -> String {
    match outcome {
        Err(ProviderFault::Untrusted { reason, .. } | ProviderFault::BadAnswer { reason, .. }) => reason,
        Err(other) => panic!("another fault: {other}"),
        Ok(_) => panic!("it must be refused"),
    }
}

#[tokio::test]
async fn a_sign_in_gives_principal_and_tokens() {
    let rig = Rig::start().await;
    let provider = Arc::new(rig.provider());
    assert_eq!((&**provider.name(), provider.label(), provider.is_loaded()), ("corp", "Corporate login", false));
    let pending = begin(&provider).await.unwrap();
    let mut claims = rig.claims(&pending);
    claims["sid"] = json!("session-7");
    claims["auth_time"] = json!(NOW - 9);
    let raw = id_token(&claims);
    rig.set_token(&raw);
    // As the integrator runs it: in a task of its own.
    let (theirs, sent) = (Arc::clone(&provider), pending.clone());
    let signed_in = tokio::spawn(async move { theirs.finish(&sent, with_code()).await }).await.unwrap().unwrap();
    let who = &signed_in.principal;
    assert_eq!((who.issuer.as_str(), who.subject.as_str()), (rig.issuer.as_str(), "alice"));
    assert_eq!((who.email.as_deref(), who.email_verified), (Some("alice@example.com"), true));
    assert_eq!(signed_in.authenticated, Some(Timestamp::from_seconds(NOW - 9)));
    assert_eq!(signed_in.provider_session.as_deref(), Some("session-7"));
    assert_eq!(signed_in.tokens.id_token, Some(raw));
    assert_eq!(signed_in.tokens.access_token.as_deref(), Some(ACCESS_TOKEN));
    assert_eq!(signed_in.tokens.refresh_token.as_deref(), Some("canary-refresh"));
    assert_eq!(signed_in.tokens.access_expires, Some(Timestamp::from_seconds(NOW + 60)));
    let request = &rig.seen("/token")[0];
    let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
    let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(value("grant_type"), Some("authorization_code"));
    assert_eq!(value("code"), Some(CODE));
    assert_eq!(value("redirect_uri"), Some(pending.redirect_uri.as_str()));
    assert_eq!(value("code_verifier"), Some(pending.verifier.as_str()));
    assert!(value("client_secret").is_none());
    assert_eq!(rig.seen("/userinfo").len(), 0);
    let end = provider.end_session(Some("hint"), "https://app.example/", "st").unwrap();
    assert!(end.starts_with(&format!("{}/end?id_token_hint=hint&client_id=app&", rig.issuer)), "{end}");
}

#[tokio::test]
async fn the_client_proves_itself_as_configured() {
    let rig = Rig::start().await;
    let sign_in = async |authentication| {
        let mut settings = rig.settings();
        settings.client_authentication = authentication;
        settings.client_id = "ap p".to_owned();
        rig.sign_in(&provider(settings), |claims| claims["aud"] = json!("ap p")).await.unwrap();
        rig.seen("/token").pop().unwrap()
    };
    let basic = sign_in(ClientAuthentication::Basic).await;
    let header = basic.headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
    let pair = String::from_utf8(STANDARD.decode(header).unwrap()).unwrap();
    assert_eq!(pair, "ap+p:canary+secret%26%3D%2B%25%2F%C3%BC");
    assert!(!basic.body.contains("client_secret"));
    let post = sign_in(ClientAuthentication::Post).await;
    let form: Vec<(String, String)> = url::form_urlencoded::parse(post.body.as_bytes()).into_owned().collect();
    assert!(form.contains(&("client_id".to_owned(), "ap p".to_owned())));
    assert!(form.contains(&("client_secret".to_owned(), SECRET.to_owned())));
    assert!(!post.headers.contains_key("authorization"));
    let public = sign_in(ClientAuthentication::None).await;
    assert!(public.body.contains("client_id=ap+p") && !public.body.contains("secret"));
    assert!(!public.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_changed_secret_file_counts_at_the_next_sign_in() {
    let rig = Rig::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "one").unwrap();
    let mut settings = rig.settings();
    settings.client_secret = Some(crate::config::secret::SecretSource::File(path.clone()));
    let provider = provider(settings);
    let header = || rig.seen("/token").pop().unwrap().headers["authorization"].to_str().unwrap().to_owned();
    rig.sign_in(&provider, |_| ()).await.unwrap();
    assert_eq!(header(), format!("Basic {}", STANDARD.encode("app:one")));
    std::fs::write(&path, "two").unwrap();
    rig.sign_in(&provider, |_| ()).await.unwrap();
    assert_eq!(header(), format!("Basic {}", STANDARD.encode("app:two")));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(rig.sign_in(&provider, |_| ()).await, Err(ProviderFault::Misconfigured { .. })));
}

#[tokio::test]
async fn a_bad_id_token_ends_the_sign_in_before_userinfo_is_asked() {
    let rig = Rig::start().await;
    let mut settings = rig.settings();
    settings.userinfo = UserInfo::Always;
    rig.set("/userinfo", Reply::json(&json!({"sub": "alice"})));
    let provider = provider(settings);
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("other")),
        ("nonce", json!("other")),
        ("exp", json!(NOW - 3000)),
        ("iat", json!(null)),
        ("sub", json!(null)),
        ("azp", json!("other")),
        ("at_hash", json!("AAAA")),
    ] {
        untrusted(rig.sign_in(&provider, |claims| claims[name] = value).await);
    }
    assert_eq!(rig.seen("/userinfo").len(), 0);
    rig.sign_in(&provider, |_| ()).await.unwrap();
    assert_eq!(rig.seen("/userinfo")[0].headers["authorization"], format!("Bearer {ACCESS_TOKEN}").as_str());
}

#[tokio::test]
async fn userinfo_of_another_subject_ends_the_sign_in() {
    let rig = Rig::start().await;
    let mut settings = rig.settings();
    settings.userinfo = UserInfo::IfMissing;
    let provider = provider(settings);
    rig.set("/userinfo", Reply::json(&json!({"sub": "alice", "groups": ["g"], "roles": ["r"]})));
    let signed_in = rig.sign_in(&provider, |_| ()).await.unwrap();
    assert_eq!((signed_in.principal.groups, signed_in.principal.roles), (vec!["g".to_owned()], vec!["r".to_owned()]));
    rig.set("/userinfo", Reply::json(&json!({"sub": "bob"})));
    untrusted(rig.sign_in(&provider, |_| ()).await);
    rig.set("/userinfo", Reply::new(500, "application/json", "{}"));
    assert!(matches!(rig.sign_in(&provider, |_| ()).await, Err(ProviderFault::Unavailable { .. })));
    rig.set("/userinfo", Reply::json(&json!({"sub": "alice", "x": "x".repeat(70_000)})));
    untrusted(rig.sign_in(&provider, |_| ()).await);
}

#[tokio::test]
async fn the_answer_is_checked_before_the_code_is_redeemed() {
    let rig = Rig::start().await;
    let mut metadata = document(&rig.issuer);
    metadata["authorization_response_iss_parameter_supported"] = json!(true);
    rig.set("/.well-known/openid-configuration", Reply::json(&metadata));
    let provider = rig.provider();
    let pending = begin(&provider).await.unwrap();
    untrusted(provider.finish(&pending, with_code()).await);
    untrusted(
        provider.finish(&pending, Answer { issuer: Some("https://evil.example".to_owned()), ..with_code() }).await,
    );
    let mut foreign = pending.clone();
    foreign.issuer = "https://other.example".to_owned();
    untrusted(provider.finish(&foreign, Answer { issuer: Some(foreign.issuer.clone()), ..with_code() }).await);
    let denied =
        Answer { issuer: Some(rig.issuer.clone()), error: Some("access_denied".to_owned()), ..Answer::default() };
    let outcome = provider.finish(&pending, denied).await;
    assert!(matches!(outcome, Err(ProviderFault::Refused { error, .. }) if error == "access_denied"));
    assert_eq!(rig.seen("/token").len(), 0);
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_say_whose_fault_it_is() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    let pending = begin(&provider).await.unwrap();
    let finish = async |reply: Reply| {
        rig.set("/token", reply);
        provider.finish(&pending, with_code()).await.unwrap_err()
    };
    let error = |status: u16, error: &str| Reply::new(status, "application/json", json!({"error": error}).to_string());
    assert!(
        matches!(finish(error(400, "invalid_grant")).await, ProviderFault::Refused { error, .. } if error == "invalid_grant")
    );
    assert!(matches!(finish(error(401, "invalid_client")).await, ProviderFault::Misconfigured { .. }));
    assert!(matches!(finish(error(503, "temporarily_unavailable")).await, ProviderFault::Unavailable { .. }));
    assert!(matches!(finish(error(429, "slow_down")).await, ProviderFault::Unavailable { .. }));
    assert!(matches!(finish(Reply::new(400, "text/html", "<html>")).await, ProviderFault::Untrusted { .. }));
    assert!(matches!(finish(Reply::new(400, "application/json", "")).await, ProviderFault::Untrusted { .. }));
}

#[tokio::test]
async fn odd_answers_of_the_token_endpoint_end_the_sign_in_without_a_panic_or_a_leak() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    let pending = begin(&provider).await.unwrap();
    let good = id_token(&rig.claims(&pending));
    let mut redirect = Reply::new(307, "application/json", "{}");
    redirect.headers.push(("location", format!("{}/elsewhere", rig.issuer)));
    let mut packed = Reply::json(&json!({}));
    packed.headers.push(("content-encoding", "gzip".to_owned()));
    let token = |access: &str| Reply::json(&json!({"access_token": access, "token_type": "Bearer", "id_token": good}));
    for (reply, expected) in [
        (redirect, "redirect"),
        (packed, "compressed"),
        (Reply::new(200, "application/json", vec![b' '; 300_000]), "larger"),
        (Reply::new(200, "text/html", "<html>"), "application/json"),
        (token("canary-access-token\r\nX: y"), "characters"),
        (token("canary-access-token\u{0}"), "characters"),
        (Reply::json(&json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer"})), "no ID token"),
        (Reply::json(&json!({"access_token": ACCESS_TOKEN, "token_type": "mac", "id_token": good})), "Bearer"),
        (Reply::new(200, "application/json", "[".repeat(10_000)), "JSON"),
    ] {
        rig.set("/token", reply);
        let fault = provider.finish(&pending, with_code()).await.unwrap_err();
        let text = format!("{fault} {fault:?}");
        assert!(text.contains(expected), "{text}");
        for secret in ["canary", CODE, SECRET, &good, &pending.verifier, &pending.nonce, &pending.state] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert_eq!(rig.seen("/elsewhere").len(), 0);
}

#[tokio::test]
async fn metadata_of_another_issuer_stops_before_the_browser_is_sent_anywhere() {
    let rig = Rig::start().await;
    rig.set("/.well-known/openid-configuration", Reply::json(&document("https://honest.example")));
    let reason = untrusted(begin(&rig.provider()).await);
    assert!(reason.contains("honest.example"), "{reason}");
    assert_eq!(rig.seen("/keys").len(), 0);
}

#[tokio::test]
async fn endpoints_inside_are_not_called_unless_the_operator_named_them() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", inside.local_addr().unwrap());
    for (name, path) in [("jwks_uri", "/keys"), ("token_endpoint", "/token"), ("userinfo_endpoint", "/userinfo")] {
        let rig = Rig::start().await;
        let mut metadata = document(&rig.issuer);
        metadata[name] = json!(format!("{origin}{path}"));
        rig.set("/.well-known/openid-configuration", Reply::json(&metadata));
        let mut settings = rig.settings();
        settings.userinfo = UserInfo::Always;
        let reason = untrusted(rig.sign_in(&provider(settings), |_| ()).await);
        assert!(reason.contains("not a public address") && reason.contains("private_endpoints"), "{name}: {reason}");
    }
    let nobody = tokio::time::timeout(Duration::from_millis(100), inside.accept()).await;
    assert!(nobody.is_err(), "somebody connected");
    // The same with the operator's word: the keys come from another rig.
    let (rig, keys) = (Rig::start().await, Rig::start().await);
    let mut metadata = document(&rig.issuer);
    metadata["jwks_uri"] = json!(format!("{}/keys", keys.issuer));
    rig.set("/.well-known/openid-configuration", Reply::json(&metadata));
    let mut settings = rig.settings();
    settings.private_endpoints = vec![Url::parse(&keys.issuer).unwrap()];
    rig.sign_in(&provider(settings), |_| ()).await.unwrap();
}

#[tokio::test]
async fn a_secret_never_goes_to_another_providers_host() {
    let (bad, good) = (Rig::start().await, Rig::start().await);
    let mut metadata = document(&bad.issuer);
    metadata["token_endpoint"] = json!(format!("{}/token", good.issuer));
    bad.set("/.well-known/openid-configuration", Reply::json(&metadata));
    let (mut own, mut other) = (bad.settings(), good.settings());
    other.name = Arc::from("good");
    own.private_endpoints = vec![Url::parse(&good.issuer).unwrap()];
    let neighbours = Neighbours::of(&[own.clone(), other]);
    let outbound = Outbound { neighbours, ..Outbound::default() };
    let reason = untrusted(begin(&Provider::new(own, Clock::manual(NOW), outbound).unwrap()).await);
    assert!(reason.contains("provider `good`"), "{reason}");
    assert_eq!(good.seen("/token").len(), 0);
}

#[tokio::test]
async fn keys_in_the_token_are_never_fetched_or_used() {
    let outside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("http://{}/keys", outside.local_addr().unwrap());
    let rig = Rig::start().await;
    let provider = rig.provider();
    let pending = begin(&provider).await.unwrap();
    let attacker = TestKey::fresh_p256();
    for kid in ["good", "../../etc/passwd", "https://evil.example/key", "' or 1=1 --"] {
        let header = json!({"alg": "ES256", "kid": kid, "jku": elsewhere, "x5u": elsewhere, "jwk": attacker.jwk(kid)});
        rig.set_token(&attacker.token(Algorithm::Es256, &header, &rig.claims(&pending)));
        untrusted(provider.finish(&pending, with_code()).await);
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), outside.accept()).await.is_err());
}

#[tokio::test]
async fn a_rotated_key_is_found_and_forged_ones_cause_one_reading_only() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    rig.sign_in(&provider, |_| ()).await.unwrap();
    assert_eq!(rig.seen("/keys").len(), 1);
    let fresh = TestKey::fresh_p256();
    rig.set_keys(&[fresh.jwk("rotated")]);
    let pending = begin(&provider).await.unwrap();
    let claims = rig.claims(&pending);
    rig.set_token(&fresh.token(Algorithm::Es256, &json!({"alg": "ES256", "kid": "rotated"}), &claims));
    provider.finish(&pending, with_code()).await.unwrap();
    assert_eq!(rig.seen("/keys").len(), 2);
    for number in 0..20 {
        let header = json!({"alg": "ES256", "kid": format!("random-{number}")});
        rig.set_token(&fresh.token(Algorithm::Es256, &header, &claims));
        untrusted(provider.finish(&pending, with_code()).await);
    }
    assert_eq!(rig.seen("/keys").len(), 2);
    rig.set_token(&fresh.token(Algorithm::Es256, &json!({"alg": "ES256", "kid": "rotated"}), &claims));
    provider.finish(&pending, with_code()).await.unwrap();
}

#[tokio::test]
async fn a_failed_reading_of_keys_counts_against_the_pace_and_keeps_the_old_ones() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    rig.sign_in(&provider, |_| ()).await.unwrap();
    rig.remove("/keys");
    let pending = begin(&provider).await.unwrap();
    let unknown =
        TestKey::fresh_p256().token(Algorithm::Es256, &json!({"alg": "ES256", "kid": "x"}), &rig.claims(&pending));
    rig.set_token(&unknown);
    assert!(matches!(provider.finish(&pending, with_code()).await, Err(ProviderFault::Unavailable { .. })));
    untrusted(provider.finish(&pending, with_code()).await);
    assert_eq!(rig.seen("/keys").len(), 2);
    rig.sign_in(&provider, |_| ()).await.unwrap();
}

#[tokio::test]
async fn key_sets_that_are_huge_or_unreadable_are_refused() {
    let rig = Rig::start().await;
    for body in [
        json!({"keys": vec![json!({"kty": "oct"}); 10_000]}).to_string(),
        "{".to_owned() + &" ".repeat(600_000),
        "<html>".to_owned(),
    ] {
        rig.set("/keys", Reply::new(200, "application/json", body));
        untrusted(begin(&rig.provider()).await);
    }
}

#[tokio::test]
async fn without_a_key_a_sign_in_begins_and_no_token_is_believed() {
    let rig = Rig::start().await;
    rig.set("/keys", Reply::new(200, "application/json", json!({"keys": []}).to_string()));
    let provider = rig.provider();
    assert!(begin(&provider).await.is_ok());
    assert!(rig.sign_in(&provider, |_| {}).await.is_err());
}

#[tokio::test]
async fn a_provider_that_is_down_fails_fast_and_recovers_by_itself() {
    let rig = Rig::start().await;
    let provider = Arc::new(rig.provider());
    rig.set("/.well-known/openid-configuration", Reply::new(503, "text/plain", "no"));
    let began = instant();
    let tries = (0..20).map(|_| {
        let provider = Arc::clone(&provider);
        tokio::spawn(async move { begin(&provider).await.map(|_| ()) })
    });
    for task in tries.collect::<Vec<_>>() {
        assert!(matches!(task.await.unwrap(), Err(ProviderFault::Unavailable { .. })));
    }
    // Once, and once more for each second that a busy machine took.
    let asked = rig.seen("/.well-known/openid-configuration").len() as u64;
    assert!((1..=1 + began.elapsed().as_secs()).contains(&asked), "{asked} in {:?}", began.elapsed());
    assert!(provider.end_session(None, "https://app.example/", "s").is_none());
    rig.set("/.well-known/openid-configuration", Reply::json(&document(&rig.issuer)));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    rig.sign_in(&provider, |_| ()).await.unwrap();
}

#[tokio::test]
async fn a_slow_provider_is_given_up_within_its_time() {
    let rig = Rig::start().await;
    let mut reply = Reply::json(&document(&rig.issuer));
    reply.delay = Duration::from_secs(30);
    rig.set("/.well-known/openid-configuration", reply);
    let mut settings = rig.settings();
    settings.timeout = Duration::from_millis(200);
    let began = instant();
    assert!(matches!(begin(&provider(settings)).await, Err(ProviderFault::Unavailable { .. })));
    assert!(began.elapsed() < Duration::from_secs(5), "the usual bound is 10 s");
}

#[tokio::test]
async fn many_first_sign_ins_read_the_metadata_once() {
    let rig = Rig::start().await;
    let provider = Arc::new(rig.provider());
    let tasks = (0..20).map(|_| {
        let provider = Arc::clone(&provider);
        tokio::spawn(async move { begin(&provider).await.map(|_| ()) })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    assert_eq!((rig.seen("/.well-known/openid-configuration").len(), rig.seen("/keys").len()), (1, 1));
}

#[tokio::test]
async fn what_was_read_stays_in_use_while_the_provider_is_away_and_never_moves() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    rig.sign_in(&provider, |_| ()).await.unwrap();
    rig.remove("/.well-known/openid-configuration");
    assert!(provider.oidc.book.renew().await.is_err());
    rig.sign_in(&provider, |_| ()).await.unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut moved = document(&rig.issuer);
    for name in ["token_endpoint", "jwks_uri"] {
        moved[name] = json!(format!("http://{}/x", elsewhere.local_addr().unwrap()));
    }
    rig.set("/.well-known/openid-configuration", Reply::json(&moved));
    provider.oidc.book.renew().await.unwrap();
    rig.sign_in(&provider, |_| ()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(100), elsewhere.accept()).await.is_err());
}

#[tokio::test]
async fn keeping_fresh_reads_at_once_and_ends_with_the_provider() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    let task = tokio::spawn(provider.keep_fresh());
    tokio::time::timeout(Duration::from_secs(30), async {
        while !provider.is_loaded() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    drop(provider);
    assert!(!task.is_finished());
    task.abort();
    // A provider that is gone is not held by the loop.
    let provider = rig.provider();
    let future = provider.keep_fresh();
    drop(provider);
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap();
}

#[test]
fn settings_that_contradict_themselves_are_refused_at_once() {
    let refused = |change: &dyn Fn(&mut ProviderSettings)| {
        let mut settings = rig::settings("https://idp.example");
        change(&mut settings);
        let outcome = Provider::new(settings, Clock::manual(NOW), Outbound::default());
        assert!(matches!(outcome, Err(ProviderFault::Misconfigured { .. })));
    };
    for issuer in [
        "",
        "idp.example",
        "ftp://idp.example",
        "http://idp.example",
        "http://10.0.0.1",
        "https://idp.example?x",
        "https://idp.example#x",
        "https://u@idp.example",
    ] {
        refused(&|settings| issuer.clone_into(&mut settings.issuer));
    }
    for algorithm in ["none", "HS256", "rs256", ""] {
        refused(&|settings| settings.signing_algorithms = vec![algorithm.to_owned()]);
    }
    refused(&|settings| settings.signing_algorithms.clear());
    refused(&|settings| settings.client_secret = None);
    refused(&|settings| drop(settings.authorization_parameters.insert("state".to_owned(), "x".to_owned())));
    refused(&|settings| drop(settings.authorization_parameters.insert("max_age".to_owned(), "soon".to_owned())));
    refused(&|settings| settings.ca = Some("/nowhere/ca.pem".into()));
    assert!(Provider::new(rig::settings("https://idp.example"), Clock::manual(NOW), Outbound::default()).is_ok());
}
