//! A connection as hyper sees it: with a limit for taking answers, and a record of what came.
//!
//! hyper waits for ever for a client that does not read, and tells nobody of a length beside a
//! transfer coding. Never looks into bodies.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::server::HEAD_MAX;
use crate::accept::Place;

/// The bytes of the head of the request that is being read.
///
/// It is not there for a request that came in one piece with the one before it.
#[derive(Default)]
pub(super) struct RawHead(Mutex<Recorded>);

#[derive(Default)]
struct Recorded {
    bytes: Vec<u8>,
    whole: bool,
    /// Whether a request has come on this connection.
    asked: bool,
    /// Whether its answer goes on for as long as the client is there.
    lasts: bool,
}

impl RawHead {
    /// The head that was read; what comes from now on is no part of one.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (recorded.whole, recorded.asked) = (true, true);
        mem::take(&mut recorded.bytes)
    }

    /// Whether nothing has come since the last request, if there was one, was answered.
    pub(super) fn is_empty(&self) -> bool {
        let recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.bytes.is_empty() && !recorded.whole
    }

    /// Whether there was a request.
    pub(super) fn asked(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked
    }

    /// The answer goes on for as long as the client is there, and ends the connection: a client
    /// that has closed its half has gone.
    pub(super) fn lasts(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lasts = true;
    }

    fn is_lasting(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lasts
    }

    /// What comes next is a head.
    pub(super) fn expect(&self) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.bytes.clear();
        recorded.whole = false;
    }

    fn record(&self, bytes: &[u8]) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.whole || recorded.bytes.len() >= HEAD_MAX {
            return;
        }
        // The end may stand across two reads.
        let from = recorded.bytes.len().saturating_sub(3);
        recorded.bytes.extend_from_slice(bytes);
        let fresh = recorded.bytes.get(from..).unwrap_or_default();
        // A blank line ends it. The first is looked for, and nothing behind it.
        let mut lines = fresh.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let end = lines.find_map(|(at, _)| match fresh.get(at + 1..)? {
            [b'\n', ..] => Some(from + at + 2),
            [b'\r', b'\n', ..] => Some(from + at + 3),
            _ => None,
        });
        if let Some(end) = end {
            // What follows may be a body, which says nothing of the head.
            recorded.bytes.truncate(end);
            recorded.whole = true;
        }
    }
}

/// The connection.
pub(super) struct Watched<C> {
    inner: C,
    place: Arc<Place>,
    head: Arc<RawHead>,
    /// Longest wait for a client to take what was written.
    answer_timeout: Duration,
    /// Set from the first byte that the client does not take until it has taken all.
    late: Option<Pin<Box<Sleep>>>,
}

impl<C> Watched<C> {
    pub(super) fn new(
        inner: C,
        place: Arc<Place>,
        head: Arc<RawHead>,
        answer_timeout: Duration,
    ) -> Watched<C> {
        Watched { inner, place, head, answer_timeout, late: None }
    }

    /// Whether a client has gone whose answer would go on for ever. hyper would not notice before
    /// something is written that the client's host refuses.
    fn has_left(&mut self, context: &mut Context<'_>) -> bool
    where
        C: AsyncRead + Unpin,
    {
        let mut bytes = [0; 512];
        loop {
            let mut rest = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.inner).poll_read(context, &mut rest) {
                // No answer would follow this one.
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {}
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
    }

    /// The client does not take what is written.
    fn stuck<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.answer_timeout;
        let late = self.late.get_or_insert_with(|| {
            self.place.owed();
            Box::pin(sleep_until(Instant::now() + limit))
        });
        late.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        if !fresh.is_empty() {
            self.place.begun();
            self.head.record(fresh);
        }
        read
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(context, bytes) {
            Poll::Pending => self.stuck(context),
            ready => ready,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(context, slices) {
            Poll::Pending => self.stuck(context),
            ready => ready,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.head.is_lasting() && self.has_left(context) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        match Pin::new(&mut self.inner).poll_flush(context) {
            Poll::Pending => self.stuck(context),
            ready => {
                if self.late.take().is_some() {
                    self.place.idle();
                }
                ready
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_recorded_to_its_end_however_it_comes() {
        let text = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n";
        for size in 1..=text.len() {
            let head = RawHead::default();
            text.chunks(size).for_each(|part| head.record(part));
            head.record(b"content-length: 1\r\n\r\n");
            assert_eq!(head.take(), text, "{size}");
            let head = RawHead::default();
            head.record(&[&text[..size], b""].concat());
            head.record(&[&text[size..], b"content-length: 1\r\n\r\n"].concat());
            assert_eq!(head.take(), text, "with a body, cut at {size}");
            head.record(b"a body");
            head.expect();
            head.record(b"GET");
            assert_eq!(head.take(), b"GET");
        }
    }
}
