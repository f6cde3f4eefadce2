//! A condition on one claim: where it stands, and what it has to be. A claim of another shape is never taken for one that fits.

use serde_json::{Map, Value};

use super::condition::Truth;
use crate::config::settings::{ClaimCondition, ClaimTest, Scalar};

/// What the claim of a condition is, or why there is none to look at.
enum Found<'a> {
    Value(&'a Value),
    Nothing,
    /// What stands on the way there can't be looked into.
    Odd,
}

/// Whether `claims` meet `condition`.
pub fn truth(condition: &ClaimCondition, claims: &Map<String, Value>) -> Truth {
    match find(claims, &condition.path) {
        Found::Nothing => Truth::Unmet,
        Found::Odd => Truth::Unclear,
        Found::Value(value) => condition.tests.iter().map(|test| truth_of(test, value)).fold(Truth::Met, Truth::and),
    }
}

/// The claim that `condition` is about, for people who ask why.
pub fn seen<'a>(condition: &ClaimCondition, claims: &'a Map<String, Value>) -> Option<&'a Value> {
    match find(claims, &condition.path) {
        Found::Value(value) => Some(value),
        Found::Nothing | Found::Odd => None,
    }
}

fn find<'a>(claims: &'a Map<String, Value>, path: &[String]) -> Found<'a> {
    let mut inside = claims;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        match inside.get(name) {
            None | Some(Value::Null) => return Found::Nothing,
            Some(value) if names.peek().is_none() => return Found::Value(value),
            Some(Value::Object(object)) => inside = object,
            Some(_) => return Found::Odd,
        }
    }
    Found::Nothing
}

fn truth_of(test: &ClaimTest, value: &Value) -> Truth {
    match test {
        ClaimTest::OneOf(wanted) => among(wanted, value),
        ClaimTest::Contains(wanted) => match value {
            Value::Array(entries) => entries.iter().map(|entry| among(wanted, entry)).fold(Truth::Unmet, Truth::or),
            _ => Truth::Unclear,
        },
        ClaimTest::Matches(pattern) => match value {
            Value::String(whole) => Truth::from(pattern.is_match(whole)),
            _ => Truth::Unclear,
        },
    }
}

fn among(wanted: &[Scalar], value: &Value) -> Truth {
    let mut of_a_kind = false;
    for scalar in wanted {
        match (scalar, value) {
            (Scalar::Text(wanted), Value::String(text)) if wanted == text => return Truth::Met,
            (Scalar::Integer(wanted), Value::Number(number)) if number.as_i64() == Some(*wanted) => return Truth::Met,
            (Scalar::Bool(wanted), Value::Bool(flag)) if wanted == flag => return Truth::Met,
            (Scalar::Text(_), Value::String(_)) | (Scalar::Bool(_), Value::Bool(_)) => of_a_kind = true,
            (Scalar::Integer(_), Value::Number(number)) => of_a_kind |= !number.is_f64(),
            _ => {}
        }
    }
    if of_a_kind { Truth::Unmet } else { Truth::Unclear }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::settings::Pattern;

    fn judged(test: ClaimTest, claims: &Value) -> Truth {
        let condition = ClaimCondition { path: vec!["org".to_owned(), "unit".to_owned()], tests: vec![test] };
        truth(&condition, claims.as_object().unwrap())
    }

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.to_owned())
    }

    #[test]
    fn a_claim_fits_by_kind_and_value() {
        let at = |value: Value| json!({"org": {"unit": value}});
        let one_of = || ClaimTest::OneOf(vec![text("it"), Scalar::Integer(7), Scalar::Bool(true)]);
        for (value, expected) in [
            (json!("it"), Truth::Met),
            (json!(7), Truth::Met),
            (json!(true), Truth::Met),
            (json!("IT"), Truth::Unmet),
            (json!("7"), Truth::Unmet),
            (json!("true"), Truth::Unmet),
            (json!(8), Truth::Unmet),
            (json!(false), Truth::Unmet),
            (json!(null), Truth::Unmet),
            (json!(7.0), Truth::Unclear),
            (json!(["it"]), Truth::Unclear),
            (json!({"it": true}), Truth::Unclear),
        ] {
            assert_eq!(judged(one_of(), &at(value.clone())), expected, "{value}");
        }
        assert_eq!(judged(ClaimTest::OneOf(vec![Scalar::Bool(true)]), &at(json!("true"))), Truth::Unclear);
        for (claims, expected) in [
            (json!({}), Truth::Unmet),
            (json!({"org": null}), Truth::Unmet),
            (json!({"org": {}}), Truth::Unmet),
            (json!({"org.unit": "it"}), Truth::Unmet),
            (json!({"org": "it"}), Truth::Unclear),
            (json!({"org": [{"unit": "it"}]}), Truth::Unclear),
        ] {
            assert_eq!(judged(one_of(), &claims), expected, "{claims}");
        }
    }

    #[test]
    fn a_list_has_to_be_a_list() {
        let contains = || ClaimTest::Contains(vec![text("admin")]);
        for (value, expected) in [
            (json!(["x", "admin"]), Truth::Met),
            (json!(["x"]), Truth::Unmet),
            (json!([]), Truth::Unmet),
            (json!("admin"), Truth::Unclear),
            (json!("admin,x"), Truth::Unclear),
            (json!(["admin,x"]), Truth::Unmet),
            (json!([["admin"]]), Truth::Unclear),
            (json!({"admin": true}), Truth::Unclear),
            (json!([7, "admin"]), Truth::Met),
            (json!([7, "x"]), Truth::Unclear),
        ] {
            assert_eq!(judged(contains(), &json!({"org": {"unit": value}})), expected, "{value}");
        }
    }

    #[test]
    fn a_pattern_is_for_texts_from_end_to_end() {
        let matches = || ClaimTest::Matches(Pattern::new("it-[a-z]+").unwrap());
        for (value, expected) in [
            (json!("it-ops"), Truth::Met),
            (json!("x it-ops"), Truth::Unmet),
            (json!("it-ops\n"), Truth::Unmet),
            (json!(["it-ops"]), Truth::Unclear),
            (json!(7), Truth::Unclear),
        ] {
            assert_eq!(judged(matches(), &json!({"org": {"unit": value}})), expected, "{value}");
        }
    }
}
