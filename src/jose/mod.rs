//! Floor 1: keys and signed tokens (RFC 7515, 7517, 7518, 7519). Pure: no network, no clock; all cryptography is aws-lc's.

pub mod algorithm;
pub mod der;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod proof;
pub mod signing;
#[cfg(test)]
pub(crate) mod testing;
