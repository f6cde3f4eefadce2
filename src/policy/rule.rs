//! A route's rule, compiled, and the one question that it answers: may this request pass?
//!
//! 1. Tables that deny are looked at first. Then the keys of a table are and-ed, the values of a key are any-of, and one table that
//!    is met is enough.
//! 2. A table that asks for circumstances alone, a certificate or a network, asks for no sign-in.
//! 3. A table that is met but for how somebody signed in asks for another sign-in (RFC 9470).
//! 4. Whatever can't be met admits nobody: a table without keys, a key without values, an address that is not plain.

use super::asker::Asker;
use super::condition::Truth;
use super::table::Table;
use super::wanted::{NOTHING, Wanted};
use crate::config::settings::{Allow, Conditions};

/// Who may pass.
#[derive(Clone, Debug)]
pub struct Rule {
    allow: Allowed,
    deny: Box<[Table]>,
    reads_path: bool,
}

/// Whom a rule admits unless it denies them.
#[derive(Clone, Debug)]
pub enum Allowed {
    /// Everyone, signed in or not.
    Everyone,
    /// Everyone who is signed in.
    SignedIn,
    /// Those who meet one of these tables.
    AnyOf(Box<[Table]>),
}

/// What a rule says about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'r> {
    /// They may pass.
    Admit,
    /// They might, but nobody knows yet who they are; the sign-in should have this.
    NeedsSignIn(&'r Wanted),
    /// They might, had they signed in otherwise: with this.
    NeedsStepUp(&'r Wanted),
    /// They may not.
    Forbid,
}

impl Rule {
    /// Compiles what the config says.
    pub fn compile(allow: &Allow, deny: &[Conditions]) -> Self {
        let tables = |tables: &[Conditions]| tables.iter().map(Table::compile).collect();
        let allow = match allow {
            Allow::Everyone => Allowed::Everyone,
            Allow::SignedIn => Allowed::SignedIn,
            Allow::AnyOf(any_of) => Allowed::AnyOf(tables(any_of)),
        };
        let deny: Box<[Table]> = tables(deny);
        let allowing: &[Table] = if let Allowed::AnyOf(tables) = &allow { tables } else { &[] };
        let reads_path = allowing.iter().chain(&deny).any(Table::reads_path);
        Self { allow, deny, reads_path }
    }

    /// Whether its answer may differ between two readings of one path.
    pub const fn reads_path(&self) -> bool {
        self.reads_path
    }

    /// Whether everyone may pass who is not denied, so that nobody has to be asked who they are.
    pub const fn is_public(&self) -> bool {
        matches!(self.allow, Allowed::Everyone)
    }

    /// Whom it admits.
    pub const fn allow(&self) -> &Allowed {
        &self.allow
    }

    /// Whom it denies.
    pub const fn deny(&self) -> &[Table] {
        &self.deny
    }
}

/// What `rule` says about `asker`.
pub fn evaluate<'r>(rule: &'r Rule, asker: &Asker<'_>) -> Verdict<'r> {
    if rule.deny.iter().any(|table| table.holds(asker) != Truth::Unmet) {
        return Verdict::Forbid;
    }
    match (&rule.allow, asker.principal) {
        (Allowed::Everyone, _) | (Allowed::SignedIn, Some(_)) => Verdict::Admit,
        (Allowed::SignedIn, None) => Verdict::NeedsSignIn(&NOTHING),
        (Allowed::AnyOf(tables), _) => best_of(tables, asker),
    }
}

/// The first table that admits, else the easiest way to be admitted.
fn best_of<'r>(tables: &'r [Table], asker: &Asker<'_>) -> Verdict<'r> {
    let mut best = Verdict::Forbid;
    for table in tables {
        let verdict = table.admits(asker);
        if matches!(verdict, Verdict::Forbid) {
            continue;
        }
        match (verdict, best) {
            (Verdict::Admit, _) => return Verdict::Admit,
            (better, Verdict::Forbid) => best = better,
            (plain @ Verdict::NeedsSignIn(wanted), Verdict::NeedsSignIn(_)) if wanted.is_nothing() => best = plain,
            _ => {}
        }
    }
    best
}
