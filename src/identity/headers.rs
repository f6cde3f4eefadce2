//! Identity headers of one upstream, compiled from its settings: what it is told about the person.
//!
//! They are set after every protected name was taken out of the request ([`protected_names`]), so an upstream sees the
//! gateway's value or none, never the visitor's (design, invariant 3).

use http::{HeaderName, HeaderValue};

use super::document::Document;
use super::preset::{PresetError, Presets, Protected};
use super::principal::Principal;
use super::template::{Template, TemplateError};
use crate::config::settings::UpstreamSettings;

/// Headers that frame the request, or that the gateway sets from what it knows itself: no template may.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// The identity headers of one upstream.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    join: String,
    headers: Vec<(HeaderName, Template)>,
    documents: Vec<Document>,
}

/// What one upstream is told about one person.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The headers to set; each name once.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How many names of groups, roles or lists could not be written and were left out: worth a warning in the log.
    pub left_out: usize,
}

/// Why an upstream's identity headers can't be compiled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such preset.
    #[error("upstream `{upstream}`: there is no identity preset `{preset}`; there are {known}")]
    Preset {
        /// The upstream.
        upstream: String,
        /// The preset asked for.
        preset: String,
        /// Those that exist.
        known: String,
    },
    /// A template can't be read.
    #[error("upstream `{upstream}`, header `{header}`: {cause}")]
    Template {
        /// The upstream.
        upstream: String,
        /// The header.
        header: HeaderName,
        /// What is wrong.
        cause: TemplateError,
    },
    /// A template is for a header that is not its to set.
    #[error(
        "upstream `{upstream}`: `{header}` can't be set by a template, since the gateway sets or removes it itself; \
         for `authorization` there is `token`"
    )]
    Reserved {
        /// The upstream.
        upstream: String,
        /// The header.
        header: HeaderName,
    },
    /// The presets themselves can't be read.
    #[error(transparent)]
    Presets(#[from] PresetError),
}

impl IdentityHeaders {
    /// The headers of the upstream's preset and its own. An own header takes the place of the preset's of that name,
    /// in whatever spelling.
    ///
    /// # Errors
    /// When the preset is unknown, or an own header is reserved or its template can't be read.
    pub fn compile(upstream: &UpstreamSettings) -> Result<Self, IdentityError> {
        let name = || upstream.name.to_string();
        let presets = Presets::built_in()?;
        let preset = presets.get(&upstream.identity).ok_or_else(|| IdentityError::Preset {
            upstream: name(),
            preset: upstream.identity.clone(),
            known: presets.names().collect::<Vec<_>>().join(", "),
        })?;
        let (mut headers, mut documents) = (preset.headers.clone(), preset.documents.clone());
        for (header, template) in &upstream.headers {
            if RESERVED.contains(&folded(header).as_str()) {
                return Err(IdentityError::Reserved { upstream: name(), header: header.clone() });
            }
            let template = Template::parse(template).map_err(|cause| IdentityError::Template {
                upstream: name(),
                header: header.clone(),
                cause,
            })?;
            headers.retain(|(known, _)| folded(known) != folded(header));
            documents.retain(|known| known.name().is_none_or(|known| folded(known) != folded(header)));
            headers.push((header.clone(), template));
        }
        Ok(Self { join: preset.join.clone(), headers, documents })
    }

    /// Names that templates may set. Those that are made of whole claims are not known beforehand.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|(name, _)| name)
    }

    /// What the upstream is told about `principal`. A claim that is missing, or can't be written, gives no header.
    pub fn render(&self, principal: &Principal) -> Rendered {
        let mut rendered = Rendered::default();
        for (name, template) in &self.headers {
            let Some(written) = template.write(principal, &self.join) else { continue };
            let Ok(value) = HeaderValue::try_from(written.value) else { continue };
            rendered.left_out += written.left_out;
            rendered.headers.push((name.clone(), value));
        }
        let own = rendered.headers.len();
        for document in &self.documents {
            document.render(principal, &self.join, &mut rendered);
        }
        // A header for each claim may meet one that the config sets itself, which wins.
        let (set, made) = rendered.headers.split_at(own);
        if made.iter().any(|(name, _)| set.iter().any(|(known, _)| folded(known) == folded(name))) {
            let set: Vec<String> = set.iter().map(|(name, _)| folded(name)).collect();
            let mut index = 0;
            rendered.headers.retain(|(name, _)| {
                index += 1;
                index <= own || !set.contains(&folded(name))
            });
        }
        rendered
    }
}

/// Every name that a visitor must not send: those of all presets, in use or not, and those of the config's own headers.
///
/// # Errors
/// When the data of the presets can't be read.
pub fn protected_names(upstreams: &[UpstreamSettings]) -> Result<Protected, PresetError> {
    let mut protected = Presets::built_in()?.protected().clone();
    protected.names.extend(upstreams.iter().flat_map(|upstream| upstream.headers.iter().map(|(name, _)| name.clone())));
    protected.tidy();
    Ok(protected)
}

/// A name as an upstream may read it: with `_` and `.` taken for `-`.
fn folded(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::settings::{TokenSettings, UpstreamKind};
    use crate::identity::template::tests::person;

    fn upstream(identity: &str, headers: &[(&str, &str)]) -> UpstreamSettings {
        UpstreamSettings {
            name: "app".into(),
            kind: UpstreamKind::Files("/srv/www".into()),
            identity: identity.to_owned(),
            headers: headers
                .iter()
                .map(|(name, template)| (HeaderName::try_from(*name).unwrap(), (*template).to_owned()))
                .collect(),
            token: TokenSettings::None,
            assertion: None,
        }
    }

    fn rendered(identity: &str, headers: &[(&str, &str)], principal: &Principal) -> BTreeMap<String, String> {
        let compiled = IdentityHeaders::compile(&upstream(identity, headers)).unwrap();
        let list = compiled.render(principal).headers;
        let map: BTreeMap<_, _> =
            list.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        assert_eq!(map.len(), list.len(), "a name came twice");
        map
    }

    fn expect(identity: &str, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(rendered(identity, &[], &person()), expected, "{identity}");
    }

    #[test]
    fn every_preset_says_what_its_applications_know() {
        let forwarded = [
            ("x-forwarded-user", "1234"),
            ("x-forwarded-email", "alice@example.com"),
            ("x-forwarded-preferred-username", "alice"),
            ("x-forwarded-groups", "staff,dev ops"),
        ];
        expect("oauth2-proxy", &forwarded);
        expect("portcullis", &[&forwarded[..], &[("x-forwarded-roles", "admin,user")]].concat());
        expect(
            "authelia",
            &[
                ("remote-user", "alice"),
                ("remote-groups", "staff,dev ops"),
                ("remote-name", "Alice Liddell"),
                ("remote-email", "alice@example.com"),
            ],
        );
        expect(
            "authentik",
            &[
                ("x-authentik-username", "alice"),
                ("x-authentik-groups", "staff|dev ops"),
                ("x-authentik-entitlements", "admin|user"),
                ("x-authentik-email", "alice@example.com"),
                ("x-authentik-name", "Alice Liddell"),
                ("x-authentik-uid", "1234"),
            ],
        );
        expect(
            "gatekeeper",
            &[
                ("x-auth-subject", "1234"),
                ("x-auth-userid", "alice"),
                ("x-auth-username", "alice"),
                ("x-auth-email", "alice@example.com"),
                ("x-auth-groups", "staff,dev ops"),
                ("x-auth-roles", "admin,user"),
            ],
        );
        expect(
            "caddy-security",
            &[
                ("x-token-subject", "1234"),
                ("x-token-user-name", "Alice Liddell"),
                ("x-token-user-email", "alice@example.com"),
                ("x-token-user-roles", "admin user"),
            ],
        );
        expect("remote-user", &[("remote-user", "alice")]);
        expect(
            "grafana",
            &[
                ("x-webauth-user", "alice"),
                ("x-webauth-email", "alice@example.com"),
                ("x-webauth-name", "Alice Liddell"),
                ("x-webauth-groups", "staff,dev ops"),
            ],
        );
        expect("vouch", &[("x-vouch-user", "alice@example.com"), ("x-vouch-success", "true")]);
    }

    #[test]
    fn what_is_not_known_gives_no_header() {
        let mut person = person();
        person.email = None;
        person.preferred_username = Some(String::new());
        person.groups.clear();
        person.roles.clear();
        let headers = rendered("portcullis", &[("X-Team", "{claims.nothing}")], &person);
        assert_eq!(headers.into_keys().collect::<Vec<_>>(), ["x-forwarded-user"]);
    }

    #[test]
    fn a_claim_cannot_split_a_header() {
        for evil in ["a\r\nX-Forwarded-Roles: admin", "a\nb", "a\0", "a\u{7f}", "a\tb", "a\u{85}b"] {
            let mut person = person();
            person.preferred_username = Some(evil.to_owned());
            let headers = rendered("portcullis", &[], &person);
            assert_eq!(headers.get("x-forwarded-preferred-username"), None, "{evil:?}");
            assert_eq!(headers["x-forwarded-roles"], "admin,user");
        }
    }

    #[test]
    fn names_left_out_are_counted() {
        let mut person = person();
        person.groups = vec!["a,admin".to_owned(), "b\r\n".to_owned(), "c".to_owned(), String::new()];
        let rendered = IdentityHeaders::compile(&upstream("oauth2-proxy", &[])).unwrap().render(&person);
        assert_eq!(rendered.left_out, 3);
        let groups = rendered.headers.iter().find(|(name, _)| name == "x-forwarded-groups").unwrap();
        assert_eq!(groups.1, "c");
    }

    #[test]
    fn a_value_of_64_kib_gives_no_header() {
        let mut person = person();
        person.name = Some("x".repeat(64 * 1024));
        assert!(!rendered("authelia", &[], &person).contains_key("remote-name"));
    }

    #[test]
    fn an_unverified_address_is_nobodys_name() {
        let mut person = person();
        person.email_verified = false;
        assert!(!rendered("vouch", &[], &person).contains_key("x-vouch-user"));
        assert_eq!(rendered("portcullis", &[], &person)["x-forwarded-email"], "alice@example.com");
    }

    #[test]
    fn own_headers_join_the_presets_and_win_over_them_in_every_spelling() {
        let headers =
            rendered("portcullis", &[("X-Team", "team-{claims.team}"), ("X_Forwarded.User", "{email}")], &person());
        assert_eq!(headers["x-team"], "team-red");
        assert_eq!(headers["x_forwarded.user"], "alice@example.com");
        assert!(!headers.contains_key("x-forwarded-user"));
    }

    #[test]
    fn what_frames_a_request_is_no_templates_to_set() {
        for name in ["Host", "Authorization", "Cookie", "Transfer-Encoding", "X_Forwarded_For"] {
            let problem = IdentityHeaders::compile(&upstream("portcullis", &[(name, "x")])).unwrap_err();
            assert!(matches!(problem, IdentityError::Reserved { .. }), "{problem}");
        }
        let problem = IdentityHeaders::compile(&upstream("nope", &[])).unwrap_err().to_string();
        assert!(problem.contains("`nope`") && problem.contains("oauth2-proxy"), "{problem}");
    }

    #[test]
    fn the_configs_own_names_are_protected_too() {
        let protected = protected_names(&[upstream("remote-user", &[("X-Team", "{claims.team}")])]).unwrap();
        for name in ["x-team", "x-forwarded-user", "x-auth-user", "remote-groups", "x-vouch-user"] {
            assert!(protected.names.iter().any(|known| known == name), "{name}");
        }
    }
}
