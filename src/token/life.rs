//! How long a token endpoint says that its access token lasts, in whatever form it says so.

use std::time::Duration;

use serde_json::{Map, Value};

/// The longest life that is told on, in seconds: longer than anything lasts.
const LONGEST: u64 = u32::MAX as u64;

/// `expires_in` in whole seconds, at most 2^32 - 1 (RFC 6749, section 5.1). A text of digits counts as the number that it spells, since
/// some providers write it so. `None` where nothing is told, and where what is told is no span of time.
pub fn told_life(answer: &Map<String, Value>) -> Option<u64> {
    let seconds = match answer.get("expires_in")? {
        Value::Number(number) => match number.as_u64() {
            Some(seconds) => Some(seconds),
            None => Duration::try_from_secs_f64(number.as_f64()?).ok().map(|span| span.as_secs()),
        },
        Value::String(text) => text.trim_ascii().parse().ok(),
        _ => None,
    };
    seconds.map(|seconds| seconds.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_life_is_a_number_or_digits_and_nonsense_is_none() {
        let told = |value: Value| told_life(&Map::from_iter([("expires_in".to_owned(), value)]));
        for (value, seconds) in [
            (json!(3600), 3_600),
            (json!(3600.0), 3_600),
            (json!(3599.7), 3_599),
            (json!("3600"), 3_600),
            (json!(" 3600 "), 3_600),
            (json!(0), 0),
            (json!("0"), 0),
            (json!(u64::MAX), LONGEST),
            (json!("99999999999"), LONGEST),
        ] {
            assert_eq!(told(value.clone()), Some(seconds), "{value}");
        }
        for value in [
            json!(null),
            json!(-1),
            json!(1e300),
            json!("-1"),
            json!(""),
            json!("1h"),
            json!("36 00"),
            json!("99999999999999999999999"),
            json!(true),
            json!([3600]),
            json!({"s": 1}),
        ] {
            assert_eq!(told(value.clone()), None, "{value}");
        }
        assert_eq!(told_life(&Map::new()), None);
    }
}
