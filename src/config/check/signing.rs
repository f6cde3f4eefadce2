//! `[signing]`: the private keys of our assertions.

use super::Context;
use super::secret;
use crate::config::raw::report::Wrong;
use crate::config::raw::table::Table;
use crate::config::secret::SecretSource;
use crate::config::settings::{TokenSettings, UpstreamSettings};

/// Identity presets whose applications always get a signed token.
pub(super) const SIGNING_PRESETS: [&str; 4] = ["pomerium", "aws-alb", "google-iap", "cloudflare-access"];

/// `[signing] keys`. Whether each is a key is found out where they are put to work.
pub(super) fn keys(root: &Table<'_>, context: &Context<'_>) -> Vec<SecretSource> {
    let table = root.table("signing");
    let given = table.items("keys", "a list of secrets such as [{ file = \"/run/secrets/signing-key.pem\" }]");
    given
        .unwrap_or_default()
        .iter()
        .filter_map(|node| secret::read(node, "signing.keys", "signing.keys[]", context))
        .map(|found| found.source)
        .collect()
}

/// Keys that are made at start are unknown to everyone else, other instances of the gateway included.
pub(super) fn check_use(root: &Table<'_>, keys: &[SecretSource], upstreams: &[UpstreamSettings]) {
    let signs = |upstream: &&UpstreamSettings| {
        upstream.assertion.is_some()
            || matches!(upstream.token, TokenSettings::Assertion(_))
            || SIGNING_PRESETS.contains(&upstream.identity.as_str())
    };
    if let Some(upstream) = upstreams.iter().find(signs).filter(|_| keys.is_empty()) {
        let wrong = Wrong::new(format!(
            "upstream `{}` gets signed tokens, but `signing.keys` has no key: one is made at start, and known to nobody else",
            upstream.name
        ))
        .note("write a key to a file with `portcullis keygen --signing`, and name it: keys = [{ file = \"…\" }]");
        root.report().warn(root.place("signing"), wrong);
    }
}
