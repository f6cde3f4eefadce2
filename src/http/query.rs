//! Reads the parameters that our own endpoints get, in a query or a form: strictly, so that two readers can't see two things.

use std::fmt;

use percent_encoding::percent_decode;

/// The most parameters that one request may bring.
pub const MAX_PARAMETERS: usize = 64;
/// The most bytes that they may add up to as they were sent.
pub const MAX_BYTES: usize = 64 * 1024;
/// The longest name, in decoded bytes.
const MAX_NAME_BYTES: usize = 128;

/// Parameters of which each came once. `Debug` shows their names alone: values may be codes and tokens.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<(String, String)>,
}

/// Why parameters can't be read. Never holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryProblem {
    /// More than [`MAX_PARAMETERS`] or [`MAX_BYTES`], or a name of absurd length.
    #[error("too many parameters, or too long ones")]
    TooLarge,
    /// A parameter that came twice (RFC 6749, section 3.1).
    #[error("a parameter came more than once")]
    Repeated,
    /// Percent-encoding that is broken, or does not decode to UTF-8.
    #[error("a parameter is not properly encoded")]
    Encoding,
}

impl Query {
    /// Reads `application/x-www-form-urlencoded` text. Empty parameters (`&&`) are skipped; one without `=` has an empty value.
    ///
    /// # Errors
    /// When a parameter came twice, is not properly encoded, or there is too much of it.
    pub fn parse(text: &[u8]) -> Result<Self, QueryProblem> {
        if text.len() > MAX_BYTES {
            return Err(QueryProblem::TooLarge);
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(parts.next().unwrap_or_default())?;
            let value = decode(parts.next().unwrap_or_default())?;
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(QueryProblem::Repeated);
            }
            if parameters.len() == MAX_PARAMETERS || name.len() > MAX_NAME_BYTES {
                return Err(QueryProblem::TooLarge);
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters })
    }

    /// The value of `name`, if it came.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.parameters.iter().map(|(name, _)| name)).finish()
    }
}

fn decode(text: &[u8]) -> Result<String, QueryProblem> {
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (b'%', _) => return Err(QueryProblem::Encoding),
            _ => after,
        };
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    String::from_utf8(percent_decode(&spaced).collect()).map_err(|_| QueryProblem::Encoding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let query = Query::parse(b"code=a%2Bb+c&&state=&flag&x=%25%34%31&y=a=b").unwrap();
        assert_eq!(query.get("code"), Some("a+b c"));
        assert_eq!(query.get("state"), Some(""));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("x"), Some("%41"));
        assert_eq!(query.get("y"), Some("a=b"));
        assert_eq!(query.get("z"), None);
    }

    #[test]
    fn a_parameter_that_came_twice_is_refused_however_spelt() {
        for text in ["code=1&code=1", "code=1&c%6fde=2", "a&a", "=1&=2", "a+b=1&a%20b=2"] {
            assert_eq!(Query::parse(text.as_bytes()), Err(QueryProblem::Repeated), "{text}");
        }
    }

    #[test]
    fn broken_encoding_is_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "%=1", "a=%c0%af", "a=%ff"] {
            assert_eq!(Query::parse(text.as_bytes()), Err(QueryProblem::Encoding), "{text}");
        }
        assert_eq!(Query::parse(b"a=\xff"), Err(QueryProblem::Encoding));
    }

    #[test]
    fn sizes_are_bounded() {
        let many = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(Query::parse(many.as_bytes()), Err(QueryProblem::TooLarge));
        assert_eq!(Query::parse("a".repeat(MAX_BYTES + 1).as_bytes()), Err(QueryProblem::TooLarge));
        assert_eq!(Query::parse("a".repeat(MAX_NAME_BYTES + 1).as_bytes()), Err(QueryProblem::TooLarge));
        assert!(Query::parse(format!("a={}", "v".repeat(MAX_BYTES - 2)).as_bytes()).is_ok());
    }

    #[test]
    fn values_are_found_by_name_and_never_show_in_debug() {
        let query = Query::parse(b"code=hush&state=s").unwrap();
        assert_eq!(format!("{query:?}"), "{\"code\", \"state\"}");
        assert_eq!((query.get("code"), query.get("state"), query.get("nonce")), (Some("hush"), Some("s"), None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Query::parse(&text));
        }

        #[test]
        fn what_was_encoded_comes_back(value in "\\PC{0,40}") {
            let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let query = Query::parse(format!("v={encoded}").as_bytes()).unwrap();
            prop_assert_eq!(query.get("v"), Some(value.as_str()));
        }
    }
}
