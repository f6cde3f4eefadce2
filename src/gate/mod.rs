//! Floor 4: the way of a request, one file per verb.

pub mod client;
pub mod decide;
pub mod edge;
pub mod route;
