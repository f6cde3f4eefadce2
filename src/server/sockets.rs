//! The sockets of visitors: opened once, and given to every worker.
//!
//! A TCP address of our own has one socket a worker, and the kernel deals connections to them (`SO_REUSEPORT`). Unix sockets and
//! those that were handed over are one socket each, which all workers accept on.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use crate::config::settings::{Inherited, ListenAddress, ListenSettings};
use crate::net::inherited::{self, Handed};
use crate::net::listen::{self, ListenError, UnixPath};
use crate::net::tls_server::TlsServer;

/// A socket that a worker is to accept on, with TLS where the listener is an `https` one.
pub struct Socket {
    /// What it is.
    pub kind: Kind,
    /// TLS on it.
    pub tls: Option<Arc<TlsServer>>,
    /// Who comes there.
    pub callers: Callers,
}

/// Who comes to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Visitors, and proxies that ask over HTTP.
    Visitors,
    /// Envoy, which asks over gRPC.
    Envoy,
}

/// The kinds of socket.
pub enum Kind {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// All sockets.
pub struct Opened {
    /// For each worker, its sockets.
    pub sockets: Vec<Vec<Socket>>,
    /// Where they are, as URLs; a unix socket as `unix:/path`.
    pub addresses: Vec<String>,
    /// Paths to be removed at the end.
    pub unix_paths: Vec<UnixPath>,
}

/// Opens the sockets of `count` workers.
///
/// # Errors
/// When one of them can't be had.
pub fn open(settings: &ListenSettings, tls: Option<&Arc<TlsServer>>, count: usize) -> Result<Opened, ListenError> {
    let mut opened =
        Opened { sockets: (0..count).map(|_| Vec::new()).collect(), addresses: Vec::new(), unix_paths: Vec::new() };
    let plain = settings.http.iter().map(|address| (address, Way { tls: None, callers: Callers::Visitors }));
    let secured = settings.https.iter().map(|address| (address, Way { tls, callers: Callers::Visitors }));
    let asked = settings.ext_authz.iter().map(|address| (address, Way { tls: None, callers: Callers::Envoy }));
    let mut handed = None;
    for (address, way) in plain.chain(secured).chain(asked) {
        match address {
            ListenAddress::Tcp(address) => {
                let listeners = listen::tcp(*address, count)?;
                opened.tell_tcp(listeners.first(), way);
                for (sockets, listener) in opened.sockets.iter_mut().zip(listeners) {
                    sockets.push(way.socket(Kind::Tcp(listener)));
                }
            }
            ListenAddress::Unix(path) => {
                let listener = listen::unix(path, settings.unix_mode)?;
                opened.unix_paths.push(UnixPath(path.clone()));
                opened.addresses.push(format!("unix:{}", path.display()));
                opened.share(&Kind::Unix(listener), way, &path.display().to_string())?;
            }
            ListenAddress::Inherited(which) => {
                let handed = handed.get_or_insert_with(Handed::receive);
                for socket in handed.take(which)? {
                    opened.add_inherited(socket, which, way, settings.proxy_protocol)?;
                }
            }
        }
    }
    Ok(opened)
}

/// How a socket is used.
#[derive(Clone, Copy)]
struct Way<'t> {
    tls: Option<&'t Arc<TlsServer>>,
    callers: Callers,
}

impl Way<'_> {
    fn socket(self, kind: Kind) -> Socket {
        Socket { kind, tls: self.tls.cloned(), callers: self.callers }
    }
}

impl Opened {
    fn tell_tcp(&mut self, listener: Option<&TcpListener>, way: Way<'_>) {
        if let Some(bound) = listener.and_then(|listener| listener.local_addr().ok()) {
            let scheme = match (way.callers, way.tls) {
                (Callers::Envoy, _) => "ext_authz",
                (Callers::Visitors, Some(_)) => "https",
                (Callers::Visitors, None) => "http",
            };
            self.addresses.push(format!("{scheme}://{bound}"));
        }
    }

    fn add_inherited(
        &mut self,
        socket: inherited::Socket,
        which: &Inherited,
        way: Way<'_>,
        proxy_protocol: bool,
    ) -> Result<(), ListenError> {
        let name = match which {
            Inherited::Number(number) => format!("fd:{number}"),
            Inherited::Name(name) => format!("fd:{name}"),
        };
        match socket {
            inherited::Socket::Tcp(listener) => {
                self.tell_tcp(Some(&listener), way);
                self.share(&Kind::Tcp(listener), way, &name)
            }
            inherited::Socket::Unix(_) if proxy_protocol => Err(ListenError {
                address: name,
                cause: std::io::Error::other(
                    "it is a unix socket, whose peers have no address to trust a PROXY protocol header by",
                ),
            }),
            inherited::Socket::Unix(_) if way.callers == Callers::Envoy => Err(ListenError {
                address: name,
                cause: std::io::Error::other("it is a unix socket, whose peers have no address to trust them by"),
            }),
            inherited::Socket::Unix(_) if way.tls.is_some() => Err(ListenError {
                address: name,
                cause: std::io::Error::other("it is a unix socket, and `https` listens on TCP; name it in `http`"),
            }),
            inherited::Socket::Unix(listener) => {
                let path = listener
                    .local_addr()
                    .ok()
                    .and_then(|address| address.as_pathname().map(|p| p.display().to_string()));
                self.addresses.push(format!("unix:{}", path.as_deref().unwrap_or("@")));
                self.share(&Kind::Unix(listener), way, &name)
            }
        }
    }

    /// Every worker accepts on the same socket.
    fn share(&mut self, kind: &Kind, way: Way<'_>, name: &str) -> Result<(), ListenError> {
        for sockets in &mut self.sockets {
            let copy = match kind {
                Kind::Tcp(listener) => listener.try_clone().map(Kind::Tcp),
                Kind::Unix(listener) => listener.try_clone().map(Kind::Unix),
            };
            let kind = copy.map_err(|cause| ListenError { address: name.to_owned(), cause })?;
            sockets.push(way.socket(kind));
        }
        Ok(())
    }
}
