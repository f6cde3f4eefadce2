//! HTTP/2 frame by frame (RFC 9113, section 4), well-formed or not: what no library would send.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use crate::support::client::Client;

/// Frame types.
pub const DATA: u8 = 0;
/// Opens a stream.
pub const HEADERS: u8 = 1;
/// Ends one at once.
pub const RST_STREAM: u8 = 3;
/// Ends a connection.
pub const GOAWAY: u8 = 7;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// One frame as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// What it holds.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The frame as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], self.kind, self.flags];
        frame.extend_from_slice(&self.stream.to_be_bytes());
        frame.extend_from_slice(&self.payload);
        frame
    }

    /// The code of a GOAWAY.
    pub fn code(&self) -> u32 {
        code(&self.payload[4..])
    }
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered with this status.
    Answered(u16),
    /// It was reset with this code.
    Reset(u32),
    /// The connection was ended with this code.
    GoneAway(u32),
    /// The connection ended without a word.
    Closed,
}

impl Outcome {
    /// Whether nothing can have come of the request: it was refused in one way or another.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Answered(status) if *status < 400)
    }
}

/// A connection that sends what it is told.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects to `url` by prior knowledge.
    pub fn connect(url: &str) -> Self {
        let mut stream = Client::new(url).connect();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("it listens");
        let mut raw = Self { stream };
        raw.send(SETTINGS, 0, 0, &[]).expect("it listens");
        raw
    }

    /// Sends one frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write(&Frame { kind, flags, stream, payload: payload.to_vec() }.bytes())
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a header block of literals, each byte as it stands.
    pub fn headers(&mut self, stream: u32, fields: &[(&[u8], &[u8])], end: bool) -> io::Result<()> {
        self.send(HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, &block(fields))
    }

    /// Sends a piece of a body.
    pub fn data(&mut self, stream: u32, bytes: &[u8], end: bool) -> io::Result<()> {
        self.send(DATA, u8::from(end), stream, bytes)
    }

    /// Cancels a stream.
    pub fn reset(&mut self, stream: u32, code: u32) -> io::Result<()> {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    /// The next frame that is not about the connection's upkeep; `None` at its end.
    pub fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let mut head = [0; 9];
            match self.stream.read_exact(&mut head) {
                Ok(()) => {}
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).expect("it fits")];
            match self.stream.read_exact(&mut payload) {
                Ok(()) => {}
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            let frame = Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload,
            };
            // Whoever has closed already does not hear this, and what they said before is still to be read.
            let _closed = match (frame.kind, frame.flags & ACK) {
                (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[]),
                (PING, 0) => self.send(PING, ACK, 0, &frame.payload),
                (DATA | HEADERS | RST_STREAM | GOAWAY, _) => return Ok(Some(frame)),
                _ => Ok(()),
            };
        }
    }

    /// What becomes of `stream`: the first word on it.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            match self.next().unwrap_or_else(|error| panic!("no word on stream {stream}: {error}")) {
                None => return Outcome::Closed,
                Some(frame) if frame.kind == GOAWAY => return Outcome::GoneAway(frame.code()),
                Some(frame) if frame.stream != stream => {}
                Some(frame) if frame.kind == RST_STREAM => return Outcome::Reset(code(&frame.payload)),
                Some(frame) if frame.kind == HEADERS => return Outcome::Answered(status(&frame.payload)),
                Some(_) => {}
            }
        }
    }
}

/// The pseudo-header fields of a request (RFC 9113, section 8.3.1).
pub fn request<'a>(method: &'a str, path: &'a str, authority: &'a str) -> Vec<(&'a [u8], &'a [u8])> {
    vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":path", path.as_bytes()),
        (b":authority", authority.as_bytes()),
    ]
}

/// Literals without indexing and without Huffman codes (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// RFC 7541, section 5.1, with a prefix of seven bits.
fn integer(block: &mut Vec<u8>, number: usize) {
    if number < 127 {
        block.push(u8::try_from(number).expect("small"));
        return;
    }
    block.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("small") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("small"));
}

/// The status that a header block begins with: from the static table (RFC 7541, appendix A), or a literal in three digits.
fn status(block: &[u8]) -> u16 {
    // Size updates may come first.
    let start = block.iter().position(|byte| byte >> 5 != 1).expect("a field");
    let block = &block[start..];
    match block[0] {
        known @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
        0x48 | 0x08 | 0x18 => {
            let digits = if block[1] & 0x80 == 0 { block[2..5].to_vec() } else { digits(&block[2..]) };
            String::from_utf8_lossy(&digits).parse().expect("three digits")
        }
        other => panic!("a header block that begins with {other:#x}"),
    }
}

/// Three digits in Huffman codes (RFC 7541, appendix B): 0 to 2 have five bits, 3 to 9 six.
fn digits(bytes: &[u8]) -> Vec<u8> {
    let bit = |place: usize| u16::from(bytes[place / 8] >> (7 - place % 8) & 1);
    let mut place = 0;
    let mut digits = Vec::new();
    while digits.len() < 3 {
        let five = (0..5).fold(0, |code, next| code << 1 | bit(place + next));
        let digit = if five <= 2 {
            place += 5;
            five
        } else {
            place += 6;
            (five << 1 | bit(place - 1)) - 0x19 + 3
        };
        digits.push(b'0' + u8::try_from(digit).expect("a digit"));
    }
    digits
}

fn code(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

#[test]
fn statuses_are_read_in_every_spelling() {
    assert_eq!(status(&[0x88]), 200);
    assert_eq!(status(&[0x48, 3, b'4', b'0', b'3']), 403);
    // "302" as RFC 7541, appendix C.6.1, has it.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), 302);
}
