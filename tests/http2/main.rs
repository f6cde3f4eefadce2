//! HTTP/2 from outside, in and out: real binary, real sockets, and frames byte by byte where a library would refuse to send them.

#![allow(
    unreachable_pub,
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

mod client;
mod frames;
mod server;

mod calls;
mod downgrade;
mod farewells;
mod interim;
mod limits;
mod listeners;
mod rules;
mod sharing;
mod upstreams;
mod websocket;
