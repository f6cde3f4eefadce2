//! Floor 3: what a browser holds: the session after a sign-in, and the flow while one is on its way.

pub mod cookie;
pub mod flow;
pub mod model;
