//! One key of a rule's table, compiled, and whether a request meets it.
//!
//! 1. Names of providers, groups, roles and scopes are compared exactly, byte for byte.
//! 2. An email address admits only when the provider verified it and it is a plain one ([`super::names`]). Its domain is compared
//!    whole and without regard to case (RFC 5321, section 2.4), the rest exactly.
//! 3. An account is a subject at one provider (`OpenID` Connect Core 1.0, section 5.7), never a subject alone.
//! 4. A certificate is one that the client showed in its TLS handshake with us and that we verified there.
//! 5. A network holds the real client's address. One that can't be known is in no network.
//! 6. What can't be read is [`Truth::Unclear`]: it never admits, and what denies takes it for met.

use std::time::Duration;

use ipnet::IpNet;

use super::asker::Asker;
use super::claim;
use super::expression;
use super::names::{Emails, Names, plain_email};
use super::wanted;
use crate::config::expression::Expression;
use crate::config::settings::{Account, ClaimCondition};
use crate::identity::principal::Principal;

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    Met,
    /// It does not.
    Unmet,
    /// Nobody can tell: what it is about has a shape that can't be read.
    Unclear,
}

impl Truth {
    /// Whether both hold.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unmet, _) | (_, Self::Unmet) => Self::Unmet,
            (Self::Met, Self::Met) => Self::Met,
            _ => Self::Unclear,
        }
    }

    /// Whether one of them holds.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Met, _) | (_, Self::Met) => Self::Met,
            (Self::Unmet, Self::Unmet) => Self::Unmet,
            _ => Self::Unclear,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Met } else { Self::Unmet }
    }
}

/// One key of a table.
#[derive(Clone, Debug)]
pub enum Condition {
    /// `providers`
    Providers(Names),
    /// `accounts`
    Accounts(Box<[Account]>),
    /// `groups`
    Groups(Names),
    /// `roles`
    Roles(Names),
    /// `scopes`
    Scopes(Names),
    /// `emails`
    Emails(Emails),
    /// `email_domains`
    EmailDomains(Names),
    /// `claims`, one of them
    Claim(ClaimCondition),
    /// `client_certificate`
    Certificate(Names),
    /// `networks`
    Networks(Box<[IpNet]>),
    /// `expression`
    Expression(Expression),
    /// `acr`
    Acr(Names),
    /// `amr`
    Amr(Names),
    /// `max_age`
    MaxAge(Duration),
}

/// What a condition is about, and so what mends it when it is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Where the request comes from: no sign-in mends it.
    Circumstances,
    /// Who asks: nobody knows before they have signed in.
    Person,
    /// How they signed in: another sign-in may mend it.
    SignIn,
}

impl Condition {
    /// What it is about.
    pub fn about(&self) -> About {
        match self {
            Self::Certificate(_) | Self::Networks(_) => About::Circumstances,
            Self::Expression(expression) if !expression.asks_who() => About::Circumstances,
            Self::Acr(_) | Self::Amr(_) | Self::MaxAge(_) => About::SignIn,
            Self::Providers(_)
            | Self::Accounts(_)
            | Self::Groups(_)
            | Self::Roles(_)
            | Self::Scopes(_)
            | Self::Emails(_)
            | Self::EmailDomains(_)
            | Self::Claim(_)
            | Self::Expression(_) => About::Person,
        }
    }

    /// Whether it holds. What is about a person does not when there is none.
    pub fn truth(&self, asker: &Asker<'_>) -> Truth {
        match (self, asker.principal) {
            (Self::Certificate(names), _) => {
                asker.certificate.is_some_and(|certificate| names.has_any(certificate.names())).into()
            }
            (Self::Networks(networks), _) => match asker.client {
                Some(client) => networks.iter().any(|network| network.contains(&client)).into(),
                None => Truth::Unclear,
            },
            (Self::Expression(expression), who) if who.is_some() || !expression.asks_who() => {
                expression::truth(expression, asker)
            }
            (_, None) => Truth::Unmet,
            (Self::MaxAge(max_age), Some(_)) => wanted::is_fresh(asker.authenticated, *max_age, asker.now).into(),
            (_, Some(principal)) => self.truth_of(principal),
        }
    }

    fn truth_of(&self, principal: &Principal) -> Truth {
        match self {
            Self::Providers(names) => names.has(&principal.provider).into(),
            Self::Accounts(accounts) => accounts
                .iter()
                .any(|account| *account.provider == *principal.provider && account.subject == principal.subject)
                .into(),
            Self::Groups(names) => listed(names, &principal.groups, principal.unclear.groups),
            Self::Roles(names) => listed(names, &principal.roles, principal.unclear.roles),
            Self::Scopes(names) => names.has_any(&principal.scopes).into(),
            Self::Emails(emails) => address(principal, |local, domain| emails.has(local, domain)),
            Self::EmailDomains(names) => address(principal, |_, domain| names.has(domain)),
            Self::Claim(condition) => claim::truth(condition, &principal.claims),
            Self::Acr(names) => match principal.claims.get("acr") {
                None => Truth::Unmet,
                Some(_) => wanted::acr(principal).map_or(Truth::Unclear, |acr| names.has(acr).into()),
            },
            Self::Amr(names) => {
                let is_odd = principal.claims.get("amr").is_some_and(|amr| !amr.is_array());
                if is_odd { Truth::Unclear } else { wanted::amr(principal).any(|method| names.has(method)).into() }
            }
            Self::Certificate(_) | Self::Networks(_) | Self::Expression(_) | Self::MaxAge(_) => Truth::Unmet,
        }
    }
}

fn listed(names: &Names, entries: &[String], unclear: bool) -> Truth {
    match (names.has_any(entries), unclear) {
        (true, _) => Truth::Met,
        (false, true) => Truth::Unclear,
        (false, false) => Truth::Unmet,
    }
}

/// An address that nobody verified is never one that fits; yet a person should not get around what denies it by that.
fn address(principal: &Principal, fits: impl Fn(&str, &str) -> bool) -> Truth {
    let Some(email) = principal.email.as_deref() else { return Truth::Unmet };
    match plain_email(email) {
        None => Truth::Unclear,
        Some((local, domain)) if fits(local, &domain) => {
            if principal.email_verified {
                Truth::Met
            } else {
                Truth::Unclear
            }
        }
        Some(_) => Truth::Unmet,
    }
}
