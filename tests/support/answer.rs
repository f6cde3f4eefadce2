//! What a scripted upstream answers, well-behaved or not.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use super::pause;
use super::upstream::Recorded;
use super::websocket;
use super::wire::Reader;

/// An answer of the upstream.
#[derive(Clone, Debug)]
pub struct Answer {
    kind: Kind,
    delay: Duration,
    status: u16,
    headers: Vec<(String, String)>,
    trailers: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Kind {
    Echo,
    Body(Vec<u8>),
    Chunks(Vec<Vec<u8>>, Duration),
    Big(u64),
    Raw(Vec<u8>, Ending),
    Silence(Duration),
    WebSocket,
}

/// What becomes of the connection after raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The next request may come.
    KeepOpen,
    /// It ends in order.
    Close,
    /// It is reset.
    Reset,
}

impl Answer {
    /// The request as JSON: method, target, fields in order, length and digest of the body.
    pub fn echo() -> Self {
        Self::of(Kind::Echo)
    }

    /// `status` with an empty body.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::of(Kind::Body(Vec::new())) }
    }

    /// 200 with this body.
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        Self::of(Kind::Body(body.into()))
    }

    /// 200 with this JSON.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::body(value.to_string()).header("Content-Type", "application/json")
    }

    /// 200 with these chunks, `gap` apart.
    pub fn chunks(chunks: &[&str], gap: Duration) -> Self {
        Self::of(Kind::Chunks(chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect(), gap))
    }

    /// Server-sent events, `gap` apart.
    pub fn events(events: &[&str], gap: Duration) -> Self {
        let chunks = events.iter().map(|event| format!("data: {event}\n\n").into_bytes()).collect();
        Self::of(Kind::Chunks(chunks, gap))
            .header("Content-Type", "text/event-stream")
            .header("Cache-Control", "no-cache")
    }

    /// 200 with `length` bytes, byte `i` being `i % 251`.
    pub fn big(length: u64) -> Self {
        Self::of(Kind::Big(length)).header("Content-Type", "application/octet-stream")
    }

    /// Exactly these bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>, ending: Ending) -> Self {
        Self::of(Kind::Raw(bytes.into(), ending))
    }

    /// Nothing for this long, then the connection ends.
    pub fn silence(span: Duration) -> Self {
        Self::of(Kind::Silence(span))
    }

    /// Takes the upgrade and sends every WebSocket message back.
    pub fn websocket() -> Self {
        Self::of(Kind::WebSocket)
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a trailer; for chunks.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Waits before it begins.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn of(kind: Kind) -> Self {
        Self { kind, delay: Duration::ZERO, status: 200, headers: Vec::new(), trailers: Vec::new() }
    }

    /// Sends it; whether the connection may serve another request.
    pub fn send(&self, request: &Recorded, stream: &mut TcpStream, reader: &mut Reader<TcpStream>) -> io::Result<bool> {
        pause(self.delay);
        match &self.kind {
            Kind::Echo => {
                let body = echo(request);
                self.head(
                    stream,
                    &[("Content-Type", "application/json"), ("Content-Length", &body.len().to_string())],
                )?;
                write_body(stream, request, body.as_bytes())?;
            }
            Kind::Body(body) => {
                self.head(stream, &[("Content-Length", &body.len().to_string())])?;
                write_body(stream, request, body)?;
            }
            Kind::Big(length) => {
                self.head(stream, &[("Content-Length", &length.to_string())])?;
                let mut sent = 0;
                while sent < *length {
                    let count = (*length - sent).min(251 * 256);
                    stream.write_all(&pattern(sent, count))?;
                    sent += count;
                }
            }
            Kind::Chunks(chunks, gap) => {
                self.head(stream, &[("Transfer-Encoding", "chunked")])?;
                for chunk in chunks {
                    let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
                    framed.extend_from_slice(chunk);
                    framed.extend_from_slice(b"\r\n");
                    stream.write_all(&framed)?;
                    pause(*gap);
                }
                stream.write_all(format!("0\r\n{}\r\n", fields(&self.trailers)).as_bytes())?;
            }
            Kind::Raw(bytes, ending) => {
                stream.write_all(bytes)?;
                if *ending == Ending::Reset {
                    // The bytes should arrive before the reset does.
                    pause(Duration::from_millis(50));
                    SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                }
                return Ok(*ending == Ending::KeepOpen);
            }
            Kind::Silence(span) => {
                pause(*span);
                return Ok(false);
            }
            Kind::WebSocket => {
                websocket::serve_echo(request, stream, reader)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn head(&self, stream: &mut TcpStream, more: &[(&str, &str)]) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} Scripted\r\n{}", self.status, fields(&self.headers));
        for (name, value) in more {
            if !self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
                write!(text, "{name}: {value}\r\n").expect("writing to a string can't fail");
            }
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes())
    }
}

/// The bytes of [`Answer::big`] from `start` on.
pub fn pattern(start: u64, count: u64) -> Vec<u8> {
    (start..start + count).map(|place| u8::try_from(place % 251).expect("below 251")).collect()
}

fn fields(headers: &[(String, String)]) -> String {
    headers.iter().fold(String::new(), |mut text, (name, value)| {
        write!(text, "{name}: {value}\r\n").expect("writing to a string can't fail");
        text
    })
}

fn write_body(stream: &mut TcpStream, request: &Recorded, body: &[u8]) -> io::Result<()> {
    if request.method == "HEAD" { Ok(()) } else { stream.write_all(body) }
}

fn echo(request: &Recorded) -> String {
    json!({
        "method": request.method,
        "target": request.target,
        "headers": request.head.headers,
        "bytes": request.body_bytes,
        "sha256": request.body_sha256,
        "trailers": request.trailers,
    })
    .to_string()
}
