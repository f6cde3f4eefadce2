//! The cookies of a request, read where they stand: no copy, no allocation.

use http::HeaderMap;
use http::header::COOKIE;

/// Every cookie of every `Cookie` line as name and value, both without white space around them, in the order they came.
/// A piece without `=` is a nameless cookie: its name is empty (RFC 6265bis, section 5.7). HTTP/2 may send one line per
/// cookie (RFC 9113, section 8.2.3), so several lines are the normal case.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|piece| !piece.is_empty())
        .map(|piece| match piece.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                let (name, value) = piece.split_at(at);
                (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
            }
            None => (&[][..], piece),
        })
}
