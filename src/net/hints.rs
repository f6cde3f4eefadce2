//! Early hints (RFC 8297) on their way from an upstream's connection to that of a visitor who speaks HTTP/1.1, as RFC 9110, section 15.2,
//! asks of whoever passes messages on.
//!
//! 1. Only what tells of things to load ahead goes on: nothing in a hint is the answer's, and a cookie or a header of ours has no place
//!    there.
//! 2. A hint stands before the head of the answer and behind everything that was said before. The connection writes one when it has
//!    nothing else to write, and once a piece of it is out, the rest goes before anything else.
//! 3. What was not begun when the answer is there is forgotten.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use http::header::{CONTENT_SECURITY_POLICY, HeaderMap, LINK};
use tokio::io::AsyncWrite;

use super::ready::{line_length, write_line};

/// Bytes of hints that wait to be written; a visitor who takes none is told no more.
const MOST_BYTES: usize = 16 * 1024;

/// The hints for one connection, whose requests come one after the other. All who touch them run on one worker; they are shared so that
/// hyper may move the connection. A request without hints reads two flags and takes no lock.
#[derive(Debug, Default)]
pub struct Hints {
    /// Whether there is a request whose answer has not begun.
    open: AtomicBool,
    /// Whether there is something to write.
    waiting: AtomicBool,
    /// Whether a piece of it is written already.
    begun: AtomicBool,
    bytes: Mutex<BytesMut>,
}

impl Hints {
    /// A request came that may be hinted at.
    pub fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// An upstream said `headers` in a 103.
    pub fn tell(&self, headers: &HeaderMap) {
        let lines = || headers.iter().filter(|(name, _)| [LINK, CONTENT_SECURITY_POLICY].contains(name));
        let length: usize = lines().map(|(name, value)| line_length(name, value)).sum();
        let mut bytes = self.bytes();
        if !self.open.load(Ordering::Relaxed) || length == 0 || bytes.len() + length > MOST_BYTES {
            return;
        }
        let mut head = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
        for (name, value) in lines() {
            write_line(&mut head, name, value);
        }
        head.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&head);
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// Whether there is something to write.
    pub fn are_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether a piece of what waits is written, so that the rest has to be before anything else is.
    pub fn are_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The answer is there.
    pub fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
        if self.are_waiting() && !self.are_begun() {
            self.bytes().clear();
            self.waiting.store(false, Ordering::Relaxed);
        }
    }

    /// Writes what waits. For when everything that was said before is written, or to finish what was begun.
    pub fn poll_write<S: AsyncWrite + Unpin>(&self, stream: &mut S, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = self.bytes();
        while !bytes.is_empty() {
            let count = ready!(Pin::new(&mut *stream).poll_write(context, &bytes))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.advance(count);
            self.begun.store(!bytes.is_empty(), Ordering::Relaxed);
        }
        self.waiting.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn bytes(&self) -> MutexGuard<'_, BytesMut> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use http::HeaderValue;
    use http::header::{CONTENT_LENGTH, SET_COOKIE};
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const HEAD: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

    fn told() -> HeaderMap {
        HeaderMap::from_iter([
            (LINK, HeaderValue::from_static("</a.css>; rel=preload")),
            (SET_COOKIE, HeaderValue::from_static("a=b")),
            (CONTENT_LENGTH, HeaderValue::from_static("5")),
        ])
    }

    #[tokio::test]
    async fn only_what_is_to_be_loaded_is_told() {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let hints = Hints::default();
        hints.tell(&told());
        assert!(!hints.are_waiting(), "nobody asked");
        hints.open();
        hints.tell(&HeaderMap::new());
        assert!(!hints.are_waiting(), "there is nothing in it");
        hints.tell(&told());
        assert!(hints.are_waiting());
        poll_fn(|context| hints.poll_write(&mut ours, context)).await.unwrap();
        assert!(!hints.are_waiting());
        drop(ours);
        let mut seen = String::new();
        theirs.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, HEAD);
    }

    #[tokio::test]
    async fn what_was_begun_is_finished_and_the_rest_forgotten() {
        let (mut ours, mut theirs) = tokio::io::duplex(10);
        let hints = Hints::default();
        hints.open();
        hints.tell(&told());
        hints.close();
        assert!(!hints.are_waiting(), "the answer came first");
        hints.open();
        hints.tell(&told());
        assert!(hints.poll_write(&mut ours, &mut Context::from_waker(Waker::noop())).is_pending());
        hints.close();
        assert!(hints.are_begun());
        let finish = poll_fn(|context| hints.poll_write(&mut ours, context));
        let mut seen = vec![0; HEAD.len()];
        let (finished, read) = tokio::join!(finish, theirs.read_exact(&mut seen));
        assert!(finished.is_ok() && read.is_ok() && !hints.are_begun());
        assert_eq!(String::from_utf8(seen).unwrap(), HEAD);
    }

    #[test]
    fn a_visitor_who_takes_none_is_told_no_more() {
        let hints = Hints::default();
        hints.open();
        for _ in 0..10_000 {
            hints.tell(&told());
        }
        assert!(hints.bytes().len() <= MOST_BYTES + HEAD.len());
    }
}
