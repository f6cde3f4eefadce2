//! One exchange with one address of an upstream: a connection, the request, the head of the answer.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, TE, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response};

use super::http2::{self, Untouched};
use super::patience::Waiting;
use crate::http::body::{Fault, RequestBody, Watch};
use crate::http::grpc;
use crate::net::pool::{self, Lease, NoAnswer, Pool, PoolError};
use crate::net::ready::Added;

/// What a gRPC call has beyond its own deadline, so that the upstream's own word on it comes first.
const GRACE: Duration = Duration::from_secs(1);
/// How often a request goes out that an upstream has not looked at. Once more when it was refused or its kept connection was closed; more
/// often when shared connections go away, as all of them do when an upstream restarts, and some with every so many requests of all.
const TRIES: u32 = 2;
const TRIES_OVER_CONNECTIONS_THAT_GO_AWAY: u32 = 6;

/// One address of an upstream, as one worker sees it.
pub struct Address {
    /// The upstream's name in the config.
    pub upstream: Arc<str>,
    /// This worker's connections to it.
    pub pool: Rc<Pool<RequestBody>>,
    /// Bound on the time from the request's end to the head of the answer.
    pub response_timeout: Duration,
    /// Requests that wait for the head of their answer.
    pub waiting: Waiting,
}

/// No answer; and the request, when nothing of it was sent.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub fault: UpstreamFault,
    /// The request as it was. Present only when no byte of it was written, or when the upstream says that it has not looked at it
    /// (RFC 9113, sections 6.8 and 8.7), so that it may go elsewhere.
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl Failure {
    /// Of a request that may have been processed.
    pub const fn of(fault: UpstreamFault) -> Self {
        Self { fault, unsent: None }
    }
}

/// Why there is no answer from an upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFault {
    /// It can't be connected to. 502.
    #[error("upstream `{upstream}`: {cause}")]
    Unreachable {
        /// Its name in the config.
        upstream: Arc<str>,
        /// Why.
        cause: PoolError,
    },
    /// It didn't answer in time. 504.
    #[error("upstream `{upstream}` sent no answer within {limit:?}")]
    Timeout {
        /// Its name in the config.
        upstream: Arc<str>,
        /// The bound.
        limit: Duration,
    },
    /// It closed the connection, or what it sent was no HTTP. 502.
    #[error("upstream `{upstream}` broke off: {cause}")]
    Broken {
        /// Its name in the config.
        upstream: Arc<str>,
        /// What hyper says.
        cause: pool::Fault,
    },
    /// The visitor's body is larger than the limit. 413.
    #[error("the visitor's body is larger than the limit")]
    TooLarge,
    /// Nothing came of the visitor's body for too long. 408.
    #[error("nothing came of the visitor's body for too long")]
    TooSlow,
    /// The visitor's body broke off. 400, which most likely nobody reads.
    #[error("the visitor's body broke off")]
    Visitor,
    /// The session of the visitor ended while the body was on its way. 401.
    #[error("the session of the visitor is over")]
    SessionOver,
    /// There is nothing to send to. 502.
    #[error("the upstream has no address")]
    NoAddress,
}

impl UpstreamFault {
    /// Whether it speaks against the address, rather than against the visitor or a single request.
    pub const fn blames_the_address(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. })
    }
}

impl Address {
    /// Closes connections that nobody uses, and looks after requests that wait for long. Called once a second.
    pub fn sweep(&self) {
        self.pool.sweep();
        self.waiting.sweep();
    }

    /// Sends `request` and awaits the head of the answer.
    ///
    /// A request that was never written, because the upstream had closed the kept connection, goes out once more over a new one;
    /// so does one that the upstream says it has not looked at (RFC 9113, sections 6.8 and 8.7), and that a few times where
    /// connections go away. Nothing else is ever sent twice (RFC 9110, section 9.2.2).
    ///
    /// # Errors
    /// When there is no head of an answer, and why.
    pub async fn send(
        &self,
        request: Box<Request<RequestBody>>,
        added: &Added<'_>,
    ) -> Result<(Response<()>, Lease<RequestBody>), Failure> {
        let limit = self.limit(&request);
        let is_call = request.body().passes_trailers();
        let watch = request.body().watch();
        let exchange = pin!(self.exchange(request, added, watch.as_deref()));
        // The time counts from the last piece of the request that moved, so that a large body may take as long as it has to.
        let left = |waited| match &watch {
            Some(watch) => watch.left(limit),
            None => limit.saturating_sub(waited),
        };
        if let Some(result) = self.waiting.within(exchange, left).await {
            if let (true, Some(watch), Ok(_)) = (is_call, &watch, &result) {
                watch.answered();
            }
            return result;
        }
        if watch.as_ref().is_some_and(|watch| watch.waits_for_visitor()) {
            return Err(Failure::of(UpstreamFault::TooSlow));
        }
        Err(Failure::of(UpstreamFault::Timeout { upstream: Arc::clone(&self.upstream), limit }))
    }

    /// The bound on the head of the answer: a gRPC call's own deadline where it has one. Many calls answer at their end, so a longer one
    /// counts; after a shorter one nobody waits any more.
    fn limit(&self, request: &Request<RequestBody>) -> Duration {
        let deadline = if request.body().passes_trailers() { grpc::timeout(request.headers()) } else { None };
        deadline.map_or(self.response_timeout, |deadline| deadline.saturating_add(GRACE))
    }

    async fn exchange(
        &self,
        mut request: Box<Request<RequestBody>>,
        added: &Added<'_>,
        watch: Option<&Watch>,
    ) -> Result<(Response<()>, Lease<RequestBody>), Failure> {
        let lent = if request.headers().contains_key(UPGRADE) {
            Box::pin(self.pool.lend_http1()).await
        } else if let Some(lease) = self.pool.take() {
            Ok(lease)
        } else {
            Box::pin(self.pool.lend()).await
        };
        let mut lease = match lent {
            Ok(lease) => lease,
            Err(cause) => return Err(self.unreachable(cause, request)),
        };
        let is_pinned = authenticates_connection(request.headers());
        let mut tries = 1;
        loop {
            if is_pinned {
                lease.spend();
            }
            let (spare, te) = self.adapt(&mut request, &lease);
            let NoAnswer { fault: cause, unsent } = match lease.send(request, added).await {
                Ok(response) => return Ok((response, lease)),
                Err(none) => none,
            };
            let (unsent, most) = match spare {
                Some(spare) => {
                    let untouched = unsent.map(|_| Untouched::GoingAway).or_else(|| http2::untouched(&cause));
                    let most = match untouched {
                        Some(Untouched::GoingAway) => TRIES_OVER_CONNECTIONS_THAT_GO_AWAY,
                        _ => TRIES,
                    };
                    (Some(spare).filter(|spare| untouched.is_some() && spare.body().is_whole()), most)
                }
                None => (unsent, if lease.is_reused() { TRIES } else { 1 }),
            };
            let unsent = unsent.map(|mut unsent| {
                // Where it goes next may be spoken HTTP/2.
                unsent.headers_mut().extend(te.map(|te| (TE, te)));
                unsent
            });
            match unsent {
                Some(unsent) if tries < most => {
                    tries += 1;
                    request = unsent;
                    lease = match Box::pin(self.pool.replace(lease)).await {
                        Ok(lease) => lease,
                        Err(cause) => return Err(self.unreachable(cause, request)),
                    };
                }
                unsent => return Err(Failure { fault: self.broken(cause, watch), unsent }),
            }
        }
    }

    /// Makes the request fit for the connection. Over HTTP/2 with a copy, which can be sent again; over HTTP/1.1 with the `TE` that it
    /// goes without, since that is between two hops and HTTP/1.1 upstreams get no trailers (RFC 9110, section 10.1.4).
    fn adapt(
        &self,
        request: &mut Request<RequestBody>,
        lease: &Lease<RequestBody>,
    ) -> (Option<Box<Request<RequestBody>>>, Option<HeaderValue>) {
        if lease.is_http2() {
            let spare = Box::new(http2::spare(request));
            http2::adapt(request, self.pool.is_tls());
            return (Some(spare), None);
        }
        (None, if request.body().passes_trailers() { request.headers_mut().remove(TE) } else { None })
    }

    fn unreachable(&self, cause: PoolError, unsent: Box<Request<RequestBody>>) -> Failure {
        let fault = UpstreamFault::Unreachable { upstream: Arc::clone(&self.upstream), cause };
        Failure { fault, unsent: Some(unsent) }
    }

    /// Whose fault it was: the request's body knows whether it broke off.
    fn broken(&self, cause: pool::Fault, watch: Option<&Watch>) -> UpstreamFault {
        match watch.and_then(Watch::fault) {
            Some(Fault::TooLarge) => UpstreamFault::TooLarge,
            Some(Fault::TooSlow) => UpstreamFault::TooSlow,
            Some(Fault::Visitor) => UpstreamFault::Visitor,
            Some(Fault::SessionOver) => UpstreamFault::SessionOver,
            None => UpstreamFault::Broken { upstream: Arc::clone(&self.upstream), cause },
        }
    }
}

/// Whether the request signs in the connection that it comes over, as some schemes do: an application may then take all that follows
/// on it for the same person's (RFC 4559, section 6; NTLM).
fn authenticates_connection(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(AUTHORIZATION) else { return false };
    let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    [&b"NTLM"[..], b"Negotiate"].iter().any(|pinning| scheme.eq_ignore_ascii_case(pinning))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn schemes_that_sign_in_a_connection_are_known() {
        for (value, pinned) in [
            ("NTLM TlRMTVNTUAAB", true),
            ("ntlm", true),
            ("Negotiate YII=", true),
            ("Basic eA==", false),
            ("Bearer NTLM", false),
            ("Negotiated x", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            assert_eq!(authenticates_connection(&headers), pinned, "{value}");
        }
        assert!(!authenticates_connection(&HeaderMap::new()));
    }
}
