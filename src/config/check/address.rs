//! URLs, networks and sockets as operators write them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use url::{Host, Url};

use crate::config::raw::report::{Wrong, printable};
use crate::config::settings::{Inherited, ListenAddress, UpstreamAddress};

/// An http or https origin (RFC 6454, section 4): scheme, host and port, nothing more. Messages never repeat the text,
/// which may hold a password.
pub(super) fn origin(text: &str) -> Result<Url, Wrong> {
    let url = web_url(text)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("this URL has a path, a query or a fragment")
            .note(format!("write the origin alone: \"{}\"", url.origin().ascii_serialization())));
    }
    Ok(url)
}

/// Where an upstream is: an http or https origin, or a unix socket.
pub(super) fn upstream(text: &str) -> Result<UpstreamAddress, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path)
            .map(UpstreamAddress::Unix)
            .map_err(|wrong| wrong.note("write it like \"unix:/run/app.sock\""));
    }
    let has_path = |url: &Url| url.path() != "/";
    match origin(text) {
        Err(wrong) if web_url(text).as_ref().is_ok_and(has_path) => {
            Err(wrong.note("a path for all requests of a route is its `add_prefix`"))
        }
        checked => checked.map(UpstreamAddress::Web),
    }
}

/// The path of a unix socket; the system takes no longer one.
fn unix(path: &str) -> Result<PathBuf, Wrong> {
    if !path.starts_with('/') || path.len() > 100 || path.contains('\0') {
        return Err(Wrong::new("the path of a unix socket begins with `/` and has at most 100 bytes"));
    }
    Ok(PathBuf::from(path))
}

/// An http or https URL with a host and without user information.
pub(super) fn web_url(text: &str) -> Result<Url, Wrong> {
    let example = "write it like \"https://app.example.com\"";
    if !(text.starts_with("https://") || text.starts_with("http://")) {
        return Err(Wrong::new("this is no http or https URL").note(example));
    }
    // The parser of browsers mends these silently, and then two readers may see two hosts.
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(Wrong::new("this URL holds white space, a control character or `\\`").note(example));
    }
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("this is no URL: {error}")).note(example))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new("this URL holds a user name or password").note("leave out everything before the `@`"));
    }
    if url.host_str().is_none_or(|host| host.is_empty() || host.contains('*')) {
        return Err(Wrong::new("this URL names no single host").note(example));
    }
    if url.port() == Some(0) {
        return Err(Wrong::new("port 0 can't be reached").note(example));
    }
    Ok(url)
}

/// Whether only this machine can be meant, so that plain http is safe: browsers treat these hosts as secure (Secure
/// Contexts, section 3.1).
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A network such as `10.0.0.0/8`, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    let network = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(network), _) => network,
        (_, Ok(address)) => IpNet::from(address),
        _ => {
            return Err(Wrong::new(format!("`{}` is no network", printable(text)))
                .note("allowed: \"10.0.0.0/8\", \"fd00::/8\" or one address"));
        }
    };
    if network.addr() != network.network() {
        return Err(Wrong::new(format!("`{}` has bits beyond its mask", printable(text))).note(format!(
            "write \"{}\" for the network, or \"{}\" for the one address",
            network.trunc(),
            network.addr()
        )));
    }
    if let IpNet::V6(v6) = network
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(Wrong::new("this is an IPv4 network written as IPv6").note("write it as IPv4: \"10.0.0.0/8\""));
    }
    Ok(network)
}

/// A socket to listen on.
pub(super) fn listen(text: &str) -> Result<ListenAddress, Wrong> {
    let allowed = "allowed: \"127.0.0.1:8080\", \"[::]:8080\", \"unix:/run/portcullis.sock\" or \"fd:3\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(ListenAddress::Unix).map_err(|wrong| wrong.note(allowed));
    }
    if let Some(which) = text.strip_prefix("fd:") {
        return inherited(which).map(ListenAddress::Inherited);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(ListenAddress::Tcp(address));
    }
    let wrong = Wrong::new(format!("`{}` is no address to listen on", printable(text)));
    let host_and_port = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    Err(match host_and_port {
        Some(("localhost", port)) => wrong.note(format!("write the IP address: \"127.0.0.1:{port}\"")),
        Some(("" | "*", port)) => wrong.note(format!("write \"[::]:{port}\" for all addresses")),
        Some(_) => wrong.note("write an IP address, not a name; an IPv6 address stands in brackets"),
        None => wrong.note("a port is needed"),
    }
    .note(allowed))
}

/// A socket that was handed over: its number, or its name in the unit file (`FileDescriptorName=`).
fn inherited(which: &str) -> Result<Inherited, Wrong> {
    let wrong = |message: &str| Wrong::new(message).note("write \"fd:3\" for the first one, or its name: \"fd:web\"");
    if which.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) {
        let number = which.parse().ok().filter(|number| (3..=1024).contains(number));
        return number
            .map(Inherited::Number)
            .ok_or_else(|| wrong("sockets that are handed over have numbers from 3 on"));
    }
    // systemd allows every printable character but `:`; names that are quoted or begin otherwise are asking for trouble.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if which.is_empty() || which.len() > 255 || !which.bytes().all(is_plain) {
        return Err(wrong("this names no socket that could be handed over"));
    }
    Ok(Inherited::Name(which.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_nothing_but_an_origin() {
        for good in ["https://a.example", "https://a.example/", "http://127.0.0.1:8080", "https://[::1]:8443"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "ftp://a.example",
            "HTTPS:a.example",
            "https:a.example",
            "https://a.example/app",
            "https://a.example/?",
            "https://a.example/#",
            "https://u@a.example",
            "https://u:p@a.example",
            "https://",
            "https://*.example",
            "https://a.example:0",
            "https://a.example\\@b.example",
            "https://a .example",
            "https://a.exam\tple",
            "javascript://a.example",
        ] {
            let wrong = origin(bad).unwrap_err();
            assert!(!wrong.notes.is_empty() && !wrong.message.contains("u:p"), "{bad}");
        }
    }

    #[test]
    fn an_upstream_is_an_origin_or_a_socket() {
        assert_eq!(upstream("unix:/run/app.sock").unwrap(), UpstreamAddress::Unix("/run/app.sock".into()));
        assert!(matches!(upstream("https://[::1]:8443").unwrap(), UpstreamAddress::Web(_)));
        let long = format!("unix:/{}", "x".repeat(100));
        for (bad, fix) in [
            ("unix:app.sock", "unix:/run/app.sock"),
            ("unix:", "unix:/run/app.sock"),
            (long.as_str(), "unix:/run/app.sock"),
            ("http://a.example/base", "`add_prefix`"),
            ("http://a.example/?x", "origin alone"),
            ("tcp://a.example", "https://"),
        ] {
            assert!(upstream(bad).unwrap_err().notes.join(" ").contains(fix), "{bad}");
        }
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        let is = |text: &str| is_loopback(&Url::parse(text).unwrap());
        for here in
            ["http://localhost", "http://app.localhost:1", "http://127.9.9.9", "http://[::1]", "http://2130706433"]
        {
            assert!(is(here), "{here}");
        }
        for elsewhere in [
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://0.0.0.0",
            "http://[::]",
            "http://notlocalhost",
        ] {
            assert!(!is(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn networks_say_what_they_mean() {
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        for bad in ["10.1.2.3/8", "10.0.0.0/33", "::ffff:10.0.0.0/104", "10.0.0", "*", "example.com"] {
            assert!(network(bad).is_err(), "{bad}");
        }
        assert!(network("10.1.2.3/8").unwrap_err().notes[0].contains("10.0.0.0/8"));
    }

    #[test]
    fn sockets_are_addresses_never_names() {
        assert_eq!(listen("unix:/run/p.sock").unwrap(), ListenAddress::Unix("/run/p.sock".into()));
        assert!(listen("[::]:8080").is_ok());
        assert_eq!(listen("fd:3").unwrap(), ListenAddress::Inherited(Inherited::Number(3)));
        assert_eq!(listen("fd:web-1").unwrap(), ListenAddress::Inherited(Inherited::Name("web-1".to_owned())));
        for (bad, fix) in [
            ("localhost:80", "127.0.0.1:80"),
            (":8080", "[::]:8080"),
            ("8080", "port"),
            ("fd:2", "fd:3"),
            ("fd:3x", "fd:3"),
            ("fd:", "fd:3"),
            ("fd:a:b", "fd:3"),
            ("unix:p.sock", "allowed"),
            ("::1:x", "port"),
        ] {
            assert!(listen(bad).unwrap_err().notes.join(" ").contains(fix), "{bad}");
        }
    }
}
