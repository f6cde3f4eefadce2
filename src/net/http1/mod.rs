//! One HTTP/1.1 connection to an upstream: a request out, the head of its answer and then the body in, on the task that asks.
//!
//! hyper would give each connection a task of its own and pass every head and every piece of a body between the two tasks, which costs
//! more than reading and writing them. Here an exchange is a few calls on the connection itself:
//!
//! 1. [`Connection::send`] writes the request and reads at the same time, since an upstream may answer before it has read everything.
//! 2. [`Connection::poll_frame`] reads the body. What is left of the request by then goes out by a task of its own, so that a visitor
//!    who reads nothing before everything is sent holds nothing up.
//! 3. [`Connection::is_reusable`] says whether another exchange may follow: both messages ended, and not a byte is left over.

mod answer_head;
mod coding;
mod request_head;
mod upload;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncReadExt as _;
use tokio::task::AbortHandle;

pub use self::answer_head::Malformed;
use self::answer_head::{AnswerHead, Asked};
use self::coding::{Coding, Piece};
use self::request_head::Announced;
use self::upload::{Upload, UploadFault};
use super::hints::Hints;
use super::ready::Added;
use super::stream::Stream;

/// Bytes that are read at once, at first and on connections that are kept.
const READ: usize = 8 * 1024;
/// Bytes that are read at once when an upstream sends more than it was asked for at once.
const MAX_READ: usize = 128 * 1024;
/// Heads of informational answers before the final one (RFC 9110, section 15.2).
const MAX_INFORMATIONAL: usize = 16;

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The upstream closed the connection before the answer was whole.
    #[error("it closed the connection")]
    Closed,
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The answer is none, or could be read in two ways.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The request broke off: its body did, or was not what its head said.
    #[error("the request broke off")]
    Request,
}

/// There is no answer.
#[derive(Debug)]
pub struct NoAnswer<B> {
    /// Why.
    pub fault: Fault,
    /// The request, when not a byte of it was written.
    pub unsent: Option<Box<Request<B>>>,
}

/// One connection. It is dropped, and so closed, unless [`Connection::is_reusable`].
pub struct Connection {
    wire: Rc<Wire>,
    /// What was read and belongs to nothing yet.
    buffer: BytesMut,
    /// How much of it was searched for the end of a head.
    seen: usize,
    /// How much to read at once.
    read: usize,
    coding: Coding,
    /// Informational heads of this exchange.
    informational: usize,
    keeps_alive: bool,
    /// The task that sends what is left of a request whose answer came early.
    uploading: Option<AbortHandle>,
}

/// What an exchange and the task of its upload share.
struct Wire {
    stream: RefCell<Stream>,
    upload: Cell<Sent>,
    /// Who waits for the answer, to be told that the request broke off.
    reader: RefCell<Option<Waker>>,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// All of it is sent.
    Whole,
    /// Some is still on its way.
    OnItsWay,
    /// The upstream took no more of it; it may answer all the same.
    Refused,
    /// It broke off: no answer counts.
    Broken,
}

impl Connection {
    /// The beginning of exchanges over `stream`.
    pub fn new(stream: Stream) -> Self {
        let wire = Wire { stream: RefCell::new(stream), upload: Cell::new(Sent::Whole), reader: RefCell::default() };
        Self {
            wire: Rc::new(wire),
            buffer: BytesMut::new(),
            seen: 0,
            read: READ,
            coding: Coding::Length(0),
            informational: 0,
            keeps_alive: true,
            uploading: None,
        }
    }

    /// Sends `request`, with what is `added` to its headers, and gives the head of the answer; its body is read by [`Self::poll_frame`].
    ///
    /// # Errors
    /// When there is no answer; with the request itself when none of it was written.
    pub async fn send<B>(&mut self, request: Box<Request<B>>, added: &Added<'_>) -> Result<Response<()>, NoAnswer<B>>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        let Ok((head, Announced { framing, upgrade })) = request_head::write(&request, added) else {
            return Err(NoAnswer { fault: Fault::Request, unsent: None });
        };
        let asked = Asked { is_head: *request.method() == Method::HEAD, upgrade };
        let mut upload = Upload::new(head, request, framing);
        self.wire.upload.set(Sent::OnItsWay);
        self.informational = 0;
        let answered = poll_fn(|context| self.poll_answer(&mut upload, asked, added.hints, context)).await;
        match answered {
            Ok(head) => {
                if self.wire.upload.get() == Sent::OnItsWay {
                    self.upload_further(upload);
                }
                Ok(self.begin(head))
            }
            Err(fault) => Err(NoAnswer { fault, unsent: upload.into_unsent() }),
        }
    }

    /// The next piece of the answer's body; trailers come last.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            match self.coding.take(&mut self.buffer) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::Over) => return Poll::Ready(None),
                Ok(Piece::Wanting) => {}
                Err(error) => return Poll::Ready(Some(Err(self.spoil(Fault::Io(error))))),
            }
            match ready!(self.poll_read(context)) {
                Ok(0) if self.coding == Coding::UntilClose => {
                    self.coding = Coding::Length(0);
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(self.spoil(Fault::Closed)))),
                Ok(_) => {}
                Err(fault) => return Poll::Ready(Some(Err(self.spoil(fault)))),
            }
        }
    }

    /// Whether the answer's body was read to its end.
    pub const fn is_over(&self) -> bool {
        self.coding.is_over()
    }

    /// What is known of the length of the answer's body.
    pub fn size_hint(&self) -> SizeHint {
        match self.coding {
            Coding::Length(left) => SizeHint::with_exact(left),
            Coding::Chunked(_) | Coding::UntilClose => SizeHint::default(),
        }
    }

    /// Whether another exchange may follow: request and answer have ended, and nothing is left over.
    pub fn is_reusable(&self) -> bool {
        self.keeps_alive && self.coding.is_over() && self.buffer.is_empty() && self.wire.upload.get() == Sent::Whole
    }

    /// Gives up what an exchange needed.
    pub fn rest(&mut self) {
        self.uploading = None;
        self.read = READ;
        self.buffer = BytesMut::new();
    }

    /// Whether a kept connection still waits for a request: it was not closed, and said nothing that nobody asked for.
    pub fn is_quiet(&mut self) -> bool {
        self.poll_read(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// The connection itself after a 101, and what came after the head.
    pub fn into_tunnel(mut self) -> Option<(Stream, BytesMut)> {
        let (wire, buffer) = (Rc::clone(&self.wire), std::mem::take(&mut self.buffer));
        drop(self);
        Rc::into_inner(wire).map(|wire| (wire.stream.into_inner(), buffer))
    }

    fn poll_answer<B>(
        &mut self,
        upload: &mut Upload<B>,
        asked: Asked,
        hints: Option<&Hints>,
        context: &mut Context<'_>,
    ) -> Poll<Result<AnswerHead, Fault>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if self.wire.upload.get() == Sent::OnItsWay {
            match upload.poll(&mut self.wire.stream.borrow_mut(), context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.wire.upload.set(Sent::Whole),
                Poll::Ready(Err(UploadFault::Body)) => return Poll::Ready(Err(Fault::Request)),
                Poll::Ready(Err(UploadFault::Write(error))) if upload.is_untouched() => {
                    return Poll::Ready(Err(Fault::Io(error)));
                }
                // It may have answered why before it stopped to read.
                Poll::Ready(Err(UploadFault::Write(_))) => self.wire.upload.set(Sent::Refused),
            }
        }
        loop {
            if !self.buffer.is_empty()
                && let Some(head) = answer_head::take(&mut self.buffer, &mut self.seen, asked)?
            {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(head));
                }
                self.informational += 1;
                if self.informational > MAX_INFORMATIONAL {
                    return Poll::Ready(Err(Fault::Malformed(Malformed::TOO_MANY_HEADS)));
                }
                if let Some(hints) = hints.filter(|_| head.status == StatusCode::EARLY_HINTS) {
                    hints.tell(&head.headers);
                }
                continue;
            }
            match ready!(self.poll_read(context)) {
                Ok(count) if count > 0 => {}
                ended => {
                    let foreign = answer_head::foreign(&self.buffer).map(Fault::Malformed);
                    return Poll::Ready(Err(foreign.or_else(|| ended.err()).unwrap_or(Fault::Closed)));
                }
            }
        }
    }

    fn begin(&mut self, head: AnswerHead) -> Response<()> {
        let AnswerHead { status, headers, coding, keeps_alive } = head;
        self.coding = coding;
        self.keeps_alive = keeps_alive;
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Sends what is left of a request by a task of its own.
    fn upload_further<B>(&mut self, mut upload: Upload<B>)
    where
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        let wire = Rc::clone(&self.wire);
        let task = tokio::task::spawn_local(poll_fn(move |context| {
            let sent = match ready!(upload.poll(&mut wire.stream.borrow_mut(), context)) {
                Ok(()) => Sent::Whole,
                Err(UploadFault::Write(_)) => Sent::Refused,
                Err(UploadFault::Body) => Sent::Broken,
            };
            wire.upload.set(sent);
            if let Some(reader) = wire.reader.take() {
                reader.wake();
            }
            Poll::Ready(())
        }));
        self.uploading = Some(task.abort_handle());
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        if self.uploading.is_some() {
            if self.wire.upload.get() == Sent::Broken {
                return Poll::Ready(Err(Fault::Request));
            }
            *self.wire.reader.borrow_mut() = Some(context.waker().clone());
        }
        self.buffer.reserve(self.read);
        let mut stream = self.wire.stream.borrow_mut();
        let Poll::Ready(read) = pin!(stream.read_buf(&mut self.buffer)).poll(context) else {
            if self.buffer.is_empty() {
                // Nobody holds room while there is nothing to read. Whoever reads next, on any connection, gets this again, and finds it in
                // the processor's cache.
                self.buffer = BytesMut::new();
            }
            return Poll::Pending;
        };
        let count = read?;
        if count >= self.read && self.read < MAX_READ {
            self.read *= 2;
        }
        Poll::Ready(Ok(count))
    }

    /// Nothing more can be had of this connection.
    const fn spoil(&mut self, fault: Fault) -> Fault {
        self.keeps_alive = false;
        fault
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(task) = self.uploading.take() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
