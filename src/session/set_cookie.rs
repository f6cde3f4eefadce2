//! How we set a cookie and how we take it away: one place, so that every cookie of ours has every attribute.

use std::fmt::Write as _;
use std::time::Duration;

use cookie::time::Duration as CookieDuration;
use cookie::{Cookie, SameSite};
use http::HeaderValue;

/// The most bytes of one `Set-Cookie`: browsers take 4096 for name and value, and front proxies have small buffers.
const MAX_BYTES: usize = 3_800;
/// More than the attributes ever take.
const ATTRIBUTES: usize = 96;

/// The name and value of a cookie can't be written into a header.
#[derive(Debug, thiserror::Error)]
#[error("the cookie name in `session.cookie_name` can't be written; use letters, digits, `-` and `_`")]
pub struct Unwritable;

/// How many bytes a value may have in a cookie whose name has `name` bytes.
pub(super) const fn room(name: usize) -> usize {
    MAX_BYTES.saturating_sub(ATTRIBUTES + name + 1)
}

/// Sets a cookie for `life`: for this host alone, out of reach of scripts, not sent by other sites' forms and scripts
/// (RFC 6265bis, section 5.8.7), and over TLS alone where the site has it.
pub(super) fn set(name: &str, value: &str, secure: bool, life: Duration) -> Result<HeaderValue, Unwritable> {
    let life = CookieDuration::seconds(i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
    let cookie = Cookie::build((name, value))
        .path("/")
        .secure(secure)
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(life)
        .build();
    let mut text = String::with_capacity(name.len() + value.len() + ATTRIBUTES);
    write!(text, "{cookie}").map_err(|_| Unwritable)?;
    let mut header = HeaderValue::try_from(text).map_err(|_| Unwritable)?;
    header.set_sensitive(true);
    Ok(header)
}

/// Takes a cookie away. The attributes are those it was set with, since a browser refuses a `__Host-` cookie without
/// them, even one that is to be deleted.
pub(super) fn clear(name: &str, secure: bool) -> Option<HeaderValue> {
    set(name, "", secure, Duration::ZERO).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_every_attribute_and_no_domain() {
        let text = |secure| set("__Host-s", "v", secure, Duration::from_hours(8)).unwrap().to_str().unwrap().to_owned();
        let mut parts: Vec<String> = text(true).split("; ").map(str::to_owned).collect();
        parts.sort();
        assert_eq!(parts, ["HttpOnly", "Max-Age=28800", "Path=/", "SameSite=Lax", "Secure", "__Host-s=v"]);
        assert!(!text(false).contains("Secure"));
    }

    #[test]
    fn a_cleared_cookie_keeps_its_attributes_and_ends_now() {
        let header = clear("__Host-s", true).unwrap();
        let text = header.to_str().unwrap();
        assert!(text.starts_with("__Host-s=;"), "{text}");
        for part in ["Max-Age=0", "Path=/", "Secure", "HttpOnly"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn the_attributes_never_take_more_than_is_kept_for_them() {
        let longest = set("n", "", true, Duration::MAX).unwrap();
        assert!(longest.len() - 2 <= ATTRIBUTES, "{}", longest.len());
    }

    #[test]
    fn a_value_never_shows_in_debug() {
        assert!(!format!("{:?}", set("n", "hush", true, Duration::MAX).unwrap()).contains("hush"));
    }
}
