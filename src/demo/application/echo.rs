//! JSON about what came in: the whole request, or the length and hash of its body.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use http::header::HeaderValue;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::demo::answer::{Answer, json, text};

/// Length and hash of a body, read piece by piece.
struct Measured {
    bytes: u64,
    sha256: String,
}

/// `/echo`: the request as it arrived. Header names are in lower case and in the order in which each first came; those
/// that come several times stand together. Bytes that are no UTF-8 come as U+FFFD.
pub(crate) async fn echo(request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let Ok(body) = measure(body).await else { return broken_off() };
    let value = json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "headers": headers(&parts.headers),
        "body_bytes": body.bytes,
        "body_sha256": body.sha256,
    });
    json(StatusCode::OK, &value)
}

/// `/upload`: length and hash of a body of any length.
pub(crate) async fn upload(request: Request<Incoming>) -> Answer {
    match measure(request.into_body()).await {
        Ok(body) => json(StatusCode::OK, &json!({"bytes": body.bytes, "sha256": body.sha256})),
        Err(_) => broken_off(),
    }
}

fn broken_off() -> Answer {
    text(StatusCode::BAD_REQUEST, "The body broke off.\n")
}

async fn measure(mut body: Incoming) -> Result<Measured, hyper::Error> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            bytes += piece.len() as u64;
            hash.update(&piece);
        }
    }
    let mut sha256 = String::with_capacity(64);
    for byte in hash.finish().as_ref() {
        // Writing to a string can't fail.
        let _written = write!(sha256, "{byte:02x}");
    }
    Ok(Measured { bytes, sha256 })
}

fn headers(headers: &HeaderMap) -> Vec<Value> {
    headers.iter().map(|(name, value)| json!([name.as_str(), readable(value)])).collect()
}

/// A header's value as text; bytes that are no UTF-8 become U+FFFD.
pub(crate) fn readable(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
