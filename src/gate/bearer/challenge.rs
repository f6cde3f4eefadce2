//! Saying no to whoever brought a token, or should have: the status and `WWW-Authenticate` of RFC 6750, section 3, with the way to the
//! route's metadata (RFC 9728, section 5.1). Never a redirect, never a cookie.

use std::fmt::Write as _;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use super::metadata::WELL_KNOWN;
use super::{Acceptance, Scheme};
use crate::http::body::Body;
use crate::http::visit::{Caller, SiteOrigin, Visit};
use crate::jose::algorithm::Algorithm;
use crate::page::{self, Explanation};
use crate::policy::wanted::Wanted;
use crate::token::relay::TokenProblem;

/// Why a caller is turned away. Says nothing of the token.
#[derive(Clone, Debug)]
pub struct Denial {
    status: StatusCode,
    /// `error` (RFC 6750, section 3.1).
    error: Option<&'static str>,
    /// `error_description`.
    reason: &'static str,
    scheme: Scheme,
    /// What a sign-in has to have (RFC 9470, section 3).
    step_up: Option<Wanted>,
}

impl Denial {
    const fn new(status: StatusCode, error: Option<&'static str>, reason: &'static str, scheme: Scheme) -> Self {
        Self { status, error, reason, scheme, step_up: None }
    }

    pub(super) const fn malformed(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalid_request"), reason, Scheme::Bearer)
    }

    pub(super) const fn invalid(reason: &'static str, scheme: Scheme) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Some("invalid_token"), reason, scheme)
    }

    pub(super) const fn unproven(reason: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Some("invalid_dpop_proof"), reason, Scheme::Dpop)
    }

    pub(super) const fn unknown() -> Self {
        let reason = "whether this token holds can't be told right now";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, None, reason, Scheme::Bearer)
    }

    /// A token that another reading of the path has no use for.
    pub const fn elsewhere() -> Self {
        Self::invalid("the token is of no issuer whose tokens are taken here", Scheme::Bearer)
    }

    /// A caller whom the rule does not admit: for want of a scope, or for good.
    pub fn forbidden(acceptance: &Acceptance, scopes: &[String]) -> Self {
        let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
        let lacks = !acceptance.scopes.is_empty() && !acceptance.scopes.split(' ').all(has);
        let (error, reason) = if lacks {
            (Some("insufficient_scope"), "the token lacks a scope that is needed here")
        } else {
            (None, "whoever this token speaks for may not do this")
        };
        Self::new(StatusCode::FORBIDDEN, error, reason, Scheme::Bearer)
    }

    /// A caller whose token the application can't have, or can't use.
    pub const fn of_no_use(problem: &TokenProblem) -> Self {
        let reason = match problem {
            TokenProblem::Bound => "the token is bound to the caller, and the application behind can't use it",
            TokenProblem::Missing(_)
            | TokenProblem::Expired
            | TokenProblem::Unwritable(_)
            | TokenProblem::Unsigned
            | TokenProblem::TooLarge => "the application behind asks for an ID token, which comes with a sign-in alone",
        };
        Self::new(StatusCode::FORBIDDEN, None, reason, Scheme::Bearer)
    }

    /// A caller whose sign-in was not of the kind that the rule asks for (RFC 9470).
    pub fn step_up(wanted: &Wanted) -> Self {
        let reason = "a sign-in of another kind, or a fresh one, is needed here";
        let denial =
            Self::new(StatusCode::UNAUTHORIZED, Some("insufficient_user_authentication"), reason, Scheme::Bearer);
        Self { step_up: Some(wanted.clone()), ..denial }
    }

    /// How the log names it.
    pub const fn name(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "malformed",
            StatusCode::FORBIDDEN => "forbid",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ if self.step_up.is_some() => "step_up",
            _ => "bad_token",
        }
    }

    /// The answer, as a problem document whoever asks: who sends a token is a program.
    pub fn answer(&self, acceptance: &Acceptance, visit: &Visit) -> Response<Body> {
        tracing::debug!(request_id = &*visit.request_id, reason = self.reason, "a bearer caller was turned away");
        let visit = Visit { caller: Caller::Program, ..visit.clone() };
        let title = if self.status == StatusCode::FORBIDDEN { "No access" } else { "This token is not taken" };
        let mut reason = self.reason.to_owned();
        reason.push('.');
        let mut response = page::error(&visit, self.status, &Explanation::new(title, reason, ""));
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return response;
        }
        headers.insert(WWW_AUTHENTICATE, challenge(acceptance, &visit.site, Some(self)));
        response
    }
}

/// The challenge for a request without a token: no error code (RFC 6750, section 3.1), but what is needed and where to learn more.
pub fn invitation(acceptance: &Acceptance, site: &SiteOrigin) -> HeaderValue {
    challenge(acceptance, site, None)
}

fn challenge(acceptance: &Acceptance, site: &SiteOrigin, denial: Option<&Denial>) -> HeaderValue {
    let is_dpop = denial.is_some_and(|denial| denial.scheme == Scheme::Dpop);
    let mut text = format!("{} realm=\"portcullis\"", if is_dpop { "DPoP" } else { "Bearer" });
    let mut add = |name: &str, value: &str| {
        // Writing to a text never fails. Nothing that is written here holds a quote or a backslash.
        let _written = write!(text, ", {name}=\"{value}\"");
    };
    if let Some(denial) = denial {
        if let Some(error) = denial.error {
            add("error", error);
            add("error_description", denial.reason);
        }
        if let Some(wanted) = &denial.step_up {
            if !wanted.acr.is_empty() {
                add("acr_values", &wanted.acr.join(" "));
            }
            if let Some(max_age) = wanted.max_age {
                add("max_age", &max_age.as_secs().to_string());
            }
        }
    }
    if !acceptance.scopes.is_empty() && denial.is_none_or(|denial| denial.error == Some("insufficient_scope")) {
        add("scope", &acceptance.scopes);
    }
    if is_dpop {
        add("algs", &Algorithm::ALL.map(Algorithm::name).join(" "));
    }
    add("resource_metadata", &site.at(&format!("{WELL_KNOWN}{}", acceptance.base)));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer realm=\"portcullis\""))
}
