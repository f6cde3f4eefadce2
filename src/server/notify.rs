//! Telling systemd how we are (`sd_notify(3)`): one datagram to the socket that `NOTIFY_SOCKET` names.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What can be told.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// Every listener accepts.
    Ready,
    /// No new connections; those under way may finish.
    Stopping,
}

/// Tells `state`, where somebody wants to know. That nobody hears it does not stop us.
pub fn tell(state: State) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").and_then(|name| name.into_string().ok()) else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, "can't tell systemd: NOTIFY_SOCKET can't be written to");
    }
}

/// A name that begins with `@` stands in the abstract namespace.
fn send(socket: &str, state: State) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let text: &[u8] = match state {
        State::Ready => b"READY=1",
        State::Stopping => b"STOPPING=1",
    };
    UnixDatagram::unbound()?.send_to_addr(text, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_hear_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("portcullis-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (receiver, socket, state, expected) in [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string(), State::Ready, "READY=1"),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}"), State::Stopping, "STOPPING=1"),
        ] {
            send(&socket, state).unwrap();
            let mut heard = [0; 64];
            let count = receiver.recv(&mut heard).unwrap();
            assert_eq!(&heard[..count], expected.as_bytes());
        }
        assert!(send("/nowhere/at/all", State::Ready).is_err());
    }
}
