//! The development provider of `portcullis demo` on a thread of its own, for sign-ins that a test scripts and spoils.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use portcullis::demo::provider::{self, Control, ProviderOptions};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// The client of [`ProviderOptions::default`].
pub const CLIENT_ID: &str = "portcullis";

/// Its secret.
pub const CLIENT_SECRET: &str = "development-secret";

/// A running development provider; it stops when it is dropped.
pub struct Provider {
    issuer: String,
    /// Tells it what to do wrong, and what it was asked.
    control: Control,
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Pause(mpsc::Sender<()>),
    Resume(mpsc::Sender<()>),
}

impl Provider {
    /// Starts one with alice, bob and the client [`CLIENT_ID`].
    pub fn start() -> Self {
        Self::start_with(ProviderOptions::default())
    }

    /// Starts one.
    pub fn start_with(options: ProviderOptions) -> Self {
        let (started, starting) = mpsc::channel();
        let (orders, mut taken) = unbounded_channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async {
                let mut running = provider::start(options).await.expect("the provider starts");
                started.send((running.issuer().to_owned(), running.control().clone())).expect("the test waits");
                while let Some(order) = taken.recv().await {
                    let done = match order {
                        Order::Pause(done) => {
                            running.pause().await;
                            done
                        }
                        Order::Resume(done) => {
                            running.resume().await.expect("the port is still free");
                            done
                        }
                    };
                    done.send(()).expect("the test waits");
                }
                running.stop().await;
            });
        });
        let (issuer, control) = starting.recv().expect("the provider starts");
        Self { issuer, control, orders: Some(orders), thread: Some(thread) }
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Tells it what to do wrong, and what it was asked.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Closes its port, as if it had crashed.
    pub fn pause(&self) {
        self.order(Order::Pause);
    }

    /// Opens it again.
    pub fn resume(&self) {
        self.order(Order::Resume);
    }

    fn order(&self, order: impl FnOnce(mpsc::Sender<()>) -> Order) {
        let (done, waiting) = mpsc::channel();
        let orders = self.orders.as_ref().expect("it is gone only when dropped");
        assert!(orders.send(order(done)).is_ok(), "the provider has ended");
        waiting.recv().expect("the provider has ended");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the provider was printed when it happened.
            let _ended = thread.join();
        }
    }
}
