//! What an answer holds: a whole text, or lines as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of an answer.
#[derive(Debug)]
pub enum Content {
    /// All of it, until it was taken.
    Whole(Option<Bytes>),
    /// Its parts, as they come; it ends with their sender, or with its reader, and the connection
    /// with it.
    Stream(mpsc::Receiver<Bytes>),
}

impl From<Bytes> for Content {
    fn from(text: Bytes) -> Content {
        Content::Whole((!text.is_empty()).then_some(text))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = match &mut *self {
            Content::Whole(text) => text.take(),
            Content::Stream(parts) => ready!(parts.poll_recv(context)),
        };
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
