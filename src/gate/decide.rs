//! The one decision behind every door: may this request pass? Pure, so that `explain` gives the same answer as the proxy.

use crate::gate::route::{Other, Route};
use crate::policy::asker::Asker;
use crate::policy::rule::{Verdict, evaluate};
use crate::policy::wanted::Wanted;

/// The answer for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'r> {
    /// It goes to the upstream of its route.
    Pass,
    /// It goes there too, though the rule would have refused it: the route only reports. The log says so.
    Reported,
    /// Whoever asks has signed in, but has to do so again, with this (RFC 9470).
    StepUp(&'r Wanted),
    /// Somebody has to sign in first; the sign-in should have this.
    SignIn(&'r Wanted),
    /// It does not go anywhere.
    Forbid,
}

impl Decision<'_> {
    /// Whether the request goes to its upstream.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Pass | Self::Reported)
    }

    /// How the log names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Reported => "report_only",
            Self::StepUp(_) => "step_up",
            Self::SignIn(_) => "sign_in",
            Self::Forbid => "forbid",
        }
    }

    const fn strictness(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Reported => 1,
            Self::StepUp(_) => 2,
            Self::SignIn(_) => 3,
            Self::Forbid => 4,
        }
    }
}

/// Decides by the route and by the routes of other readings of the path ([`crate::gate::route::Lookup`]): all of them have to admit,
/// and the strictest answer counts. The path of `asker` is that of the first reading.
pub fn decide<'r>(route: &'r Route, also: &[Other<'r>], asker: &Asker<'_>) -> Decision<'r> {
    let mut decision = decide_alone(route, asker);
    for other in also {
        let next = decide_alone(other.route, &Asker { path: &other.path, ..*asker });
        if next.strictness() > decision.strictness() {
            decision = next;
        }
    }
    decision
}

/// A route that only reports still asks people to sign in: it must not open what was closed before.
fn decide_alone<'r>(route: &'r Route, asker: &Asker<'_>) -> Decision<'r> {
    match evaluate(&route.rule, asker) {
        Verdict::Admit => Decision::Pass,
        Verdict::NeedsSignIn(wanted) => Decision::SignIn(wanted),
        Verdict::NeedsStepUp(_) | Verdict::Forbid if route.report_only => Decision::Reported,
        Verdict::NeedsStepUp(wanted) => Decision::StepUp(wanted),
        Verdict::Forbid => Decision::Forbid,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::settings::{Allow, Conditions, PathAllowances, SignedOut};
    use crate::identity::principal::Principal;
    use crate::policy::rule::Rule;
    use crate::policy::wanted::NOTHING;

    fn route(allow: &Allow) -> Arc<Route> {
        Arc::new(Route {
            name: Arc::from("r"),
            rule: Rule::compile(allow, &[]),
            report_only: false,
            signed_out: SignedOut::Auto,
            upstream: 0,
            rewrite: None,
            allowances: PathAllowances::default(),
            body_bytes: None,
            bearer: None,
            retry_unauthorized: false,
            cors: None,
            csrf: None,
        })
    }

    fn admin() -> Arc<Route> {
        let conditions = Conditions { roles: Some(vec!["admin".to_owned()]), ..Conditions::default() };
        route(&Allow::AnyOf(vec![conditions]))
    }

    fn somebody(roles: &[&str]) -> Principal {
        Principal { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..Principal::default() }
    }

    fn asked<'r>(route: &'r Route, also: &[&'r Arc<Route>], who: Option<&Principal>) -> Decision<'r> {
        let also: Vec<Other<'r>> = also.iter().map(|route| Other { route, path: "/other".to_owned() }).collect();
        decide(route, &also, &Asker { principal: who, ..Asker::NOBODY })
    }

    #[test]
    fn one_route_decides_alone() {
        assert_eq!(asked(&route(&Allow::Everyone), &[], None), Decision::Pass);
        assert_eq!(asked(&route(&Allow::SignedIn), &[], None), Decision::SignIn(&NOTHING));
        assert_eq!(asked(&route(&Allow::SignedIn), &[], Some(&somebody(&[]))), Decision::Pass);
        assert_eq!(asked(&admin(), &[], None), Decision::SignIn(&NOTHING));
        assert_eq!(asked(&admin(), &[], Some(&somebody(&["user"]))), Decision::Forbid);
        assert_eq!(asked(&admin(), &[], Some(&somebody(&["admin"]))), Decision::Pass);
    }

    #[test]
    fn every_other_reading_has_to_admit_too() {
        let (open, admin) = (route(&Allow::Everyone), admin());
        for (first, also) in [(&open, &admin), (&admin, &open)] {
            assert_eq!(asked(first, &[also], None), Decision::SignIn(&NOTHING));
            assert_eq!(asked(first, &[also], Some(&somebody(&["user"]))), Decision::Forbid);
            assert_eq!(asked(first, &[also], Some(&somebody(&["admin"]))), Decision::Pass);
        }
        assert_eq!(asked(&open, &[&open, &open, &admin], Some(&somebody(&[]))), Decision::Forbid);
    }

    #[test]
    fn a_route_that_only_reports_forbids_nobody_and_still_asks_for_a_sign_in() {
        let reporting = |route: &Route| Arc::new(Route { report_only: true, ..route.clone() });
        let gold = Conditions { acr: Some(vec!["gold".to_owned()]), ..Conditions::default() };
        let step_up = route(&Allow::AnyOf(vec![gold]));
        let (admin, user) = (admin(), somebody(&["user"]));
        assert!(matches!(asked(&step_up, &[], Some(&user)), Decision::StepUp(wanted) if wanted.acr == ["gold"]));
        for strict in [&admin, &step_up] {
            assert_eq!(asked(&reporting(strict), &[], Some(&user)), Decision::Reported);
            assert!(matches!(asked(&reporting(strict), &[], None), Decision::SignIn(_)));
        }
        assert_eq!(asked(&reporting(&admin), &[], Some(&somebody(&["admin"]))), Decision::Pass);
        assert_eq!(asked(&reporting(&admin), &[&admin], Some(&user)), Decision::Forbid, "the other one does not");
    }
}
