//! What later rooms find wrong with settings that are right by themselves, brought back to the place in the config.
//!
//! This room can't look up the floors. So whoever loads a config hands in a proof (see [`load_proving`](super::load_proving)),
//! and what that finds is told like every other mistake, with its file, line and key.

use super::problem::Problem;
use super::raw::layer::Layer;
use super::raw::node::{Part, Place, Step};
use super::raw::report::{Draft, Wrong};

/// One mistake that a later room found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    about: About,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    Key(Vec<Step>),
    Variable(String),
}

impl Finding {
    /// A mistake in the value of a key, its names from the outside in: `["upstreams", "app", "ca"]`. `text` is what is wrong,
    /// and after a `; ` how to mend it.
    pub fn in_key(names: &[&str], text: impl Into<String>) -> Self {
        let steps = names.iter().map(|name| Step::Key((*name).to_owned())).collect();
        Self { about: About::Key(steps), text: text.into() }
    }

    /// A mistake in a key of one item of a list of tables, counted from 0.
    pub fn in_item(list: &str, index: usize, key: &str, text: impl Into<String>) -> Self {
        let steps = vec![Step::Key(list.to_owned()), Step::Index(index), Step::Key(key.to_owned())];
        Self { about: About::Key(steps), text: text.into() }
    }

    /// A mistake in an environment variable that is no key of the config.
    pub fn in_variable(name: &str, text: impl Into<String>) -> Self {
        Self { about: About::Variable(name.to_owned()), text: text.into() }
    }
}

/// The findings as drafts and problems. What is about a key that has a mistake already is left out, since it may only follow.
pub(super) fn bring_home(findings: Vec<Finding>, drafts: &mut Vec<Draft>, layers: &[Layer]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for finding in findings {
        let wrong = Wrong::from(finding.text);
        match finding.about {
            About::Key(steps) => {
                let place = place_of(steps, layers);
                let is_known = |draft: &Draft| {
                    draft.place.path.starts_with(&place.path) || place.path.starts_with(&draft.place.path)
                };
                if !drafts.iter().any(is_known) {
                    drafts.push(Draft { place, wrong, related: Vec::new(), may_follow: false });
                }
            }
            About::Variable(name) => problems.push(Problem {
                place: format!("environment variable {name}"),
                key: String::new(),
                message: wrong.message,
                snippet: String::new(),
                notes: wrong.notes,
            }),
        }
    }
    problems
}

/// Where the last source that speaks of this key, or of the nearest thing around it, does so. Names of headers are compared
/// without case, since a typed one has lost its own.
fn place_of(steps: Vec<Step>, layers: &[Layer]) -> Place {
    for length in (1..=steps.len()).rev() {
        let (part, rest) = steps.split_at(length);
        for layer in layers.iter().rev() {
            let is_it = |path: &&Vec<Step>| path.len() == length && path.iter().zip(part).all(same);
            if let Some(path) = layer.spots.keys().find(is_it) {
                let path = path.iter().chain(rest).cloned().collect();
                return Place { layer: Some(layer.index), path, part: Part::Value };
            }
        }
    }
    Place { layer: None, path: steps, part: Part::Value }
}

fn same((one, other): (&Step, &Step)) -> bool {
    match (one, other) {
        (Step::Key(one), Step::Key(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    }
}
