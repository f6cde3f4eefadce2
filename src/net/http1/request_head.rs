//! The head of a request to an upstream as bytes: request line, headers, and what says how long the body is.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Body;

use super::upload::Framing;
use crate::net::ready::{Added, line_length, write_line};

/// A guess at the bytes of a head besides its headers: enough for most request lines.
const REQUEST_LINE: usize = 256;

/// The request says two things about the length of its body.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request's Content-Length is not the length of its body")]
pub(super) struct Contradiction;

/// What a head says of what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// How its body is to follow (RFC 9112, section 6).
    pub(super) framing: Framing,
    /// Whether it asks for another protocol.
    pub(super) upgrade: bool,
}

/// The head of `request` and what is `added` to it, and what that says of what follows.
///
/// A `Content-Length` that came along is passed on, and the body is held to it; a body of unknown length is sent in chunks.
pub(super) fn write<B: Body>(request: &Request<B>, added: &Added<'_>) -> Result<(Vec<u8>, Announced), Contradiction> {
    let (headers, body) = (request.headers(), request.body());
    let Survey { bytes: visitors, length: announced, upgrade } = survey(headers)?;
    let framing = match (body.size_hint().exact(), announced) {
        (Some(exact), Some(announced)) if exact != announced => return Err(Contradiction),
        (_, Some(announced)) => Framing::Length(announced),
        (Some(exact), None) => Framing::Length(exact),
        (None, None) => Framing::Chunked,
    };
    let mut out = Vec::with_capacity(REQUEST_LINE + visitors + added.length());
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.uri().path_and_query().map_or("/", |target| target.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        if *name != TRANSFER_ENCODING {
            write_line(&mut out, name, value);
        }
    }
    added.write(&mut out);
    match framing {
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(0) if announced.is_none() && !expects_content(request.method()) => {}
        Framing::Length(length) if announced.is_none() => {
            write_line(&mut out, &CONTENT_LENGTH, &HeaderValue::from(length));
        }
        Framing::Length(_) => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok((out, Announced { framing, upgrade }))
}

/// What one pass over the headers finds: looking each of them up would cost more.
struct Survey {
    /// The length of their lines.
    bytes: usize,
    /// What `Content-Length` says, if it is there.
    length: Option<u64>,
    upgrade: bool,
}

fn survey(headers: &HeaderMap) -> Result<Survey, Contradiction> {
    let mut survey = Survey { bytes: 0, length: None, upgrade: false };
    for (name, value) in headers {
        survey.bytes += line_length(name, value);
        survey.upgrade |= *name == UPGRADE;
        if *name == CONTENT_LENGTH {
            let length = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or(Contradiction)?;
            if survey.length.replace(length).is_some_and(|other| other != length) {
                return Err(Contradiction);
            }
        }
    }
    Ok(survey)
}

/// Methods that an empty body is announced for (RFC 9110, section 8.6).
fn expects_content(method: &Method) -> bool {
    *method == Method::POST || *method == Method::PUT || *method == Method::PATCH
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

    use super::*;

    fn head<B: Body>(request: &Request<B>) -> (String, Framing) {
        let (out, announced) = write(request, &Added::default()).unwrap();
        (String::from_utf8(out).unwrap(), announced.framing)
    }

    #[test]
    fn a_get_has_a_line_its_headers_and_nothing_else() {
        let request = Request::get("/a?b=%20").header("host", "x").header("x-a", "1").header("x-a", "2");
        let (head, framing) = head(&request.body(Empty::<Bytes>::new()).unwrap());
        assert_eq!(head, "GET /a?b=%20 HTTP/1.1\r\nhost: x\r\nx-a: 1\r\nx-a: 2\r\n\r\n");
        assert_eq!(framing, Framing::Length(0));
    }

    #[test]
    fn a_body_is_announced_once() {
        let (known, framing) = head(&Request::post("/").body(Full::new(Bytes::from_static(b"four"))).unwrap());
        assert_eq!((known.as_str(), framing), ("POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n", Framing::Length(4)));
        let announced = Request::post("/").header("content-length", "4").body(Full::new(Bytes::from_static(b"four")));
        assert_eq!(head(&announced.unwrap()).0.matches("content-length").count(), 1);
        let (empty, _) = head(&Request::put("/").body(Empty::<Bytes>::new()).unwrap());
        assert!(empty.contains("content-length: 0\r\n"));
        let frames = futures_util::stream::empty::<Result<http_body::Frame<Bytes>, std::io::Error>>();
        let unknown =
            Request::post("/").header("transfer-encoding", "chunked").body(StreamBody::new(frames).boxed_unsync());
        let (unknown, framing) = head(&unknown.unwrap());
        assert_eq!(unknown, "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(framing, Framing::Chunked);
    }

    #[test]
    fn two_lengths_are_none() {
        let request = Request::post("/").header("content-length", "5").body(Full::new(Bytes::from_static(b"four")));
        assert!(write(&request.unwrap(), &Added::default()).is_err());
    }
}
