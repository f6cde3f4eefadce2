//! Floor 1: seals, the authenticated encryption of a value for one purpose and one place. Pure but for random bytes.
//!
//! What every seal promises:
//!
//! 1. Nobody without a ring key can read it, change one bit of it, or make one.
//! 2. It opens only for the purpose and the context (cookie name, host, ...) that it was made for.
//! 3. It names its key, so that opening picks the key at once, and keys rotate without anybody being signed out.
//! 4. Two seals of equal values have nothing in common.

pub mod aead;
pub mod keyring;
pub mod own_key;
