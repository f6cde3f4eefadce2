//! Where a request comes from, by what browsers say: the one check against forged requests.
//!
//! 1. `Sec-Fetch-Site` decides when it is there (Fetch Metadata Request Headers, section 2.3): no page can forge it.
//! 2. Else `Origin` does (RFC 6454, section 7), else the origin of `Referer`.
//! 3. A header that came twice, or can't be read, speaks against the request.
//!
//! Deployment caveat: browsers leave `Sec-Fetch-*` out on plain HTTP, but for `localhost`.

use http::{HeaderMap, header};
use url::Url;

use crate::http::caller::asks_in_advance;
use crate::http::visit::SiteOrigin;

const SEC_FETCH_SITE: &str = "sec-fetch-site";
const SEC_FETCH_DEST: &str = "sec-fetch-dest";

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This very origin, or the person by their own hand.
    Own,
    /// Some other place.
    Foreign,
    /// Nothing in the request tells.
    Untold,
}

/// Where a request to `site` comes from.
pub fn source(headers: &HeaderMap, site: &SiteOrigin) -> Source {
    match single(headers, SEC_FETCH_SITE) {
        Said::Once("same-origin" | "none") => return Source::Own,
        Said::Nothing => {}
        Said::Once(_) | Said::Unclear => return Source::Foreign,
    }
    match single(headers, header::ORIGIN.as_str()) {
        Said::Once(origin) if origin == site.as_str() => return Source::Own,
        Said::Nothing => {}
        Said::Once(_) | Said::Unclear => return Source::Foreign,
    }
    match single(headers, header::REFERER.as_str()) {
        Said::Once(referer) if Url::parse(referer).is_ok_and(|url| url.origin() == site.url().origin()) => Source::Own,
        Said::Nothing => Source::Untold,
        Said::Once(_) | Said::Unclear => Source::Foreign,
    }
}

/// Whether the browser says that a page of the same site sent the request, of another origin perhaps (Fetch Metadata Request Headers,
/// section 2.3).
pub fn is_same_site(headers: &HeaderMap) -> bool {
    matches!(single(headers, SEC_FETCH_SITE), Said::Once("same-site"))
}

/// Whether the answer is for a page's part, such as an image or a frame, rather than for a person's whole window or for
/// a script's own call.
pub fn is_part_of_a_page(headers: &HeaderMap) -> bool {
    match single(headers, SEC_FETCH_DEST) {
        Said::Once("document" | "empty") => false,
        Said::Once(_) | Said::Unclear => true,
        Said::Nothing => match single(headers, header::ACCEPT.as_str()) {
            Said::Once(accept) => {
                (accept.contains("image/") || accept.contains("text/css")) && !accept.contains("text/html")
            }
            Said::Nothing | Said::Unclear => false,
        },
    }
}

/// Whether the answer is for a page's part that shows no page of its own, such as an image or a script.
pub fn is_embedded_otherwise(headers: &HeaderMap) -> bool {
    match single(headers, SEC_FETCH_DEST) {
        Said::Once("iframe" | "frame" | "document") => false,
        Said::Once(_) | Said::Unclear => true,
        Said::Nothing => is_part_of_a_page(headers),
    }
}

/// Whether a browser asks in advance for what a person may never want to see.
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| asks_in_advance(name, value))
}

enum Said<'a> {
    Nothing,
    Once(&'a str),
    Unclear,
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Said<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Said::Nothing,
        (Some(value), None) => value.to_str().map_or(Said::Unclear, Said::Once),
        (Some(_), Some(_)) => Said::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> SiteOrigin {
        SiteOrigin::new(&Url::parse("https://app.example.com").unwrap()).unwrap()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn what_browsers_say_of_the_source() {
        let cases: &[(&[(&'static str, &str)], Source)] = &[
            (&[], Source::Untold),
            (&[("sec-fetch-site", "same-origin")], Source::Own),
            (&[("sec-fetch-site", "none")], Source::Own),
            (&[("sec-fetch-site", "same-site")], Source::Foreign),
            (&[("sec-fetch-site", "cross-site")], Source::Foreign),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")], Source::Foreign),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], Source::Foreign),
            (&[("origin", "https://app.example.com")], Source::Own),
            (&[("origin", "https://app.example.com.evil.example")], Source::Foreign),
            (&[("origin", "http://app.example.com")], Source::Foreign),
            (&[("origin", "null")], Source::Foreign),
            (&[("origin", "null"), ("referer", "https://app.example.com/x")], Source::Foreign),
            (&[("referer", "https://app.example.com/page")], Source::Own),
            (&[("referer", "https://app.example.com.evil.example/")], Source::Foreign),
            (&[("referer", "https://evil.example/?https://app.example.com/")], Source::Foreign),
            (&[("referer", "nonsense")], Source::Foreign),
        ];
        for (lines, expected) in cases {
            assert_eq!(source(&headers(lines), &site()), *expected, "{lines:?}");
        }
    }

    #[test]
    fn parts_of_a_page_are_told_from_a_window() {
        assert!(is_part_of_a_page(&headers(&[("sec-fetch-dest", "image")])));
        assert!(is_part_of_a_page(&headers(&[("sec-fetch-dest", "iframe")])));
        assert!(is_part_of_a_page(&headers(&[("accept", "image/webp,image/*,*/*;q=0.8")])));
        assert!(!is_part_of_a_page(&headers(&[("sec-fetch-dest", "document")])));
        assert!(!is_part_of_a_page(&headers(&[("sec-fetch-dest", "empty")])));
        assert!(!is_part_of_a_page(&headers(&[("accept", "text/html,image/avif,*/*;q=0.8")])));
        assert!(!is_part_of_a_page(&headers(&[("accept", "*/*")])));
    }

    #[test]
    fn prefetches_are_recognised() {
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
        ] {
            assert!(is_prefetch(&headers(&[(name, value)])), "{name}: {value}");
        }
        assert!(!is_prefetch(&HeaderMap::new()));
    }
}
