//! One upstream at one address or several: which of them gets a request, and the one other try that is safe.
//!
//! 1. A request goes to an address that is in ([`super::health`]); when none is, to any.
//! 2. A request of which nothing was sent to one address goes to another one, once. Nothing else is ever sent twice, whatever its
//!    method: what was written may have been processed (RFC 9110, section 9.2.2). What an upstream says over HTTP/2 that it has not
//!    looked at counts as not sent.

use std::cell::Cell;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, Request, Response};

use super::health::AddressHealth;
use super::send::{Address, Failure, UpstreamFault};
use crate::base::tally::{Counted, Tally};
use crate::config::settings::Balance;
use crate::http::body::RequestBody;
use crate::net::pool::Lease;
use crate::net::ready::Added;

/// An upstream, as one worker sees it.
pub struct Upstream {
    places: Vec<Place>,
    balance: Balance,
    turn: Cell<usize>,
}

/// One address of it.
pub struct Place {
    /// How to send to it.
    pub address: Address,
    /// Its own `Host`, for when it doesn't see the visitor's.
    pub own_host: Option<HeaderValue>,
    /// How it is doing.
    pub health: Arc<AddressHealth>,
    /// This worker's requests to it.
    pub under_way: Tally,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Exchange {
    /// Its head, and its body as it arrives.
    pub answer: Response<()>,
    /// The connection that it comes over.
    pub lease: Lease<RequestBody>,
    /// Counts the exchange until it is over, where there is a choice of addresses.
    pub under_way: Option<Counted>,
}

impl Upstream {
    /// An upstream at `places`, of which there is at least one.
    pub const fn new(places: Vec<Place>, balance: Balance) -> Self {
        Self { places, balance, turn: Cell::new(0) }
    }

    /// Closes connections that nobody uses.
    pub fn sweep(&self) {
        for place in &self.places {
            place.address.sweep();
        }
    }

    /// Sends `request` and awaits the head of the answer.
    ///
    /// # Errors
    /// When there is no head of an answer, and why.
    pub async fn send(&self, request: Box<Request<RequestBody>>, added: &Added<'_>) -> Result<Exchange, UpstreamFault> {
        let first = self.pick(None);
        let failure = match self.attempt(first, request, added).await {
            Ok(exchange) => return Ok(exchange),
            Err(failure) => failure,
        };
        match failure.unsent {
            Some(request) if self.places.len() > 1 => {
                tracing::debug!(error = %failure.fault, "nothing was sent; trying another address");
                Box::pin(self.attempt(self.pick(Some(first)), request, added)).await.map_err(|failure| failure.fault)
            }
            _ => Err(failure.fault),
        }
    }

    async fn attempt(
        &self,
        index: usize,
        mut request: Box<Request<RequestBody>>,
        added: &Added<'_>,
    ) -> Result<Exchange, Failure> {
        let Some(place) = self.places.get(index) else { return Err(Failure::of(UpstreamFault::NoAddress)) };
        if let Some(host) = &place.own_host {
            request.headers_mut().insert(HOST, host.clone());
        }
        let has_choice = self.places.len() > 1;
        let under_way = has_choice.then(|| place.under_way.enter());
        match place.address.send(request, added).await {
            Ok((answer, lease)) => {
                if has_choice {
                    place.health.answered();
                }
                Ok(Exchange { answer, lease, under_way })
            }
            Err(failure) => {
                if has_choice && failure.fault.blames_the_address() {
                    place.health.faulted();
                }
                Err(failure)
            }
        }
    }

    /// The place for the next request, another one than `except`.
    fn pick(&self, except: Option<usize>) -> usize {
        let count = self.places.len();
        if count < 2 {
            return 0;
        }
        let turn = self.turn.get();
        self.turn.set((turn + 1) % count);
        let order = || (0..count).map(|step| (turn + step) % count).filter(|index| Some(*index) != except);
        self.best(order().filter(|index| self.places.get(*index).is_some_and(|place| place.health.is_in())))
            .or_else(|| self.best(order()))
            .unwrap_or(0)
    }

    fn best(&self, mut order: impl Iterator<Item = usize>) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => order.next(),
            // Of those that are equal the first, and `turn` makes that another one each time.
            Balance::LeastRequests => {
                order.min_by_key(|index| self.places.get(*index).map(|place| place.under_way.count()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::config::settings::UpstreamProtocol;
    use crate::forward::health::Ejection;
    use crate::forward::patience::Waiting;
    use crate::net::dial::{Dial, Target};
    use crate::net::pool::{Keep, Pool};

    fn upstream(count: usize, balance: Balance) -> Upstream {
        let place = |number: usize| {
            let target = Target::Unix(format!("/nowhere/{number}").into());
            let dial = Dial { target, tls: None, protocol: UpstreamProtocol::Auto, timeout: Duration::from_secs(1) };
            let ejection = Ejection { after: NonZeroU32::new(1), first: Duration::from_hours(1) };
            let keep = Keep { idle_timeout: Duration::from_secs(1), max_idle: 1, max_requests: None };
            Place {
                address: Address {
                    upstream: Arc::from("app"),
                    pool: Pool::new(dial, keep),
                    response_timeout: Duration::from_secs(1),
                    waiting: Waiting::default(),
                },
                own_host: None,
                health: Arc::new(AddressHealth::new(Arc::from(format!("app at {number}")), ejection)),
                under_way: Tally::default(),
            }
        };
        Upstream::new((0..count).map(place).collect(), balance)
    }

    fn picks(upstream: &Upstream, count: usize) -> Vec<usize> {
        (0..count).map(|_| upstream.pick(None)).collect()
    }

    #[test]
    fn round_robin_takes_turns() {
        assert_eq!(picks(&upstream(3, Balance::RoundRobin), 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn the_fewest_requests_win_and_equals_take_turns() {
        let upstream = upstream(3, Balance::LeastRequests);
        assert_eq!(picks(&upstream, 3), [0, 1, 2]);
        let busy = [upstream.places[0].under_way.enter(), upstream.places[2].under_way.enter()];
        assert_eq!(picks(&upstream, 3), [1, 1, 1]);
        drop(busy);
        assert_eq!(picks(&upstream, 3), [0, 1, 2]);
    }

    #[test]
    fn what_is_out_gets_nothing_unless_all_are() {
        for balance in [Balance::RoundRobin, Balance::LeastRequests] {
            let upstream = upstream(3, balance);
            upstream.places[1].health.faulted();
            assert!(!picks(&upstream, 9).contains(&1));
            upstream.places[0].health.set_healthy(false);
            assert_eq!(picks(&upstream, 3), [2, 2, 2]);
            upstream.places[2].health.faulted();
            let mut all = picks(&upstream, 9);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all, [0, 1, 2]);
        }
    }

    #[test]
    fn another_try_is_at_another_address() {
        let upstream = upstream(2, Balance::LeastRequests);
        upstream.places[1].health.faulted();
        assert_eq!(upstream.pick(Some(0)), 1, "even one that is out is better than the one that just failed");
        assert_eq!(upstream.pick(Some(1)), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_sent_is_tried_once_more_and_both_are_to_blame() {
        let upstream = upstream(3, Balance::RoundRobin);
        let fault = upstream.send(Box::new(Request::new(RequestBody::empty())), &Added::default()).await.unwrap_err();
        assert!(matches!(fault, UpstreamFault::Unreachable { .. }), "{fault}");
        let blamed: Vec<bool> = upstream.places.iter().map(|place| !place.health.is_in()).collect();
        assert_eq!(blamed, [true, true, false], "two addresses were tried, not three");
    }
}
