//! Identity presets: how other gateways tell who somebody is, as data in `config/identity/`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::HeaderName;
use serde::Deserialize;

use super::document::{ClaimHeaders, Document, PrincipalList};
use super::shape::{AssertionShape, Further, Named, Said};
use super::template::{Template, TemplateError};
use crate::base::units::parse_duration;
use crate::jose::algorithm::Algorithm;
use crate::jose::signing::Padding;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../config/identity/", $name, ".toml")))),*]
    };
}

/// Every preset: its name and its file.
const FILES: &[(&str, &str)] = files![
    "authelia",
    "authentik",
    "aws-alb",
    "azure-easyauth",
    "caddy-security",
    "cloudflare-access",
    "gatekeeper",
    "google-iap",
    "grafana",
    "mod_auth_openidc",
    "mod_auth_openidc-dashed",
    "oauth2-proxy",
    "pomerium",
    "portcullis",
    "remote-user",
    "traefik",
    "vouch",
];

/// What is protected though no preset sends it.
const OTHERS: &str = include_str!("../../config/identity/others.toml");

/// The preset whose assertion upstreams get that ask for one and whose own preset has none.
const OURS: &str = "portcullis";

static BUILT_IN: LazyLock<Result<Presets, PresetError>> = LazyLock::new(|| Presets::parse(FILES, OTHERS));

/// Every preset, and the names that only the gateway may set.
#[derive(Debug)]
pub struct Presets {
    presets: BTreeMap<String, Preset>,
    protected: Protected,
}

/// One preset: which headers say what.
#[derive(Clone, Debug)]
pub struct Preset {
    /// What stands between the names of a list.
    pub join: String,
    /// Name and template of each header.
    pub headers: Vec<(HeaderName, Template)>,
    /// Headers that are made in a way of their own.
    pub documents: Vec<Document>,
    /// Where an access token goes besides `Authorization`.
    pub access_token: Option<HeaderName>,
    /// Where an ID token goes besides `Authorization`.
    pub id_token: Option<HeaderName>,
    /// Its signed token.
    pub assertion: Option<AssertionShape>,
    /// Paths where its applications look for our public keys.
    pub keys: Vec<(String, KeysForm)>,
}

/// In what form public keys are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeysForm {
    /// A JWK set (RFC 7517, section 5).
    Jwks,
    /// A JSON object: key id → PEM.
    PemById,
    /// A JWK set that has the keys as PEM too.
    JwksAndPem,
}

/// Names of headers that a visitor must not send. Whoever compares folds `_` and `.` into `-` (design, invariant 3).
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// Names, sorted, each once.
    pub names: Vec<HeaderName>,
    /// Beginnings of names, in lower case, sorted, each once: `x-authentik-`.
    pub prefixes: Vec<String>,
}

/// The data of the presets can't be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PresetError {
    /// It is no TOML, or not of this shape.
    #[error("identity preset `{0}`: {1}")]
    Shape(String, String),
    /// A name of a header can't be one.
    #[error("identity presets: `{0}` can't be the name of a header")]
    Name(String),
    /// A template can't be read.
    #[error("identity preset `{preset}`, `{place}`: {cause}")]
    Template {
        /// The preset.
        preset: String,
        /// The header or claim.
        place: String,
        /// What is wrong.
        cause: TemplateError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPreset {
    join: String,
    #[serde(rename = "encoding")]
    _encoding: Encoding,
    headers: BTreeMap<String, String>,
    protect: Vec<String>,
    #[serde(default)]
    json: BTreeMap<String, BTreeMap<String, String>>,
    claims: Option<RawClaims>,
    principal: Option<RawPrincipal>,
    #[serde(default)]
    tokens: RawTokens,
    assertion: Option<RawAssertion>,
    #[serde(default)]
    keys: BTreeMap<String, KeysForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaims {
    prefix: String,
    truth: [String; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrincipal {
    header: String,
    authentication: String,
    name_type: String,
    role_type: String,
    claims: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTokens {
    access_token: Option<String>,
    id_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAssertion {
    header: String,
    always: bool,
    algorithm: Option<String>,
    lifetime: String,
    #[serde(default)]
    padded: bool,
    issuer: String,
    audience: String,
    further: Option<RawFurther>,
    #[serde(default)]
    jose: BTreeMap<String, String>,
    claims: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawFurther {
    Word(AllWord),
    Names(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AllWord {
    All,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOthers {
    protect: Vec<String>,
}

/// How values are written. The data names it, so that another way would be seen there; see [`super::template`], rule 2.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Percent,
}

impl Presets {
    /// The presets that come with the program.
    ///
    /// # Errors
    /// Never in a program whose tests passed: the data is part of it.
    pub fn built_in() -> Result<&'static Self, PresetError> {
        BUILT_IN.as_ref().map_err(PresetError::clone)
    }

    /// The preset of this name.
    pub fn get(&self, name: &str) -> Option<&Preset> {
        self.presets.get(name)
    }

    /// The names of all presets, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.presets.keys().map(String::as_str)
    }

    /// The assertion of upstreams that ask for one and whose own preset has none.
    pub fn our_assertion(&self) -> Option<&AssertionShape> {
        self.get(OURS)?.assertion.as_ref()
    }

    /// The names of headers that only the gateway may set, whichever preset is in use.
    pub const fn protected(&self) -> &Protected {
        &self.protected
    }

    fn parse(files: &[(&str, &str)], others: &str) -> Result<Self, PresetError> {
        let mut protected = Protected::default();
        let mut presets = BTreeMap::new();
        let others: RawOthers =
            toml::from_str(others).map_err(|cause| PresetError::Shape("others".to_owned(), cause.to_string()))?;
        for name in others.protect {
            protected.add(&name)?;
        }
        for (name, text) in files {
            let shape = |cause: String| PresetError::Shape((*name).to_owned(), cause);
            let raw: RawPreset = toml::from_str(text).map_err(|cause| shape(cause.to_string()))?;
            if raw.join.is_empty() {
                return Err(shape("`join` is empty".to_owned()));
            }
            for name in &raw.protect {
                protected.add(name)?;
            }
            let preset = Preset::of(name, raw)?;
            protected.add_all(&preset);
            presets.insert((*name).to_owned(), preset);
        }
        protected.tidy();
        Ok(Self { presets, protected })
    }
}

impl Preset {
    /// Whether it may set this header, in whatever spelling.
    pub fn may_set(&self, name: &HeaderName) -> bool {
        let fold = |name: &str| name.replace(['_', '.'], "-");
        let name = fold(name.as_str());
        let mut names = self.headers.iter().map(|(name, _)| name);
        let mut documents = self.documents.iter();
        names.any(|known| fold(known.as_str()) == name)
            || documents.any(|document| match document {
                Document::Claims(claims) => name.starts_with(&fold(&claims.prefix.to_ascii_lowercase())),
                other => other.name().is_some_and(|known| fold(known.as_str()) == name),
            })
            || self.assertion.as_ref().is_some_and(|assertion| fold(assertion.header.as_str()) == name)
    }

    fn of(preset: &str, raw: RawPreset) -> Result<Self, PresetError> {
        let in_template =
            |place: &str, cause| PresetError::Template { preset: preset.to_owned(), place: place.to_owned(), cause };
        let template = |place: &str, text: &str| Template::parse(text).map_err(|cause| in_template(place, cause));
        let templates = |members: BTreeMap<String, String>| -> Result<Vec<(String, Template)>, PresetError> {
            members.into_iter().map(|(name, text)| Ok((name.clone(), template(&name, &text)?))).collect()
        };
        let mut documents = Vec::new();
        for (header, members) in raw.json {
            documents.push(Document::Json(header_name(&header)?, templates(members)?));
        }
        if let Some(claims) = raw.claims {
            documents.push(Document::Claims(ClaimHeaders { prefix: claims.prefix, truth: claims.truth }));
        }
        if let Some(list) = raw.principal {
            documents.push(Document::Principal(PrincipalList {
                header: header_name(&list.header)?,
                authentication: template("authentication", &list.authentication)?,
                name_type: list.name_type,
                role_type: list.role_type,
                claims: templates(list.claims)?,
            }));
        }
        let headers = raw.headers.into_iter().map(|(name, text)| Ok((header_name(&name)?, template(&name, &text)?)));
        Ok(Self {
            join: raw.join,
            headers: headers.collect::<Result<_, PresetError>>()?,
            documents,
            access_token: raw.tokens.access_token.as_deref().map(header_name).transpose()?,
            id_token: raw.tokens.id_token.as_deref().map(header_name).transpose()?,
            assertion: raw.assertion.map(|raw| assertion(preset, raw)).transpose()?,
            keys: raw.keys.into_iter().collect(),
        })
    }
}

fn assertion(preset: &str, raw: RawAssertion) -> Result<AssertionShape, PresetError> {
    let shape = |what: &str| PresetError::Shape(preset.to_owned(), format!("assertion: `{what}` can't be used"));
    let in_template =
        |place: &str, cause| PresetError::Template { preset: preset.to_owned(), place: place.to_owned(), cause };
    let said = |members: BTreeMap<String, String>| -> Result<Vec<(String, Said)>, PresetError> {
        let members = members.into_iter();
        members
            .map(|(name, text)| Said::parse(&text).map_err(|cause| in_template(&name, cause)).map(|said| (name, said)))
            .collect()
    };
    let named = |place: &str, text: &str| Named::parse(text).map_err(|cause| in_template(place, cause));
    Ok(AssertionShape {
        header: header_name(&raw.header)?,
        always: raw.always,
        algorithm: match raw.algorithm {
            Some(name) => Some(Algorithm::from_name(&name).ok_or_else(|| shape("algorithm"))?),
            None => None,
        },
        lifetime: parse_duration(&raw.lifetime).map_err(|_| shape("lifetime"))?,
        padding: if raw.padded { Padding::Always } else { Padding::Never },
        issuer: named("issuer", &raw.issuer)?,
        audience: named("audience", &raw.audience)?,
        jose: said(raw.jose)?,
        claims: said(raw.claims)?,
        further: match raw.further {
            Some(RawFurther::Word(AllWord::All)) => Further::All,
            Some(RawFurther::Names(listed)) => Further::Listed(listed),
            None => Further::Listed(Vec::new()),
        },
    })
}

impl Protected {
    fn add(&mut self, name: &str) -> Result<(), PresetError> {
        match name.strip_suffix('*') {
            // Fewer letters would take in half of HTTP.
            Some(prefix) if prefix.len() < 4 => Err(PresetError::Name(name.to_owned())),
            Some(prefix) => header_name(prefix).map(|prefix| self.prefixes.push(prefix.as_str().to_owned())),
            None => header_name(name).map(|name| self.names.push(name)),
        }
    }

    /// Everything that a preset may set.
    fn add_all(&mut self, preset: &Preset) {
        self.names.extend(preset.headers.iter().map(|(name, _)| name.clone()));
        self.names.extend(preset.documents.iter().filter_map(|document| document.name().cloned()));
        self.names.extend(preset.access_token.iter().chain(&preset.id_token).cloned());
        self.names.extend(preset.assertion.iter().map(|assertion| assertion.header.clone()));
        for document in &preset.documents {
            if let Document::Claims(claims) = document {
                self.prefixes.push(claims.prefix.to_ascii_lowercase());
            }
        }
    }

    /// Sorts, and leaves each name once.
    pub(super) fn tidy(&mut self) {
        self.names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        self.names.dedup();
        self.prefixes.sort();
        self.prefixes.dedup();
    }
}

fn header_name(text: &str) -> Result<HeaderName, PresetError> {
    HeaderName::try_from(text).map_err(|_| PresetError::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::KNOWN_IDENTITY_PRESETS;
    use crate::http::protected::ProtectedNames;

    #[test]
    fn the_data_that_comes_with_the_program_is_sound() {
        let presets = Presets::built_in().unwrap();
        let names: Vec<_> = presets.names().collect();
        let mut known = KNOWN_IDENTITY_PRESETS;
        known.sort_unstable();
        assert_eq!(names, known);
        let says_something =
            |preset: &Preset| !preset.headers.is_empty() || !preset.documents.is_empty() || preset.assertion.is_some();
        assert!(names.iter().all(|name| says_something(presets.get(name).unwrap())));
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/identity");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len() + 1, "a file that nobody reads");
        assert!(!presets.our_assertion().unwrap().always);
    }

    /// All that any preset may set, under every spelling that an upstream may take for it, in a config that uses none of them.
    #[test]
    fn every_header_of_every_preset_is_protected_in_every_spelling() {
        let presets = Presets::built_in().unwrap();
        let protected = presets.protected().clone();
        let covering = ProtectedNames::new(protected.names, protected.prefixes);
        let mut seen = 0;
        for name in presets.names() {
            let preset = presets.get(name).unwrap();
            let mut headers: Vec<String> = preset.headers.iter().map(|(header, _)| header.to_string()).collect();
            headers.extend(preset.documents.iter().filter_map(|document| document.name().map(ToString::to_string)));
            headers.extend(preset.access_token.iter().chain(&preset.id_token).map(ToString::to_string));
            headers.extend(preset.assertion.iter().map(|assertion| assertion.header.to_string()));
            for document in &preset.documents {
                if let Document::Claims(claims) = document {
                    headers.push(format!("{}anything", claims.prefix));
                }
            }
            for header in headers {
                for spelling in
                    [header.clone(), header.to_uppercase(), header.replace('-', "_"), header.replace(['-', '_'], ".")]
                {
                    seen += 1;
                    let parsed = HeaderName::try_from(spelling.as_str()).unwrap();
                    assert!(covering.covers(&parsed), "{spelling} of {name}");
                }
            }
        }
        assert!(seen > 200, "the check saw only {seen} names");
    }

    #[test]
    fn no_protected_name_is_one_that_every_request_needs() {
        let protected = Presets::built_in().unwrap().protected();
        for needed in
            ["host", "cookie", "authorization", "accept", "content-type", "x-forwarded-for", "x-requested-with"]
        {
            assert!(protected.names.iter().all(|name| name != needed), "{needed}");
            assert!(protected.prefixes.iter().all(|prefix| !needed.starts_with(prefix)), "{needed}");
        }
    }

    #[test]
    fn faulty_data_is_refused() {
        let preset = "join = \",\"\nencoding = \"percent\"\nprotect = []\nheaders = { X-A = \"{sub}\" }\n[assertion]\n\
                      header = \"X-B\"\nalways = true\nlifetime = \"5m\"\nissuer = \"{host}\"\naudience = \"{upstream}\"\n\
                      algorithm = \"ES256\"\nclaims = { sub = \"{sub}\" }";
        let parse = |text: &str| Presets::parse(&[("p", text)], "protect = []");
        assert!(parse(preset).is_ok());
        for (from, to) in [
            ("percent", "raw"),
            ("X-A", "\"X A\""),
            ("\"{sub}\" }\n", "\"{subject}\" }\n"),
            ("join = \",\"", "join = \"\""),
            ("protect = []", "protect = [\"X-*\"]"),
            ("protect", "protects"),
            ("ES256", "HS256"),
            ("5m", "soon"),
            ("{host}", "{hosts}"),
            ("sub = \"{sub}\" }", "sub = \"{session\" }"),
        ] {
            assert!(preset.contains(from) && parse(&preset.replacen(from, to, 1)).is_err(), "{from} → {to}");
        }
    }
}
