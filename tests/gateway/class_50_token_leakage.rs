//! Attack 50 and row 49: with everything logged that can be logged, no secret of a run stands in a log, on a page, or in a header
//! that has no business with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::demo::provider::{AnswerFault, Edit, Endpoint, IdTokenFault, Misbehaviour, ProviderOptions, Transport};
use url::Url;

use crate::sign_ins::{SignIns, parameter};
use crate::support::answer::Answer;
use crate::support::browser::Browser;
use crate::support::client::{Client, Response};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, SESSION_KEY};

const REFRESH_TOKEN: &str = "canary-refresh-token-3a9f";

/// Every secret of one run, by name.
#[derive(Default)]
struct Secrets {
    all: BTreeMap<String, String>,
}

impl Secrets {
    fn add(&mut self, name: &str, value: &str) {
        assert!(value.len() >= 16 || name == "client secret", "{name} is too short to be looked for: {value:?}");
        self.all.insert(name.to_owned(), value.to_owned());
    }

    /// The names of those that stand in `text`, as they are or percent-encoded.
    fn within(&self, text: &str) -> Vec<&str> {
        let encoded = |value: &str| url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
        let stands = |value: &String| text.contains(value.as_str()) || text.contains(&encoded(value));
        self.all.iter().filter(|(_, value)| stands(value)).map(|(name, _)| name.as_str()).collect()
    }
}

/// A gateway that logs everything, with an upstream for each kind of token.
struct Run {
    scene: SignIns,
    plain: Upstream,
    identified: Upstream,
    id_tokens: Arc<Mutex<Vec<String>>>,
    secrets: Secrets,
    pages: Vec<String>,
}

fn run(format: &str) -> Run {
    let (plain, identified) = (Upstream::start(), Upstream::start());
    let tables = format!(
        "[upstreams.plain]\nurl = {:?}\n[upstreams.identified]\nurl = {:?}\ntoken = \"id_token\"\n\
         [[routes]]\npath = \"/plain\"\nallow = \"signed-in\"\nupstream = \"plain\"\n\
         [[routes]]\npath = \"/public\"\nallow = \"everyone\"\nupstream = \"plain\"\n\
         [[routes]]\npath = \"/identified\"\nallow = \"signed-in\"\nupstream = \"identified\"\n\
         [[routes]]\npath = \"/admin\"\nallow = {{ roles = [\"nobody has it\"] }}\nupstream = \"app\"\n\
         [[routes]]\npath = \"/app\"\nallow = \"signed-in\"\nupstream = \"app\"\n\
         [log]\nformat = {format:?}\nlevel = \"trace\"",
        plain.url(),
        identified.url()
    );
    let scene = SignIns::start_with(ProviderOptions::default(), |config| {
        config.raw(&tables).variable("RUST_LOG", "trace").variable("RUST_BACKTRACE", "full")
    });
    for (upstream, path) in
        [(&scene.upstream, "/app"), (&plain, "/plain"), (&plain, "/public"), (&identified, "/identified")]
    {
        upstream.on(path, Answer::body("an application's own page"));
    }
    let id_tokens: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = Arc::clone(&id_tokens);
    scene.control().rewrite(move |token| {
        keep.lock().expect("nobody panics with it").push(token.clone());
        token
    });
    scene.control().always(Misbehaviour::TokenAnswer(Edit::set("refresh_token", REFRESH_TOKEN)));
    let mut secrets = Secrets::default();
    secrets.add("client secret", CLIENT_SECRET);
    secrets.add("Basic credentials", &STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    secrets.add("session key", SESSION_KEY);
    secrets.add("refresh token", REFRESH_TOKEN);
    Run { scene, plain, identified, id_tokens, secrets, pages: Vec::new() }
}

impl Run {
    fn keep(&mut self, answer: &Response) {
        self.pages.push(answer.text());
    }

    fn keep_cookies(&mut self, when: &str, browser: &Browser) {
        for cookie in browser.jar.all().iter().filter(|cookie| cookie.name.contains("portcullis")) {
            self.secrets.add(&format!("{} {when}", cookie.name), &cookie.value);
        }
    }

    /// What the flow and the provider's answer to it hold.
    fn keep_flow(&mut self, when: &str, callback: &Url) {
        let control = self.scene.control();
        let asked = control.requests(Endpoint::Authorize).pop().expect("somebody was sent to sign in");
        let nonce = asked.parameter("nonce").expect("a nonce").to_owned();
        let verifier = control.requests(Endpoint::Token).pop();
        let verifier = verifier.and_then(|token| token.parameter("code_verifier").map(str::to_owned));
        self.secrets.add(&format!("nonce {when}"), &nonce);
        self.secrets.add(&format!("state {when}"), &parameter(callback, "state"));
        if callback.query_pairs().any(|(name, _)| name == "code") {
            self.secrets.add(&format!("code {when}"), &parameter(callback, "code"));
        }
        if let Some(verifier) = verifier {
            self.secrets.add(&format!("verifier {when}"), &verifier);
        }
    }

    /// A sign-in in two steps, so that the cookies of the flow are seen; the answer to the callback is kept.
    fn sign_in(&mut self, when: &str, browser: &mut Browser) -> Url {
        browser.stop_before = Some("/.auth/callback/".to_owned());
        let callback = browser.sign_in("alice", &self.scene.gateway.at("/app")).url;
        browser.stop_before = None;
        self.keep_cookies(&format!("before {when}"), browser);
        let answer = browser.peek(callback.as_str());
        self.keep(&answer);
        self.keep_flow(when, &callback);
        self.keep_cookies(&format!("after {when}"), browser);
        callback
    }

    fn visit(&mut self, browser: &mut Browser, path: &str) -> Response {
        let answer = browser.peek(&self.scene.gateway.at(path));
        self.keep(&answer);
        answer
    }
}

fn nothing_leaks(format: &str) {
    let mut run = run(format);
    let mut browser = Browser::new();
    let callback = run.sign_in("the good one", &mut browser);
    for path in ["/app?q=1", "/plain", "/identified", "/public", "/admin", "/nothing", "/.auth/me", "/.auth/login"] {
        run.visit(&mut browser, path);
    }
    run.visit(&mut browser, &callback[url::Position::BeforePath..]);
    run.visit(&mut Browser::new(), &callback[url::Position::BeforePath..]);
    malformed_requests(&mut run, &browser);
    sign_ins_that_fail(&mut run);
    sign_out(&mut run, &mut browser);

    let sent = run.scene.upstream.requests().first().and_then(|seen| seen.header("authorization").map(str::to_owned));
    let access_token = sent.expect("the upstream gets the token").trim_start_matches("Bearer ").to_owned();
    run.secrets.add("access token", &access_token);
    let id_tokens = run.id_tokens.lock().expect("nobody panics with it").clone();
    for (number, token) in id_tokens.iter().enumerate() {
        run.secrets.add(&format!("ID token {number}"), token);
        let signature = token.rsplit_once('.').expect("three parts").1;
        run.secrets.add(&format!("signature of ID token {number}"), signature);
    }
    check(&mut run);
}

fn check(run: &mut Run) {
    let status = run.scene.gateway.process().stop(PATIENCE);
    assert!(status.success());
    let logs = run.scene.gateway.logs();
    assert!(logs.lines().count() > 20, "there is no log to look at: {logs}");
    assert_eq!(run.secrets.within(&logs), Vec::<&str>::new(), "in the log:\n{logs}");
    for claim in ["alice@example.com", "Liddell", "engineering"] {
        assert!(!logs.contains(claim), "a claim stands in the log: {claim}\n{logs}");
    }
    for page in &run.pages {
        // What the person may see of themselves is no secret; a signed ID token is.
        assert_eq!(run.secrets.within(page), Vec::<&str>::new(), "on a page:\n{page}");
    }
    for (upstream, may) in [(&run.scene.upstream, "access token"), (&run.plain, ""), (&run.identified, "ID token 0")] {
        assert!(upstream.count() > 0);
        for seen in upstream.requests() {
            let head = String::from_utf8_lossy(&seen.head.raw);
            let mut found = run.secrets.within(&head);
            found.retain(|name| *name != may && !(may == "ID token 0" && *name == "signature of ID token 0"));
            assert_eq!(found, Vec::<&str>::new(), "an upstream saw:\n{head}");
        }
    }
}

/// Requests that the edge refuses, each with the session's cookie and the access token in it.
fn malformed_requests(run: &mut Run, browser: &Browser) {
    let url = Url::parse(run.scene.gateway.url()).expect("a URL");
    let cookies = browser.jar.field(&url).expect("somebody is signed in");
    let client: Client = run.scene.gateway.client();
    let host = url.authority().to_owned();
    for request in [
        format!("GET /%2e%2e/x HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\nCookie: {cookies}\r\n\r\n"),
        format!(
            "GET /x HTTP/1.1\r\nHost: evil.example\r\nCookie: {cookies}\r\nAuthorization: Bearer {REFRESH_TOKEN}\r\n\r\n"
        ),
        format!("TRACE /x HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\nBad Name: {REFRESH_TOKEN}\r\n\r\n"),
        format!(
            "GET /.auth/callback/corp?code={REFRESH_TOKEN}&code=2 HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n\r\n"
        ),
        format!("GET /app HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}; {cookies}\r\nAccept: text/html\r\n\r\n"),
    ] {
        if let Ok(answer) = client.raw(request.as_bytes()) {
            run.pages.push(answer.text());
        }
    }
}

/// Each goes wrong at another step, with secrets in hand.
fn sign_ins_that_fail(run: &mut Run) {
    let control = run.scene.control().clone();
    let refused = |error: &str| Misbehaviour::TokenRefused {
        error: error.to_owned(),
        description: format!("{REFRESH_TOKEN} {CLIENT_SECRET}"),
    };
    let body = |text: &str| Transport::Body { content_type: "application/json".to_owned(), bytes: text.into() };
    let faults: Vec<Misbehaviour> = vec![
        refused("invalid_grant"),
        refused("invalid_client"),
        refused("server_error"),
        IdTokenFault::WrongNonce.into(),
        IdTokenFault::BadSignature.into(),
        IdTokenFault::WrongAccessTokenHash.into(),
        Misbehaviour::TokenAnswer(Edit::set("token_type", "mac")),
        Misbehaviour::TokenAnswer(Edit::set("access_token", format!("{REFRESH_TOKEN}\r\nX: y"))),
        Misbehaviour::TokenAnswer(Edit::set("id_token", REFRESH_TOKEN)),
        (Endpoint::Token, body(&format!("{{\"access_token\": \"{REFRESH_TOKEN}\", "))).into(),
        (Endpoint::Token, Transport::Status(500)).into(),
        (Endpoint::Token, Transport::Cut).into(),
        (Endpoint::Userinfo, body(&format!("\"{REFRESH_TOKEN}\""))).into(),
        Misbehaviour::Userinfo(Edit::set("sub", REFRESH_TOKEN)),
        AnswerFault::Set("iss".to_owned(), "https://evil.example".to_owned()).into(),
        AnswerFault::Set("code".to_owned(), REFRESH_TOKEN.to_owned()).into(),
        AnswerFault::Add("code".to_owned(), REFRESH_TOKEN.to_owned()).into(),
        AnswerFault::Error { error: "access_denied".to_owned(), description: REFRESH_TOKEN.to_owned() }.into(),
        AnswerFault::Error { error: "invalid_request".to_owned(), description: REFRESH_TOKEN.to_owned() }.into(),
    ];
    for fault in faults {
        let what = format!("{fault:?}");
        control.once(fault);
        let before = control.fired();
        let (browser, page) = run.scene.attempt();
        assert!(page.response.status >= 400, "{what}");
        assert!(control.fired() > before, "{what} did not take place");
        run.keep_cookies(&what, &browser);
        run.pages.push(page.text());
    }
}

fn sign_out(run: &mut Run, browser: &mut Browser) {
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "cross-site".to_owned()));
    run.visit(browser, "/.auth/logout");
    browser.fields.pop();
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    browser.stop_before = Some("/end_session".to_owned());
    // How the browser is sent on holds the state and the ID token by design; the page that it ends at does not.
    let onward = browser.open(&run.scene.gateway.at("/.auth/logout")).url;
    browser.stop_before = None;
    browser.fields.pop();
    run.secrets.add("state of the sign-out", &parameter(&onward, "state"));
    run.keep_cookies("while signing out", browser);
    let page = browser.open(onward.as_str());
    assert_eq!(page.url.path(), "/.auth/signed-out");
    run.pages.push(page.text());
}

#[test]
fn no_secret_is_written_at_any_level_as_text() {
    nothing_leaks("text");
}

#[test]
fn no_secret_is_written_at_any_level_as_json() {
    nothing_leaks("json");
}

/// The pages of the provider that a browser is sent to learn nothing of where it came from, and pages of ours neither.
#[test]
fn an_address_with_a_code_is_never_told_to_the_next_page() {
    let scene = SignIns::start();
    let mut browser = Browser::new();
    browser.stop_before = Some("/.auth/callback/".to_owned());
    let callback = browser.sign_in("alice", &scene.gateway.at("/app")).url;
    let answer = browser.peek(callback.as_str());
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let location = answer.header("location").expect("to the application");
    assert!(!location.contains(&parameter(&callback, "code")) && !location.contains("state="), "{location}");
}
