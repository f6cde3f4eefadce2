//! Tells an upstream where a request came from: `X-Forwarded-*`, `Forwarded` and `Via`, built from checked values alone.
//!
//! The chain begins at the client that trusted proxies vouch for; whatever stood before it is dropped, since nobody vouches for that.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName, VIA};
use http::{HeaderMap, HeaderValue, Version};

use crate::http::visit::SiteOrigin;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The forwarding headers of every request that one client sends to one site. Build it once per connection and keep it while
/// client and site stay the same; setting it formats nothing.
#[derive(Clone, Debug)]
pub struct Forwarding {
    addresses: Option<HeaderValue>,
    host: HeaderValue,
    scheme: HeaderValue,
    port: HeaderValue,
    forwarded: HeaderValue,
}

impl Forwarding {
    /// For requests to `site` from `client` by way of `proxies`, the one nearest to us last. A client on a unix socket has no
    /// address.
    pub fn new(site: &SiteOrigin, client: Option<IpAddr>, proxies: &[IpAddr]) -> Self {
        let is_secure = site.is_secure();
        let scheme = if is_secure { "https" } else { "http" };
        // RFC 7239, section 4: values with a colon or bracket are quoted; section 6.3: a client without address is `unknown`.
        let mut forwarded = format!("for={};host=\"{}\";proto={scheme}", node(client), site.authority());
        for proxy in proxies {
            forwarded.push_str(", for=");
            forwarded.push_str(&node(Some(*proxy)));
        }
        let addresses: Vec<String> = client.iter().chain(proxies).map(ToString::to_string).collect();
        Self {
            addresses: if addresses.is_empty() { None } else { Some(value(addresses.join(", "))) },
            host: site.host_header().clone(),
            scheme: HeaderValue::from_static(scheme),
            port: HeaderValue::from(site.url().port_or_known_default().unwrap_or(if is_secure { 443 } else { 80 })),
            forwarded: value(forwarded),
        }
    }

    /// Sets the headers, in place of any that are there.
    pub fn set(&self, headers: &mut HeaderMap) {
        match &self.addresses {
            Some(addresses) => headers.insert(&X_FORWARDED_FOR, addresses.clone()),
            None => headers.remove(&X_FORWARDED_FOR),
        };
        headers.insert(&X_FORWARDED_HOST, self.host.clone());
        headers.insert(&X_FORWARDED_PROTO, self.scheme.clone());
        headers.insert(&X_FORWARDED_PORT, self.port.clone());
        headers.insert(FORWARDED, self.forwarded.clone());
    }
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

/// Adds us to the chain in `Via`, with the protocol version that the request came in (RFC 9110, section 7.6.3).
pub fn add_via(headers: &mut HeaderMap, version: Version) {
    let value = match version {
        Version::HTTP_10 => HeaderValue::from_static("1.0 portcullis"),
        Version::HTTP_2 => HeaderValue::from_static("2 portcullis"),
        Version::HTTP_3 => HeaderValue::from_static("3 portcullis"),
        _ => HeaderValue::from_static("1.1 portcullis"),
    };
    headers.append(VIA, value);
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn site(url: &str) -> SiteOrigin {
        SiteOrigin::new(&Url::parse(url).unwrap()).unwrap()
    }

    fn set(site: &SiteOrigin, client: Option<&str>, proxies: &[&str]) -> HeaderMap {
        let proxies: Vec<IpAddr> = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("6.6.6.6"));
        headers.append("x-forwarded-for", HeaderValue::from_static("7.7.7.7"));
        headers.append("forwarded", HeaderValue::from_static("for=6.6.6.6"));
        Forwarding::new(site, client.map(|client| client.parse().unwrap()), &proxies).set(&mut headers);
        headers
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

    #[test]
    fn via_grows() {
        let mut headers = HeaderMap::new();
        headers.append(VIA, HeaderValue::from_static("1.1 cdn"));
        add_via(&mut headers, Version::HTTP_2);
        assert_eq!(all(&headers, "via"), ["1.1 cdn", "2 portcullis"]);
    }
}
