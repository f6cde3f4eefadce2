//! Connecting to one upstream: name lookup, TCP and, where its URL says so, TLS, all within one bound.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::stream::Stream;

/// Where an upstream is and how to reach it.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Host name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS settings and the name that the certificate must bear; absent for plain HTTP.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Bound on the whole: lookup, connection and TLS handshake.
    pub timeout: Duration,
}

/// Why an upstream could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection: refused, no route, no such name, or a certificate that doesn't fit.
    #[error("can't connect to {host}:{port}: {cause}")]
    Connect {
        /// The host as configured.
        host: String,
        /// The port.
        port: u16,
        /// What the system said.
        cause: io::Error,
    },
    /// It took longer than its bound.
    #[error("connecting to {host}:{port} took longer than {limit:?}")]
    Timeout {
        /// The host as configured.
        host: String,
        /// The port.
        port: u16,
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
            Ok(Err(cause)) => Err(DialError::Connect { host: self.host.clone(), port: self.port, cause }),
            Err(_) => Err(DialError::Timeout { host: self.host.clone(), port: self.port, limit: self.timeout }),
        }
    }

    async fn attempt(&self) -> io::Result<Stream> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else {
            return Ok(Stream::Tcp(tcp));
        };
        let tls = TlsConnector::from(Arc::clone(config)).connect(name.clone(), tcp).await?;
        Ok(Stream::Tls(Box::new(TlsStream::Client(tls))))
    }
}
