//! Attack 43: a `kid` that is a path, a query, a URL, a megabyte. It is compared, and never anything else.

use std::time::Instant;

use portcullis::base::clock::instant;
use portcullis::demo::provider::{Endpoint, IdTokenFault};
use serde_json::json;

use crate::sign_ins::SignIns;
use crate::support::upstream::Upstream;

fn odd_ids(listener: &str) -> Vec<String> {
    let mut ids: Vec<String> = [
        "../../../../../../dev/null",
        "/dev/null",
        "/proc/self/environ",
        "..\\..\\windows\\win.ini",
        "file:///etc/passwd",
        "x' UNION SELECT 'secret' --",
        "1; DROP TABLE keys",
        "${jndi:ldap://127.0.0.1:1/a}",
        "$(touch /tmp/x)",
        "|/bin/true",
        "\u{0}",
        "kid\r\nX: y",
        "",
        " ",
        "{\"kty\":\"oct\",\"k\":\"AA\"}",
    ]
    .map(str::to_owned)
    .to_vec();
    ids.extend([format!("{listener}/key"), "k".repeat(1 << 12), "k".repeat(1 << 20)]);
    ids
}

/// How often the set may have been read since `began`: once in ten seconds, of which a busy machine may take a few.
fn allowed(began: Instant) -> u64 {
    2 + began.elapsed().as_secs() / 10
}

/// Each signed with the right key: only the name is odd. Each is an unknown key, which makes us ask for the set once in a while.
#[test]
fn a_key_under_another_name_is_not_found() {
    let scene = SignIns::start();
    let listener = Upstream::start();
    scene.assert_accepted("the set is known");
    let (mut asked, began) = (0, instant());
    for id in odd_ids(&listener.url()) {
        let what: String = id.chars().take(40).collect();
        scene.control().once(IdTokenFault::KeyId(id));
        scene.assert_refused(&what);
        assert_eq!(scene.control().fired(), 1, "{what}");
        asked += scene.control().count(Endpoint::Jwks);
    }
    assert!(asked <= allowed(began), "odd key ids made us read the set {asked} times in {:?}", began.elapsed());
    assert_eq!(listener.connections(), 0, "a URL in a token was asked");
    scene.assert_accepted("a good sign-in after it");
}

#[test]
fn a_kid_that_is_no_text_is_refused() {
    let scene = SignIns::start();
    for id in [json!(1), json!(["a"]), json!({"kty": "RSA"}), json!(true)] {
        let what = id.to_string();
        scene.control().mint(move |header, _| drop(header.insert("kid".to_owned(), id.clone())));
        scene.assert_refused(&what);
    }
}

/// A flood of unknown names: few readings of the set, and those who sign in properly go on signing in (attack 47, row 24).
#[test]
fn a_flood_of_unknown_keys_does_not_reach_the_provider() {
    let scene = SignIns::start();
    scene.assert_accepted("the set is known");
    let (mut asked, began) = (0, instant());
    for number in 0..30 {
        scene.control().once(IdTokenFault::KeyId(format!("random-{number}")));
        scene.assert_refused("a random kid");
        asked += scene.control().count(Endpoint::Jwks);
    }
    assert!(asked <= allowed(began), "30 unknown keys made us read the set {asked} times in {:?}", began.elapsed());
    scene.assert_accepted("alice, meanwhile");
}
