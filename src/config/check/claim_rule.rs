//! `claims` in a rule: what any claim has to be.

use super::preset::ClaimPath;
use crate::config::raw::convert;
use crate::config::raw::node::{Content, Node};
use crate::config::raw::report::{Report, Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{ClaimCondition, ClaimTest, Pattern, Scalar};

const FORMS: &str = "allowed: a text, a whole number, true or false, a list of them (one of which it has to be), \
                     { contains = \"…\" } for a list, { matches = \"…\" } for a pattern";

/// Claims that are about the token, and what rules have in their place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("sub", "accounts = [\"provider:subject\"]"),
    ("iss", "providers = [\"…\"]"),
    ("aud", "providers = [\"…\"]"),
    ("auth_time", "max_age = \"15m\""),
    ("iat", "max_age = \"15m\""),
    ("scope", "scopes = [\"…\"]"),
    ("scp", "scopes = [\"…\"]"),
];
/// Claims that no rule can use.
const NEVER: &[&str] =
    &["_claim_names", "_claim_sources", "at_hash", "c_hash", "exp", "jti", "nbf", "nonce", "s_hash", "sid"];

/// The conditions that `claims` of a rule's table makes.
pub(super) fn claims(table: &Table<'_>) -> Vec<ClaimCondition> {
    let report = table.report();
    let entries = table.named("claims");
    if entries.is_empty() && table.has("claims") && report.is_clean_within(&table.place("claims")) {
        table.error("claims", Wrong::new("`claims` is an empty table").note("name a claim, or leave the key out"));
    }
    let mut conditions = Vec::new();
    for (name, node) in entries {
        let path = path(&name).map_err(|wrong| report.error(node.place.clone().of_key(), wrong)).ok();
        let tests = tests(&node, report);
        conditions.extend(path.zip(tests).map(|(path, tests)| ClaimCondition { path, tests }));
    }
    conditions
}

/// Where a claim stands, written as everywhere: dots between the levels, but in a name with `://`.
fn path(name: &str) -> Result<Vec<String>, Wrong> {
    let path = ClaimPath::Dotted(name.to_owned()).names("");
    if path.iter().any(String::is_empty) {
        return Err(Wrong::new(format!("`{}` names no claim", printable(name)))
            .note("write its name, with dots between the levels: \"org.unit\""));
    }
    let first = path.first().map(String::as_str).unwrap_or_default();
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(name, _)| *name == first) {
        return Err(Wrong::new(format!("`{first}` is about the token, so it is no claim of the person"))
            .note(format!("write {instead}")));
    }
    if NEVER.contains(&first) {
        return Err(Wrong::new(format!("`{first}` is about the token, so no rule can use it")).note("leave it out"));
    }
    Ok(path)
}

fn tests(node: &Node, report: &Report) -> Option<Vec<ClaimTest>> {
    if !matches!(node.content, Content::Table(_)) {
        return scalars(node, report).map(|wanted| vec![ClaimTest::OneOf(wanted)]);
    }
    let table = Table::new(node, "a claim of a rule".to_owned(), "routes[].allow.claims.*".to_owned(), report);
    let mut tests: Vec<Option<ClaimTest>> = Vec::new();
    for key in ["equals", "one_of"] {
        tests.extend(table.node(key).map(|node| scalars(node, report).map(ClaimTest::OneOf)));
    }
    tests.extend(table.node("contains").map(|node| scalars(node, report).map(ClaimTest::Contains)));
    let pattern = table.parse("matches", "a pattern such as \"team-[0-9]+\"", |text| {
        Pattern::new(text).map_err(|message| {
            Wrong::new(message).note("it has to match the whole text; look-around and back-references don't exist here")
        })
    });
    if table.has("matches") {
        tests.push(pattern.map(ClaimTest::Matches));
    }
    if tests.is_empty() && report.is_clean_within(&node.place) {
        report.error(node.place.clone(), Wrong::new("this says not what the claim has to be").note(FORMS));
        return None;
    }
    tests.into_iter().collect()
}

/// One value, or several of which one is enough.
fn scalars(node: &Node, report: &Report) -> Option<Vec<Scalar>> {
    let fail = |wrong: Wrong| {
        report.error(node.place.clone(), wrong.note(FORMS));
        None
    };
    let items = match &node.content {
        Content::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() {
        return fail(Wrong::new("this list is empty, so no claim could ever be in it"));
    }
    let mut wanted = Vec::new();
    for item in items {
        wanted.push(match &item.content {
            Content::Text(text) => Scalar::Text(text.clone()),
            Content::Bool(flag) => Scalar::Bool(*flag),
            Content::Integer(number) => match i64::try_from(*number) {
                Ok(number) => Scalar::Integer(number),
                Err(_) => return fail(Wrong::new("this number is too large")),
            },
            other => return fail(convert::kind_error("a claim", "a text, a whole number, true or false", other)),
        });
    }
    Some(wanted)
}
