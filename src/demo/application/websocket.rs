//! A WebSocket that sends back every frame it gets (RFC 6455). Frames go back as they come, so nothing piles up.

use std::io;
use std::sync::PoisonError;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::demo::answer::{Answer, set, text};
use crate::demo::application::Sockets;
use crate::demo::body::Body;

/// What the handshake's hash is taken over, behind the key (RFC 6455, section 1.3).
const HANDSHAKE: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The longest frame.
const LONGEST_FRAME: u64 = 1 << 20;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

/// `/ws`: takes the handshake (RFC 6455, section 4.2) or says what is missing.
pub(crate) fn upgrade(sockets: &Sockets, mut request: Request<Incoming>) -> Answer {
    let headers = request.headers();
    let lists = |name: &str, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    };
    if request.method() != Method::GET || !lists("upgrade", "websocket") || !lists("connection", "upgrade") {
        let mut answer = text(StatusCode::UPGRADE_REQUIRED, "This address speaks WebSocket.\n");
        answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        return answer;
    }
    if headers.get("sec-websocket-version").is_none_or(|version| version != "13") {
        let mut answer = text(StatusCode::UPGRADE_REQUIRED, "This address speaks version 13.\n");
        set(&mut answer, http::HeaderName::from_static("sec-websocket-version"), "13");
        return answer;
    }
    let Some(accept) = accept(headers) else {
        return text(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64.\n");
    };
    let upgraded = hyper::upgrade::on(&mut request);
    sockets.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
        if let Ok(stream) = upgraded.await {
            // The other end is gone then, and a new handshake starts anew.
            let _ended = echo(TokioIo::new(stream)).await;
        }
    });
    let mut answer = Response::new(Body::from_bytes(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    set(&mut answer, http::HeaderName::from_static("sec-websocket-accept"), &accept);
    answer
}

/// `Sec-WebSocket-Accept`; the hash proves nothing but that the key was read, so SHA-1 is good enough.
fn accept(headers: &HeaderMap) -> Option<String> {
    let key = headers.get("sec-websocket-key")?.to_str().ok()?.trim();
    STANDARD.decode(key).ok().filter(|bytes| bytes.len() == 16)?;
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{HANDSHAKE}").as_bytes());
    Some(STANDARD.encode(hash))
}

/// A frame as it came, unmasked.
struct Frame {
    last: bool,
    opcode: u8,
    payload: Vec<u8>,
}

/// Why a frame can't be taken.
enum Bad {
    /// The close code that tells the other end.
    Frame(u16),
    /// Reading failed.
    Io(io::Error),
}

impl From<io::Error> for Bad {
    fn from(fault: io::Error) -> Self {
        Self::Io(fault)
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let mut within_message = false;
    loop {
        let frame = match read(&mut stream).await {
            Ok(frame) => frame,
            Err(Bad::Io(fault)) => return Err(fault),
            Err(Bad::Frame(code)) => return close(&mut stream, &code.to_be_bytes()).await,
        };
        match frame.opcode {
            PING => write(&mut stream, true, PONG, &frame.payload).await?,
            PONG => {}
            CLOSE => return close(&mut stream, frame.payload.get(..2).unwrap_or_default()).await,
            // A message begins with its kind and goes on without one (RFC 6455, section 5.4).
            opcode if (opcode == CONTINUATION) != within_message => {
                return close(&mut stream, &PROTOCOL_ERROR.to_be_bytes()).await;
            }
            opcode => {
                within_message = !frame.last;
                write(&mut stream, frame.last, opcode, &frame.payload).await?;
            }
        }
    }
}

async fn close<S: AsyncWrite + Unpin>(stream: &mut S, code: &[u8]) -> io::Result<()> {
    write(stream, true, CLOSE, code).await?;
    stream.shutdown().await
}

/// Reads one frame of a client (RFC 6455, section 5.2).
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Frame, Bad> {
    let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
    let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
    let short = u64::from(second & 0x7f);
    let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
    let is_control = opcode >= CLOSE;
    let is_masked = second & 0x80 != 0;
    if first & 0x70 != 0 || !known || !is_masked || (is_control && (!last || short > 125)) {
        return Err(Bad::Frame(PROTOCOL_ERROR));
    }
    let length = match short {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => short,
    };
    if length > LONGEST_FRAME {
        return Err(Bad::Frame(TOO_BIG));
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).map_err(|_| Bad::Frame(TOO_BIG))?];
    stream.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Frame { last, opcode, payload })
}

/// Writes one frame of a server, which is never masked (RFC 6455, section 5.1).
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, last: bool, opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(if last { 0x80 | opcode } else { opcode });
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_the_one_of_the_rfc() {
        let mut headers = HeaderMap::new();
        headers.insert("sec-websocket-key", HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.insert("sec-websocket-key", HeaderValue::from_static("c2hvcnQ="));
        assert!(accept(&headers).is_none());
    }

    async fn talk(bytes: &[u8]) -> Vec<u8> {
        let (mut ours, theirs) = tokio::io::duplex(1 << 12);
        let echo = tokio::spawn(echo(theirs));
        ours.write_all(bytes).await.unwrap();
        let mut heard = Vec::new();
        ours.shutdown().await.unwrap();
        ours.read_to_end(&mut heard).await.unwrap();
        let _ended = echo.await.unwrap();
        heard
    }

    #[tokio::test]
    async fn frames_come_back_unmasked() {
        // "Hello" masked, as in RFC 6455, section 5.7.
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(talk(&hello).await, b"\x81\x05Hello");
        assert_eq!(talk(b"\x89\x81\0\0\0\0x").await, b"\x8a\x01x");
        assert_eq!(talk(b"\x88\x82\0\0\0\0\x03\xe8").await, b"\x88\x02\x03\xe8");
    }

    #[tokio::test]
    async fn frames_that_break_the_rules_close_the_socket() {
        for bad in [
            &b"\x81\x05Hello"[..],               // not masked
            b"\xc1\x80\0\0\0\0",                 // a reserved bit
            b"\x83\x80\0\0\0\0",                 // a reserved opcode
            b"\x09\x80\0\0\0\0",                 // a ping in pieces
            b"\x80\x80\0\0\0\0",                 // a continuation of nothing
            b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", // a message within a message
        ] {
            let heard = talk(bad).await;
            assert!(heard.ends_with(b"\x88\x02\x03\xea"), "{bad:?} {heard:?}");
        }
        let heard = talk(b"\x82\xff\0\0\0\0\x7f\0\0\0\0\0\0\0").await;
        assert!(heard.ends_with(b"\x88\x02\x03\xf1"), "{heard:?}");
    }
}
