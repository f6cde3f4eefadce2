//! Long answers: a clock that ticks, and bytes that can be checked.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::base::clock::Clock;
use crate::demo::answer::{Answer, answer, text};
use crate::demo::application::route::number;
use crate::demo::body::{Body, Feed};

/// The pattern's length: prime, so that a piece that is lost or doubled shows.
const PATTERN: u64 = 251;
/// Patterns in one piece.
const REPEATS: usize = 256;
/// The longest download: 16 GiB.
const MOST_BYTES: u64 = 1 << 34;

/// `/events`: server-sent events (WHATWG HTML, section 9.2), one at once and one each second.
pub(crate) fn events() -> Answer {
    let (feed, body) = Body::stream();
    tokio::spawn(tick(feed));
    answer(StatusCode::OK, "text/event-stream", body)
}

async fn tick(feed: Feed) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for id in 0_u64.. {
        seconds.tick().await;
        let event = format!("id: {id}\ndata: {}\n\n", json!({"time": Clock::System.now().seconds()}));
        if feed.send(Ok(event.into())).await.is_err() {
            return;
        }
    }
}

/// `/download?bytes=N`: the byte at position i is i modulo 251.
pub(crate) fn download(request: &Request<Incoming>) -> Answer {
    let Some(bytes) = number(request, "bytes").filter(|bytes| *bytes <= MOST_BYTES) else {
        return text(StatusCode::BAD_REQUEST, "Say how many: /download?bytes=1000, at most 17179869184.\n");
    };
    let (feed, body) = Body::stream();
    if request.method() != Method::HEAD {
        tokio::spawn(pour(feed, bytes));
    }
    let mut answer = answer(StatusCode::OK, "application/octet-stream", body);
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    answer
}

async fn pour(feed: Feed, mut left: u64) {
    let pattern: Vec<u8> = (0..=u8::MAX).take_while(|byte| u64::from(*byte) < PATTERN).collect();
    let piece = Bytes::from(pattern.repeat(REPEATS));
    while left > 0 {
        let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= length as u64;
        if feed.send(Ok(piece.slice(..length))).await.is_err() {
            return;
        }
    }
}
