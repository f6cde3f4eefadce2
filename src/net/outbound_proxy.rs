//! The proxy that our own calls go through, from the usual environment variables, read once at start.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// One HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProxy {
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// `Proxy-Authorization`, when its URL has a name and a password; marked sensitive.
    pub authorization: Option<HeaderValue>,
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// A variable that can't be understood. Never holds its value, which may have a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {variable} is no proxy that can be used; write http://host:port")]
pub struct ProxyFault {
    /// The variable.
    pub variable: String,
}

/// Which calls go through which proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    https: Option<HttpProxy>,
    http: Option<HttpProxy>,
    direct: Vec<Direct>,
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug)]
enum Direct {
    Everything,
    Network(IpNet),
    Domain { name: String, port: Option<u16> },
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`; the lower-case name of each wins.
    ///
    /// # Errors
    /// When a proxy is given that we can't use, for going around it silently could leak what it is to keep in.
    pub fn from_environment(environment: &BTreeMap<String, String>) -> Result<Self, ProxyFault> {
        let lookup = |name: &str| {
            let lower = name.to_ascii_lowercase();
            [lower.as_str(), name].into_iter().find_map(|key| {
                environment.get(key).filter(|value| !value.is_empty()).map(|value| (key.to_owned(), value.clone()))
            })
        };
        let proxy = |name: &str| {
            lookup(name)
                .or_else(|| lookup("ALL_PROXY"))
                .map(|(variable, value)| parse_proxy(&value).ok_or(ProxyFault { variable }))
                .transpose()
        };
        let direct = lookup("NO_PROXY").map(|(_, value)| value).unwrap_or_default();
        Ok(Self {
            https: proxy("HTTPS_PROXY")?,
            http: proxy("HTTP_PROXY")?,
            direct: direct.split(',').filter_map(parse_direct).collect(),
        })
    }

    /// The proxy for this URL; `None` to go there straight. This machine itself is never asked for through a proxy.
    pub fn for_url(&self, url: &Url) -> Option<&HttpProxy> {
        let proxy = if url.scheme() == "https" { self.https.as_ref() } else { self.http.as_ref() }?;
        let port = url.port_or_known_default();
        let is_direct = match url.host()? {
            Host::Domain(name) => name == "localhost" || self.direct.iter().any(|entry| entry.has_name(name, port)),
            Host::Ipv4(address) => self.is_direct_address(address.into()),
            Host::Ipv6(address) => self.is_direct_address(address.into()),
        };
        (!is_direct).then_some(proxy)
    }

    fn is_direct_address(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || self.direct.iter().any(|entry| match entry {
                Direct::Everything => true,
                Direct::Network(network) => network.contains(&address),
                Direct::Domain { .. } => false,
            })
    }
}

impl Direct {
    /// A name stands for itself and everything below it, with or without a dot before it.
    fn has_name(&self, host: &str, host_port: Option<u16>) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(_) => false,
            Self::Domain { name, port } => {
                let below = host.strip_suffix(name.as_str());
                let named = below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                named && (port.is_none() || *port == host_port)
            }
        }
    }
}

fn parse_proxy(value: &str) -> Option<HttpProxy> {
    let url = if value.contains("://") { Url::parse(value) } else { Url::parse(&format!("http://{value}")) }.ok()?;
    if url.scheme() != "http" {
        return None;
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let authorization = match (url.username(), url.password()) {
        ("", None) => None,
        (name, password) => {
            let pair = format!("{}:{}", decode(name)?, decode(password.unwrap_or_default())?);
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    Some(HttpProxy { host: url.host()?.to_owned(), port: url.port_or_known_default()?, authorization })
}

fn parse_direct(entry: &str) -> Option<Direct> {
    let entry = entry.trim().to_ascii_lowercase();
    if entry.is_empty() {
        return None;
    }
    if entry == "*" {
        return Some(Direct::Everything);
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return Some(Direct::Network(network));
    }
    if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Direct::Network(IpNet::from(address)));
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (entry.as_str(), None),
    };
    let name = name.trim_start_matches('*').trim_start_matches('.');
    (!name.is_empty()).then(|| Direct::Domain { name: name.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(pairs: &[(&str, &str)]) -> Proxies {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Proxies::from_environment(&environment).unwrap()
    }

    fn proxied(proxies: &Proxies, url: &str) -> bool {
        proxies.for_url(&Url::parse(url).unwrap()).is_some()
    }

    #[test]
    fn each_scheme_has_its_proxy_and_lower_case_wins() {
        let set = proxies(&[("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "lower:2")]);
        assert_eq!(set.for_url(&Url::parse("https://a.example").unwrap()).unwrap().port, 2);
        assert!(!proxied(&set, "http://a.example"));
        assert!(proxied(&proxies(&[("ALL_PROXY", "http://all:3")]), "http://a.example"));
    }

    #[test]
    fn exceptions_are_names_networks_and_this_machine() {
        let set = proxies(&[
            ("ALL_PROXY", "http://p:1"),
            ("NO_PROXY", "corp.example, .dot.example,10.0.0.0/8, 192.0.2.7,port.example:8443,*.star.example"),
        ]);
        for direct in [
            "https://corp.example",
            "https://a.corp.example",
            "https://a.dot.example",
            "https://10.1.2.3",
            "https://192.0.2.7",
            "https://port.example:8443",
            "https://a.star.example",
            "http://localhost:99",
            "http://127.0.0.9",
            "http://[::1]:80",
        ] {
            assert!(!proxied(&set, direct), "{direct}");
        }
        for through in
            ["https://evilcorp.example", "https://corp.example.evil", "https://11.0.0.1", "https://port.example"]
        {
            assert!(proxied(&set, through), "{through}");
        }
        assert!(!proxied(&proxies(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", "*")]), "https://a.example"));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_its_password_never_shows() {
        for bad in ["https://proxy:1", "socks5://proxy:1", "http://", "http://u:p@:1"] {
            let environment = BTreeMap::from([("HTTPS_PROXY".to_owned(), bad.to_owned())]);
            assert_eq!(Proxies::from_environment(&environment).unwrap_err().variable, "HTTPS_PROXY", "{bad}");
        }
        let set = proxies(&[("HTTPS_PROXY", "http://us%40er:hu%3Ash@proxy:1")]);
        let proxy = set.for_url(&Url::parse("https://a.example").unwrap()).unwrap();
        assert_eq!(proxy.authorization.as_ref().unwrap(), &format!("Basic {}", STANDARD.encode("us@er:hu:sh")));
        assert!(!format!("{set:?}").contains("sh"), "{set:?}");
    }
}
