//! Floor 2: what HTTP asks of a gateway, without a visitor's identity: headers, paths, cookies, bodies, our own client.

pub mod body;
pub mod caller;
pub mod client;
pub mod cookie_scan;
pub mod forwarded;
pub mod grpc;
pub mod headers;
pub mod path;
pub mod protected;
pub mod query;
pub mod request_body;
pub mod return_to;
pub mod trailers;
pub mod visit;
