//! Identity presets: the header names of other gateways, as data in `config/identity-presets.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::HeaderName;
use serde::Deserialize;

use super::template::{Template, TemplateError};

const DATA: &str = include_str!("../../config/identity-presets.toml");

static BUILT_IN: LazyLock<Result<Presets, PresetError>> = LazyLock::new(|| Presets::parse(DATA));

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
    #[error("identity presets: {0}")]
    Shape(String),
    /// A name of a header can't be one.
    #[error("identity presets: `{0}` can't be the name of a header")]
    Name(String),
    /// A template can't be read.
    #[error("identity preset `{preset}`, header `{header}`: {cause}")]
    Template {
        /// The preset.
        preset: String,
        /// The header.
        header: String,
        /// What is wrong.
        cause: TemplateError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPresets {
    presets: BTreeMap<String, RawPreset>,
    others: RawOthers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPreset {
    join: String,
    #[serde(rename = "encoding")]
    _encoding: Encoding,
    headers: BTreeMap<String, String>,
    protect: Vec<String>,
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

    /// The names of headers that only the gateway may set, whichever preset is in use.
    pub const fn protected(&self) -> &Protected {
        &self.protected
    }

    fn parse(text: &str) -> Result<Self, PresetError> {
        let raw: RawPresets = toml::from_str(text).map_err(|cause| PresetError::Shape(cause.to_string()))?;
        let mut protected = Protected::default();
        let mut presets = BTreeMap::new();
        for name in raw.others.protect {
            protected.add(&name)?;
        }
        for (name, raw) in raw.presets {
            let mut headers = Vec::new();
            for (header, template) in raw.headers {
                protected.add(&header)?;
                let template = Template::parse(&template).map_err(|cause| PresetError::Template {
                    preset: name.clone(),
                    header: header.clone(),
                    cause,
                })?;
                headers.push((header_name(&header)?, template));
            }
            for name in raw.protect {
                protected.add(&name)?;
            }
            if raw.join.is_empty() {
                return Err(PresetError::Shape(format!("`join` of `{name}` is empty")));
            }
            presets.insert(name, Preset { join: raw.join, headers });
        }
        protected.tidy();
        Ok(Self { presets, protected })
    }
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

    #[test]
    fn the_data_that_comes_with_the_program_is_sound() {
        let presets = Presets::built_in().unwrap();
        let names: Vec<_> = presets.names().collect();
        let expected = [
            "authelia",
            "authentik",
            "caddy-security",
            "gatekeeper",
            "grafana",
            "oauth2-proxy",
            "portcullis",
            "remote-user",
            "vouch",
        ];
        assert_eq!(names, expected);
        assert!(presets.names().all(|name| !presets.get(name).unwrap().headers.is_empty()));
    }

    #[test]
    fn every_header_of_every_preset_is_protected() {
        let presets = Presets::built_in().unwrap();
        let mut seen = 0;
        for name in presets.names() {
            for (header, _) in &presets.get(name).unwrap().headers {
                seen += 1;
                assert!(presets.protected().names.contains(header), "{header} of {name}");
            }
        }
        assert!(seen > 30, "the check saw only {seen} headers");
        assert!(presets.protected().prefixes.contains(&"x-authentik-".to_owned()));
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
        let with = |line: &str| format!("{line}\n[others]\nprotect = []\n");
        let preset = "[presets.p]\njoin = \",\"\nencoding = \"percent\"\nprotect = []\nheaders = { X-A = \"{sub}\" }";
        assert!(Presets::parse(&with(preset)).is_ok());
        for (from, to) in [
            ("percent", "raw"),
            ("X-A", "\"X A\""),
            ("{sub}", "{subject}"),
            ("join = \",\"", "join = \"\""),
            ("protect = []", "protect = [\"X-*\"]"),
            ("protect", "protects"),
        ] {
            assert!(Presets::parse(&with(&preset.replacen(from, to, 1))).is_err(), "{from} → {to}");
        }
    }
}
