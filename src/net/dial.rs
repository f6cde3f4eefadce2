//! Connecting to one address of an upstream: a unix socket, or name lookup, TCP and, where its URL says so, TLS, all within one bound.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_rustls::{TlsConnector, TlsStream};

use super::connect::connect_to_any;
use super::stream::Stream;
use super::tls_client::{HTTP1, HTTP2};
use crate::config::settings::UpstreamProtocol;

/// Where one address of an upstream is and how to reach it.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Where it is.
    pub target: Target,
    /// TLS settings, which offer what `protocol` says ([`alpn`]), and the name that the certificate must bear; absent for plain HTTP.
    /// Never with a unix socket.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// What is spoken over the connection.
    pub protocol: UpstreamProtocol,
    /// Bound on the whole: lookup, connection, TLS handshake and, over HTTP/2, the upstream's first settings. A name's addresses are tried one after the other, each for its share.
    pub timeout: Duration,
}

/// Where an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host and a port. A name is looked up for each new connection, so that it may move.
    Tcp {
        /// Host name or address, an IPv6 address without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why an upstream could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection: refused, no route, no such name, or a certificate that doesn't fit.
    #[error("can't connect to {target}: {cause}")]
    Connect {
        /// Where to.
        target: Target,
        /// What the system said.
        cause: io::Error,
    },
    /// It took longer than its bound.
    #[error("connecting to {target} took longer than {limit:?}")]
    Timeout {
        /// Where to.
        target: Target,
        /// The bound.
        limit: Duration,
    },
}

impl Dial {
    /// A new connection.
    ///
    /// # Errors
    /// When there is none within the bound.
    pub async fn connect(&self) -> Result<Stream, DialError> {
        match tokio::time::timeout(self.timeout, self.attempt()).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(cause)) => Err(DialError::Connect { target: self.target.clone(), cause }),
            Err(_) => Err(self.took_too_long()),
        }
    }

    /// What is said when the bound is over.
    pub(super) fn took_too_long(&self) -> DialError {
        DialError::Timeout { target: self.target.clone(), limit: self.timeout }
    }

    /// The same upstream over HTTP/1.1 alone.
    #[must_use]
    pub fn over_http1(&self) -> Self {
        let tls = self.tls.as_ref().map(|(config, name)| {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = alpn(UpstreamProtocol::Http1);
            (Arc::new(config), name.clone())
        });
        Self { tls, protocol: UpstreamProtocol::Http1, ..self.clone() }
    }

    /// Whether HTTP/2 is spoken over `stream`, which this dial has connected.
    pub fn is_http2(&self, stream: &Stream) -> bool {
        match self.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::Auto => stream.agreed_protocol() == Some(HTTP2),
        }
    }

    async fn attempt(&self) -> io::Result<Stream> {
        let (host, port) = match &self.target {
            Target::Tcp { host, port } => (host.as_str(), *port),
            Target::Unix(path) => return Ok(Stream::Unix(UnixStream::connect(path).await?)),
        };
        let begun = Instant::now();
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        let tcp = connect_to_any(&addresses, self.timeout.saturating_sub(begun.elapsed())).await?;
        let Some((config, name)) = &self.tls else {
            return Ok(Stream::Tcp(tcp));
        };
        let tls = TlsConnector::from(Arc::clone(config)).connect(name.clone(), tcp).await.map_err(told)?;
        let stream = Stream::Tls(Box::new(TlsStream::Client(tls)));
        // Without agreement a server reads what comes as HTTP/1.1 (RFC 9113, section 3.2).
        if self.protocol == UpstreamProtocol::Http2 && stream.agreed_protocol() != Some(HTTP2) {
            return Err(io::Error::other("it did not agree to HTTP/2; write protocol = \"auto\" or \"http1\""));
        }
        Ok(stream)
    }
}

/// A handshake that met something else than TLS says what to look for.
fn told(fault: io::Error) -> io::Error {
    let cause = fault.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    if matches!(cause, Some(rustls::Error::InvalidMessage(_))) {
        return io::Error::new(fault.kind(), format!("{fault}; where no TLS is spoken, write the url with http"));
    }
    fault
}

/// What to offer by ALPN, the best first.
pub fn alpn(protocol: UpstreamProtocol) -> Vec<Vec<u8>> {
    let names: &[&[u8]] = match protocol {
        UpstreamProtocol::Http1 => &[HTTP1],
        UpstreamProtocol::Http2 => &[HTTP2],
        UpstreamProtocol::Auto => &[HTTP2, HTTP1],
    };
    names.iter().map(|name| name.to_vec()).collect()
}
