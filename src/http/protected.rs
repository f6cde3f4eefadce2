//! The header names that only the gateway may speak, under all their spellings.
//!
//! 1. A name counts as itself whatever its case and whatever stands between its letters and digits: CGI, WSGI and PHP make one
//!    variable of `X-Forwarded-User`, `X_Forwarded_User` and `X.Forwarded.User`.
//! 2. Every name by which a gateway we know of tells an upstream who somebody is, where a request came from or how it was
//!    rewritten is protected, whichever preset is in use: an upstream may still trust the headers of the gateway before us.
//! 3. Headers that override the method are protected too, since rules have judged the method of the request line.
//! 4. Headers that frame a message or tell about its sender are protected under every spelling but their own.

use http::{HeaderMap, HeaderName};

/// Names that are protected with everything that begins with them, as folded by rule 1.
const FAMILIES: &[&str] = &[
    // Where the request came from and how it was rewritten.
    "forwarded-",
    "x-arr-",
    "x-envoy-",
    "x-forwarded-",
    "x-original-",
    "x-rewrite-",
    // Certificates that a proxy says it checked (RFC 9440).
    "client-cert",
    "ssl-client",
    "x-client-cert",
    "x-client-dn",
    "x-client-verify",
    "x-ssl-",
    // Who somebody is.
    "cf-access-",
    "impersonate-",
    "iv-",
    "oam-",
    "oidc-",
    "remote-",
    "shib-",
    "skipper-oidc-",
    "sm-",
    "tailscale-",
    "teleport-",
    "x-amzn-oidc-",
    "x-auth-",
    "x-authelia-",
    "x-authenticated-",
    "x-authentik-",
    "x-consumer-",
    "x-credential-",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-oidc-",
    "x-pomerium-",
    "x-portcullis-",
    "x-remote-",
    "x-token-",
    "x-tokeninfo-",
    "x-user-",
    "x-vouch-",
    "x-webauth-",
];

/// Names that are protected alone, as folded by rule 1.
const NAMES: &[&str] = &[
    // Where the request came from.
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-real-ip",
    "x-request-id",
    "x-scheme",
    "x-url-scheme",
    // Application servers take these from a proxy on the same machine in place of the path of the request line.
    "path-info",
    "script-name",
    "x-path-info",
    "x-script-name",
    // A CGI upstream would take it for its own outgoing proxy.
    "proxy",
    // The method.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    // Who somebody is.
    "eppn",
    "x-access-token",
    "x-anonymous-consumer",
    "x-apigateway-api-userinfo",
    "x-email",
    "x-endpoint-api-userinfo",
    "x-groups",
    "x-hmac-sha256",
    "x-id-token",
    "x-jwt-assertion",
    "x-refresh-token",
    "x-roles",
    "x-uma-token",
    "x-user",
    "x-userid",
    "x-userinfo",
    "x-username",
];

/// Names that are fine as they are and protected under every other spelling.
const ONLY_DISGUISED: &[&str] = &[
    "content-encoding",
    "content-length",
    "content-type",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "transfer-encoding",
    "user-agent",
];

/// The header names that a request from outside may not bring along. Built once per config, asked for every header.
#[derive(Debug)]
pub struct ProtectedNames {
    /// The names by [`place`]: most headers meet one or two of them there.
    buckets: Vec<Bucket>,
    /// Families of names that are too short to have a place.
    short: Vec<Box<[u8]>>,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    families: Vec<Box<[u8]>>,
    names: Vec<Box<[u8]>>,
    only_disguised: Vec<Box<[u8]>>,
}

impl Bucket {
    /// Whether `name` is another spelling of one that is fine as it is.
    fn is_disguise(&self, name: &[u8]) -> bool {
        let is_plain = self.only_disguised.iter().any(|other| **other == *name);
        !is_plain && self.only_disguised.iter().any(|other| name.len() == other.len() && is_same(name, other))
    }
}

impl ProtectedNames {
    /// The names we know of, and those that the config adds: own identity headers and the names of the chosen presets.
    pub fn new(
        added: impl IntoIterator<Item = HeaderName>,
        families: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let mut names = Self { buckets: vec![Bucket::default(); PLACES], short: Vec::new() };
        for family in FAMILIES {
            names.add_family(family);
        }
        for name in NAMES {
            names.add(name, |bucket| &mut bucket.names);
        }
        for name in ONLY_DISGUISED {
            names.add(name, |bucket| &mut bucket.only_disguised);
        }
        for name in added {
            names.add(name.as_str(), |bucket| &mut bucket.names);
        }
        for family in families {
            names.add_family(family.as_ref());
        }
        names
    }

    fn add(&mut self, name: &str, list: impl FnOnce(&mut Bucket) -> &mut Vec<Box<[u8]>>) {
        let folded: Box<[u8]> = name.bytes().map(fold).collect();
        if let Some(bucket) = self.buckets.get_mut(place(&folded)) {
            list(bucket).push(folded);
        }
    }

    fn add_family(&mut self, family: &str) {
        if family.is_empty() {
            // It would be everything.
        } else if family.len() < PLACED {
            self.short.push(family.bytes().map(fold).collect());
        } else {
            self.add(family, |bucket| &mut bucket.families);
        }
    }

    /// Whether only the gateway may say `name`. Allocates nothing.
    pub fn covers(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        // As it is first: that is how proxies write what they tell.
        let is_of = |family: &[u8]| name.starts_with(family) || (name.len() >= family.len() && is_same(name, family));
        let Some(bucket) = self.buckets.get(place(name)) else { return false };
        bucket.families.iter().any(|family| is_of(family))
            || self.short.iter().any(|family| is_of(family))
            || bucket.names.iter().any(|other| name.len() == other.len() && is_same(name, other))
            || bucket.is_disguise(name)
    }

    /// Deletes every protected header. For a message that has not been through the edge, which does this in its own pass.
    pub fn remove_from(&self, headers: &mut HeaderMap) {
        let found: Vec<HeaderName> = headers.keys().filter(|name| self.covers(name)).cloned().collect();
        for name in found {
            headers.remove(name);
        }
    }
}

/// How many places there are.
const PLACES: usize = 256;
/// How many bytes of a name make its place.
const PLACED: usize = 3;

/// Where a name stands among all: names that are the same once they are folded stand at one place, and so do all of a family.
fn place(name: &[u8]) -> usize {
    let [first, second, third] = [0, 1, 2].map(|at| name.get(at).copied().map_or(0, fold));
    usize::from(first ^ second.rotate_left(3) ^ third.rotate_left(5))
}

/// Letters in lower case and digits as they are; everything else is one separator.
const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Whether `name` begins with `folded` once it is folded.
fn is_same(name: &[u8], folded: &[u8]) -> bool {
    name.iter().zip(folded).all(|(byte, other)| fold(*byte) == *other)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NO_FAMILIES: [&str; 0] = [];

    fn covers(name: &str) -> bool {
        ProtectedNames::new([HeaderName::from_static("x-team")], ["x-mine-"])
            .covers(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[rustfmt::skip]
    const IDENTITY_HEADERS: &[&str] = &[
        "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
        "X-Forwarded-Access-Token", "X-Forwarded-Client-Cert", "X-Forwarded-Prefix", "X-Forwarded-Uri", "Forwarded",
        "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Email", "X-Auth-ExpiresIn", "X-Auth-Token",
        "X-Pomerium-Jwt-Assertion", "X-Pomerium-Claim-Email", "Remote-User", "Remote-Groups", "Remote-Name",
        "Remote-Email", "Remote-Sub", "X-authentik-username", "X-authentik-meta-jwks", "X-Vouch-User",
        "X-Vouch-IdP-Claims-Sub", "OIDC_CLAIM_sub", "OIDC_access_token", "X-Access-Token", "X-ID-Token", "X-Userinfo",
        "X-Refresh-Token", "X-Credential-Identifier", "X-Authenticated-User", "X-User-Groups", "X-User-Roles",
        "X-User", "X-Token-User-Name", "X-Token-Subject", "Skipper-Oidc-Info", "X-Tokeninfo-Forward", "X-HMAC-SHA256",
        "X-Uma-Token", "x-amzn-oidc-data", "x-amzn-oidc-accesstoken", "X-Goog-Authenticated-User-Email",
        "X-Goog-IAP-JWT-Assertion", "Cf-Access-Jwt-Assertion", "Cf-Access-Authenticated-User-Email",
        "Tailscale-User-Login", "Teleport-Jwt-Assertion", "X-MS-CLIENT-PRINCIPAL", "X-MS-CLIENT-PRINCIPAL-ID",
        "X-MS-TOKEN-AAD-ID-TOKEN", "X-WEBAUTH-USER", "SM_USER", "iv-user", "OAM_REMOTE_USER", "REMOTE_USER", "eppn",
        "Shib-Identity-Provider", "Impersonate-User", "X-Remote-Extra-Scopes", "X-Portcullis-Assertion",
        "X-Original-URL", "X-Rewrite-URL", "X-Real-IP", "Client-Cert", "Client-Cert-Chain", "X-SSL-Client-Verify",
        "X-Request-Id", "Proxy", "X-HTTP-Method-Override", "X-Team", "X-Host", "X-HTTP-Host-Override", "X-Url-Scheme",
        "Front-End-Https", "SCRIPT_NAME", "PATH_INFO", "X-Script-Name",
    ];

    #[test]
    fn a_family_of_two_letters_is_one_too() {
        let names = ProtectedNames::new([], ["", "q-"]);
        let covers = |name: &'static str| names.covers(&HeaderName::from_static(name));
        assert!(covers("q-user") && covers("q_user") && covers("q-"));
        assert!(!covers("q") && !covers("quser") && !covers("accept"));
    }

    #[test]
    fn every_identity_header_of_every_known_gateway_is_protected() {
        for name in IDENTITY_HEADERS {
            assert!(covers(name), "{name}");
        }
    }

    #[test]
    fn ordinary_headers_are_left_alone() {
        for name in [
            "Host",
            "Accept",
            "Accept-Encoding",
            "Authorization",
            "Cookie",
            "User-Agent",
            "Content-Type",
            "Content-Length",
            "Content-Encoding",
            "X-Requested-With",
            "X-CSRF-Token",
            "X-Api-Key",
            "Origin",
            "Referer",
            "Sec-Fetch-Mode",
            "Sec-WebSocket-Key",
            "Traceparent",
            "If-None-Match",
            "Via",
            "Transfer-Encoding",
            "Proxy-Authorization",
            "X-Forwarded-",
            "X-Teams",
            "Proxy-Status",
        ] {
            assert_eq!(covers(name), name == "X-Forwarded-", "{name}");
        }
    }

    #[test]
    fn no_spelling_hides_a_name() {
        for name in [
            "X_Forwarded_User",
            "x.forwarded.user",
            "X-Forwarded_User",
            "X!Forwarded~User",
            "x_TEAM",
            "X_Auth_User",
            "Transfer_Encoding",
            "Content_Length",
            "Content.Type",
            "Proxy_Connection",
            "REMOTE.USER",
            "Sec_Fetch_Site",
        ] {
            assert!(covers(name), "{name}");
        }
    }

    #[test]
    fn every_copy_is_removed() {
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-user", "x_forwarded_user", "accept"] {
            let name = HeaderName::from_static(name);
            headers.append(&name, HeaderValue::from_static("a"));
            headers.append(&name, HeaderValue::from_static("b"));
        }
        ProtectedNames::new([], NO_FAMILIES).remove_from(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    proptest! {
        #[test]
        fn separators_and_case_never_matter(
            index in 0..NAMES.len(),
            separators in proptest::collection::vec("[-_.!~*]", 8),
            upper in any::<u64>(),
        ) {
            let mut separators = separators.into_iter();
            let disguised: String = NAMES[index].chars().enumerate().map(|(at, c)| {
                if c == '-' { separators.next().unwrap_or_else(|| "-".to_owned()) }
                else if upper >> (at % 64) & 1 == 1 { c.to_ascii_uppercase().to_string() }
                else { c.to_string() }
            }).collect();
            prop_assert!(covers(&disguised), "{}", disguised);
        }
    }
}
