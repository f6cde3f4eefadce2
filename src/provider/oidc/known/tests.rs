//! When a provider is asked whether it is there, and what its silence means for those who want to sign in.

use std::time::Duration;

use serde_json::json;

use super::super::rig::{Reply, Rig, begin, document};
use super::*;
use crate::base::clock::instant;
use crate::provider::Provider;

const DOCUMENT: &str = "/.well-known/openid-configuration";

fn asked(rig: &Rig) -> usize {
    rig.seen(DOCUMENT).len()
}

/// As if nothing had been heard of the provider for a while, and no failure either.
async fn forget(provider: &Provider) {
    let book = &provider.oidc.book;
    book.heard.at.store(0, Ordering::Relaxed);
    book.reading.lock().await.failed = None;
}

/// As if the last failure were longer ago than it is passed on.
async fn forget_failure(provider: &Provider) {
    provider.oidc.book.reading.lock().await.failed = None;
}

#[tokio::test]
async fn a_provider_that_was_heard_of_a_moment_ago_is_not_asked() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    for _ in 0..3 {
        begin(&provider).await.unwrap();
    }
    assert_eq!((asked(&rig), rig.seen("/keys").len()), (1, 1));
}

#[tokio::test]
async fn a_silent_provider_is_asked_once_and_believed_again() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    begin(&provider).await.unwrap();
    forget(&provider).await;
    for _ in 0..3 {
        begin(&provider).await.unwrap();
    }
    assert_eq!(asked(&rig), 2, "asked once, then believed");
    assert_eq!(rig.seen("/keys").len(), 1, "the question whether it is there needs no keys");
}

#[tokio::test]
async fn nobody_is_sent_to_a_provider_that_went_away() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    begin(&provider).await.unwrap();
    for status in [500, 502, 503, 429] {
        forget(&provider).await;
        rig.set(DOCUMENT, Reply::new(status, "text/plain", "no"));
        let before = asked(&rig);
        for _ in 0..5 {
            assert!(matches!(begin(&provider).await, Err(ProviderFault::Unavailable { .. })), "{status}");
        }
        assert_eq!(asked(&rig), before + 1, "for a second after a failure everyone gets that failure");
    }
    assert!(provider.is_loaded(), "what is known stays: sign-ins on their way can end");
    rig.set(DOCUMENT, Reply::json(&document(&rig.issuer)));
    forget_failure(&provider).await;
    begin(&provider).await.unwrap();
}

#[tokio::test]
async fn a_sign_in_on_its_way_ends_without_the_question() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    rig.sign_in(&provider, |_| ()).await.unwrap();
    let pending = begin(&provider).await.unwrap();
    forget(&provider).await;
    rig.remove(DOCUMENT);
    rig.set_token(&super::super::rig::id_token(&rig.claims(&pending)));
    provider.finish(&pending, super::super::rig::with_code()).await.unwrap();
}

/// An answer that can't be trusted is an answer: the provider is there, and what was checked before goes on being used.
#[tokio::test]
async fn a_provider_that_answers_nonsense_is_there_and_is_not_believed() {
    let rig = Rig::start().await;
    let provider = rig.provider();
    begin(&provider).await.unwrap();
    let mut moved = document("https://evil.example");
    moved["authorization_endpoint"] = json!("https://evil.example/authorize");
    for reply in [Reply::json(&moved), Reply::new(404, "text/html", "gone"), Reply::new(200, "text/html", "<html>")] {
        forget(&provider).await;
        rig.set(DOCUMENT, reply);
        let begun = provider
            .begin(crate::provider::Begin {
                redirect_uri: "https://app.example/cb".to_owned(),
                parameters: Vec::new(),
                wanted: crate::policy::wanted::Wanted::default(),
            })
            .await
            .unwrap();
        assert!(begun.url.starts_with(&rig.issuer), "{}", begun.url);
    }
}

#[tokio::test]
async fn many_who_come_at_once_ask_a_silent_provider_once() {
    let rig = Rig::start().await;
    let provider = Arc::new(rig.provider());
    begin(&provider).await.unwrap();
    for (reply, there) in [(Reply::json(&document(&rig.issuer)), true), (Reply::new(503, "text/plain", "no"), false)] {
        forget(&provider).await;
        rig.set(DOCUMENT, reply);
        let before = asked(&rig);
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let provider = Arc::clone(&provider);
                tokio::spawn(async move { begin(&provider).await.is_ok() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), there);
        }
        assert_eq!(asked(&rig), before + 1);
    }
}

/// Nobody waits out the provider's whole time limit for the mere question whether it is there.
#[tokio::test]
async fn the_question_has_a_short_limit_of_its_own() {
    let rig = Rig::start().await;
    let mut settings = rig.settings();
    settings.timeout = Duration::from_mins(1);
    let provider = super::super::rig::provider(settings);
    begin(&provider).await.unwrap();
    forget(&provider).await;
    let mut reply = Reply::json(&document(&rig.issuer));
    reply.delay = Duration::from_secs(30);
    rig.set(DOCUMENT, reply);
    let began = instant();
    assert!(matches!(begin(&provider).await, Err(ProviderFault::Unavailable { .. })));
    assert!(began.elapsed() < LONGEST_PROBE + Duration::from_secs(5), "{:?}", began.elapsed());
}
