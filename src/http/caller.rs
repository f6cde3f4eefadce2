//! Tells a browser that shows a page to a person from a program that wants a status code.
//!
//! 1. A WebSocket handshake and a gRPC call are a program's.
//! 2. `Sec-Fetch-Mode` (Fetch Metadata, section 2.2) decides when it is there: only `navigate` into a document is a browser's.
//! 3. `X-Requested-With: XMLHttpRequest` is a program's.
//! 4. `Accept` decides at last: who asks for HTML by name gets pages; who takes anything gets them for GET and HEAD, so that plain
//!    `curl` shows where to sign in; who names other types is a program.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::http::visit::Caller;

/// What kind of answer the sender of this request can read.
pub fn classify(method: &Method, headers: &HeaderMap, websocket: bool) -> Caller {
    let mut signs = Signs::default();
    for (name, value) in headers {
        signs.note(name, value);
    }
    signs.caller(method, websocket)
}

/// Whether this header says that a browser asks in advance.
pub fn asks_in_advance(name: &HeaderName, value: &HeaderValue) -> bool {
    let words: &[&str] = match name.as_str() {
        "sec-purpose" | "x-moz" => &["prefetch"],
        "purpose" => &["prefetch", "preview"],
        _ => return false,
    };
    let says = |part: &str| words.iter().any(|word| part.trim().eq_ignore_ascii_case(word));
    value.to_str().is_ok_and(|line| line.split([',', ';']).any(says))
}

/// What tells one from the other, found while the headers are looked through for other reasons too. Of a header that came twice the
/// first counts, and of `Accept` every one.
#[derive(Default)]
pub struct Signs<'h> {
    content_type: Option<&'h HeaderValue>,
    mode: Option<&'h HeaderValue>,
    dest: Option<&'h HeaderValue>,
    requested_with: Option<&'h HeaderValue>,
    accepts: Accepts,
    in_advance: bool,
}

impl<'h> Signs<'h> {
    /// Takes note of one header.
    pub fn note(&mut self, name: &HeaderName, value: &'h HeaderValue) {
        let sign = match name.as_str() {
            "accept" => return self.accepts.note(value.as_bytes()),
            "content-type" => &mut self.content_type,
            "sec-fetch-mode" => &mut self.mode,
            "sec-fetch-dest" => &mut self.dest,
            "x-requested-with" => &mut self.requested_with,
            _ => return self.in_advance |= asks_in_advance(name, value),
        };
        sign.get_or_insert(value);
    }

    /// What they say of who sent a request with this method, which may be a WebSocket handshake.
    pub fn caller(&self, method: &Method, websocket: bool) -> Caller {
        if websocket || self.is_grpc() {
            return Caller::Program;
        }
        if let Some(mode) = self.mode {
            let is_window = mode.as_bytes() == b"navigate" && self.shows_a_document();
            return if is_window { Caller::Browser } else { Caller::Program };
        }
        if self.requested_with.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"XMLHttpRequest")) {
            return Caller::Program;
        }
        match self.accepts {
            Accepts::Html => Caller::Browser,
            Accepts::Anything if *method == Method::GET || *method == Method::HEAD => Caller::Browser,
            Accepts::Anything | Accepts::Other => Caller::Program,
        }
    }

    /// Whether a browser asks in advance for what a person may never want to see.
    pub const fn ask_in_advance(&self) -> bool {
        self.in_advance
    }

    fn is_grpc(&self) -> bool {
        const GRPC: &[u8] = b"application/grpc";
        self.content_type
            .and_then(|value| value.as_bytes().get(..GRPC.len()))
            .is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
    }

    fn shows_a_document(&self) -> bool {
        self.dest.is_none_or(|dest| matches!(dest.as_bytes(), b"document" | b"iframe" | b"frame" | b"fencedframe"))
    }
}

/// What `Accept` asks for (RFC 9110, section 12.5.1); a range with `q=0` asks for nothing.
#[derive(Clone, Copy, Debug, Default)]
enum Accepts {
    Html,
    #[default]
    Anything,
    Other,
}

impl Accepts {
    fn note(&mut self, line: &[u8]) {
        for range in line.split(|byte| *byte == b',') {
            let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let kind = parts.next().unwrap_or_default();
            let refused = parts.any(is_zero_weight);
            let html = kind.eq_ignore_ascii_case(b"text/html") || kind.eq_ignore_ascii_case(b"application/xhtml+xml");
            if html && !refused {
                *self = Self::Html;
            }
            if matches!(self, Self::Html) {
                return;
            }
            if !(kind.is_empty() || (kind == b"*/*" && !refused)) {
                *self = Self::Other;
            }
        }
    }
}

fn is_zero_weight(parameter: &[u8]) -> bool {
    let mut parts = parameter.splitn(2, |byte| *byte == b'=');
    let named_q = parts.next().is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"q"));
    named_q && parts.next().is_some_and(|weight| weight.trim_ascii().iter().all(|byte| matches!(byte, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn caller(method: &str, lines: &[(&'static str, &str)]) -> Caller {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        classify(&method.parse().unwrap(), &headers, false)
    }

    #[test]
    fn curl_is_shown_where_to_sign_in_unless_it_asks_for_data() {
        assert_eq!(caller("GET", &[("accept", "*/*")]), Caller::Browser);
        assert_eq!(caller("HEAD", &[]), Caller::Browser);
        assert_eq!(caller("GET", &[("accept", "application/json")]), Caller::Program);
        assert_eq!(caller("GET", &[("accept", "*/*"), ("sec-fetch-mode", "cors")]), Caller::Program);
        assert_eq!(caller("POST", &[("accept", "*/*")]), Caller::Program);
        assert_eq!(caller("DELETE", &[]), Caller::Program);
    }

    #[test]
    fn fetch_metadata_beats_accept() {
        let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        assert_eq!(
            caller("GET", &[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]),
            Caller::Browser
        );
        assert_eq!(
            caller("POST", &[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]),
            Caller::Browser
        );
        assert_eq!(caller("GET", &[("sec-fetch-mode", "navigate")]), Caller::Browser);
        for mode in ["cors", "no-cors", "same-origin", "websocket", "Navigate", ""] {
            assert_eq!(caller("GET", &[html, ("sec-fetch-mode", mode)]), Caller::Program, "{mode}");
        }
        assert_eq!(
            caller("GET", &[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object")]),
            Caller::Program
        );
    }

    #[test]
    fn old_browsers_are_known_by_what_they_accept() {
        assert_eq!(caller("GET", &[("accept", "application/json, TEXT/HTML;q=0.5")]), Caller::Browser);
        assert_eq!(caller("POST", &[("accept", "text/html")]), Caller::Browser);
        assert_eq!(caller("GET", &[("accept", "application/json"), ("accept", "text/html")]), Caller::Browser);
        assert_eq!(caller("GET", &[("accept", "text/html;q=0, */*")]), Caller::Program);
        assert_eq!(caller("GET", &[("accept", "application/json, text/plain, */*")]), Caller::Program);
        assert_eq!(caller("GET", &[("accept", "image/avif,image/webp,*/*")]), Caller::Program);
        assert_eq!(caller("GET", &[("accept", "text/html"), ("x-requested-with", "xmlhttprequest")]), Caller::Program);
    }

    #[test]
    fn websockets_and_grpc_are_programs() {
        assert_eq!(
            caller("POST", &[("content-type", "application/grpc+proto"), ("accept", "text/html")]),
            Caller::Program
        );
        assert_eq!(classify(&Method::GET, &HeaderMap::new(), true), Caller::Program);
    }
}
