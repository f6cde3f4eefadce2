//! Where the body of an answer ends (RFC 9112, section 6.3), and its bytes without what frames them.

use std::io;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;
use memchr::memmem;

/// The longest line before a chunk: a size and extensions, which nobody uses.
const MAX_CHUNK_LINE: usize = 4 * 1024;
/// The most that trailers may take.
const MAX_TRAILERS: usize = 16 * 1024;
/// The most trailers.
const TRAILER_COUNT: usize = 64;

/// How the rest of an answer's body is framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// So many bytes are still to come; none when it is over.
    Length(u64),
    /// In chunks.
    Chunked(Chunk),
    /// Until the upstream closes the connection.
    UntilClose,
}

/// Where in a chunked body we are (RFC 9112, section 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before the line with a size.
    Size,
    /// Within a chunk: so many bytes are still to come.
    Data(u64),
    /// Before the line end after a chunk.
    End,
    /// After the last chunk.
    Trailers,
}

/// What the buffer holds next.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes of the body; never none.
    Data(Bytes),
    /// Trailers; the body is over.
    Trailers(HeaderMap),
    /// Nothing before more is read.
    Wanting,
    /// The body is over.
    Over,
}

impl Coding {
    /// Whether nothing more belongs to the body.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Takes the next piece out of `buffer`.
    ///
    /// # Errors
    /// When chunks are not as they should be.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> io::Result<Piece> {
        loop {
            match self {
                Self::Length(0) => return Ok(Piece::Over),
                _ if buffer.is_empty() => return Ok(Piece::Wanting),
                Self::Length(left) | Self::Chunked(Chunk::Data(left)) => {
                    let piece =
                        buffer.split_to(usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len())));
                    *left -= piece.len() as u64;
                    if let Self::Chunked(chunk @ Chunk::Data(0)) = self {
                        *chunk = Chunk::End;
                    }
                    return Ok(Piece::Data(piece.freeze()));
                }
                Self::UntilClose => return Ok(Piece::Data(buffer.split().freeze())),
                Self::Chunked(chunk @ Chunk::Size) => match chunk_line(buffer)? {
                    Some(0) => *chunk = Chunk::Trailers,
                    Some(size) => *chunk = Chunk::Data(size),
                    None => return Ok(Piece::Wanting),
                },
                Self::Chunked(chunk @ Chunk::End) => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        drop(buffer.split_to(2));
                        *chunk = Chunk::Size;
                    }
                    Some(_) => return Err(broken("a chunk is longer than its size says")),
                    None => return Ok(Piece::Wanting),
                },
                Self::Chunked(Chunk::Trailers) => {
                    let Some(trailers) = trailers(buffer)? else { return Ok(Piece::Wanting) };
                    *self = Self::Length(0);
                    return Ok(if trailers.is_empty() { Piece::Over } else { Piece::Trailers(trailers) });
                }
            }
        }
    }
}

fn broken(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Takes the line before a chunk and gives its size; `None` while it is not whole.
fn chunk_line(buffer: &mut BytesMut) -> io::Result<Option<u64>> {
    let seen = buffer.get(..buffer.len().min(MAX_CHUNK_LINE)).unwrap_or_default();
    let Some(end) = memchr(b'\n', seen) else {
        return if seen.len() < MAX_CHUNK_LINE { Ok(None) } else { Err(broken("a chunk's line is too long")) };
    };
    let line = buffer.split_to(end + 1);
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| broken("a chunk's line does not end as it should"))?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let rest = rest.trim_ascii_start();
    if digits == 0 || digits > 15 || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(broken("a chunk has no size"));
    }
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    size.map(Some).ok_or_else(|| broken("a chunk has no size"))
}

/// Takes the trailers and the empty line after them; `None` while they are not whole.
fn trailers(buffer: &mut BytesMut) -> io::Result<Option<HeaderMap>> {
    if buffer.starts_with(b"\r\n") {
        drop(buffer.split_to(2));
        return Ok(Some(HeaderMap::new()));
    }
    let seen = buffer.get(..buffer.len().min(MAX_TRAILERS)).unwrap_or_default();
    let Some(end) = memmem::find(seen, b"\r\n\r\n") else {
        return if seen.len() < MAX_TRAILERS { Ok(None) } else { Err(broken("the trailers are too long")) };
    };
    let text = buffer.split_to(end + 4);
    let mut lines = [httparse::EMPTY_HEADER; TRAILER_COUNT];
    let Ok(httparse::Status::Complete((_, lines))) = httparse::parse_headers(&text, &mut lines) else {
        return Err(broken("the trailers are not as they should be"));
    };
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let (name, value) = (HeaderName::from_bytes(line.name.as_bytes()), HeaderValue::from_bytes(line.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(broken("a trailer is not as it should be")) };
        trailers.append(name, value);
    }
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes all that `text` holds, given in pieces of `step` bytes; the body and what is left, or `None` when it is broken.
    fn read(mut coding: Coding, text: &[u8], step: usize) -> Option<(Vec<u8>, bool, usize)> {
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        for piece in text.chunks(step.max(1)) {
            buffer.extend_from_slice(piece);
            while let Piece::Data(data) = coding.take(&mut buffer).ok()? {
                body.extend_from_slice(&data);
            }
        }
        Some((body, coding.is_over(), buffer.len()))
    }

    const CHUNKS: Coding = Coding::Chunked(Chunk::Size);

    #[test]
    fn chunks_are_joined_whatever_the_pieces() {
        let text = b"4\r\nWiki\r\n5;ext=1\r\npedia\r\nE \r\n in\r\n\r\nchunks.\r\n0\r\n\r\nnext";
        for step in 1..=text.len() {
            let (body, over, left) = read(CHUNKS, text, step).unwrap();
            assert_eq!(body, b"Wikipedia in\r\n\r\nchunks.", "{step}");
            assert!(over && left == 4, "{step}");
        }
    }

    #[test]
    fn trailers_come_last() {
        let mut buffer = BytesMut::from(&b"0\r\ngrpc-status: 0\r\nx: y\r\n\r\n"[..]);
        let mut coding = CHUNKS;
        let Piece::Trailers(trailers) = coding.take(&mut buffer).unwrap() else { panic!("no trailers") };
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
        assert!(coding.is_over() && buffer.is_empty());
    }

    #[test]
    fn broken_chunks_are_no_body() {
        for text in [
            &b"x\r\n"[..],
            b"-1\r\n",
            b"+1\r\nx\r\n",
            b"0x1\r\nx\r\n",
            b"1\nx\r\n",
            b"1\r\nxy\r\n",
            b"1\r\nx\n0\r\n\r\n",
            b"\r\n",
            b"1 1\r\nx\r\n",
            b"1234567890123456\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nx : y\r\n\r\n",
        ] {
            assert!(read(CHUNKS, text, 64).is_none(), "{:?}", String::from_utf8_lossy(text));
        }
        assert!(read(CHUNKS, &[b'0'; MAX_CHUNK_LINE + 1], 512).is_none());
        let endless = [&b"0\r\n"[..], &b"x: y\r\n".repeat(MAX_TRAILERS)].concat();
        assert!(read(CHUNKS, &endless, 4096).is_none());
    }

    #[test]
    fn what_breaks_off_is_not_over() {
        assert!(!read(Coding::Length(5), b"1234", 2).unwrap().1);
        assert!(!read(CHUNKS, b"4\r\nWiki\r\n", 64).unwrap().1);
        assert!(!read(CHUNKS, b"0\r\n", 64).unwrap().1);
        let (body, over, left) = read(Coding::Length(4), b"12345", 64).unwrap();
        assert!(body == b"1234" && over && left == 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_bounds(text: Vec<u8>, step in 1..9_usize) {
            if let Some((body, ..)) = read(CHUNKS, &text, step) {
                prop_assert!(body.len() <= text.len());
            }
        }

        #[test]
        fn what_was_chunked_comes_out_whole(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6), step in 1..50_usize) {
            let mut text = Vec::new();
            for piece in &pieces {
                text.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let (body, over, left) = read(CHUNKS, &text, step).unwrap();
            prop_assert_eq!(body, pieces.concat());
            prop_assert!(over && left == 0);
        }
    }
}
