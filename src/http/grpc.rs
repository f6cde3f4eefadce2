//! What a gateway has to know of gRPC over HTTP/2: what is a call, how long it may take, and how a refusal is said.
//!
//! The names of sections are those of gRPC's "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping" documents.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, StatusCode};

/// How long the caller will wait (Requests, `Timeout`).
pub static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// What became of a call (Responses, `Status`).
pub static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The same for people (Responses, `Status-Message`).
pub static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether these are the headers of a gRPC call: `application/grpc`, with `+proto` and the like or without (Requests,
/// `Content-Type`). gRPC-Web is not: it is made for plain HTTP, statuses and all.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let Some((start, rest)) = value.as_bytes().split_at_checked(GRPC.len()) else { return false };
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

/// How long the caller will wait: at most eight digits and a unit. `None` when it doesn't say, or not readably.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(&GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The gRPC status of a refusal of ours, with a message in plain ASCII without `%` (Responses, `Percent-Encoded`). Differs from the
/// mapping for clients where the gateway knows more: a sign-in that is asked for by a redirect, sizes, and its own time limit.
pub const fn status_of(status: StatusCode) -> (u16, &'static str) {
    match status.as_u16() {
        300..=399 | 401 => (16, "There is no session. Sign in first."),
        403 => (7, "This account may not call this."),
        404 | 405 | 421 => (12, "There is nothing here."),
        413 | 431 => (8, "The call is too large."),
        400 | 417 => (13, "The call can't be read."),
        429 | 502 | 503 => (14, "The application can't be reached right now."),
        408 => (4, "The call took too long."),
        504 => (4, "The application took too long."),
        500 => (13, "Something went wrong."),
        _ => (2, "The call was refused."),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(content_type: &'static str) -> bool {
        is_grpc(&[(CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect())
    }

    fn wait(text: &'static str) -> Option<Duration> {
        timeout(&[(GRPC_TIMEOUT.clone(), HeaderValue::from_static(text))].into_iter().collect())
    }

    #[test]
    fn a_call_says_so_in_its_type() {
        for yes in ["application/grpc", "application/grpc+proto", "Application/gRPC+json", "application/grpc;x=1"] {
            assert!(of(yes), "{yes}");
        }
        for no in ["application/grpc-web", "application/grpc-web+proto", "application/grpcx", "application/json", ""] {
            assert!(!of(no), "{no}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn deadlines_are_read_strictly() {
        assert_eq!(wait("90S"), Some(Duration::from_secs(90)));
        assert_eq!(wait("2H"), Some(Duration::from_hours(2)));
        assert_eq!(wait("3M"), Some(Duration::from_mins(3)));
        assert_eq!(wait("250m"), Some(Duration::from_millis(250)));
        assert_eq!(wait("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(wait("5u"), Some(Duration::from_micros(5)));
        for bad in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S", "1.5S", "5SS"] {
            assert_eq!(wait(bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals_have_the_statuses_that_callers_act_on() {
        let code = |status: u16| status_of(StatusCode::from_u16(status).unwrap()).0;
        assert_eq!([401, 302, 403, 404, 503, 502, 504, 408].map(code), [16, 16, 7, 12, 14, 14, 4, 4]);
    }
}
