//! Reads the host that a request asks for, and finds out whether that is one of ours.

use std::net::{IpAddr, Ipv6Addr};

use crate::http::visit::{Peer, SiteOrigin};

/// The longest host name (RFC 1035, section 2.3.4), with room for brackets and a trailing dot.
const MAX_HOST_BYTES: usize = 255;

/// A valid host with an optional port, as in a `Host` header (RFC 9110, section 7.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    /// Without a trailing dot; in the case that it came in; an IPv6 address with its brackets.
    host: &'a str,
    /// `None` when it was left out, or is the port of one of the two schemes: proxies add and drop those freely.
    port: Option<u16>,
    literal: Option<IpAddr>,
}

impl<'a> Authority<'a> {
    /// `None` for anything but a name of letters, digits, hyphens, underscores and dots, or an address, with a port or without.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (host, port) = match text.rsplit_once(':') {
            // The last colon belongs to an address.
            Some(_) if text.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (text, None),
        };
        let port = port.filter(|port| !matches!(port, 80 | 443));
        if host.len() > MAX_HOST_BYTES {
            return None;
        }
        if let Some(address) = host.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self { host, port, literal: Some(IpAddr::V6(address).to_canonical()) });
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let starts_like_address = host.as_bytes().first().is_some_and(u8::is_ascii_digit);
        let literal = if starts_like_address { host.parse().ok().map(IpAddr::V4) } else { None };
        host.split('.').all(is_label).then_some(Self { host, port, literal })
    }

    /// Whether both name the same host and port.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.port == other.port && self.is_host(other.host)
    }

    /// Whether it names this origin of ours.
    pub(super) fn is(&self, site: &SiteOrigin) -> bool {
        self.port == site.url().port().filter(|port| !matches!(port, 80 | 443)) && self.is_host(site.host())
    }

    fn is_host(&self, other: &str) -> bool {
        if self.host.eq_ignore_ascii_case(other) {
            return true;
        }
        // One IPv6 address has many spellings.
        let bare = other.strip_prefix('[').and_then(|other| other.strip_suffix(']'));
        match (self.literal, bare) {
            (Some(literal), Some(bare)) => bare.parse::<IpAddr>().is_ok_and(|other| other.to_canonical() == literal),
            _ => false,
        }
    }

    /// Whether it is the very address that the connection came to, or `localhost` on a connection within this machine.
    pub(super) fn is_own_address(&self, peer: &Peer) -> bool {
        let local = peer.local.map(|local| local.ip().to_canonical());
        match self.literal {
            Some(literal) => local == Some(literal),
            None => self.host.eq_ignore_ascii_case("localhost") && local.is_none_or(|local| local.is_loopback()),
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    (!text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn is(host: &str, site: &str) -> bool {
        let site = SiteOrigin::new(&Url::parse(site).unwrap()).unwrap();
        Authority::parse(host.as_bytes()).is_some_and(|authority| authority.is(&site))
    }

    #[test]
    fn spellings_of_one_host_are_the_same() {
        for host in
            ["app.example.com", "APP.Example.com", "app.example.com.", "app.example.com:443", "app.example.com.:80"]
        {
            assert!(is(host, "https://app.example.com"), "{host}");
        }
        assert!(is("app.example.com:8443", "https://app.example.com:8443"));
        assert!(is("[2001:DB8:0::1]", "http://[2001:db8::1]"));
        assert!(is("[2001:db8::1]:8080", "http://[2001:db8::1]:8080"));
        assert!(is("192.0.2.1:8080", "http://192.0.2.1:8080"));
    }

    #[test]
    fn other_hosts_are_not() {
        for host in [
            "evil.com",
            "app.example.com.evil.com",
            "evilapp.example.com",
            "x.app.example.com",
            "app.example.com:8443",
            "example.com",
            "app.example.com..",
            "app.example.comm",
            "app_example.com",
            "app.example.com:0",
        ] {
            assert!(!is(host, "https://app.example.com"), "{host}");
        }
        assert!(!is("app.example.com", "https://app.example.com:8443"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in [
            "",
            " ",
            ".",
            "..",
            "a b",
            "a@b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a;b",
            "a\"b",
            "a,b",
            "a:b",
            "a:",
            ":80",
            "a:99999",
            "a:-1",
            "a:+80",
            "a:000080",
            "a%2eb",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[1.2.3.4]",
            "[]",
            "[fe80::1%25eth0]",
            "a..b",
            "app.example.com ",
            "\u{e9}.com",
            "a\tb",
            "a:80:80",
        ] {
            assert!(Authority::parse(host.as_bytes()).is_none(), "{host:?}");
        }
        assert!(Authority::parse(b"\xff").is_none());
        assert!(Authority::parse("a".repeat(256).as_bytes()).is_none());
    }

    #[test]
    fn only_the_address_of_the_connection_itself_is_ours() {
        let peer = |local: &str| Peer { local: local.parse().ok(), ..Peer::default() };
        let own = |host: &str, local| Authority::parse(host.as_bytes()).unwrap().is_own_address(&peer(local));
        assert!(own("127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(own("127.0.0.1", "[::ffff:127.0.0.1]:8080"));
        assert!(own("[::1]:8080", "[::1]:8080"));
        assert!(own("localhost:8080", "127.0.0.1:8080"));
        assert!(own("LocalHost.", "[::1]:8080"));
        assert!(own("localhost", "a unix socket has none"));
        assert!(!own("localhost", "192.0.2.1:8080"));
        assert!(!own("127.0.0.1", "192.0.2.1:8080"));
        assert!(!own("192.0.2.2", "192.0.2.1:8080"));
        assert!(!own("127.0.0.1", "a unix socket has none"));
        assert!(!own("evil.com", "127.0.0.1:8080"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(authority) = Authority::parse(&text) {
                prop_assert!(authority.agrees_with(&authority));
                prop_assert!(authority.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.[]:".contains(&byte)));
            }
        }
    }
}
