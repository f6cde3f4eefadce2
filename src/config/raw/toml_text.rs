//! Reads TOML text into a layer, with every syntax error and the span of every key and value.

use std::ops::Range;

use figment::value::{Dict, Empty, Num, Tag, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layer::{Layer, Origin, Spot};
use super::node::Step;
use super::report::SyntaxError;

/// The layer that `text` makes, as far as it can be understood, and what can't.
pub(in crate::config) fn read(name: String, text: String, index: usize) -> (Layer, Vec<SyntaxError>) {
    let (table, errors) = DeTable::parse_recoverable(&text);
    let errors = errors
        .into_iter()
        .map(|error| SyntaxError { message: error.message().to_owned(), span: error.span().unwrap_or(0..0) })
        .collect();
    let mut spots = std::collections::BTreeMap::new();
    let values = read_table(table.get_ref(), &mut Vec::new(), &mut spots);
    let mut layer = Layer::new(Origin::File { name, text: String::new() }, index);
    layer.values = values;
    layer.spots = spots;
    if let Origin::File { text: kept, .. } = &mut layer.origin {
        *kept = text;
    }
    (layer, errors)
}

type Spots = std::collections::BTreeMap<Vec<Step>, Spot>;

fn read_table(table: &DeTable<'_>, path: &mut Vec<Step>, spots: &mut Spots) -> Dict {
    let mut dict = Dict::new();
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        let read = read_value(value, key.span(), path, spots);
        path.pop();
        dict.insert(key.get_ref().to_string(), read);
    }
    dict
}

fn read_value(value: &Spanned<DeValue<'_>>, key: Range<usize>, path: &mut Vec<Step>, spots: &mut Spots) -> Value {
    let mut spot = Spot { key, value: value.span(), label: None, odd: None };
    let read = match value.get_ref() {
        DeValue::String(text) => Value::from(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or_else(
            |_| {
                spot.odd = Some("a number that is too large");
                Value::Empty(Tag::Default, Empty::Unit)
            },
            Value::from,
        ),
        DeValue::Float(_) => Value::Num(Tag::Default, Num::F64(0.0)),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(_) => {
            spot.odd = Some("a date or time");
            Value::Empty(Tag::Default, Empty::Unit)
        }
        DeValue::Array(items) => {
            let mut values = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                values.push(read_value(item, item.span(), path, spots));
                path.pop();
            }
            Value::from(values)
        }
        DeValue::Table(table) => Value::from(read_table(table, path, spots)),
    };
    spots.insert(path.clone(), spot);
    read
}
