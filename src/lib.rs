//! Portcullis: a reverse proxy that signs people in.
//!
//! Tenets, in order, to settle arguments: **Safe > Correct > Clear > Fast > Small.**

#![forbid(unsafe_code)]

pub mod base;
pub mod cli;
pub mod config;
pub mod forward;
pub mod demo;
pub mod http;
pub mod identity;
pub mod net;
pub mod observe;
pub mod endpoint;
pub mod http;
pub mod identity;
pub mod page;
pub mod jose;
pub mod net;
pub mod gate;
pub mod http;
pub mod identity;
pub mod policy;
pub mod provider;
pub mod seal;
pub mod session;
pub mod token;
