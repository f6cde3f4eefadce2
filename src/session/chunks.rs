//! One long value spread over several cookies, and gathered again: all of it or nothing.
//!
//! The first cookie says how many there are: `3.AbC…`, and the others hold the rest. The count and the order are not to
//! be trusted here; the seal over the joined value is what they have to agree with.

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;

use super::names::{CookieKind, CookieNames, MAX_CHUNKS};
use crate::http::cookie_scan;

/// The session's cookies as they came, before anything is opened. Cheap: no decryption, and no copy of a single cookie.
#[derive(Clone, PartialEq, Eq)]
pub enum RawSession<'a> {
    /// None of them came.
    Absent,
    /// One name came twice with different values: somebody else may have set one of them (cookie tossing).
    Ambiguous,
    /// Some came, yet not all that the first one speaks of, or more than a session may have.
    Incomplete,
    /// All came. The joined bytes, the count in front: a key under which an opened session can be kept.
    Whole(Cow<'a, [u8]>),
}

impl fmt::Debug for RawSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Ambiguous => f.write_str("Ambiguous"),
            Self::Incomplete => f.write_str("Incomplete"),
            Self::Whole(joined) => write!(f, "Whole({} bytes)", joined.len()),
        }
    }
}

/// The value of the session's cookies, in order: as few as `room` bytes each allow. At least one, none of them empty.
/// `text` begins with the count, see [`count_for`].
pub(super) fn split(text: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((piece, after)) = rest.split_at_checked(room.max(1)) {
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// How many cookies a value of `length` bytes takes, the count itself and its dot included; `None` when it is more than
/// a session may have.
pub(super) fn count_for(length: usize, room: usize) -> Option<usize> {
    (1..=MAX_CHUNKS).find(|count| (prefix(*count).len() + length).div_ceil(room.max(1)) <= *count)
}

/// How a joined value begins.
pub(super) fn prefix(count: usize) -> String {
    format!("{count}.")
}

/// The count that a joined value or a first cookie begins with, and what follows it.
pub(super) fn split_prefix(joined: &[u8]) -> Option<(usize, &[u8])> {
    let dot = joined.iter().take(3).position(|&byte| byte == b'.')?;
    let (digits, rest) = joined.split_at(dot);
    if digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (1..=MAX_CHUNKS).contains(&count).then_some((count, rest.get(1..)?))
}

/// Gathers the session's cookies. Bounded by `limit` bytes and [`MAX_CHUNKS`] cookies, whatever the first one claims.
pub(super) fn gather<'a>(names: &CookieNames, headers: &'a HeaderMap, limit: usize) -> RawSession<'a> {
    let mut found: [Option<&'a [u8]>; MAX_CHUNKS] = [None; MAX_CHUNKS];
    let mut any = false;
    for (name, value) in cookie_scan::pairs(headers) {
        let Some(CookieKind::Session(index)) = names.kind(name) else { continue };
        let Some(slot) = found.get_mut(index) else { continue };
        if slot.is_some_and(|before| before != value) {
            return RawSession::Ambiguous;
        }
        any = true;
        *slot = Some(value);
    }
    if !any {
        return RawSession::Absent;
    }
    join(&found, limit).map_or(RawSession::Incomplete, RawSession::Whole)
}

/// The pieces that the first one counts, joined. Pieces beyond the count are left over from a longer session, and ignored.
fn join<'a>(found: &[Option<&'a [u8]>; MAX_CHUNKS], limit: usize) -> Option<Cow<'a, [u8]>> {
    let (count, _) = split_prefix((*found.first()?)?)?;
    let pieces = found.iter().take(count);
    let length = pieces.clone().try_fold(0, |sum: usize, piece| {
        let bytes = piece.filter(|piece| !piece.is_empty())?.len();
        sum.checked_add(bytes).filter(|sum| *sum <= limit)
    })?;
    if count == 1 {
        return found.first().copied().flatten().map(Cow::Borrowed);
    }
    let mut joined = Vec::with_capacity(length);
    pieces.flatten().for_each(|piece| joined.extend_from_slice(piece));
    Some(Cow::Owned(joined))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::COOKIE;

    use super::*;

    fn names() -> CookieNames {
        CookieNames::new("s", false)
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn whole(lines: &[&str]) -> Option<Vec<u8>> {
        match gather(&names(), &headers(lines), 1000) {
            RawSession::Whole(joined) => Some(joined.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn every_length_splits_and_joins() {
        for length in 0..600 {
            let room = 9;
            let body = "x".repeat(length);
            let Some(count) = count_for(length, room) else {
                assert!(length > MAX_CHUNKS * room - 4, "{length} is refused though it fits");
                continue;
            };
            let text = prefix(count) + &body;
            let pieces = split(&text, room);
            assert_eq!(pieces.len(), count, "{length}");
            assert!(pieces.iter().all(|piece| (1..=room).contains(&piece.len())), "{length}");
            let line: Vec<String> =
                pieces.iter().enumerate().map(|(index, piece)| format!("{}={piece}", names().chunk(index))).collect();
            // Neither the order nor the number of lines matters (RFC 6265bis, section 4.2.2).
            let lines: Vec<&str> = line.iter().rev().map(String::as_str).collect();
            assert_eq!(whole(&lines).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn a_single_cookie_is_not_copied() {
        let headers = headers(&["a=b; s=1.abc; c=d"]);
        assert!(matches!(gather(&names(), &headers, 1000), RawSession::Whole(Cow::Borrowed(b"1.abc"))));
    }

    #[test]
    fn a_missing_piece_is_no_session() {
        assert_eq!(whole(&["s=3.a; s.1=b; s.2=c"]).unwrap(), b"3.abc");
        for lines in ["s=3.a; s.1=b", "s=3.a; s.2=c", "s.1=b; s.2=c", "s=3.a; s.1=; s.2=c", "s="] {
            assert!(matches!(gather(&names(), &headers(&[lines]), 1000), RawSession::Incomplete), "{lines}");
        }
        assert_eq!(gather(&names(), &headers(&["other=1.a"]), 1000), RawSession::Absent);
    }

    #[test]
    fn absurd_counts_are_refused_at_once() {
        for count in ["99999", "99999999999999999999999", "65", "0", "01", "-1", "", "1e3", "٣"] {
            let line = format!("s={count}.abc");
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            assert_eq!(gather(&names(), &headers, 1000), RawSession::Incomplete, "{count}");
        }
    }

    #[test]
    fn more_bytes_than_a_session_may_have_are_refused() {
        let headers = headers(&[&format!("s=2.{}; s.1={}", "a".repeat(500), "b".repeat(500))]);
        assert_eq!(gather(&names(), &headers, 1001), RawSession::Incomplete);
        assert!(matches!(gather(&names(), &headers, 1002), RawSession::Whole(_)));
    }

    #[test]
    fn one_name_with_two_values_is_ambiguous_wherever_it_stands() {
        for lines in [&["s=1.a; s=1.b"][..], &["s=1.a", "s=1.b"], &["s=2.a; s.1=x; s.1=y"], &["s=1.a; s.9=x", "s.9=y"]]
        {
            assert_eq!(gather(&names(), &headers(lines), 1000), RawSession::Ambiguous, "{lines:?}");
        }
        assert_eq!(whole(&["s=1.a; s=1.a"]).unwrap(), b"1.a", "twice the same is no contradiction");
    }

    #[test]
    fn nameless_cookies_and_other_spellings_are_not_read() {
        let names = CookieNames::new("s", true);
        for line in ["=__Host-s=1.a", "__host-s=1.a", "s=1.a", "__Host-s"] {
            assert_eq!(gather(&names, &headers(&[line]), 1000), RawSession::Absent, "{line}");
        }
    }
}
