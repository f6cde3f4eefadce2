//! Attack 45 and row 12: other serializations, white space, claims that come twice, numbers out of this world.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use portcullis::demo::provider::{Edit, IdTokenFault, Misbehaviour};
use serde_json::{Value, json};

use crate::sign_ins::SignIns;

#[test]
fn dates_that_are_no_whole_seconds_of_this_era_are_refused() {
    let scene = SignIns::start();
    for name in ["exp", "iat", "nbf", "auth_time"] {
        for value in [
            json!(1e300),
            json!(-1e300),
            json!(-1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(253_402_300_800_u64),
            json!(4_102_444_800.5),
            json!("4102444800"),
            json!([4_102_444_800_u64]),
            json!({"exp": 4_102_444_800_u64}),
            json!(true),
        ] {
            let what = format!("{name}: {value}");
            scene.control().once(IdTokenFault::claim(name, value));
            scene.assert_refused(&what);
            assert_eq!(scene.control().fired(), 1, "{what}");
        }
    }
    scene.assert_accepted("a good sign-in after it");
}

#[test]
fn a_claim_that_comes_twice_is_refused_whatever_it_says() {
    let scene = SignIns::start();
    for name in ["iss", "aud", "exp", "iat", "nonce", "email", "email_verified", "groups"] {
        scene.control().mint(move |_, claims| {
            claims.entry(name).or_insert(Value::Null);
        });
        scene.control().once(IdTokenFault::Duplicate(name.to_owned(), json!("x")));
        scene.assert_refused(name);
        assert_eq!(scene.control().fired(), 1, "{name}");
        scene.control().behave();
    }
}

#[test]
fn a_token_in_another_dress_is_refused() {
    type Dress = fn(String) -> String;
    let scene = SignIns::start();
    let dresses: [(&str, Dress); 18] = [
        ("nothing", |_| String::new()),
        ("one dot", |_| ".".to_owned()),
        ("two dots", |_| "..".to_owned()),
        ("text", |_| "id_token".to_owned()),
        ("a space before", |token| format!(" {token}")),
        ("a line end after", |token| format!("{token}\n")),
        ("a tab within", |token| token.replacen('.', "\t.", 1)),
        ("a part more", |token| format!("{token}.")),
        ("four dots", |token| format!("..{token}")),
        ("no signature", |token| token.rsplit_once('.').expect("three parts").0.to_owned()),
        ("an empty signature", |token| format!("{}.", token.rsplit_once('.').expect("three parts").0)),
        ("Bearer", |token| format!("Bearer {token}")),
        ("padding", |token| format!("{token}==")),
        ("the other alphabet", |token| recoded(&token, |bytes| format!("+/{}", STANDARD.encode(bytes)))),
        ("padded parts", |token| recoded(&token, |bytes| format!("{}=", URL_SAFE.encode(bytes)))),
        ("bits that are left over", left_over),
        ("NUL", |token| format!("{token}\u{0}")),
        ("a megabyte of signature", |token| format!("{token}{}", "A".repeat(1 << 20))),
    ];
    for (what, dress) in dresses {
        scene.control().rewrite(dress);
        scene.assert_refused(what);
    }
    scene.control().behave();
    for fault in [IdTokenFault::JsonSerialization, IdTokenFault::Whitespace, IdTokenFault::FiveParts] {
        let what = format!("{fault:?}");
        scene.control().once(fault);
        scene.assert_refused(&what);
    }
    for whole in [json!(null), json!(1), json!({}), json!(["a.b.c"]), json!("")] {
        scene.control().once(Misbehaviour::TokenAnswer(Edit::set("id_token", whole.clone())));
        scene.assert_refused(&whole.to_string());
    }
    scene.control().once(Misbehaviour::TokenAnswer(Edit::remove("id_token")));
    scene.assert_refused("no ID token");
    scene.assert_accepted("a good sign-in after it");
}

/// Headers that change how the text is to be read.
#[test]
fn header_members_that_change_the_rules_are_refused() {
    let scene = SignIns::start();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!(["alg"])),
        ("crit", json!([])),
        ("crit", json!("b64")),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("typ", json!("at+jwt")),
        ("typ", json!("logout+jwt")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!(["JWT"])),
        ("alg", json!(["RS256"])),
        ("alg", json!(null)),
    ] {
        let what = format!("{name}: {value}");
        scene.control().mint(move |header, _| drop(header.insert(name.to_owned(), value.clone())));
        scene.assert_refused(&what);
    }
    scene.control().behave();
    scene.assert_accepted("a good sign-in after it");
}

/// Claims of absurd size or depth end the sign-in, not the gateway.
#[test]
fn large_and_deep_claims_are_bounded() {
    let scene = SignIns::start();
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let many: Vec<String> = (0..20_000).map(|number| format!("group-{number}")).collect();
    for (what, value) in
        [("200 levels", deep), ("20000 groups", json!(many)), ("a megabyte", json!("x".repeat(1 << 20)))]
    {
        scene.control().once(IdTokenFault::claim("groups", value));
        scene.assert_refused(what);
    }
    scene.assert_accepted("a good sign-in after it");
}

fn recoded(token: &str, encode: impl Fn(&[u8]) -> String) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[2] = encode(&URL_SAFE_NO_PAD.decode(&parts[2]).expect("base64url"));
    parts.join(".")
}

/// The last character of a 256-byte signature has four bits that mean nothing: a strict reader wants them to be zero.
fn left_over(mut token: String) -> String {
    let last = token.pop().expect("not empty");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = alphabet.find(last).expect("base64url");
    token.push(alphabet.as_bytes()[value + 1].into());
    token
}
