//! The gateway beside programs that we did not write: an independent `OpenID` provider, an ordinary Django project, nginx in front,
//! libraries of gRPC and WebSocket, suites that test HTTP/2.

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

mod access_tokens;
mod assertion;
mod django;
mod front_nginx;
mod grpc;
mod http2_conformance;
mod oidc_provider;
mod refresh;
mod websocket;
