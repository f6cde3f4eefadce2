//! Which client asks at the token endpoint, and whether it really is that one.

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::demo::answer::{Answer, json};
use crate::demo::provider::State;
use crate::demo::provider::options::Client;
use crate::demo::provider::route::Asked;

/// An error of the token endpoint (RFC 6749, section 5.2).
pub(crate) struct TokenError {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl TokenError {
    /// The request is wrong in itself, or what it brings is: 400.
    pub(crate) fn bad(error: &'static str, description: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: description.into() }
    }

    fn unknown_client() -> Self {
        let description = "the client did not authenticate".to_owned();
        Self { status: StatusCode::UNAUTHORIZED, error: "invalid_client", description }
    }

    /// As an answer. A 401 says how to authenticate.
    pub(crate) fn answer(&self) -> Answer {
        let mut answer = json(self.status, &json!({"error": self.error, "error_description": self.description}));
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"development provider\", charset=\"UTF-8\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

/// The client, by `client_secret_basic`, `client_secret_post` or, when it has no secret, `none`.
///
/// # Errors
/// Why not.
pub(crate) fn authenticate<'a>(state: &'a State, asked: &Asked) -> Result<&'a Client, TokenError> {
    let bad = |text: &str| TokenError::bad("invalid_request", text);
    let one = |name| asked.form.one(name).map_err(|repeated| bad(&repeated.to_string()));
    let (id, secret) = (one("client_id")?, one("client_secret")?);
    let (id, secret) = match asked.headers.get(AUTHORIZATION) {
        Some(_) if secret.is_some() => return Err(bad("the client authenticates in two ways at once")),
        Some(value) => {
            let (basic_id, basic_secret) = basic(value).ok_or_else(TokenError::unknown_client)?;
            if id.is_some_and(|id| id != basic_id) {
                return Err(bad("client_id is not the one that authenticates"));
            }
            (basic_id, Some(basic_secret))
        }
        None => (id.unwrap_or_default().to_owned(), secret.map(str::to_owned)),
    };
    let client = state.client(&id).ok_or_else(TokenError::unknown_client)?;
    match (&client.secret, &secret) {
        (None, None) => Ok(client),
        (Some(right), Some(given))
            if constant_time::verify_slices_are_equal(right.as_bytes(), given.as_bytes()).is_ok() =>
        {
            Ok(client)
        }
        _ => Err(TokenError::unknown_client()),
    }
}

/// Name and password of HTTP Basic, each form-encoded before they were joined (RFC 6749, section 2.3.1).
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    Some((decode(id)?, decode(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_form_decoded_after_it_is_split() {
        let value = format!("Basic {}", STANDARD.encode("my%3Aapp:p%2Bss+w%25rd"));
        let value = HeaderValue::from_str(&value).unwrap();
        assert_eq!(basic(&value).unwrap(), ("my:app".to_owned(), "p+ss w%rd".to_owned()));
        assert!(basic(&HeaderValue::from_static("Bearer abc")).is_none());
    }
}
