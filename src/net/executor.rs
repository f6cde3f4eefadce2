//! Runs what belongs to an HTTP/2 connection on the connection's own worker.

use hyper::rt::Executor;

/// Starts tasks on the thread that it is called on.
#[derive(Clone, Copy, Debug)]
pub struct Local;

impl<F> Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        drop(tokio::task::spawn_local(task));
    }
}
