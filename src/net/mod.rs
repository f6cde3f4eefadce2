//! Floor 2: sockets, connections and TLS, in and out. Knows bytes and peers, nothing of who is signed in.

pub mod connect;
pub mod dial;
pub mod listen;
pub mod outbound_proxy;
pub mod pool;
pub mod stream;
pub mod tls_client;
