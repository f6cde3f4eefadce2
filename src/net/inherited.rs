//! Sockets that whoever started us had opened already: socket activation, as systemd does it.
//!
//! `LISTEN_FDS` says how many there are, from descriptor 3 on; `LISTEN_PID` that they are meant for this process and not for one that
//! inherited the variables by accident; `LISTEN_FDNAMES` what they are called (`sd_listen_fds(3)`).

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use socket2::SockRef;

use super::listen::ListenError;
use crate::config::settings::Inherited;

/// The number of the first socket that is handed over.
const FIRST: u32 = 3;

/// The sockets that were handed over and not taken yet.
pub struct Handed {
    sockets: ListenFd,
    names: Vec<String>,
}

/// One of them, ready to be accepted on.
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Handed {
    /// What the environment says was handed over. The variables are cleared, so that no child takes the sockets for its own; to be
    /// called before there are other threads.
    pub fn receive() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let names = variable("LISTEN_FDNAMES").split(':').map(str::to_owned).collect();
        let is_ours = variable("LISTEN_PID") == std::process::id().to_string();
        let sockets = if is_ours { ListenFd::from_env() } else { ListenFd::empty() };
        Self { sockets, names }
    }

    /// The socket of this number, or all of this name.
    ///
    /// # Errors
    /// When there is none, it was taken before, or nobody can connect to it.
    pub fn take(&mut self, which: &Inherited) -> Result<Vec<Socket>, ListenError> {
        let indices: Vec<usize> = match which {
            Inherited::Number(number) => {
                number.checked_sub(FIRST).and_then(|n| usize::try_from(n).ok()).into_iter().collect()
            }
            Inherited::Name(name) => self.places_of(name),
        };
        let address = match which {
            Inherited::Number(number) => format!("fd:{number}"),
            Inherited::Name(name) => format!("fd:{name}"),
        };
        if indices.is_empty() {
            return Err(ListenError { address, cause: self.nothing() });
        }
        indices
            .into_iter()
            .map(|index| self.take_at(index).map_err(|cause| ListenError { address: address.clone(), cause }))
            .collect()
    }

    fn places_of(&self, name: &str) -> Vec<usize> {
        let named = self.names.iter().take(self.sockets.len()).enumerate();
        named.filter(|(_, known)| *known == name).map(|(index, _)| index).collect()
    }

    fn take_at(&mut self, index: usize) -> io::Result<Socket> {
        if let Ok(Some(listener)) = self.sockets.take_tcp_listener(index) {
            check(&SockRef::from(&listener))?;
            listener.set_nonblocking(true)?;
            return Ok(Socket::Tcp(listener));
        }
        let listener = self.sockets.take_unix_listener(index)?.ok_or_else(|| self.nothing())?;
        check(&SockRef::from(&listener))?;
        listener.set_nonblocking(true)?;
        Ok(Socket::Unix(listener))
    }

    fn nothing(&self) -> io::Error {
        let count = self.sockets.len();
        io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "no such socket was handed over, or it is named twice; LISTEN_FDS and LISTEN_PID tell of {count} for us"
            ),
        )
    }
}

/// A socket that is connected, or that nobody listens on yet, can't be accepted on.
fn check(socket: &SockRef<'_>) -> io::Result<()> {
    if socket.is_listener()? {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "this socket does not listen (systemd: Accept=no)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_was_handed_over_to_this_test() {
        let mut handed = Handed { sockets: ListenFd::empty(), names: vec!["web".to_owned()] };
        for which in [Inherited::Number(3), Inherited::Name("web".to_owned()), Inherited::Name("other".to_owned())] {
            let told = handed.take(&which).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(told.contains("can't listen on fd:") && told.contains("of 0 for us"), "{told}");
        }
    }
}
