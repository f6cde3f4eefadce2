//! Floor 3: who somebody is, and how an upstream is told.

pub mod principal;
