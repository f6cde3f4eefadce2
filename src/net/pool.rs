//! The kept-alive connections of one worker to one address of an upstream: last in, first out, so that few stay warm and the rest age out.
//!
//! A connection is lent for one exchange and comes back when the answer's body has been read to its end; one that is dropped before
//! that is closed, so bytes of an abandoned answer can never be taken for the next one.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::dial::{Dial, DialError};
use crate::base::clock;

/// The connections of one worker to one address of an upstream.
pub struct Pool<B> {
    dial: Dial,
    idle_timeout: Duration,
    max_idle: usize,
    idle: RefCell<Vec<Idle<B>>>,
}

struct Idle<B> {
    sender: SendRequest<B>,
    since: Instant,
}

/// One connection, lent for one exchange.
pub struct Lease<B> {
    sender: SendRequest<B>,
    home: Weak<Pool<B>>,
    reused: bool,
}

/// Why no connection could be lent.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// It could not be made.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It closed before it could be used.
    #[error("the connection closed before it could be used: {0}")]
    Handshake(#[source] hyper::Error),
}

impl<B> Pool<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool that connects by `dial`, keeps at most `max_idle` connections that nobody uses, and closes what was unused
    /// for `idle_timeout`.
    pub fn new(dial: Dial, idle_timeout: Duration, max_idle: usize) -> Rc<Self> {
        Rc::new(Self { dial, idle_timeout, max_idle, idle: RefCell::new(Vec::new()) })
    }

    /// A connection that is ready for a request: a kept one, or else a new one.
    ///
    /// # Errors
    /// When a new one can't be made.
    pub async fn lend(self: &Rc<Self>) -> Result<Lease<B>, PoolError> {
        match self.take_idle() {
            Some(sender) => Ok(Lease { sender, home: Rc::downgrade(self), reused: true }),
            None => self.connect().await,
        }
    }

    /// A new connection, whatever is kept.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn connect(self: &Rc<Self>) -> Result<Lease<B>, PoolError> {
        let stream = self.dial.connect().await?;
        let (sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(PoolError::Handshake)?;
        drop(tokio::task::spawn_local(async move {
            // A connection that ends with an error tells its exchange, which reports it; here is nobody to tell.
            drop(connection.with_upgrades().await);
        }));
        Ok(Lease { sender, home: Rc::downgrade(self), reused: false })
    }

    /// Closes what has been unused for too long, or was closed by the upstream.
    pub fn sweep(&self) {
        let now = clock::instant();
        self.idle.borrow_mut().retain(|kept| self.is_fresh(kept, now));
    }

    fn take_idle(&self) -> Option<SendRequest<B>> {
        let now = clock::instant();
        let mut idle = self.idle.borrow_mut();
        let mut place = idle.len();
        while place > 0 {
            place -= 1;
            let kept = idle.get(place)?;
            if !self.is_fresh(kept, now) {
                drop(idle.swap_remove(place));
            } else if kept.sender.is_ready() {
                return Some(idle.remove(place).sender);
            }
        }
        None
    }

    fn is_fresh(&self, kept: &Idle<B>, now: Instant) -> bool {
        !kept.sender.is_closed() && now.duration_since(kept.since) < self.idle_timeout
    }
}

impl<B> Lease<B> {
    /// The connection itself.
    pub const fn sender(&mut self) -> &mut SendRequest<B> {
        &mut self.sender
    }

    /// Whether it has served before: only then can the upstream have closed it unseen.
    pub const fn is_reused(&self) -> bool {
        self.reused
    }

    /// Gives the connection back. Only for an exchange whose answer was read to its end.
    pub fn give_back(self) {
        let Some(home) = self.home.upgrade() else { return };
        if self.sender.is_closed() {
            return;
        }
        let mut idle = home.idle.borrow_mut();
        if idle.len() < home.max_idle {
            idle.push(Idle { sender: self.sender, since: clock::instant() });
        }
    }
}

impl<B> std::fmt::Debug for Lease<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("reused", &self.reused).finish_non_exhaustive()
    }
}
