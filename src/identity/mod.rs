//! Floor 3: who somebody is, and how an upstream is told.

pub mod document;
pub mod field;
pub mod headers;
pub mod preset;
pub mod principal;
pub mod shape;
pub mod template;
pub mod vouched;
