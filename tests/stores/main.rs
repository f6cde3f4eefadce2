//! Sessions in real stores: Redis in all its shapes and PostgreSQL, killed, frozen and restarted under load; two gateways on each.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "this whole crate is a test: what fails here is to fail loudly"
)]

#[path = "../support/mod.rs"]
mod support;

mod away;
mod ends;
mod everywhere;
mod large;
mod load;
mod losses;
mod outage;
mod outgrown;
mod postgres;
mod redis;
mod refresh;
mod scene;
mod settings;
