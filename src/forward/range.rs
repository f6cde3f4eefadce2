//! What a visitor wants of a file by `Range` (RFC 9110, section 14): one part of it, in a form that can be read in one way.

use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

const UNIT: &str = "bytes=";
/// The whole of a file, as a part of it.
static ALL: HeaderValue = HeaderValue::from_static("bytes=0-");
/// What is said of an empty file, of which there is no part (section 14.4).
pub(super) static NOTHING: HeaderValue = HeaderValue::from_static("bytes */0");
/// Digits of a number that is larger than every file.
const FAR: usize = 18;

/// One part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Which, as it is asked for.
    pub(super) text: HeaderValue,
    /// Whether it is so many bytes at the end of the file.
    is_suffix: bool,
    /// The version of the file that it is to be a part of.
    of: Option<HeaderValue>,
}

impl Part {
    /// The part that is asked for; nothing when the file is to be sent as a whole, which is always right (section 14.2). So it is for
    /// several parts, for other units, and for a condition that is no strong validator (section 13.1.5).
    pub(super) fn wanted(parts: &Parts) -> Option<Self> {
        if parts.method != Method::GET {
            return None;
        }
        let of = match parts.headers.get(IF_RANGE) {
            Some(version) if version.as_bytes().starts_with(b"\"") => Some(version.clone()),
            Some(_) => return None,
            None => None,
        };
        let mut lines = parts.headers.get_all(RANGE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let line = line.to_str().ok()?;
        let (unit, set) = line.split_at_checked(UNIT.len())?;
        if !unit.eq_ignore_ascii_case(UNIT) {
            return None;
        }
        // Empty elements of a list count for nothing (section 5.6.1.2).
        let mut ranges = set.split(',').map(|range| range.trim_matches([' ', '\t'])).filter(|range| !range.is_empty());
        let (range, None) = (ranges.next().unwrap_or_default(), ranges.next()) else { return None };
        let (first, last) = range.split_once('-').unwrap_or_default();
        // An end beyond every file is the file's.
        let has_far_end = !first.is_empty() && last.len() > FAR && last.bytes().all(|byte| byte.is_ascii_digit());
        let text = if has_far_end { format!("{UNIT}{first}-") } else { format!("{UNIT}{range}") };
        let is_suffix = first.is_empty()
            && last.bytes().any(|digit| digit != b'0')
            && last.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self { text: HeaderValue::try_from(text).ok()?, is_suffix, of })
    }

    /// Whether an answer with these headers is about the version that was meant.
    pub(super) fn is_of(&self, headers: &HeaderMap) -> bool {
        self.of.as_ref().is_none_or(|version| headers.get(ETAG) == Some(version))
    }

    /// The whole of the file, where the part has more bytes than that and an answer with these headers says that there is no such part:
    /// a suffix may be longer than the file (section 14.1.2).
    pub(super) fn all(&self, headers: &HeaderMap) -> Option<&'static HeaderValue> {
        let is_empty = headers.get(CONTENT_RANGE) == Some(&NOTHING);
        (self.is_suffix && !is_empty).then_some(&ALL)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn wanted(lines: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::get("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Part::wanted(&parts).map(|part| part.text.to_str().unwrap().to_owned())
    }

    #[test]
    fn one_part_is_read_in_every_spelling() {
        for (asked, read) in [
            ("bytes=0-0", "bytes=0-0"),
            ("Bytes=5-", "bytes=5-"),
            ("bytes=-3", "bytes=-3"),
            ("bytes=,1-2 ,", "bytes=1-2"),
            ("bytes=9-100000000000000000000", "bytes=9-"),
            ("bytes=5-3", "bytes=5-3"),
            ("bytes=", "bytes="),
        ] {
            assert_eq!(wanted(&[("range", asked)]).as_deref(), Some(read), "{asked}");
        }
    }

    #[test]
    fn what_is_no_single_part_is_the_whole() {
        for asked in ["bytes=0-1,4-5", "items=0-1", "bytes", "junk"] {
            assert_eq!(wanted(&[("range", asked)]), None, "{asked}");
        }
        assert_eq!(wanted(&[("range", "bytes=0-1"), ("range", "bytes=4-5")]), None);
        assert_eq!(wanted(&[("range", "bytes=0-1"), ("if-range", "W/\"x\"")]), None);
        assert_eq!(wanted(&[("range", "bytes=0-1"), ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT")]), None);
        assert!(wanted(&[("range", "bytes=0-1"), ("if-range", "\"x\"")]).is_some());
    }
}
