//! Secrets: a text, `{ file = "…" }` or `{ env = "…" }`, readable now, and not lying about.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::Context;
use crate::config::raw::layer::Origin;
use crate::config::raw::node::{Content, Node, Place};
use crate::config::raw::report::Wrong;
use crate::config::raw::table::Table;
use crate::config::secret::{SecretError, SecretSource};
use crate::config::source::open_to_all;

/// A secret's source, and the secret as it stands now.
pub(super) struct Found {
    /// Where it comes from.
    pub(super) source: SecretSource,
    /// What it is at present.
    pub(super) value: SecretString,
    /// Where the config speaks of it.
    pub(super) place: Place,
}

/// The secret that `node` names. `key` is for messages, `pattern` for the list of all keys.
pub(super) fn read(node: &Node, key: &str, pattern: &str, context: &Context<'_>) -> Option<Found> {
    let source = match &node.content {
        Content::Text(text) => inline(node, key, text, context)?,
        Content::Table(_) => elsewhere(node, key, pattern, context)?,
        other => {
            let wrong = Wrong::new(format!("`{key}` takes a secret, not {}", other.kind()))
                .note("allowed: \"text\", { file = \"/run/secrets/…\" } or { env = \"NAME\" }");
            context.report.hide(node.place.clone());
            context.report.error(node.place.clone(), wrong);
            return None;
        }
    };
    let value = match &source {
        SecretSource::Env(name) => match context.environment.get(name).filter(|value| !value.is_empty()) {
            Some(value) => Ok(SecretString::from(value.clone())),
            None => Err(SecretError::Env { name: name.clone() }),
        },
        SecretSource::Inline(_) | SecretSource::File(_) => source.read(),
    };
    match value {
        Ok(value) => Some(Found { source, value, place: node.place.clone() }),
        Err(error) => {
            let fix = match error {
                SecretError::File { .. } | SecretError::TooLarge { .. } => "mend the path, or let us read the file",
                SecretError::NoFile { .. } => "write the secret into a file: it is read anew when it changes",
                SecretError::Env { .. } => "set it, or give { file = \"…\" }",
                SecretError::Empty { .. } => "write the secret there, or leave the key out",
            };
            context.report.error(node.place.clone(), Wrong::new(error.to_string()).note(fix));
            None
        }
    }
}

fn inline(node: &Node, key: &str, text: &str, context: &Context<'_>) -> Option<SecretSource> {
    let layer = node.place.layer.and_then(|index| context.layers.get(index));
    match layer.map(|layer| &layer.origin) {
        Some(Origin::CommandLine) => {
            let wrong = Wrong::new(format!("`{key}` is a secret, and everyone on this machine can read command lines"))
                .note("give its file: --set ….file=/run/secrets/…");
            context.report.error(node.place.clone(), wrong);
            return None;
        }
        Some(Origin::File { name, .. }) if open_to_all(Path::new(name)).is_some() => {
            let wrong = Wrong::new(format!("`{key}` stands in a config file that everyone on this machine can read"))
                .note(format!("run: chmod o-r {name}"))
                .note("or write { file = \"/run/secrets/…\" }");
            context.report.warn(node.place.clone(), wrong);
        }
        _ => {}
    }
    Some(SecretSource::Inline(SecretString::from(text.to_owned())))
}

fn elsewhere(node: &Node, key: &str, pattern: &str, context: &Context<'_>) -> Option<SecretSource> {
    let table = Table::new(node, format!("`{key}`"), pattern.to_owned(), context.report);
    let path = table.text("file", "the path of a file").map(PathBuf::from);
    let name = table.text("env", "the name of a variable");
    let (file_place, env_place) = (table.place("file"), table.place("env"));
    match (path, name) {
        // A later source that names another place replaces the earlier one.
        (Some(_), Some(name)) if env_place.layer > file_place.layer => Some(SecretSource::Env(name)),
        (Some(path), Some(_)) if file_place.layer > env_place.layer => Some(file(path, file_place, context)),
        (Some(_), Some(_)) => {
            let wrong = Wrong::new(format!("`{key}` names both a file and a variable")).note("keep one of them");
            context.report.error(env_place, wrong);
            None
        }
        (Some(path), None) => Some(file(path, file_place, context)),
        (None, Some(name)) => Some(SecretSource::Env(name)),
        (None, None) => {
            if !table.has("file") && !table.has("env") {
                let wrong = Wrong::new(format!("`{key}` names no place to read the secret from"))
                    .note("allowed: { file = \"/run/secrets/…\" } or { env = \"NAME\" }");
                context.report.error(node.place.clone(), wrong);
            }
            None
        }
    }
}

fn file(path: PathBuf, place: Place, context: &Context<'_>) -> SecretSource {
    if let Some(wrong) = open_to_all(&path) {
        context.report.warn(place, wrong);
    }
    SecretSource::File(path)
}
