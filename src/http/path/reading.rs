//! The ways in which an upstream may read one path: each kind of oddity either counts or is ignored.

use crate::http::path::PathRefusal;

/// A set of kinds of oddity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    /// No kind.
    pub(super) const NONE: Self = Self(0);
    /// `%2f` or `%5c`: ignored means that it is taken for a slash.
    pub(super) const ENCODED_SLASH: Self = Self(1);
    /// `;` or `%3b`: ignored means that the rest of the segment is dropped.
    pub(super) const PARAMETER: Self = Self(2);
    /// `//`: ignored means that it is taken for one slash.
    pub(super) const EMPTY_SEGMENT: Self = Self(4);
    /// A dot or space at a segment's end: ignored means that it is dropped.
    pub(super) const TAIL: Self = Self(8);
    /// `%3f` or `%23`: ignored means that the path ends there.
    pub(super) const CUT: Self = Self(16);
    /// What the form for matching ignores; the other two kinds are plain characters by RFC 3986, section 2.2.
    pub(super) const MATCHING: Self = Self(1 | 2 | 4);

    pub(super) const fn has(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Every set of kinds that are all in this one, the empty set and itself included.
    pub(super) fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.0).filter(move |bits| bits & !self.0 == 0).map(Self)
    }

    /// The kinds that show in the bytes of `path`, which [`super::is_plain`] has looked at.
    pub(super) fn of_delimiters(path: &[u8]) -> Result<Self, PathRefusal> {
        let mut found = Self::NONE;
        let (mut slash, mut backslash, mut plain, mut encoded) = (false, false, false, false);
        let mut in_parameter = false;
        let mut rest = path;
        while let Some((unit, after)) = next(rest)? {
            rest = after;
            match unit {
                Unit::Plain(b'/') => in_parameter = false,
                Unit::Plain(b';') => (plain, in_parameter) = (true, true),
                Unit::Encoded(b';') => (encoded, in_parameter) = (true, true),
                Unit::Encoded(b'/' | b'\\') if in_parameter => return Err(PathRefusal::Ambiguous),
                Unit::Encoded(b'/') => slash = true,
                Unit::Encoded(b'\\') => backslash = true,
                Unit::Encoded(b'?' | b'#') => found = found.or(Self::CUT),
                Unit::Encoded(0..0x20 | 0x7f) => return Err(PathRefusal::Control),
                Unit::Plain(_) | Unit::Encoded(_) => {}
            }
        }
        if (slash && backslash) || (plain && encoded) {
            return Err(PathRefusal::Ambiguous);
        }
        if slash || backslash {
            found = found.or(Self::ENCODED_SLASH);
        }
        if plain || encoded {
            found = found.or(Self::PARAMETER);
        }
        Ok(found)
    }
}

/// One character of a path, and how it was written.
#[derive(Clone, Copy)]
enum Unit {
    Plain(u8),
    Encoded(u8),
}

/// The first unit of `path` and what follows it; `None` at the end.
fn next(path: &[u8]) -> Result<Option<(Unit, &[u8])>, PathRefusal> {
    match path {
        [] => Ok(None),
        [b'%', high, low, rest @ ..] => {
            let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
            byte.map(|byte| Some((Unit::Encoded(byte), rest))).ok_or(PathRefusal::BrokenEncoding)
        }
        [b'%', ..] => Err(PathRefusal::BrokenEncoding),
        [byte, rest @ ..] => Ok(Some((Unit::Plain(*byte), rest))),
    }
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `path` decoded as an upstream reads it that ignores these kinds. The path has passed [`Kinds::of_delimiters`].
pub(super) fn read(path: &[u8], ignored: Kinds) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut in_parameter = false;
    let mut rest = path;
    while let Ok(Some((unit, after))) = next(rest) {
        rest = after;
        match unit {
            Unit::Plain(b'/') => {
                in_parameter = false;
                slash(&mut out, ignored);
            }
            Unit::Encoded(b'?' | b'#') if ignored.has(Kinds::CUT) => break,
            Unit::Plain(b';') | Unit::Encoded(b';') if ignored.has(Kinds::PARAMETER) => in_parameter = true,
            _ if in_parameter => {}
            Unit::Encoded(b'/' | b'\\') if ignored.has(Kinds::ENCODED_SLASH) => slash(&mut out, ignored),
            // They stay encoded, so that they can't be taken for the delimiter that they are not in this reading.
            Unit::Encoded(b'/') => out.extend_from_slice(b"%2F"),
            Unit::Encoded(b'\\') => out.extend_from_slice(b"%5C"),
            Unit::Plain(byte) | Unit::Encoded(byte) => out.push(byte),
        }
    }
    if ignored.has(Kinds::TAIL) {
        trim_tail(&mut out);
    }
    out
}

fn slash(out: &mut Vec<u8>, ignored: Kinds) {
    if ignored.has(Kinds::TAIL) {
        trim_tail(out);
    }
    if !(ignored.has(Kinds::EMPTY_SEGMENT) && out.last() == Some(&b'/')) {
        out.push(b'/');
    }
}

fn trim_tail(out: &mut Vec<u8>) {
    while matches!(out.last(), Some(b'.' | b' ')) {
        out.pop();
    }
}
