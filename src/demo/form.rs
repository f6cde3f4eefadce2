//! What a request brings: query and form parameters, read within bounds.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

/// Parameters in the order in which they came, decoded (WHATWG URL, `application/x-www-form-urlencoded`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(String, String)>);

/// A parameter came more than once, which RFC 6749, section 3.1, forbids.
#[derive(Debug, thiserror::Error)]
#[error("the parameter `{0}` came more than once")]
pub(crate) struct Repeated(pub(crate) &'static str);

impl Parameters {
    /// Reads `a=1&b=2`.
    pub(crate) fn parse(encoded: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The one value of `name`; an empty one counts as left out (RFC 6749, section 3.1).
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(Repeated(name));
        }
        Ok(first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()))
    }

    /// All of them.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Written as a query again.
    pub(crate) fn encode(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

/// The whole body, of at most `limit` bytes.
///
/// # Errors
/// The status that says why not: 413 when it is longer, 400 when it breaks off.
pub(crate) async fn whole(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(fault) if fault.downcast_ref::<LengthLimitError>().is_some() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

/// Whether the body says that it is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_comes_twice_is_no_parameter() {
        let parameters = Parameters::parse(b"a=1&b=x+y%26&a=2&c=");
        assert!(parameters.one("a").is_err());
        assert_eq!(parameters.one("b").unwrap(), Some("x y&"));
        assert_eq!(parameters.one("c").unwrap(), None);
        assert_eq!(Parameters::parse(parameters.encode().as_bytes()), parameters);
    }
}
