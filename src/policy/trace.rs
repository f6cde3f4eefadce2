//! A rule looked at key by key, for people who ask why: what each key wants, what it saw, and whether it was met. It asks the same
//! [`Condition::truth`] as the decision itself.

use serde_json::{Value, json};

use super::asker::Asker;
use super::claim;
use super::condition::{Condition, Truth};
use super::names::Names;
use super::rule::{Allowed, Rule};
use super::table::Table;
use crate::config::settings::{ClaimTest, Scalar};

/// What a rule admits, before its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// Everyone.
    Everyone,
    /// Everyone who is signed in.
    SignedIn,
    /// Those who meet one of the tables.
    AnyOf,
}

/// A rule, looked at.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The tables that deny.
    pub deny: Vec<TracedTable>,
    /// Whom it admits.
    pub admits: Admits,
    /// The tables that admit.
    pub allow: Vec<TracedTable>,
}

/// One table, looked at.
#[derive(Clone, Debug)]
pub struct TracedTable {
    /// Its keys, in the order in which they are looked at.
    pub keys: Vec<TracedKey>,
    /// Whether all of them are met.
    pub truth: Truth,
}

/// One key, looked at.
#[derive(Clone, Debug)]
pub struct TracedKey {
    /// Its name in the config: `groups`, `claims.org.unit`.
    pub key: String,
    /// What it wants.
    pub wants: Value,
    /// What it saw; nothing when there was nothing to see.
    pub saw: Option<Value>,
    /// Whether it is met.
    pub truth: Truth,
}

/// Looks at `rule` key by key.
pub fn trace(rule: &Rule, asker: &Asker<'_>) -> Traced {
    let tables = |tables: &[Table]| tables.iter().map(|table| of_table(table, asker)).collect();
    let (admits, allow) = match rule.allow() {
        Allowed::Everyone => (Admits::Everyone, Vec::new()),
        Allowed::SignedIn => (Admits::SignedIn, Vec::new()),
        Allowed::AnyOf(any_of) => (Admits::AnyOf, tables(any_of)),
    };
    Traced { deny: tables(rule.deny()), admits, allow }
}

fn of_table(table: &Table, asker: &Asker<'_>) -> TracedTable {
    let of_key = |condition: &Condition| TracedKey {
        key: key(condition),
        wants: wants(condition),
        saw: saw(condition, asker),
        truth: condition.truth(asker),
    };
    TracedTable { keys: table.conditions().iter().map(of_key).collect(), truth: table.holds(asker) }
}

fn key(condition: &Condition) -> String {
    match condition {
        Condition::Providers(_) => "providers".to_owned(),
        Condition::Accounts(_) => "accounts".to_owned(),
        Condition::Groups(_) => "groups".to_owned(),
        Condition::Roles(_) => "roles".to_owned(),
        Condition::Scopes(_) => "scopes".to_owned(),
        Condition::Emails(_) => "emails".to_owned(),
        Condition::EmailDomains(_) => "email_domains".to_owned(),
        Condition::Claim(claim) => format!("claims.{}", claim.path.join(".")),
        Condition::Certificate(_) => "client_certificate".to_owned(),
        Condition::Networks(_) => "networks".to_owned(),
        Condition::Expression(_) => "expression".to_owned(),
        Condition::Acr(_) => "acr".to_owned(),
        Condition::Amr(_) => "amr".to_owned(),
        Condition::MaxAge(_) => "max_age".to_owned(),
    }
}

fn wants(condition: &Condition) -> Value {
    let names = |names: &Names| json!(names.iter().collect::<Vec<_>>());
    match condition {
        Condition::Providers(wanted)
        | Condition::Groups(wanted)
        | Condition::Roles(wanted)
        | Condition::Scopes(wanted)
        | Condition::EmailDomains(wanted)
        | Condition::Certificate(wanted)
        | Condition::Acr(wanted)
        | Condition::Amr(wanted) => names(wanted),
        Condition::Accounts(accounts) => {
            let written = accounts.iter().map(|account| format!("{}:{}", account.provider, account.subject));
            json!(written.collect::<Vec<_>>())
        }
        Condition::Emails(emails) => json!(emails.iter().collect::<Vec<_>>()),
        Condition::Claim(claim) => claim.tests.iter().map(test).collect(),
        Condition::Networks(networks) => json!(networks.iter().map(ToString::to_string).collect::<Vec<_>>()),
        Condition::Expression(expression) => json!(expression.source()),
        Condition::MaxAge(max_age) => json!(format!("{}s", max_age.as_secs())),
    }
}

fn test(test: &ClaimTest) -> (String, Value) {
    let scalars = |scalars: &[Scalar]| -> Value {
        scalars
            .iter()
            .map(|scalar| match scalar {
                Scalar::Text(whole) => json!(whole),
                Scalar::Integer(number) => json!(number),
                Scalar::Bool(flag) => json!(flag),
            })
            .collect()
    };
    match test {
        ClaimTest::OneOf(wanted) => ("one_of".to_owned(), scalars(wanted)),
        ClaimTest::Contains(wanted) => ("contains".to_owned(), scalars(wanted)),
        ClaimTest::Matches(pattern) => ("matches".to_owned(), json!(pattern.source())),
    }
}

fn saw(condition: &Condition, asker: &Asker<'_>) -> Option<Value> {
    match condition {
        Condition::Certificate(_) => return asker.certificate.map(|certificate| json!(certificate.names())),
        Condition::Networks(_) => return asker.client.map(|client| json!(client.to_string())),
        Condition::Expression(_) => return None,
        _ => {}
    }
    let principal = asker.principal?;
    match condition {
        Condition::Providers(_) => Some(json!(&*principal.provider)),
        Condition::Accounts(_) => Some(json!(format!("{}:{}", principal.provider, principal.subject))),
        Condition::Groups(_) => Some(json!(principal.groups)),
        Condition::Roles(_) => Some(json!(principal.roles)),
        Condition::Scopes(_) => Some(json!(principal.scopes)),
        Condition::Emails(_) | Condition::EmailDomains(_) => {
            let note = if principal.email_verified { "" } else { " (not verified)" };
            principal.email.as_ref().map(|email| json!(format!("{email}{note}")))
        }
        Condition::Claim(claim) => claim::seen(claim, &principal.claims).cloned(),
        Condition::Acr(_) => principal.claims.get("acr").cloned(),
        Condition::Amr(_) => principal.claims.get("amr").cloned(),
        Condition::MaxAge(_) => asker.authenticated.map(|when| json!(format!("{}s", asker.now.since(when).as_secs()))),
        Condition::Certificate(_) | Condition::Networks(_) | Condition::Expression(_) => None,
    }
}
