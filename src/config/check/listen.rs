//! The sockets, the certificate they show, and the proxies that are trusted.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::address;
use super::files;
use crate::config::raw::report::Wrong;
use crate::config::raw::table::{Placed, Table};
use crate::config::settings::{ListenAddress, ListenSettings, TlsSettings};

/// `[listen]`.
pub(super) fn listen(root: &Table<'_>) -> ListenSettings {
    let table = root.table("listen");
    let expected = "a list of addresses such as [\"127.0.0.1:8080\"]";
    let http = table.each("http", expected, address::listen);
    let https = table.each("https", expected, address::listen).unwrap_or_default();
    let admin = table.parse("admin", "an address such as \"127.0.0.1:9090\"", address::listen);
    let admin = admin.map(|value| Placed { value, place: table.place("admin") });

    let all: Vec<&Placed<ListenAddress>> = http.iter().flatten().chain(&https).chain(&admin).collect();
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
    let default = || {
        let address = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080)));
        if https.is_empty() { vec![address] } else { Vec::new() }
    };
    ListenSettings {
        http: http.map_or_else(default, values),
        https: values(https),
        admin: admin.map(|admin| admin.value),
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

/// `[tls]`: needed by `https` listeners.
pub(super) fn tls(root: &Table<'_>, listen: &ListenSettings) -> Option<TlsSettings> {
    let table = root.table("tls");
    let cert = files::certificates(&table, "cert");
    let key = files::private_key(&table, "key");
    let wanted = !listen.https.is_empty();
    for name in ["cert", "key"] {
        if !table.has(name) && (wanted || table.has("cert") || table.has("key")) {
            table.missing(name, &format!("[tls] {name} = \"/etc/portcullis/{name}.pem\", which `listen.https` needs"));
        }
    }
    if !wanted && cert.is_some() && key.is_some() {
        let wrong = Wrong::new("`[tls]` is given, but nothing listens with it")
            .note("add an address to `listen.https`, or leave `[tls]` out");
        table.report().warn(table.place("cert"), wrong);
    }
    Some(TlsSettings { cert: cert?, key: key? })
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
