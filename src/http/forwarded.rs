//! Tells an upstream where a request came from: `X-Forwarded-*`, `Forwarded` and `Via`, built from checked values alone.
//!
//! The chain begins at the client that trusted proxies vouch for; whatever stood before it is dropped, since nobody vouches for that.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName};
use http::{HeaderValue, Version};

use crate::http::visit::SiteOrigin;
use crate::net::ready::ReadyHeaders;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The forwarding headers of every request that one client sends to one site: for requests to `site` from `client` by way of
/// `proxies`, the one nearest to us last. A client on a unix socket has no address. Make it once and keep it while client and site
/// stay the same.
pub fn forwarding(site: &SiteOrigin, client: Option<IpAddr>, proxies: &[IpAddr]) -> ReadyHeaders {
    let is_secure = site.is_secure();
    let scheme = if is_secure { "https" } else { "http" };
    // RFC 7239, section 4: values with a colon or bracket are quoted; section 6.3: a client without address is `unknown`.
    let mut forwarded = format!("for={};host=\"{}\";proto={scheme}", node(client), site.authority());
    for proxy in proxies {
        forwarded.push_str(", for=");
        forwarded.push_str(&node(Some(*proxy)));
    }
    let port = HeaderValue::from(site.url().port_or_known_default().unwrap_or(if is_secure { 443 } else { 80 }));
    let addresses: Vec<String> = client.iter().chain(proxies).map(ToString::to_string).collect();
    let addresses = (!addresses.is_empty()).then(|| (X_FORWARDED_FOR, value(addresses.join(", "))));
    ReadyHeaders::new(addresses.into_iter().chain([
        (X_FORWARDED_HOST, site.host_header().clone()),
        (X_FORWARDED_PROTO, HeaderValue::from_static(scheme)),
        (X_FORWARDED_PORT, port),
        (FORWARDED, value(forwarded)),
    ]))
}

/// Addresses and a checked authority have nothing in them that a header can't hold.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

fn node(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        None => "unknown".to_owned(),
    }
}

/// What we say of ourselves in `Via` (RFC 9110, section 7.6.3): that we got the message by `version`.
pub const fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 portcullis",
        Version::HTTP_2 => "2 portcullis",
        Version::HTTP_3 => "3 portcullis",
        _ => "1.1 portcullis",
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use url::Url;

    use super::*;

    fn site(url: &str) -> SiteOrigin {
        SiteOrigin::new(&Url::parse(url).unwrap()).unwrap()
    }

    fn set(site: &SiteOrigin, client: Option<&str>, proxies: &[&str]) -> HeaderMap {
        let proxies: Vec<IpAddr> = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        forwarding(site, client.map(|client| client.parse().unwrap()), &proxies).pairs().iter().cloned().collect()
    }

    fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_client_of_ours_is_alone_in_the_chain() {
        let headers = set(&site("https://app.example.com"), Some("192.0.2.7"), &[]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(all(&headers, "x-forwarded-host"), ["app.example.com"]);
        assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&headers, "x-forwarded-port"), ["443"]);
        assert_eq!(all(&headers, "forwarded"), ["for=192.0.2.7;host=\"app.example.com\";proto=https"]);
    }

    #[test]
    fn trusted_proxies_follow_and_ipv6_is_quoted() {
        let headers = set(&site("http://app.example.com:8080"), Some("2001:db8::1"), &["10.0.0.1", "fd00::2"]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["2001:db8::1, 10.0.0.1, fd00::2"]);
        assert_eq!(all(&headers, "x-forwarded-host"), ["app.example.com:8080"]);
        assert_eq!(all(&headers, "x-forwarded-port"), ["8080"]);
        let expected =
            "for=\"[2001:db8::1]\";host=\"app.example.com:8080\";proto=http, for=10.0.0.1, for=\"[fd00::2]\"";
        assert_eq!(all(&headers, "forwarded"), [expected]);
    }

    #[test]
    fn a_unix_socket_has_no_address() {
        let headers = set(&site("https://app.example.com"), None, &[]);
        assert!(all(&headers, "x-forwarded-for").is_empty());
        assert_eq!(all(&headers, "forwarded"), ["for=unknown;host=\"app.example.com\";proto=https"]);
    }
}
