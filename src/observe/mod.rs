//! Floor 2: what the gateway tells its operator. No secret, token, code or cookie value passes through here (design, invariant 10).

pub mod access;
pub mod log;
