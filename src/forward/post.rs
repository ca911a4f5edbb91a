//! Telling by requests: each message until it is taken, those of one address in their order.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use tokio::task::JoinSet;
use url::Url;

use super::wire::Message;
use crate::clock;
use crate::fetch::{FetchError, Fetcher};
use crate::provider::{Method, PageRequest};
use crate::secret::Secret;

/// Requests that are under way at once. Those of one address are all in one lane.
const LANES: u64 = 16;
/// Longest wait for an answer, as the standard recommends.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Waits after failures: the first, doubled by each further one, and the longest.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest that a receiver is believed to want: one that says more has most likely a fault, and may
/// be well again before.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Who takes messages.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) url: Url,
    pub(super) keys: Vec<Secret>,
    pub(super) fetcher: Fetcher,
}

/// Why a message was not taken.
pub(super) struct Untaken {
    pub(super) why: String,
    pub(super) retry_after: Option<Duration>,
}

/// What a lane tells of its messages, as it goes on.
pub(super) enum Outcome {
    /// One was taken.
    Taken,
    /// One was not, and is told again.
    Failed(String),
}

impl Post {
    /// Tells all messages, those of an address one behind the other, each as often as it takes.
    /// Dropping it ends it: what was not taken is for the next time.
    pub(super) async fn tell(
        &self,
        messages: Vec<Message>,
        outcome: impl Fn(Outcome) + Clone + Send + Sync + 'static,
    ) {
        let mut lanes: BTreeMap<u64, Vec<Message>> = BTreeMap::new();
        for message in messages {
            let mut hasher = DefaultHasher::new();
            message.about.hash(&mut hasher);
            lanes.entry(hasher.finish() % LANES).or_default().push(message);
        }
        let mut running = JoinSet::new();
        for lane in lanes.into_values() {
            let (post, outcome) = (self.clone(), outcome.clone());
            running.spawn(async move {
                for message in lane {
                    post.insist(&message, &outcome).await;
                }
            });
        }
        while running.join_next().await.is_some() {}
    }

    async fn insist(&self, message: &Message, outcome: &(impl Fn(Outcome) + Sync)) {
        let mut failures = 0;
        while let Err(Untaken { why, retry_after }) = self.try_once(message).await {
            outcome(Outcome::Failed(why));
            tokio::time::sleep(wait(failures, retry_after)).await;
            failures += 1;
        }
        outcome(Outcome::Taken);
    }

    async fn try_once(&self, message: &Message) -> Result<(), Untaken> {
        let second = clock::now().second();
        let header = |name: &'static str, value: String| (name.into(), Secret::new(value));
        let request = PageRequest {
            method: Method::Post,
            url: self.url.clone(),
            headers: vec![
                header("webhook-id", message.id.clone()),
                header("webhook-timestamp", second.to_string()),
                header("webhook-signature", message.signature(&self.keys, second)),
            ],
            body: Some(("application/json", Secret::new(message.body.clone()))),
        };
        match self.fetcher.told(&request, ANSWER_TIMEOUT).await {
            Ok((200..=299, _)) => Ok(()),
            Ok((status, retry_after)) => {
                Err(Untaken { why: format!("it answered {status}"), retry_after })
            }
            Err(error) => Err(Untaken { why: words(&error), retry_after: None }),
        }
    }
}

fn words(error: &FetchError) -> String {
    error.to_string()
}

fn wait(failures: u32, retry_after: Option<Duration>) -> Duration {
    let doubled = WAIT_MIN.saturating_mul(1 << failures.min(16)).min(WAIT_MAX);
    doubled.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_obey() {
        let seconds = Duration::from_secs;
        for (failures, retry_after, waited) in [
            (0, None, 1),
            (3, None, 8),
            (99, None, 300),
            (0, Some(60), 60),
            (9, Some(60), 300),
            (0, Some(900), 900),
            (0, Some(999_999), 3_600),
        ] {
            assert_eq!(wait(failures, retry_after.map(seconds)), seconds(waited), "{failures}");
        }
    }
}
