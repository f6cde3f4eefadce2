//! The authorization request: where the browser is sent, and what the answer must match (`OpenID` Connect Core 1.0, section 3.1.2.1).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::discovery::Metadata;
use super::library;
use crate::base::random::{self, NoRandomness};
use crate::config::settings::ProviderSettings;
use crate::policy::wanted::Wanted;
use crate::provider::Begin;
use crate::session::flow::Pending;

/// Parameters that are ours alone: neither config nor visitor can set them.
pub(super) const RESERVED: &[&str] = &[
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "registration",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Makes state, nonce and verifier of 256 random bits each, and the URL with them. PKCE is always S256, whether or not the
/// metadata lists it: a provider that doesn't know it ignores it (RFC 7636, section 5; RFC 9700, section 2.1.1).
pub(super) fn begin(
    settings: &ProviderSettings,
    metadata: &Metadata,
    begin: &Begin,
) -> Result<(String, Pending), Problem> {
    let pending = pending(settings, begin)?;
    let mut parameters = parameters(&settings.authorization_parameters, &begin.parameters);
    want(&mut parameters, &begin.wanted, metadata.takes_claims);
    let url = library::authorization_url(settings, metadata, &pending, &parameters)
        .map_err(|library::Unreadable| Problem::RedirectUri)?;
    Ok((with_resources(url, &settings.resources), pending))
}

/// The URL with the resources that tokens will be asked for (RFC 8707, section 2.1): a parameter that may come several times.
fn with_resources(mut url: String, resources: &[String]) -> String {
    for resource in resources {
        url.push_str("&resource=");
        url.extend(url::form_urlencoded::byte_serialize(resource.as_bytes()));
    }
    url
}

/// What the answer to a request must match.
pub(super) fn pending(settings: &ProviderSettings, begin: &Begin) -> Result<Pending, Problem> {
    let [state, nonce, verifier] = random::tokens()?;
    let (issuer, redirect_uri) = (settings.issuer.clone(), begin.redirect_uri.clone());
    Ok(Pending { issuer, state, nonce, verifier, redirect_uri, wanted: begin.wanted.clone() })
}

/// Why no request can be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("the redirect URI is no URL")]
    RedirectUri,
}

/// The further parameters, each once. A visitor's value takes the place of a configured one, but for `max_age`, which only
/// the operator may loosen; reserved ones are dropped.
fn parameters<'a>(
    configured: &'a BTreeMap<String, String>,
    given: &'a [(String, String)],
) -> BTreeMap<Cow<'a, str>, Cow<'a, str>> {
    let mut all: BTreeMap<Cow<'a, str>, Cow<'a, str>> = BTreeMap::new();
    let fixed = configured.get_key_value("max_age");
    let given = given.iter().map(|(name, value)| (name, value));
    // The first value that is there stays: the fixed one, then the visitor's, then the configured.
    for (name, value) in fixed.into_iter().chain(given).chain(configured) {
        if !RESERVED.contains(&name.as_str()) && !name.is_empty() {
            all.entry(Cow::Borrowed(name)).or_insert(Cow::Borrowed(value));
        }
    }
    all
}

/// What a rule wants of the sign-in takes the place of what anybody else said; of two ages the shorter one counts.
///
/// `acr` is asked for by `acr_values` alone: by `claims` too, what the provider does is unspecified (`OpenID` Connect Core 1.0,
/// section 5.5.1.1). `amr` has no parameter of its own, and a provider that knows the person already would not ask for another
/// method, so it has to begin anew (section 3.1.2.1, `prompt`).
fn want(parameters: &mut BTreeMap<Cow<'_, str>, Cow<'_, str>>, wanted: &Wanted, takes_claims: bool) {
    let mut set = |name: &'static str, value: String| {
        parameters.insert(Cow::Borrowed(name), Cow::Owned(value));
    };
    if !wanted.acr.is_empty() {
        set("acr_values", wanted.acr.join(" "));
    }
    if !wanted.amr.is_empty() {
        set("prompt", "login".to_owned());
        if takes_claims {
            let amr = serde_json::json!({"id_token": {"amr": {"essential": true, "values": wanted.amr}}});
            set("claims", amr.to_string());
        }
    }
    if let Some(max_age) = wanted.max_age {
        let configured = parameters.get("max_age").and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        parameters.insert(Cow::Borrowed("max_age"), Cow::Owned(max_age.as_secs().min(configured).to_string()));
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::super::rig::{metadata, settings};
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn query(url: &str) -> Vec<(String, String)> {
        url::Url::parse(url).unwrap().query_pairs().into_owned().collect()
    }

    fn begun(configured: &[(&str, &str)], given: &[(&str, &str)]) -> (Vec<(String, String)>, Pending) {
        let mut settings = settings("https://idp.example");
        settings.authorization_parameters = pairs(configured).into_iter().collect();
        begun_for(&settings, given, Wanted::default(), false)
    }

    fn begun_for(
        settings: &ProviderSettings,
        given: &[(&str, &str)],
        wanted: Wanted,
        takes_claims: bool,
    ) -> (Vec<(String, String)>, Pending) {
        let redirect_uri = "https://app.example/.auth/callback/corp".to_owned();
        let asked = Begin { redirect_uri, parameters: pairs(given), wanted };
        let metadata = Metadata { takes_claims, ..metadata("https://idp.example") };
        let (url, pending) = begin(settings, &metadata, &asked).unwrap();
        assert!(url.starts_with("https://idp.example/authorize?"), "{url}");
        (query(&url), pending)
    }

    #[test]
    fn the_request_has_every_defence_each_time_anew() {
        let (query, pending) = begun(&[], &[]);
        let value = |name: &str| {
            let mut found = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            let first = found.next();
            assert_eq!(found.next(), None, "{name} is there twice");
            first
        };
        assert_eq!(value("response_type"), Some("code"));
        assert_eq!(value("client_id"), Some("app"));
        assert_eq!(value("scope"), Some("openid email"));
        assert_eq!(value("redirect_uri"), Some("https://app.example/.auth/callback/corp"));
        assert_eq!(value("state"), Some(pending.state.as_str()));
        assert_eq!(value("nonce"), Some(pending.nonce.as_str()));
        assert_eq!(value("code_challenge_method"), Some("S256"));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pending.verifier.as_bytes());
        let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
        assert_eq!(value("code_challenge"), Some(challenge.as_str()));
        assert_eq!((pending.state.len(), pending.nonce.len(), pending.verifier.len()), (43, 43, 43));
        let (_, again) = begun(&[], &[]);
        assert!(again.state != pending.state && again.nonce != pending.nonce && again.verifier != pending.verifier);
    }

    #[test]
    fn every_resource_is_named() {
        let mut settings = settings("https://idp.example");
        settings.resources = vec!["https://api.example/a?b=c&d".to_owned(), "urn:x".to_owned()];
        let asked = Begin {
            redirect_uri: "https://app.example/cb".to_owned(),
            parameters: Vec::new(),
            wanted: Wanted::default(),
        };
        let (url, _) = begin(&settings, &metadata("https://idp.example"), &asked).unwrap();
        let query = query(&url);
        let named: Vec<&str> =
            query.iter().filter(|(name, _)| name == "resource").map(|(_, value)| value.as_str()).collect();
        assert_eq!(named, ["https://api.example/a?b=c&d", "urn:x"]);
    }

    #[test]
    fn reserved_parameters_stay_ours() {
        for name in RESERVED {
            let (query, _) = begun(&[(name, "evil")], &[(name, "evil")]);
            assert!(!query.iter().any(|(_, value)| value == "evil"), "{name}");
        }
    }

    #[test]
    fn what_a_rule_wants_is_asked_for_whatever_others_say() {
        let mut settings = settings("https://idp.example");
        settings.authorization_parameters =
            pairs(&[("acr_values", "bronze"), ("max_age", "600")]).into_iter().collect();
        let given = [("acr_values", "tin"), ("max_age", "9999"), ("prompt", "none"), ("claims", "{}")];
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let wanted = |max_age| Wanted {
            acr: list(&["gold", "silver"]),
            amr: list(&["mfa"]),
            max_age: Some(std::time::Duration::from_secs(max_age)),
        };
        for (max_age, expected) in [(60, "60"), (3600, "600"), (0, "0")] {
            let (query, pending) = begun_for(&settings, &given, wanted(max_age), true);
            let of = |name: &str| {
                query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
            };
            assert_eq!(of("acr_values"), ["gold silver"]);
            assert_eq!(of("max_age"), [expected]);
            assert_eq!(of("prompt"), ["login"]);
            assert_eq!(of("claims"), [r#"{"id_token":{"amr":{"essential":true,"values":["mfa"]}}}"#]);
            assert_eq!(pending.wanted, wanted(max_age));
        }
        let (query, _) = begun_for(&settings, &[], wanted(60), false);
        assert!(!query.iter().any(|(name, _)| name == "claims"), "it said not that it takes them");
    }

    #[test]
    fn each_parameter_is_there_once_and_max_age_is_the_operators() {
        let configured = [("prompt", "login"), ("max_age", "60"), ("ui_locales", "de")];
        let (query, _) =
            begun(&configured, &[("prompt", "none"), ("prompt", "x"), ("max_age", "9999"), ("login_hint", "a&b=c")]);
        let of = |name: &str| {
            query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of("prompt"), ["none"]);
        assert_eq!(of("max_age"), ["60"]);
        assert_eq!(of("ui_locales"), ["de"]);
        assert_eq!(of("login_hint"), ["a&b=c"]);
    }
}
