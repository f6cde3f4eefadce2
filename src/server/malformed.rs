//! Requests that HTTP/2 calls malformed and h2 lets pass: their stream is reset (RFC 9113, section 8.1.1), as it is for all that h2
//! finds wrong itself.

use http::header::HOST;
use http::uri::Authority;
use http::{Method, Request};

/// Whether the request is malformed by a rule of HTTP/2 alone; what is wrong for every HTTP is the edge's to say.
///
/// 1. A field's value has no space or tab at either end (section 8.2.1): readers differ on whether those belong to it.
/// 2. `Host` names what `:authority` names (section 8.3.1).
/// 3. CONNECT names an authority (section 8.5).
pub fn is_malformed<B>(request: &Request<B>) -> bool {
    let authority = request.uri().authority();
    let differs = |host: &[u8]| authority.is_some_and(|authority| !names_the_same(host, authority));
    request.headers().values().any(|value| has_space_around(value.as_bytes()))
        || request.headers().get_all(HOST).iter().any(|host| differs(host.as_bytes()))
        || (*request.method() == Method::CONNECT && authority.is_none())
}

const fn has_space_around(value: &[u8]) -> bool {
    matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// Names that may be the same in another spelling are left to the edge.
fn names_the_same(host: &[u8], authority: &Authority) -> bool {
    let bare = |text: &[u8]| {
        let text = text.strip_suffix(b":80").or_else(|| text.strip_suffix(b":443")).unwrap_or(text);
        text.strip_suffix(b".").unwrap_or(text).to_ascii_lowercase()
    };
    host.eq_ignore_ascii_case(authority.as_str().as_bytes()) || bare(host) == bare(authority.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request.body(()).unwrap()
    }

    #[test]
    fn spaces_around_a_value_are_not_for_anybody_to_guess_about() {
        for (value, malformed) in [(" x", true), ("x\t", true), (" ", true), ("a b", false), ("", false)] {
            let request = request("GET", "https://app.example.com/", &[("x-team", value)]);
            assert_eq!(is_malformed(&request), malformed, "{value:?}");
        }
    }

    #[test]
    fn host_and_authority_are_one_host() {
        for (host, malformed) in [
            ("app.example.com", false),
            ("APP.example.com", false),
            ("app.example.com:443", false),
            ("app.example.com.", false),
            ("evil.example", true),
            ("", true),
        ] {
            let request = request("GET", "https://app.example.com/", &[("host", host)]);
            assert_eq!(is_malformed(&request), malformed, "{host:?}");
        }
        assert!(!is_malformed(&request("GET", "/", &[("host", "app.example.com")])));
    }

    #[test]
    fn connect_names_where_to() {
        assert!(is_malformed(&request("CONNECT", "/", &[])));
        assert!(!is_malformed(&request("CONNECT", "app.example.com:443", &[])));
    }
}
