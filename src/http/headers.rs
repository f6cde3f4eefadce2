//! Hop-by-hop headers: what belongs to one connection alone and goes no further (RFC 9110, section 7.6.1).
//!
//! They are removed before anything of ours is set, so that a client can't name one of ours in `Connection` and have it dropped.

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, HeaderName, ORIGIN, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERER, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

/// The hop-by-hop headers whether `Connection` names them or not. `HTTP2-Settings` belongs to the `h2c` upgrade, which we do not
/// take part in.
static HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
];

/// What a request is judged by. These are for every recipient, so `Connection` must not name them (RFC 9110, section 7.6.1), and
/// naming them has no effect: nobody gets round a check of where a request comes from by having the header dropped before it.
static END_TO_END: [HeaderName; 8] = [
    AUTHORIZATION,
    COOKIE,
    ORIGIN,
    REFERER,
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-user"),
];

/// The hop-by-hop headers of one message, found while its headers are looked through, so that removing them looks up only what
/// is there.
#[derive(Debug, Default)]
pub struct HopByHop {
    found: u16,
    named: Vec<HeaderName>,
    upgrade: bool,
}

impl HopByHop {
    /// Takes note of one header. `true` when it is hop-by-hop by its name.
    pub fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> bool {
        let bit = match name.as_str() {
            "connection" => {
                self.note_options(value);
                0
            }
            "keep-alive" => 1,
            "proxy-connection" => 2,
            "te" => 3,
            "trailer" => 4,
            "transfer-encoding" => 5,
            "upgrade" => 6,
            "http2-settings" => 7,
            "proxy-authenticate" => 8,
            "proxy-authorization" => 9,
            _ => return false,
        };
        self.found |= 1 << bit;
        true
    }

    fn note_options(&mut self, value: &HeaderValue) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !(option.is_empty()
                || option.eq_ignore_ascii_case(b"keep-alive")
                || option.eq_ignore_ascii_case(b"close"))
                && let Ok(name) = HeaderName::from_bytes(option)
                && !END_TO_END.contains(&name)
            {
                self.named.push(name);
            }
        }
    }

    /// Whether `Connection` asks for an upgrade (RFC 9110, section 7.8).
    pub const fn asks_for_upgrade(&self) -> bool {
        self.upgrade
    }

    /// How many headers `Connection` names besides the usual ones.
    pub fn named(&self) -> usize {
        self.named.len()
    }

    /// Whether `Connection` names this header.
    pub fn names(&self, name: &HeaderName) -> bool {
        self.named.contains(name)
    }

    /// Removes them: first everything that `Connection` names, then those that are hop-by-hop by their name.
    pub fn remove_from(&self, headers: &mut HeaderMap) {
        for name in &self.named {
            headers.remove(name);
        }
        for (bit, name) in HOP_BY_HOP.iter().enumerate() {
            if self.found >> bit & 1 == 1 {
                headers.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remove_hop_by_hop(headers: &mut HeaderMap) {
        let mut hops = HopByHop::default();
        for (name, value) in &*headers {
            hops.note(name, value);
        }
        hops.remove_from(headers);
    }

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut headers = map(&[
            ("Connection", "close, X-One"),
            ("connection", " x-two ,, te"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-two", "2b"),
            ("x-three", "3"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("x-three", "3")]));
    }

    #[test]
    fn connection_cannot_take_away_what_a_request_is_judged_by() {
        for name in &END_TO_END {
            let mut headers = map(&[("Connection", &format!("close, {}", name.as_str().to_ascii_uppercase()))]);
            headers.insert(name, HeaderValue::from_static("x"));
            remove_hop_by_hop(&mut headers);
            assert_eq!(headers, map(&[(name.as_str(), "x")]));
        }
    }

    #[test]
    fn every_hop_by_hop_header_goes_unnamed_too() {
        let mut headers = HeaderMap::new();
        for name in &HOP_BY_HOP {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        headers.insert("accept", HeaderValue::from_static("*/*"));
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn note_and_table_agree_on_every_name() {
        for (bit, name) in HOP_BY_HOP.iter().enumerate() {
            let mut hops = HopByHop::default();
            assert!(hops.note(name, &HeaderValue::from_static("x")));
            assert_eq!(hops.found, 1 << bit, "{name}");
        }
    }

    #[test]
    fn an_upgrade_is_asked_for_in_connection_only() {
        let mut hops = HopByHop::default();
        hops.note(&UPGRADE, &HeaderValue::from_static("websocket"));
        assert!(!hops.asks_for_upgrade());
        hops.note(&CONNECTION, &HeaderValue::from_static("keep-alive, UpGrade"));
        assert!(hops.asks_for_upgrade());
        assert_eq!(hops.named(), 0);
    }
}
