//! Floor 3: who somebody is, and how an upstream is told.

pub mod headers;
pub mod preset;
pub mod principal;
pub mod template;
pub mod vouched;
