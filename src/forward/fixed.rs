//! A fixed answer as an upstream: the same for every request that was admitted, whatever its method.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use crate::config::settings::AnswerSettings;
use crate::http::body::Body;

static NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A fixed answer.
#[derive(Clone, Debug)]
pub struct FixedAnswer {
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
}

impl FixedAnswer {
    /// What the config says.
    pub fn new(settings: &AnswerSettings) -> Self {
        Self {
            status: settings.status,
            content_type: settings.content_type.clone(),
            body: Bytes::from(settings.body.clone()),
        }
    }

    /// The answer.
    pub fn answer(&self) -> Response<Body> {
        let bare = self.status == StatusCode::NO_CONTENT || self.status == StatusCode::RESET_CONTENT;
        let mut response = Response::new(if bare { Body::Empty } else { Body::from_bytes(self.body.clone()) });
        *response.status_mut() = self.status;
        if !self.body.is_empty() {
            response.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
            response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF.clone());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response<Body> {
        let settings = AnswerSettings {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.to_owned(),
            content_type: HeaderValue::from_static("text/html"),
        };
        FixedAnswer::new(&settings).answer()
    }

    #[test]
    fn a_body_has_a_type_and_no_body_has_none() {
        let full = answer(503, "later");
        assert_eq!(full.status().as_u16(), 503);
        assert_eq!(full.headers().get(CONTENT_TYPE).unwrap(), "text/html");
        assert_eq!(full.headers().get(X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
        assert!(answer(200, "").headers().is_empty());
        assert!(matches!(answer(204, "").body(), Body::Empty));
    }
}
