//! Parts of the daemon that are stopped in one step.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::stop::Part;
use crate::telemetry;

/// Parts, in the order in which they were started.
#[derive(Default)]
pub(super) struct Group(Vec<Part>);

impl Group {
    /// Adds parts.
    pub(super) fn add(&mut self, parts: impl IntoIterator<Item = Part>) {
        self.0.extend(parts);
    }

    /// Stops all of them, as [`Group::end_those`] does.
    pub(super) async fn end(&mut self, limit: Duration) {
        self.end_those(limit, |_| true).await;
    }

    /// Stops those whose name is among these, and waits until they have ended. What does not within
    /// `limit` is named and left behind. Dropping the future leaves them where they can be awaited
    /// again.
    pub(super) async fn end_those(&mut self, limit: Duration, ends: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + limit;
        let those = |part: &&mut Part| ends(part.name());
        self.0.iter_mut().filter(those).for_each(|part| part.stop());
        for part in self.0.iter_mut().filter(those) {
            if timeout_at(deadline, part.ended()).await.is_err() {
                telemetry::health::straggler(part.name());
                part.abort();
            }
        }
        self.0.retain(|part| !ends(part.name()));
    }

    /// The name of one that has ended.
    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<String> {
        for part in &mut self.0 {
            if part.poll_ended(context).is_ready() {
                return Poll::Ready(part.name().to_owned());
            }
        }
        Poll::Pending
    }
}
