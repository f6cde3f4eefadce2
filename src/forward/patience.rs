//! Waiting for an upstream for so long and no longer, without a timer for each of the many that answer at once.
//!
//! Whoever waits is noted down; the worker's sweep, one a second, wakes those that it meets for the second time, and only they take a
//! timer of the runtime for the rest. Bounds below [`AT_ONCE`] have one from the start.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::base::clock;

/// Bounds that the sweep is too coarse for: it wakes nobody who has waited for less than one second, and everybody within two.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Those who wait, in places that are used again.
#[derive(Default)]
pub struct Waiting {
    places: RefCell<Places>,
}

#[derive(Default)]
struct Places {
    all: Vec<Option<Sleeper>>,
    free: Vec<usize>,
}

struct Sleeper {
    waker: Waker,
    /// Whether a sweep has met it.
    met: bool,
}

/// A place among those who wait, given up when dropped.
struct Seat<'w> {
    waiting: &'w Waiting,
    place: Option<usize>,
}

impl Waiting {
    /// Wakes those who have waited since before the last call. Called once a second.
    pub fn sweep(&self) {
        let mut late = Vec::new();
        for sleeper in self.places.borrow_mut().all.iter_mut().flatten() {
            if std::mem::replace(&mut sleeper.met, true) {
                late.push(sleeper.waker.clone());
            }
        }
        late.into_iter().for_each(Waker::wake);
    }

    /// The result of `future`, or `None` once it has taken longer than it may: `left` says how much time is left after so much waiting,
    /// asked anew whenever that much has passed.
    pub async fn within<F: Future>(
        &self,
        mut future: Pin<&mut F>,
        left: impl Fn(Duration) -> Duration,
    ) -> Option<F::Output> {
        let begun = clock::instant();
        let mut seat = Seat { waiting: self, place: None };
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let mut polled = false;
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            loop {
                match &mut timer {
                    Some(timer) => match timer.as_mut().poll(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(()) => {}
                    },
                    None if polled && !seat.is_met() => {
                        seat.keep(context.waker());
                        return Poll::Pending;
                    }
                    None => {}
                }
                let waited = if polled { clock::instant().duration_since(begun) } else { Duration::ZERO };
                let rest = left(waited);
                if rest.is_zero() {
                    return Poll::Ready(None);
                }
                if !std::mem::replace(&mut polled, true) && rest >= AT_ONCE {
                    seat.keep(context.waker());
                    return Poll::Pending;
                }
                timer = Some(Box::pin(sleep(rest)));
            }
        })
        .await
    }
}

impl Seat<'_> {
    /// Notes down whom to wake.
    fn keep(&mut self, waker: &Waker) {
        let Places { all, free } = &mut *self.waiting.places.borrow_mut();
        match self.place.and_then(|place| all.get_mut(place)) {
            Some(Some(sleeper)) if sleeper.waker.will_wake(waker) => {}
            Some(Some(sleeper)) => sleeper.waker.clone_from(waker),
            Some(None) | None => {
                let place = free.pop().unwrap_or(all.len());
                let sleeper = Some(Sleeper { waker: waker.clone(), met: false });
                match all.get_mut(place) {
                    Some(slot) => *slot = sleeper,
                    None => all.push(sleeper),
                }
                self.place = Some(place);
            }
        }
    }

    /// Whether a sweep has met it.
    fn is_met(&self) -> bool {
        let places = self.waiting.places.borrow();
        self.place.and_then(|place| places.all.get(place)).and_then(Option::as_ref).is_some_and(|sleeper| sleeper.met)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let Places { all, free } = &mut *self.waiting.places.borrow_mut();
        if let Some(slot) = all.get_mut(place) {
            *slot = None;
            free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::task::{Context, Wake};

    use super::*;

    fn bound(limit: Duration) -> impl Fn(Duration) -> Duration {
        move |waited| limit.saturating_sub(waited)
    }

    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicUsize);

    impl Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_short_bound_holds_without_any_sweep() {
        let waiting = Waiting::default();
        let begun = clock::instant();
        let limit = Duration::from_millis(30);
        let waited = waiting.within(pin!(pending::<()>()), bound(limit)).await;
        assert!(waited.is_none() && begun.elapsed() >= limit);
    }

    #[tokio::test]
    async fn what_is_ready_is_given_and_the_place_is_free_again() {
        let waiting = Waiting::default();
        assert_eq!(waiting.within(pin!(async { 7 }), bound(Duration::from_mins(1))).await, Some(7));
        let slow = async {
            sleep(Duration::from_millis(20)).await;
            8
        };
        assert_eq!(waiting.within(pin!(slow), bound(Duration::from_mins(1))).await, Some(8));
        let places = waiting.places.borrow();
        assert_eq!((places.all.len(), places.free.len()), (1, 1));
    }

    #[tokio::test]
    async fn the_second_sweep_wakes_and_the_timer_takes_over() {
        let (waiting, count) = (Waiting::default(), std::sync::Arc::new(Count::default()));
        let waker = Waker::from(std::sync::Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let over = std::cell::Cell::new(false);
        let never = pin!(pending::<()>());
        let mut waits = pin!(waiting.within(never, |_| if over.get() { Duration::ZERO } else { AT_ONCE }));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        waiting.sweep();
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 0, "it may have come a moment ago");
        waiting.sweep();
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        over.set(true);
        assert!(waits.as_mut().poll(&mut context).is_ready());
    }
}
