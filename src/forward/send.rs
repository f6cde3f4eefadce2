//! One exchange with an upstream: a connection, the request, the head of the answer, and the one retry that is safe.

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

use crate::http::body::{RequestBody, RequestBodyError};
use crate::net::pool::{Lease, Pool, PoolError};

/// One upstream, as one worker sees it.
pub struct Upstream {
    /// Its name in the config.
    pub name: Arc<str>,
    /// This worker's connections to it.
    pub pool: Rc<Pool<RequestBody>>,
    /// Its own `Host`, for when it doesn't see the visitor's.
    pub host: HeaderValue,
    /// Whether it sees the host that the visitor asked for.
    pub pass_host: bool,
    /// Bound on the time until the head of the answer.
    pub response_timeout: Duration,
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
}

impl Upstream {
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
    ) -> Result<(Response<Incoming>, Lease<RequestBody>), UpstreamFault> {
        match tokio::time::timeout(self.response_timeout, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(UpstreamFault::Timeout { upstream: Arc::clone(&self.name), limit: self.response_timeout }),
        }
    }

    async fn exchange(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease<RequestBody>), UpstreamFault> {
        let mut lease = self.pool.lend().await.map_err(|cause| self.unreachable(cause))?;
        loop {
            let mut error = match lease.sender().try_send_request(request).await {
                Ok(response) => return Ok((response, lease)),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) if lease.is_reused() => {
                    request = unsent;
                    lease = self.pool.connect().await.map_err(|cause| self.unreachable(cause))?;
                }
                _ => return Err(self.broken(error.into_error())),
            }
        }
    }

    fn unreachable(&self, cause: PoolError) -> UpstreamFault {
        UpstreamFault::Unreachable { upstream: Arc::clone(&self.name), cause }
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
        UpstreamFault::Broken { upstream: Arc::clone(&self.name), cause }
    }
}
