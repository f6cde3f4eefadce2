//! Looks through `Cookie` lines without copying, and keeps our cookies from upstreams in both directions.
//!
//! 1. An upstream never sees our cookies, however their names are disguised: in another case, in quotes, percent-encoded, or as a
//!    cookie without a name (`=__Host-x=…`).
//! 2. An upstream never sets them.
//! 3. Several `Cookie` lines become one (RFC 9113, section 8.2.3).
//!
//! The predicate `is_ours` gets a bare name and has to ignore case, since browsers take `__host-` for `__Host-`.

use std::borrow::Cow;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use memchr::memchr;
use percent_encoding::percent_decode;

/// Every cookie of every `Cookie` line as name and value, in their order, spaces around them dropped (RFC 6265, section 4.2).
/// A cookie without `=` has an empty name.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|line| pieces(line.as_bytes())).map(split)
}

fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Session cookies are long: looking for the next separator by machine words is most of what this file costs a request.
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let piece = if let Some(at) = memchr(b';', line) {
            rest = line.get(at + 1..);
            line.get(..at)?
        } else {
            rest = None;
            line
        };
        Some(piece.trim_ascii())
    })
    .filter(|piece| !piece.is_empty())
}

fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'=', piece).and_then(|at| piece.split_at_checked(at)) {
        Some((name, value)) => (name.trim_ascii_end(), value.get(1..).unwrap_or_default().trim_ascii_start()),
        None => (&[], piece),
    }
}

/// Takes our cookies out of the request and merges the rest into one line. Leaves a single line without ours untouched.
pub fn strip(headers: &mut HeaderMap, is_ours: impl Fn(&[u8]) -> bool) {
    let (mut lines, mut any_ours, mut any_others) = (0_usize, false, false);
    for line in headers.get_all(COOKIE) {
        lines += 1;
        for piece in pieces(line.as_bytes()) {
            let ours = names_ours(piece, &is_ours);
            any_ours |= ours;
            any_others |= !ours;
        }
    }
    if !any_others {
        headers.remove(COOKIE);
    } else if any_ours || lines > 1 {
        keep_others(headers, &is_ours);
    }
}

fn keep_others(headers: &mut HeaderMap, is_ours: &impl Fn(&[u8]) -> bool) {
    let mut kept = Vec::new();
    for piece in headers.get_all(COOKIE).iter().flat_map(|line| pieces(line.as_bytes())) {
        if !names_ours(piece, is_ours) {
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(piece);
        }
    }
    // Pieces of a valid value make a valid value; were it not so, no cookie at all is the safe answer.
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(kept)) {
        Ok(mut value) => {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
        Err(_) => drop(headers.remove(COOKIE)),
    }
}

/// Whether this `Set-Cookie` value of an upstream would set one of our cookies.
pub fn upstream_sets_ours(set_cookie: &[u8], is_ours: impl Fn(&[u8]) -> bool) -> bool {
    set_cookie.split(|byte| *byte == b';').next().is_some_and(|piece| names_ours(piece.trim_ascii(), &is_ours))
}

/// Whether anything that a server or browser may take for the name in `piece` is ours.
fn names_ours(piece: &[u8], is_ours: &impl Fn(&[u8]) -> bool) -> bool {
    let start = piece.iter().position(|byte| *byte != b'=' && !byte.is_ascii_whitespace()).unwrap_or(piece.len());
    let piece = piece.get(start..).unwrap_or_default();
    let name = memchr(b'=', piece).and_then(|at| piece.get(..at)).unwrap_or(piece).trim_ascii();
    if is_ours(name) {
        return true;
    }
    let decoded = if name.contains(&b'%') { Cow::from(percent_decode(name)) } else { Cow::Borrowed(name) };
    let bare = bare(&decoded);
    bare.len() != name.len() && is_ours(bare)
}

/// The name without quotes, spaces and `=` around it.
fn bare(mut name: &[u8]) -> &[u8] {
    while let [b'"' | b'\'' | b'=' | b' ' | b'\t', rest @ ..] | [rest @ .., b'"' | b'\'' | b'=' | b' ' | b'\t'] = name {
        name = rest;
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_ours(name: &[u8]) -> bool {
        name.to_ascii_lowercase().starts_with(b"__host-gate")
    }

    fn map(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn stripped(lines: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut headers = map(lines);
        strip(&mut headers, is_ours);
        headers.get_all(COOKIE).iter().map(|line| line.as_bytes().to_vec()).collect()
    }

    #[test]
    fn pairs_come_in_order_from_every_line() {
        let headers = map(&[b"a=1; b = two ;; c", b" d==4; =e=5; f="]);
        let found: Vec<_> = pairs(&headers).collect();
        let expected: [(&[u8], &[u8]); 6] =
            [(b"a", b"1"), (b"b", b"two"), (b"", b"c"), (b"d", b"=4"), (b"", b"e=5"), (b"f", b"")];
        assert_eq!(found, expected);
    }

    #[test]
    fn ours_go_and_the_rest_stays_byte_for_byte() {
        assert_eq!(stripped(&[b"a=\"x y\"; __Host-gate=s; b=1=2"]), [b"a=\"x y\"; b=1=2"]);
        assert_eq!(stripped(&[b"__Host-gate=s; __Host-gate.1=t"]), Vec::<Vec<u8>>::new());
        assert_eq!(stripped(&[b"a=1;b=2 ;  c"]), [b"a=1;b=2 ;  c"], "one line without ours is not rewritten");
        assert_eq!(stripped(&[]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn several_lines_become_one() {
        assert_eq!(stripped(&[b"a=1", b"b=2"]), [b"a=1; b=2"]);
        assert_eq!(stripped(&[b"a=1; __Host-gate=s", b"b=2"]), [b"a=1; b=2"]);
        assert_eq!(stripped(&[b"", b""]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn no_disguise_gets_ours_through() {
        for disguised in [
            &b"__host-gate=s"[..],
            b"__HOST-GATE=s",
            b"=__Host-gate=s",
            b"==__Host-gate=s",
            b" = __Host-gate = s",
            b"__Host-gate",
            b"\"__Host-gate\"=s",
            b"'__Host-gate'=s",
            b"__Host%2Dgate=s",
            b"%5f%5FHost-gate=s",
            b"%20__Host-gate=s",
            b"%3d__Host-gate=s",
            b"\t__Host-gate\t=s",
        ] {
            assert_eq!(stripped(&[disguised]), Vec::<Vec<u8>>::new(), "{}", disguised.escape_ascii());
            let among = [b"a=1; ", disguised, b"; b=2"].concat();
            assert_eq!(stripped(&[&among]), [b"a=1; b=2"], "{}", disguised.escape_ascii());
            assert!(upstream_sets_ours(&[disguised, b"; Path=/"].concat(), is_ours), "{}", disguised.escape_ascii());
        }
    }

    #[test]
    fn an_upstream_sets_its_own_cookies() {
        assert!(!upstream_sets_ours(b"sid=__Host-gate; Path=/", is_ours));
        assert!(!upstream_sets_ours(b"sid=1; __Host-gate=x", is_ours));
        assert!(!upstream_sets_ours(b"", is_ours));
    }

    proptest! {
        #[test]
        fn nothing_of_ours_is_left_and_nothing_else_is_lost(lines in proptest::collection::vec("[ -~\t]{0,60}", 0..4)) {
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let mut headers = map(&lines);
            let expected: Vec<Vec<u8>> = lines.iter().flat_map(|line| pieces(line))
                .filter(|piece| !names_ours(piece, &is_ours)).map(<[u8]>::to_vec).collect();
            strip(&mut headers, is_ours);
            prop_assert!(headers.get_all(COOKIE).iter().count() <= 1);
            let found: Vec<Vec<u8>> = headers.get_all(COOKIE).iter()
                .flat_map(|line| pieces(line.as_bytes())).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
