//! What the black-box tests share: the gateway as a process, clients that look at exact bytes, a recording upstream, real parts.
//!
//! Everything here blocks on plain sockets, so that a test reads from top to bottom and nothing of the gateway's own HTTP
//! library stands between a test and the bytes on the wire.

#![allow(dead_code, reason = "each test crate uses the helpers it needs")]
#![allow(unreachable_pub, reason = "a module of a test crate has no outside")]

pub mod answer;
pub mod authority;
pub mod browser;
pub mod client;
pub mod forms;
pub mod gateway;
pub mod hand;
pub mod jar;
pub mod parts;
pub mod ports;
pub mod process;
pub mod provider;
pub mod relay;
pub mod tls_client;
pub mod tls_tunnel;
pub mod upstream;
pub mod webdriver;
pub mod websocket;
pub mod wire;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;

pub use self::ports::free_port;

/// A session key as `portcullis keygen` makes one; known to everybody, so good for tests alone.
pub const SESSION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// The longest that a test waits for anything to start or answer.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Listens on a port of the loopback address, which may have been listened on before; 0 for any.
///
/// Thousands may wait to be let in. The standard library's 128 are fewer than a gateway under load connects at once on a busy
/// machine, and a connection that finds no room is tried again seconds later, past `connect_timeout`.
pub fn listen(port: u16) -> TcpListener {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket can be made");
    socket.set_reuse_address(true).expect("an option can be set");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port)).into();
    // Who listened here before may do so for a moment more: a program that another test starts has a copy of every socket until
    // it is its own.
    let mut bound = Ok(());
    let listens = comes_true(|| {
        bound = socket.bind(&address).and_then(|()| socket.listen(4096));
        bound.is_ok()
    });
    assert!(listens, "port {port} can't be listened on: {bound:?}");
    socket.into()
}

/// Asks again and again until `is_so`; whether it came so in time.
pub fn comes_true(mut is_so: impl FnMut() -> bool) -> bool {
    let tick = Duration::from_millis(20);
    let mut left = PATIENCE;
    while !is_so() {
        if left.is_zero() {
            return false;
        }
        pause(tick);
        left = left.saturating_sub(tick);
    }
    true
}

/// How often tokens may have been refreshed by requests that came since `began`, where every refresh brings a token that is due after
/// `due`: once, and once more whenever a busy machine took so long that the new one was due as well.
pub fn refreshes_since(began: Instant, due: Duration) -> std::ops::RangeInclusive<usize> {
    let more = began.elapsed().as_millis() / due.as_millis();
    1..=1 + usize::try_from(more).expect("no test takes so long")
}

/// Lets time pass.
#[allow(clippy::disallowed_methods, reason = "a test's own thread may sleep; it is no worker")]
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string can't fail");
        text
    })
}
