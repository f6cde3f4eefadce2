//! Sockets to accept on: one per worker and address, by `SO_REUSEPORT`, so that the kernel deals connections to cores.

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A socket that can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {cause}{}", fix(cause))]
pub struct ListenError {
    /// The address as configured.
    pub address: String,
    /// What the system said.
    pub cause: io::Error,
}

/// What an operator can do about it.
fn fix(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another address in `listen`",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address: mend it in `listen`",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE: give us that, or choose a higher port in `listen`"
        }
        _ => "",
    }
}

/// `count` listeners on one TCP address. Port 0 takes a free port, the same for all of them.
///
/// # Errors
/// When the address is taken or not ours.
pub fn tcp(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, ListenError> {
    let fail = |cause| ListenError { address: address.to_string(), cause };
    // Without this look first, two gateways started by mistake would share the port and each serve half of the visitors.
    if address.port() != 0 {
        drop(open(address, false).map_err(fail)?);
    }
    let first = open(address, true).map_err(fail)?;
    let bound = first.local_addr().map_err(fail)?;
    let mut listeners = vec![first];
    while listeners.len() < count {
        listeners.push(open(bound, true).map_err(fail)?);
    }
    Ok(listeners)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

/// A unix listener at `path` with the permissions `mode`, or those that the process's mask leaves. A socket that a dead process left there is removed; anything else there is an error.
///
/// # Errors
/// When the path can't be used, or somebody answers on it.
pub fn unix(path: &Path, mode: Option<u32>) -> Result<UnixListener, ListenError> {
    let fail = |cause| ListenError { address: format!("unix:{}", path.display()), cause };
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(fail(io::Error::other(
                "a file that is no socket is in the way; remove it or choose another path",
            )));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(fail(io::Error::from(io::ErrorKind::AddrInUse)));
        }
        std::fs::remove_file(path).map_err(fail)?;
    }
    let listener = bind(path, mode).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// The mask keeps everybody else out from the first moment; then the socket opens as far as it was asked to.
fn bind(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let Some(mode) = mode else { return UnixListener::bind(path) };
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Removes a unix socket's path when the gateway stops.
#[derive(Debug)]
pub struct UnixPath(pub PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure, and a stale path is cleaned up at the next start.
        drop(std::fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_listeners_of_an_address_share_one_free_port() {
        let listeners = tcp("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }

    #[test]
    fn a_second_gateway_on_the_same_port_is_refused() {
        let first = tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let taken = first[0].local_addr().unwrap();
        assert!(tcp(taken, 1).unwrap_err().to_string().contains("can't listen"));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        drop(unix(&path, None).unwrap());
        drop(unix(&path, Some(0o660)).unwrap());
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let file = dir.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        assert!(unix(&file, Some(0o660)).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }
}
