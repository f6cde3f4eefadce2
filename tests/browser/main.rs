//! What a person sees in a real browser.

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

mod back;
mod demo;
mod driver;
mod pages;
mod single_page;
mod visit;
