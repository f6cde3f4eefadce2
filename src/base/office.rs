//! The back office: the runtime for what may wait (providers, stores, reload), away from the workers' cores.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// A way to have something done in the back office and to await its result from a worker. Clones are the same office.
#[derive(Clone, Debug)]
pub struct Office {
    runtime: Handle,
    /// How many tasks are under way that are seen to their ends.
    begun: Arc<watch::Sender<usize>>,
}

/// The task ended without a result: it panicked, or the process is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the back office dropped the task")]
pub struct Dropped;

/// One task that is seen to its end, however it ends.
struct Begun {
    begun: Arc<watch::Sender<usize>>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.begun.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Office {
    /// An office that works on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, begun: Arc::new(watch::Sender::new(0)) }
    }

    /// Runs `task` in the back office. The task goes on to its end even when the caller stops waiting, so that a
    /// browser that hangs up can't leave a code half redeemed.
    pub async fn run<T, F>(&self, task: F) -> Result<T, Dropped>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.runtime.spawn(task).await.map_err(|_| Dropped)
    }

    /// Starts `task` in the back office and does not wait for it. A process that stops sees it to its end (see [`Self::is_done`]), so
    /// that a refresh token is not used up for nothing.
    pub fn start<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.begun.send_modify(|count| *count += 1);
        let until_done = Begun { begun: Arc::clone(&self.begun) };
        drop(self.runtime.spawn(async move {
            task.await;
            drop(until_done);
        }));
    }

    /// Starts `task`, which has no end, or which nobody misses when the process stops.
    pub fn accompany<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.runtime.spawn(task));
    }

    /// Waits until nothing that was [started](Self::start) is under way.
    pub async fn is_done(&self) {
        // The sender lives as long as this office, so there always is an answer.
        drop(self.begun.subscribe().wait_for(|count| *count == 0).await);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    const A_MOMENT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn what_was_started_is_seen_to_its_end_and_what_has_none_is_not() {
        let office = Office::new(Handle::current());
        office.accompany(std::future::pending());
        office.is_done().await;
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        office.clone().start(async move {
            sleep(A_MOMENT).await;
            told.store(true, Ordering::Relaxed);
        });
        office.is_done().await;
        assert!(done.load(Ordering::Relaxed));
        office.start(std::future::pending());
        assert!(timeout(A_MOMENT, office.is_done()).await.is_err());
    }

    #[tokio::test]
    async fn a_task_that_panics_has_come_to_its_end() {
        let office = Office::new(Handle::current());
        office.start(async { panic!("on purpose") });
        office.is_done().await;
    }
}
