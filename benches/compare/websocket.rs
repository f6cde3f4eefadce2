//! WebSockets (RFC 6455): an application that echoes, and visitors who talk or stay silent.

use std::net::Ipv4Addr;
use std::time::Duration;

use portcullis::base::clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::side::Side;

/// The path of the echo, on both sides.
pub(crate) const PATH: &str = "/ws/echo";

/// The key of every handshake here and what answers it: the example of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Bytes of a message.
const MESSAGE: usize = 120;
/// Bytes of its frame from a visitor: two of head, four of mask.
const FRAME_IN: usize = MESSAGE + 6;
/// Bytes of its frame to a visitor.
const FRAME_OUT: usize = MESSAGE + 2;
/// A binary message in one frame.
const FIN_BINARY: u8 = 0x82;

/// How many handshakes are under way at once.
const AT_ONCE: usize = 64;
/// How long a handshake, or an echo, may take.
const PATIENCE: Duration = Duration::from_secs(10);

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Starts the application on the present runtime and gives its port.
pub(crate) async fn start_echo() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tokio::spawn(echo(stream)));
        }
    }));
    Ok(port)
}

async fn echo(mut stream: TcpStream) -> Result<(), Fault> {
    stream.set_nodelay(true)?;
    read_head(&mut stream).await?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut frame = [0_u8; FRAME_IN];
    let mut answer = [b'x'; FRAME_OUT];
    (answer[0], answer[1]) = (FIN_BINARY, u8::try_from(MESSAGE)?);
    loop {
        stream.read_exact(&mut frame).await?;
        stream.write_all(&answer).await?;
    }
}

/// Reads up to the blank line, a byte at a time so that nothing behind it is taken.
async fn read_head(stream: &mut TcpStream) -> Result<String, Fault> {
    let mut head = Vec::with_capacity(2048);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 64 * 1024 {
            return Err("the head of a handshake has no end".into());
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

/// Opens one WebSocket at a server.
async fn open(authority: String, cookie: String) -> Result<TcpStream, Fault> {
    let handshake = async {
        let mut stream = TcpStream::connect(&authority).await?;
        stream.set_nodelay(true)?;
        let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: {authority}\r\nOrigin: http://{authority}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{cookie}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        if head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT) {
            Ok(stream)
        } else {
            Err(format!("no WebSocket: {}", head.lines().next().unwrap_or_default()).into())
        }
    };
    tokio::time::timeout(PATIENCE, handshake)
        .await
        .map_err(|_| Fault::from("a WebSocket's handshake takes too long"))?
}

/// Opens `count` WebSockets at `side`.
pub(crate) async fn open_many(side: &Side, count: usize) -> Outcome<Vec<TcpStream>> {
    let mut sockets = Vec::with_capacity(count);
    let mut under_way: JoinSet<Result<TcpStream, Fault>> = JoinSet::new();
    for _ in 0..count {
        if under_way.len() >= AT_ONCE
            && let Some(opened) = under_way.join_next().await
        {
            sockets.push(opened?.map_err(|fault| fault.to_string())?);
        }
        under_way.spawn(open(side.authority().to_owned(), side.cookie.clone()));
    }
    while let Some(opened) = under_way.join_next().await {
        sockets.push(opened?.map_err(|fault| fault.to_string())?);
    }
    Ok(sockets)
}

/// Sends a message over each of these and awaits its echo, over and over; gives the number of echoes.
pub(crate) async fn talk(sockets: &mut Vec<TcpStream>, span: Duration) -> Outcome<u64> {
    let mut talking = JoinSet::new();
    for socket in sockets.drain(..) {
        talking.spawn(talk_over(socket, span));
    }
    let mut echoes = 0;
    while let Some(ended) = talking.join_next().await {
        let (socket, count) = ended?.map_err(|fault| fault.to_string())?;
        echoes += count;
        sockets.push(socket);
    }
    Ok(echoes)
}

async fn talk_over(mut socket: TcpStream, span: Duration) -> Result<(TcpStream, u64), Fault> {
    // A mask of zeros leaves the message as it is; nothing on the way looks at it.
    let mut frame = [b'x'; FRAME_IN];
    frame[..6].copy_from_slice(&[FIN_BINARY, 0x80 | u8::try_from(MESSAGE)?, 0, 0, 0, 0]);
    let mut answer = [0_u8; FRAME_OUT];
    let (started, mut echoes) = (clock::instant(), 0);
    while started.elapsed() < span {
        socket.write_all(&frame).await?;
        let read = tokio::time::timeout(PATIENCE, socket.read_exact(&mut answer)).await;
        read.map_err(|_| Fault::from("an echo does not come"))??;
        if answer[..3] != [FIN_BINARY, u8::try_from(MESSAGE)?, b'x'] {
            return Err("what comes back is no echo".into());
        }
        echoes += 1;
    }
    Ok((socket, echoes))
}
