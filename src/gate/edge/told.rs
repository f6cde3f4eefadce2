//! A request that another proxy received and asks us about, made canonical by the rules that hold for one of our own.
//!
//! 1. What it asks for is what the proxy tells: method, host, path and query. Nothing of that is taken from elsewhere, and where two
//!    headers tell the host, they agree.
//! 2. Its host is one of ours; there is no falling back to the first one, since nobody asks for us by our address here.
//! 3. A fragment is no part of a target (RFC 9112, section 3.2). The proxy would send it on as it came, so it is refused.
//! 4. It is a WebSocket handshake when it brings a `Sec-WebSocket-Key` (RFC 6455, section 4.1): `Connection` and `Upgrade` belong to
//!    the proxy's own connections.
//! 5. The client's certificate is not known: the TLS connection was with the proxy.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, Method, StatusCode, Uri, Version};

use super::host::Authority;
use super::survey::Survey;
use super::{Admitted, EdgeRules, Malformed, check_method, refuse_path, request_id};
use crate::gate::client::{self, Client};
use crate::http::path::{CanonicalPath, MAX_TARGET_BYTES, PathRefusal};
use crate::http::visit::{Peer, SiteOrigin, Visit};

/// What a proxy says about a request that it received.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its method.
    pub method: Method,
    /// Its host, with a port or without; when absent it is the one of `X-Forwarded-Host`, which has to be there.
    pub authority: Option<String>,
    /// Its path and query, as they came.
    pub target: String,
}

/// A request that was told of, and the headers of it that its upstream must not see.
pub struct Overheard {
    /// The request, as if it had come to us.
    pub admitted: Admitted,
    /// Protected headers that it brought, under the names that it brought them under.
    pub protected: Vec<HeaderName>,
}

/// Makes one canonical request of what a proxy tells, or says why not. `parts` has the headers of the request itself; `peer` is whose
/// forwarding headers are in question. Afterwards `parts` is the request that was told of.
///
/// # Errors
/// When the request is malformed, too large, or for a host that we are not.
pub fn admit_told(parts: &mut Parts, told: &Told, peer: &Peer, rules: &EdgeRules) -> Result<Overheard, Malformed> {
    check_method(&told.method)?;
    let target = target(&told.target)?;
    let survey = Survey::of(&parts.headers, rules)?;
    survey.check_framing(parts.version)?;
    let path = CanonicalPath::parse(&target).map_err(refuse_path)?;
    let client = client::find(&parts.headers, peer, &rules.trusted_proxies);
    let site = find_site(told.authority.as_deref(), &client, rules)?;
    let websocket = told.method == Method::GET && parts.headers.contains_key(SEC_WEBSOCKET_KEY);
    let visit = Visit {
        request_id: request_id::choose(survey.request_id.filter(|_| client.behind_trusted)),
        client: client.address,
        site,
        caller: survey.signs.caller(&told.method, websocket),
    };
    let in_advance = survey.signs.ask_in_advance();
    let takes_trailers = survey.takes_trailers;
    let has_length = survey.has_length();
    let cleaning = survey.into_cleaning();
    cleaning.apply(&mut parts.headers);
    // They say something about the question, not about the request.
    parts.headers.remove(HOST);
    if has_length {
        parts.headers.remove(CONTENT_LENGTH);
    }
    parts.method = told.method.clone();
    parts.uri = Uri::from(target);
    parts.version = Version::HTTP_11;
    let admitted =
        Admitted { visit, path, websocket, in_advance, takes_trailers, proxies: client.proxies, certificate: None };
    Ok(Overheard { admitted, protected: cleaning.doomed })
}

/// The path and query. What `http` would leave out without a word is refused here.
fn target(told: &str) -> Result<PathAndQuery, Malformed> {
    const NO_PATH: Malformed = Malformed::bad("the proxy tells a target that is not a path");
    if told.len() > MAX_TARGET_BYTES {
        return Err(refuse_path(PathRefusal::TooLong));
    }
    if !told.starts_with('/') || told.contains('#') {
        return Err(NO_PATH);
    }
    let target: PathAndQuery = told.parse().map_err(|_| NO_PATH)?;
    if target.as_str() == told { Ok(target) } else { Err(NO_PATH) }
}

const NO_HOST: Malformed = Malformed::bad("the proxy tells no valid host of the request");

fn authority(text: &str) -> Result<Authority<'_>, Malformed> {
    Authority::parse(text.as_bytes()).ok_or(NO_HOST)
}

fn find_site(told: Option<&str>, client: &Client, rules: &EdgeRules) -> Result<Arc<SiteOrigin>, Malformed> {
    let forwarded = client.host.as_deref();
    // Letter for letter as we are named, and nowhere else otherwise: what most proxies tell, and it needs no parsing.
    let named = told.or(forwarded).ok_or(NO_HOST)?;
    let other = forwarded.filter(|forwarded| *forwarded != named);
    if let (None, Some(site)) = (other, rules.sites.iter().find(|site| site.authority() == named)) {
        return Ok(Arc::clone(site));
    }
    let asked = authority(named)?;
    if let Some(other) = other
        && !authority(other)?.agrees_with(&asked)
    {
        return Err(Malformed::bad("the proxy tells two different hosts of the request"));
    }
    rules
        .sites
        .iter()
        .find(|site| asked.is(site))
        .cloned()
        .ok_or(Malformed::with(StatusCode::MISDIRECTED_REQUEST, "this host is not served here"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Request};
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::http::protected::ProtectedNames;
    use crate::http::visit::Caller;

    fn rules() -> EdgeRules {
        let site = |url| Arc::new(SiteOrigin::new(&Url::parse(url).unwrap()).unwrap());
        EdgeRules {
            sites: vec![site("https://app.example.com"), site("https://api.example.com")],
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            protected: Arc::new(ProtectedNames::new([], [""; 0])),
            headers: 100,
            header_bytes: 16 * 1024,
        }
    }

    fn told(method: &str, authority: Option<&str>, target: &str) -> Told {
        Told { method: method.parse().unwrap(), authority: authority.map(str::to_owned), target: target.to_owned() }
    }

    fn ask(told: &Told, lines: &[(&str, &str)]) -> Result<(Admitted, Parts, Vec<HeaderName>), Malformed> {
        let mut parts = Request::get("/.auth/verify").body(()).unwrap().into_parts().0;
        parts.headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            parts.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let peer = Peer { remote: "10.0.0.1:4000".parse().ok(), ..Peer::default() };
        let overheard = admit_told(&mut parts, told, &peer, &rules())?;
        Ok((overheard.admitted, parts, overheard.protected))
    }

    fn status(told: &Told, lines: &[(&str, &str)]) -> u16 {
        ask(told, lines).map(drop).unwrap_err().status.as_u16()
    }

    #[test]
    fn what_is_told_is_judged_as_if_it_had_come_to_us() {
        let lines = [
            ("host", "127.0.0.1:8080"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-user", "root"),
            ("x_forwarded_user", "root"),
            ("cookie", "a=b"),
            ("connection", "close"),
            ("accept", "text/html"),
        ];
        let (admitted, parts, protected) = ask(&told("POST", Some("API.example.com:443"), "/x?y=%2f"), &lines).unwrap();
        assert_eq!(admitted.visit.site.host(), "api.example.com");
        assert_eq!(admitted.visit.client.unwrap().to_string(), "192.0.2.7");
        assert_eq!(admitted.visit.caller, Caller::Browser);
        assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("POST", "/x?y=%2f"));
        assert_eq!(parts.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["cookie", "accept"]);
        assert_eq!(protected, ["x-forwarded-for", "x-forwarded-user", "x_forwarded_user"]);
    }

    #[test]
    fn a_host_that_is_not_told_plainly_is_refused() {
        for (authority, forwarded, expected) in [
            (None, None, 400),
            (Some("app.example.com"), Some("api.example.com"), 400),
            (Some("app.example.com"), Some("a b"), 400),
            (Some("app.example.com:8443"), None, 421),
            (Some("evil.com"), Some("evil.com"), 421),
            (None, Some("evil.com"), 421),
            (Some("127.0.0.1"), None, 421),
            (Some("localhost"), None, 421),
            (Some("user@app.example.com"), None, 400),
            (Some(""), None, 400),
        ] {
            let lines: Vec<_> = forwarded.iter().map(|host| ("x-forwarded-host", *host)).collect();
            assert_eq!(status(&told("GET", authority, "/x"), &lines), expected, "{authority:?} {forwarded:?}");
        }
        let same = ask(&told("GET", Some("APP.example.com."), "/x"), &[("x-forwarded-host", "app.example.com:443")]);
        assert_eq!(same.unwrap().0.visit.site.host(), "app.example.com");
    }

    #[test]
    fn only_a_whole_path_is_a_target() {
        let app = Some("app.example.com");
        for target in
            ["", "x", "*", "//", "http://app.example.com/x", "/a#/public", "/#", "/a b", "/a\t", "/%2e%2e/x", "/a%00"]
        {
            let refused = ask(&told("GET", app, target), &[]).map(|(admitted, ..)| admitted.path.sent().to_owned());
            // Two slashes have a meaning that a route may allow.
            if target == "//" {
                assert!(refused.is_ok());
            } else {
                assert_eq!(refused.unwrap_err().status.as_u16(), 400, "{target}");
            }
        }
        assert_eq!(status(&told("GET", app, &format!("/{}", "a".repeat(MAX_TARGET_BYTES))), &[]), 414);
        for (method, expected) in [("get", 400), ("CONNECT", 405), ("TRACE", 405)] {
            assert_eq!(status(&told(method, app, "/"), &[]), expected, "{method}");
        }
    }

    #[test]
    fn a_websocket_is_known_by_its_key() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let websocket = |method, lines: &[(&str, &str)]| {
            ask(&told(method, Some("app.example.com"), "/ws"), lines).unwrap().0.websocket
        };
        assert!(websocket("GET", &[key]));
        assert!(!websocket("POST", &[key]));
        assert!(!websocket("GET", &[("upgrade", "websocket"), ("connection", "upgrade")]));
    }

    proptest! {
        #[test]
        fn what_is_admitted_is_byte_for_byte_what_was_told(text in "/[ -~é]{0,20}") {
            if let Ok((admitted, parts, _)) = ask(&told("GET", Some("app.example.com"), &text), &[]) {
                prop_assert_eq!(admitted.path.target().as_str(), text.as_str());
                prop_assert_eq!(parts.uri.to_string(), text);
            }
        }
    }
}
