//! The one place that turns "no" into an answer: a calm page for people, RFC 9457 for programs.

use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::http::body::Body;
use crate::http::visit::{Caller, Visit};
use crate::page::answer::{Asker, full};
use crate::page::html::Link;
use crate::page::people::page;
use crate::policy::wanted::Wanted;

/// The scheme of our 401 (RFC 9110, section 11.6.1): a 401 must name one, and `Bearer` (RFC 6750, section 3) is the
/// registered one that opens no password dialog. Without credentials there is no error code to give (section 3.1).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"portcullis\"");

/// What is told with a status: what happened, and what to do. Never holds a secret; texts are escaped where they are shown.
#[derive(Clone, Debug, Default)]
pub struct Explanation<'a> {
    /// The heading.
    pub title: Cow<'a, str>,
    /// What happened, in a sentence.
    pub what: Cow<'a, str>,
    /// What to do about it; may be empty.
    pub advice: Cow<'a, str>,
    /// Where to go, the best way first.
    pub links: Vec<Link<'a>>,
}

impl<'a> Explanation<'a> {
    /// An explanation without links.
    pub fn new(title: impl Into<Cow<'a, str>>, what: impl Into<Cow<'a, str>>, advice: impl Into<Cow<'a, str>>) -> Self {
        Self { title: title.into(), what: what.into(), advice: advice.into(), links: Vec::new() }
    }

    /// With one more link, after those that it has.
    #[must_use]
    pub fn link(mut self, text: impl Into<Cow<'a, str>>, href: impl Into<String>) -> Self {
        self.links.push(Link::new(text, href));
        self
    }
}

/// A page or a problem, by what the caller can read.
pub fn error(visit: &Visit, status: StatusCode, explanation: &Explanation<'_>) -> Response<Body> {
    answer(visit.into(), status, explanation)
}

/// What a request gets that the edge refused, before there is a visit: a 400, 421, 431 and the like. `detail` is a
/// sentence of ours, never the request's own words.
pub fn refused(request_id: &str, caller: Caller, status: StatusCode, detail: &str) -> Response<Body> {
    let title = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "Too much came with this request",
        StatusCode::PAYLOAD_TOO_LARGE => "That is too large",
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::FORBIDDEN => "That can't be done here",
        StatusCode::MISDIRECTED_REQUEST => "This isn't the site you asked for",
        _ => "This request can't be read",
    };
    let advice = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "Deleting this site's cookies in the browser helps.",
        StatusCode::MISDIRECTED_REQUEST => "Check the address.",
        _ => "Check the address, or go back and try again.",
    };
    answer(Asker { request_id, caller, site: None }, status, &Explanation::new(title, detail, advice))
}

/// 401 for a route that sends nobody to sign in by itself. `login` is the path of our login endpoint, for the link.
pub fn unauthorized(visit: &Visit, login: &str) -> Response<Body> {
    let mut response = match visit.caller {
        Caller::Browser => error(
            visit,
            StatusCode::UNAUTHORIZED,
            &Explanation::new("Please sign in", "This page is for people who are signed in.", "")
                .link("Sign in", login),
        ),
        Caller::Program => unauthorized_json(visit, login),
    };
    response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    response
}

/// 401 as JSON, whoever asks. `login` tells a front end where to send its person.
pub fn unauthorized_json(visit: &Visit, login: &str) -> Response<Body> {
    let status = StatusCode::UNAUTHORIZED;
    let mut value = problem(visit.into(), status, "There is no session. Sign in first.");
    if let Some(members) = value.as_object_mut() {
        members.insert("login".to_owned(), json!(login));
    }
    let mut response = full(&visit.request_id, status, PROBLEM_JSON, value.to_string());
    response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    response
}

/// 401 for whoever signed in, but not in the way that is wanted (RFC 9470, section 3). There is no parameter for methods (`amr`), so
/// they stand in the document alone.
pub fn insufficient(visit: &Visit, wanted: &Wanted) -> Response<Body> {
    let status = StatusCode::UNAUTHORIZED;
    let detail = "Another way of signing in, or a fresh sign-in, is needed here.";
    let mut value = problem(visit.into(), status, detail);
    let mut challenge = "Bearer realm=\"portcullis\", error=\"insufficient_user_authentication\", \
                         error_description=\"another sign-in is needed\""
        .to_owned();
    if let Some(members) = value.as_object_mut() {
        if !wanted.acr.is_empty() {
            let values = wanted.acr.join(" ");
            challenge.extend([", acr_values=\"", &values, "\""]);
            members.insert("acr_values".to_owned(), json!(values));
        }
        if let Some(max_age) = wanted.max_age {
            challenge.extend([", max_age=\"", &max_age.as_secs().to_string(), "\""]);
            members.insert("max_age".to_owned(), json!(max_age.as_secs()));
        }
        if !wanted.amr.is_empty() {
            members.insert("amr".to_owned(), json!(wanted.amr));
        }
    }
    let mut response = full(&visit.request_id, status, PROBLEM_JSON, value.to_string());
    // The config takes no value that can't stand in a quoted string, and what an upstream asks for is held to the same.
    let challenge = HeaderValue::try_from(challenge).unwrap_or(CHALLENGE);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// 403: signed in, but not admitted. `who` is how the person knows themselves; `switch` and `logout` are paths of ours.
pub fn forbidden(visit: &Visit, who: Option<&str>, switch: &str, logout: &str) -> Response<Body> {
    let what = who.map_or_else(
        || "This account may not open this page.".to_owned(),
        |who| format!("You are signed in as {who}, and that account may not open this page."),
    );
    let advice = "Ask whoever runs this site for access, or use another account.";
    let explanation = Explanation::new("You have no access here", what, advice)
        .link("Sign in as somebody else", switch)
        .link("Sign out", logout);
    error(visit, StatusCode::FORBIDDEN, &explanation)
}

/// 404: no route and no endpoint of ours.
pub fn not_found(visit: &Visit) -> Response<Body> {
    let explanation =
        Explanation::new("There is nothing here", "This address leads nowhere on this site.", "Check the address.")
            .link("Go to the start", "/");
    error(visit, StatusCode::NOT_FOUND, &explanation)
}

/// 502: the application behind can't be reached, or broke off. `retry` is the link of "Try again", for requests that may be repeated.
pub fn upstream_unavailable(visit: &Visit, retry: Option<&str>) -> Response<Body> {
    let explanation = Explanation::new(
        "The application doesn't answer",
        "The application behind this gate can't be reached right now.",
        "It may be starting. Wait a moment, then try again.",
    );
    error(visit, StatusCode::BAD_GATEWAY, &retriable(explanation, retry))
}

/// 502: the application behind wants a token about whoever asks, and none can be had.
pub fn token_unavailable(visit: &Visit, retry: Option<&str>) -> Response<Body> {
    let explanation = Explanation::new(
        "The application can't be told who you are",
        "The application behind this gate needs a token about you, and the sign-in provider gave none.",
        "Wait a moment, then try again. If it stays so, tell whoever runs this site the number of this request.",
    );
    error(visit, StatusCode::BAD_GATEWAY, &retriable(explanation, retry))
}

/// 504: the application behind is too slow.
pub fn upstream_timeout(visit: &Visit, retry: Option<&str>) -> Response<Body> {
    let explanation = Explanation::new(
        "The application takes too long",
        "The application behind the gate didn't answer in time.",
        "What you asked for may still be going on. Wait a moment before you try again.",
    );
    error(visit, StatusCode::GATEWAY_TIMEOUT, &retriable(explanation, retry))
}

fn retriable<'a>(explanation: Explanation<'a>, retry: Option<&str>) -> Explanation<'a> {
    match retry {
        Some(retry) => explanation.link("Try again", retry),
        None => explanation,
    }
    .link("Go to the start", "/")
}

const PROBLEM_JSON: &str = "application/problem+json";

fn answer(asker: Asker<'_>, status: StatusCode, explanation: &Explanation<'_>) -> Response<Body> {
    match asker.caller {
        Caller::Browser => page(asker, status, &explanation.page(asker, Some(&status_line(status)))),
        Caller::Program => {
            let detail = format!("{} {}", explanation.what, explanation.advice);
            full(asker.request_id, status, PROBLEM_JSON, problem(asker, status, detail.trim_end()).to_string())
        }
    }
}

/// RFC 9457, section 4.2.1: with `about:blank` the title is the status's own phrase.
fn problem(asker: Asker<'_>, status: StatusCode, detail: &str) -> serde_json::Value {
    json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "request_id": asker.request_id,
    })
}

fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
}
