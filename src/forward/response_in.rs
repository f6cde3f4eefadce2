//! An upstream's answer on its way to the visitor: what belongs to the hop is dropped, our cookies are protected, and what was made for
//! one person is kept out of shared caches.

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, Entry, PROXY_AUTHENTICATE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;

use super::upgrade;
use crate::http::body::Body;
use crate::http::cookie_scan::upstream_sets_ours;

static CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// Makes an upstream's headers fit for the visitor.
///
/// `personal` says that a signed-in person asked; `is_ours` knows the names of our cookies.
pub fn receive(headers: &mut HeaderMap, personal: bool, is_ours: impl Fn(&[u8]) -> bool) {
    let mut found = Found::of(headers);
    if found.hop_by_hop {
        drop_hop_by_hop(headers);
        found = Found::of(headers);
    }
    if found.cookies {
        protect_cookies(headers, is_ours);
        spare_cookies(headers);
    }
    if personal && !found.caching {
        // `Cookie` is not `Authorization`: without a word from the upstream a shared cache may keep what was made for one person
        // (RFC 9111, section 3.5).
        headers.insert(CACHE_CONTROL, PRIVATE.clone());
    }
}

/// The same for a whole head. One that asks for a WebSocket in place of what came goes on asking (RFC 9110, section 15.5.22), where the
/// visitor speaks a protocol that has words for it, as `over_http1` says.
pub fn receive_head(head: &mut response::Parts, over_http1: bool, personal: bool, is_ours: impl Fn(&[u8]) -> bool) {
    let asks = over_http1 && head.status == StatusCode::UPGRADE_REQUIRED && upgrade::is_announced(&head.headers);
    receive(&mut head.headers, personal, is_ours);
    head.extensions.clear();
    if asks {
        upgrade::announce(&mut head.headers);
    }
}

/// Makes an answer say of its status what HTTP allows: no length where there is no content (RFC 9110, section 8.6), no content where there
/// can be none (sections 15.3.5 and 15.4.5), which an upstream over HTTP/2 may send all the same, and over HTTP/1.1 no words that hyper
/// makes up for a status without a name.
pub fn settle(response: &mut Response<Body>) {
    let status = response.status();
    if status == StatusCode::OK {
        return;
    }
    if status == StatusCode::NO_CONTENT {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && !response.body().is_end_stream() {
        *response.body_mut() = Body::Empty;
    }
    if status.canonical_reason().is_none() {
        response.extensions_mut().insert(ReasonPhrase::from_static(b""));
    }
}

/// What needs a second look. Most answers have none of it, and one pass over the names costs less than a search for each.
#[derive(Default)]
struct Found {
    /// What belongs to the hop.
    hop_by_hop: bool,
    /// What sets or clears cookies.
    cookies: bool,
    /// What the upstream itself says about caches.
    caching: bool,
}

impl Found {
    fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" | "keep-alive" | "proxy-connection" | "proxy-authenticate" | "te" | "trailer"
                | "transfer-encoding" | "upgrade" => found.hop_by_hop = true,
                "set-cookie" | "clear-site-data" => found.cookies = true,
                "cache-control" | "expires" | "pragma" => found.caching = true,
                _ => {}
            }
        }
        found
    }
}

/// Whether no cache that others are served from may keep the answer (RFC 9111, section 5.2.2).
pub fn is_kept_private(headers: &HeaderMap) -> bool {
    let mut directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    directives.any(|directive| {
        let directive = directive.trim();
        // `private="field"` and `no-cache="field"` are about that field alone.
        directive.eq_ignore_ascii_case("private") || directive.eq_ignore_ascii_case("no-store")
    })
}

/// RFC 9110, section 7.6.1.
fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            // An upstream must not use this to remove what protects the browser from it.
            .filter(|name| *name != SET_COOKIE && *name != CACHE_CONTROL)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &PROXY_AUTHENTICATE, &TE, &TRAILER, &TRANSFER_ENCODING, &UPGRADE] {
        headers.remove(name);
    }
}

/// An upstream can't set, change or expire a cookie of ours (design, invariant 4).
fn protect_cookies(headers: &mut HeaderMap, is_ours: impl Fn(&[u8]) -> bool) {
    let Entry::Occupied(entry) = headers.entry(SET_COOKIE) else { return };
    let is_forged = |value: &HeaderValue| upstream_sets_ours(value.as_bytes(), &is_ours);
    if !entry.iter().any(is_forged) {
        return;
    }
    let (_, values) = entry.remove_entry_mult();
    let kept: Vec<HeaderValue> = values.filter(|value| !is_forged(value)).collect();
    for value in kept {
        headers.append(SET_COOKIE, value);
    }
}

/// `Clear-Site-Data` of an upstream clears what it keeps in the browser, and not our session with it.
fn spare_cookies(headers: &mut HeaderMap) {
    let Entry::Occupied(entry) = headers.entry(&CLEAR_SITE_DATA) else { return };
    let (_, values) = entry.remove_entry_mult();
    let asked: Vec<String> = values
        .filter_map(|value| value.to_str().ok().map(ToOwned::to_owned))
        .flat_map(|value| value.split(',').map(|directive| directive.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    let everything = asked.iter().any(|directive| directive == "\"*\"");
    let spared =
        asked.iter().map(String::as_str).filter(|directive| *directive != "\"cookies\"" && *directive != "\"*\"");
    let all: &[&str] = if everything { &["\"cache\"", "\"storage\""] } else { &[] };
    let left: Vec<&str> = spared.chain(all.iter().copied()).collect();
    if let Ok(value) = HeaderValue::try_from(left.join(", "))
        && !left.is_empty()
    {
        headers.insert(&CLEAR_SITE_DATA, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn ours(name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(b"__Host-portcullis")
    }

    #[test]
    fn what_belongs_to_the_hop_stays_there() {
        let mut headers = map(&[
            ("connection", "close, x-internal, cache-control"),
            ("x-internal", "1"),
            ("keep-alive", "timeout=5"),
            ("cache-control", "no-store"),
            ("x-kept", "1"),
        ]);
        receive(&mut headers, false, ours);
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["cache-control", "x-kept"]);
    }

    #[test]
    fn an_upstream_cannot_set_our_cookie_under_any_disguise() {
        let mut headers = map(&[
            ("set-cookie", "app=1; Path=/"),
            ("set-cookie", "__Host-portcullis=forged; Path=/; Secure"),
            ("set-cookie", "__HOST-Portcullis =forged"),
            ("set-cookie", "=__Host-portcullis=forged"),
            ("set-cookie", "theme=dark"),
        ]);
        receive(&mut headers, true, ours);
        let left: Vec<&HeaderValue> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(left, ["app=1; Path=/", "theme=dark"]);
    }

    #[test]
    fn an_upstream_clears_its_own_data_and_not_our_session() {
        for (asked, left) in [
            ("\"cookies\"", None),
            ("\"cache\", \"cookies\"", Some("\"cache\"")),
            ("\"*\"", Some("\"cache\", \"storage\"")),
            ("\"storage\"", Some("\"storage\"")),
        ] {
            let mut headers = map(&[("clear-site-data", asked)]);
            receive(&mut headers, true, ours);
            assert_eq!(headers.get("clear-site-data").map(|value| value.to_str().unwrap()), left, "{asked}");
        }
    }

    #[test]
    fn a_cookie_rides_on_private_answers_alone() {
        for (value, private) in [
            ("private", true),
            ("max-age=0, Private", true),
            ("no-store", true),
            ("public, max-age=60", false),
            ("max-age=60", false),
            ("private=\"set-cookie\"", false),
        ] {
            assert_eq!(is_kept_private(&map(&[("cache-control", value)])), private, "{value}");
        }
        assert!(!is_kept_private(&HeaderMap::new()));
    }

    #[test]
    fn personal_answers_stay_out_of_shared_caches() {
        let mut silent = map(&[("content-type", "text/html")]);
        receive(&mut silent, true, ours);
        assert_eq!(silent.get(CACHE_CONTROL).unwrap(), "private");

        let mut spoken = map(&[("cache-control", "max-age=60")]);
        receive(&mut spoken, true, ours);
        assert_eq!(spoken.get(CACHE_CONTROL).unwrap(), "max-age=60");

        let mut public = map(&[("content-type", "text/html")]);
        receive(&mut public, false, ours);
        assert!(!public.contains_key(CACHE_CONTROL));
    }
}
