//! Provider presets: what is usual at each kind of provider. They are data, in `config/providers/`, not code.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::settings::UserInfo;

/// Every preset: its name and its file.
const FILES: [(&str, &str); 10] = [
    ("oidc", include_str!("../../../config/providers/oidc.toml")),
    ("auth0", include_str!("../../../config/providers/auth0.toml")),
    ("authentik", include_str!("../../../config/providers/authentik.toml")),
    ("dex", include_str!("../../../config/providers/dex.toml")),
    ("entra", include_str!("../../../config/providers/entra.toml")),
    ("gitlab", include_str!("../../../config/providers/gitlab.toml")),
    ("google", include_str!("../../../config/providers/google.toml")),
    ("keycloak", include_str!("../../../config/providers/keycloak.toml")),
    ("okta", include_str!("../../../config/providers/okta.toml")),
    ("zitadel", include_str!("../../../config/providers/zitadel.toml")),
];

/// What is usual at one kind of provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Preset {
    /// What people read on the sign-in page when the config has no label.
    pub(super) label: Option<String>,
    /// The issuer, where there is only one.
    pub(super) issuer: Option<String>,
    /// What an issuer looks like, for messages.
    pub(super) issuer_example: String,
    /// Scopes that are asked for.
    pub(super) scopes: Vec<String>,
    /// When `UserInfo` is asked.
    pub(super) userinfo: UserInfoWord,
    /// Where the groups stand.
    #[serde(default)]
    pub(super) groups_claim: Option<ClaimPath>,
    /// Where the roles stand.
    #[serde(default)]
    pub(super) roles_claims: Vec<ClaimPath>,
    /// Further parameters for the authorization request.
    #[serde(default)]
    pub(super) authorization_parameters: BTreeMap<String, String>,
    /// Whether tokens are given back at a sign-out.
    #[serde(default = "yes")]
    pub(super) revoke_tokens: bool,
}

const fn yes() -> bool {
    true
}

/// When `UserInfo` is asked, in a preset's words.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum UserInfoWord {
    /// `always`
    Always,
    /// `if-missing`
    IfMissing,
    /// `never`
    Never,
}

impl From<UserInfoWord> for UserInfo {
    fn from(word: UserInfoWord) -> Self {
        match word {
            UserInfoWord::Always => Self::Always,
            UserInfoWord::IfMissing => Self::IfMissing,
            UserInfoWord::Never => Self::Never,
        }
    }
}

/// Where a claim stands: one text with dots between the levels, or a list of names as they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ClaimPath {
    /// `realm_access.roles`
    Dotted(String),
    /// `["https://app.example.com/roles"]`
    Names(Vec<String>),
}

impl ClaimPath {
    /// The names from the outside in. A name with `://` is a namespaced claim, whose dots are part of it.
    pub(super) fn names(&self, client_id: &str) -> Vec<String> {
        let names: Vec<String> = match self {
            Self::Dotted(text) if text.contains("://") => vec![text.clone()],
            Self::Dotted(text) => text.split('.').map(str::to_owned).collect(),
            Self::Names(names) => names.clone(),
        };
        names.into_iter().map(|name| name.replace("{client_id}", client_id)).collect()
    }
}

/// The names of all presets.
pub(super) fn names() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

/// The preset of that name. An embedded file that can't be read counts as none; a test reads them all.
pub(super) fn find(name: &str) -> Option<Preset> {
    let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
    toml::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_reads_and_every_file_is_a_preset() {
        for name in names() {
            let preset = find(name).unwrap_or_else(|| panic!("{name} does not read"));
            assert!(preset.scopes.contains(&"openid".to_owned()), "{name}");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len());
    }

    #[test]
    fn keycloak_has_the_roles_of_the_realm_and_of_the_client() {
        let preset = find("keycloak").unwrap();
        let roles: Vec<Vec<String>> = preset.roles_claims.iter().map(|claim| claim.names("my.app")).collect();
        assert_eq!(roles, [vec!["realm_access", "roles"], vec!["resource_access", "my.app", "roles"]]);
    }

    #[test]
    fn the_dots_of_a_namespaced_claim_are_its_own() {
        let claim = ClaimPath::Dotted("https://app.example.com/roles".to_owned());
        assert_eq!(claim.names("x"), ["https://app.example.com/roles"]);
    }
}
