//! Floor 1: text → raw → settings, with every mistake and its place. Pure but for reading the files it is given.
//!
//! [`source::load_proving`] is the way in. `raw` turns every source into one tree whose values know where they came from,
//! `check` turns the tree into [`settings::Settings`], and `problem` tells people what is wrong.

mod bearer_settings;
mod check;
mod env;
pub mod expression;
pub mod finding;
pub mod problem;
mod raw;
mod rule_settings;
pub mod secret;
pub mod session_key;
pub mod settings;
pub mod source;
mod store_settings;
#[cfg(test)]
mod tests;
pub mod token_settings;
mod upstream_settings;
mod web_settings;

pub use problem::{Problem, Problems};
pub use source::{LoadRequest, load, load_proving};
