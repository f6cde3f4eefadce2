//! JSON from strangers: an object with every member named once, or nothing. It never quotes what it read.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is no object that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// It isn't JSON, is nested more than 128 deep, or has a number that no double can hold.
    #[error("it is not well-formed JSON")]
    Malformed,
    /// A member is there twice at some depth, so that two readers could see two values (RFC 7519, section 4).
    #[error("it has a member twice")]
    Duplicate,
    /// It is JSON, though no object.
    #[error("it is not a JSON object")]
    NotAnObject,
}

/// The name of the error that the visitor raises; never shown to anyone.
const DUPLICATE: &str = "duplicate member";

/// Reads one JSON object and refuses a member that is there twice, at any depth. `serde_json` bounds the depth at 128.
///
/// # Errors
/// See [`JsonFault`]. None of them quotes the text.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Unique.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match read {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JsonFault::NotAnObject),
        Err(error) if error.is_data() && error.to_string().starts_with(DUPLICATE) => Err(JsonFault::Duplicate),
        Err(_) => Err(JsonFault::Malformed),
    }
}

/// Builds a value like `serde_json`'s own, but for the check of names.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(DUPLICATE));
            }
            let value = members.next_value_seed(Self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_there_twice_is_refused_at_any_depth() {
        assert_eq!(parse_object(br#"{"sub":"a","sub":"b"}"#), Err(JsonFault::Duplicate));
        assert_eq!(parse_object(br#"{"x":[{"y":{"sub":1,"s\u0075b":2}}]}"#), Err(JsonFault::Duplicate));
        assert!(parse_object(br#"{"sub":{"sub":1},"x":[{"sub":2},{"sub":3}]}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused_without_a_panic() {
        for text in ["", "{", "{}x", "\u{feff}{}", "{\"a\":NaN}", "{\"a\":1e400}", "{\"a\":01}", "{\"a\":\"\u{1}\"}"] {
            assert_eq!(parse_object(text.as_bytes()), Err(JsonFault::Malformed), "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), Err(JsonFault::Malformed));
        assert_eq!(parse_object(b"[1]"), Err(JsonFault::NotAnObject));
        assert_eq!(parse_object(b"null"), Err(JsonFault::NotAnObject));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(parse_object(deep.as_bytes()), Err(JsonFault::Malformed));
    }

    #[test]
    fn values_come_through_as_they_are() {
        let text = r#"{"a":[1,-2,1.5,true,null,"x"],"b":{"c":18446744073709551615}}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(parse_object(text.as_bytes()).unwrap()), expected);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes: Vec<u8>) {
            let _answer = parse_object(&bytes);
        }
    }
}
