//! Whose turn it is to poll a source, or to forward: a lease of one host, which it renews, and
//! which ends by itself when the host is gone.
//!
//! Only an acknowledged write proves a lease: a server that was cut off goes on answering reads.
//! The holder stops by its own clock before the others' can begin.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::kv::{self, CreateErrorKind, Store, UpdateErrorKind};
use tokio::time::Instant;

use super::{Fleet, Polling, connected, link};
use crate::model::SourceName;
use crate::telemetry;
use crate::turns::Turns;

/// How long a lease lasts.
const TERM: Duration = Duration::from_secs(14);
/// How long before its end its holder stops.
const MARGIN: Duration = Duration::from_secs(1);
/// How often it is renewed, and how often another host tries to get one.
const RENEW_EVERY: Duration = Duration::from_secs(4);

/// The leases that this host has, by key: the revision of each, and when it ends.
type Leases = BTreeMap<String, (u64, Instant)>;

/// What one host does for all.
struct Work<'a> {
    /// The lease's key.
    key: String,
    name: &'a SourceName,
    turns: &'a Turns,
}

impl Fleet {
    /// Takes turns, for as long as this host lives.
    pub(super) async fn elect(&self, client: &Client) {
        let all = self.shared_work();
        if all.is_empty() {
            std::future::pending::<()>().await;
        }
        let context = link::context(client);
        let (mut leases, mut reached, mut is_alone) = (Leases::new(), Instant::now(), false);
        loop {
            let began = Instant::now();
            let round = async {
                connected(client).await;
                let store = self.leases_of(&context).await?;
                for work in &all {
                    self.take_turn(&store, work, &mut leases).await?;
                }
                Ok::<(), String>(())
            };
            match tokio::time::timeout(RENEW_EVERY, round).await {
                Ok(Ok(())) => {
                    reached = Instant::now();
                    self.sight().works("leases");
                }
                Ok(Err(problem)) => self.sight().fails("leases", problem),
                // No answer is none: each lease has its own end.
                Err(_) => {}
            }
            let is_long = reached.elapsed() >= self.settings.alone_after;
            if is_long != is_alone {
                telemetry::fleet::alone(is_long);
                is_alone = is_long;
            }
            if is_alone {
                go_alone(&all);
            }
            tokio::time::sleep_until(began + RENEW_EVERY).await;
        }
    }

    /// The same until there is a connection: there may be none for long.
    pub(super) async fn go_alone_in_the_end(&self) {
        let all = self.shared_work();
        if all.is_empty() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.settings.alone_after).await;
        telemetry::fleet::alone(true);
        loop {
            go_alone(&all);
            tokio::time::sleep(RENEW_EVERY).await;
        }
    }

    /// What this host does if it is its turn.
    fn shared_work(&self) -> Vec<Work<'_>> {
        let polls = self.settings.polled.iter().filter(|_| self.settings.poll == Polling::Elected);
        let poll = |name| Work { key: format!("poll.{name}"), name, turns: &self.turns };
        let turns = &self.tellers.turns;
        let forward = |name| Work { key: format!("forward.{name}"), name, turns };
        polls.map(poll).chain(self.settings.forwards.iter().map(forward)).collect()
    }

    /// The bucket that holds the leases. Its entries end by their age: every server does that.
    async fn leases_of(&self, context: &async_nats::jetstream::Context) -> Result<Store, String> {
        let bucket = &self.settings.stream;
        if let Ok(store) = context.get_key_value(bucket).await {
            return Ok(store);
        }
        let config = kv::Config {
            bucket: bucket.clone(),
            description: "whose turn it is to poll and to forward".to_owned(),
            max_age: TERM,
            num_replicas: self.settings.replicas,
            history: 1,
            ..kv::Config::default()
        };
        context.create_key_value(config).await.map_err(|error| error.to_string())
    }

    /// Renews a lease, or tries to get it.
    async fn take_turn(
        &self,
        store: &Store,
        Work { key, name, turns }: &Work<'_>,
        leases: &mut Leases,
    ) -> Result<(), String> {
        let (value, began) = (self.settings.host.clone(), Instant::now());
        let held = leases.get(key).filter(|(_, end)| began < *end);
        let revision = match held {
            Some((revision, _)) => match store.update(key, value.into(), *revision).await {
                Ok(revision) => revision,
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    leases.remove(key);
                    turns.until(name, began);
                    return Ok(());
                }
                // It may have been renewed, or not: it ends when it would have.
                Err(error) => return Err(error.to_string()),
            },
            None => match store.create(key, value.into()).await {
                Ok(revision) => {
                    telemetry::fleet::has_turn(key);
                    revision
                }
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => return Ok(()),
                Err(error) => return Err(error.to_string()),
            },
        };
        let end = began + TERM - MARGIN;
        leases.insert(key.clone(), (revision, end));
        turns.until(name, end);
        Ok(())
    }

    /// Gives all turns back, so that another host has them at once.
    pub(super) async fn leave(&self, client: &Client) {
        if !link::is_connected(client) {
            return;
        }
        let context = link::context(client);
        let give_back = async {
            let Ok(store) = context.get_key_value(&self.settings.stream).await else { return };
            let all = self.shared_work();
            for Work { key, .. } in all.into_iter().filter(|work| work.turns.is_ours(work.name)) {
                let entry = store.entry(&key).await.ok().flatten();
                let ours = entry.filter(|entry| entry.value == self.settings.host.as_bytes());
                if let Some(entry) = ours {
                    let _ = store.delete_expect_revision(&key, Some(entry.revision)).await;
                }
            }
        };
        let _ = tokio::time::timeout(MARGIN, give_back).await;
    }
}

fn go_alone(all: &[Work<'_>]) {
    let end = Instant::now() + 2 * RENEW_EVERY;
    all.iter().for_each(|work| work.turns.until(work.name, end));
}
