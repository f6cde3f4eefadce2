//! The one decision behind every door: may this request pass? Pure, so that `explain` gives the same answer as the proxy.

use std::sync::Arc;

use crate::gate::route::Route;
use crate::policy::rule::{Asker, Verdict, evaluate};

/// The answer for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to the upstream of its route.
    Pass,
    /// Somebody has to sign in first.
    SignIn,
    /// It does not go anywhere.
    Forbid,
}

/// Decides by the route and by the routes of other readings of the path ([`crate::gate::route::Lookup`]): all of them have to admit,
/// and the strictest answer counts.
#[allow(single_use_lifetimes, reason = "an argument that is any of several types can't leave its lifetime out yet")]
pub fn decide<'a>(route: &Route, also: &[&Arc<Route>], asker: impl Into<Asker<'a>>) -> Decision {
    let asker = asker.into();
    let mut decision = Decision::Pass;
    for route in std::iter::once(route).chain(also.iter().map(|route| &***route)) {
        match evaluate(&route.rule, asker) {
            Verdict::Admit => {}
            Verdict::NeedsSignIn => decision = Decision::SignIn,
            Verdict::Forbid => return Decision::Forbid,
        }
    }
    decision
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::config::settings::{Allow, Conditions, PathAllowances, SignedOut};
    use crate::identity::principal::Principal;
    use crate::policy::rule::Rule;

    fn route(allow: &Allow) -> Arc<Route> {
        Arc::new(Route {
            name: Arc::from("r"),
            rule: Rule::compile(allow),
            signed_out: SignedOut::Auto,
            upstream: 0,
            rewrite: None,
            allowances: PathAllowances::default(),
            body_bytes: None,
        })
    }

    fn admin() -> Arc<Route> {
        let conditions = Conditions { roles: Some(vec!["admin".to_owned()]), ..Conditions::default() };
        route(&Allow::AnyOf(vec![conditions]))
    }

    fn somebody(roles: &[&str]) -> Principal {
        Principal {
            provider: Arc::from("corp"),
            issuer: String::new(),
            subject: String::new(),
            email: None,
            email_verified: false,
            preferred_username: None,
            name: None,
            groups: Vec::new(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            claims: Map::new(),
        }
    }

    #[test]
    fn one_route_decides_alone() {
        assert_eq!(decide(&route(&Allow::Everyone), &[], None), Decision::Pass);
        assert_eq!(decide(&route(&Allow::SignedIn), &[], None), Decision::SignIn);
        assert_eq!(decide(&route(&Allow::SignedIn), &[], Some(&somebody(&[]))), Decision::Pass);
        assert_eq!(decide(&admin(), &[], None), Decision::SignIn);
        assert_eq!(decide(&admin(), &[], Some(&somebody(&["user"]))), Decision::Forbid);
        assert_eq!(decide(&admin(), &[], Some(&somebody(&["admin"]))), Decision::Pass);
    }

    #[test]
    fn every_other_reading_has_to_admit_too() {
        let (open, admin) = (route(&Allow::Everyone), admin());
        for (first, also) in [(&open, &admin), (&admin, &open)] {
            assert_eq!(decide(first, &[also], None), Decision::SignIn);
            assert_eq!(decide(first, &[also], Some(&somebody(&["user"]))), Decision::Forbid);
            assert_eq!(decide(first, &[also], Some(&somebody(&["admin"]))), Decision::Pass);
        }
        assert_eq!(decide(&open, &[&open, &open, &admin], Some(&somebody(&[]))), Decision::Forbid);
    }
}
