//! From a value to a type: what a text-only source means by its text, and what is said when the kind is wrong.

use super::node::{Content, Node, Place, Step};
use super::report::Wrong;

/// The text of `node`.
pub(in crate::config) fn text<'a>(node: &'a Node, key: &str, expected: &str) -> Result<&'a str, Wrong> {
    match &node.content {
        Content::Text(text) => Ok(text),
        other => {
            let wrong = kind_error(key, expected, other);
            Err(match other {
                Content::Integer(_) | Content::Bool(_) | Content::Odd(_) => wrong.note("put it in quotes"),
                _ => wrong,
            })
        }
    }
}

/// The whole number that `node` is.
pub(in crate::config) fn whole(node: &Node, key: &str) -> Result<i128, Wrong> {
    match &node.content {
        Content::Integer(number) => Ok(*number),
        Content::Text(text) if node.loose => {
            text.trim().parse().map_err(|_| Wrong::new(format!("`{key}` takes a whole number")))
        }
        other => Err(kind_error(key, "a whole number", other)),
    }
}

/// The truth value that `node` is.
pub(in crate::config) fn flag(node: &Node, key: &str) -> Result<bool, Wrong> {
    match &node.content {
        Content::Bool(flag) => Ok(*flag),
        Content::Text(text) if node.loose && text == "true" => Ok(true),
        Content::Text(text) if node.loose && text == "false" => Ok(false),
        Content::Text(_) if node.loose => Err(Wrong::new(format!("`{key}` takes `true` or `false`"))),
        other => Err(kind_error(key, "`true` or `false`", other)),
    }
}

/// The items that `node` holds. Text of a text-only source is a JSON list, or is split at commas.
pub(in crate::config) fn list(node: &Node, key: &str, expected: &str) -> Result<Vec<Node>, Wrong> {
    match &node.content {
        Content::List(items) => Ok(items.clone()),
        Content::Text(text) if node.loose && text.trim_start().starts_with('[') => match from_json(node, text)? {
            Node { content: Content::List(items), .. } => Ok(items),
            other => Err(kind_error(key, expected, &other.content)),
        },
        Content::Text(text) if node.loose => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .enumerate()
            .map(|(index, item)| Node {
                content: Content::Text(item.to_owned()),
                place: inside(&node.place, Step::Index(index)),
                loose: true,
            })
            .collect()),
        other => {
            let wrong = kind_error(key, expected, other);
            Err(if matches!(other, Content::Text(_)) { wrong.note("put it in brackets: [\"…\"]") } else { wrong })
        }
    }
}

/// `node` itself, or the table that its JSON text stands for in a text-only source.
pub(in crate::config) fn expand(node: &Node) -> Result<Node, Wrong> {
    match &node.content {
        Content::Text(text) if node.loose && text.trim_start().starts_with('{') => from_json(node, text),
        _ => Ok(node.clone()),
    }
}

/// What is said of a value of the wrong kind. Never repeats the value, which may be a secret.
pub(in crate::config) fn kind_error(key: &str, expected: &str, found: &Content) -> Wrong {
    Wrong::new(format!("`{key}` takes {expected}, not {}", found.kind()))
}

fn inside(place: &Place, step: Step) -> Place {
    let mut place = place.clone();
    place.path.push(step);
    place
}

fn from_json(node: &Node, text: &str) -> Result<Node, Wrong> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        Wrong::new(format!("this is no JSON: it breaks at column {} of the value", error.column()))
            .note("write a JSON list or table, or separate plain texts by commas")
    })?;
    Ok(convert(value, node.place.clone()))
}

fn convert(value: serde_json::Value, place: Place) -> Node {
    use serde_json::Value;
    let content = match value {
        Value::Null => Content::Odd("nothing"),
        Value::Bool(flag) => Content::Bool(flag),
        Value::Number(number) => number.as_i128().map_or(Content::Odd("a fraction"), Content::Integer),
        Value::String(text) => Content::Text(text),
        Value::Array(items) => Content::List(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| convert(item, inside(&place, Step::Index(index))))
                .collect(),
        ),
        Value::Object(entries) => Content::Table(
            entries
                .into_iter()
                .map(|(key, item)| {
                    let place = inside(&place, Step::Key(key.clone()));
                    (key, convert(item, place))
                })
                .collect(),
        ),
    };
    Node { content, place, loose: false }
}
