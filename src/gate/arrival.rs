//! A request as a visitor's connection brings it, taken apart for its way.

use http::Request;
use http::request::Parts;
use hyper::body::Incoming;

use crate::forward::upgrade::VisitorSide;

/// What came of a request's head, and what may come after it.
#[derive(Debug)]
pub struct Arrival {
    /// Its head. On the heap, since every step of its way would keep room for it.
    pub parts: Box<Parts>,
    /// Its body as it arrives.
    pub body: Incoming,
    /// The visitor's connection, should both sides change protocols, or the upstream give hints.
    pub visitor_side: VisitorSide,
}

impl From<Request<Incoming>> for Arrival {
    fn from(mut request: Request<Incoming>) -> Self {
        let visitor_side = VisitorSide::of(&mut request);
        let (parts, body) = request.into_parts();
        Self { parts: Box::new(parts), body, visitor_side }
    }
}
