//! The wing of the demo: a development identity provider and a sample application, for `portcullis demo` and for tests.
//!
//! Neither is part of the gateway. Both listen on loopback addresses only and refuse every other; `serve` never starts
//! them. They run on the Tokio runtime that they are started on, until they are stopped.
//!
//! ```no_run
//! use portcullis::demo::{application, provider};
//!
//! # async fn example() -> std::io::Result<()> {
//! let provider = provider::start(provider::ProviderOptions::default()).await?;
//! let application = application::start("127.0.0.1:0".parse().unwrap()).await?;
//! println!("issuer   = {}", provider.issuer());
//! println!("upstream = http://{}", application.address());
//! application.stop().await;
//! provider.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod application;
pub mod provider;

mod answer;
mod body;
mod form;
mod listen;
#[cfg(test)]
mod testing;
