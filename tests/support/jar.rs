//! The cookies of a test's browser, kept and sent as RFC 6265 (and its successor's prefixes) says.

use url::Url;

/// The most that name and value of one cookie may add up to in a browser (RFC 6265bis, section 5.6).
const MAX_COOKIE: usize = 4096;

/// One cookie as a browser keeps it.
#[allow(clippy::struct_excessive_bools, reason = "a cookie has that many switches")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The host that set it, or the domain that it named.
    pub domain: String,
    /// Whether it goes to `domain` alone, without the hosts below.
    pub host_only: bool,
    /// The path below which it is sent.
    pub path: String,
    /// Whether it needs a secure connection.
    pub secure: bool,
    /// Whether scripts are kept from it.
    pub http_only: bool,
    /// `SameSite` as it was written, in lower case.
    pub same_site: Option<String>,
    /// Whether it outlives the browser.
    pub persistent: bool,
}

/// All cookies of one browser.
#[derive(Clone, Debug, Default)]
pub struct Jar {
    cookies: Vec<Cookie>,
    refused: Vec<String>,
}

impl Jar {
    /// Takes one `Set-Cookie` from `url`; a cookie that a browser would refuse is noted with the reason.
    pub fn set(&mut self, url: &Url, field: &str) {
        match parse(url, field) {
            Err(reason) => self.refused.push(format!("{reason}: {field}")),
            Ok((cookie, gone)) => {
                let same =
                    |old: &Cookie| (&old.name, &old.domain, &old.path) == (&cookie.name, &cookie.domain, &cookie.path);
                self.cookies.retain(|old| !same(old));
                if !gone {
                    self.cookies.push(cookie);
                }
            }
        }
    }

    /// The `Cookie` field for a request to `url`; nothing when no cookie belongs to it.
    pub fn field(&self, url: &Url) -> Option<String> {
        let mut matching: Vec<&Cookie> = self.cookies.iter().filter(|cookie| cookie.goes_to(url)).collect();
        matching.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = matching.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Every cookie.
    pub fn all(&self) -> &[Cookie] {
        &self.cookies
    }

    /// Every cookie, to be changed: what an attacker does, or a person who clears some.
    pub fn all_mut(&mut self) -> &mut Vec<Cookie> {
        &mut self.cookies
    }

    /// The `Set-Cookie` fields that a browser would have refused, each with the reason.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }
}

impl Cookie {
    fn goes_to(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let domain = host == self.domain || (!self.host_only && host.ends_with(&format!(".{}", self.domain)));
        let path = url.path();
        let below = path == self.path
            || (path.starts_with(&self.path) && (self.path.ends_with('/') || path[self.path.len()..].starts_with('/')));
        domain && below && (!self.secure || is_trustworthy(url))
    }
}

/// Whether browsers treat `url` as secure: HTTPS, and the loopback hosts (W3C Secure Contexts, section 3.1).
fn is_trustworthy(url: &Url) -> bool {
    url.scheme() == "https" || matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// The cookie, and whether it is set to be gone at once.
fn parse(url: &Url, field: &str) -> Result<(Cookie, bool), &'static str> {
    let mut parts = field.split(';');
    let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).ok_or("no name")?;
    let host = url.host_str().unwrap_or_default();
    let mut cookie = Cookie {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
        domain: host.to_owned(),
        host_only: true,
        path: default_path(url.path()),
        secure: false,
        http_only: false,
        same_site: None,
        persistent: false,
    };
    let mut max_age: Option<i64> = None;
    let mut expired = false;
    let mut path_given = None;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "secure" => cookie.secure = true,
            "httponly" => cookie.http_only = true,
            "samesite" => cookie.same_site = Some(value.to_ascii_lowercase()),
            "path" if value.starts_with('/') => path_given = Some(value.to_owned()),
            "domain" if !value.is_empty() => {
                value.trim_start_matches('.').to_ascii_lowercase().clone_into(&mut cookie.domain);
                cookie.host_only = false;
            }
            "max-age" => max_age = value.parse().ok(),
            "expires" => {
                cookie.persistent = true;
                let when = httpdate::parse_http_date(value).map_err(|_| "no date in Expires")?;
                expired = when <= std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
            }
            _ => {}
        }
    }
    cookie.persistent |= max_age.is_some();
    if let Some(path) = &path_given {
        cookie.path.clone_from(path);
    }
    check(&cookie, url, host, path_given.as_deref())?;
    Ok((cookie, max_age.map_or(expired, |seconds| seconds <= 0)))
}

/// What a browser refuses (RFC 6265bis, sections 4.1.3 and 5.7).
fn check(cookie: &Cookie, url: &Url, host: &str, path_given: Option<&str>) -> Result<(), &'static str> {
    let prefix = |wanted: &str| cookie.name.to_ascii_lowercase().starts_with(wanted);
    if cookie.name.len() + cookie.value.len() > MAX_COOKIE {
        return Err("larger than 4096 bytes");
    }
    if !cookie.host_only && host != cookie.domain && !host.ends_with(&format!(".{}", cookie.domain)) {
        return Err("Domain is not the host's");
    }
    if cookie.secure && !is_trustworthy(url) {
        return Err("Secure over an insecure connection");
    }
    if prefix("__secure-") && !cookie.secure {
        return Err("__Secure- without Secure");
    }
    if prefix("__host-") && (!cookie.secure || !cookie.host_only || path_given != Some("/")) {
        return Err("__Host- without Secure and Path=/, or with Domain");
    }
    if cookie.same_site.as_deref() == Some("none") && !cookie.secure {
        return Err("SameSite=None without Secure");
    }
    Ok(())
}

/// RFC 6265, section 5.1.4.
fn default_path(path: &str) -> String {
    match path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(last) => path[..last].to_owned(),
    }
}
