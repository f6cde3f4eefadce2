//! Floor 2: sockets and connections, in and out. Knows bytes and peers, nothing of who is signed in.

pub mod dial;
pub mod listen;
pub mod pool;
pub mod stream;
