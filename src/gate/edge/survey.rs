//! One pass over the headers of a request: sizes, framing, host, what is hop-by-hop and what is protected.

use http::header::{EXPECT, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::gate::edge::{Cleaning, EdgeRules, Malformed};
use crate::http::caller::Signs;
use crate::http::headers::HopByHop;

/// The most headers that `Connection` may name besides the usual ones.
const MAX_CONNECTION_OPTIONS: usize = 16;
/// What a header costs besides its name and value, in bytes: `: ` and the line's end.
const LINE_BYTES: usize = 4;

/// What one pass over the headers found.
pub(super) struct Survey<'h> {
    /// `Host`.
    pub(super) host: Option<&'h HeaderValue>,
    /// `X-Request-Id`.
    pub(super) request_id: Option<&'h HeaderValue>,
    /// Whether `TE` holds `trailers`.
    pub(super) takes_trailers: bool,
    /// What tells a browser from a program.
    pub(super) signs: Signs<'h>,
    length: Option<&'h HeaderValue>,
    coding: Option<&'h HeaderValue>,
    upgrade: Option<&'h HeaderValue>,
    /// More than one `Content-Length` or `Transfer-Encoding`.
    framed_twice: bool,
    upgraded_twice: bool,
    hops: HopByHop,
    doomed: Vec<HeaderName>,
}

impl<'h> Survey<'h> {
    /// Looks through `headers` once.
    pub(super) fn of(headers: &'h HeaderMap, rules: &EdgeRules) -> Result<Self, Malformed> {
        const TOO_LARGE: Malformed =
            Malformed::with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's headers are too large");
        if headers.len() > rules.headers {
            return Err(TOO_LARGE);
        }
        let mut survey = Self {
            host: None,
            request_id: None,
            takes_trailers: false,
            signs: Signs::default(),
            length: None,
            coding: None,
            upgrade: None,
            framed_twice: false,
            upgraded_twice: false,
            hops: HopByHop::default(),
            doomed: Vec::new(),
        };
        let mut bytes: usize = 0;
        for (name, value) in headers {
            bytes = bytes.saturating_add(name.as_str().len() + value.len() + LINE_BYTES);
            if bytes > rules.header_bytes {
                return Err(TOO_LARGE);
            }
            survey.note(name, value, rules)?;
        }
        if survey.hops.named() > MAX_CONNECTION_OPTIONS {
            return Err(Malformed::bad("the Connection header names too many headers"));
        }
        if survey.hops.names(&HOST) {
            return Err(Malformed::bad("the Connection header names the Host header"));
        }
        Ok(survey)
    }

    fn note(&mut self, name: &HeaderName, value: &'h HeaderValue, rules: &EdgeRules) -> Result<(), Malformed> {
        if self.hops.note(name, value) {
            match name.as_str() {
                "transfer-encoding" => self.framed_twice |= self.coding.replace(value).is_some(),
                "upgrade" => self.upgraded_twice |= self.upgrade.replace(value).is_some(),
                "te" => self.takes_trailers |= has_trailers(value),
                _ => {}
            }
            return Ok(());
        }
        self.signs.note(name, value);
        match name.as_str() {
            "host" if self.host.replace(value).is_some() => {
                return Err(Malformed::bad("the request has two Host headers"));
            }
            "host" => {}
            "content-length" => self.framed_twice |= self.length.replace(value).is_some(),
            // RFC 9110, section 10.1.1: the server in front of us has answered it, so it goes no further.
            "expect" if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => self.doomed.push(EXPECT),
            "expect" => return Err(Malformed::with(StatusCode::EXPECTATION_FAILED, "this expectation can't be met")),
            _ if rules.protected.covers(name) => {
                if name.as_str() == "x-request-id" {
                    self.request_id = Some(value);
                }
                if self.doomed.is_empty() {
                    // A proxy in front sends several at once, whoever else sends any.
                    self.doomed.reserve(8);
                }
                self.doomed.push(name.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the body, if there is one, ends where every server would see its end (RFC 9112, section 6.3).
    pub(super) fn check_framing(&self, version: Version) -> Result<(), Malformed> {
        if self.framed_twice || (self.coding.is_some() && self.length.is_some()) {
            return Err(Malformed::close("the request's body is framed twice"));
        }
        if let Some(coding) = self.coding
            && (version != Version::HTTP_11 || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        {
            return Err(Malformed::close("the request's transfer coding is not exactly `chunked`"));
        }
        if let Some(length) = self.length
            && !is_plain_number(length.as_bytes())
        {
            return Err(Malformed::close("the request's Content-Length is not a plain number"));
        }
        Ok(())
    }

    /// Whether the body says how long it is.
    pub(super) const fn has_length(&self) -> bool {
        self.length.is_some()
    }

    /// Whether this is a WebSocket handshake. Every other upgrade is dropped: none passes a gateway unseen (RFC 9110, section 7.8).
    pub(super) fn is_websocket(&self, method: &Method, version: Version) -> Result<bool, Malformed> {
        let asked = self.upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
            && !self.upgraded_twice
            && self.hops.asks_for_upgrade()
            && *method == Method::GET
            && version == Version::HTTP_11;
        if asked && (self.coding.is_some() || self.length.is_some_and(|length| length.as_bytes() != b"0")) {
            return Err(Malformed::close("a WebSocket handshake has no body"));
        }
        Ok(asked)
    }

    /// A WebSocket over HTTP/2 has no body of known length: what follows is the tunnel.
    pub(super) fn check_extended(&self) -> Result<bool, Malformed> {
        if self.coding.is_some() || self.length.is_some_and(|length| length.as_bytes() != b"0") {
            return Err(Malformed::bad("a WebSocket handshake has no body"));
        }
        Ok(true)
    }

    /// What has to be removed.
    pub(super) fn into_cleaning(self) -> Cleaning {
        Cleaning { hops: self.hops, doomed: self.doomed }
    }
}

/// Digits without a leading zero, few enough for 64 bits.
fn is_plain_number(text: &[u8]) -> bool {
    text == b"0" || (matches!(text, [b'1'..=b'9', ..]) && text.len() < 20 && text.iter().all(u8::is_ascii_digit))
}

fn has_trailers(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}
