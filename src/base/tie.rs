//! What may have to be cut from afar while it waits: streams that are tied to something that can end.
//!
//! A leash costs the one who holds it a count, and a place for its waker only once it has to wait. One worker's own: no locks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The end that is held by whatever may end.
#[derive(Debug, Default)]
pub struct Tie {
    cut: Cell<bool>,
    waiting: RefCell<Places>,
}

#[derive(Debug, Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// The end that is held by whatever is cut then.
#[derive(Debug)]
pub struct Leash {
    tie: Rc<Tie>,
    place: Option<usize>,
}

impl Tie {
    /// Cuts every leash, now and from now on.
    pub fn cut(&self) {
        self.cut.set(true);
        let places = self.waiting.take();
        places.wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Leash {
    /// One more leash of `tie`.
    pub fn of(tie: &Rc<Tie>) -> Self {
        Self { tie: Rc::clone(tie), place: None }
    }

    /// Another one of the same tie.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(&self.tie)
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.tie.cut.get()
    }

    /// Ready when it was cut; until then the task of `context` is woken when it is.
    pub fn poll_cut(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.is_cut() {
            return Poll::Ready(());
        }
        let mut places = self.tie.waiting.borrow_mut();
        let place = match self.place {
            Some(place) => place,
            None => places.free.pop().unwrap_or_else(|| {
                places.wakers.push(None);
                places.wakers.len() - 1
            }),
        };
        self.place = Some(place);
        if let Some(slot) = places.wakers.get_mut(place)
            && !slot.as_ref().is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *slot = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until it is cut.
    pub async fn cut(&mut self) {
        std::future::poll_fn(|context| self.poll_cut(context)).await;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut places = self.tie.waiting.borrow_mut();
        // None when it was cut: the places went with the wakers.
        if let Some(slot) = places.wakers.get_mut(place)
            && !self.tie.cut.get()
        {
            *slot = None;
            places.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leash_is_cut_and_those_that_wait_are_woken() {
        let tie = Rc::new(Tie::default());
        let (mut one, mut two) = (Leash::of(&tie), Leash::of(&tie));
        let context = Context::from_waker(Waker::noop());
        assert!(one.poll_cut(&context).is_pending() && one.poll_cut(&context).is_pending());
        assert_eq!(tie.waiting.borrow().wakers.len(), 1, "one place each, however often it waits");
        assert!(two.poll_cut(&context).is_pending());
        tie.cut();
        assert!(one.poll_cut(&context).is_ready() && two.is_cut() && Leash::of(&tie).is_cut());
    }

    #[test]
    fn places_are_used_again() {
        let tie = Rc::new(Tie::default());
        let context = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            let (mut one, mut two) = (Leash::of(&tie), Leash::of(&tie));
            assert!(one.poll_cut(&context).is_pending() && two.poll_cut(&context).is_pending());
        }
        assert_eq!(tie.waiting.borrow().wakers.len(), 2);
        assert_eq!(Rc::strong_count(&tie), 1);
    }

    #[test]
    fn a_task_that_waits_learns_of_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let tie = Rc::new(Tie::default());
        let mut leash = Leash::of(&tie);
        runtime.block_on(async { tokio::join!(leash.cut(), async { tie.cut() }) });
    }
}
