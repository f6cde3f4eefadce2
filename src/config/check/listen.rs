//! The sockets, and the proxies that are trusted.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::address;
use super::door;
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::{Placed, Table};
use crate::config::settings::{ListenAddress, ListenSettings};

/// `[listen]`.
pub(super) fn listen(root: &Table<'_>, trusted_proxies: &[IpNet]) -> ListenSettings {
    let table = root.table("listen");
    let expected = "a list of addresses such as [\"127.0.0.1:8080\"]";
    let http = table.each("http", expected, address::listen);
    let https = table.each("https", expected, https).unwrap_or_default();
    let ext_authz = door::ext_authz(&table, trusted_proxies);
    let admin = table.parse("admin", "an address such as \"127.0.0.1:9090\"", admin);
    let admin = admin.map(|value| Placed { value, place: table.place("admin") });
    let h2c = table.flag("h2c", false);

    let all: Vec<&Placed<ListenAddress>> =
        http.iter().flatten().chain(&https).chain(&ext_authz).chain(&admin).collect();
    for (index, second) in all.iter().enumerate() {
        let taken = all.iter().take(index).find(|first| collide(&first.value, &second.value));
        if let Some(first) = taken {
            let wrong = Wrong::new("this address is given twice").note("give every listener its own address");
            table.report().clash(second.place.clone(), first.place.clone(), "it is also at", wrong);
        }
    }
    if let Some(Placed { value: ListenAddress::Tcp(address), place }) = &admin
        && !address.ip().is_loopback()
    {
        let wrong = Wrong::new("`admin` can be reached from other machines")
            .note("let only monitoring reach it, or write \"127.0.0.1:9090\"");
        table.report().warn(place.clone(), wrong);
    }
    if http.as_ref().is_some_and(Vec::is_empty)
        && https.is_empty()
        && table.items("http", expected).is_some_and(|i| i.is_empty())
    {
        table.error("http", Wrong::new("nothing listens").note("give an address in `http` or `https`"));
    }
    let unix_mode = table.parse("unix_mode", "permissions such as \"0660\"", unix_mode);
    let proxy_protocol = table.flag("proxy_protocol", false);
    if proxy_protocol {
        check_proxy_protocol(&table, &http.iter().flatten().chain(&https).collect::<Vec<_>>(), trusted_proxies);
    }
    let default = || {
        let address = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080)));
        if https.is_empty() { vec![address] } else { Vec::new() }
    };
    let http = http.map_or_else(default, values);
    if h2c && http.is_empty() {
        let wrong = Wrong::new("`h2c` has no effect without an address in `http`")
            .note("leave it out; `https` listeners offer HTTP/2 by themselves");
        table.report().warn(table.place("h2c"), wrong);
    }
    ListenSettings {
        http,
        https: values(https),
        admin: admin.map(|admin| admin.value),
        unix_mode,
        proxy_protocol,
        ext_authz: values(ext_authz),
        h2c,
    }
}

fn admin(text: &str) -> Result<ListenAddress, Wrong> {
    match address::listen(text)? {
        address @ ListenAddress::Tcp(_) => Ok(address),
        ListenAddress::Unix(_) | ListenAddress::Inherited(_) => {
            Err(Wrong::new("`admin` listens on an IP address only").note("write \"127.0.0.1:9090\""))
        }
    }
}

fn https(text: &str) -> Result<ListenAddress, Wrong> {
    match address::listen(text)? {
        ListenAddress::Unix(_) => {
            Err(Wrong::new("`https` listens on no unix socket").note("name it in `http`: nobody listens on the way"))
        }
        address => Ok(address),
    }
}

/// Three or four octal digits. A socket that its owner can't use is a mistake.
fn unix_mode(text: &str) -> Result<u32, Wrong> {
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777 && *mode & 0o600 == 0o600);
    mode.ok_or_else(|| {
        Wrong::new(format!("`{}` is no mode of a socket", printable(text)))
            .note("write it in octal, with read and write for its owner: \"0660\"")
    })
}

/// A header is believed from trusted proxies alone, which are told by their addresses.
fn check_proxy_protocol(table: &Table<'_>, listeners: &[&Placed<ListenAddress>], trusted_proxies: &[IpNet]) {
    if trusted_proxies.is_empty() {
        let wrong = Wrong::new("`proxy_protocol` is on, but no proxy is trusted, so every connection would be refused")
            .note("name the balancer: [trusted_proxies] networks = [\"10.0.0.0/8\"]");
        table.error("proxy_protocol", wrong);
    }
    for listener in listeners {
        if matches!(listener.value, ListenAddress::Unix(_)) {
            let wrong = Wrong::new("`proxy_protocol` is on, but a peer on a unix socket has no address to trust it by")
                .note("give the balancer an IP address to connect to, or leave `proxy_protocol` out");
            table.report().error(listener.place.clone(), wrong);
        }
    }
}

fn values(list: Vec<Placed<ListenAddress>>) -> Vec<ListenAddress> {
    list.into_iter().map(|placed| placed.value).collect()
}

fn collide(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => one == other && one.port() != 0,
        (one, other) => one == other,
    }
}

/// `[trusted_proxies]`: nobody by default (design, invariant 5).
pub(super) fn trusted_proxies(root: &Table<'_>) -> Vec<IpNet> {
    let table = root.table("trusted_proxies");
    let networks = table.each("networks", "a list of networks such as [\"10.0.0.0/8\"]", address::network);
    let everyone = table.flag("insecure_trust_every_proxy", false);
    let networks: Vec<IpNet> = networks.unwrap_or_default().into_iter().map(|network| network.value).collect();
    // Halves that add up to everything are everything.
    let trusts_all = IpNet::aggregate(&networks).iter().any(|network| network.prefix_len() == 0);
    match (trusts_all, everyone) {
        (true, false) => table.error(
            "networks",
            Wrong::new("this trusts every machine there is, so any visitor could claim any address and scheme")
                .note("name the networks of your proxies: [\"10.0.0.0/8\"]")
                .note("if visitors can't reach us around the proxy, add insecure_trust_every_proxy = true"),
        ),
        (true, true) => table.report().danger(
            "trusted_proxies.insecure_trust_every_proxy: every visitor who reaches us can claim any address and scheme",
        ),
        (false, true) => {
            let wrong =
                Wrong::new("`insecure_trust_every_proxy` has no effect with these networks").note("leave it out");
            table.report().warn(table.place("insecure_trust_every_proxy"), wrong);
        }
        (false, false) => {}
    }
    networks
}
