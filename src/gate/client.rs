//! Who really calls: the client's address, and the host it asked for, believed only from trusted proxies.
//!
//! 1. From a peer that is not trusted, nothing it says counts (RFC 7239, section 8.1). Nobody is trusted by default, and a peer on a
//!    unix socket never is: it has no address that a config could name.
//! 2. The chain is walked from the right, one trusted proxy at a time, and ends at the first address that is not trusted. What
//!    stands further left anybody may have written.
//! 3. A client whose entry is no address is one whom nobody knows, not the proxy that says so: else a stranger would be in the network of
//!    our proxies. The same goes for a chain that is too long, and for `Forwarded` that can't be read.
//! 4. `X-Forwarded-For` is read where there is one, else `Forwarded` (RFC 7239). `X-Forwarded-Host` is read at the place of the
//!    client's own entry, so that it tells what the outermost trusted proxy saw. The scheme is that of the site that was asked for.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use crate::http::visit::Peer;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The most proxies that are walked through.
const MAX_HOPS: usize = 16;
/// The most elements of `Forwarded` that are read.
const MAX_ELEMENTS: usize = 32;

/// Who really calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The real client's address; absent on a unix socket, and where trusted proxies don't know it.
    pub address: Option<IpAddr>,
    /// The trusted proxies between the client and us, the one nearest to us last; empty when the client is our peer.
    pub proxies: Vec<IpAddr>,
    /// Whether our peer is a trusted proxy.
    pub behind_trusted: bool,
    /// The host that the client asked for, when a trusted proxy says so.
    pub host: Option<Box<str>>,
}

/// Finds the client behind `peer`.
pub fn find(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> Client {
    let address = peer.remote.map(|remote| remote.ip().to_canonical());
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let Some(proxy) = address.filter(is_trusted) else {
        return Client { address, proxies: Vec::new(), behind_trusted: false, host: None };
    };
    let mut entries = items(headers, &X_FORWARDED_FOR).map(|entry| parse_address(entry.trim())).peekable();
    if entries.peek().is_some() || !headers.contains_key(FORWARDED) {
        let (address, proxies) = walk(proxy, entries, is_trusted);
        let place = proxies.len().saturating_sub(1);
        return Client {
            address,
            proxies,
            behind_trusted: true,
            host: item(headers, &X_FORWARDED_HOST, place).map(Into::into),
        };
    }
    let Some(elements) = elements(headers) else {
        return Client { address: None, proxies: vec![proxy], behind_trusted: true, host: None };
    };
    let entries = elements.iter().rev().map(|element| parse_address(element.node?));
    let (address, proxies) = walk(proxy, entries, is_trusted);
    let element = elements.iter().rev().nth(proxies.len().saturating_sub(1));
    Client { address, proxies, behind_trusted: true, host: element.and_then(|element| element.host).map(Into::into) }
}

/// Whether the other end of a connection is a trusted proxy.
pub fn is_trusted(peer: &Peer, trusted: &[IpNet]) -> bool {
    peer.remote.is_some_and(|remote| {
        let address = remote.ip().to_canonical();
        trusted.iter().any(|network| network.contains(&address))
    })
}

/// Walks from `proxy` along `entries`, the nearest first, to the first address that is not trusted, or to an entry that is none.
fn walk(
    proxy: IpAddr,
    entries: impl Iterator<Item = Option<IpAddr>>,
    is_trusted: impl Fn(&IpAddr) -> bool,
) -> (Option<IpAddr>, Vec<IpAddr>) {
    let mut address = Some(proxy);
    let mut proxies = Vec::new();
    for entry in entries {
        let Some(known) = address.filter(&is_trusted) else { break };
        proxies.push(known);
        address = entry.filter(|_| proxies.len() <= MAX_HOPS);
    }
    proxies.reverse();
    (address, proxies)
}

/// The entries of a list header over all its lines, from the right. Text that is not ASCII is an entry that is never good.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().rev().flat_map(|line| from_the_right(line.to_str().unwrap_or("\u{fffd}")))
}

/// The parts of a line between its commas, the last one first.
fn from_the_right(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (before, entry) = match memchr::memrchr(b',', line.as_bytes()) {
            Some(comma) => (line.get(..comma), line.get(comma + 1..)?),
            None => (None, line),
        };
        rest = before;
        Some(entry)
    })
}

/// The entry at `place`, counted from the right; the leftmost when there are fewer.
fn item<'h>(headers: &'h HeaderMap, name: &HeaderName, place: usize) -> Option<&'h str> {
    items(headers, name).take(place + 1).last().map(str::trim)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse().map(IpAddr::V6).ok()?,
        None => text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip())).ok()?,
    };
    Some(address.to_canonical())
}

/// One element of `Forwarded`, as far as we read it.
#[derive(Clone, Copy, Debug, Default)]
struct Element<'h> {
    node: Option<&'h str>,
    host: Option<&'h str>,
}

/// The elements of `Forwarded` in their order (RFC 7239, section 4). `None` when one of them is malformed, or there are too many: what
/// can't be read can't be trusted.
fn elements(headers: &HeaderMap) -> Option<Vec<Element<'_>>> {
    let mut elements = Vec::new();
    for line in headers.get_all(FORWARDED) {
        for text in line.to_str().ok().and_then(|line| split_quoted(line, ',')).unwrap_or_else(|| vec!["\u{fffd}"]) {
            if elements.len() == MAX_ELEMENTS {
                return None;
            }
            elements.push(parse_element(text)?);
        }
    }
    Some(elements)
}

fn parse_element(text: &str) -> Option<Element<'_>> {
    let mut element = Element::default();
    for pair in split_quoted(text, ';')?.into_iter().map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = match value.strip_prefix('"') {
            Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\']))?,
            None => value,
        };
        let slot = match name.to_ascii_lowercase().as_str() {
            "for" => &mut element.node,
            "host" => &mut element.host,
            _ => continue,
        };
        // Each parameter at most once.
        if slot.replace(value).is_some() {
            return None;
        }
    }
    Some(element)
}

/// `text` split at `separator`, but not inside quotes; `None` when a quote is left open.
fn split_quoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut quoted = false;
    let parts = text
        .split(|c: char| {
            quoted ^= c == '"';
            c == separator && !quoted
        })
        .collect();
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn peer(address: &str) -> Peer {
        Peer { remote: Some(format!("{address}:4000").parse().unwrap()), ..Peer::default() }
    }

    fn found(peer: &Peer, lines: &[(&'static str, &str)]) -> Client {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        find(&headers, peer, &trusted)
    }

    fn address(peer_address: &str, lines: &[(&'static str, &str)]) -> String {
        found(&peer(peer_address), lines).address.unwrap().to_string()
    }

    #[test]
    fn nothing_counts_from_an_untrusted_peer() {
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6;proto=https;host=evil.com"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.com"),
            ("x-real-ip", "10.1.1.1"),
        ];
        let client = found(&peer("192.0.2.1"), &lines);
        let expected = Client { address: "192.0.2.1".parse().ok(), proxies: vec![], behind_trusted: false, host: None };
        assert_eq!(client, expected);
        assert_eq!(found(&Peer::default(), &lines), Client { address: None, ..expected });
        assert!(find(&HeaderMap::new(), &peer("10.0.0.1"), &[]).proxies.is_empty());
    }

    #[test]
    fn the_chain_is_walked_from_the_right() {
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 192.0.2.7")]), "192.0.2.7");
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2")]), "192.0.2.7");
        assert_eq!(
            address("10.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")]),
            "192.0.2.7"
        );
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "10.9.9.9,10.0.0.2")]), "10.9.9.9");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        let client = found(&peer("10.0.0.1"), &[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.3, 10.0.0.2")]);
        let proxies: Vec<String> = client.proxies.iter().map(ToString::to_string).collect();
        assert_eq!(proxies, ["10.0.0.3", "10.0.0.2", "10.0.0.1"]);
    }

    #[test]
    fn whoever_has_no_address_is_not_the_proxy_that_says_so() {
        for bad in [
            "unknown",
            "_hidden",
            "",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "evil.com",
            "[::1",
            "1.2.3.4:",
            "::1]:80",
            "1.2.3.4 5.6.7.8",
        ] {
            let line = format!("6.6.6.6, {bad}, 10.0.0.2");
            let client = found(&peer("10.0.0.1"), &[("x-forwarded-for", &line), ("x-forwarded-host", "a, b, c")]);
            assert_eq!((client.address, client.proxies.len(), client.host.as_deref()), (None, 2, Some("b")), "{bad}");
            assert_eq!(found(&peer("10.0.0.1"), &[("x-forwarded-for", bad)]).address, None, "{bad}");
        }
        let chain = |hops: usize| vec!["10.0.0.2"; hops].join(",");
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", &chain(MAX_HOPS))]), "10.0.0.2");
        assert_eq!(found(&peer("10.0.0.1"), &[("x-forwarded-for", &chain(MAX_HOPS + 1))]).address, None);
    }

    #[test]
    fn addresses_come_with_ports_brackets_and_in_mapped_form() {
        for (entry, expected) in [
            ("192.0.2.7:1234", "192.0.2.7"),
            ("[2001:db8::1]:1234", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(address("10.0.0.1", &[("x-forwarded-for", entry)]), expected);
        }
        assert_eq!(address("[::ffff:10.0.0.1]", &[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
    }

    #[test]
    fn the_host_is_that_of_the_clients_own_entry() {
        let lines = [
            ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2"),
            ("x-forwarded-host", "evil.com, app.example.com, internal"),
        ];
        let client = found(&peer("10.0.0.1"), &lines);
        assert_eq!(client.host.as_deref(), Some("app.example.com"));
        let one = [("x-forwarded-for", "192.0.2.7, 10.0.0.2"), ("x-forwarded-host", "a.b")];
        let client = found(&peer("10.0.0.1"), &one);
        assert_eq!(client.host.as_deref(), Some("a.b"));
    }

    #[test]
    fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
        let lines = [
            (
                "forwarded",
                "for=6.6.6.6;host=evil.com, For=\"[2001:db8::1]:99\" ; Proto=https;host=\"app.example.com:8443\"",
            ),
            ("forwarded", "for=10.0.0.2;proto=http;by=\"a,b;c\""),
        ];
        let client = found(&peer("10.0.0.1"), &lines);
        assert_eq!(client.address.unwrap().to_string(), "2001:db8::1");
        assert_eq!(client.host.as_deref(), Some("app.example.com:8443"));
        let both = [("forwarded", "for=6.6.6.6;proto=https"), ("x-forwarded-for", "192.0.2.7")];
        let client = found(&peer("10.0.0.1"), &both);
        assert_eq!(client.address.unwrap().to_string(), "192.0.2.7");
    }

    #[test]
    fn forwarded_that_can_not_be_read_is_not_believed() {
        for bad in [
            "for",
            "for=\"1.2.3.4",
            "for=1.2.3.4;for=5.6.7.8",
            "for=\"1.2.3.4\\\"\"",
            "for=\"a\"b\"",
            "for=unknown",
            "for=_x",
        ] {
            let client = found(&peer("10.0.0.1"), &[("forwarded", bad)]);
            let proxies = vec!["10.0.0.1".parse().unwrap()];
            assert_eq!(client, Client { address: None, proxies, behind_trusted: true, host: None }, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn only_what_stands_left_of_the_client_can_be_written_by_anybody(spoofed in "[ -~]{0,60}") {
            let line = format!("{spoofed}, 192.0.2.7, 10.0.0.2");
            prop_assert_eq!(address("10.0.0.1", &[("x-forwarded-for", &line)]), "192.0.2.7");
        }

        #[test]
        fn any_chain_is_read(line in "[a-f0-9.:,\\[\\]\"=; for]{0,60}") {
            drop(found(&peer("10.0.0.1"), &[("x-forwarded-for", &line)]));
            drop(found(&peer("10.0.0.1"), &[("forwarded", &line)]));
        }
    }
}
