//! WebSocket (RFC 6455), as much as an echo needs, from both sides.

use std::io::{self, Write as _};
use std::net::TcpStream;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::client::{Request, Response};
use super::upstream::Recorded;
use super::wire::Reader;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A WebSocket as a browser holds it.
pub struct WebSocket {
    stream: TcpStream,
    reader: Reader<TcpStream>,
}

impl WebSocket {
    /// Adds the fields of the handshake to `request` and opens it; gives the answer when that is no valid 101.
    pub fn open(request: Request) -> Result<Self, Box<Response>> {
        let fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        let (answer, reader) = request.headers(&fields).open().expect("the gateway answers");
        if answer.status != 101 || answer.header("sec-websocket-accept") != Some(&accept(KEY)) {
            return Err(Box::new(answer));
        }
        let stream = reader.stream().try_clone().expect("a socket can be cloned");
        Ok(Self { stream, reader })
    }

    /// Sends a text and reads the one that comes back.
    pub fn ask(&mut self, text: &str) -> io::Result<String> {
        write_frame(&mut self.stream, TEXT, text.as_bytes(), Some(MASK))?;
        let (_, payload) = read_frame(&mut self.reader)?;
        Ok(String::from_utf8_lossy(&payload).into_owned())
    }

    /// Closes it in order; whether the other side closed too.
    pub fn close(&mut self) -> io::Result<bool> {
        write_frame(&mut self.stream, CLOSE, &1000_u16.to_be_bytes(), Some(MASK))?;
        Ok(read_frame(&mut self.reader)?.0 == CLOSE)
    }
}

/// Takes the upgrade of `request` and sends every message back until one side closes.
pub fn serve_echo(request: &Recorded, stream: &mut TcpStream, reader: &mut Reader<TcpStream>) -> io::Result<()> {
    let Some(key) = request.header("sec-websocket-key") else {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    );
    stream.write_all(head.as_bytes())?;
    loop {
        let (kind, payload) = read_frame(reader)?;
        write_frame(stream, kind, &payload, None)?;
        if kind == CLOSE {
            return Ok(());
        }
    }
}

/// RFC 6455, section 4.2.2.
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// RFC 6455, section 5.2; whole messages only.
fn read_frame(reader: &mut Reader<TcpStream>) -> io::Result<(u8, Vec<u8>)> {
    let start = reader.take(2)?;
    let length = match start[1] & 0x7f {
        0x7e => u64::from(u16::from_be_bytes(reader.take(2)?.try_into().expect("two bytes"))),
        0x7f => u64::from_be_bytes(reader.take(8)?.try_into().expect("eight bytes")),
        short => u64::from(short),
    };
    let mask = if start[1] & 0x80 == 0 { vec![0; 4] } else { reader.take(4)? };
    let mut payload = reader.take(usize::try_from(length).map_err(io::Error::other)?)?;
    for (place, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[place % 4];
    }
    Ok((start[0] & 0x0f, payload))
}

fn write_frame(stream: &mut TcpStream, kind: u8, payload: &[u8], mask: Option<[u8; 4]>) -> io::Result<()> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | kind];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(masked | short),
        (_, Ok(medium)) => {
            frame.push(masked | 0x7e);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(masked | 0x7f);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    if mask.is_some() {
        frame.extend_from_slice(&key);
    }
    frame.extend(payload.iter().enumerate().map(|(place, byte)| byte ^ key[place % 4]));
    stream.write_all(&frame)
}
