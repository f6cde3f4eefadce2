//! Attack 51: whatever stands in a path, a header, a name or an error, it begins no line of the log and moves no cursor.

use portcullis::demo::provider::{AnswerFault, Edit, Endpoint, IdTokenFault, Misbehaviour, ProviderOptions, Transport};
use serde_json::{Value, json};

use crate::sign_ins::SignIns;
use crate::support::browser::Browser;
use crate::support::client::Response;

/// What a forged line would look like, in either format.
const NASTY: &str = "x\r\n2026-01-01T00:00:00Z  INFO forged: all is well\n{\"level\":\"INFO\",\"message\":\"forged\"}\u{1b}[31m\u{7}\u{85}\u{2028}\"}";

fn provoke(format: &str) -> Vec<String> {
    let log = format!("[log]\nformat = {format:?}\nlevel = \"trace\"");
    let mut scene = SignIns::start_with(ProviderOptions::default(), |config| config.raw(&log));
    odd_requests(&scene);
    odd_providers(&scene);
    odd_person(&scene);
    scene.gateway.stop();
    let (_, err) = scene.gateway.process().streams();
    let lines: Vec<String> = err.split('\n').map(str::to_owned).collect();
    assert!(lines.len() > 20, "{err}");
    for line in &lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(!line.contains('\u{2028}') && !line.contains('\u{85}'), "{line:?}");
    }
    lines
}

/// Raw bytes in targets and header fields; each gets an answer or an end of the connection.
fn odd_requests(scene: &SignIns) {
    let client = scene.gateway.client();
    let host = scene.gateway.url().trim_start_matches("http://").to_owned();
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for target in [
        "/%0d%0aforged",
        "/%1b[31mred",
        "/a\"b",
        "/a\\b",
        "/{\"level\":\"INFO\"}",
        "/a\u{e9}\u{2028}",
        "/%0aforged?x=%0aforged",
        "/app?x=\u{85}",
        "*",
        "http://other/x",
        "/.auth/callback/corp?error=%0d%0aforged&state=%1b[31m",
        "/.auth/login/%0aforged",
        "/.auth/login?return_to=%0d%0aforged",
    ] {
        requests.push(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
    }
    for field in [
        "User-Agent: \u{1b}[31mred",
        "User-Agent: a\r\n forged",
        "X-Request-Id: a\"b\u{e9}",
        "X-Forwarded-For: \"\u{1b}[31m",
        "Referer: http://x/\"}\u{e9}",
        "Cookie: portcullis=\u{e9}\"}; __Host-portcullis=\"",
        "Host: a\"b",
        "Host: \u{e9}",
    ] {
        requests.push(format!("GET /app HTTP/1.1\r\nHost: {host}\r\n{field}\r\n\r\n").into_bytes());
        requests.push(format!("GET /app HTTP/1.1\r\n{field}\r\n\r\n").into_bytes());
    }
    requests.push(format!("FO{{}}O /app HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
    requests.push(format!("PROPFIND|~ /app HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
    for request in requests {
        // An end of the connection is an answer too.
        let _refused: std::io::Result<Response> = client.raw(&request);
    }
}

/// Errors and metadata that a provider chooses.
fn odd_providers(scene: &SignIns) {
    let control = scene.control();
    let faults: Vec<Misbehaviour> = vec![
        AnswerFault::Error { error: NASTY.to_owned(), description: NASTY.to_owned() }.into(),
        AnswerFault::Set("iss".to_owned(), NASTY.to_owned()).into(),
        AnswerFault::Set("code".to_owned(), NASTY.to_owned()).into(),
        AnswerFault::Set("state".to_owned(), NASTY.to_owned()).into(),
        Misbehaviour::TokenRefused { error: NASTY.to_owned(), description: NASTY.to_owned() },
        Misbehaviour::TokenAnswer(Edit::set("token_type", NASTY)),
        Misbehaviour::TokenAnswer(Edit::set("access_token", NASTY)),
        Misbehaviour::TokenAnswer(Edit::set("id_token", NASTY)),
        Misbehaviour::TokenAnswer(Edit::set(NASTY, NASTY)),
        Misbehaviour::Userinfo(Edit::set("sub", NASTY)),
        Misbehaviour::Userinfo(Edit::Whole(json!(NASTY))),
        IdTokenFault::claim("sub", NASTY).into(),
        IdTokenFault::claim("iss", NASTY).into(),
        IdTokenFault::claim("nonce", NASTY).into(),
        IdTokenFault::Duplicate(NASTY.to_owned(), json!(NASTY)).into(),
        IdTokenFault::AlgorithmSays(NASTY.to_owned()).into(),
        IdTokenFault::KeyId(NASTY.to_owned()).into(),
        (Endpoint::Token, Transport::Body { content_type: "application/json".to_owned(), bytes: NASTY.into() }).into(),
    ];
    for fault in faults {
        control.once(fault);
        scene.attempt();
    }
    control.behave();
}

/// A person whose every claim is an attack signs in, and is told to an upstream that can't write them.
fn odd_person(scene: &SignIns) {
    for name in ["name", "email", "preferred_username", "given_name"] {
        scene.control().always(IdTokenFault::claim(name, NASTY));
    }
    scene.control().always(IdTokenFault::claim("groups", json!([NASTY, "staff"])));
    scene.control().always(IdTokenFault::claim("acr", NASTY));
    scene.control().always(IdTokenFault::claim("sid", NASTY));
    scene.assert_accepted("a person of odd claims");
    scene.control().behave();
}

#[test]
fn every_line_of_text_is_one_event() {
    for line in provoke("text") {
        let stamp = line.split_whitespace().next().unwrap_or_default();
        assert!(stamp.len() >= 20 && stamp.starts_with("20") && stamp.ends_with('Z'), "no event of ours: {line}");
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "forged: {line}");
    }
}

#[test]
fn every_line_of_json_is_one_object() {
    for line in provoke("json") {
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
        assert_ne!(event["message"], "forged");
    }
}

/// The same holds for what people read: nothing that came from outside becomes markup (attack 29).
#[test]
fn what_a_provider_says_is_no_markup_on_our_pages() {
    let scene = SignIns::start();
    let script = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    for fault in [
        AnswerFault::Error { error: script.to_owned(), description: script.to_owned() },
        AnswerFault::Set("iss".to_owned(), script.to_owned()),
    ] {
        scene.control().once(fault);
        let mut browser = Browser::new();
        let page = browser.sign_in("alice", &scene.gateway.at("/app"));
        scene.assert_says_no("a script for an error", &page);
        let text = page.text();
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("onerror=alert(1)>"), "{text}");
        let policy = page.response.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}
