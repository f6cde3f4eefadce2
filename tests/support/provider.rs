//! The development provider of `portcullis demo` on a thread of its own, for sign-ins that a test scripts and spoils.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use portcullis::demo::provider::{self, Control, DevelopmentProvider, ProviderOptions};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::PATIENCE;

const TICK: Duration = Duration::from_millis(20);

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

    /// Starts one. Unless the options name a port it takes one that stays free while it is paused.
    pub fn start_with(mut options: ProviderOptions) -> Self {
        if options.listen.port() == 0 {
            options.listen.set_port(super::free_port());
        }
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
                            resume(&mut running).await;
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

/// Opens the port again. It may be taken for a moment more: a program that another test starts has a copy of every socket until it
/// is its own.
async fn resume(provider: &mut DevelopmentProvider) {
    for _ in 0..PATIENCE.as_millis() / TICK.as_millis() {
        match provider.resume().await {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(TICK).await,
            Err(error) => panic!("the provider can't come back: {error}"),
        }
    }
    panic!("the port of the provider is taken");
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
