//! The relay: a token of the session, handed to the upstream that asked for it in `Authorization`.

use http::HeaderValue;

use crate::base::clock::Timestamp;
use crate::config::settings::TokenSettings;
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
}

/// The `Authorization` that an upstream with this setting gets (RFC 6750, section 2.1); `None` when it is to get none.
/// The value is marked sensitive: `Debug` hides it, and HTTP/2 does not put it into its compression table.
///
/// The end of an ID token is left to the upstream, which has to verify the token anyway.
///
/// # Errors
/// When the token is missing, has ended, or can't be written.
pub fn authorization(
    setting: TokenSettings,
    tokens: &Tokens,
    now: Timestamp,
) -> Result<Option<HeaderValue>, TokenProblem> {
    match setting {
        TokenSettings::None => Ok(None),
        TokenSettings::AccessToken => {
            let token = tokens.access_token.as_deref().ok_or(TokenProblem::Missing("access token"))?;
            if tokens.access_expires.is_some_and(|end| now >= end) {
                return Err(TokenProblem::Expired);
            }
            bearer(token).ok_or(TokenProblem::Unwritable("access token")).map(Some)
        }
        TokenSettings::IdToken => {
            let token = tokens.id_token.as_deref().ok_or(TokenProblem::Missing("ID token"))?;
            bearer(token).ok_or(TokenProblem::Unwritable("ID token")).map(Some)
        }
    }
}

/// `Bearer` and the token. RFC 6750 allows a token fewer characters than we do, yet opaque tokens in use have others; what
/// could end the value early or read as two (a space, a comma, a control) is never let through.
fn bearer(token: &str) -> Option<HeaderValue> {
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
        let get = |setting| authorization(setting, &tokens(), NOW).unwrap();
        assert_eq!(get(TokenSettings::None), None);
        assert_eq!(get(TokenSettings::AccessToken).unwrap(), "Bearer access");
        assert_eq!(get(TokenSettings::IdToken).unwrap(), "Bearer id");
    }

    #[test]
    fn a_token_never_shows_in_debug() {
        let value = authorization(TokenSettings::AccessToken, &tokens(), NOW).unwrap().unwrap();
        assert!(value.is_sensitive());
        assert!(!format!("{value:?}").contains("access"));
    }

    #[test]
    fn an_access_token_is_not_sent_from_the_second_it_ends() {
        let at = |seconds| authorization(TokenSettings::AccessToken, &tokens(), Timestamp::from_seconds(seconds));
        assert!(at(1_000).is_ok());
        assert_eq!(at(1_001), Err(TokenProblem::Expired));
        let endless = Tokens { access_expires: None, ..tokens() };
        assert!(authorization(TokenSettings::AccessToken, &endless, NOW).unwrap().is_some());
    }

    #[test]
    fn a_missing_token_is_a_problem_and_not_an_empty_header() {
        let none = Tokens::default();
        assert_eq!(authorization(TokenSettings::AccessToken, &none, NOW), Err(TokenProblem::Missing("access token")));
        assert_eq!(authorization(TokenSettings::IdToken, &none, NOW), Err(TokenProblem::Missing("ID token")));
    }

    #[test]
    fn a_token_that_would_break_the_header_is_refused() {
        for bad in ["", "a b", "a\r\nX-Forwarded-User: admin", "a,Basic eA", "a\0", "t\u{f6}ken"] {
            let tokens = Tokens { access_token: Some(bad.to_owned()), ..tokens() };
            let got = authorization(TokenSettings::AccessToken, &tokens, NOW);
            assert_eq!(got, Err(TokenProblem::Unwritable("access token")), "{bad:?}");
        }
    }
}
