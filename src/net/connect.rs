//! Opening a connection for a call of ours: names to addresses, the check of those addresses, TCP, TLS.
//!
//! The check looks at the addresses that are then connected to, in the same step, so that a name which resolves to one
//! address for a check and to another for the connection gains nothing (DNS rebinding).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

/// Which addresses a call may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any: the operator named this origin.
    Anywhere,
    /// Addresses of the public Internet only: somebody else named this origin.
    PublicOnly,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    /// The name has no address, or the resolver failed.
    #[error("can't resolve the host name: {0}")]
    Resolve(String),
    /// The address is private, loopback, link-local or the like, and the operator didn't name this origin.
    #[error("the host is at {0}, which is not a public address")]
    NotPublic(IpAddr),
    /// No address took the connection.
    #[error("can't connect: {0}")]
    Connect(io::Error),
    /// It took too long.
    #[error("connecting took too long")]
    Timeout,
    /// The TLS handshake failed, or the certificate is not to be trusted.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
}

/// A connection: plain or TLS.
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to the first address of `host` that answers; `limit` bounds name lookup and all attempts together.
///
/// # Errors
/// See [`ConnectFault`]. With [`Reach::PublicOnly`] one address that is not public refuses them all.
pub async fn tcp(host: &Host, port: u16, reach: Reach, limit: Duration) -> Result<TcpStream, ConnectFault> {
    let attempt = async {
        let addresses = resolve(host, port).await?;
        check(&addresses, reach)?;
        connect_to_any(&addresses, limit).await.map_err(|cause| match cause.kind() {
            io::ErrorKind::TimedOut => ConnectFault::Timeout,
            _ => ConnectFault::Connect(cause),
        })
    };
    tokio::time::timeout(limit, attempt).await.map_err(|_| ConnectFault::Timeout)?
}

/// Refuses `host` as [`tcp`] would, for a call that a proxy will make. A name that doesn't resolve here passes: behind
/// a proxy it often can't.
///
/// # Errors
/// [`ConnectFault::NotPublic`].
pub async fn check_before_proxy(host: &Host, port: u16, reach: Reach) -> Result<(), ConnectFault> {
    if reach == Reach::Anywhere {
        return Ok(());
    }
    match resolve(host, port).await {
        Ok(addresses) => check(&addresses, reach),
        Err(_) => Ok(()),
    }
}

/// The TLS handshake; the certificate must be for `host`.
///
/// # Errors
/// [`ConnectFault::Tls`].
pub async fn tls(stream: TcpStream, host: &Host, config: Arc<ClientConfig>) -> Result<Stream, ConnectFault> {
    let name = match host {
        Host::Domain(name) => ServerName::try_from(name.clone())
            .map_err(|_| ConnectFault::Tls(io::Error::new(io::ErrorKind::InvalidInput, "not a host name")))?,
        Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
        Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
    };
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(ConnectFault::Tls)?;
    Ok(Stream::Tls(Box::new(stream)))
}

async fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, ConnectFault> {
    let addresses: Vec<SocketAddr> = match host {
        Host::Domain(name) => tokio::net::lookup_host((name.as_str(), port))
            .await
            .map_err(|cause| ConnectFault::Resolve(cause.to_string()))?
            .collect(),
        Host::Ipv4(address) => vec![SocketAddr::from((*address, port))],
        Host::Ipv6(address) => vec![SocketAddr::from((*address, port))],
    };
    if addresses.is_empty() {
        return Err(ConnectFault::Resolve("it has no address".to_owned()));
    }
    Ok(addresses)
}

fn check(addresses: &[SocketAddr], reach: Reach) -> Result<(), ConnectFault> {
    if reach == Reach::Anywhere {
        return Ok(());
    }
    match addresses.iter().find(|address| !is_public(address.ip())) {
        Some(address) => Err(ConnectFault::NotPublic(address.ip())),
        None => Ok(()),
    }
}

/// Connects to the first of `addresses` that answers, one after the other. Each gets an equal share of the time that is left of
/// `limit`, so that one which swallows what it is sent leaves time for the others.
///
/// # Errors
/// With what the last one failed by; `TimedOut` when its time was over, or there is no address.
pub async fn connect_to_any(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + limit;
    let mut last = io::ErrorKind::TimedOut.into();
    for (tried, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / others;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Best effort: a socket without it only answers a little later.
                let _nodelay = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(cause)) => last = cause,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Whether an address belongs to the public Internet (RFC 6890 and the IANA special-purpose registries).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || a == 10
        || a == 127
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113))
}

/// Only `2000::/3` is public, less what is set aside in it; forms that carry an IPv4 address are judged by that one.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [a, b, c, ..] = segments;
    let carried = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let [_, _, _, _, _, _, high, low] = segments;
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match (a, b) {
        // NAT64 (RFC 6052).
        (0x0064, 0xff9b) if segments.iter().skip(2).take(4).all(|part| *part == 0) => is_public_v4(carried(high, low)),
        // 6to4 (RFC 3056).
        (0x2002, _) => is_public_v4(carried(b, c)),
        // Teredo, benchmarking, ORCHID and the rest of 2001::/23; documentation (RFC 3849, RFC 9637).
        (0x2001, 0..=0x01ff | 0x0db8) | (0x3fff, 0..=0x0fff) => false,
        _ => a & 0xe000 == 0x2000,
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known_in_every_disguise() {
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "100::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn an_address_that_swallows_what_it_is_sent_leaves_time_for_the_others() {
        use socket2::{Domain, Socket, Type};
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let dead = full.local_addr().unwrap().as_socket().unwrap();
        // Once its queue is full it answers nobody.
        let mut queue = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(dead)).await {
            queue.push(stream);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let limit = Duration::from_secs(3);
        let stream = connect_to_any(&[dead, dead, alive], limit).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        let fault = connect_to_any(&[dead], limit).await.unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_address_that_is_not_public_is_never_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let limit = Duration::from_secs(2);
        for host in [
            Host::Domain("localhost".to_owned()),
            Host::parse("127.0.0.1").unwrap(),
            Host::parse("2130706433").unwrap(),
        ] {
            let refused = tcp(&host, port, Reach::PublicOnly, limit).await;
            assert!(matches!(refused, Err(ConnectFault::NotPublic(_))), "{host}");
            assert!(check_before_proxy(&host, port, Reach::PublicOnly).await.is_err());
        }
        let nobody = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
        assert!(tcp(&Host::parse("127.0.0.1").unwrap(), port, Reach::Anywhere, limit).await.is_ok());
    }
}
