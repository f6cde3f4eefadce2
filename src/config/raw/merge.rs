//! Merges the layers with figment, and gives every merged value its place again.

use std::collections::BTreeMap;

use figment::Figment;
use figment::value::{Num, Value};

use super::layer::Layer;
use super::node::{Content, Node, Part, Place, Step};

/// The tree of all layers: tables are merged key by key, everything else is replaced by the later layer.
pub(in crate::config) fn merge(layers: &[Layer]) -> Node {
    let figment = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer));
    let root = figment.find_value("").unwrap_or_else(|_| Value::from(figment::value::Dict::new()));
    place(&figment, layers, &root, &mut Vec::new())
}

fn place(figment: &Figment, layers: &[Layer], value: &Value, path: &mut Vec<Step>) -> Node {
    let speaks = |layer: &&Layer| layer.spots.contains_key(path.as_slice());
    let layer = if matches!(value, Value::Dict(..)) {
        // A merged table carries one tag though several layers speak of it; what it lacks is best added to the first.
        layers.iter().find(speaks)
    } else {
        let index = figment.get_metadata(value.tag()).and_then(|metadata| metadata.name.parse::<usize>().ok());
        index.and_then(|index| layers.get(index)).filter(speaks).or_else(|| layers.iter().rev().find(speaks))
    };
    let layer = layer.map(|layer| layer.index);
    let spot = layer.and_then(|index| layers.get(index)).and_then(|layer| layer.spots.get(path.as_slice()));
    let content = match value {
        Value::String(_, text) => Content::Text(text.clone()),
        Value::Char(_, letter) => Content::Text(letter.to_string()),
        Value::Bool(_, flag) => Content::Bool(*flag),
        Value::Num(_, Num::F32(_) | Num::F64(_)) => Content::Odd("a fraction"),
        Value::Num(_, number) => number.to_i128().map_or(Content::Odd("a number that is too large"), Content::Integer),
        Value::Empty(..) => Content::Odd(spot.and_then(|spot| spot.odd).unwrap_or("nothing")),
        Value::Array(_, items) => {
            let mut nodes = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                nodes.push(place(figment, layers, item, path));
                path.pop();
            }
            Content::List(nodes)
        }
        Value::Dict(_, entries) => {
            let mut nodes = BTreeMap::new();
            for (key, item) in entries {
                path.push(Step::Key(key.clone()));
                nodes.insert(key.clone(), place(figment, layers, item, path));
                path.pop();
            }
            Content::Table(nodes)
        }
    };
    let loose = layer.and_then(|index| layers.get(index)).is_some_and(Layer::is_loose);
    Node { content, place: Place { layer, path: path.clone(), part: Part::Value }, loose }
}
