//! A value of the merged config, and the place it came from.

use std::collections::BTreeMap;

/// One step from a table or list to what is inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// What of an entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) enum Part {
    /// Its name.
    Key,
    /// Its value.
    Value,
}

/// Where something stands: in which layer, and how to get there from the root. Lines and columns are looked up when a
/// problem is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Place {
    /// Index of the layer; none when the value is in no source, such as a missing key of the root.
    pub(in crate::config) layer: Option<usize>,
    /// The way from the root.
    pub(in crate::config) path: Vec<Step>,
    /// Name or value.
    pub(in crate::config) part: Part,
}

impl Place {
    /// The place of the name of this entry.
    pub(in crate::config) fn of_key(&self) -> Self {
        Self { part: Part::Key, ..self.clone() }
    }

    /// The name of the entry, or of the list that it is in.
    pub(in crate::config) fn name(&self) -> &str {
        let names = self.path.iter().rev().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        names.into_iter().next().unwrap_or_default()
    }
}

/// A value with its place.
#[derive(Clone)]
pub(in crate::config) struct Node {
    /// What it is.
    pub(in crate::config) content: Content,
    /// Where it is.
    pub(in crate::config) place: Place,
    /// Whether its source knows text only (environment, command line), so that text may stand for a number or a list.
    pub(in crate::config) loose: bool,
}

/// What a value is.
#[derive(Clone)]
pub(in crate::config) enum Content {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i128),
    /// True or false.
    Bool(bool),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
    /// What no key takes: null, a fraction, a date. Says which.
    Odd(&'static str),
}

impl Content {
    /// What people call this kind of value.
    pub(in crate::config) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Odd(kind) => kind,
        }
    }
}
