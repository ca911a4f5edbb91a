//! The way of a command's replies to its client: a queue that is bounded by their bytes.
//!
//! Each is written out before it waits, so that what a slow client has waiting is what it seems.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Reply;

/// Replies that wait for a slow client before the command waits too, and bytes of them. A longer
/// one waits alone.
const WAITING_MAX: usize = 256;
const BYTES_MAX: usize = 64 << 10;

/// A reply as a line of JSON.
#[derive(Debug)]
pub struct Line {
    /// The line, with its break.
    pub text: Vec<u8>,
    /// How the command ended, if this is its end.
    pub outcome: Option<&'static str>,
    /// Gives its room back when it is dropped.
    _room: Option<OwnedSemaphorePermit>,
}

/// Where replies go. Sending fails when nobody listens any more; then the command ends.
#[derive(Clone, Debug)]
pub struct Replies {
    lines: mpsc::Sender<Line>,
    room: Arc<Semaphore>,
}

/// Where they come out. Dropping it tells the command that nobody listens.
#[derive(Debug)]
pub struct Heard(mpsc::Receiver<Line>);

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct Unheard;

/// A way for the replies of one command.
pub fn replies() -> (Replies, Heard) {
    let (lines, heard) = mpsc::channel(WAITING_MAX);
    (Replies { lines, room: Arc::new(Semaphore::new(BYTES_MAX)) }, Heard(heard))
}

impl Line {
    /// The line of a reply that does not wait.
    pub fn of(reply: &Reply) -> Line {
        #[expect(clippy::expect_used, reason = "texts, numbers and JSON values have a JSON form")]
        let mut text = serde_json::to_vec(reply).expect("a reply has a JSON form");
        text.push(b'\n');
        let outcome = match reply {
            Reply::Done => Some("done"),
            Reply::Failed { .. } => Some("failed"),
            Reply::Heard | Reply::Row { .. } | Reply::Progress { .. } => None,
        };
        Line { text, outcome, _room: None }
    }
}

impl Replies {
    /// Sends a reply, when there is room for it.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub async fn send(&self, reply: Reply) -> Result<(), Unheard> {
        let line = Line::of(&reply);
        drop(reply);
        self.send_line(line).await
    }

    /// Sends a line, when there is room for it.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub async fn send_line(&self, mut line: Line) -> Result<(), Unheard> {
        let bytes = line.text.len().min(BYTES_MAX) as u32;
        let room = tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(bytes) => room.map_err(|_| Unheard)?,
            () = self.lines.closed() => return Err(Unheard),
        };
        line._room = Some(room);
        self.lines.send(line).await.map_err(|_| Unheard)
    }

    /// The same, from a thread that may block.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn blocking_send(&self, reply: Reply) -> Result<(), Unheard> {
        Handle::current().block_on(self.send(reply))
    }

    /// Whether nobody listens any more.
    pub fn is_closed(&self) -> bool {
        self.lines.is_closed()
    }

    /// Waits until nobody listens any more.
    pub async fn closed(&self) {
        self.lines.closed().await;
    }
}

impl Heard {
    /// The next line. `None`: the command has ended without its last reply.
    pub async fn next(&mut self) -> Option<Line> {
        self.0.recv().await
    }

    /// Whether none is ready.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded_by_its_bytes() {
        let (replies, mut heard) = replies();
        let row = || Reply::Row { row: json!("x".repeat(BYTES_MAX / 4)) };
        let mut sent = 0;
        let limit = Duration::from_secs(1);
        while tokio::time::timeout(limit, replies.send(row())).await.is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 3, "with its quotes a fourth is too much");
        heard.next().await.unwrap();
        assert_eq!(replies.send(row()).await, Ok(()));
        drop(heard);
        assert_eq!(replies.send(row()).await, Err(Unheard));
    }

    #[tokio::test]
    async fn a_reply_that_is_too_long_waits_alone() {
        let (replies, mut heard) = replies();
        replies.send(Reply::Row { row: json!("x".repeat(2 * BYTES_MAX)) }).await.unwrap();
        assert!(heard.next().await.unwrap().text.len() > 2 * BYTES_MAX);
        replies.send(Reply::Done).await.unwrap();
        assert_eq!(heard.next().await.unwrap().outcome, Some("done"));
    }
}
