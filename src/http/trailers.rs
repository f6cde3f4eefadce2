//! Which trailers of a gRPC call pass (RFC 9110, section 6.5.1): what an upstream or a visitor could take for a header that frames
//! the message, routes it, signs somebody in or names somebody goes.
//!
//! Trailers of everything else end here: merged into headers they could say what only headers may.

use http::header::{
    ACCEPT_RANGES, AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, COOKIE, DATE, EXPECT, EXPIRES, HOST, LOCATION, MAX_FORWARDS, PRAGMA,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, RETRY_AFTER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    VARY, VIA, WARNING, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName};

use crate::http::protected::ProtectedNames;

/// Never trailers, in either direction.
static HEADERS_ONLY: [HeaderName; 34] = [
    ACCEPT_RANGES,
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    DATE,
    EXPECT,
    EXPIRES,
    HOST,
    HeaderName::from_static("keep-alive"),
    LOCATION,
    MAX_FORWARDS,
    PRAGMA,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    RANGE,
    RETRY_AFTER,
    SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    VARY,
    VIA,
    WARNING,
    WWW_AUTHENTICATE,
];

/// Takes out of a request's trailers what only a header or the gateway may say.
pub fn clean_request(trailers: &mut HeaderMap, protected: &ProtectedNames) {
    clean_answer(trailers);
    protected.remove_from(trailers);
}

/// Takes out of an answer's trailers what only a header may say, our cookies among it.
pub fn clean_answer(trailers: &mut HeaderMap) {
    for name in &HEADERS_ONLY {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(names: &[&'static str]) -> HeaderMap {
        names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect()
    }

    #[test]
    fn what_identifies_frames_or_routes_never_passes_as_a_trailer() {
        let protected = ProtectedNames::new([HeaderName::from_static("x-team")], ["acme-"]);
        let mut trailers = map(&[
            "x-forwarded-user",
            "x_forwarded_email",
            "remote-user",
            "x-team",
            "x_team",
            "acme-id",
            "authorization",
            "cookie",
            "content-length",
            "content_length",
            "transfer-encoding",
            "host",
            "connection",
            "te",
            "x-http-method-override",
        ]);
        trailers.append("grpc-status", HeaderValue::from_static("0"));
        trailers.append("x-checksum", HeaderValue::from_static("1"));
        clean_request(&mut trailers, &protected);
        let left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }

    #[test]
    fn an_upstream_sets_no_cookie_by_a_trailer() {
        let mut trailers = map(&["set-cookie", "location", "grpc-status", "grpc-message", "my-metadata-bin"]);
        clean_answer(&mut trailers);
        assert_eq!(trailers, map(&["grpc-status", "grpc-message", "my-metadata-bin"]));
    }
}
