//! The head of an upstream's answer over HTTP/1.1: status, headers, how its body is framed, and whether the connection may serve again.
//!
//! Nobody else reads these bytes after us, and what we pass on is written anew; still an answer whose end could be seen in two places
//! is refused, since what one reader takes for its rest another takes for the next answer.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use httparse::{ParserConfig, Status};
use memchr::memchr_iter;

use super::coding::{Chunk, Coding};

/// Bytes of a head; as much as over HTTP/2.
const MAX_BYTES: usize = 256 * 1024;
/// Headers of an answer.
const MAX_HEADERS: usize = 100;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What was asked, as far as the answer's framing depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// HEAD: the headers tell of a body that does not follow.
    pub(super) is_head: bool,
    /// The answer may be a 101.
    pub(super) upgrade: bool,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    /// All but `Connection` without further names, and `Transfer-Encoding`.
    pub(super) headers: HeaderMap,
    pub(super) coding: Coding,
    /// Whether another exchange may follow on the connection.
    pub(super) keeps_alive: bool,
}

/// The upstream's answer is none, or could be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

impl Malformed {
    pub(super) const TOO_MANY_HEADS: Self = Self("too many informational answers came before the final one");
}

/// What else an upstream speaks, as far as its first bytes tell.
pub(super) const fn foreign(buffer: &[u8]) -> Option<Malformed> {
    match buffer {
        // The settings of an HTTP/2 connection (RFC 9113, sections 4.1 and 6.5).
        [0, 0, _, 4, _, 0, 0, 0, 0, ..] => {
            Some(Malformed("it speaks HTTP/2 and not HTTP/1.1; write protocol = \"http2\" at the upstream"))
        }
        // An alert (RFC 8446, section 5.1).
        [0x15, 3, _, 0, 2, ..] => Some(Malformed("it speaks TLS; write the upstream's url with https")),
        _ => None,
    }
}

/// Takes a whole head out of `buffer`; `None` while it is not whole. `seen` is how far the last call looked.
///
/// # Errors
/// When it is none.
pub(super) fn take(buffer: &mut BytesMut, seen: &mut usize, asked: Asked) -> Result<Option<AnswerHead>, Malformed> {
    let Some(end) = find_end(buffer, seen) else {
        return if buffer.len() < MAX_BYTES { Ok(None) } else { Err(Malformed("the answer's headers are too large")) };
    };
    *seen = 0;
    read(&buffer.split_to(end).freeze(), asked).map(Some)
}

/// Where the empty line after the headers ends.
fn find_end(buffer: &[u8], seen: &mut usize) -> Option<usize> {
    let from = *seen;
    for line_end in memchr_iter(b'\n', buffer.get(from..)?) {
        let next = from + line_end + 1;
        match buffer.get(next..) {
            Some([b'\n', ..]) => return Some(next + 1),
            Some([b'\r', b'\n', ..]) => return Some(next + 2),
            Some([] | [b'\r']) => {
                // The rest of an empty line may still come.
                *seen = next - 1;
                return None;
            }
            _ => {}
        }
    }
    *seen = buffer.len();
    None
}

fn read(head: &Bytes, asked: Asked) -> Result<AnswerHead, Malformed> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut []);
    match ParserConfig::default().parse_response_with_uninit_headers(&mut answer, head, &mut lines) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("the answer has too many headers")),
        _ => return Err(foreign(head).unwrap_or(Malformed("the answer is not HTTP/1.1"))),
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed("the answer's status is none"))?;
    let is_http11 = answer.version == Some(1);
    let mut facts = Facts::default();
    let mut headers = HeaderMap::with_capacity(answer.headers.len() + 2);
    for line in answer.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Malformed("a header's name is none"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value))
            .map_err(|_| Malformed("a header's value is none"))?;
        if facts.note(&name, &value)? {
            headers.append(name, value);
        }
    }
    let keeps_alive = !facts.close && (is_http11 || facts.keep_alive);
    let coding = facts.coding(status, is_http11, asked)?;
    Ok(AnswerHead { status, headers, keeps_alive: keeps_alive && coding != Coding::UntilClose, coding })
}

/// What the headers say about framing and connection.
#[derive(Debug, Default)]
struct Facts {
    length: Option<u64>,
    /// What `Transfer-Encoding` says: whether it is `chunked` and nothing else.
    coded: Option<bool>,
    close: bool,
    keep_alive: bool,
}

impl Facts {
    /// Whether the header goes on to whoever gets the answer.
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, Malformed> {
        if *name == CONTENT_LENGTH {
            return self.note_length(value);
        }
        if *name == TRANSFER_ENCODING {
            self.coded = Some(self.coded.is_none() && value.as_bytes().eq_ignore_ascii_case(b"chunked"));
            return Ok(false);
        }
        if *name == CONNECTION {
            return Ok(self.note_options(value));
        }
        Ok(*name != KEEP_ALIVE)
    }

    /// Of equal lengths the first goes on (RFC 9110, section 8.6).
    fn note_length(&mut self, value: &HeaderValue) -> Result<bool, Malformed> {
        let text = value.to_str().unwrap_or_default();
        let plain = !text.is_empty() && text.len() < 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = if plain { text.parse().ok() } else { None };
        match (self.length, length) {
            (_, None) => Err(Malformed("the answer's Content-Length is no number")),
            (Some(before), Some(length)) if before != length => Err(Malformed("the answer has two lengths")),
            (before, length) => {
                self.length = length;
                Ok(before.is_none())
            }
        }
    }

    /// `Connection` goes on only where it names other headers, for whoever removes those.
    fn note_options(&mut self, value: &HeaderValue) -> bool {
        let mut names_more = false;
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                names_more |= !option.is_empty();
            }
        }
        names_more
    }

    /// RFC 9112, section 6.3.
    fn coding(&self, status: StatusCode, is_http11: bool, asked: Asked) -> Result<Coding, Malformed> {
        if status == StatusCode::SWITCHING_PROTOCOLS && !asked.upgrade {
            return Err(Malformed("the answer changes a protocol that nobody asked to change"));
        }
        if self.coded.is_some_and(|is_chunked| self.length.is_some() || !is_chunked || !is_http11) {
            return Err(Malformed("the answer's body is framed in a way that can be read in two ways, or not at all"));
        }
        let is_bodyless =
            status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(if asked.is_head || is_bodyless {
            Coding::Length(0)
        } else if self.coded.is_some() {
            Coding::Chunked(Chunk::Size)
        } else {
            self.length.map_or(Coding::UntilClose, Coding::Length)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<AnswerHead, Malformed> {
        parse_for(text, Asked::default())
    }

    fn parse_for(text: &str, asked: Asked) -> Result<AnswerHead, Malformed> {
        let mut buffer = BytesMut::from(text.as_bytes());
        take(&mut buffer, &mut 0, asked).map(|head| head.expect("a whole head"))
    }

    fn coding(text: &str) -> Coding {
        parse(text).unwrap().coding
    }

    #[test]
    fn the_body_ends_where_the_rfc_says() {
        assert_eq!(coding("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Coding::Length(5));
        assert_eq!(coding("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"), Coding::Chunked(Chunk::Size));
        assert_eq!(coding("HTTP/1.1 200 OK\r\n\r\n"), Coding::UntilClose);
        assert_eq!(coding("HTTP/1.1 204 No Content\r\n\r\n"), Coding::Length(0));
        assert_eq!(coding("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), Coding::Length(0));
        let head = Asked { is_head: true, upgrade: false };
        let answer = parse_for("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head).unwrap();
        assert_eq!(answer.coding, Coding::Length(0));
        assert_eq!(answer.headers.get(CONTENT_LENGTH).unwrap(), "5", "HEAD is told of the body it did not get");
    }

    #[test]
    fn an_end_in_two_places_is_refused() {
        for headers in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: \x0bchunked",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 0x5",
            "Content-Length: ",
            "Content-Length: 99999999999999999999",
            "Content-Length : 5",
            " Content-Length: 5",
            "X: 1\r\n Content-Length: 5",
            "X: a\0b",
            "X\0: a",
        ] {
            assert!(parse(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n")).is_err(), "{headers:?}");
        }
        assert!(parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        let twice = parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!(twice.headers.get_all(CONTENT_LENGTH).iter().count(), 1);
    }

    #[test]
    fn what_is_not_http_is_no_answer() {
        for text in
            ["SSH-2.0\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 99 No\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "\0\n\n"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse("HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err(), "nobody asked");
        let asked = Asked { is_head: false, upgrade: true };
        assert!(parse_for("HTTP/1.1 101 Switching Protocols\r\n\r\n", asked).is_ok());
        let mut many = "HTTP/1.1 200 OK\r\n".to_owned();
        for number in 0..=MAX_HEADERS {
            many.extend(["X-", &number.to_string(), ": 1\r\n"]);
        }
        assert!(parse(&format!("{many}\r\n")).is_err());
        let mut endless = BytesMut::from(&b"HTTP/1.1 200 OK\r\nX: "[..]);
        endless.resize(MAX_BYTES, b'a');
        assert!(take(&mut endless, &mut 0, Asked::default()).is_err());
    }

    #[test]
    fn what_else_is_spoken_is_told_by_its_name() {
        let told = |bytes: &[u8]| foreign(bytes).map(|told| told.to_string()).unwrap_or_default();
        assert!(told(&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3]).contains("protocol = \"http2\""));
        assert!(told(&[0x15, 3, 1, 0, 2, 2, 70]).contains("https"));
        assert_eq!(told(b"HTTP/1.1 200"), "");
        assert_eq!(told(b""), "");
    }

    #[test]
    fn the_connection_stays_only_where_both_sides_know_the_end() {
        let keeps = |text: &str| parse(text).unwrap().keeps_alive;
        assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
        assert!(keeps("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\n"));
    }

    #[test]
    fn what_is_of_the_hop_stays_unless_it_names_more() {
        let answer =
            parse("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nX: 1\r\nContent-Length: 0\r\n\r\n");
        let names: Vec<String> = answer.unwrap().headers.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["x", "content-length"]);
        let answer = parse("HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\r\n").unwrap();
        assert_eq!(answer.headers.get(CONNECTION).unwrap(), "close, x-hop");
    }

    #[test]
    fn a_head_may_come_byte_by_byte() {
        for text in [
            &b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest"[..],
            b"HTTP/1.1 200 OK\nA: b\n\nrest",
            b"HTTP/1.1 200 \r\n\r\nrest",
        ] {
            let (mut buffer, mut seen, mut found) = (BytesMut::new(), 0, None);
            for byte in text {
                buffer.extend_from_slice(&[*byte]);
                if found.is_none() {
                    found = take(&mut buffer, &mut seen, Asked::default()).unwrap();
                }
            }
            assert_eq!(found.unwrap().status, StatusCode::OK);
            assert_eq!(&buffer[..], b"rest");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text: Vec<u8>) {
            let mut buffer = BytesMut::from(&text[..]);
            drop(take(&mut buffer, &mut 0, Asked::default()));
        }
    }
}
