//! The relay: a token of the session, handed to the upstream that asked for it in `Authorization`.

use http::HeaderValue;

use crate::base::clock::Timestamp;
use crate::config::settings::SubjectToken;
use crate::session::model::Tokens;

/// Why an upstream that wants a token can't have one. Whoever forwards must not go on without it: the upstream would take
/// the request for somebody else's, or for nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// The session has no such token: the provider did not give one.
    #[error("the session has no {0}; ask the provider for one with the right scope")]
    Missing(&'static str),
    /// The access token has ended: a new one, or a new sign-in, is needed first.
    #[error("the session's access token has ended")]
    Expired,
    /// The caller's token is bound to the caller's key or certificate (RFC 9449, RFC 8705): from us the upstream could not take it.
    #[error("the caller's token is bound to the caller; exchange it for one of the upstream's own")]
    Bound,
    /// The token has a byte that no `Authorization` header may have.
    #[error("the session's {0} has a character that can't stand in a header")]
    Unwritable(&'static str),
    /// No assertion can be made: there is nothing to name its issuer or audience by, or nothing to sign with.
    #[error("no assertion can be made; see the upstream's `assertion` and [signing]")]
    Unsigned,
    /// The assertion is larger than a header may be.
    #[error("the assertion is larger than 16 KiB; name the claims that it needs in the upstream's `assertion`")]
    TooLarge,
}

/// A token of the session as it stands.
///
/// The end of an ID token is left to the upstream, which has to verify the token anyway.
///
/// # Errors
/// When it is missing or has ended.
pub fn of_session(which: SubjectToken, tokens: &Tokens, now: Timestamp) -> Result<&str, TokenProblem> {
    match which {
        SubjectToken::AccessToken => {
            let token = tokens.access_token.as_deref().ok_or(TokenProblem::Missing("access token"))?;
            if tokens.access_expires.is_some_and(|end| now >= end) {
                return Err(TokenProblem::Expired);
            }
            Ok(token)
        }
        SubjectToken::IdToken => tokens.id_token.as_deref().ok_or(TokenProblem::Missing("ID token")),
    }
}

/// The `Authorization` that an upstream gets which wants this token (RFC 6750, section 2.1). The value is marked sensitive: `Debug`
/// hides it, and HTTP/2 does not put it into its compression table.
///
/// # Errors
/// When the token is missing, has ended, or can't be written.
pub fn authorization(which: SubjectToken, tokens: &Tokens, now: Timestamp) -> Result<HeaderValue, TokenProblem> {
    let name = match which {
        SubjectToken::AccessToken => "access token",
        SubjectToken::IdToken => "ID token",
    };
    bearer(of_session(which, tokens, now)?).ok_or(TokenProblem::Unwritable(name))
}

/// `Bearer` and the token. RFC 6750 allows a token fewer characters than we do, yet opaque tokens in use have others; what
/// could end the value early or read as two (a space, a comma, a control) is never let through.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'"');
    let mut value = fits.then(|| HeaderValue::try_from(format!("Bearer {token}")).ok()).flatten()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn tokens() -> Tokens {
        Tokens {
            access_token: Some("access".to_owned()),
            access_expires: Some(Timestamp::from_seconds(1_001)),
            refresh_token: Some("refresh".to_owned()),
            id_token: Some("id".to_owned()),
        }
    }

    #[test]
    fn each_upstream_gets_the_token_it_asked_for() {
        let get = |which| authorization(which, &tokens(), NOW).unwrap();
        assert_eq!(get(SubjectToken::AccessToken), "Bearer access");
        assert_eq!(get(SubjectToken::IdToken), "Bearer id");
    }

    #[test]
    fn a_token_never_shows_in_debug() {
        let value = authorization(SubjectToken::AccessToken, &tokens(), NOW).unwrap();
        assert!(value.is_sensitive());
        assert!(!format!("{value:?}").contains("access"));
    }

    #[test]
    fn an_access_token_is_not_sent_from_the_second_it_ends() {
        let at = |seconds| authorization(SubjectToken::AccessToken, &tokens(), Timestamp::from_seconds(seconds));
        assert!(at(1_000).is_ok());
        assert_eq!(at(1_001), Err(TokenProblem::Expired));
        let endless = Tokens { access_expires: None, ..tokens() };
        assert!(authorization(SubjectToken::AccessToken, &endless, NOW).is_ok());
    }

    #[test]
    fn a_missing_token_is_a_problem_and_not_an_empty_header() {
        let none = Tokens::default();
        assert_eq!(authorization(SubjectToken::AccessToken, &none, NOW), Err(TokenProblem::Missing("access token")));
        assert_eq!(authorization(SubjectToken::IdToken, &none, NOW), Err(TokenProblem::Missing("ID token")));
    }

    #[test]
    fn a_token_that_would_break_the_header_is_refused() {
        for bad in ["", "a b", "a\r\nX-Forwarded-User: admin", "a,Basic eA", "a\0", "t\u{f6}ken"] {
            let tokens = Tokens { access_token: Some(bad.to_owned()), ..tokens() };
            let got = authorization(SubjectToken::AccessToken, &tokens, NOW);
            assert_eq!(got, Err(TokenProblem::Unwritable("access token")), "{bad:?}");
        }
    }
}
