//! What people read of rules: mistakes inside an expression with their place, what each key takes, and what is only doubtful.

use super::*;

/// Each text has a mistake that is told with these words.
fn each(cases: &[(String, &[&str])]) {
    for (text, expected) in cases {
        let told = mistakes(text);
        for part in *expected {
            assert!(told.contains(part), "for\n{text}\nthis is told:\n{told}\nbut not: {part}");
        }
    }
}

fn route(lines: &str) -> String {
    right("", &format!("[[routes]]\n{lines}"))
}

#[test]
fn a_mistake_inside_an_expression_is_told_with_its_line_and_column() {
    let table = |expression: &str| route(&format!("path = \"/x\"\nallow = {{ expression = {expression} }}"));
    let told = mistakes(&table("'request.methud == \"GET\"'"));
    assert!(
        told.contains("portcullis.toml:12:33: error: routes[0].allow.expression: `request` has no `methud`"),
        "{told}"
    );
    assert!(told.contains("12 | allow = { expression = 'request.methud == \"GET\"' }"), "{told}");
    assert!(told.contains("   |                                 ^^^^^^\n"), "{told}");
    assert!(told.contains("did you mean `request.method`?"), "{told}");
    // Over several lines, the line is that of the mistake.
    let told = mistakes(&table("'''\nrequest.method == \"GET\"\n  && usr.name == \"x\"\n'''"));
    assert!(told.contains("portcullis.toml:14:6: error"), "{told}");
    assert!(told.contains("14 |   && usr.name == \"x\"") && told.contains("^^^\n"), "{told}");
    // Where escapes stand in the file, the place is told by the text's own columns.
    let told = mistakes(&table("\"request.method == \\\"GET\\\" && usr\""));
    assert!(told.contains("at column 28 of the text: `usr`"), "{told}");
    // And where there is no file at all.
    let mut desk = Desk::new();
    desk.write("portcullis.toml", &right("", ""));
    desk.sets = vec![
        r#"routes=[{"path": "/*", "upstream": "app", "allow": {"expression": "request.path == 'x' || nobody"}}]"#
            .to_owned(),
    ];
    let told = desk.load(&["portcullis.toml"]).unwrap_err();
    assert!(
        told.contains("there is no `nobody` here") && told.contains("at column 24 of the text: `nobody`"),
        "{told}"
    );
}

#[test]
fn a_rule_says_what_its_keys_take() {
    each(&[
        (route("path = \"/x\"\nallow = { accounts = [\" x\"] }"), &["empty or has white space"]),
        (route("path = \"/x\"\nallow = { scopes = [\"a b\"] }"), &["`a b` is no scope", "without spaces"]),
        (route("path = \"/x\"\nallow = { acr = [\"a b\"] }"), &["`a b` is no such value"]),
        (route("path = \"/x\"\nallow = { max_age = \"10s\" }"), &["`max_age` is out of bounds", "\"30s\" to \"365d\""]),
        (route("path = \"/x\"\nallow = { networks = [\"10.0.0.1/8\"] }"), &["has bits beyond its mask"]),
        (route("path = \"/x\"\nallow = { claims = {} }"), &["`claims` is an empty table"]),
        (route("path = \"/x\"\nallow = { claims = { sub = \"x\" } }"), &["`sub` is about the token", "accounts"]),
        (route("path = \"/x\"\nallow = { claims = { \"a..b\" = 1 } }"), &["names no claim"]),
        (route("path = \"/x\"\nallow = { claims = { a = [] } }"), &["this list is empty"]),
        (
            route("path = \"/x\"\nallow = { claims = { a = { matches = \"(\" } } }"),
            &["this is no pattern", "whole text"],
        ),
        (route("path = \"/x\"\nallow = { claims = { a = { like = \"x\" } } }"), &["`like` is no key of a claim"]),
        (route("path = \"/x\"\nallow = { claims = { a = 1.5 } }"), &["takes a text, a whole number, true or false"]),
        (route("path = \"/x\"\nallow = { expression = \"\" }"), &["this expression is empty"]),
        (route("path = \"/x\"\nallow = \"signed-in\"\ndeny = []"), &["`deny` is an empty list"]),
        (route("path = \"/x\"\nallow = \"signed-in\"\ndeny = \"everyone\""), &["`deny` takes a rule, not text"]),
        (route("path = \"/x\"\nallow = \"signed-in\"\ndeny = { max_age = \"1h\" }"), &["`max_age` in `deny`"]),
        (route("path = \"/x\"\nallow = \"signed-in\"\ndeny = {}"), &["`deny` is an empty table"]),
    ]);
    let two = right(
        "",
        "[providers.other]\nissuer = \"https://o.example.com\"\nclient_id = \"x\"\n[[routes]]\npath = \"/x\"\nallow = { accounts = [\"1\"] }",
    );
    assert!(mistakes(&two).contains("says not at which provider it is"), "{}", mistakes(&two));
}

#[test]
fn routes_that_may_not_do_what_they_seem_to_are_warned_about() {
    let warned = |routes: &str| toml(&right("", routes)).unwrap_or_else(|told| panic!("{told}")).warnings.join("\n");
    let rest = "[[routes]]\npath = \"/*\"\nallow = \"signed-in\"";
    let admin =
        |lines: &str| format!("[[routes]]\npath = \"/admin/*\"\nallow = {{ emails = [\"a@b.example\"] }}\n{lines}\n");
    let told = warned(&format!("{}{rest}", admin("methods = [\"GET\"]")));
    assert!(told.contains("requests with other methods fall to the route `/*`") && told.contains("methods"), "{told}");
    let told = warned(&format!("{}{rest}", admin("host = \"admin.example.com\"")));
    assert!(told.contains("at our other hosts the route `/*` has these paths"), "{told}");
    for fine in [
        format!("{}{rest}", admin("")),
        format!("{}{}{rest}", admin("methods = [\"GET\"]"), admin("")),
        format!("{}[[routes]]\npath = \"/*\"\nallow = {{ emails = [\"c@d.example\"] }}", admin("methods = [\"GET\"]")),
        "[[routes]]\npath = \"/*\"\nallow = \"everyone\"\nmethods = [\"GET\"]".to_owned(),
    ] {
        assert_eq!(warned(&fine), "", "{fine}");
    }
    for (lines, expected) in [
        ("allow = { emails = [\"a@b.example\"], email_domains = [\"c.example\"] }", "none of its `emails`"),
        (
            "allow = [{ scopes = [\"x\"] }, { emails = [\"a@b.example\"], email_domains = [\"c.example\"] }]",
            "(table 2 of `allow`)",
        ),
        ("allow = { scopes = [\"x\"] }\ndeny = { scopes = [\"x\"] }", "`deny` has the same table"),
        ("allow = \"everyone\"\ndeny = { emails = [\"a@b.example\"] }", "need only sign out"),
        ("allow = \"signed-in\"\nreport_only = true", "`report_only` is on"),
    ] {
        let told = warned(&format!("[[routes]]\npath = \"/*\"\n{lines}"));
        assert!(told.contains(expected), "{lines}: {told}");
    }
}
