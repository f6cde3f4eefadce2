//! Floor 2: sockets and connections, in and out. Knows bytes and peers, nothing of who is signed in.

pub mod dial;
pub mod listen;
pub mod pool;
pub mod stream;
//! Floor 2: sockets and TLS: how bytes reach the other end.

pub mod connect;
pub mod outbound_proxy;
pub mod tls_client;
