//! `allow` and `deny`: who may pass a route.

use super::address::network;
use super::claim_rule;
use super::rule_values::{account, certificate, domain, email, exact, known_provider, reference, scope};
use crate::config::expression::{Expression, ExpressionFault};
use crate::config::raw::convert;
use crate::config::raw::node::{Content, Node, Place};
use crate::config::raw::report::{Report, Wrong, nearest, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{Allow, Conditions};

const FORMS: &str = "allowed: \"everyone\", \"signed-in\", { roles = [\"admin\"] }, or a list of such tables";
const DENY_FORMS: &str = "allowed: { groups = [\"guests\"] }, or a list of such tables";

/// Which of the two keys is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Allow,
    Deny,
}

impl Side {
    const fn key(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    const fn forms(self) -> &'static str {
        match self {
            Self::Allow => FORMS,
            Self::Deny => DENY_FORMS,
        }
    }
}

/// The rule that `node` writes; `providers` are the names that exist.
pub(super) fn allow(node: &Node, providers: &[&str], report: &Report) -> Option<Allow> {
    match &node.content {
        Content::Text(text) if !(node.loose && text.trim_start().starts_with(['{', '['])) => {
            word(text).map_err(|wrong| report.error(node.place.clone(), wrong)).ok()
        }
        _ => tables(node, Side::Allow, providers, report).map(Allow::AnyOf),
    }
}

/// The tables of `deny`.
pub(super) fn deny(node: &Node, providers: &[&str], report: &Report) -> Option<Vec<Conditions>> {
    tables(node, Side::Deny, providers, report)
}

fn word(text: &str) -> Result<Allow, Wrong> {
    match text {
        "everyone" => Ok(Allow::Everyone),
        "signed-in" => Ok(Allow::SignedIn),
        _ => {
            let mut wrong = Wrong::new(format!("`{}` is no rule", printable(text)));
            if let Some(near) = nearest(text, ["everyone", "signed-in"].into_iter()) {
                wrong = wrong.note(format!("did you mean \"{near}\"?"));
            }
            Err(wrong.note(FORMS))
        }
    }
}

/// One table, or a list of them.
fn tables(node: &Node, side: Side, providers: &[&str], report: &Report) -> Option<Vec<Conditions>> {
    let is_json_list = matches!(&node.content, Content::Text(text) if node.loose && text.trim_start().starts_with('['));
    match &node.content {
        Content::List(_) => {}
        Content::Text(_) if is_json_list => {}
        Content::Table(_) => return Some(vec![conditions(node, side, providers, report)?]),
        Content::Text(text) if node.loose && text.trim_start().starts_with('{') => {
            return Some(vec![conditions(node, side, providers, report)?]);
        }
        other => {
            let wrong = convert::kind_error(side.key(), "a rule", other).note(side.forms());
            report.error(node.place.clone(), wrong);
            return None;
        }
    }
    let items = convert::list(node, side.key(), "a list of tables");
    let items = items.map_err(|wrong| report.error(node.place.clone(), wrong)).ok()?;
    if items.is_empty() {
        let wrong = match side {
            Side::Allow => Wrong::new("`allow` is an empty list, so nobody could ever pass").note(FORMS),
            Side::Deny => Wrong::new("`deny` is an empty list").note("leave the key out to deny nobody"),
        };
        report.error(node.place.clone(), wrong);
        return None;
    }
    let tables: Vec<_> = items.iter().map(|item| conditions(item, side, providers, report)).collect();
    tables.into_iter().collect()
}

fn conditions(node: &Node, side: Side, providers: &[&str], report: &Report) -> Option<Conditions> {
    let is_json = matches!(&node.content, Content::Text(text) if node.loose && text.trim_start().starts_with('{'));
    if !matches!(node.content, Content::Table(_)) && !is_json {
        let wrong = convert::kind_error(side.key(), "a table in this list", &node.content).note(side.forms());
        report.error(node.place.clone(), wrong);
        return None;
    }
    let key = side.key();
    let table = Table::new(node, format!("`{key}`"), format!("routes[].{key}"), report);
    let max_age = table.duration("max_age", "0s", ("30s", "365d"));
    let conditions = Conditions {
        providers: values(&table, "providers", |text| known_provider(text, providers)),
        accounts: values(&table, "accounts", |text| account(text, providers)),
        groups: values(&table, "groups", exact),
        roles: values(&table, "roles", exact),
        scopes: values(&table, "scopes", scope),
        emails: values(&table, "emails", email),
        email_domains: values(&table, "email_domains", domain),
        claims: claim_rule::claims(&table),
        client_certificate: values(&table, "client_certificate", certificate),
        networks: values(&table, "networks", network),
        acr: values(&table, "acr", reference),
        amr: values(&table, "amr", reference),
        max_age: table.has("max_age").then_some(max_age),
        expression: expression(&table),
    };
    if side == Side::Deny && conditions.max_age.is_some() {
        let wrong = Wrong::new("`max_age` in `deny` would deny those who signed in lately")
            .note("write it in `allow`, which then asks for a fresh sign-in");
        table.error("max_age", wrong);
    }
    if conditions == Conditions::default() && report.is_clean_within(&node.place) {
        let wrong = Wrong::new(format!("`{key}` is an empty table: does it mean everyone or nobody?"));
        report.error(node.place.clone(), wrong.note(side.forms()));
        return None;
    }
    Some(conditions)
}

/// What the other keys can't say, in the Common Expression Language.
fn expression(table: &Table<'_>) -> Option<Expression> {
    table.parse("expression", "an expression such as \"request.method == 'GET'\"", |text| {
        Expression::parse(text).map_err(|fault| {
            let ExpressionFault { message, notes, at } = fault;
            let wrong = Wrong::new(message).inside(text, at);
            notes.into_iter().fold(wrong, Wrong::note)
        })
    })
}

/// A list of a rule. An empty one could be read as nobody or as everybody, so it is a mistake.
fn values<T>(table: &Table<'_>, key: &'static str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
    let values = table.each(key, "a list of texts", parse)?;
    let place: Place = table.place(key);
    if values.is_empty() && table.report().is_clean_within(&place) {
        let wrong = Wrong::new(format!("`{key}` is an empty list, so nobody could ever meet it"))
            .note("name at least one, or leave the key out");
        table.report().error(place, wrong);
    }
    Some(values.into_iter().map(|value| value.value).collect())
}
