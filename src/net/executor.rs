//! Runs what belongs to an HTTP/2 connection on the connection's own worker.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use hyper::rt::Executor;
use tokio::sync::Notify;

/// Starts tasks on the thread that it is called on, and tells `moved` each time one of them has run, until it rests: hyper reads a
/// connection in a task of its own and tells nobody what the upstream said there of the connection itself.
#[derive(Clone, Debug)]
pub struct Watched(Rc<Watch>);

#[derive(Debug)]
struct Watch {
    moved: Rc<Notify>,
    rests: Cell<bool>,
}

impl Watched {
    /// One that tells `moved`.
    pub fn new(moved: &Rc<Notify>) -> Self {
        Self(Rc::new(Watch { moved: Rc::clone(moved), rests: Cell::new(false) }))
    }

    /// From now on nobody is told.
    pub fn rest(&self) {
        self.0.rests.set(true);
    }
}

impl<F> Executor<F> for Watched
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        if self.0.rests.get() {
            drop(tokio::task::spawn_local(task));
            return;
        }
        let watch = Rc::clone(&self.0);
        drop(tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|context| {
                let polled = task.as_mut().poll(context);
                if !watch.rests.get() {
                    watch.moved.notify_waiters();
                }
                polled
            })
            .await
        }));
    }
}
