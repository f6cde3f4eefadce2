//! Which HTTP is spoken on one connection, and within which bounds.

use std::io;

use tokio::io::AsyncReadExt as _;

use super::streams::Bounds;
use crate::net::stream::Stream;
use crate::net::tls_client::HTTP2;

/// What a client that speaks HTTP/2 begins with (RFC 9113, section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the listeners speak, and the bounds of HTTP/2.
#[derive(Clone, Copy, Debug)]
pub struct Protocols {
    /// Whether plain connections may begin with HTTP/2.
    pub h2c: bool,
    /// Streams at once.
    pub streams: u32,
    /// What a visitor may do with them.
    pub bounds: Bounds,
    /// Bytes that one stream may send before any of it was read.
    pub window: u32,
    /// Bytes of target and headers that the gate takes.
    pub header_bytes: usize,
}

/// The first bytes of a connection, read to learn what is spoken.
#[derive(Debug, Default)]
pub struct Opening {
    bytes: [u8; PREFACE.len()],
    length: usize,
    passed: usize,
}

impl Opening {
    /// What has not been passed on yet.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.passed..self.length).unwrap_or_default()
    }

    /// Whether the whole preface of HTTP/2 was read.
    pub const fn has_preface(&self) -> bool {
        self.length == PREFACE.len()
    }

    /// Takes note that `count` more bytes were passed on.
    pub fn pass(&mut self, count: usize) {
        self.passed = self.passed.saturating_add(count).min(self.length);
    }
}

/// Finds out whether HTTP/2 is spoken: by what was agreed on over TLS, by the first bytes on a plain connection where that is
/// allowed. Those bytes are given back.
///
/// # Errors
/// When the connection fails or ends before that can be said.
pub async fn is_http2(stream: &mut Stream, h2c: bool) -> io::Result<(bool, Opening)> {
    let mut opening = Opening::default();
    match stream {
        Stream::Tls(_) => return Ok((stream.agreed_protocol() == Some(HTTP2), opening)),
        Stream::Tcp(_) | Stream::Unix(_) if !h2c => return Ok((false, opening)),
        Stream::Tcp(_) | Stream::Unix(_) => {}
    }
    while let Some(room) = opening.bytes.get_mut(opening.length..).filter(|room| !room.is_empty()) {
        let count = stream.read(room).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        opening.length += count;
        if !PREFACE.starts_with(opening.rest()) {
            return Ok((false, opening));
        }
    }
    Ok((true, opening))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::*;

    async fn read(parts: &[&[u8]], h2c: bool) -> io::Result<(bool, Vec<u8>)> {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut server = Stream::Unix(server);
        let sends = async {
            for part in parts {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let (found, ()) = tokio::join!(is_http2(&mut server, h2c), sends);
        found.map(|(http2, opening)| (http2, opening.rest().to_vec()))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_preface_tells_and_nothing_that_was_read_is_lost() {
        assert_eq!(read(&[PREFACE], true).await.unwrap(), (true, PREFACE.to_vec()));
        assert_eq!(
            read(&[b"PRI * HT", b"TP/2.0\r\n\r\n", b"SM\r\n\r\n"], true).await.unwrap(),
            (true, PREFACE.to_vec())
        );
        assert_eq!(read(&[b"POST / HTTP/1.1\r\n"], true).await.unwrap(), (false, b"POST / HTTP/1.1\r\n".to_vec()));
        assert!(!read(&[b"P", b"RI * HTTP/1.1\r\n"], true).await.unwrap().0);
        assert_eq!(read(&[b"GET"], true).await.unwrap(), (false, b"GET".to_vec()));
        assert!(read(&[b"PRI * HTTP"], true).await.is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn without_the_setting_nothing_is_looked_at() {
        assert_eq!(read(&[PREFACE], false).await.unwrap(), (false, Vec::new()));
    }
}
