//! Attacks 12 and 38, and row 50: claims of every shape, through a real sign-in, into the headers of an upstream.

use portcullis::demo::provider::{Person, ProviderOptions};
use serde_json::{Value, json};

use crate::sign_ins::SignIns;
use crate::support::browser::Browser;
use crate::support::upstream::Recorded;

/// Who signs in is `claims` and alice; the visitor claims to be root in every header of ours.
fn seen_by_the_upstream(scene: &SignIns, claims: Value) -> Recorded {
    scene.control().put_person(Person::new("alice", claims));
    let mut browser = Browser::new();
    for name in ["X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Roles", "X-Team"] {
        browser.fields.push((name.to_owned(), "root".to_owned()));
        browser.fields.push((name.replace('-', "_"), "root".to_owned()));
    }
    let before = scene.upstream.count();
    let page = browser.sign_in("alice", &scene.gateway.at("/app"));
    assert_eq!(page.response.status, 200, "{}\n{}", page.text(), scene.gateway.logs());
    assert_eq!(scene.upstream.count(), before + 1);
    let seen = scene.upstream.last_request();
    assert!(!seen.mentions("root"), "the visitor's word was passed on: {:?}", seen.head.headers);
    seen
}

fn scene() -> SignIns {
    let headers = "[upstreams.app.headers]\nX-Team = \"{claims.team}\"\nX-Name = \"{name}\"";
    SignIns::start_with(ProviderOptions::default(), |config| config.raw(headers))
}

#[test]
fn a_claim_with_control_characters_begins_no_header() {
    let scene = scene();
    for nasty in [
        "a\r\nX-Evil: yes",
        "a\nX-Evil: yes",
        "a\rX-Evil: yes",
        "a\u{0}b",
        "a\u{7f}b",
        "\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n",
        "a\u{85}b",
        "\t",
    ] {
        let seen = seen_by_the_upstream(
            &scene,
            json!({
                "sub": "alice", "name": nasty, "email": format!("{nasty}@example.com"), "email_verified": true,
                "preferred_username": nasty, "groups": [nasty, "staff"], "roles": [nasty], "team": nasty,
            }),
        );
        assert!(!seen.mentions("Evil") && !seen.mentions("/evil"), "{nasty:?}: {:?}", seen.head.headers);
        assert_eq!(seen.head.all("x-forwarded-user"), ["alice"]);
        assert_eq!(seen.head.all("x-forwarded-groups"), ["staff"], "{nasty:?}");
        for name in ["x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-roles", "x-team"] {
            assert_eq!(seen.head.all(name), Vec::<&str>::new(), "{nasty:?}");
        }
    }
}

#[test]
fn a_name_beyond_ascii_arrives_in_one_defined_way_or_not_at_all() {
    let scene = scene();
    let seen = seen_by_the_upstream(
        &scene,
        json!({"sub": "alice", "name": "Ålice Żółć 日本", "preferred_username": "ålice", "groups": ["Käse", "staff"], "team": "röd"}),
    );
    assert_eq!(seen.head.all("x-forwarded-user"), ["alice"]);
    for (name, value) in &seen.head.headers {
        assert!(value.is_ascii(), "{name}: {value:?} is no ASCII: an upstream would have to guess");
    }
    let groups = seen.head.all("x-forwarded-groups").concat();
    assert!(groups.split(',').any(|group| group == "staff"), "{groups}");
}

/// A comma in a group's name makes no second group.
#[test]
fn a_group_name_never_becomes_two_groups() {
    let scene = scene();
    for odd in
        ["staff,admin", "staff, admin", "staff;admin", "staff|admin", "staff\u{ff0c}admin", "\"staff\",\"admin\""]
    {
        let seen = seen_by_the_upstream(&scene, json!({"sub": "alice", "groups": [odd, "user"], "roles": odd}));
        let groups: Vec<String> =
            seen.head.all("x-forwarded-groups").iter().flat_map(|value| value.split(',')).map(str::to_owned).collect();
        assert!(!groups.iter().any(|group| group.trim() == "admin" || group == "\"admin\""), "{odd}: {groups:?}");
        assert!(groups.iter().any(|group| group == "user"), "{odd}: {groups:?}");
        let roles = seen.head.all("x-forwarded-roles").concat();
        assert!(!roles.split(',').any(|role| role.trim() == "admin" || role == "\"admin\""), "{odd}: {roles}");
    }
}

#[test]
fn odd_shapes_of_groups_give_none() {
    let scene = scene();
    for odd in
        [json!({"admin": true}), json!(true), json!(7), Value::Null, json!([1, null, ["admin"], {"admin": 1}, ""])]
    {
        let seen = seen_by_the_upstream(&scene, json!({"sub": "alice", "groups": odd, "roles": odd}));
        for name in ["x-forwarded-groups", "x-forwarded-roles"] {
            assert_eq!(seen.head.all(name), Vec::<&str>::new(), "{odd}");
        }
    }
}

/// Routes decide by whole names too: `staff,admin` is not `admin`.
#[test]
fn a_rule_reads_groups_as_the_provider_named_them() {
    let rule = "[[routes]]\npath = \"/admin\"\nallow = { groups = [\"admin\"] }\nupstream = \"app\"\n\
                [[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nupstream = \"app\"";
    let scene = SignIns::start_with(ProviderOptions::default(), |config| config.raw(rule));
    for (groups, status) in [
        (json!(["staff,admin"]), 403),
        (json!("staff,admin"), 403),
        (json!("staff admin"), 403),
        (json!(["Admin"]), 403),
        (json!(["admin "]), 403),
        (json!(["\u{430}dmin"]), 403),
        (json!([["admin"]]), 403),
        (json!({"admin": true}), 403),
        (json!(["admin\u{0}"]), 403),
        (json!(["staff", "admin"]), 200),
        (json!("admin"), 200),
    ] {
        scene.control().put_person(Person::new("alice", json!({"sub": "alice", "groups": groups})));
        let (mut browser, _) = scene.sign_in("before");
        assert_eq!(browser.peek(&scene.gateway.at("/admin")).status, status, "{groups}");
    }
}

/// 64 KiB in a claim: the sign-in ends with a page, or the header stays away; the upstream never sees a broken request.
#[test]
fn a_claim_of_64_kib_breaks_nothing() {
    let scene = scene();
    for length in [8 * 1024, 64 * 1024] {
        let text: String = ('a'..='z').cycle().take(length).collect();
        scene.control().put_person(Person::new("alice", json!({"sub": "alice", "name": "A", "team": text})));
        let before = scene.upstream.count();
        let (mut browser, page) = scene.attempt();
        if page.response.status == 200 {
            let seen = scene.upstream.last_request();
            assert_eq!(scene.upstream.count(), before + 1);
            assert_eq!(seen.head.all("x-forwarded-user"), ["alice"]);
            assert!(seen.head.all("x-team").iter().all(|team| *team == text), "a claim was cut");
        } else {
            assert!((500..600).contains(&page.response.status));
            assert_eq!(scene.me(&mut browser).status, 401, "a session of half a person");
            assert_eq!(scene.upstream.count(), before);
        }
    }
    scene.control().put_person(Person::alice());
    scene.assert_accepted("alice as she was");
}
