//! The values in a rule's lists: names, addresses, networks and accounts, each parsed once.

use super::names;
use crate::config::raw::report::{Wrong, printable};
use crate::config::settings::Account;

/// A provider of this config.
pub(super) fn known_provider(text: &str, known: &[&str]) -> Result<String, Wrong> {
    if known.contains(&text) { Ok(text.to_owned()) } else { Err(names::unknown(text, "provider", known)) }
}

/// An account: `provider:subject`. The provider may be left out where there is only one.
pub(super) fn account(text: &str, providers: &[&str]) -> Result<Account, Wrong> {
    let named = text.split_once(':').filter(|(provider, _)| providers.contains(provider));
    let (provider, subject) = match (named, providers) {
        (Some(named), _) => named,
        (None, [only]) => (*only, text),
        (None, _) => {
            return Err(Wrong::new("this account says not at which provider it is")
                .note("write \"provider:subject\"; two providers may give two people the same subject")
                .note(format!("known providers: {}", providers.join(", "))));
        }
    };
    let subject = exact(subject)?;
    Ok(Account { provider: provider.to_owned(), subject })
}

/// A scope (RFC 6749, appendix A.4).
pub(super) fn scope(text: &str) -> Result<String, Wrong> {
    let is_of_scope = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if !text.is_empty() && text.bytes().all(is_of_scope) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("`{}` is no scope", printable(text)))
        .note("each scope is an item of its own, without spaces"))
}

/// A value of `acr` or `amr`: `acr_values` is split at spaces (`OpenID` Connect Core 1.0, section 3.1.2.1).
pub(super) fn reference(text: &str) -> Result<String, Wrong> {
    if !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("`{}` is no such value", printable(text)))
        .note("each is an item of its own: printable ASCII without spaces, quotes and backslashes"))
}

/// A name that is compared exactly.
pub(super) fn exact(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.trim() != text {
        return Err(Wrong::new("this name is empty or has white space around it")
            .note("write it exactly as the provider gives it"));
    }
    Ok(text.to_owned())
}

/// How a client's certificate is told: by the SHA-256 of all of it, by a subject alternative name (RFC 5280, section 4.2.1.6), or by
/// its whole subject as RFC 4514 writes it.
pub(super) fn certificate(text: &str) -> Result<String, Wrong> {
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
pub(super) fn email(text: &str) -> Result<String, Wrong> {
    let wrong =
        || Wrong::new(format!("`{}` is no email address", printable(text))).note("write it like \"alice@example.com\"");
    let (local, host) = text.split_once('@').ok_or_else(wrong)?;
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let is_plain = local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom));
    let host = domain(host).map_err(|_| wrong())?;
    if is_plain && text.len() <= 254 { Ok(format!("{local}@{host}")) } else { Err(wrong()) }
}

/// Labels of letters, digits and inner hyphens (RFC 1123, section 2.1), in lower case.
pub(super) fn domain(text: &str) -> Result<String, Wrong> {
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
