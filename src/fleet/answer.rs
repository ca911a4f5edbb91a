//! Answering what other hosts ask for.

use std::sync::Arc;

use async_nats::{Client, Message};
use futures_util::StreamExt;
use tokio::sync::Semaphore;

use super::ask::Repair;
use super::digest::{self, Buckets};
use super::letter::{Answer, Ask, read, write};
use super::read::{ReadError, copies_page, own_page};
use super::{Fleet, PAUSE, connected};
use crate::clock;

/// The header that says who asks.
pub(super) const ASKER: &str = "Suppressd-Host";
/// Most questions that are worked on at once. Others wait.
const TOGETHER: usize = 2;

impl Fleet {
    /// Answers questions, for as long as this host lives.
    pub(super) async fn answer_all(self: &Arc<Self>, client: &Client) {
        let places = Arc::new(Semaphore::new(TOGETHER));
        loop {
            connected(client).await;
            let subject = self.subject("ask", &self.settings.host);
            let Ok(mut questions) = client.subscribe(subject).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Some(question) = questions.next().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let (fleet, client) = (Arc::clone(self), client.clone());
                tokio::spawn(async move {
                    fleet.answer(&client, question).await;
                    drop(place);
                });
            }
        }
    }

    async fn answer(self: Arc<Self>, client: &Client, question: Message) {
        let Some(reply) = question.reply.clone() else { return };
        let asker = question.headers.as_ref().and_then(|headers| headers.get(ASKER));
        let asker = asker.map(|asker| asker.as_str().into());
        // What we say that we know may not be applied yet.
        self.ingest.level().await;
        let fleet = Arc::clone(&self);
        let answer = match read(&question.payload) {
            Ok(Ask::Repair { buckets }) => fleet.begin_repair(asker, Buckets(buckets)),
            Ok(Ask::Forget { addresses, keys }) => fleet.forget_here(addresses, keys).await,
            Ok(ask) => tokio::task::spawn_blocking(move || fleet.look_up(ask))
                .await
                .unwrap_or_else(|error| Answer::Cannot(error.to_string())),
            Err(error) => Answer::Cannot(error.to_string()),
        };
        // Who asked may be gone, and asks again otherwise.
        let _ = client.publish(reply, write(&answer).into()).await;
    }

    fn begin_repair(&self, asker: Option<Box<str>>, buckets: Buckets) -> Answer {
        let Some(asker) = asker else { return Answer::Cannot("who asks?".to_owned()) };
        match self.repairs.try_send(Repair { from: Some((asker, buckets)) }) {
            Ok(()) => Answer::Begun,
            Err(_) => Answer::Cannot("too much is to be repaired at once".to_owned()),
        }
    }

    fn look_up(&self, ask: Ask) -> Answer {
        let ours = *self.life();
        let found = match ask {
            Ask::Records { host, life, from, upto, on } if self.is_us(&host, life) => {
                own_page(&self.reader, ours, (from, upto), on, self.ingest.committed())
                    .map(|(letters, on)| Answer::Records { letters, on })
            }
            Ask::Records { host, life, from, upto, on } => {
                copies_page(&self.reader, (&host, life), (from, upto), on)
                    .map(|(letters, on)| Answer::Records { letters, on })
            }
            Ask::Digests => {
                digest::of_all(&self.reader).map(Answer::Digests).map_err(ReadError::from)
            }
            Ask::Standings { after, buckets } => self.standings(&after, Buckets(buckets)),
            Ask::Forgotten { after } => Ok(self.who_is_forgotten(&after)),
            Ask::Repair { .. } | Ask::Forget { .. } => Ok(Answer::Begun),
        };
        found.unwrap_or_else(|error| Answer::Cannot(error.to_string()))
    }

    /// A page of standings. What was known of others is noted before any is looked at.
    fn standings(&self, after: &str, buckets: Buckets) -> Result<Answer, ReadError> {
        let seen = self.applied_and_seen()?;
        let (elements, on) = digest::page(&self.reader, after, buckets)?;
        let (crc, latest) = (digest::checksum(&elements), clock::latest().nanos());
        Ok(Answer::Standings { elements, crc, on, seen, latest })
    }

    /// How much of every life is known, and applied. Of our own only what is applied counts.
    fn applied_and_seen(&self) -> Result<Vec<crate::model::Known>, ReadError> {
        let applied = self.reader.totals()?.applied;
        let mut seen: Vec<crate::model::Known> = self
            .reader
            .reaches()?
            .into_iter()
            .map(|(host, life, reach)| crate::model::Known { host, life, upto: reach.upto() })
            .collect();
        let life = *self.life();
        // The store may be behind what was told; then a record of it is asked for again.
        let upto = if life.told < applied { life.told } else { life.root };
        let host = self.settings.host.as_str().into();
        seen.push(crate::model::Known { host, life: life.number, upto });
        Ok(seen)
    }
}
