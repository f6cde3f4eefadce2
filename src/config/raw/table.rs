//! One table being read: asks for each key by name, notes what is wrong and goes on, and at its end knows which keys
//! nobody asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::convert;
use super::node::{Content, Node, Place, Step};
use super::report::{Report, Unknown, Wrong, nearest, printable};
use crate::base::units::{parse_duration, parse_size};

/// One table being read. Dropping it reports the keys that were not asked for.
pub(in crate::config) struct Table<'r> {
    entries: BTreeMap<String, Node>,
    place: Place,
    pattern: String,
    title: String,
    asked: RefCell<Vec<&'static str>>,
    report: &'r Report,
    usable: bool,
}

/// A value with the place it came from.
pub(in crate::config) struct Placed<T> {
    /// The value.
    pub(in crate::config) value: T,
    /// Its place.
    pub(in crate::config) place: Place,
}

impl<'r> Table<'r> {
    /// Reads `node` as a table. `title` is what people call it, `pattern` its key in the list of all keys. When it is
    /// no table, that is reported and it reads as empty.
    pub(in crate::config) fn new(node: &Node, title: String, pattern: String, report: &'r Report) -> Self {
        let place = node.place.clone();
        let mut table =
            Self { entries: BTreeMap::new(), place, pattern, title, asked: RefCell::default(), report, usable: true };
        match convert::expand(node) {
            Ok(Node { content: Content::Table(entries), .. }) => table.entries = entries,
            Ok(other) => {
                report.hide(table.place.clone());
                let wrong = convert::kind_error(table.place.name(), "a table", &other.content);
                report.error(table.place.clone(), wrong);
                table.usable = false;
            }
            Err(wrong) => {
                report.error(table.place.clone(), wrong);
                table.usable = false;
            }
        }
        table
    }

    /// Where it collects what is wrong.
    pub(in crate::config) const fn report(&self) -> &'r Report {
        self.report
    }

    /// The node of `key`; asking makes the key a known one.
    pub(in crate::config) fn node(&self, key: &'static str) -> Option<&Node> {
        self.asked.borrow_mut().push(key);
        self.report.know(if self.pattern.is_empty() { key.to_owned() } else { format!("{}.{key}", self.pattern) });
        self.entries.get(key)
    }

    /// The place of `key`, or of the table when it is not there.
    pub(in crate::config) fn place(&self, key: &str) -> Place {
        self.entries.get(key).map_or_else(|| self.place.of_key(), |node| node.place.clone())
    }

    /// Whether `key` is there at all.
    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A mistake in the value of `key`.
    pub(in crate::config) fn error(&self, key: &str, wrong: Wrong) {
        self.report.error(self.place(key), wrong);
    }

    /// Reports that `key` must be given, unless the table itself could not be read, or holds a misspelling of it, which
    /// is a mistake already.
    pub(in crate::config) fn missing(&self, key: &str, fix: &str) {
        let misspelt = self.entries.keys().any(|given| nearest(given, std::iter::once(key)).is_some());
        if self.usable && !misspelt {
            let wrong = Wrong::new(format!("`{key}` is missing")).note(format!("add {fix}"));
            self.report.absence(within(&self.place, key).of_key(), wrong);
        }
    }

    /// A text, parsed by `parse`. `expected` says what it should be: `a duration such as "8h"`.
    pub(in crate::config) fn parse<T>(
        &self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let parsed = convert::text(node, key, expected).and_then(parse);
        parsed.map_err(|wrong| self.report.error(node.place.clone(), wrong)).ok()
    }

    /// A text that must not be empty.
    pub(in crate::config) fn text(&self, key: &'static str, expected: &str) -> Option<String> {
        self.parse(key, expected, |text| {
            if text.trim().is_empty() {
                return Err(Wrong::new(format!("`{key}` is empty")).note(format!("write {expected}")));
            }
            if text.chars().any(char::is_control) {
                return Err(Wrong::new(format!("`{key}` holds a control character")));
            }
            Ok(text.to_owned())
        })
    }

    /// A duration within `bounds`, given as texts so that they can be shown.
    pub(in crate::config) fn duration(&self, key: &'static str, default: &str, bounds: (&str, &str)) -> Duration {
        let given = self.parse(key, "a duration such as \"30s\" or \"8h\"", |text| {
            let value = parse_duration(text).map_err(Wrong::from)?;
            let within = |bound: &str| parse_duration(bound).unwrap_or_default();
            if value < within(bounds.0) || value > within(bounds.1) {
                return Err(Wrong::new(format!("`{key}` is out of bounds"))
                    .note(format!("allowed: \"{}\" to \"{}\"", bounds.0, bounds.1)));
            }
            Ok(value)
        });
        given.unwrap_or_else(|| parse_duration(default).unwrap_or_default())
    }

    /// A size in bytes within `bounds`.
    pub(in crate::config) fn size(&self, key: &'static str, bounds: (&str, &str)) -> Option<u64> {
        self.parse(key, "a size such as \"64KiB\"", |text| {
            let value = parse_size(text).map_err(Wrong::from)?;
            let within = |bound: &str| parse_size(bound).unwrap_or_default();
            if value < within(bounds.0) || value > within(bounds.1) {
                return Err(Wrong::new(format!("`{key}` is out of bounds"))
                    .note(format!("allowed: \"{}\" to \"{}\"", bounds.0, bounds.1)));
            }
            Ok(value)
        })
    }

    /// A whole number within `bounds`.
    pub(in crate::config) fn whole(&self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let node = self.node(key)?;
        let allowed = format!("allowed: {} to {}", bounds.start(), bounds.end());
        let checked = convert::whole(node, key).and_then(|number| {
            let within = u32::try_from(number).ok().filter(|number| bounds.contains(number));
            within.ok_or_else(|| Wrong::new(format!("`{key}` is out of bounds")))
        });
        let checked = checked.map_err(|wrong| wrong.note(allowed));
        checked.map_err(|wrong| self.report.error(node.place.clone(), wrong)).ok()
    }

    /// `true` or `false`.
    pub(in crate::config) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(node) = self.node(key) else { return default };
        convert::flag(node, key).map_err(|wrong| self.report.error(node.place.clone(), wrong)).unwrap_or(default)
    }

    /// One of several words.
    pub(in crate::config) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let names = names.join(", ");
        self.parse(key, &format!("one of {names}"), |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let mut wrong = Wrong::new(format!("`{}` is no value of `{key}`", printable(text)));
                if let Some(near) = nearest(text, words.iter().map(|(word, _)| *word)) {
                    wrong = wrong.note(format!("did you mean \"{near}\"?"));
                }
                wrong.note(format!("allowed: {names}"))
            })
        })
    }

    /// The items of a list. `expected` says what it should be: `a list of scopes`.
    pub(in crate::config) fn items(&self, key: &'static str, expected: &str) -> Option<Vec<Node>> {
        let node = self.node(key)?;
        convert::list(node, key, expected).map_err(|wrong| self.report.error(node.place.clone(), wrong)).ok()
    }

    /// A list of texts, each parsed by `parse`. The bad ones are reported and left out.
    pub(in crate::config) fn each<T>(
        &self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<Placed<T>>> {
        let mut values = Vec::new();
        for item in self.items(key, expected)? {
            match convert::text(&item, key, expected).and_then(&parse) {
                Ok(value) => values.push(Placed { value, place: item.place }),
                Err(wrong) => self.report.error(item.place, wrong),
            }
        }
        Some(values)
    }

    /// The table at `key`; empty when it is not there.
    pub(in crate::config) fn table(&self, key: &'static str) -> Self {
        let empty = Node { content: Content::Table(BTreeMap::new()), place: self.place.clone(), loose: false };
        let node = self.node(key).cloned().unwrap_or(empty);
        let pattern = if self.pattern.is_empty() { key.to_owned() } else { format!("{}.{key}", self.pattern) };
        Self::new(&node, format!("[{key}]"), pattern, self.report)
    }

    /// The table at `key`, which the list of all keys calls `pattern`.
    pub(in crate::config) fn table_as(&self, key: &'static str, pattern: &str) -> Self {
        let empty = Node { content: Content::Table(BTreeMap::new()), place: self.place.clone(), loose: false };
        let node = self.node(key).cloned().unwrap_or(empty);
        Self::new(&node, format!("`{key}`"), pattern.to_owned(), self.report)
    }

    /// Its own place.
    pub(in crate::config) fn here(&self) -> Place {
        self.place.clone()
    }

    /// The entries of a table whose keys are names of the operator's own.
    pub(in crate::config) fn named(&self, key: &'static str) -> Vec<(String, Node)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        match convert::expand(node) {
            Ok(Node { content: Content::Table(entries), .. }) => entries.into_iter().collect(),
            Ok(other) => {
                self.report.hide(node.place.clone());
                self.report.error(node.place.clone(), convert::kind_error(key, "a table", &other.content));
                Vec::new()
            }
            Err(wrong) => {
                self.report.error(node.place.clone(), wrong);
                Vec::new()
            }
        }
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let mut allowed = self.asked.take();
        allowed.sort_unstable();
        allowed.dedup();
        for (key, node) in &self.entries {
            if !allowed.contains(&key.as_str()) {
                self.report.unknown(Unknown {
                    place: node.place.clone(),
                    key: key.clone(),
                    title: self.title.clone(),
                    allowed: allowed.clone(),
                });
            }
        }
    }
}

/// The place of an entry inside `place`.
pub(in crate::config) fn within(place: &Place, key: &str) -> Place {
    let mut place = place.clone();
    place.path.push(Step::Key(key.to_owned()));
    place
}
