//! Portcullis: a reverse proxy that signs people in.
//!
//! Tenets, in order, to settle arguments: **Safe > Correct > Clear > Fast > Small.**
//!
//! The way of a request, and the file that tells each part of it:
//!
//! ```text
//! client ─► server::accept ─► server::connection ─► gate::handle ┬─► gate::edge        one canonical request, or 400
//!                                                                ├─► endpoint::table   what lives under /.auth
//!                                                                ├─► gate::route       host, path, method → rule, upstream
//!                                                                ├─► gate::credential  cookie → session → principal
//!                                                                ├─► gate::decide      pure: pass, sign in, forbid
//!                                                                ├─► gate::refuse      302, 401, 403 by caller
//!                                                                └─► gate::pass        dress, forward, bring the answer back
//! ```
//!
//! A file imports from its own room and from rooms below it: `base` < `config` < `seal` < `jose` < `observe` < `net` < `http` <
//! `identity` < `policy` < `session` < `token` < `provider` < `forward` < `page` < `endpoint` < `gate` < `door` < `server` < `cli`.
//! `demo` is a wing of its own. A test reads the imports; `ARCHITECTURE.md` has the whole story.

#![forbid(unsafe_code)]

pub mod base;
pub mod cli;
pub mod config;
pub mod demo;
pub mod door;
pub mod endpoint;
pub mod forward;
pub mod gate;
pub mod http;
pub mod identity;
pub mod jose;
pub mod net;
pub mod observe;
pub mod page;
pub mod policy;
pub mod provider;
pub mod seal;
pub mod server;
pub mod session;
pub mod token;
