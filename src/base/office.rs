//! The back office: the runtime for what may wait (providers, stores, reload), away from the workers' cores.

use std::future::Future;

use tokio::runtime::Handle;

/// A way to have something done in the back office and to await its result from a worker.
#[derive(Clone, Debug)]
pub struct Office {
    runtime: Handle,
}

/// The task ended without a result: it panicked, or the process is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the back office dropped the task")]
pub struct Dropped;

impl Office {
    /// An office that works on `runtime`.
    pub const fn new(runtime: Handle) -> Self {
        Self { runtime }
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

    /// Starts `task` in the back office and does not wait for it.
    pub fn start<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.runtime.spawn(task));
    }
}
