//! The fourth door: `portcullis explain`, which is told the request and whom it would be, and sends nothing anywhere.

use serde_json::{Value, json};

use crate::cases::{Case, Outcome, Who, all};
use crate::scene::Scene;
use crate::support::gateway::run;

/// The claims of whoever asks; cookies that are of no use are nobody's.
fn claims(who: Who) -> Option<Value> {
    match who {
        Who::Alice => Some(json!({"sub": "alice", "preferred_username": "alice", "email": "alice@example.com",
            "email_verified": true, "roles": ["user", "admin"], "groups": ["staff"]})),
        Who::Bob => Some(json!({"sub": "bob", "preferred_username": "bob", "email": "bob@example.com",
            "email_verified": false, "roles": ["user"]})),
        _ => None,
    }
}

fn explained(folder: &std::path::Path, case: &Case) -> Value {
    let path = |name: &str| folder.join(name).display().to_string();
    let url = format!("https://{}{}", case.host, case.target);
    let mut arguments = vec!["explain".to_owned(), "--json".to_owned(), "--config".to_owned(), path("portcullis.toml")];
    if let Some(claims) = claims(case.who) {
        std::fs::write(path("claims.json"), claims.to_string()).expect("a file can be written");
        arguments.extend(["--claims".to_owned(), path("claims.json")]);
    }
    for (name, value) in &case.headers {
        arguments.extend(["--header".to_owned(), format!("{name}: {value}")]);
    }
    arguments.extend(["--".to_owned(), case.method.to_owned(), url]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = run(&arguments);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{}: {error}: {ran:?}", case.name()))
}

/// What `explain` says of a request of which others say this.
fn agrees(case: &Case, told: &Value) -> bool {
    let decision = told["decision"].as_str().unwrap_or_default();
    let refused = |status: u16| decision == "refused" && told["status"] == status;
    match case.expected {
        Outcome::Pass(who) => {
            let headers = told["upstream"]["headers"].as_array().cloned().unwrap_or_default();
            let named = headers.iter().find(|header| header["name"] == "x-forwarded-user");
            let token = if case.leaves_a_token() { "access_token" } else { "none" };
            decision == "pass"
                && named.and_then(|header| header["value"].as_str()) == who
                && told["upstream"]["token"] == token
        }
        Outcome::SignIn | Outcome::Unauthorized => decision == "sign_in",
        Outcome::Forbidden => {
            ["forbid", "csrf", "foreign_origin"].contains(&decision)
                || (decision == "preflight" && told["status"] == 403)
        }
        Outcome::Malformed => refused(400),
        Outcome::Nowhere => refused(404) || (decision == "endpoint" && case.target.starts_with("/.auth/")),
        Outcome::Misdirected => refused(421),
        Outcome::Status(204) => decision == "preflight" && told["status"] == 204,
        Outcome::Status(status) => refused(status),
    }
}

#[test]
fn the_table_holds_as_it_is_explained() {
    let scene = Scene::start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("portcullis.toml"), &scene.config).expect("a file can be written");
    let mut wrong = Vec::new();
    // What a token says is known once it was verified, which takes the network.
    let cases: Vec<Case> = all().into_iter().filter(|case| case.token.is_none()).collect();
    assert!(cases.len() >= 120, "the table has only {} cases", cases.len());
    for case in &cases {
        let case = &case.seen_from(crate::cases::Door::Explain);
        let told = explained(folder.path(), case);
        if !agrees(case, &told) {
            wrong.push(format!("{}: expected {:?}, told: {told}", case.name(), case.expected));
        }
    }
    assert_eq!(scene.upstream.count(), 0, "nothing is sent anywhere");
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
