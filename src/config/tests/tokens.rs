//! What people read for mistakes in tokens, assertions and rewrites, and what the right ones mean.

use super::*;
use crate::config::settings::{StaticScheme, SubjectToken, TokenSettings};

fn upstream(line: &str) -> String {
    right("", line)
}

fn route(lines: &str) -> String {
    right("", &format!("[[routes]]\n{lines}"))
}

fn each(cases: &[(String, &[&str])]) {
    for (text, expected) in cases {
        let told = mistakes(text);
        for part in *expected {
            assert!(told.contains(part), "for\n{text}\nthis is told:\n{told}\nbut not: {part}");
        }
    }
}

#[test]
fn mistakes_in_tokens() {
    each(&[
        (upstream("token = 5"), &["`token` takes", "not a whole number"]),
        (
            upstream("token = \"bearer\""),
            &["is no value of `token`", "\"none\", \"access_token\", \"id_token\", \"assertion\""],
        ),
        (upstream("token = {}"), &["names no kind of token", "exchange"]),
        (upstream("token = { exchnge = {} }"), &["exchnge", "did you mean `exchange`"]),
        (
            upstream("token = { exchange = {}, static = { bearer = \"x\" } }"),
            &["can't be several things: exchange, static"],
        ),
        (upstream("token = { exchange = { subject_token = \"refresh_token\" } }"), &["is no value of `subject_token`"]),
        (
            upstream("token = { exchange = { requested_token_type = \"saml2\" } }"),
            &["`requested_token_type`", "\"jwt\""],
        ),
        (upstream("token = { exchange = { resource = \"api\" } }"), &["is no absolute URI"]),
        (upstream("token = { exchange = { scopes = [\"a b\"] } }"), &["`a b` is no scope"]),
        (upstream("token = { exchange = { audience = \"\" } }"), &["`audience` is empty"]),
        (upstream("token = { resource = {} }"), &["`resource` is missing"]),
        (upstream("token = { resource = { resource = \"https://a.example/#x\" } }"), &["without a fragment"]),
        (
            upstream("token = { client_credentials = { provider = \"copr\" } }"),
            &["there is no provider `copr`", "did you mean \"corp\"?"],
        ),
        (upstream("token = { static = {} }"), &["a static credential is one of three"]),
        (
            upstream("token = { static = { bearer = \"x\", header = \"X-A\" } }"),
            &["a static credential is one of three"],
        ),
        (upstream("token = { static = { username = \"a:b\", password = \"x\" } }"), &["has no colon"]),
        (upstream("token = { static = { username = \"a\" } }"), &["`password` is missing"]),
        (upstream("token = { static = { header = \"Host\", value = \"x\" } }"), &["`Host` can't be set here"]),
        (upstream("token = { static = { bearer = { file = \"/nowhere\" } } }"), &["can't read the secret's file"]),
        (upstream("token = { assertion = { claims = [\"sub\"] } }"), &["the claim `sub` is set by the gateway"]),
        (upstream("token = { assertion = { lifetime = \"1d\" } }"), &["`lifetime` is out of bounds"]),
        (upstream("token = { assertion = { algorithm = \"HS256\" } }"), &["allowed: \"ES256\", \"EdDSA\", \"RS256\""]),
        (upstream("assertion = \"yes\""), &["takes a table"]),
        (right("", "[signing]\nkeys = \"x\""), &["put it in brackets"]),
    ]);
}

#[test]
fn mistakes_in_rewrites() {
    let ok = "allow = \"signed-in\"\npath = \"/me\"\n";
    each(&[
        (route(&format!("{ok}rewrite = \"user/{{sub}}\"")), &["a path begins with `/`"]),
        (route(&format!("{ok}rewrite = \"/user/{{sub\"")), &["the braces of this path don't match"]),
        (route(&format!("{ok}rewrite = \"/user/{{sub}}/*\"")), &["this route is for one path"]),
        (route(&format!("{ok}rewrite = \"/user/../{{sub}}\"")), &["no dot segments"]),
        (route(&format!("{ok}rewrite = \"/user/{{sub}}\"\nstrip_prefix = \"/me\"")), &["exclude each other"]),
        (
            route("allow = \"signed-in\"\npath = \"/me/*\"\nrewrite = \"/user/{sub}\""),
            &["this route is for many paths"],
        ),
        (
            route("allow = \"everyone\"\npath = \"/me\"\nrewrite = \"/user/{sub}\""),
            &["there may be nobody to put into the path"],
        ),
    ]);
}

#[test]
fn right_ones_mean_what_they_say() {
    let token = |line: &str| toml(&upstream(line)).unwrap().upstreams.remove(0).token;
    let TokenSettings::Exchange(exchange) = token(
        "token = { exchange = { subject_token = \"id_token\", audience = \"a\", resource = [\"https://b.example\"], scopes = [\"c\"] } }",
    ) else {
        panic!("no exchange")
    };
    assert_eq!((exchange.subject, exchange.requested), (SubjectToken::IdToken, None));
    assert_eq!(
        (&exchange.target.audience[0], &exchange.target.resource[0]),
        (&"a".to_owned(), &"https://b.example".to_owned())
    );
    let TokenSettings::ClientCredentials(own) = token("token = { client_credentials = {} }") else {
        panic!("no grant")
    };
    assert_eq!(&*own.provider, "corp");
    let TokenSettings::Static(credential) = token("token = { static = { username = \"a\", password = \"b\" } }") else {
        panic!("no credential")
    };
    assert_eq!((credential.header.as_str(), credential.scheme), ("authorization", StaticScheme::Basic("a".to_owned())));
    let mut settings = toml(&upstream("token = { resource = { resource = \"https://b.example\" } }")).unwrap();
    assert_eq!(settings.providers.remove(0).resources, ["https://b.example"]);
    let asserted = |line: &str| toml(&upstream(line)).unwrap().upstreams.remove(0).assertion;
    assert!(asserted("assertion = false").is_none() && asserted("").is_none());
    assert!(asserted("assertion = true").is_some_and(|settings| settings.audience.is_empty()));
    assert_eq!(asserted("[upstreams.app.assertion]\naudience = \"x\"").unwrap().audience, ["x"]);
}

#[test]
fn a_signed_token_without_a_key_is_warned_of() {
    for (line, warned) in [
        ("token = \"assertion\"", true),
        ("assertion = true", true),
        ("identity = \"pomerium\"", true),
        ("identity = \"grafana\"", false),
    ] {
        let warnings = toml(&upstream(line)).unwrap().warnings;
        assert_eq!(
            warnings.iter().any(|warning| warning.contains("`signing.keys` has no key")),
            warned,
            "{line}: {warnings:?}"
        );
    }
}
