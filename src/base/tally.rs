//! How many things of a kind are under way on this worker, and waiting until there are none.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// A count that goes down by itself when what was counted ends.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    shared: Rc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    count: Cell<usize>,
    none: Notify,
}

/// One thing under way; dropping it counts it out.
#[derive(Debug)]
pub struct Counted {
    shared: Rc<Shared>,
}

impl Tally {
    /// Counts one more in.
    pub fn enter(&self) -> Counted {
        self.shared.count.set(self.shared.count.get() + 1);
        Counted { shared: Rc::clone(&self.shared) }
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.shared.count.get()
    }

    /// Waits until none is under way.
    pub async fn none_left(&self) {
        loop {
            let notified = self.shared.none.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.shared.count.get().saturating_sub(1);
        self.shared.count.set(left);
        if left == 0 {
            self.shared.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn waiting_ends_with_the_last_one() {
        let tally = Tally::default();
        let (one, two) = (tally.enter(), tally.enter());
        assert_eq!(tally.count(), 2);
        drop(one);
        assert_eq!(tally.count(), 1);
        let mut waiting = Box::pin(tally.none_left());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), &mut waiting).await.is_err());
        drop(two);
        waiting.await;
    }
}
