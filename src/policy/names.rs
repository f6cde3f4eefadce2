//! Lists of names that rules compare with: exactly, byte for byte; email addresses by what no two readers split in two ways.

use std::borrow::Cow;
use std::collections::HashMap;

/// The longest email address (RFC 5321, section 4.5.3.1.3, without its brackets).
const MAX_EMAIL_BYTES: usize = 254;
/// As many names are compared one by one; more are searched.
const FEW: usize = 8;

/// A sorted list of names.
#[derive(Clone, Debug)]
pub struct Names {
    names: Box<[Box<str>]>,
    /// The [`mark`] of each: many names that are none of these have another, and need not be looked for.
    marks: u64,
}

impl Names {
    /// Names as they are.
    pub fn exact(names: &[String]) -> Self {
        Self::sorted(names.iter().map(|name| name.as_str().into()).collect())
    }

    /// Domains in lower case; those that no plain address can have are left out.
    pub fn domains(names: &[String]) -> Self {
        let plain = names.iter().map(|name| name.to_ascii_lowercase()).filter(|name| is_plain_domain(name));
        Self::sorted(plain.map(Into::into).collect())
    }

    fn sorted(mut names: Vec<Box<str>>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self { marks: names.iter().fold(0, |marks, name| marks | mark(name)), names: names.into() }
    }

    /// Whether `name` is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.marks & mark(name) != 0 && self.search(name)
    }

    fn search(&self, name: &str) -> bool {
        if self.names.len() <= FEW {
            return self.names.iter().any(|other| **other == *name);
        }
        self.names.binary_search_by(|other| (**other).cmp(name)).is_ok()
    }

    /// Whether one of `names` is one of them.
    pub fn has_any(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// The names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

/// One bit of 64, the same for names of the same length.
const fn mark(name: &str) -> u64 {
    1 << (name.len() & 63)
}

/// Plain addresses: for each domain in lower case, what may stand before its `@`.
#[derive(Clone, Debug)]
pub struct Emails(HashMap<Box<str>, Names>);

impl Emails {
    /// Those of `emails` that are plain.
    pub fn new(emails: &[String]) -> Self {
        let mut by_domain: HashMap<Box<str>, Vec<Box<str>>> = HashMap::new();
        for (local, domain) in emails.iter().filter_map(|email| plain_email(email)) {
            by_domain.entry(domain.into()).or_default().push(local.into());
        }
        Self(by_domain.into_iter().map(|(domain, locals)| (domain, Names::sorted(locals))).collect())
    }

    /// Whether the address of these halves is one of them.
    pub fn has(&self, local: &str, domain: &str) -> bool {
        self.0.get(domain).is_some_and(|locals| locals.has(local))
    }

    /// The addresses.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(domain, locals)| locals.iter().map(move |local| format!("{local}@{domain}")))
    }
}

/// The two halves of a plain address, the domain in lower case; `None` for anything that two readers might split in two ways.
pub fn plain_email(email: &str) -> Option<(&str, Cow<'_, str>)> {
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_found_just_when_they_are_there(
            names in proptest::collection::vec("[a-cé-]{0,4}", 0..20),
            asked in "[a-cé-]{0,4}",
        ) {
            let compiled = Names::exact(&names);
            prop_assert_eq!(compiled.has(&asked), names.contains(&asked));
            prop_assert!(names.iter().all(|name| compiled.has(name)));
        }
    }
}
