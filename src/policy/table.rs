//! One table of a rule, compiled: conditions that have to be met together.

use super::asker::Asker;
use super::condition::{About, Condition, Truth};
use super::names::{Emails, Names};
use super::rule::Verdict;
use super::wanted::Wanted;
use crate::config::settings::Conditions;

/// Conditions that have to be met together.
#[derive(Clone, Debug)]
pub struct Table {
    /// Where a request comes from first, then who asks, then how they signed in.
    conditions: Box<[Condition]>,
    wanted: Wanted,
}

impl Table {
    /// Compiles what the config says.
    pub fn compile(settings: &Conditions) -> Self {
        let mut conditions = conditions(settings);
        conditions.sort_by_key(|condition| match condition.about() {
            About::Circumstances => 0,
            About::Person => 1,
            About::SignIn => 2,
        });
        Self {
            conditions: conditions.into(),
            wanted: Wanted {
                acr: settings.acr.clone().unwrap_or_default(),
                amr: settings.amr.clone().unwrap_or_default(),
                max_age: settings.max_age,
            },
        }
    }

    /// The conditions, in the order in which they are looked at.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Whether a key looks at the path, of which a request may have several readings.
    pub fn reads_path(&self) -> bool {
        let reads = |condition: &Condition| matches!(condition, Condition::Expression(it) if it.reads_path());
        self.conditions.iter().any(reads)
    }

    /// What it says to somebody, as a table that admits. Where a request comes from can't be mended by signing in, so it is looked at
    /// first. A table without conditions admits nobody.
    pub fn admits(&self, asker: &Asker<'_>) -> Verdict<'_> {
        if self.conditions.is_empty() {
            return Verdict::Forbid;
        }
        for condition in &self.conditions {
            let about = condition.about();
            if about != About::Circumstances && asker.principal.is_none() {
                return Verdict::NeedsSignIn(&self.wanted);
            }
            match (condition.truth(asker), about) {
                (Truth::Met, _) => {}
                (Truth::Unmet | Truth::Unclear, About::SignIn) => return Verdict::NeedsStepUp(&self.wanted),
                (Truth::Unmet | Truth::Unclear, About::Circumstances | About::Person) => return Verdict::Forbid,
            }
        }
        Verdict::Admit
    }

    /// Whether it holds for somebody, as a table that denies. Conditions on a person hold for nobody who is not known.
    pub fn holds(&self, asker: &Asker<'_>) -> Truth {
        let all = self.conditions.iter().map(|condition| condition.truth(asker)).fold(Truth::Met, Truth::and);
        if self.conditions.is_empty() { Truth::Unmet } else { all }
    }
}

fn conditions(settings: &Conditions) -> Vec<Condition> {
    let Conditions {
        providers,
        accounts,
        groups,
        roles,
        scopes,
        emails,
        email_domains,
        claims,
        client_certificate,
        networks,
        acr,
        amr,
        max_age,
        expression,
    } = settings;
    let exact = |names: &Option<Vec<String>>| names.as_deref().map(Names::exact);
    let mut conditions: Vec<Condition> = [
        exact(client_certificate).map(Condition::Certificate),
        networks.as_ref().map(|networks| Condition::Networks(networks.clone().into())),
        exact(providers).map(Condition::Providers),
        accounts.as_ref().map(|accounts| Condition::Accounts(accounts.clone().into())),
        exact(roles).map(Condition::Roles),
        exact(groups).map(Condition::Groups),
        exact(scopes).map(Condition::Scopes),
        emails.as_deref().map(|emails| Condition::Emails(Emails::new(emails))),
        email_domains.as_deref().map(|domains| Condition::EmailDomains(Names::domains(domains))),
        exact(acr).map(Condition::Acr),
        exact(amr).map(Condition::Amr),
        max_age.map(Condition::MaxAge),
    ]
    .into_iter()
    .flatten()
    .collect();
    conditions.extend(claims.iter().cloned().map(Condition::Claim));
    // The dearest one last, of those about the same.
    conditions.extend(expression.clone().map(Condition::Expression));
    conditions
}
