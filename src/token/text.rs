//! The text of a token in a token endpoint's answer, whatever it was asked for.

use serde_json::{Map, Value};

/// The longest token that is taken, in bytes.
pub const LONGEST_TOKEN: usize = 16 * 1024;

/// The token of this name, if there is one: printable ASCII (VSCHAR, RFC 6749, appendix A.12) less the space, which no bearer token may
/// have (RFC 6750, section 2.1), at most [`LONGEST_TOKEN`] of it.
///
/// # Errors
/// Which token, and what is wrong with it; never any of it.
pub fn token_text<'a>(answer: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let fits =
                !text.is_empty() && text.len() <= LONGEST_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
            if fits {
                Ok(Some(text))
            } else {
                Err(format!("its {name} is empty, too long or has characters that no token has"))
            }
        }
        Some(_) => Err(format!("its {name} is no text")),
    }
}

/// The same for a token that need not be there: an empty text is none. Some providers write every member, whether or not it has a value.
///
/// # Errors
/// Those of [`token_text`].
pub fn optional_token_text<'a>(answer: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    if answer.get(name).is_some_and(|value| value == "") { Ok(None) } else { token_text(answer, name) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Option<String>, String> {
        let answer = Map::from_iter([("access_token".to_owned(), value)]);
        token_text(&answer, "access_token").map(|text| text.map(str::to_owned))
    }

    #[test]
    fn a_token_is_printable_bounded_text_without_spaces() {
        assert_eq!(read(json!("!at~")).unwrap().as_deref(), Some("!at~"));
        assert!(read(json!("a".repeat(LONGEST_TOKEN))).is_ok());
        let long = "a".repeat(LONGEST_TOKEN + 1);
        for odd in ["", " ", "a b", "a\r\nX: y", "a\u{0}", "a\u{7f}", "tökn", &long] {
            let reason = read(json!(odd)).unwrap_err();
            assert_eq!(reason, "its access_token is empty, too long or has characters that no token has", "{odd:?}");
        }
        for kind in [json!(7), json!(true), json!(["at"]), json!({"at": 1})] {
            assert_eq!(read(kind.clone()).unwrap_err(), "its access_token is no text", "{kind}");
        }
    }

    #[test]
    fn one_that_is_not_there_is_no_fault() {
        assert_eq!(read(Value::Null), Ok(None));
        assert_eq!(token_text(&Map::new(), "access_token"), Ok(None));
        let empty = Map::from_iter([("refresh_token".to_owned(), json!(""))]);
        assert_eq!(optional_token_text(&empty, "refresh_token"), Ok(None));
        let odd = Map::from_iter([("refresh_token".to_owned(), json!(" "))]);
        assert!(optional_token_text(&odd, "refresh_token").is_err());
    }
}
