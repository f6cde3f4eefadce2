//! What is no expression, and where it breaks.

use proptest::prelude::*;

use super::*;

/// The message, and the text that it points at.
fn wrong(source: &str) -> (String, String) {
    let fault = Expression::parse(source).map(|expression| format!("{:?}", expression.tree())).unwrap_err();
    (fault.message, source.get(fault.at).unwrap_or_default().to_owned())
}

#[test]
fn what_rules_need_can_be_said() {
    for source in [
        "true",
        "request.method == 'GET'",
        "request.method in ['GET', \"HEAD\"] && request.path.startsWith('/x/')",
        "'admin' in principal.roles || principal.subject == 'x'",
        "principal.groups.exists(g, g.startsWith('team-')) && size(principal.groups) < 10",
        "principal.claims.orgs.exists(o, o.id == 'x' && 'admin' in o.roles)",
        "principal.groups.all(g, principal.roles.exists_one(r, r == g))",
        "has(principal.email) && has(principal.claims.level) && principal.claims.level >= 3",
        "principal.claims['https://x.example/level'] == 1 + 2",
        "principal.claims.azp == 'cli' && principal.claims.org.sub == 'x' && 'aud' in principal.groups",
        "request.client_ip.inNetwork('10.0.0.0/8') ? true : principal.auth_age < 300",
        "principal.email.matches('[a-z]+@corp[.]com')",
        "matches(request.path, '/a(/.*)?')",
        "!(request.host == \"ü\") && string(7) == '7' && int('7') == 7",
        "request.client_certificate.exists(name, name == 'dns:x')",
    ] {
        let parsed = Expression::parse(source);
        assert!(parsed.is_ok(), "{source}: {parsed:?}");
        assert_eq!(parsed.unwrap().source(), source);
    }
    assert!(Expression::parse("request.path == '/'").unwrap().reads_path());
    assert!(!Expression::parse("request.path == '/'").unwrap().asks_who());
    assert!(Expression::parse("has(principal.name)").unwrap().asks_who());
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (source, message, at) in [
        ("", "empty", ""),
        ("  ", "empty", "  "),
        ("user.name == 'x'", "there is no `user` here", "user"),
        ("principle.name == 'x'", "there is no `principle` here", "principle"),
        ("request.methud == 'x'", "`request` has no `methud`", "methud"),
        ("principal.department == 'x'", "`principal` has no `department`", "department"),
        ("principal == 1", "`principal` is no value by itself", "principal"),
        ("request.headers['x'] == 'y'", "`request` has no `headers`", "headers"),
        ("'ü' == request.query", "`request` has no `query`", "query"),
        ("request.path.startWith('/')", "there is no function `startWith` here", "("),
        ("request.method == ", "this is no expression", " "),
        ("request.method == 'x", "this is no expression", "'"),
        ("(true", "this is no expression", "e"),
        ("request.method", "gives a text, a list or a number, not yes or no", "."),
        ("1 + 1", "gives a number, not yes or no", "+"),
        ("'yes'", "gives a fixed value, not yes or no", "'"),
        ("principal.email.matches('(')", "this is no pattern", "'"),
        ("principal.email.matches(principal.name)", "has to be a text that stands here", "("),
        ("request.client_ip.inNetwork('10.0.0.0/99')", "takes a network", "'"),
        ("principal.groups.map(g, g + 'x') == []", "builds a list", "("),
        ("size(principal.groups.filter(g, true)) > 1", "builds a list", "("),
        ("{'a': 1}.a == 1", "builds no tables", "{"),
        ("[request.path] == ['x']", "holds texts and numbers only", "."),
        ("principal.claims.exists(name, name == 'x')", "a loop goes over a list", "("),
        ("principal.claims.sub == 'x'", "`sub` is about the token", "sub"),
        ("has(principal.claims.aud)", "`aud` is about the token", "("),
        ("principal.claims['scope'] == 'x'", "`scope` is about the token", "'"),
        ("'sid' in principal.claims && principal.claims.sid == 'x'", "`sid` is about the token", "'"),
        ("principal.groups.exists(principal, true)", "can't be the name in a loop", "("),
        ("type(1) == int", "there is no function `type` here", "("),
    ] {
        let (told, shown) = wrong(source);
        assert!(told.contains(message), "{source}: {told}");
        if source.is_empty() {
            continue;
        }
        assert_eq!(shown, at, "{source}: {told}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    assert!(wrong(&format!("true{}", " ".repeat(MAX_SOURCE))).0.contains("longer than"));
    for nest in ["(", "!", "-", "[", "x?"] {
        assert!(wrong(&format!("{}true", nest.repeat(500))).0.contains("nests too deeply"), "{nest}");
    }
    assert!(
        wrong(&vec!["1"; 400].join("+")).0.contains("too many parts")
            || wrong(&vec!["1"; 400].join("+")).0.contains("number")
    );
    assert!(wrong(&format!("0 < {}", vec!["1"; 100].join("+"))).0.contains("too many parts"));
    assert!(wrong(&vec!["true"; 310].join("&&")).0.contains("too many parts"));
    let loops = "principal.groups.all(a, principal.groups.all(b, principal.groups.all(c, a == b && b == c)))";
    assert!(wrong(loops).0.contains("loops stand inside loops"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_read(source in "[ -~\n]{0,60}") {
        let _outcome = Expression::parse(&source).map_err(|fault| source.get(fault.at).map(str::to_owned));
    }

    #[test]
    fn any_text_of_its_words_is_read(words in proptest::collection::vec(
        prop_oneof![
            Just("request"), Just("principal"), Just("."), Just("groups"), Just("path"), Just("("), Just(")"), Just("["),
            Just("]"), Just(","), Just("'x'"), Just("=="), Just("&&"), Just("!"), Just("exists"), Just("g"), Just("1"),
            Just("?"), Just(":"), Just("in"), Just("has"), Just("matches"), Just("{"), Just("}"), Just("-"), Just("ü"),
        ],
        0..20,
    )) {
        let source = words.join(" ");
        if let Err(fault) = Expression::parse(&source) {
            prop_assert!(source.is_empty() || source.get(fault.at.clone()).is_some(), "{source}: {:?}", fault.at);
        }
    }
}
