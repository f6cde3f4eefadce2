//! A route's rule, compiled, and the one question that it answers: may this principal pass?
//!
//! 1. The keys of a table are and-ed, the values of a key are any-of, and one table that is met is enough.
//! 2. Names of providers, groups and roles are compared exactly, byte for byte.
//! 3. An email address counts only when the provider verified it and it is a plain one: a single `@`, ASCII, no quotes, spaces or
//!    comments. Its domain is compared whole and without regard to case (RFC 5321, section 2.4), the rest exactly.
//! 4. A certificate is one that the client showed in its TLS handshake with us and that we verified there. A table that asks for a
//!    certificate and for nothing else asks for no sign-in.
//! 5. Whatever can't be met admits nobody: a table without keys, a key without values, an address that is not plain.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::config::settings::{Allow, Conditions};
use crate::identity::principal::Principal;
use crate::net::client_certificate::ClientCertificate;

/// The longest email address (RFC 5321, section 4.5.3.1.3, without its brackets).
const MAX_EMAIL_BYTES: usize = 254;

/// Who may pass.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Everyone, signed in or not.
    Everyone,
    /// Everyone who is signed in.
    SignedIn,
    /// Those who meet one of these tables.
    AnyOf(Vec<Table>),
}

/// Conditions that have to be met together.
#[derive(Clone, Debug)]
pub struct Table {
    providers: Option<Names>,
    groups: Option<Names>,
    roles: Option<Names>,
    emails: Option<Emails>,
    email_domains: Option<Names>,
    certificates: Option<Names>,
}

/// Who asks, as far as a rule may look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker<'a> {
    /// Who is signed in.
    pub principal: Option<&'a Principal>,
    /// The certificate that the client showed in its TLS handshake.
    pub certificate: Option<&'a ClientCertificate>,
}

impl<'a> From<Option<&'a Principal>> for Asker<'a> {
    fn from(principal: Option<&'a Principal>) -> Self {
        Self { principal, certificate: None }
    }
}

/// What a rule says about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They may pass.
    Admit,
    /// They might, but nobody knows yet who they are.
    NeedsSignIn,
    /// They may not.
    Forbid,
}

impl Rule {
    /// Compiles what the config says.
    pub fn compile(allow: &Allow) -> Self {
        match allow {
            Allow::Everyone => Self::Everyone,
            Allow::SignedIn => Self::SignedIn,
            Allow::AnyOf(tables) => Self::AnyOf(tables.iter().map(Table::compile).collect()),
        }
    }

    /// Whether everyone may pass, so that nobody has to be asked who they are.
    pub const fn is_public(&self) -> bool {
        matches!(self, Self::Everyone)
    }
}

/// What `rule` says about `asker`.
#[allow(single_use_lifetimes, reason = "an argument that is any of several types can't leave its lifetime out yet")]
pub fn evaluate<'a>(rule: &Rule, asker: impl Into<Asker<'a>>) -> Verdict {
    let asker = asker.into();
    match (rule, asker.principal) {
        (Rule::Everyone, _) | (Rule::SignedIn, Some(_)) => Verdict::Admit,
        (Rule::SignedIn, None) => Verdict::NeedsSignIn,
        (Rule::AnyOf(tables), _) => {
            let judge = |verdict| tables.iter().any(|table| table.judge(asker) == verdict);
            if judge(Verdict::Admit) {
                Verdict::Admit
            } else if judge(Verdict::NeedsSignIn) {
                Verdict::NeedsSignIn
            } else {
                Verdict::Forbid
            }
        }
    }
}

impl Table {
    fn compile(conditions: &Conditions) -> Self {
        let Conditions { providers, groups, roles, emails, email_domains, client_certificate } = conditions;
        Self {
            providers: providers.as_deref().map(Names::exact),
            groups: groups.as_deref().map(Names::exact),
            roles: roles.as_deref().map(Names::exact),
            emails: emails.as_deref().map(Emails::new),
            email_domains: email_domains.as_deref().map(Names::domains),
            certificates: client_certificate.as_deref().map(Names::exact),
        }
    }

    /// A certificate that does not fit can't be mended by signing in, so it is looked at first.
    fn judge(&self, asker: Asker<'_>) -> Verdict {
        if let Some(names) = &self.certificates
            && !asker.certificate.is_some_and(|certificate| names.has_any(certificate.names()))
        {
            return Verdict::Forbid;
        }
        match asker.principal {
            Some(principal) if self.is_met_by(principal) => Verdict::Admit,
            _ if self.certificates.is_some() && !self.asks_who() => Verdict::Admit,
            Some(_) => Verdict::Forbid,
            None => Verdict::NeedsSignIn,
        }
    }

    /// Whether a key asks about the person.
    const fn asks_who(&self) -> bool {
        let Self { providers, groups, roles, emails, email_domains, certificates: _ } = self;
        providers.is_some() || groups.is_some() || roles.is_some() || emails.is_some() || email_domains.is_some()
    }

    fn is_met_by(&self, principal: &Principal) -> bool {
        let Self { providers, groups, roles, emails, email_domains, certificates: _ } = self;
        // Looked at only when a key asks for it.
        let email = || principal.email_verified.then(|| plain_email(principal.email.as_deref()?)).flatten();
        self.asks_who()
            && providers.as_ref().is_none_or(|names| names.has(&principal.provider))
            && groups.as_ref().is_none_or(|names| names.has_any(&principal.groups))
            && roles.as_ref().is_none_or(|names| names.has_any(&principal.roles))
            && emails.as_ref().is_none_or(|emails| email().is_some_and(|(local, domain)| emails.has(local, &domain)))
            && email_domains.as_ref().is_none_or(|names| email().is_some_and(|(_, domain)| names.has(&domain)))
    }
}

/// A sorted list of names.
#[derive(Clone, Debug)]
struct Names(Vec<Box<str>>);

impl Names {
    fn exact(names: &[String]) -> Self {
        Self::sorted(names.iter().map(|name| name.as_str().into()).collect())
    }

    /// Domains in lower case; those that no plain address can have are left out.
    fn domains(names: &[String]) -> Self {
        let plain = names.iter().map(|name| name.to_ascii_lowercase()).filter(|name| is_plain_domain(name));
        Self::sorted(plain.map(Into::into).collect())
    }

    fn sorted(mut names: Vec<Box<str>>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    fn has(&self, name: &str) -> bool {
        self.0.binary_search_by(|other| (**other).cmp(name)).is_ok()
    }

    fn has_any(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.has(name))
    }
}

/// Plain addresses: for each domain in lower case, what may stand before its `@`.
#[derive(Clone, Debug)]
struct Emails(HashMap<Box<str>, Names>);

impl Emails {
    fn new(emails: &[String]) -> Self {
        let mut by_domain: HashMap<Box<str>, Vec<Box<str>>> = HashMap::new();
        for (local, domain) in emails.iter().filter_map(|email| plain_email(email)) {
            by_domain.entry(domain.into()).or_default().push(local.into());
        }
        Self(by_domain.into_iter().map(|(domain, locals)| (domain, Names::sorted(locals))).collect())
    }

    fn has(&self, local: &str, domain: &str) -> bool {
        self.0.get(domain).is_some_and(|locals| locals.has(local))
    }
}

/// The two halves of a plain address, the domain in lower case; `None` for anything that two readers might split in two ways.
fn plain_email(email: &str) -> Option<(&str, Cow<'_, str>)> {
    let (local, domain) = email.split_once('@')?;
    // RFC 5322, section 3.2.3, `dot-atom-text`: no quotes, comments, spaces or second `@`.
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let is_plain_local = local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom));
    if email.len() > MAX_EMAIL_BYTES || !is_plain_local || !is_plain_domain(domain) {
        return None;
    }
    let domain = if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(domain.to_ascii_lowercase())
    } else {
        Cow::Borrowed(domain)
    };
    Some((local, domain))
}

/// Labels of letters, digits and inner hyphens (RFC 1123, section 2.1); no dot at the end, no address literal.
fn is_plain_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    fn principal(groups: &[&str], roles: &[&str], email: &str, verified: bool) -> Principal {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Principal {
            provider: Arc::from("corp"),
            issuer: "https://login.example.com".to_owned(),
            subject: "1".to_owned(),
            email: Some(email.to_owned()),
            email_verified: verified,
            preferred_username: None,
            name: None,
            groups: owned(groups),
            roles: owned(roles),
            claims: Map::new(),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "every condition is optional")]
    fn list(values: &[&str]) -> Option<Vec<String>> {
        Some(values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn admits(conditions: Conditions, principal: &Principal) -> bool {
        evaluate(&Rule::compile(&Allow::AnyOf(vec![conditions])), Some(principal)) == Verdict::Admit
    }

    fn admits_domain(email: &str, verified: bool) -> bool {
        let conditions = Conditions { email_domains: list(&["Corp.com"]), ..Conditions::default() };
        admits(conditions, &principal(&[], &[], email, verified))
    }

    #[test]
    fn the_three_kinds_of_rule() {
        let somebody = principal(&[], &[], "a@corp.com", true);
        let nobody_special =
            Rule::compile(&Allow::AnyOf(vec![Conditions { groups: list(&["x"]), ..Conditions::default() }]));
        assert_eq!(evaluate(&Rule::Everyone, None), Verdict::Admit);
        assert_eq!(evaluate(&Rule::SignedIn, None), Verdict::NeedsSignIn);
        assert_eq!(evaluate(&Rule::SignedIn, Some(&somebody)), Verdict::Admit);
        assert_eq!(evaluate(&nobody_special, None), Verdict::NeedsSignIn);
        assert_eq!(evaluate(&nobody_special, Some(&somebody)), Verdict::Forbid);
    }

    #[test]
    fn keys_are_and_values_any_of_tables_or() {
        let both = Conditions { groups: list(&["ops", "dev"]), roles: list(&["admin"]), ..Conditions::default() };
        assert!(admits(both.clone(), &principal(&["dev"], &["admin"], "", false)));
        assert!(!admits(both.clone(), &principal(&["dev"], &["user"], "", false)));
        assert!(!admits(both.clone(), &principal(&["x"], &["admin"], "", false)));
        let or = Rule::compile(&Allow::AnyOf(vec![
            both,
            Conditions { providers: list(&["corp"]), ..Conditions::default() },
        ]));
        assert_eq!(evaluate(&or, Some(&principal(&[], &[], "", false))), Verdict::Admit);
    }

    #[test]
    fn names_are_compared_exactly() {
        let conditions = Conditions { groups: list(&["admin"]), ..Conditions::default() };
        for group in ["Admin", "admin ", " admin", "admi", "admins", "a,admin", "admin\n", "admin\0", "\u{430}dmin", ""]
        {
            assert!(!admits(conditions.clone(), &principal(&[group], &[], "", false)), "{group:?}");
        }
        assert!(!admits(conditions.clone(), &principal(&[], &["admin"], "", false)), "a role is no group");
        assert!(admits(conditions, &principal(&["z", "admin"], &[], "", false)));
        let provider = Conditions { providers: list(&["other"]), ..Conditions::default() };
        assert!(!admits(provider, &principal(&[], &[], "", false)));
    }

    #[test]
    fn what_can_not_be_met_admits_nobody() {
        let somebody = principal(&[""], &[""], "a@corp.com", true);
        assert!(!admits(Conditions::default(), &somebody));
        assert!(!admits(Conditions { groups: Some(Vec::new()), ..Conditions::default() }, &somebody));
        assert!(!admits(Conditions { emails: list(&["", "@", "a@"]), ..Conditions::default() }, &somebody));
        let dotted = principal(&[], &[], "a@corp.com.", true);
        assert!(!admits(Conditions { emails: list(&["a@corp.com."]), ..Conditions::default() }, &dotted));
        assert!(!admits(Conditions { email_domains: list(&["corp.com."]), ..Conditions::default() }, &dotted));
        assert_eq!(evaluate(&Rule::compile(&Allow::AnyOf(Vec::new())), Some(&somebody)), Verdict::Forbid);
    }

    #[test]
    fn a_domain_is_compared_whole_and_without_case() {
        assert!(admits_domain("a@corp.com", true));
        assert!(admits_domain("a@CORP.com", true));
        assert!(!admits_domain("a@corp.com", false), "the provider did not verify it");
        for email in [
            "a@evil.com@corp.com",
            "a@corp.com@evil.com",
            "a@corp.com.evil",
            "a@sub.corp.com",
            "a@evilcorp.com",
            "a@corp.com.",
            "\"x@corp.com\"@evil.com",
            "\"a\"@corp.com",
            "a@corp.com ",
            " a@corp.com",
            "a b@corp.com",
            "a@corp.com,b@evil.com",
            "b@evil.com,a@corp.com",
            "a(c)@corp.com",
            "a@(c)corp.com",
            "a@corp.com\0",
            "a\0@corp.com",
            "a@corp.com\r\n",
            "@corp.com",
            "corp.com",
            "a@",
            "a@c\u{f6}rp.com",
            "a@\u{441}orp.com",
            "\u{e9}@corp.com",
            "a@corp\u{3002}com",
            "a@.corp.com",
            "a@corp..com",
            "a@-corp.com",
            "a@[corp.com]",
            "<a@corp.com>",
            "a@corp.com>",
            "a\\@corp.com",
            "a:b@corp.com",
            ".a@corp.com",
            "a..b@corp.com",
            "a\t@corp.com",
            "",
        ] {
            assert!(!admits_domain(email, true), "{email:?}");
        }
        let long = format!("{}@corp.com", "a".repeat(MAX_EMAIL_BYTES));
        assert!(!admits_domain(&long, true));
    }

    #[test]
    fn an_address_is_compared_exactly_but_for_its_domain() {
        let conditions = Conditions { emails: list(&["Bob@Corp.com", "x y@corp.com"]), ..Conditions::default() };
        let admitted = |email, verified| admits(conditions.clone(), &principal(&[], &[], email, verified));
        assert!(admitted("Bob@corp.com", true));
        assert!(admitted("Bob@CORP.COM", true));
        assert!(!admitted("Bob@corp.com", false));
        for email in
            ["bob@corp.com", "Bob@corp.com ", "Bob+x@corp.com", "Bob@corp.co", "x y@corp.com", "Bob@corp.com@corp.com"]
        {
            assert!(!admitted(email, true), "{email:?}");
        }
        let mut without = principal(&[], &[], "", true);
        without.email = None;
        assert!(!admits(conditions, &without));
    }

    fn certificate() -> ClientCertificate {
        let params = rcgen::CertificateParams::new(vec!["backup.example.com".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        ClientCertificate::new(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn a_certificate_alone_admits_and_beside_other_keys_it_is_needed_too() {
        let shown = certificate();
        let somebody = principal(&[], &["admin"], "", false);
        let verdict = |conditions: &[&Conditions], who: Option<&Principal>, shown: Option<&ClientCertificate>| {
            let tables = conditions.iter().map(|table| (*table).clone()).collect();
            evaluate(&Rule::compile(&Allow::AnyOf(tables)), Asker { principal: who, certificate: shown })
        };
        let alone = Conditions { client_certificate: list(&["dns:backup.example.com"]), ..Conditions::default() };
        let other = Conditions { client_certificate: list(&["dns:other.example.com"]), ..Conditions::default() };
        let both = Conditions { roles: list(&["admin"]), ..alone.clone() };
        let role = Conditions { roles: list(&["admin"]), ..Conditions::default() };
        let (who, cert) = (Some(&somebody), Some(&shown));
        for (conditions, who, cert, expected) in [
            (&[&alone][..], None, cert, Verdict::Admit),
            (&[&alone], None, None, Verdict::Forbid),
            (&[&alone], who, None, Verdict::Forbid),
            (&[&other], who, cert, Verdict::Forbid),
            (&[&both], who, cert, Verdict::Admit),
            (&[&both], None, cert, Verdict::NeedsSignIn),
            (&[&both], who, None, Verdict::Forbid),
            (&[&both], None, None, Verdict::Forbid),
            (&[&other, &role], None, cert, Verdict::NeedsSignIn),
            (&[&other, &role], who, cert, Verdict::Admit),
        ] {
            assert_eq!(verdict(conditions, who, cert), expected, "{conditions:?}");
        }
        let empty = Conditions { client_certificate: Some(Vec::new()), ..Conditions::default() };
        assert_eq!(verdict(&[&empty], who, cert), Verdict::Forbid);
    }

    proptest! {
        #[test]
        fn only_addresses_that_end_in_the_domain_are_admitted(email in "[a-z@. \"(),A-Z]{0,8}(@corp[.]com)?[ .a-z@\"]{0,3}") {
            if admits_domain(&email, true) {
                prop_assert!(email.to_ascii_lowercase().ends_with("@corp.com"));
                prop_assert_eq!(email.matches('@').count(), 1);
            }
        }

        #[test]
        fn any_address_is_judged(email in "(?s).{0,40}") {
            let _ = admits_domain(&email, true);
        }
    }
}
