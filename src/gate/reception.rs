//! Hands a request for one of our own endpoints over to it, with its body gathered within bounds.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use super::arrival::Arrival;
use super::refuse;
use crate::endpoint::site::Site;
use crate::endpoint::table::dispatch;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::page::{self, Explanation};

/// The most that a form sent to one of our endpoints may hold.
const MAX_FORM_BYTES: usize = 64 * 1024;
/// How long it may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers a request whose path belongs to the endpoints.
pub async fn answer(site: &Site, visit: &Visit, arrival: Arrival) -> Response<Body> {
    let Arrival { parts, body, .. } = arrival;
    let gathered = tokio::time::timeout(FORM_TIMEOUT, Limited::new(body, MAX_FORM_BYTES).collect());
    let form: Bytes = match gathered.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return refuse::too_large(visit),
        Ok(Err(_)) => return refuse::body_broke_off(visit),
        Err(_) => {
            let explanation = Explanation::new("That took too long", "What you sent arrived too slowly.", "Try again.");
            return page::error(visit, StatusCode::REQUEST_TIMEOUT, &explanation);
        }
    };
    dispatch(site, visit, &parts, form).await
}
