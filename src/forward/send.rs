//! One exchange with one address of an upstream: a connection, the request, the head of the answer.

use std::error::Error;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::http::body::{RequestBody, RequestBodyError};
use crate::net::pool::{Lease, Pool, PoolError};

/// One address of an upstream, as one worker sees it.
pub struct Address {
    /// The upstream's name in the config.
    pub upstream: Arc<str>,
    /// This worker's connections to it.
    pub pool: Rc<Pool<RequestBody>>,
    /// Bound on the time from the request's end to the head of the answer.
    pub response_timeout: Duration,
}

/// No answer; and the request, when nothing of it was sent.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub fault: UpstreamFault,
    /// The request as it was. Present only when no byte of it was written, so that it may go elsewhere.
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
        cause: hyper::Error,
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
    /// Sends `request` and awaits the head of the answer.
    ///
    /// A request that was never written, because the upstream had closed the kept connection, goes out once more over a new
    /// one; nothing else is ever sent twice (RFC 9110, section 9.2.2).
    ///
    /// # Errors
    /// When there is no head of an answer, and why.
    pub async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease<RequestBody>), Failure> {
        let limit = self.response_timeout;
        let upload = request.body().upload().map(Arc::clone);
        let mut exchange = pin!(self.exchange(request));
        let mut left = limit;
        // The time counts from the last piece of the request that moved, so that a large body may take as long as it has to.
        while !left.is_zero() {
            if let Ok(result) = tokio::time::timeout(left, exchange.as_mut()).await {
                return result;
            }
            left = upload.as_ref().map_or(Duration::ZERO, |upload| upload.left(limit));
        }
        if upload.is_some_and(|upload| upload.waits_for_visitor()) {
            return Err(Failure::of(UpstreamFault::TooSlow));
        }
        Err(Failure::of(UpstreamFault::Timeout { upstream: Arc::clone(&self.upstream), limit }))
    }

    async fn exchange(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease<RequestBody>), Failure> {
        let mut lease = match self.pool.lend().await {
            Ok(lease) => lease,
            Err(cause) => return Err(self.unreachable(cause, request)),
        };
        loop {
            let mut error = match lease.sender().try_send_request(request).await {
                Ok(response) => return Ok((response, lease)),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) if lease.is_reused() => {
                    request = unsent;
                    lease = match self.pool.connect().await {
                        Ok(lease) => lease,
                        Err(cause) => return Err(self.unreachable(cause, request)),
                    };
                }
                unsent => return Err(Failure { fault: self.broken(error.into_error()), unsent: unsent.map(Box::new) }),
            }
        }
    }

    fn unreachable(&self, cause: PoolError, unsent: Request<RequestBody>) -> Failure {
        let fault = UpstreamFault::Unreachable { upstream: Arc::clone(&self.upstream), cause };
        Failure { fault, unsent: Some(Box::new(unsent)) }
    }

    /// Whose fault it was: hyper wraps what our own request body reported.
    fn broken(&self, cause: hyper::Error) -> UpstreamFault {
        let mut source: Option<&(dyn Error + 'static)> = cause.source();
        while let Some(inner) = source {
            match inner.downcast_ref::<RequestBodyError>() {
                Some(RequestBodyError::TooLarge) => return UpstreamFault::TooLarge,
                Some(RequestBodyError::TooSlow) => return UpstreamFault::TooSlow,
                Some(RequestBodyError::Visitor(_)) => return UpstreamFault::Visitor,
                None => source = inner.source(),
            }
        }
        UpstreamFault::Broken { upstream: Arc::clone(&self.upstream), cause }
    }
}
