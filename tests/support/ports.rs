//! Ports of the loopback address for those who need to know theirs before they listen.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

/// The first port. All stand below the range that the system hands out by itself, so that no outgoing connection and nobody who
/// listens on "any port" takes one.
const FIRST: u16 = 20_000;
/// How many ports a block has; the first of them stands for the block.
const BLOCK: u16 = 100;
/// How many blocks there are.
const BLOCKS: u16 = 120;

/// What this process has to give out.
struct Ports {
    /// The blocks that are this process's own, each held by a socket at its first port until the process ends.
    held: Vec<Socket>,
    next: u16,
    end: u16,
}

static PORTS: Mutex<Ports> = Mutex::new(Ports { held: Vec::new(), next: 0, end: 0 });

/// A port of the loopback address that nobody listens on, and that nobody is given by this function but the caller.
///
/// Between this call and the moment when somebody listens there, another test or another process of tests may ask for a port too.
/// Each process therefore gives out ports of blocks that are its own, and none of them twice.
///
/// # Panics
/// When all blocks are taken.
pub fn free_port() -> u16 {
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if ports.next == ports.end {
            ports.take_block();
        }
        let port = ports.next;
        ports.next += 1;
        // Somebody who knows nothing of blocks may listen there. This look must not listen itself: a program that another test
        // starts at this moment has a copy of every socket until it is its own, and the port would be taken for so long.
        if bind(port, true).is_some() {
            return port;
        }
    }
}

impl Ports {
    fn take_block(&mut self) {
        // Processes that start together begin their search apart.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("there are few blocks");
        for step in 0..BLOCKS {
            let first = FIRST + (start + step) % BLOCKS * BLOCK;
            if let Some(held) = bind(first, false) {
                self.held.push(held);
                (self.next, self.end) = (first + 1, first + BLOCK);
                return;
            }
        }
        panic!("all ports from {FIRST} on are given out or held by other tests");
    }
}

/// A socket at `port`. One that shares can be bound unless somebody listens there; one that doesn't is the only one, until the
/// system closes it when the process ends, however it ends.
fn bind(port: u16, share: bool) -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    socket.set_reuse_address(share).expect("an option can be set");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).ok().map(|()| socket)
}
