//! Headers that are made once for many requests: kept as pairs for HTTP/2, and as the lines that HTTP/1.1 writes.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::hints::Hints;

/// Headers that are the same for many requests.
#[derive(Clone, Debug, Default)]
pub struct ReadyHeaders {
    pairs: Box<[(HeaderName, HeaderValue)]>,
    lines: Box<[u8]>,
    map: OnceLock<Box<HeaderMap>>,
}

/// What goes with a request besides what the visitor said: what the gateway says in it, and where hints at its answer go. No name of it is among the visitor's headers, which the edge has
/// seen to, so that it need not be looked for there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Added<'a> {
    /// What was made before.
    pub ready: &'a [&'a ReadyHeaders],
    /// What is of this request alone.
    pub more: &'a [(HeaderName, HeaderValue)],
    /// Where the upstream's early hints go; nowhere when absent.
    pub hints: Option<&'a Hints>,
}

impl ReadyHeaders {
    /// These headers, in this order.
    pub fn new(pairs: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        let pairs: Box<[_]> = pairs.into_iter().collect();
        let mut lines = Vec::new();
        for (name, value) in &pairs {
            write_line(&mut lines, name, value);
        }
        Self { pairs, lines: lines.into_boxed_slice(), map: OnceLock::new() }
    }

    /// The headers as a map, with room for `more` names: copied from one that is made at the first call, so that none is hashed again.
    pub fn map(&self, more: usize) -> HeaderMap {
        let made = self.map.get_or_init(|| {
            let mut map = HeaderMap::with_capacity(self.pairs.len() + more);
            map.extend(self.pairs.iter().cloned());
            Box::new(map)
        });
        HeaderMap::clone(made)
    }

    /// The headers one by one.
    pub fn pairs(&self) -> &[(HeaderName, HeaderValue)] {
        &self.pairs
    }
}

impl<'a> Added<'a> {
    /// The headers one by one.
    pub fn pairs(&self) -> impl Iterator<Item = &'a (HeaderName, HeaderValue)> {
        self.ready.iter().flat_map(|ready| ready.pairs.iter()).chain(self.more)
    }

    /// Sets them, as HTTP/2 needs it.
    pub fn set(&self, headers: &mut HeaderMap) {
        for (name, value) in self.pairs() {
            headers.insert(name, value.clone());
        }
    }

    /// Bytes of the lines, or a few more.
    pub(super) fn length(&self) -> usize {
        let ready: usize = self.ready.iter().map(|ready| ready.lines.len()).sum();
        ready + self.more.iter().map(|(name, value)| line_length(name, value)).sum::<usize>()
    }

    /// Writes the lines, as HTTP/1.1 does.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for ready in self.ready {
            out.extend_from_slice(&ready.lines);
        }
        for (name, value) in self.more {
            write_line(out, name, value);
        }
    }
}

/// Bytes of one line.
pub(super) fn line_length(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + 4
}

/// Writes one line (RFC 9112, section 5).
pub(super) fn write_line(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    #[test]
    fn both_forms_say_the_same() {
        let ready = ReadyHeaders::new([pair("x-a", "1"), pair("x-b", "2")]);
        let (all, more) = ([&ready], [pair("x-c", "3")]);
        let added = Added { ready: &all, more: &more, hints: None };
        let mut lines = Vec::new();
        added.write(&mut lines);
        assert_eq!(lines, b"x-a: 1\r\nx-b: 2\r\nx-c: 3\r\n");
        assert_eq!(added.length(), lines.len());
        let mut headers = HeaderMap::new();
        added.set(&mut headers);
        added.set(&mut headers);
        assert_eq!(headers.len(), 3, "setting them again for another try adds nothing");
    }
}
