//! Active health checks: one question to one address every few seconds, asked in the back office once for the whole process.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::health::AddressHealth;
use super::http2::adapt;
use crate::config::settings::HealthSettings;
use crate::net::dial::{Dial, DialError};

static AGENT: HeaderValue = HeaderValue::from_static("portcullis-health");
static CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Who is asked, and how.
pub struct Check {
    /// How to reach it; what it speaks is what it is asked by.
    pub dial: Dial,
    /// Its own `Host`.
    pub host: HeaderValue,
    /// What to ask, how often, and what is right.
    pub settings: HealthSettings,
    /// Where the result goes. The check ends when nobody else holds it.
    pub health: Weak<AddressHealth>,
}

/// Why an address is not well.
#[derive(Debug, thiserror::Error)]
enum Unwell {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("it broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("it answered {0}")]
    Status(u16),
    #[error("it gave no answer within {0:?}")]
    Timeout(Duration),
}

impl Check {
    /// Asks again and again until nobody wants to know.
    pub async fn keep_asking(self) {
        let mut streak = Streak::new(self.settings.healthy_after, self.settings.unhealthy_after);
        let mut ticks = tokio::time::interval(self.settings.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.health.strong_count() == 0 {
                return;
            }
            let result = self.ask().await;
            let Some(health) = self.health.upgrade() else { return };
            if let Err(unwell) = &result {
                tracing::debug!(address = health.label(), error = %unwell, "a health check failed");
            }
            if let Some(healthy) = streak.take(result.is_ok()) {
                health.set_healthy(healthy);
                tell(&health, &result);
            }
        }
    }

    async fn ask(&self) -> Result<(), Unwell> {
        let limit = self.settings.timeout;
        tokio::time::timeout(limit, self.exchange()).await.map_err(|_| Unwell::Timeout(limit))?
    }

    async fn exchange(&self) -> Result<(), Unwell> {
        let stream = self.dial.connect().await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.settings.path.clone().into();
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(USER_AGENT, AGENT.clone());
        let answer = if self.dial.is_http2(&stream) {
            adapt(&mut request, self.dial.tls.is_some());
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            beside(connection, sender.send_request(request)).await?
        } else {
            request.headers_mut().insert(CONNECTION, CLOSE.clone());
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            beside(connection, sender.send_request(request)).await?
        };
        let status = answer.status().as_u16();
        if self.settings.expect.contains(&status) { Ok(()) } else { Err(Unwell::Status(status)) }
    }
}

/// Awaits `answer` while `connection` moves; that ends after the answer, unless it fails, and then the answer says why.
async fn beside(
    connection: impl Future,
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> hyper::Result<Response<Incoming>> {
    tokio::select! {
        answer = answer => answer,
        never = async { drop(connection.await); std::future::pending::<Infallible>().await } => match never {},
    }
}

fn tell(health: &Arc<AddressHealth>, result: &Result<(), Unwell>) {
    match result {
        Ok(()) => tracing::info!(address = health.label(), "an address is well again"),
        Err(unwell) => tracing::warn!(address = health.label(), error = %unwell, "an address is not well"),
    }
}

/// Results in a row, until they say something new.
struct Streak {
    healthy: bool,
    against: u32,
    healthy_after: u32,
    unhealthy_after: u32,
}

impl Streak {
    const fn new(healthy_after: u32, unhealthy_after: u32) -> Self {
        Self { healthy: true, against: 0, healthy_after, unhealthy_after }
    }

    /// What is true from now on, when a result changes it.
    const fn take(&mut self, well: bool) -> Option<bool> {
        if well == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if well { self.healthy_after } else { self.unhealthy_after };
        if self.against < needed {
            return None;
        }
        self.healthy = well;
        self.against = 0;
        Some(well)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_in_a_row_change_anything() {
        let mut streak = Streak::new(2, 3);
        let results = [false, false, true, false, false, false, false, true, false, true, true, true];
        let told: Vec<_> = results.into_iter().map(|well| streak.take(well)).collect();
        let mut expected = [None; 12];
        expected[5] = Some(false);
        expected[10] = Some(true);
        assert_eq!(told, expected);
    }
}
