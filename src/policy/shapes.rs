//! What an expression does with a value of a shape that nobody expected: it fails, so that it neither admits nor lets pass what denies.
//!
//! The language itself is more forgiving than rules may be. There `"admin" in x` and `x.exists(…)` look at the names of a table when `x`
//! is one, and `x != "banned"` holds for whatever is no text. A provider that sends `{"admin": true}` where a list was expected would have
//! the last word. Here:
//!
//! 1. `in` and the loops take lists alone; `size` takes lists and texts.
//! 2. What is compared, also with the entries of a list, has to be of one kind: texts, numbers, truth values, lists or tables.
//!
//! `config::expression` gives these functions their place in an expression when it is loaded.

use cel::common::types::{CelBool, CelInt, CelList, CelString, DYN_TYPE, Kind, LIST_TYPE, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use crate::config::expression::{AMONG, EQUAL, HOLDS, LOOP_OVER, SIZE, UNEQUAL};

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// Declares the functions of this file.
pub(super) fn declare(env: &mut Env) -> [Result<(), DeclarationError>; 9] {
    let any = || DYN_TYPE.to_owned();
    [
        env.add_overload(EQUAL, "equal", vec![any(), any()], equal),
        env.add_overload(UNEQUAL, "unequal", vec![any(), any()], unequal),
        env.add_overload(AMONG, "among", vec![any(), LIST_TYPE], among),
        env.add_overload(HOLDS, "holds", vec![any(), LIST_TYPE], holds),
        env.add_overload(LOOP_OVER, "loop_over", vec![LIST_TYPE], same),
        env.add_overload(SIZE, "size_list", vec![LIST_TYPE], size),
        env.add_overload(SIZE, "size_text", vec![STRING_TYPE], size),
        env.add_member_overload(SIZE, "list_size", LIST_TYPE, vec![], size),
        env.add_member_overload(SIZE, "text_size", STRING_TYPE, vec![], size),
    ]
}

/// Whether two values are of one kind, so that it makes sense to ask whether they are the same.
fn of_a_kind(one: &dyn Val, other: &dyn Val) -> bool {
    let kind = |value: &dyn Val| match value.get_type().kind() {
        Kind::Int | Kind::UInt => Kind::Double,
        kind => kind,
    };
    kind(one) == kind(other)
}

/// Whether two values are the same. Of two lists, the entries are looked at too.
fn are_equal(one: &dyn Val, other: &dyn Val) -> Result<bool, ExecutionError> {
    if !of_a_kind(one, other) {
        return Err(ExecutionError::function_error("==", "the two are not of one kind"));
    }
    let (Some(entries), Some(others)) = (one.downcast_ref::<CelList<'_>>(), other.downcast_ref::<CelList<'_>>()) else {
        return Ok(one.equals(other));
    };
    let mut equal = entries.inner().len() == others.inner().len();
    for (one, other) in entries.inner().iter().zip(others.inner()) {
        equal &= are_equal(one.as_ref(), other.as_ref())?;
    }
    Ok(equal)
}

#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn equal<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (one, other) = two(&arguments)?;
    Ok(truth(are_equal(one, other)?))
}

#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn unequal<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (one, other) = two(&arguments)?;
    Ok(truth(!are_equal(one, other)?))
}

/// `x in ["a", 1]`, with a list that is written out: one of its entries has to be of the kind of `x`.
#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn among<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (sought, list) = two(&arguments)?;
    let entries = entries(list)?;
    let mut alike = entries.iter().filter(|entry| of_a_kind(sought, entry.as_ref())).peekable();
    if alike.peek().is_none() && !entries.is_empty() {
        return Err(ExecutionError::function_error("in", "the list has nothing of that kind"));
    }
    Ok(truth(alike.any(|entry| sought.equals(entry.as_ref()))))
}

/// `"a" in x`, with a list that somebody else made: it holds `"a"`, or nothing but others of that kind.
#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn holds<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (sought, list) = two(&arguments)?;
    let entries = entries(list)?;
    if entries.iter().any(|entry| sought.equals(entry.as_ref())) {
        return Ok(truth(true));
    }
    if entries.iter().all(|entry| of_a_kind(sought, entry.as_ref())) {
        return Ok(truth(false));
    }
    Err(ExecutionError::function_error("in", "the list has something of another kind"))
}

fn same<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    arguments.pop().ok_or_else(ExecutionError::missing_argument_or_target)
}

#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn size<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [value] = arguments.as_slice() else { return Err(ExecutionError::missing_argument_or_target()) };
    let length = match value.downcast_ref::<CelString<'_>>() {
        Some(text) => text.inner().chars().count(),
        None => entries(value.as_ref())?.len(),
    };
    Ok(CowVal::owned(CelInt::from(i64::try_from(length).unwrap_or(i64::MAX))))
}

fn entries<'a, 'v>(list: &'a (dyn Val + 'v)) -> Result<&'a [Box<dyn Val + 'v>], ExecutionError> {
    list.downcast_ref::<CelList<'_>>().map(CelList::inner).ok_or_else(ExecutionError::missing_argument_or_target)
}

fn two<'a, 'v>(arguments: &'a Arguments<'_, 'v>) -> Result<(&'a (dyn Val + 'v), &'a (dyn Val + 'v)), ExecutionError> {
    match arguments.as_slice() {
        [first, second] => Ok((first.as_ref(), second.as_ref())),
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}

fn truth<'b, 'v>(held: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(held))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::expression::Expression;
    use crate::identity::principal::Principal;
    use crate::policy::asker::Asker;
    use crate::policy::condition::Truth;
    use crate::policy::expression::truth;

    fn judged(source: &str, claim: &Value) -> Truth {
        let expression = Expression::parse(source).unwrap_or_else(|fault| panic!("{source}: {fault:?}"));
        let claims = json!({ "x": claim });
        let principal = Principal { claims: claims.as_object().unwrap().clone(), ..Principal::default() };
        truth(&expression, &Asker { principal: Some(&principal), ..Asker::NOBODY })
    }

    /// What a claim may be that should be a list of texts.
    fn odd() -> Vec<Value> {
        vec![
            json!({"admin": true}),
            json!({"admin": ["admin"]}),
            json!("admin"),
            json!("admin,x"),
            json!("xadminx"),
            json!(7),
            json!(0.5),
            json!(true),
            json!(null),
            json!([["admin"]]),
            json!([{"admin": true}]),
            json!([null, true, 7]),
        ]
    }

    #[test]
    fn no_shape_but_a_list_is_searched() {
        for source in [
            "'admin' in principal.claims.x",
            "!('banned' in principal.claims.x)",
            "principal.claims.x.exists(g, g == 'admin')",
            "principal.claims.x.exists(g, g in ['admin'])",
            "principal.claims.x.all(g, g != 'banned')",
            "!principal.claims.x.exists(g, g == 'banned')",
            "principal.claims.x.exists_one(g, g == 'admin')",
            "['admin'].exists(g, g in principal.claims.x)",
        ] {
            for claim in odd() {
                assert_eq!(judged(source, &claim), Truth::Unclear, "{source} with {claim}");
            }
            assert_eq!(judged(source, &json!(["x", "admin"])), Truth::Met, "{source}");
        }
    }

    #[test]
    fn what_is_compared_is_of_one_kind() {
        for (source, claim, expected) in [
            ("principal.claims.x == 'it'", json!("it"), Truth::Met),
            ("principal.claims.x == 'it'", json!("ops"), Truth::Unmet),
            ("principal.claims.x == 'it'", json!(["it"]), Truth::Unclear),
            ("principal.claims.x != 'it'", json!("ops"), Truth::Met),
            ("principal.claims.x != 'it'", json!(["it"]), Truth::Unclear),
            ("principal.claims.x != 'it'", json!({"it": 1}), Truth::Unclear),
            ("principal.claims.x != 'it'", json!(null), Truth::Unclear),
            ("principal.claims.x != true", json!("true"), Truth::Unclear),
            ("principal.claims.x != true", json!(1), Truth::Unclear),
            ("principal.claims.x != true", json!(false), Truth::Met),
            ("!principal.claims.x", json!("false"), Truth::Unclear),
            ("principal.claims.x == 7", json!(7.0), Truth::Met),
            ("principal.claims.x == 7", json!(u64::MAX), Truth::Unmet),
            ("principal.claims.x != 7", json!("7"), Truth::Unclear),
            ("principal.claims.x >= 3", json!("9"), Truth::Unclear),
            ("principal.claims.x == ['a']", json!(["a"]), Truth::Met),
            ("principal.claims.x != ['a']", json!(["a", "b"]), Truth::Met),
            ("principal.claims.x != ['a']", json!([["a"]]), Truth::Unclear),
            ("principal.claims.x != ['a']", json!("a"), Truth::Unclear),
            ("principal.claims.x in ['a', 7]", json!("a"), Truth::Met),
            ("principal.claims.x in ['a', 7]", json!(8), Truth::Unmet),
            ("!(principal.claims.x in ['a', 7])", json!(["a"]), Truth::Unclear),
            ("principal.claims.x in []", json!("a"), Truth::Unmet),
            ("'admin' in principal.claims.x", json!([7, "admin"]), Truth::Met),
            ("'admin' in principal.claims.x", json!([]), Truth::Unmet),
            // Whether there is something at all may be asked of everything.
            ("principal.claims.x == null", json!(null), Truth::Met),
            ("null != principal.claims.x", json!({"a": 1}), Truth::Met),
            ("'x' in principal.claims", json!("a"), Truth::Met),
            ("'y' in principal.claims", json!("a"), Truth::Unmet),
        ] {
            assert_eq!(judged(source, &claim), expected, "{source} with {claim}");
        }
    }

    #[test]
    fn a_size_is_that_of_a_list_or_a_text() {
        for source in ["size(principal.claims.x) == 2", "principal.claims.x.size() == 2"] {
            assert_eq!(judged(source, &json!(["a", "b"])), Truth::Met, "{source}");
            assert_eq!(judged(source, &json!("ü!")), Truth::Met, "{source}");
            assert_eq!(judged(source, &json!([])), Truth::Unmet, "{source}");
            for claim in [json!({"a": 1, "b": 2}), json!(2), json!(null)] {
                assert_eq!(judged(source, &claim), Truth::Unclear, "{source} with {claim}");
            }
        }
    }
}
