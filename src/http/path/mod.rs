//! The one canonical form of a request's path: what is matched is what is sent, and what could be read in two ways is refused.
//!
//! 1. Refused always: dot segments in any disguise, backslashes, control characters, bytes that a URI may not hold, broken or
//!    doubled percent-encoding, and text that is not UTF-8.
//! 2. Refused unless a route allows it by name: encoded slashes, path parameters, empty segments.
//! 3. Let through, but judged under every reading that an upstream may take: the oddities of rule 2 once they are allowed, a
//!    segment that ends in a dot or a space (Windows drops them), an encoded `?` or `#` (some upstreams cut there).
//!
//! The bytes themselves are never changed (RFC 9110, section 7.7). Paths are compared with their case: `/ADMIN` is not
//! `/admin`, so an upstream that folds case needs a rule for `/*`.

mod reading;

use std::fmt;

use http::uri::PathAndQuery;

use crate::config::settings::PathAllowances;
use crate::http::path::reading::{Kinds, read};

/// The longest target that is looked at, in bytes (RFC 9110, section 4.1, asks for 8,000 at least).
pub const MAX_TARGET_BYTES: usize = 16 * 1024;

/// Why a path is refused. The text is safe to show: it holds nothing of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRefusal {
    /// Longer than [`MAX_TARGET_BYTES`].
    TooLong,
    /// Not in origin-form (RFC 9112, section 3.2.1).
    NotAbsolute,
    /// A byte that a path may not hold as it stands (RFC 3986, section 3.3).
    ForbiddenByte,
    /// A percent sign without two hex digits after it (RFC 3986, section 2.1).
    BrokenEncoding,
    /// Percent-encoding that decodes to percent-encoding.
    EncodedTwice,
    /// An encoded control character.
    Control,
    /// Bytes that are not UTF-8 after decoding.
    NotUtf8,
    /// `.` or `..`, however written.
    DotSegment,
    /// Two spellings of one delimiter, or a slash inside a path parameter: no two servers agree on these.
    Ambiguous,
}

impl PathRefusal {
    /// What is wrong, for an answer or a log line.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "the request target is too long",
            Self::NotAbsolute => "the path does not begin with a slash",
            Self::ForbiddenByte => "the path holds a character that has to be percent-encoded",
            Self::BrokenEncoding => "the path holds broken percent-encoding",
            Self::EncodedTwice => "the path is percent-encoded twice",
            Self::Control => "the path holds an encoded control character",
            Self::NotUtf8 => "the path is not UTF-8",
            Self::DotSegment => "the path holds a dot segment",
            Self::Ambiguous => "the path mixes encoded and plain delimiters",
        }
    }
}

impl fmt::Display for PathRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for PathRefusal {}

/// A path that has one meaning, or whose meanings are all known. Keeps the target byte for byte as it came.
#[derive(Clone, Debug)]
pub struct CanonicalPath {
    target: PathAndQuery,
    decoded: Option<Box<Decoded>>,
}

/// What differs from the bytes as sent; absent for the plain paths that nearly every request has.
#[derive(Clone, Debug)]
struct Decoded {
    matching: String,
    found: Kinds,
}

impl CanonicalPath {
    /// Checks the path of `target`. Allocates only when the path is percent-encoded or odd.
    ///
    /// # Errors
    /// When the path has to be refused whatever a route allows.
    pub fn parse(target: &PathAndQuery) -> Result<Self, PathRefusal> {
        if target.as_str().len() > MAX_TARGET_BYTES {
            return Err(PathRefusal::TooLong);
        }
        if !target.as_str().starts_with('/') {
            return Err(PathRefusal::NotAbsolute);
        }
        let path = target.path().as_bytes();
        let decoded = if is_plain(path)? { None } else { Some(Box::new(decode(path)?)) };
        Ok(Self { target: target.clone(), decoded })
    }

    /// Path and query, byte for byte as they came and as they are to be sent.
    pub const fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// The path byte for byte as it came, without the query.
    pub fn sent(&self) -> &str {
        self.target.path()
    }

    /// The form that rules are matched against: decoded, parameters dropped, empty segments collapsed, encoded slashes
    /// turned into slashes.
    pub fn matching(&self) -> &str {
        self.decoded.as_ref().map_or_else(|| self.target.path(), |decoded| decoded.matching.as_str())
    }

    /// What a route has to allow for this path to pass.
    pub fn needs(&self) -> PathAllowances {
        let found = self.found();
        PathAllowances {
            encoded_slash: found.has(Kinds::ENCODED_SLASH),
            path_parameters: found.has(Kinds::PARAMETER),
            empty_segments: found.has(Kinds::EMPTY_SEGMENT),
        }
    }

    /// Whether `allowances` cover everything that is odd about this path.
    pub fn is_allowed_by(&self, allowances: PathAllowances) -> bool {
        let needs = self.needs();
        (allowances.encoded_slash || !needs.encoded_slash)
            && (allowances.path_parameters || !needs.path_parameters)
            && (allowances.empty_segments || !needs.empty_segments)
    }

    /// Every other way in which an upstream may read this path, in the form that rules are matched against; nothing for a
    /// path that has one reading. At most 31.
    pub fn other_readings(&self) -> impl Iterator<Item = String> + '_ {
        let found = self.found();
        found.subsets().filter(move |ignored| *ignored != found.and(Kinds::MATCHING)).map(|ignored| self.read(ignored))
    }

    fn read(&self, ignored: Kinds) -> String {
        // `parse` saw the whole path decode to UTF-8, and a reading only leaves out parts between ASCII delimiters. Were that
        // ever wrong, the empty path matches no rule at all.
        String::from_utf8(read(self.sent().as_bytes(), ignored)).unwrap_or_default()
    }

    fn found(&self) -> Kinds {
        self.decoded.as_ref().map_or(Kinds::NONE, |decoded| decoded.found)
    }
}

/// Whether the path as sent is already its own canonical form.
fn is_plain(path: &[u8]) -> Result<bool, PathRefusal> {
    let mut plain = true;
    let mut before = 0;
    for &byte in path {
        match byte {
            b'/' => plain &= before != b'/' && before != b'.',
            b'%' | b';' => plain = false,
            // RFC 3986, section 3.3 (`pchar`), and `[]|^`, which browsers leave as they are (URL standard, path percent-encode
            // set) and which mean nothing to anybody.
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => {}
            _ if b"-._~!$&'()*+,=:@[]|^".contains(&byte) => {}
            _ => return Err(PathRefusal::ForbiddenByte),
        }
        before = byte;
    }
    // A segment that ends in a dot may be a dot segment, and Windows drops the dot of others.
    Ok(plain && before != b'.')
}

fn decode(path: &[u8]) -> Result<Decoded, PathRefusal> {
    let mut found = Kinds::of_delimiters(path)?;
    let open = String::from_utf8(read(path, Kinds::ENCODED_SLASH)).map_err(|_| PathRefusal::NotUtf8)?;
    if open.chars().any(char::is_control) {
        return Err(PathRefusal::Control);
    }
    if is_still_encoded(open.as_bytes()) {
        return Err(PathRefusal::EncodedTwice);
    }
    for piece in open.split(['/', '\\', ';', '?', '#']) {
        if !piece.is_empty() && piece.chars().all(|c| c == ' ' || is_dot(c)) {
            return Err(PathRefusal::DotSegment);
        }
        if piece.ends_with([' ', '.']) {
            found = found.or(Kinds::TAIL);
        }
    }
    let bare = read(path, Kinds::ENCODED_SLASH.or(Kinds::PARAMETER));
    if bare.windows(2).any(|pair| pair == b"//") {
        found = found.or(Kinds::EMPTY_SEGMENT);
    }
    let matching = String::from_utf8(read(path, Kinds::MATCHING)).map_err(|_| PathRefusal::NotUtf8)?;
    Ok(Decoded { matching, found })
}

/// Whether decoded text holds what a second decoder would decode again, `%u002e` of old Windows servers included.
fn is_still_encoded(text: &[u8]) -> bool {
    text.windows(3).any(|three| match three {
        [b'%', b'u' | b'U', digit] => digit.is_ascii_hexdigit(),
        [b'%', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    })
}

/// A full stop, or a character that compatibility normalisation (Unicode Annex 15, NFKC) makes full stops of.
const fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{2024}' | '\u{2025}' | '\u{2026}' | '\u{FE52}' | '\u{FF0E}')
}

#[cfg(test)]
mod tests;
