//! The access log: one line a request, whatever became of it, as text and as JSON.

use portcullis::demo::provider::ProviderOptions;
use serde_json::Value;

use crate::sign_ins::SignIns;
use crate::support::browser::Browser;

const ROUTES: &str = "[[routes]]\nname = \"the public part\"\npath = \"/public/*\"\nallow = \"everyone\"\nupstream = \"app\"\n\
                      [[routes]]\npath = \"/admin/*\"\nallow = { roles = [\"root\"] }\nupstream = \"app\"\n\
                      [[routes]]\npath = \"/app\"\nallow = \"signed-in\"\nupstream = \"app\"";

/// A run of known requests, and the lines of the access log that they left.
fn lines(format: &str) -> (Vec<String>, Vec<String>) {
    let config = format!("{ROUTES}\n[log]\nformat = {format:?}");
    let mut scene = SignIns::start_with(ProviderOptions::default(), |given| given.raw(&config));
    let (mut alice, _) = scene.sign_in("before");
    let mut ids = Vec::new();
    let mut browser = Browser::new();
    for path in ["/public/x?token=canary", "/app?q=canary", "/nothing", "/.auth/me"] {
        let answer = browser.peek(&scene.gateway.at(path));
        ids.push(answer.header("x-request-id").unwrap_or_default().to_owned());
    }
    // A browser would mend this path before it asks.
    let malformed = scene.gateway.get("/%2e%2e/x?q=canary").send();
    ids.push(malformed.header("x-request-id").unwrap_or_default().to_owned());
    for path in ["/app", "/admin/x"] {
        let answer = alice.peek(&scene.gateway.at(path));
        ids.push(answer.header("x-request-id").unwrap_or_default().to_owned());
    }
    let upstream_id = scene.upstream.last_request().header("x-request-id").map(str::to_owned);
    assert!(upstream_id.is_some(), "the upstream learns the request's name");
    scene.gateway.stop();
    let (_, err) = scene.gateway.process().streams();
    assert!(!err.contains("canary"), "a query stands in the log:\n{err}");
    let access = err.lines().filter(|line| line.contains("access") && line.contains("request_id")).map(str::to_owned);
    let access: Vec<String> = access.filter(|line| line.contains("total_ms")).collect();
    ids.push(upstream_id.unwrap_or_default());
    (access, ids)
}

/// The line of the request for `path` that came out like that.
fn find<'a>(lines: &'a [Value], path: &str, decision: &str) -> &'a Value {
    let mut found = lines.iter().filter(|line| line["path"] == path && line["decision"] == decision);
    let line = found.next().unwrap_or_else(|| panic!("no line for {path} {decision}: {lines:#?}"));
    assert!(
        found.next().is_none() || decision == "pass" || decision == "endpoint",
        "two lines for one request: {line}"
    );
    line
}

#[test]
fn json_tells_everything_once() {
    let (lines, ids) = lines("json");
    let lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    // Three of the sign-in before (the page, the callback, the page again), five of nobody, two of alice.
    assert_eq!(lines.len(), 10, "{lines:#?}");
    let public = find(&lines, "/public/x", "pass");
    assert_eq!(
        (&public["route"], &public["status"], &public["method"]),
        (&"the public part".into(), &200.into(), &"GET".into())
    );
    assert_eq!(public["client"], "127.0.0.1");
    assert!(public["principal"].is_null() && public["upstream_ms"].as_f64().is_some_and(|ms| ms >= 0.0));
    let public_total = public["total_ms"].as_f64().expect("a number");
    assert!(public["upstream_ms"].as_f64().expect("a number") <= public_total);
    let malformed = find(&lines, "/%2e%2e/x", "malformed");
    assert_eq!((&malformed["status"], malformed.get("route")), (&400.into(), None));
    let nothing = find(&lines, "/nothing", "no_route");
    assert_eq!((&nothing["status"], nothing.get("upstream_ms")), (&404.into(), None));
    let forbidden = find(&lines, "/admin/x", "forbid");
    assert_eq!((&forbidden["status"], &forbidden["route"]), (&403.into(), &"/admin/*".into()));
    let principal = forbidden["principal"].as_str().expect("alice is known");
    assert!(principal.len() >= 16 && !principal.contains("alice"), "{principal}");
    let passed = lines.iter().filter(|line| line["path"] == "/app" && line["decision"] == "pass");
    assert!(passed.clone().count() == 2 && passed.clone().all(|line| line["principal"] == principal));
    assert_eq!(lines.iter().filter(|line| line["path"] == "/app" && line["decision"] == "sign_in").count(), 2);
    let named: Vec<&str> = lines.iter().filter_map(|line| line["request_id"].as_str()).collect();
    for id in ids.iter().filter(|id| !id.is_empty()) {
        assert!(named.contains(&id.as_str()), "{id} stands on an answer and in no line: {named:?}");
    }
    let mut once = named.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), named.len(), "two requests of one name");
}

#[test]
fn text_tells_the_same_in_one_line_each() {
    let (lines, _) = lines("text");
    assert_eq!(lines.len(), 10, "{lines:#?}");
    let find = |needle: &str| {
        lines.iter().find(|line| line.contains(needle)).unwrap_or_else(|| panic!("{needle}: {lines:#?}"))
    };
    let public = find("path=\"/public/x\"");
    for part in [
        " access request_id=",
        " client=127.0.0.1",
        " method=\"GET\"",
        " route=\"the public part\"",
        " decision=\"pass\"",
        " status=200",
        " upstream_ms=",
        " total_ms=",
    ] {
        assert!(public.contains(part), "no {part} in {public}");
    }
    assert!(!public.contains("principal="));
    let forbidden = find("decision=\"forbid\"");
    assert!(
        forbidden.contains(" principal=\"") && forbidden.contains(" status=403") && !forbidden.contains("upstream_ms")
    );
}
