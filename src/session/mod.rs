//! Floor 3: what a browser holds: the session after a sign-in, and the flow while one is on its way.

pub mod chunks;
pub mod cookie;
pub mod csrf;
pub mod encode;
pub mod ended;
pub mod flow;
pub mod key_desk;
pub mod model;
pub mod names;
mod packed;
pub mod refresh;
pub mod set_cookie;
pub mod store;
pub mod stored;
pub mod ticket;

#[cfg(test)]
mod tests;
