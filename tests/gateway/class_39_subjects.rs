//! Attack 39: a `sub` of another shape, twice, or of somebody else, in the ID token or in `UserInfo`.
//!
//! With the ID spoofing cases of the `PrOfESSOS` list: whatever else names the victim, alice stays alice.

use portcullis::demo::provider::{Edit, Endpoint, IdTokenFault, Misbehaviour, Transport};
use serde_json::{Value, json};

use crate::sign_ins::SignIns;

const VICTIM: &str = "victim";

#[test]
fn a_sub_that_is_no_plain_text_is_refused() {
    let scene = SignIns::start();
    for sub in [
        json!(["alice"]),
        json!(["alice", VICTIM]),
        json!([VICTIM, "alice"]),
        json!([]),
        json!({"sub": "alice"}),
        json!(1),
        json!(1.5),
        json!(true),
        Value::Null,
        json!(""),
        json!(" "),
        json!(" alice"),
        json!("alice "),
        json!("alice\u{0}"),
        json!("alice\n"),
        json!("alice\r\nX-Forwarded-User: victim"),
        json!("\u{430}lice"),
        json!("alice\u{200b}"),
        json!("a".repeat(256)),
        json!("a".repeat(1 << 20)),
    ] {
        let what = sub.to_string().chars().take(60).collect::<String>();
        scene.control().once(IdTokenFault::claim("sub", sub));
        scene.assert_refused(&what);
        assert_eq!(scene.control().fired(), 1, "{what}");
    }
    scene.control().once(IdTokenFault::no_claim("sub"));
    scene.assert_refused("no sub");
    scene.assert_accepted("alice herself");
}

#[test]
fn a_sub_that_comes_twice_is_refused_whichever_is_first() {
    let scene = SignIns::start();
    for (first, second) in [("alice", VICTIM), (VICTIM, "alice"), ("alice", "alice")] {
        scene.control().once(IdTokenFault::claim("sub", first));
        scene.control().once(IdTokenFault::Duplicate("sub".to_owned(), json!(second)));
        scene.assert_refused(&format!("{first}, {second}"));
        assert_eq!(scene.control().fired(), 2);
    }
}

#[test]
fn other_places_that_name_the_victim_mean_nothing() {
    let scene = SignIns::start();
    scene.control().mint(|header, claims| {
        header.insert("sub".to_owned(), json!(VICTIM));
        header.insert("iss".to_owned(), json!("https://honest.example"));
        claims.insert("user_id".to_owned(), json!(VICTIM));
        claims.insert("uid".to_owned(), json!(VICTIM));
        claims.insert("act".to_owned(), json!({"sub": VICTIM}));
    });
    let (mut browser, seen) = scene.sign_in("sub in the JOSE header");
    assert_eq!(seen.head.all("x-forwarded-user"), ["alice"]);
    assert_eq!(scene.me(&mut browser).json()["sub"], "alice");
}

#[test]
fn userinfo_of_another_subject_is_refused() {
    let scene = SignIns::start();
    for edit in [
        Edit::set("sub", VICTIM),
        Edit::set("sub", "Alice"),
        Edit::set("sub", "alice "),
        Edit::set("sub", json!(["alice"])),
        Edit::set("sub", json!(["alice", VICTIM])),
        Edit::set("sub", 1),
        Edit::set("sub", ""),
        Edit::set("sub", Value::Null),
        Edit::remove("sub"),
        Edit::Whole(json!(["alice"])),
        Edit::Whole(json!([{"sub": "alice"}])),
        Edit::Whole(json!("alice")),
        Edit::Whole(json!(1)),
        Edit::Whole(Value::Null),
        Edit::Whole(json!({})),
    ] {
        let what = format!("{edit:?}");
        scene.control().once(Misbehaviour::Userinfo(edit));
        scene.assert_refused_at_last(&what);
        assert_eq!((scene.control().fired(), scene.control().count(Endpoint::Userinfo)), (1, 1), "{what}");
    }
    for (content_type, body) in [
        ("application/json", r#"{"sub":"alice","sub":"victim"}"#),
        ("application/json", r#"{"sub":"victim","sub":"alice"}"#),
        ("application/json", r#"{"sub":"alice"} {"sub":"victim"}"#),
        ("application/json", ""),
        ("application/jwt", r#"{"sub":"alice"}"#),
        ("text/html", r#"{"sub":"alice"}"#),
    ] {
        let answer = Transport::Body { content_type: content_type.to_owned(), bytes: body.as_bytes().to_vec() };
        scene.control().once((Endpoint::Userinfo, answer));
        scene.assert_refused_at_last(body);
        assert_eq!(scene.control().fired(), 1, "{body}");
    }
    scene.assert_accepted("alice herself");
}

#[test]
fn userinfo_adds_and_never_takes_the_place_of_what_was_signed() {
    let scene = SignIns::start();
    scene.control().mint(|_, claims| {
        claims.insert("name".to_owned(), json!("Alice Liddell"));
        claims.insert("roles".to_owned(), json!(["user"]));
    });
    for (name, value) in [
        ("iss", json!("https://honest.example")),
        ("aud", json!("another")),
        ("name", json!(VICTIM)),
        ("roles", json!(["root"])),
        ("team", json!("red")),
    ] {
        scene.control().always(Misbehaviour::Userinfo(Edit::set(name, value)));
    }
    let (mut browser, seen) = scene.sign_in("UserInfo that claims more");
    assert!(!seen.mentions(VICTIM) && !seen.mentions("root"), "{:?}", seen.head.headers);
    let me = scene.me(&mut browser).json();
    assert_eq!((&me["issuer"], &me["sub"]), (&scene.provider.issuer().into(), &"alice".into()));
    assert_eq!((&me["name"], &me["roles"]), (&"Alice Liddell".into(), &json!(["user"])));
    assert_eq!(me["claims"]["team"], "red");
}
