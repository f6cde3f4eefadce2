//! `allow`: who may pass a route.

use super::names;
use crate::config::raw::convert;
use crate::config::raw::node::{Content, Node, Place};
use crate::config::raw::report::{Report, Wrong, nearest, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{Allow, Conditions};

const FORMS: &str = "allowed: \"everyone\", \"signed-in\", { roles = [\"admin\"] }, or a list of such tables";

/// The rule that `node` writes; `providers` are the names that exist.
pub(super) fn allow(node: &Node, providers: &[&str], report: &Report) -> Option<Allow> {
    match &node.content {
        Content::Text(text) => word(text).map_err(|wrong| report.error(node.place.clone(), wrong)).ok(),
        Content::Table(_) => Some(Allow::AnyOf(vec![conditions(node, providers, report)?])),
        Content::List(items) if items.is_empty() => {
            let wrong = Wrong::new("`allow` is an empty list, so nobody could ever pass").note(FORMS);
            report.error(node.place.clone(), wrong);
            None
        }
        Content::List(items) => {
            let tables: Vec<Option<Conditions>> =
                items.iter().map(|item| conditions(item, providers, report)).collect();
            tables.into_iter().collect::<Option<Vec<_>>>().map(Allow::AnyOf)
        }
        other => {
            report.error(node.place.clone(), convert::kind_error("allow", "a rule", other).note(FORMS));
            None
        }
    }
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

fn conditions(node: &Node, providers: &[&str], report: &Report) -> Option<Conditions> {
    if !matches!(node.content, Content::Table(_)) {
        let wrong = convert::kind_error("allow", "a table in this list", &node.content).note(FORMS);
        report.error(node.place.clone(), wrong);
        return None;
    }
    let table = Table::new(node, "`allow`".to_owned(), "routes[].allow".to_owned(), report);
    let conditions = Conditions {
        providers: values(&table, "providers", |text| known_provider(text, providers)),
        groups: values(&table, "groups", exact),
        roles: values(&table, "roles", exact),
        emails: values(&table, "emails", email),
        email_domains: values(&table, "email_domains", domain),
        client_certificate: values(&table, "client_certificate", certificate),
    };
    if conditions == Conditions::default() && report.is_clean_within(&node.place) {
        let wrong = Wrong::new("`allow` is an empty table: does it mean everyone or nobody?").note(FORMS);
        report.error(node.place.clone(), wrong);
        return None;
    }
    Some(conditions)
}

/// A list of a rule. An empty one could be read as nobody or as everybody, so it is a mistake.
fn values(table: &Table<'_>, key: &'static str, parse: impl Fn(&str) -> Result<String, Wrong>) -> Option<Vec<String>> {
    let values = table.each(key, "a list of texts", parse)?;
    let place: Place = table.place(key);
    if values.is_empty() && table.report().is_clean_within(&place) {
        let wrong = Wrong::new(format!("`{key}` is an empty list, so nobody could ever pass"))
            .note("name at least one, or leave the key out");
        table.report().error(place, wrong);
    }
    Some(values.into_iter().map(|value| value.value).collect())
}

fn known_provider(text: &str, known: &[&str]) -> Result<String, Wrong> {
    if known.contains(&text) { Ok(text.to_owned()) } else { Err(names::unknown(text, "provider", known)) }
}

fn exact(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.trim() != text {
        return Err(Wrong::new("this name is empty or has white space around it")
            .note("write it exactly as the provider gives it"));
    }
    Ok(text.to_owned())
}

/// How a client's certificate is told: by the SHA-256 of all of it, by a subject alternative name (RFC 5280, section 4.2.1.6), or by
/// its whole subject as RFC 4514 writes it.
fn certificate(text: &str) -> Result<String, Wrong> {
    let forms = "allowed: \"sha256:…\" with 64 hex digits, \"dns:host.example\", \"email:a@host.example\", \"uri:spiffe://…\" or \
                 \"subject:CN=…\"";
    let wrong = |message: &str| Wrong::new(message).note(forms);
    let (kind, value) = text.split_once(':').ok_or_else(|| wrong("this says not how to tell a certificate"))?;
    match kind {
        "sha256" => {
            let digits = value.replace(':', "").to_ascii_lowercase();
            let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_digest { Ok(format!("sha256:{digits}")) } else { Err(wrong("this is no SHA-256 fingerprint")) }
        }
        "dns" if value.starts_with("*.") => Err(wrong("a name in a rule is one host, so it has no `*`")),
        "dns" => domain(value).map(|name| format!("dns:{name}")).map_err(|_| wrong("this is no host name")),
        "email" | "uri" | "subject" if !value.is_empty() && value.trim() == value => Ok(text.to_owned()),
        "email" | "uri" | "subject" => Err(wrong("this name is empty or has white space around it")),
        _ => Err(wrong("this says not how to tell a certificate")),
    }
}

/// A plain address: `dot-atom-text` (RFC 5322, section 3.2.3), one `@`, and a domain, which alone is put in lower case.
/// Whether the case of the other half matters is the provider's to say, so it is kept.
fn email(text: &str) -> Result<String, Wrong> {
    let wrong =
        || Wrong::new(format!("`{}` is no email address", printable(text))).note("write it like \"alice@example.com\"");
    let (local, host) = text.split_once('@').ok_or_else(wrong)?;
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let is_plain = local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom));
    let host = domain(host).map_err(|_| wrong())?;
    if is_plain && text.len() <= 254 { Ok(format!("{local}@{host}")) } else { Err(wrong()) }
}

/// Labels of letters, digits and inner hyphens (RFC 1123, section 2.1), in lower case.
fn domain(text: &str) -> Result<String, Wrong> {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.split('.').all(is_label) && text.len() <= 253 {
        return Ok(text.to_ascii_lowercase());
    }
    let wrong = Wrong::new(format!("`{}` is no domain", printable(text)));
    Err(if text.starts_with(['@', '*', '.']) {
        let rest = printable(text.trim_start_matches(['@', '*', '.']));
        wrong.note(format!("write \"{rest}\"; each subdomain is named on its own"))
    } else if text.is_ascii() {
        wrong.note("write it like \"example.com\"")
    } else {
        wrong.note("write it as mail servers do, in ASCII: \"xn--…\"")
    })
}
