//! The environment and the command line as layers. Their values stay text: only the key that reads one knows its type.
//!
//! figment's own environment provider guesses types, which turns the secret `0123` into the number 123; so it isn't used.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use super::raw::layer::{Layer, Origin, Spot};
use super::raw::node::{Part, Place, Step};
use super::raw::report::{Report, Wrong};

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "PORTCULLIS_";

/// The layer of the `PORTCULLIS_…` variables. `__` goes a level down, and case does not matter. A `_` stands for the `-`
/// of a provider's or upstream's name that a file gave, since few shells can export a `-`.
pub(super) fn environment(variables: &BTreeMap<String, String>, files: &[Layer], report: &Report) -> Layer {
    let mut layer = Layer::new(Origin::Environment, files.len());
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if is_service_link(rest, value) {
            continue;
        }
        let keys = rest.split("__").map(str::to_lowercase).collect();
        let keys = with_dashes(keys, files);
        put(&mut layer, &keys, Some(value), format!("environment variable {name}"), report);
    }
    layer
}

/// The layer of the `--set key=value` arguments, dots between levels.
pub(super) fn command_line(arguments: &[String], index: usize, report: &Report) -> Layer {
    let mut layer = Layer::new(Origin::CommandLine, index);
    for argument in arguments {
        let (key, value) = match argument.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (argument.as_str(), None),
        };
        let keys: Vec<String> = key.split('.').map(|key| key.trim().to_owned()).collect();
        put(&mut layer, &keys, value, format!("argument --set {}", only_key(key)), report);
    }
    layer
}

/// As much of an argument as can be a key, since one without its `=` may hold a secret.
fn only_key(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).collect()
}

/// Whether Kubernetes made this variable for a service that is called `portcullis…`: it makes them in every pod of the
/// namespace, and none of them looks like a key of ours.
fn is_service_link(rest: &str, value: &str) -> bool {
    let kinds = ["TCP", "UDP", "SCTP"];
    let is_port_part = |text: &str| {
        let mut parts = text.splitn(3, '_');
        let numbered = parts.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
        numbered && parts.next().is_some_and(|kind| kinds.contains(&kind))
    };
    rest == "SERVICE_HOST"
        || rest.ends_with("_SERVICE_HOST")
        || rest == "SERVICE_PORT"
        || rest.ends_with("_SERVICE_PORT")
        || rest.starts_with("SERVICE_PORT_")
        || rest.contains("_SERVICE_PORT_")
        || ((rest == "PORT" || rest.ends_with("_PORT")) && value.contains("://"))
        || rest.strip_prefix("PORT_").is_some_and(is_port_part)
        || rest.split_once("_PORT_").is_some_and(|(_, port)| is_port_part(port))
}

fn with_dashes(mut keys: Vec<String>, files: &[Layer]) -> Vec<String> {
    let (Some(table), Some(name)) = (keys.first(), keys.get(1)) else { return keys };
    if table != "providers" && table != "upstreams" {
        return keys;
    }
    let given = files.iter().flat_map(|layer| layer.spots.keys()).filter_map(|path| match path.as_slice() {
        [Step::Key(first), Step::Key(second)] if first == table => Some(second),
        _ => None,
    });
    let matching: Vec<&String> = given.filter(|given| given.replace('-', "_") == *name).collect();
    if matching.contains(&name) {
        return keys;
    }
    if let (Some(given), Some(name)) = (matching.first().map(|given| (*given).clone()), keys.get_mut(1)) {
        *name = given;
    }
    keys
}

fn put(layer: &mut Layer, keys: &[String], value: Option<&str>, label: String, report: &Report) {
    let path: Vec<Step> = keys.iter().cloned().map(Step::Key).collect();
    let place = Place { layer: Some(layer.index), path: path.clone(), part: Part::Value };
    for length in 1..=path.len() {
        let part = path.get(..length).unwrap_or_default().to_vec();
        layer.spots.entry(part).or_insert_with(|| Spot { label: Some(label.clone()), ..Spot::default() });
    }
    layer.spots.insert(path, Spot { label: Some(label), ..Spot::default() });
    let wrong = match value {
        None => Wrong::new("an `=` is missing").note("write --set session.idle=8h"),
        Some(_) if keys.iter().any(String::is_empty) => {
            Wrong::new("it names no key").note("write PORTCULLIS_SESSION__IDLE, or --set session.idle=8h")
        }
        Some(value) if value.contains('\u{fffd}') => Wrong::new("its value is no UTF-8 text"),
        Some(value) if insert(&mut layer.values, keys, value) => return,
        Some(_) => {
            Wrong::new("the same table is given as a whole and key by key").note("give it in one of the two ways")
        }
    };
    report.error(place, wrong);
}

fn insert(dict: &mut Dict, keys: &[String], value: &str) -> bool {
    match keys {
        [] => false,
        [key] => {
            let free = !matches!(dict.get(key), Some(Value::Dict(..)));
            if free {
                dict.insert(key.clone(), Value::from(value));
            }
            free
        }
        [key, rest @ ..] => {
            let inner = dict.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
            match inner {
                Value::Dict(_, inner) => insert(inner, rest, value),
                _ => false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_that_kubernetes_makes_for_a_service_are_not_ours() {
        for (name, value) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "80"),
            ("SERVICE_PORT_HTTP", "80"),
            ("PORT", "tcp://10.0.0.1:80"),
            ("PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("PORT_80_TCP_ADDR", "10.0.0.1"),
            ("ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("ADMIN_PORT_9090_TCP_PROTO", "tcp"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for name in ["PORT", "PUBLIC_URL", "SESSION__IDLE", "PORT_X", "PORTS", "LISTEN__ADMIN_PORT"] {
            assert!(!is_service_link(name, "80"), "{name}");
        }
    }
}
