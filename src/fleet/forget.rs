//! Forgetting people on all hosts: who is told to, tells the others, beside the stream, which would
//! keep the address for a week.
//!
//! Whom a host has forgotten the others learn of by a hash, also those that were away, or are new;
//! each then erases who of these is known there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use tokio::sync::{mpsc, oneshot};

use super::letter::{Answer, Ask};
use super::{Fleet, Handle, PAUSE, connected, link};
use crate::clock;
use crate::forgotten::{Key, Shared};

/// How often it is looked whether others have forgotten more.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most addresses that are erased at once.
const TOGETHER: usize = 1_000;

/// Addresses that another host wants forgotten here.
pub struct Wish {
    /// The addresses.
    pub addresses: Vec<String>,
    /// Told once they will be erased, whatever happens to this process; or why not.
    pub begun: oneshot::Sender<Result<(), String>>,
}

/// The way of wishes to who can fulfil them.
pub(super) struct Wishes {
    sender: mpsc::Sender<Wish>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Wish>>,
}

impl Wishes {
    pub(super) fn new() -> Wishes {
        let (sender, receiver) = mpsc::channel(1);
        Wishes { sender, receiver: tokio::sync::Mutex::new(receiver) }
    }
}

impl Fleet {
    /// Has addresses forgotten here that another host has forgotten, by its keys if we have none.
    pub(super) async fn forget_here(&self, addresses: Vec<String>, keys: Vec<Key>) -> Answer {
        let learned = self.learn(keys, Vec::new()).await;
        let begun = match learned {
            Ok(_) => self.forget_all(addresses).await,
            Err(problem) => Err(problem),
        };
        begun.map_or_else(Answer::Cannot, |()| Answer::Begun)
    }

    async fn forget_all(&self, addresses: Vec<String>) -> Result<(), String> {
        let (begun, done) = oneshot::channel();
        let stopping = || "it is stopping".to_owned();
        // Who asks has a limit of its own.
        let sent = self.wishes.sender.send(Wish { addresses, begun }).await;
        sent.map_err(|_| stopping())?;
        done.await.map_err(|_| stopping())?
    }

    /// Those whom this host has forgotten, behind a hash.
    pub(super) fn who_is_forgotten(&self, after: &Key) -> Answer {
        match self.ingest.forgotten().shared(after) {
            Ok(Shared { keys, lines, on }) => Answer::Forgotten { keys, lines, on },
            Err(error) => Answer::Cannot(error.to_string()),
        }
    }

    /// Learns whom the others have forgotten, for as long as this host lives.
    pub(super) async fn learn_forgotten(&self, client: &Client) {
        // A crash may have come between learning of somebody and erasing them.
        let mut is_new = self.ingest.forgotten().count() > 0;
        let mut learned: BTreeMap<Box<str>, u64> = BTreeMap::new();
        loop {
            connected(client).await;
            for (host, digest) in self.who_has_forgotten() {
                if learned.get(&host) == Some(&digest) {
                    continue;
                }
                match self.learn_from(client, &host).await {
                    Ok(new) => {
                        is_new |= new > 0;
                        learned.insert(host, digest);
                    }
                    Err(problem) => {
                        self.sight().fails("forgotten", format!("{host}: {problem}"));
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            if is_new {
                match self.erase_learned().await {
                    Ok(()) => is_new = false,
                    Err(problem) => self.sight().fails("forgotten", problem),
                }
            } else {
                self.sight().works("forgotten");
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.heard.notified()).await;
        }
    }

    /// The hosts that have forgotten others than this one, each with the digest of these.
    fn who_has_forgotten(&self) -> Vec<(Box<str>, u64)> {
        let ours = self.ingest.forgotten().digest();
        let sight = self.sight();
        let living = sight.living(clock::now()).map(|(host, head)| (host.into(), head.forgotten));
        living.filter(|(_, theirs)| *theirs != ours).collect()
    }

    async fn learn_from(&self, client: &Client, host: &str) -> Result<usize, String> {
        let (mut after, mut new) = (Key::default(), 0);
        loop {
            let (keys, lines, on) = match self.ask(client, host, &Ask::Forgotten { after }).await? {
                Answer::Forgotten { keys, lines, on } => (keys, lines, on),
                other => return Err(super::ask::unexpected(other)),
            };
            new += self.learn(keys, lines).await?;
            match on {
                Some(on) if on > after => after = on,
                Some(_) => return Err("it goes in circles".to_owned()),
                None => return Ok(new),
            }
        }
    }

    async fn learn(&self, keys: Vec<Key>, lines: Vec<String>) -> Result<usize, String> {
        let forgotten = Arc::clone(self.ingest.forgotten());
        let learn = move || forgotten.learn(&keys, &lines);
        let learned = tokio::task::spawn_blocking(learn).await.map_err(|it| it.to_string())?;
        learned.map_err(|error| error.to_string())
    }

    /// Erases whoever is forgotten, and of whom something stands here all the same.
    async fn erase_learned(&self) -> Result<(), String> {
        // What is told from now on of somebody who is forgotten is not kept.
        self.ingest.level().await;
        let (forgotten, reader) = (Arc::clone(self.ingest.forgotten()), self.reader.clone());
        let look = move || {
            let mut found: Vec<String> = Vec::new();
            reader.visit_standings(&mut |address, _, _| {
                let is_last = found.last().is_some_and(|last| last == address);
                if !is_last && forgotten.has(address) && !forgotten.is_everywhere(address) {
                    found.push(address.to_owned());
                }
                Ok(())
            })?;
            Ok::<_, crate::store::StoreError>(found)
        };
        let found = tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string())?;
        for some in found.map_err(|error| error.to_string())?.chunks(TOGETHER) {
            self.forget_all(some.to_vec()).await?;
        }
        Ok(())
    }
}

impl Handle {
    /// The next addresses that another host wants forgotten here.
    pub async fn to_forget(&self) -> Option<Wish> {
        self.0.wishes.receiver.lock().await.recv().await
    }

    /// Has all other hosts forget addresses: each host, with why it does not, if so.
    pub async fn forget(&self, addresses: &[String]) -> Vec<(String, Option<String>)> {
        let Handle(fleet) = self;
        let (now, mut told) = (clock::now(), Vec::new());
        let hosts = fleet.sight().known(now);
        for (host, lives) in hosts {
            let problem = match fleet.client.get().filter(|client| link::is_connected(client)) {
                None => Some("there is no connection".to_owned()),
                Some(_) if !lives => Some("nothing is heard of it".to_owned()),
                Some(client) => {
                    let (addresses, keys) = (addresses.to_vec(), fleet.ingest.forgotten().keys());
                    match fleet.ask(client, &host, &Ask::Forget { addresses, keys }).await {
                        Ok(Answer::Begun) => None,
                        Ok(other) => Some(super::ask::unexpected(other)),
                        Err(problem) => Some(problem),
                    }
                }
            };
            told.push((host.into(), problem));
        }
        told
    }
}
