//! An email's domain admits only when the address is one address, at exactly that domain, and verified.

use serde_json::{Value, json};

use crate::scene::Scene;

fn admitted(scene: &Scene, name: &str, email: &Value, verified: Option<Value>) -> u16 {
    let mut claims = json!({"sub": name, "email": email});
    if let Some(verified) = verified {
        claims["email_verified"] = verified;
    }
    scene.put_person(name, claims);
    scene.browser().sign_in(name, &scene.at("/")).response.status
}

#[test]
fn only_one_address_at_exactly_this_domain_is_admitted() {
    let scene = Scene::loopback(|config| config.route("/*", "{ email_domains = [\"corp.com\"] }", "app"));
    let verified = || Some(json!(true));
    let refused = [
        json!("a@evil.com@corp.com"),
        json!("a@corp.com@evil.com"),
        json!("a@corp.com.evil"),
        json!("a@evilcorp.com"),
        json!("a@sub.corp.com"),
        json!("\"x@corp.com\"@evil.com"),
        json!("\"a@evil.com\"@corp.com"),
        json!("a@evil.com,b@corp.com"),
        json!("a@evil.com b@corp.com"),
        json!("a@evil.com\u{0}@corp.com"),
        json!("a@c\u{43e}rp.com"),
        json!("a@corp\u{ff0e}com"),
        json!("a@corp.com."),
        json!(" a@corp.com"),
        json!("a@corp.com\n"),
        json!("@corp.com"),
        json!("corp.com"),
        json!("a@"),
        json!(""),
        json!("<a@corp.com>"),
        json!("a@corp.com(comment)"),
        json!(["a@corp.com"]),
        json!(7),
        Value::Null,
    ];
    for (number, email) in refused.iter().enumerate() {
        let status = admitted(&scene, &format!("person{number}"), email, verified());
        assert!((400..=502).contains(&status) && scene.upstream.count() == 0, "{email}: {status}");
    }
    for (name, email) in [("plain", "a@corp.com"), ("upper", "A.b+c@CORP.com")] {
        assert_eq!(admitted(&scene, name, &json!(email), verified()), 200, "{email}");
    }
}

#[test]
fn an_address_that_nobody_verified_admits_nobody() {
    let allow = "[{ email_domains = [\"corp.com\"] }, { emails = [\"b@other.com\"] }]";
    let scene = Scene::loopback(|config| config.route("/*", allow, "app"));
    let unverified = [json!(false), json!("false"), json!("true"), json!(1), json!([true]), Value::Null, json!("no")];
    for (number, verified) in [None].into_iter().chain(unverified.map(Some)).enumerate() {
        for email in ["a@corp.com", "b@other.com"] {
            let status = admitted(&scene, &format!("person{number}"), &json!(email), verified.clone());
            assert!((400..=502).contains(&status) && scene.upstream.count() == 0, "{email} {verified:?}: {status}");
        }
    }
    assert_eq!(admitted(&scene, "good", &json!("b@other.com"), Some(json!(true))), 200);
}
