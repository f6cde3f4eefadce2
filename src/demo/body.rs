//! The body of an answer in the wing: bytes at hand, or a stream that a task feeds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc;

/// The feeding end of a streamed body. An `Err` cuts the connection in the middle of the body.
pub(crate) type Feed = mpsc::Sender<io::Result<Bytes>>;

/// The body of an answer.
pub(crate) enum Body {
    /// Bytes at hand.
    Full(Full<Bytes>),
    /// Pieces as they come; ends when its feed is dropped.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    /// A body of these bytes.
    pub(crate) fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Full::new(bytes.into()))
    }

    /// A body and the end that feeds it; a few pieces at most wait in between, so that a slow reader slows the feed.
    pub(crate) fn stream() -> (Feed, Self) {
        let (feed, pieces) = mpsc::channel(4);
        (feed, Self::Stream(pieces))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full(full) => Pin::new(full).poll_frame(context).map_err(|never| match never {}),
            Self::Stream(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.is_end_stream(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => full.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
