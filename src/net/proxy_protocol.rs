//! The PROXY protocol, versions 1 and 2: a balancer says first of all whose connection it passes on.
//!
//! Rules, each with a test (the protocol's specification, sections 2.1 and 2.2):
//! 1. A header is there, and is whole and exact, or the connection ends: guessing would let a visitor write one.
//! 2. Nothing beyond the header is read; what follows is TLS or HTTP.
//! 3. It is bounded: 107 bytes in version 1, 16 + 2048 in version 2.
//! 4. `UNKNOWN`, `LOCAL` and families without addresses leave the visitor unknown. They never make the balancer the visitor: then
//!    whoever wrote `X-Forwarded-For` would be believed as the balancer is.
//!
//! Whether the peer may send a header at all is the caller's to check, before anything is read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// What begins a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What begins one of version 1.
const WORD: &[u8] = b"PROXY ";
/// The shortest header of all: `PROXY UNKNOWN` and its line end.
const SHORTEST: usize = 15;
/// The longest header of version 1, its line end included.
const LONGEST_LINE: usize = 107;
/// The most bytes after the first 16 of version 2.
const LONGEST_REST: usize = 2048;

/// The two ends of the visitor's own connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The visitor.
    pub source: SocketAddr,
    /// What the visitor connected to.
    pub destination: SocketAddr,
}

/// What came is no PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY protocol header: {0}")]
pub struct Malformed(&'static str);

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

/// Reads the header, and not a byte more; `None` when it names no visitor. The caller bounds the time.
///
/// # Errors
/// When the connection fails, or does not begin with a header.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<Ends>> {
    let mut start = [0; SHORTEST];
    stream.read_exact(&mut start).await?;
    if start.starts_with(&SIGNATURE) {
        let [.., version_and_command, family, high] = start;
        let length = usize::from(u16::from_be_bytes([high, stream.read_u8().await?]));
        if length > LONGEST_REST {
            return Err(Malformed("it is too long").into());
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return Ok(parse_binary(version_and_command, family, &rest)?);
    }
    if !start.starts_with(WORD) {
        return Err(Malformed("it begins otherwise").into());
    }
    let mut line = start.to_vec();
    let mut seen = [0; LONGEST_LINE];
    while !line.ends_with(b"\r\n") {
        let room = seen.get_mut(..LONGEST_LINE.saturating_sub(line.len())).filter(|room| !room.is_empty());
        let room = room.ok_or(Malformed("its line is too long"))?;
        let count = stream.peek(room).await?;
        let wanted = room.iter().take(count).position(|byte| *byte == b'\n').map_or(count, |at| at + 1);
        let part = room.get_mut(..wanted).filter(|part| !part.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        stream.read_exact(part).await?;
        line.extend_from_slice(part);
    }
    Ok(parse_line(&line)?)
}

/// Version 1, its line end included (section 2.1).
fn parse_line(line: &[u8]) -> Result<Option<Ends>, Malformed> {
    const BAD: Malformed = Malformed("its line can't be read");
    let line = line.strip_suffix(b"\r\n").filter(|line| line.len() + 2 <= LONGEST_LINE).ok_or(BAD)?;
    let text = std::str::from_utf8(line).ok().filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let rest = text.and_then(|text| text.strip_prefix("PROXY ")).ok_or(BAD)?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let mut words = rest.split(' ');
    let family = words.next().ok_or(BAD)?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, destination) = (address().ok_or(BAD)?, address().ok_or(BAD)?);
    let (from, to) = (port(words.next()).ok_or(BAD)?, port(words.next()).ok_or(BAD)?);
    if words.next().is_some() {
        return Err(BAD);
    }
    Ok(Some(Ends { source: SocketAddr::new(source, from), destination: SocketAddr::new(destination, to) }))
}

/// Decimal digits without a zero before them.
fn port(word: Option<&str>) -> Option<u16> {
    let word = word.filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))?;
    if word.len() > 1 && word.starts_with('0') { None } else { word.parse().ok() }
}

/// Version 2 after its signature (section 2.2).
fn parse_binary(version_and_command: u8, family: u8, rest: &[u8]) -> Result<Option<Ends>, Malformed> {
    const SHORT: Malformed = Malformed("its addresses are cut short");
    match version_and_command {
        // LOCAL: the balancer's own connection, such as a health check. What follows is skipped.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(Malformed("its version or command is unknown")),
    }
    let (ends, more) = match family {
        0x00 => return Ok(None),
        0x11 => {
            let (source, more) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let (destination, more) = more.split_first_chunk::<4>().ok_or(SHORT)?;
            let (ports, more) = more.split_first_chunk::<4>().ok_or(SHORT)?;
            (ends(IpAddr::from(*source), IpAddr::from(*destination), *ports), more)
        }
        0x21 => {
            let (source, more) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let (destination, more) = more.split_first_chunk::<16>().ok_or(SHORT)?;
            let (ports, more) = more.split_first_chunk::<4>().ok_or(SHORT)?;
            (ends(IpAddr::from(*source), IpAddr::from(*destination), *ports), more)
        }
        0x31 => {
            let (_, more) = rest.split_first_chunk::<216>().ok_or(SHORT)?;
            (None, more)
        }
        _ => return Err(Malformed("it is of no stream")),
    };
    check_extensions(more)?;
    Ok(ends)
}

#[expect(clippy::unnecessary_wraps, reason = "other families have no addresses")]
fn ends(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Option<Ends> {
    Some(Ends {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    })
}

/// Type, length and value of each have to fit (section 2.2.7); none of them means anything here.
fn check_extensions(mut rest: &[u8]) -> Result<(), Malformed> {
    while !rest.is_empty() {
        let next = rest
            .split_first_chunk::<3>()
            .and_then(|([_, high, low], after)| after.get(usize::from(u16::from_be_bytes([*high, *low]))..));
        rest = next.ok_or(Malformed("its extensions are cut short"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn line(text: &str) -> Result<Option<Ends>, Malformed> {
        parse_line(text.as_bytes())
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    const FOUR: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x11, 0x5c, 0x01, 0xbb];

    /// What is made of `bytes`, and how many of them are left.
    async fn over_a_socket(bytes: Vec<u8>) -> (io::Result<Option<Ends>>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let writing = tokio::spawn(async move {
            for piece in bytes.chunks(7) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let result = read(&mut stream).await;
        writing.await.unwrap();
        let mut left = Vec::new();
        drop(stream.read_to_end(&mut left).await);
        (result, left.len())
    }

    #[test]
    fn a_line_names_both_ends() {
        let ends = line("PROXY TCP4 192.0.2.7 198.51.100.1 4444 443\r\n").unwrap().unwrap();
        assert_eq!(ends.source, "192.0.2.7:4444".parse().unwrap());
        assert_eq!(ends.destination, "198.51.100.1:443".parse().unwrap());
        let ends = line("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n").unwrap().unwrap();
        assert_eq!(ends.source, "[2001:db8::7]:0".parse().unwrap());
        assert_eq!(line("PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(line("PROXY UNKNOWN 6.6.6.6 1.1.1.1 1 2\r\n"), Ok(None));
    }

    #[test]
    fn a_line_is_exact() {
        for bad in [
            "PROXY TCP4 192.0.2.7 198.51.100.1 4444 443\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4444 443 \r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4444\r\n",
            "PROXY  TCP4 192.0.2.7 198.51.100.1 4444 443\r\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 4444 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 04444 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +444 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 4444 443\r\n",
            "PROXY TCP6 [::1] ::1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 4444 443\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY UNKNOWN \0\r\n",
            "PROXY \r\n",
            "proxy TCP4 192.0.2.7 198.51.100.1 4444 443\r\n",
        ] {
            assert!(line(bad).is_err(), "{bad:?}");
        }
        assert!(line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(200))).is_err());
    }

    #[test]
    fn version_two_is_exact_too() {
        let ends = parse_binary(0x21, 0x11, &FOUR).unwrap().unwrap();
        assert_eq!(ends.source, "192.0.2.7:4444".parse().unwrap());
        assert_eq!(ends.destination, "198.51.100.1:443".parse().unwrap());
        let six = [[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]; 2].concat();
        let ends = parse_binary(0x21, 0x21, &[&six[..], &[0, 80, 1, 187]].concat()).unwrap().unwrap();
        assert_eq!(ends.source, "[2001:db8::7]:80".parse().unwrap());
        assert_eq!(parse_binary(0x20, 0x11, &FOUR), Ok(None), "LOCAL");
        assert_eq!(parse_binary(0x21, 0x00, b"whatever"), Ok(None), "UNSPEC");
        assert_eq!(parse_binary(0x21, 0x31, &[0; 216]), Ok(None), "a unix socket");
        assert!(parse_binary(0x21, 0x11, &[&FOUR[..], &[4, 0, 2, 1, 1]].concat()).is_ok());
        for (command, family, rest) in [
            (0x11, 0x11, &FOUR[..]),
            (0x22, 0x11, &FOUR),
            (0x21, 0x12, &FOUR),
            (0x21, 0x41, &FOUR),
            (0x21, 0x11, &FOUR[..11]),
            (0x21, 0x21, &FOUR),
            (0x21, 0x31, &FOUR),
        ] {
            assert!(parse_binary(command, family, rest).is_err(), "{command:x} {family:x}");
        }
        assert!(parse_binary(0x21, 0x11, &[&FOUR[..], &[4, 0, 3, 1, 1]].concat()).is_err());
    }

    #[tokio::test]
    async fn nothing_beyond_the_header_is_read() {
        let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 4444 443\r\nGET / HTTP/1.1\r\n".to_vec();
        let (read, left) = over_a_socket(text).await;
        assert_eq!((read.unwrap().unwrap().source.to_string().as_str(), left), ("192.0.2.7:4444", 16));
        let (read, left) = over_a_socket(b"PROXY UNKNOWN\r\nGET".to_vec()).await;
        assert_eq!((read.unwrap(), left), (None, 3));
        let mut bytes = binary(0x21, 0x11, &FOUR);
        bytes.extend(b"\x16\x03\x01");
        let (read, left) = over_a_socket(bytes).await;
        assert_eq!((read.unwrap().unwrap().source.to_string().as_str(), left), ("192.0.2.7:4444", 3));
    }

    #[tokio::test]
    async fn what_is_no_header_ends_within_bounds() {
        for bad in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7".to_vec(),
            b"PROXY UNKNOWN ".iter().copied().chain(std::iter::repeat_n(b'x', 500)).collect(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh".to_vec(),
            binary(0x21, 0x11, &[0; 4000]),
            binary(0x21, 0x11, &FOUR[..4]),
            Vec::new(),
        ] {
            assert!(over_a_socket(bad.clone()).await.0.is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_judged(bytes in proptest::collection::vec(any::<u8>(), 0..120), text in "PROXY (TCP[46]|UNKNOWN)[ 0-9a-f:.]{0,60}\r\n") {
            let _ = parse_line(&bytes);
            if let Ok(Some(ends)) = line(&text) {
                let family = if ends.source.is_ipv4() { "TCP4" } else { "TCP6" };
                let begun = format!("PROXY {family} ");
                prop_assert!(text.starts_with(&begun));
            }
        }

        #[test]
        fn any_binary_header_is_judged(command: u8, family: u8, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            if parse_binary(command, family, &rest).is_ok_and(|ends| ends.is_some()) {
                prop_assert_eq!(command, 0x21);
                prop_assert!(family == 0x11 || family == 0x21);
            }
        }

        #[test]
        fn what_is_written_is_read(source: SocketAddr, destination: SocketAddr) {
            prop_assume!(source.is_ipv4() == destination.is_ipv4());
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let text = format!("PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port());
            let ends = line(&text).unwrap().unwrap();
            prop_assert_eq!((ends.source.ip(), ends.source.port()), (source.ip(), source.port()));
            prop_assert_eq!((ends.destination.ip(), ends.destination.port()), (destination.ip(), destination.port()));
        }
    }
}
