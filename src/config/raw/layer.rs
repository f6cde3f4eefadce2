//! One source of the config as figment takes it, with a map from each value back to its place in the text.

use std::collections::BTreeMap;
use std::ops::Range;

use figment::value::{Dict, Map};
use figment::{Metadata, Profile, Provider};

use super::node::{Part, Place, Step};

/// Where a layer comes from.
pub(in crate::config) enum Origin {
    /// A file, by its name as given, with its text.
    File {
        /// The name as given.
        name: String,
        /// All of it.
        text: String,
    },
    /// The environment.
    Environment,
    /// The command line.
    CommandLine,
}

/// Where one entry stands in its source.
#[derive(Clone, Default)]
pub(in crate::config) struct Spot {
    /// Bytes of the name.
    pub(in crate::config) key: Range<usize>,
    /// Bytes of the value.
    pub(in crate::config) value: Range<usize>,
    /// The variable or argument that gave it, where there is no text.
    pub(in crate::config) label: Option<String>,
    /// What an odd value is called.
    pub(in crate::config) odd: Option<&'static str>,
}

/// One source of the config.
pub(in crate::config) struct Layer {
    /// Where it comes from.
    pub(in crate::config) origin: Origin,
    /// Its place in the order: later ones win.
    pub(in crate::config) index: usize,
    /// What it says.
    pub(in crate::config) values: Dict,
    /// Where it says so.
    pub(in crate::config) spots: BTreeMap<Vec<Step>, Spot>,
    /// Bytes that are never shown, since they may be a secret.
    pub(in crate::config) hidden: Vec<Range<usize>>,
}

impl Layer {
    /// An empty layer.
    pub(in crate::config) const fn new(origin: Origin, index: usize) -> Self {
        Self { origin, index, values: Dict::new(), spots: BTreeMap::new(), hidden: Vec::new() }
    }

    /// Whether this source knows text only.
    pub(in crate::config) const fn is_loose(&self) -> bool {
        !matches!(self.origin, Origin::File { .. })
    }

    /// The spot of `path`, or of the nearest thing around it.
    pub(in crate::config) fn spot(&self, path: &[Step]) -> Option<&Spot> {
        let mut path = path;
        loop {
            if let Some(spot) = self.spots.get(path) {
                return Some(spot);
            }
            (_, path) = path.split_last()?;
        }
    }

    /// The bytes that `place` means in this layer's text.
    pub(in crate::config) fn span(&self, place: &Place) -> Option<Range<usize>> {
        let exact = self.spots.contains_key(&place.path);
        let spot = self.spot(&place.path)?;
        Some(if exact && place.part == Part::Value { spot.value.clone() } else { spot.key.clone() })
    }

    /// Keeps the value of `path` from being shown.
    pub(in crate::config) fn hide(&mut self, path: &[Step]) {
        if let Some(spot) = self.spots.get(path) {
            self.hidden.push(spot.value.clone());
        }
    }
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.index.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}
