//! Answers that go wrong on the wire, whatever was asked.

use std::future::Future;
use std::io::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::demo::answer::{Answer, answer, set, text};
use crate::demo::body::{Body, Feed};
use crate::demo::provider::misbehaviour::Transport;

const JSON: &str = "application/json";
/// The size of the pieces in which long bodies go out.
const PIECE: usize = 64 * 1024;

/// What comes in place of `right`, or what becomes of it. `here` is the provider's own base URL, for redirects to itself.
pub(crate) async fn misbehave(
    faults: Vec<Transport>,
    here: &str,
    right: impl Future<Output = Answer> + Send,
) -> Answer {
    let mut changes = Vec::new();
    for fault in faults {
        match fault {
            Transport::Slow(delay) => tokio::time::sleep(delay).await,
            Transport::Hang => std::future::pending::<()>().await,
            Transport::GzipBomb(bytes) => return packed(bytes).await,
            other => match instead(other, here) {
                Ok(answer) => return answer,
                Err(change) => changes.push(change),
            },
        }
    }
    let mut answer = right.await;
    for change in changes {
        answer = changed(answer, change).await;
    }
    answer
}

/// An answer that needs no right one, or the fault again when it does.
fn instead(fault: Transport, here: &str) -> Result<Answer, Transport> {
    let full = |body: Vec<u8>| Ok(answer(StatusCode::OK, JSON, Body::from_bytes(body)));
    match fault {
        Transport::Status(status) => {
            Ok(text(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "out of order\n"))
        }
        Transport::Body { content_type, bytes } => {
            let mut answer = answer(StatusCode::OK, JSON, Body::from_bytes(bytes));
            set(&mut answer, http::header::CONTENT_TYPE, &content_type);
            Ok(answer)
        }
        Transport::Endless(bytes) => {
            let (feed, body) = Body::stream();
            tokio::spawn(endless(feed, bytes));
            Ok(answer(StatusCode::OK, JSON, body))
        }
        Transport::Redirect { status, url, hops } => Ok(hop(status, &url, hops, here)),
        Transport::DeepJson(depth) => full([vec![b'['; depth], vec![b']'; depth]].concat()),
        Transport::NotANumber => full(b"{\"expires_in\": NaN, \"exp\": Infinity}".to_vec()),
        other => Err(other),
    }
}

/// One redirect of a chain: to the next one, or to `url` when `hops` are none.
pub(crate) fn hop(status: u16, url: &str, hops: u32, here: &str) -> Answer {
    let next = hops.checked_sub(1).map_or_else(
        || url.to_owned(),
        |left| {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("status", &status.to_string())
                .append_pair("hops", &left.to_string())
                .append_pair("url", url)
                .finish();
            format!("{here}/hop?{query}")
        },
    );
    let mut answer = text(StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND), "");
    set(&mut answer, LOCATION, &next);
    answer
}

/// What becomes of the right answer.
async fn changed(right: Answer, change: Transport) -> Answer {
    let (mut parts, body) = right.into_parts();
    let body = match change {
        Transport::Header { name, value } => {
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok());
            if let Some((name, value)) = header {
                parts.headers.insert(name, value);
            }
            body
        }
        Transport::ByteOrderMark => Body::from_bytes([b"\xef\xbb\xbf", &*bytes(body).await].concat()),
        Transport::Cut => {
            let whole = bytes(body).await;
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len().max(2)));
            let (feed, body) = Body::stream();
            tokio::spawn(async move {
                // A reader that left early needs no further cutting.
                let _gone = feed.send(Ok(whole.slice(..whole.len() / 2))).await;
                let _gone = feed.send(Err(io::Error::other("cut on request"))).await;
            });
            body
        }
        Transport::Trickle(pause) => {
            let whole = bytes(body).await;
            let (feed, body) = Body::stream();
            tokio::spawn(trickle(feed, whole, pause));
            body
        }
        _ => body,
    };
    Response::from_parts(parts, body)
}

async fn bytes(body: Body) -> Bytes {
    body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

async fn trickle(feed: Feed, whole: Bytes, pause: Duration) {
    for index in 0..whole.len() {
        if feed.send(Ok(whole.slice(index..=index))).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn endless(feed: Feed, mut left: u64) {
    let piece = Bytes::from(vec![b'a'; PIECE]);
    let mut next = Bytes::from_static(b"{\"padding\":\"");
    while left > 0 {
        let length = next.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= length as u64;
        if feed.send(Ok(next.slice(..length))).await.is_err() {
            return;
        }
        next = piece.clone();
    }
}

async fn packed(size: u64) -> Answer {
    // Packing gigabytes takes a while, which nobody else should have to wait for.
    let Ok(Ok(packed)) = tokio::task::spawn_blocking(move || bomb(size)).await else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "The bomb can't be packed.\n");
    };
    let mut answer = answer(StatusCode::OK, JSON, Body::from_bytes(packed));
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    answer
}

/// A small body that unpacks to JSON text of `size` bytes.
fn bomb(size: u64) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(b"{\"padding\":\"")?;
    io::copy(&mut io::Read::take(io::repeat(b'a'), size), &mut packer)?;
    packer.write_all(b"\"}")?;
    packer.finish()
}
