//! Reads YAML and JSON text into a layer. JSON is first read strictly; places come from the YAML reader, which JSON fits.

use std::fmt;
use std::ops::Range;

use figment::value::{Dict, Empty, Num, Tag, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::layer::{Layer, Origin, Spot};
use super::node::Step;
use super::report::SyntaxError;

/// The layer that YAML `text` makes; empty when it has a syntax error.
pub(in crate::config) fn read_yaml(name: String, text: String, index: usize) -> (Layer, Vec<SyntaxError>) {
    let mut errors = Vec::new();
    let mut layer = Layer::new(Origin::File { name, text: String::new() }, index);
    let blank = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if !blank {
        match serde_saphyr::from_str::<Spanned<Raw>>(&text) {
            Ok(Spanned { value: Raw::Table(entries), .. }) => {
                layer.values = keep_table(entries, &mut Vec::new(), &text, &mut layer.spots);
            }
            Ok(other) => errors.push(SyntaxError {
                message: "a config is a table of keys".to_owned(),
                span: bytes(&other.referenced, &text),
            }),
            Err(error) => {
                let error = error.without_snippet();
                let span = error.location().map_or(0..0, |location| bytes(&location, &text));
                let message = error.to_string().lines().next().unwrap_or_default().to_owned();
                errors.push(SyntaxError { message, span });
            }
        }
    }
    if let Origin::File { text: kept, .. } = &mut layer.origin {
        *kept = text;
    }
    (layer, errors)
}

/// The layer that JSON `text` makes (RFC 8259); empty when it has a syntax error.
pub(in crate::config) fn read_json(name: String, text: String, index: usize) -> (Layer, Vec<SyntaxError>) {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&text) {
        let start = offset(&text, error.line(), error.column());
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        let layer = Layer::new(Origin::File { name, text }, index);
        return (layer, vec![SyntaxError { message, span: start..start.saturating_add(1) }]);
    }
    read_yaml(name, text, index)
}

/// The byte at a line and column, both counted from one.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)).min(text.len())
}

/// The bytes that a location means.
fn bytes(location: &Location, text: &str) -> Range<usize> {
    let span = location.span();
    let start = span.byte_offset().and_then(|start| usize::try_from(start).ok()).unwrap_or_else(|| {
        let (line, column) = (usize::try_from(location.line()), usize::try_from(location.column()));
        offset(text, line.unwrap_or(1), column.unwrap_or(1))
    });
    let length = span.byte_len().and_then(|length| usize::try_from(length).ok()).unwrap_or(1);
    let end = start.saturating_add(length).min(text.len());
    start.min(end)..end
}

type Spots = std::collections::BTreeMap<Vec<Step>, Spot>;

fn keep_table(
    entries: Vec<(Spanned<String>, Spanned<Raw>)>,
    path: &mut Vec<Step>,
    text: &str,
    spots: &mut Spots,
) -> Dict {
    let mut dict = Dict::new();
    for (key, value) in entries {
        path.push(Step::Key(key.value.clone()));
        let kept = keep(value, Some(bytes(&key.referenced, text)), path, text, spots);
        path.pop();
        dict.insert(key.value, kept);
    }
    dict
}

fn keep(raw: Spanned<Raw>, key: Option<Range<usize>>, path: &mut Vec<Step>, text: &str, spots: &mut Spots) -> Value {
    let span = bytes(&raw.referenced, text);
    let mut spot = Spot { key: key.unwrap_or_else(|| span.clone()), value: span, label: None, odd: None };
    let kept = match raw.value {
        Raw::Text(value) => Value::from(value),
        Raw::Bool(value) => Value::from(value),
        Raw::Integer(value) => Value::from(value),
        Raw::Fraction => Value::Num(Tag::Default, Num::F64(0.0)),
        Raw::Nothing => {
            spot.odd = Some("nothing");
            Value::Empty(Tag::Default, Empty::None)
        }
        Raw::List(items) => {
            let mut values = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                path.push(Step::Index(index));
                values.push(keep(item, None, path, text, spots));
                path.pop();
            }
            Value::from(values)
        }
        Raw::Table(entries) => Value::from(keep_table(entries, path, text, spots)),
    };
    spots.insert(path.clone(), spot);
    kept
}

/// Any YAML value, every part with its place.
enum Raw {
    Text(String),
    Bool(bool),
    Integer(i128),
    Fraction,
    Nothing,
    List(Vec<Spanned<Self>>),
    Table(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Fraction)
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(Raw::Table(table))
    }
}
