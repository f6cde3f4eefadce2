//! Floor 4: carrying an admitted request to its upstream and the answer back, both streamed; and the upstreams that are no
//! application: files and fixed answers.

pub mod balance;
pub mod challenge;
pub mod check;
pub mod files;
pub mod fixed;
pub mod health;
pub mod http2;
pub mod patience;
mod range;
pub mod request_out;
pub mod response_in;
pub mod rewrite;
pub mod send;
pub mod upgrade;
