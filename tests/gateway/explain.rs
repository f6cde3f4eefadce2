//! `portcullis explain`: the same decision as the proxy's, told with its reasons, without a network.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::run;

const CONFIG: &str = r#"
public_url = "https://app.example.com"
[session]
keys = ["Y2FuYXJ5LWtleS1mb3ItdGVzdHMtb25seS0wMTIzNDU"]
[providers.corp]
issuer = "https://login.example.com"
client_id = "app"
client_secret = "canary-client-secret"
groups_claim = "groups"
[bearer.corp]
audience = ["https://api.example.com"]
[upstreams.app]
url = "http://127.0.0.1:3000"
[upstreams.api]
url = "http://127.0.0.1:3001"
token = "access_token"
[[routes]]
path = "/admin/*"
allow = [{ groups = ["admin"], claims = { level = 3 } }, { networks = ["10.0.0.0/8"] }]
deny = { groups = ["banned"] }
upstream = "app"
[[routes]]
path = "/gold/*"
allow = { acr = ["gold"] }
upstream = "app"
[[routes]]
path = "/tried/*"
allow = { groups = ["admin"] }
report_only = true
upstream = "app"
[[routes]]
path = "/api/*"
allow = "signed-in"
strip_prefix = "/api"
upstream = "api"
[[routes]]
path = "/guarded/*"
allow = "signed-in"
csrf = "same-origin"
cors = { origins = ["https://front.example.com"], credentials = true }
upstream = "app"
[[routes]]
path = "/with-token/*"
allow = "signed-in"
csrf = "token"
upstream = "app"
[[routes]]
path = "/machine/*"
allow = { scopes = ["orders:read"] }
bearer = true
upstream = "app"
[[routes]]
path = "/*"
allow = "everyone"
upstream = "app"
path_parameters = true
"#;

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("portcullis.toml"), CONFIG).unwrap();
        Self { folder }
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// The exit code, and what was told as JSON.
    fn explain(&self, arguments: &[&str], claims: Option<&Value>) -> (Option<i32>, Value) {
        let mut all =
            vec!["explain".to_owned(), "--config".to_owned(), self.file("portcullis.toml"), "--json".to_owned()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        if let Some(claims) = claims {
            std::fs::write(self.file("claims.json"), claims.to_string()).unwrap();
            all.extend(["--claims".to_owned(), self.file("claims.json")]);
        }
        let ran = run(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!format!("{ran:?}").contains("canary"), "a secret is told: {ran:?}");
        let told = serde_json::from_str(&ran.out).unwrap_or_else(|_| json!({"err": ran.err}));
        (ran.code, told)
    }
}

#[test]
fn the_exit_code_tells_the_decision() {
    let desk = Desk::new();
    let alice = json!({"sub": "1", "groups": ["admin"], "level": 3});
    let bob = json!({"sub": "2", "groups": ["staff"]});
    let carol = json!({"sub": "3", "groups": ["admin", "banned"], "level": 3});
    for (arguments, claims, code, decision) in [
        (&["GET", "/x"][..], None, 0, "pass"),
        (&["GET", "/admin/x"], None, 3, "sign_in"),
        (&["GET", "https://app.example.com/admin/x?a=b"], Some(&alice), 0, "pass"),
        (&["GET", "/admin/x"], Some(&bob), 5, "forbid"),
        (&["GET", "/admin/x"], Some(&carol), 5, "forbid"),
        (&["GET", "/admin/x", "--client-ip", "10.1.2.3"], None, 0, "pass"),
        (&["GET", "/gold/x"], Some(&alice), 4, "step_up"),
        (&["GET", "/tried/x"], Some(&bob), 0, "report_only"),
        (&["GET", "/.auth/login"], None, 0, "endpoint"),
        (&["GET", "/admin/../x"], None, 6, "refused"),
        (&["GET", "/a%2e%2e/x"], Some(&alice), 0, "pass"),
        (&["GET", "/%2e%2e/x"], None, 6, "refused"),
        (&["get", "/x"], None, 6, "refused"),
        (&["TRACE", "/x"], None, 6, "refused"),
        (&["GET", "https://other.example.com/x"], None, 6, "refused"),
    ] {
        let (exit, told) = desk.explain(arguments, claims);
        assert_eq!((exit, told["decision"].as_str()), (Some(code), Some(decision)), "{arguments:?}: {told}");
    }
    let (_, told) = desk.explain(&["GET", "/admin/../x"], None);
    assert_eq!((told["status"].as_u64(), told["reason"].as_str()), (Some(400), Some("the path holds a dot segment")));
    let (_, told) = desk.explain(&["GET", "https://other.example.com/x"], None);
    assert_eq!((told["status"].as_u64(), told["reason"].as_str()), (Some(421), Some("this host is not served here")));
}

#[test]
fn each_key_is_told_with_what_it_saw() {
    let desk = Desk::new();
    let (_, told) = desk.explain(&["GET", "/admin/x"], Some(&json!({"sub": "2", "groups": ["staff"], "level": "3"})));
    let rule = &told["rules"][0];
    assert_eq!(
        (rule["route"].as_str(), rule["deny"][0]["result"].as_str()),
        (Some("/admin/*"), Some("unmet")),
        "{told}"
    );
    let keys = rule["allow"][0]["keys"].as_array().unwrap();
    assert_eq!(keys[0], json!({"key": "groups", "wants": ["admin"], "saw": ["staff"], "result": "unmet"}));
    assert_eq!(keys[1], json!({"key": "claims.level", "wants": {"one_of": [3]}, "saw": "3", "result": "unclear"}));
    assert_eq!(rule["allow"][1]["keys"][0]["saw"], json!("127.0.0.1"));
    // Every reading of an odd path is asked.
    let (exit, told) = desk.explain(&["GET", "/x;a/admin/y"], None);
    assert_eq!(exit, Some(0), "{told}");
    let (exit, told) = desk.explain(&["GET", "/admin;a/y"], None);
    assert!(exit != Some(0), "{told}");
}

#[test]
fn what_the_upstream_would_get_is_told() {
    let desk = Desk::new();
    let claims = json!({"sub": "1", "email": "a@corp.com", "email_verified": true, "groups": ["x"]});
    let (_, told) = desk.explain(&["GET", "/api/orders?x=1"], Some(&claims));
    let upstream = &told["upstream"];
    assert_eq!((upstream["name"].as_str(), upstream["target"].as_str()), (Some("api"), Some("/orders?x=1")), "{told}");
    let headers = upstream["headers"].as_array().unwrap();
    let named = |name: &str| headers.iter().find(|header| header["name"] == name).map(|header| header["value"].clone());
    assert_eq!((named("x-forwarded-user"), named("x-forwarded-email")), (Some(json!("1")), Some(json!("a@corp.com"))));
    assert!(upstream["token"].as_str().is_some_and(|token| token.contains("access")), "{told}");
}

#[test]
fn what_a_request_has_to_show_is_told_and_judged_where_it_says_what_it_brings() {
    let desk = Desk::new();
    let claims = json!({"sub": "1"});
    let ask = |arguments: &[&str]| {
        let (exit, told) = desk.explain(arguments, Some(&claims));
        (exit, told["decision"].as_str().unwrap_or_default().to_owned(), told["csrf"].clone())
    };
    let pass = |csrf: Value| (Some(0), "pass".to_owned(), csrf);
    let forged = |csrf: &str| (Some(5), "csrf".to_owned(), json!(csrf));
    assert_eq!(ask(&["POST", "/guarded/x"]), pass(json!("same-origin")), "it passes if it shows that");
    assert_eq!(ask(&["GET", "/guarded/x"]), pass(Value::Null));
    assert_eq!(ask(&["POST", "/x"]), pass(Value::Null));
    for (header, expected) in [
        ("Sec-Fetch-Site: same-origin", pass(Value::Null)),
        ("Origin: https://front.example.com", pass(Value::Null)),
        ("Sec-Fetch-Site: cross-site", forged("same-origin")),
        ("Accept: */*", forged("same-origin")),
    ] {
        assert_eq!(ask(&["POST", "/guarded/x", "--header", header]), expected, "{header}");
    }
    assert_eq!(ask(&["POST", "/with-token/x", "-H", "Sec-Fetch-Site: same-origin"]), forged("token"));
    assert_eq!(ask(&["POST", "/with-token/x", "-H", "X-CSRF-Token: it"]), pass(Value::Null));
    let preflight = |origin: &str| {
        let origin = format!("Origin: {origin}");
        desk.explain(&["OPTIONS", "/guarded/x", "-H", &origin, "-H", "Access-Control-Request-Method: POST"], None)
    };
    let (exit, told) = preflight("https://front.example.com");
    assert_eq!((exit, &told["decision"], &told["status"]), (Some(0), &json!("preflight"), &json!(204)), "{told}");
    let (exit, told) = preflight("https://evil.example");
    assert_eq!((exit, &told["decision"], &told["status"]), (Some(6), &json!("preflight"), &json!(403)), "{told}");
    let (exit, told) = desk.explain(&["GET", "/x", "-H", "no header"], None);
    assert_eq!(exit, Some(2));
    assert!(told["err"].as_str().is_some_and(|err| err.contains("is no header")), "{told}");
}

#[test]
fn people_read_it_as_text_and_a_case_that_can_not_be_read_is_told() {
    let desk = Desk::new();
    std::fs::write(desk.file("claims.json"), r#"{"sub": "2", "groups": ["st\u001b[2Jaff"]}"#).unwrap();
    let ran = run(&[
        "explain",
        "--config",
        &desk.file("portcullis.toml"),
        "GET",
        "/admin/x",
        "--claims",
        &desk.file("claims.json"),
    ]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    for part in ["route `/admin/*`", "groups wants [\"admin\"]", "forbidden: 403", "as corp:2"] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'), "it writes to the terminal what the claims say");
    for (arguments, claims, problem) in [
        (&["GET", "ftp://x/"][..], None, "is no URL"),
        (&["GET", "/x"], Some(json!({"groups": []})), "`sub`"),
        (&["GET", "/x"], Some(json!([])), "no JSON object"),
        (&["GET", "/x"], Some(json!({"sub": "1", "iss": "https://evil.example"})), "no provider has the issuer"),
        (&["GET", "/x", "--provider", "nobody"], Some(json!({"sub": "1"})), "there is no provider `nobody`"),
    ] {
        let (exit, told) = desk.explain(arguments, claims.as_ref());
        assert_eq!(exit, Some(2), "{told}");
        assert!(told["err"].as_str().is_some_and(|err| err.contains(problem)), "{told}");
    }
    let ran = run(&["explain", "--config", "/nowhere.toml", "GET", "/"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

/// A route takes a token for what it says, as if its signature had been verified; another route does not look at it.
#[test]
fn callers_with_tokens_are_explained() {
    let desk = Desk::new();
    let claims = |name: &str, value: Value| {
        let mut all = json!({"iss": "https://login.example.com", "aud": "https://api.example.com", "sub": "cli",
            "exp": 9_999_999_999_u64, "scope": "orders:read"});
        all[name] = value;
        all
    };
    let bearer = ["GET", "/machine/x", "--bearer", "corp"];
    for (name, value, code, reason) in [
        ("sub", json!("cli"), 0, None),
        ("scope", json!("other"), 5, None),
        ("scope", json!({"orders:read": true}), 5, None),
        ("aud", json!("https://other.example.com"), 6, Some("the token is for another audience (aud)")),
        ("exp", json!(1), 6, Some("the token has ended (exp)")),
        ("iss", json!("https://evil.example"), 6, Some("the token is of another issuer (iss)")),
    ] {
        let (exit, told) = desk.explain(&bearer, Some(&claims(name, value)));
        assert_eq!((exit, told["reason"].as_str()), (Some(code), reason), "{name}: {told}");
        assert!(reason.is_none() || told["status"] == 401, "{told}");
    }
    let good = claims("sub", json!("cli"));
    let (_, told) = desk.explain(&bearer, Some(&good));
    assert_eq!(told["request"]["principal"], "corp:cli");
    let (exit, told) = desk.explain(&["GET", "/machine/x?access_token=y", "--bearer", "corp"], Some(&good));
    assert_eq!((exit, &told["status"]), (Some(6), &json!(400)), "{told}");
    let (exit, told) = desk.explain(&["GET", "/admin/x", "--bearer", "corp"], Some(&good));
    assert_eq!((exit, told["request"]["principal"].as_str()), (Some(3), None), "no credential there: {told}");
    for (arguments, problem) in [
        (&["GET", "/machine/x", "--bearer", "nobody"][..], "there is no [bearer.nobody]"),
        (&["GET", "/x", "-H", "canary value: x"], "is no header"),
        (&["GET", "/x", "-H", "Host: evil.example"], "the host is that of the URL"),
    ] {
        let (exit, told) = desk.explain(arguments, Some(&good));
        assert_eq!(exit, Some(2), "{told}");
        assert!(told["err"].as_str().is_some_and(|err| err.contains(problem)), "{told}");
    }
}

/// Headers tell who asks: a person with a browser, or a program.
#[test]
fn with_headers_the_status_of_a_refusal_is_told() {
    let desk = Desk::new();
    for (method, header, status) in [
        ("GET", "Accept: text/html", json!(302)),
        ("POST", "Accept: text/html", json!(303)),
        ("GET", "Accept: application/json", json!(401)),
        ("GET", "Sec-Fetch-Mode: cors", json!(401)),
    ] {
        let (exit, told) = desk.explain(&[method, "/admin/x", "-H", header], None);
        assert_eq!((exit, &told["status"]), (Some(3), &status), "{header}: {told}");
    }
    let (_, told) = desk.explain(&["GET", "/admin/x"], None);
    assert_eq!(told["status"], Value::Null, "without headers both may be");
}
