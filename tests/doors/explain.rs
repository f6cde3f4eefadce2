//! The fourth door: `portcullis explain`, which is told the request and whom it would be, and sends nothing anywhere.

use serde_json::{Value, json};

use crate::cases::{Case, Outcome, Who, all};
use crate::scene::{Scene, claims_of};
use crate::support::gateway::run;
use crate::tokens::Token;

/// Whether a case is about bytes that an explanation is not given: of two cookies, of a token, of a proof.
fn is_of_the_wire(case: &Case) -> bool {
    let of_tokens = [
        Token::Unsigned,
        Token::Nonsense,
        Token::Nothing,
        Token::Twice,
        Token::BoundAsBearer,
        Token::BoundUnproven,
        Token::BoundElsewhere,
    ];
    case.who == Who::Twice || case.token.is_some_and(|token| of_tokens.contains(&token) || case.who != Who::Nobody)
}

fn explained(scene: &Scene, folder: &std::path::Path, case: &Case) -> Value {
    let path = |name: &str| folder.join(name).display().to_string();
    let url = format!("https://{}{}", case.host, case.target);
    let mut arguments = vec!["explain".to_owned(), "--json".to_owned(), "--config".to_owned(), path("portcullis.toml")];
    // Cookies that are of no use are nobody's.
    let claims = match case.token {
        None => claims_of(case.who),
        Some(token) => {
            arguments.extend(["--bearer".to_owned(), "corp".to_owned()]);
            Some(scene.token_claims(token))
        }
    };
    if let Some(claims) = claims {
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
            let upstream = &told["upstream"];
            let headers = upstream["headers"].as_array().cloned().unwrap_or_default();
            let said = |name: &str| headers.iter().find(|header| header["name"] == name)?["value"].as_str();
            // A token that no route of ours takes goes on as it came, and is none of an upstream's.
            let is_visitors = case.token.is_some() && !case.target.starts_with("/machine/");
            let token = if case.leaves_a_token() && !is_visitors { "access_token" } else { "none" };
            let target = upstream["target"].as_str().unwrap_or_default();
            let sent = case.target.split('#').next().unwrap_or_default();
            decision == "pass"
                && ["x-forwarded-user", "x-forwarded-preferred-username"].iter().all(|name| said(name) == who)
                && said("x-forwarded-groups") == who.filter(|who| *who == "alice").map(|_| "staff")
                && upstream["token"] == token
                && [sent, sent.strip_prefix("/strip").unwrap_or(sent)].contains(&target)
        }
        Outcome::SignIn => decision == "sign_in" && [json!(302), json!(303)].contains(&told["status"]),
        Outcome::Unauthorized if case.token.is_some() && decision != "sign_in" => decision == "step_up" || refused(401),
        Outcome::Unauthorized => decision == "sign_in" && told["status"] == 401,
        Outcome::Forbidden => {
            ["forbid", "csrf", "foreign_origin"].contains(&decision)
                || (decision == "preflight" && told["status"] == 403)
                || refused(403)
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
    let cases: Vec<Case> = all().into_iter().filter(|case| !is_of_the_wire(case)).collect();
    assert!(cases.len() >= 240, "the table has only {} cases", cases.len());
    for case in &cases {
        let case = &case.seen_from(crate::cases::Door::Explain);
        let told = explained(&scene, folder.path(), case);
        if !agrees(case, &told) {
            wrong.push(format!("{}: expected {:?}, told: {told}", case.name(), case.expected));
        }
    }
    assert_eq!(scene.upstream.count(), 0, "nothing is sent anywhere");
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
