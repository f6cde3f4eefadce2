//! The forms that are sent to our endpoints.

use http::header;
use http::request::Parts;

use crate::http::query::Query;

/// The media type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The parameters of a form; `None` when the body is none, or has a parameter twice (RFC 6749, section 3.1).
pub(crate) fn read(parts: &Parts, body: &[u8]) -> Option<Query> {
    let kind = parts.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let is_form = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM));
    if is_form { Query::parse(body).ok() } else { None }
}
