//! One decision, many doors: one table of cases, asked through the proxy, `/verify` and `ext_authz`, by hand and by real front proxies with
//! the files that `deploy/` has for them.

#![allow(
    dead_code,
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

mod case;
mod cases;
mod direct;
mod explain;
mod ext_authz;
mod front;
mod fronts;
mod scene;
mod tokens;
mod verify;
