//! A second token of a caller who brought one in `Authorization`: a request has one credential (RFC 6750, sections 2 and 3.1).
//!
//! 1. `access_token` in the query, or in a form, is the second one, whatever it holds.
//! 2. A form is looked at before anything of it goes on, when it says how long it is and that is no more than [`LONGEST`]. A token by
//!    itself in either place is none, so nobody gains by a form that says nothing of its length.

use std::future::poll_fn;
use std::pin::Pin;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, Uri};
use http_body::Body as _;
use url::form_urlencoded;

use super::challenge::Denial;
use crate::gate::pass::Passage;
use crate::gate::record::Record;
use crate::gate::refuse;
use crate::http::body::{Body, RequestBody};
use crate::http::request_body::{Fault, MAX_KEPT};

/// The longest form that is looked at, in bytes: what a body keeps to be sent from its beginning.
const LONGEST: u64 = MAX_KEPT as u64;
/// The parameter (RFC 6750, sections 2.2 and 2.3).
const PARAMETER: &str = "access_token";

/// Whether the query holds a token.
pub fn is_in_query(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| holds_one(query.as_bytes()))
}

/// Whether the body of a request that may pass has to be looked at.
pub fn may_be_in(passage: &Passage<'_>, headers: &HeaderMap, body: &RequestBody) -> bool {
    passage.who.as_ref().is_some_and(|who| who.bearer().is_some()) && is_short_form(headers, body)
}

/// The body of a request that may pass, from its beginning, once it was looked at. `Err` is an answer in place of the upstream's.
pub async fn without_second(
    passage: &Passage<'_>,
    body: RequestBody,
    record: &mut Record,
) -> Result<RequestBody, Response<Body>> {
    let Some(acceptance) = &passage.route.bearer else { return Ok(body) };
    let visit = &passage.admitted.visit;
    let mut reading = body.keeping();
    let whole = reading.again();
    let mut form = Vec::new();
    while let Some(piece) = poll_fn(|context| Pin::new(&mut reading).poll_frame(context)).await {
        match piece.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => form.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(_) => {
                return Err(match reading.fault() {
                    Some(Fault::TooLarge) => refuse::too_large(visit),
                    Some(Fault::TooSlow) => refuse::too_slow(visit),
                    Some(Fault::Visitor | Fault::SessionOver) | None => refuse::body_broke_off(visit),
                });
            }
        }
    }
    if holds_one(&form) {
        record.decided("malformed");
        return Err(Denial::malformed("the request has a second token in its form").answer(acceptance, visit));
    }
    Ok(whole)
}

fn is_short_form(headers: &HeaderMap, body: &RequestBody) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
        && body.size_hint().exact().is_some_and(|length| (1..=LONGEST).contains(&length))
}

fn holds_one(form: &[u8]) -> bool {
    form_urlencoded::parse(form).any(|(name, _)| name == PARAMETER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_found_however_it_is_written() {
        for text in ["access_token=a", "x=y&access_token=", "access%5ftoken", "a&acces%73_token=b&c"] {
            assert!(is_in_query(&format!("/x?{text}").parse().unwrap()), "{text}");
        }
        for text in ["", "token=a", "access_token2=a", "x=access_token", "Access_Token=a", "x[access_token]=a"] {
            assert!(!holds_one(text.as_bytes()), "{text}");
        }
        assert!(!is_in_query(&"/access_token=a".parse().unwrap()));
    }
}
