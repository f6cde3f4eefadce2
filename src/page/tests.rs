//! What every page and problem must have, and what none may let through.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use url::Url;

use crate::http::body::Body;
use crate::http::visit::{Caller, SiteOrigin, Visit};
use crate::page::html::Link;
use crate::page::{self, Explanation, Question};

const NASTY: &str = "\"><script>alert('x')</script>&";

fn visit(caller: Caller) -> Visit {
    Visit {
        request_id: Arc::from("0123456789abcdef0123456789abcdef"),
        client: None,
        site: Arc::new(SiteOrigin::new(&Url::parse("https://app.example.com").unwrap()).unwrap()),
        caller,
    }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn nasty() -> Explanation<'static> {
    Explanation::new(NASTY, NASTY, NASTY).link(NASTY, NASTY)
}

/// Every kind of page, each filled with `words`.
fn every_page(words: &str) -> Vec<(&'static str, Response<Body>)> {
    let visit = visit(Caller::Browser);
    let link = Link::new(words, words);
    let question = Question {
        title: words,
        what: words,
        action: words,
        fields: &[(words, words)],
        button: words,
        others: std::slice::from_ref(&link),
    };
    let explanation = Explanation::new(words, words, words).link(words, words);
    vec![
        ("chooser", page::chooser(&visit, std::slice::from_ref(&link))),
        ("notice", page::notice(&visit, &explanation)),
        ("error", page::error(&visit, StatusCode::BAD_GATEWAY, &explanation)),
        ("ask", page::ask(&visit, &question)),
        ("onward", page::onward(&visit, words, words)),
        ("forbidden", page::forbidden(&visit, Some(words), words, words)),
        ("unauthorized", page::unauthorized(&visit, words)),
        ("not found", page::not_found(&visit)),
        ("unavailable", page::upstream_unavailable(&visit, Some(words))),
        ("timeout", page::upstream_timeout(&visit, None)),
        ("refused", page::refused(words, Caller::Browser, StatusCode::BAD_REQUEST, words)),
    ]
}

#[tokio::test]
async fn no_text_becomes_markup() {
    for ((name, plain), (_, nasty)) in every_page("words").into_iter().zip(every_page(NASTY)) {
        let (plain, nasty) = (text(plain).await, text(nasty).await);
        for mark in ["<", ">", "\"", "'"] {
            assert_eq!(nasty.matches(mark).count(), plain.matches(mark).count(), "{name}: {mark} came through");
        }
        assert!(!nasty.contains("<script"), "{name}");
    }
}

#[tokio::test]
async fn the_policy_admits_the_very_style_of_the_page_and_nothing_else() {
    for (name, response) in every_page("words") {
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let html = text(response).await;
        let (_, rest) = html.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
        let form_action = if html.contains("<form") { "'self'" } else { "'none'" };
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; form-action {form_action}; base-uri 'none'; \
                 frame-ancestors 'none'"
            ),
            "{name}"
        );
        assert!(!html.contains("style="), "{name}: the policy would drop a style attribute");
        assert!(!html.contains(" src="), "{name}: the policy would block it");
    }
}

#[tokio::test]
async fn every_answer_stays_out_of_caches_frames_and_guesses() {
    let browser = visit(Caller::Browser);
    let program = visit(Caller::Program);
    let mut answers = every_page("words");
    answers.push(("redirect", page::redirect(&browser, StatusCode::FOUND, "https://login.example.com/")));
    answers.push(("problem", page::not_found(&program)));
    answers.push(("401", page::unauthorized(&program, "/.auth/login")));
    answers.push(("head", page::to_head(page::not_found(&program))));
    for (name, response) in answers {
        let headers = response.headers();
        let value = |header: &str| headers.get(header).map(|value| value.to_str().unwrap());
        assert_eq!(value("cache-control"), Some("no-store"), "{name}");
        assert_eq!(value("x-content-type-options"), Some("nosniff"), "{name}");
        assert_eq!(value("x-frame-options"), Some("DENY"), "{name}");
        let referrer = if name == "ask" { "same-origin" } else { "no-referrer" };
        assert_eq!(value("referrer-policy"), Some(referrer), "{name}");
        assert!(value("content-security-policy").unwrap().contains("frame-ancestors 'none'"), "{name}");
        if name != "refused" {
            assert_eq!(value("x-request-id"), Some("0123456789abcdef0123456789abcdef"), "{name}");
        }
    }
}

#[tokio::test]
async fn pages_can_be_read_by_everybody() {
    for (name, response) in every_page("words") {
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{name}");
        let html = text(response).await;
        assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{name}");
        assert_eq!(html.matches("<h1>").count(), 1, "{name}");
        assert_eq!(html.matches("<main>").count(), 1, "{name}");
        assert!(html.contains("<meta name=\"viewport\""), "{name}");
        assert!(html.contains("prefers-color-scheme: dark") && html.contains(":focus-visible"), "{name}");
        assert!(html.matches("<svg").count() == html.matches("aria-hidden=\"true\"").count(), "{name}");
    }
}

#[tokio::test]
async fn programs_get_a_problem() {
    let response = page::error(&visit(Caller::Program), StatusCode::SERVICE_UNAVAILABLE, &nasty());
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let value: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(value["type"], "about:blank");
    assert_eq!(value["title"], "Service Unavailable");
    assert_eq!(value["status"], 503);
    assert_eq!(value["detail"], format!("{NASTY} {NASTY}"));
    assert_eq!(value["request_id"], "0123456789abcdef0123456789abcdef");
}

#[tokio::test]
async fn people_see_status_request_and_ways_on() {
    let explanation = Explanation::new("Oh", "It broke.", "Wait.").link("Try again", "/again").link("Start", "/");
    let html = text(page::error(&visit(Caller::Browser), StatusCode::GATEWAY_TIMEOUT, &explanation)).await;
    for part in ["504 Gateway Timeout", "<h1>Oh</h1>", "It broke.", "href=\"/again\"", "0123456789abcdef", "href=\"/\""]
    {
        assert!(html.contains(part), "{part}");
    }
}

#[tokio::test]
async fn a_401_names_a_scheme_and_the_way_to_sign_in() {
    for caller in [Caller::Browser, Caller::Program] {
        let response = page::unauthorized(&visit(caller), "/.auth/login?return_to=%2Fx");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"portcullis\"");
        assert!(text(response).await.contains("/.auth/login?return_to=%2Fx"), "{caller:?}");
    }
}

#[tokio::test]
async fn a_request_refused_at_the_edge_gets_an_answer_of_its_kind() {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let html = text(page::refused("id", Caller::Browser, status, "The headers are too large.")).await;
    assert!(html.contains("431") && html.contains("The headers are too large.") && html.contains("cookies"));
    let response = page::refused("id", Caller::Program, status, "The headers are too large.");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(text(response).await.contains("\"request_id\":\"id\""));
}

#[tokio::test]
async fn a_head_has_the_length_and_no_body() {
    let length = text(page::not_found(&visit(Caller::Browser))).await.len();
    let response = page::to_head(page::not_found(&visit(Caller::Browser)));
    assert_eq!(response.headers()[header::CONTENT_LENGTH], length.to_string());
    assert_eq!(text(response).await, "");
}

#[test]
fn a_target_that_fits_no_header_is_no_redirect() {
    let response = page::redirect(&visit(Caller::Browser), StatusCode::FOUND, "https://a/\r\nSet-Cookie: x=y");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.headers().get(header::LOCATION).is_none() && response.headers().get(header::SET_COOKIE).is_none());
}

#[test]
fn cookies_keep_a_line_each() {
    let lines = [HeaderValue::from_static("a=1"), HeaderValue::from_static("b=2")];
    let response = page::with_cookies(page::not_found(&visit(Caller::Program)), lines);
    assert_eq!(response.headers().get_all(header::SET_COOKIE).iter().count(), 2);
}
