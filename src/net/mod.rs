//! Floor 2: sockets, connections and TLS, in and out. Knows bytes and peers, nothing of who is signed in.

pub mod certificates;
pub mod client_certificate;
pub mod connect;
pub mod dial;
pub mod executor;
pub mod hints;
pub mod http1;
pub mod inherited;
pub mod listen;
pub mod multiplexed;
pub mod outbound_proxy;
pub mod pool;
pub mod proxy_protocol;
pub mod ready;
pub mod stream;
pub mod system_authorities;
pub mod tls_client;
pub mod tls_server;
