//! The answers of one HTTP/1.1 connection, one after the other, made in one place of memory.
//!
//! A request on its way keeps some 2 KiB of state, most of which is written only as it goes. Begun anew for each request, that state is
//! copied as a whole to where it stays, written or not, and of hundreds of connections each copy reaches memory that has left the
//! processor's cache by then. So a connection has one clerk from its beginning to its end, who is handed requests and hands out answers.
//!
//! There is never a second request in hand: an answer can go to no other request than its own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Where a clerk is handed requests, and hands out their answers: one at a time.
pub(super) struct Counter<Q, A> {
    request: Cell<Option<Q>>,
    answer: Cell<Option<A>>,
    /// Whether a request was handed in whose answer was not taken.
    taken: Cell<bool>,
}

/// Somebody went away without the answer to a request, so nobody can be served after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer to the request before was not waited for")]
pub(super) struct Abandoned;

/// A request that a clerk has in hand.
pub(super) struct Answering<'c, Q, A, C> {
    counter: &'c Counter<Q, A>,
    clerk: &'c RefCell<Pin<&'c mut C>>,
}

impl<Q, A> Counter<Q, A> {
    /// A counter without a request.
    pub(super) const fn new() -> Self {
        Self { request: Cell::new(None), answer: Cell::new(None), taken: Cell::new(false) }
    }

    /// The next request. The clerk is not woken for it: whoever hands it in goes to the clerk.
    pub(super) async fn next(&self) -> Q {
        poll_fn(|_| self.request.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Hands out the answer to the last request.
    pub(super) fn hand_out(&self, answer: A) {
        self.answer.set(Some(answer));
    }

    /// Hands in a request. What comes back is its answer, as soon as `clerk`, who serves this counter, has made it.
    ///
    /// # Errors
    /// When the answer to the request before was not waited for.
    pub(super) fn hand_in<'c, C>(
        &'c self,
        request: Q,
        clerk: &'c RefCell<Pin<&'c mut C>>,
    ) -> Result<Answering<'c, Q, A, C>, Abandoned> {
        if self.taken.replace(true) {
            return Err(Abandoned);
        }
        self.request.set(Some(request));
        Ok(Answering { counter: self, clerk })
    }
}

impl<Q, A, C: Future> Future for Answering<'_, Q, A, C> {
    type Output = A;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A> {
        // A clerk never ends: there may always be another request.
        let _on_the_way = self.clerk.borrow_mut().as_mut().poll(context);
        let Some(answer) = self.counter.answer.take() else { return Poll::Pending };
        self.counter.taken.set(false);
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    #[test]
    fn answers_come_one_after_the_other_and_go_to_nobody_else() {
        let counter = Counter::new();
        let way = Cell::new(false);
        let clerk = pin!(async {
            loop {
                let request: u32 = counter.next().await;
                poll_fn(|_| if way.get() { Poll::Ready(()) } else { Poll::Pending }).await;
                counter.hand_out(request * 10);
            }
        });
        let clerk = RefCell::new(clerk);
        let mut context = Context::from_waker(Waker::noop());
        way.set(true);
        for request in 1..4 {
            let mut answering = pin!(counter.hand_in(request, &clerk).unwrap());
            assert_eq!(answering.as_mut().poll(&mut context), Poll::Ready(request * 10));
        }
        way.set(false);
        {
            let mut abandoned = pin!(counter.hand_in(7, &clerk).unwrap());
            assert!(abandoned.as_mut().poll(&mut context).is_pending());
        }
        way.set(true);
        assert_eq!(counter.hand_in(8, &clerk).err(), Some(Abandoned), "it would get the answer to 7");
    }
}
