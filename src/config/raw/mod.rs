//! The raw config: one tree out of all sources, in which every value knows its place.

pub(super) mod convert;
pub(super) mod layer;
pub(super) mod merge;
pub(super) mod node;
pub(super) mod report;
pub(super) mod table;
pub(super) mod toml_text;
pub(super) mod yaml_text;
