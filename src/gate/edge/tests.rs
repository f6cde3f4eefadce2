//! What the edge refuses, and what is left of a request that it admits.

use http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;
use url::Url;

use super::*;
use crate::http::visit::Caller;

fn rules() -> EdgeRules {
    let site = |url| Arc::new(SiteOrigin::new(&Url::parse(url).unwrap()).unwrap());
    EdgeRules {
        sites: vec![site("https://app.example.com"), site("https://api.example.com")],
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        protected: Arc::new(ProtectedNames::new([HeaderName::from_static("x-team")], ["x-mine-"])),
        headers: 100,
        header_bytes: 16 * 1024,
    }
}

fn peer(remote: &str) -> Peer {
    Peer {
        remote: Some(format!("{remote}:5000").parse().unwrap()),
        local: "192.0.2.9:80".parse().ok(),
        ..Peer::default()
    }
}

fn parts(method: &str, uri: &str, version: Version, lines: &[(&str, &str)]) -> Parts {
    let mut parts = Request::builder().method(method).uri(uri).version(version).body(()).unwrap().into_parts().0;
    for (name, value) in lines {
        parts.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    parts
}

/// A GET of `/x` over HTTP/1.1 with these headers beside `Host`.
fn get(lines: &[(&str, &str)]) -> Parts {
    let mut parts = parts("GET", "/x", Version::HTTP_11, &[("host", "app.example.com")]);
    for (name, value) in lines {
        parts.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    parts
}

fn admit_from(remote: &str, mut parts: Parts) -> Result<(Admitted, Parts), Malformed> {
    admit(&mut parts, &peer(remote), &rules()).map(|admitted| (admitted, parts))
}

fn admitted(parts: Parts) -> (Admitted, Parts) {
    admit_from("192.0.2.1", parts).unwrap()
}

fn refused(parts: Parts) -> Malformed {
    admit_from("192.0.2.1", parts).map(|(admitted, _)| admitted.path.sent().to_owned()).unwrap_err()
}

fn status(parts: Parts) -> u16 {
    refused(parts).status.as_u16()
}

fn left(parts: &Parts) -> Vec<&str> {
    parts.headers.keys().map(HeaderName::as_str).collect()
}

#[test]
fn a_plain_request_is_admitted_as_it_is() {
    let (admitted, parts) = admitted(get(&[("accept", "*/*"), ("cookie", "a=b"), ("authorization", "Bearer x")]));
    assert_eq!(left(&parts), ["host", "accept", "cookie", "authorization"]);
    assert_eq!(admitted.path.target().as_str(), "/x");
    assert_eq!(admitted.visit.site.as_str(), "https://app.example.com");
    assert_eq!(admitted.visit.client.unwrap().to_string(), "192.0.2.1");
    assert_eq!(admitted.visit.caller, Caller::Browser);
    assert_eq!(admitted.visit.request_id.len(), 32);
    assert!(!admitted.websocket && !admitted.takes_trailers && admitted.proxies.is_empty());
}

#[test]
fn methods_are_upper_case_and_never_connect_or_trace() {
    for method in ["get", "GeT", "Get", "gET", "GET.", "G!"] {
        assert_eq!(status(parts(method, "/x", Version::HTTP_11, &[("host", "app.example.com")])), 400, "{method}");
    }
    for method in ["CONNECT", "TRACE"] {
        let refusal = refused(parts(method, "/x", Version::HTTP_11, &[("host", "app.example.com")]));
        assert_eq!(refusal.status.as_u16(), 405);
        assert!(refusal.allow().is_some_and(|allow| !allow.contains(method)));
    }
    for method in ["PROPFIND", "FOO", "M-SEARCH", "OPTIONS", "DELETE"] {
        admitted(parts(method, "/x", Version::HTTP_11, &[("host", "app.example.com")]));
    }
    assert_eq!(refused(parts("get", "/", Version::HTTP_11, &[])).allow(), None);
}

#[test]
fn only_paths_are_targets() {
    for (method, uri) in
        [("GET", "admin"), ("OPTIONS", "*"), ("GET", "app.example.com:443"), ("GET", "http://app.example.com?x")]
    {
        assert_eq!(status(parts(method, uri, Version::HTTP_11, &[("host", "app.example.com")])), 400, "{uri}");
    }
    assert_eq!(status(parts("GET", "/%2e%2e/x", Version::HTTP_11, &[("host", "app.example.com")])), 400);
    let long = format!("/{}", "a".repeat(17_000));
    let mut generous = rules();
    generous.header_bytes = 1 << 20;
    let mut parts = parts("GET", &long, Version::HTTP_11, &[("host", "app.example.com")]);
    assert_eq!(admit(&mut parts, &peer("192.0.2.1"), &generous).unwrap_err().status.as_u16(), 414);
}

#[test]
fn there_is_exactly_one_valid_host_and_it_is_ours() {
    let with = |lines: &[(&str, &str)]| parts("GET", "/x", Version::HTTP_11, lines);
    assert_eq!(status(with(&[])), 400);
    assert_eq!(status(with(&[("host", "")])), 400);
    assert_eq!(status(with(&[("host", "app.example.com"), ("host", "app.example.com")])), 400);
    for bad in
        ["a b@c/d", "app.example.com, evil.com", "app.example.com;x", "app.example.com\"", "user@app.example.com"]
    {
        assert_eq!(status(with(&[("host", bad)])), 400, "{bad}");
    }
    for other in ["evil.com", "evilapp.example.com", "127.0.0.1", "localhost", "app.example.com:8443"] {
        assert_eq!(status(with(&[("host", other)])), 421, "{other}");
    }
    for ours in ["API.example.com", "api.example.com.", "api.example.com:443"] {
        assert_eq!(admitted(with(&[("host", ours)])).0.visit.site.host(), "api.example.com");
    }
    assert_eq!(admitted(with(&[("host", "192.0.2.9:8080")])).0.visit.site.host(), "app.example.com", "our own address");
    assert_eq!(status(parts("GET", "/x", Version::HTTP_10, &[])), 400);
}

#[test]
fn an_absolute_target_has_to_agree_with_host() {
    let with = |uri, lines: &[(&str, &str)]| parts("GET", uri, Version::HTTP_11, lines);
    let (admitted, parts) = admitted(with("http://API.example.com:80/x?y", &[("host", "api.example.com")]));
    assert_eq!(admitted.visit.site.host(), "api.example.com");
    assert_eq!(parts.uri.to_string(), "/x?y");
    assert_eq!(status(with("http://evil.com/x", &[("host", "app.example.com")])), 400);
    assert_eq!(status(with("http://app.example.com/x", &[("host", "evil.com")])), 400);
    assert_eq!(status(with("http://app.example.com/x", &[("host", "api.example.com")])), 400);
    assert_eq!(status(with("http://app.example.com:8080/x", &[("host", "app.example.com")])), 400);
    assert_eq!(status(with("http://app.example.com/x", &[])), 400);
    assert_eq!(status(with("http://evil.com/x", &[("host", "evil.com")])), 421);
    assert_eq!(status(with("ftp://app.example.com/x", &[("host", "app.example.com")])), 400);
    assert_eq!(status(with("http://user@app.example.com/x", &[("host", "app.example.com")])), 400);
}

#[test]
fn http_2_names_its_host_in_the_target() {
    let with = |lines: &[(&str, &str)]| parts("GET", "https://app.example.com/x", Version::HTTP_2, lines);
    let (admitted, parts) = admitted(with(&[("te", "trailers")]));
    assert!(admitted.takes_trailers);
    assert_eq!(parts.uri, "/x");
    assert!(parts.headers.is_empty());
    assert_eq!(status(with(&[("host", "evil.com")])), 400);
    assert_eq!(status(with(&[("transfer-encoding", "chunked")])), 400);
}

#[test]
fn a_body_is_framed_in_one_way() {
    for lines in [
        &[("transfer-encoding", "chunked"), ("content-length", "5")][..],
        &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "chunked, chunked")],
        &[("transfer-encoding", "cow, chunked")],
        &[("transfer-encoding", ",chunked")],
        &[("transfer-encoding", "chunked,")],
        &[("transfer-encoding", "gzip")],
        &[("transfer-encoding", "identity")],
        &[("transfer-encoding", "")],
        &[("content-length", "5"), ("content-length", "5")],
        &[("content-length", "5"), ("content-length", "6")],
        &[("content-length", "5, 5")],
        &[("content-length", "01")],
        &[("content-length", "+1")],
        &[("content-length", "-1")],
        &[("content-length", "0x1")],
        &[("content-length", "")],
        &[("content-length", "1 ")],
        &[("content-length", "99999999999999999999")],
    ] {
        let refusal = refused(get(lines));
        assert_eq!((refusal.status.as_u16(), refusal.close), (400, true), "{lines:?}");
    }
    let old = parts("POST", "/", Version::HTTP_10, &[("host", "app.example.com"), ("transfer-encoding", "chunked")]);
    assert!(refused(old).close);
    admitted(get(&[("content-length", "0")]));
    admitted(get(&[("content-length", "1048576")]));
    let (_, parts) = admitted(get(&[("transfer-encoding", "Chunked")]));
    assert_eq!(left(&parts), ["host"]);
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(status(get(&[("a", &"x".repeat(16 * 1024))])), 431);
    let many: Vec<(&str, &str)> = (0..100).map(|_| ("a", "x")).collect();
    assert_eq!(status(get(&many)), 431);
    admitted(get(&many[..99]));
    let options = (0..17).map(|n| format!("x{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(status(get(&[("connection", &options)])), 400);
}

#[test]
fn nothing_of_ours_comes_in_from_outside() {
    let lines = [
        ("x-forwarded-user", "root"),
        ("X_Forwarded_User", "root"),
        ("x.forwarded.user", "root"),
        ("x-forwarded-user", "again"),
        ("X_AUTH_User", "root"),
        ("x-portcullis-assertion", "x"),
        ("x_team", "root"),
        ("x-team", "root"),
        ("remote_user", "root"),
        ("oidc_claim_sub", "root"),
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-original-url", "/public"),
        ("x-rewrite-url", "/public"),
        ("x-forwarded-uri", "/public"),
        ("x-http-method-override", "DELETE"),
        ("transfer_encoding", "chunked"),
        ("content_length", "5"),
        ("x-request-id", "0123456789abcdef0123456789abcdef"),
        ("proxy", "http://evil.com"),
        ("accept", "*/*"),
    ];
    let (admitted, parts) = admitted(get(&lines));
    assert_eq!(left(&parts), ["host", "accept"]);
    assert_eq!(admitted.visit.client.unwrap().to_string(), "192.0.2.1");
    assert_ne!(&*admitted.visit.request_id, "0123456789abcdef0123456789abcdef");
}

#[test]
fn hop_by_hop_headers_go_with_what_connection_names() {
    let (_, parts) = admitted(get(&[
        ("connection", "close, X-Forwarded-User, x-mine"),
        ("x-mine", "1"),
        ("x-forwarded-user", "root"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("trailer", "x-forwarded-user"),
        ("te", "trailers"),
        ("http2-settings", "x"),
        ("upgrade", "h2c"),
        ("expect", "100-Continue"),
        ("accept", "*/*"),
    ]));
    assert_eq!(left(&parts), ["host", "accept"]);
    assert_eq!(status(get(&[("connection", "host")])), 400);
    assert_eq!(status(get(&[("expect", "200-ok")])), 417);
}

#[test]
fn a_websocket_handshake_is_told_and_other_upgrades_are_dropped() {
    let upgrade = |lines: &[(&str, &str)]| admitted(get(lines)).0.websocket;
    let (admitted, parts) = admitted(get(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
    assert!(admitted.websocket);
    assert_eq!(admitted.visit.caller, Caller::Program);
    assert_eq!(left(&parts), ["host"]);
    assert!(!upgrade(&[("upgrade", "websocket")]));
    assert!(!upgrade(&[("connection", "upgrade")]));
    assert!(!upgrade(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")]));
    assert!(!upgrade(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")]));
    assert!(!upgrade(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")]));
    assert!(!upgrade(&[("connection", "upgrade"), ("upgrade", "h2c"), ("upgrade", "websocket")]));
    let handshake = [("connection", "upgrade"), ("upgrade", "websocket")];
    for body in [("content-length", "5"), ("transfer-encoding", "chunked")] {
        assert!(refused(get(&[handshake[0], handshake[1], body])).close, "{body:?}");
    }
    let mut post = get(&handshake);
    post.method = Method::POST;
    assert!(!admit_from("192.0.2.1", post).unwrap().0.websocket);
}

#[test]
fn a_trusted_proxy_is_believed() {
    let lines = [
        // Naming them in `Connection` doesn't hide what the proxy said.
        ("connection", "x-forwarded-for, x-forwarded-host"),
        ("x-forwarded-for", "6.6.6.6, 198.51.100.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "API.example.com"),
        ("x-request-id", "01234567-89ab-cdef-0123-456789abcdef"),
    ];
    let mut request = get(&lines);
    request.headers.insert("host", HeaderValue::from_static("internal:3000"));
    let (admitted, parts) = admit_from("10.0.0.1", request).unwrap();
    assert_eq!(admitted.visit.site.host(), "api.example.com");
    assert_eq!(admitted.visit.client.unwrap().to_string(), "198.51.100.7");
    assert_eq!(admitted.proxies, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(&*admitted.visit.request_id, "0123456789abcdef0123456789abcdef");
    assert_eq!(left(&parts), ["host"]);
    for (host, expected) in [("evil.com", 421), ("a b", 400)] {
        let refusal = admit_from("10.0.0.1", get(&[("x-forwarded-host", host)])).map(drop).unwrap_err();
        assert_eq!(refusal.status.as_u16(), expected);
    }
    let (admitted, _) = admit_from("192.0.2.1", get(&[("x-forwarded-host", "api.example.com")])).unwrap();
    assert_eq!(admitted.visit.site.host(), "app.example.com");
}

proptest! {
    #[test]
    fn whatever_comes_in_nothing_protected_gets_through(
        lines in proptest::collection::vec(
            ("[xX][-_.](forwarded|auth|portcullis|user)[-_.][a-z]{1,6}|connection|upgrade|te|remote_user|[a-z-]{1,8}", "[a-z,_-]{0,20}"),
            0..12,
        ),
        target in "/[a-c.;/%?]{0,10}",
    ) {
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut request = get(&lines);
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        request.uri = uri;
        if let Ok((admitted, parts)) = admit_from("192.0.2.1", request) {
            let rules = rules();
            prop_assert!(!parts.headers.keys().any(|name| rules.protected.covers(name)), "{:?}", parts.headers);
            prop_assert!(!parts.headers.contains_key("connection") && !parts.headers.contains_key("upgrade"));
            prop_assert_eq!(admitted.path.target().as_str(), target.as_str());
            prop_assert_eq!(parts.uri.to_string(), target);
        }
    }
}

#[test]
fn who_asks_in_advance_is_known() {
    for (name, value, expected) in [
        ("sec-purpose", "prefetch;prerender", true),
        ("purpose", "preview", true),
        ("x-moz", "prefetch", true),
        ("sec-purpose", "view", false),
        ("x-purpose", "prefetch", false),
    ] {
        assert_eq!(admitted(get(&[(name, value)])).0.in_advance, expected, "{name}: {value}");
    }
}
