//! What a rule wants of the way in which somebody signed in, and whether a sign-in has it (RFC 9470).
//!
//! 1. `acr` is compared whole and exactly (`OpenID` Connect Core 1.0, section 2); one of the wanted ones is enough.
//! 2. Of `amr`, a list of texts (RFC 8176), one of the wanted ones is enough. A text in place of the list counts for nothing.
//! 3. A sign-in is fresh when `auth_time` is there and is no longer ago than wanted. One whose time nobody knows is not.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::identity::principal::Principal;

/// What is wanted of a sign-in; nothing when all of it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Authentication context classes, the best first.
    pub acr: Vec<String>,
    /// Authentication methods.
    pub amr: Vec<String>,
    /// The longest time since the person proved who they are, in whole seconds.
    pub max_age: Option<Duration>,
}

/// Nothing in particular.
pub static NOTHING: Wanted = Wanted { acr: Vec::new(), amr: Vec::new(), max_age: None };

impl Wanted {
    /// Whether any sign-in will do.
    pub const fn is_nothing(&self) -> bool {
        self.acr.is_empty() && self.amr.is_empty() && self.max_age.is_none()
    }

    /// Whether the sign-in that `principal` comes from has all of it.
    pub fn is_met(&self, principal: &Principal, authenticated: Option<Timestamp>, now: Timestamp) -> bool {
        (self.acr.is_empty() || acr(principal).is_some_and(|acr| self.acr.iter().any(|wanted| wanted == acr)))
            && (self.amr.is_empty() || amr(principal).any(|method| self.amr.iter().any(|wanted| wanted == method)))
            && self.max_age.is_none_or(|max_age| is_fresh(authenticated, max_age, now))
    }
}

/// The authentication context class of a sign-in.
pub fn acr(principal: &Principal) -> Option<&str> {
    principal.claims.get("acr")?.as_str()
}

/// The authentication methods of a sign-in.
pub fn amr(principal: &Principal) -> impl Iterator<Item = &str> {
    principal.claims.get("amr").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Whether somebody proved who they are no longer than `max_age` ago.
pub fn is_fresh(authenticated: Option<Timestamp>, max_age: Duration, now: Timestamp) -> bool {
    authenticated.is_some_and(|when| now.since(when) <= max_age)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn signed_in(claims: &Value) -> Principal {
        Principal { claims: claims.as_object().unwrap().clone(), ..Principal::default() }
    }

    #[test]
    fn each_part_is_compared_exactly_and_all_have_to_hold() {
        let (now, minute) = (Timestamp::from_seconds(1000), Duration::from_mins(1));
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let all = Wanted { acr: list(&["gold", "silver"]), amr: list(&["mfa", "hwk"]), max_age: Some(minute) };
        let fresh = Some(Timestamp::from_seconds(940));
        assert!(all.is_met(&signed_in(&json!({"acr": "silver", "amr": ["pwd", "hwk"]})), fresh, now));
        for (claims, authenticated) in [
            (json!({"acr": "Gold", "amr": ["mfa"]}), fresh),
            (json!({"acr": "gold silver", "amr": ["mfa"]}), fresh),
            (json!({"acr": ["gold"], "amr": ["mfa"]}), fresh),
            (json!({"amr": ["mfa"]}), fresh),
            (json!({"acr": "gold", "amr": "mfa"}), fresh),
            (json!({"acr": "gold", "amr": ["MFA", 7]}), fresh),
            (json!({"acr": "gold"}), fresh),
            (json!({"acr": "gold", "amr": ["mfa"]}), Some(Timestamp::from_seconds(939))),
            (json!({"acr": "gold", "amr": ["mfa"]}), None),
        ] {
            assert!(!all.is_met(&signed_in(&claims), authenticated, now), "{claims} {authenticated:?}");
        }
        assert!(NOTHING.is_met(&Principal::default(), None, now) && NOTHING.is_nothing() && !all.is_nothing());
    }
}
