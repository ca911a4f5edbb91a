//! Heads: what each host tells of itself every few seconds, outside the stream, so that a stream
//! that stands still or has lost something hides it from nobody.

use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;

use super::letter::{Head, Token, Word, read, write};
use super::{Agreed, Fleet, PAUSE, connected, link};
use crate::clock;
use crate::model::Time;

/// How often a host tells of itself.
const HEAD_EVERY: Duration = Duration::from_secs(10);
/// Most tokens that are told at once, and how long one waits for others.
const TOKENS_TOGETHER: usize = 1_000;

impl Fleet {
    /// Tells of this host, at intervals and whenever it is connected again.
    pub(super) async fn show_heads(&self, client: &Client) {
        let mut was_connected = false;
        loop {
            let is_connected = link::is_connected(client);
            if is_connected {
                self.show_head(client, !was_connected).await;
            }
            was_connected = is_connected;
            let wait = if is_connected { HEAD_EVERY } else { PAUSE };
            let lost = async {
                while link::is_connected(client) {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            if is_connected {
                let _ = tokio::time::timeout(wait, lost).await;
            } else {
                tokio::time::sleep(wait).await;
            }
        }
    }

    pub(super) async fn show_head(&self, client: &Client, hello: bool) {
        let life = *self.life();
        let Agreed { rules, sources } = *self.agreed.get();
        let polled = &self.settings.polled;
        let polls = polled.iter().filter(|source| self.turns.is_ours(source));
        let head = Head {
            life: life.number,
            at: life.told,
            lag: self.lag(),
            seen: self.seen(),
            clock: clock::now().nanos(),
            rules,
            sources,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            polls: polls.map(ToString::to_string).collect(),
            forwarded: self.forwarded(),
            forgotten: self.ingest.forgotten().digest(),
            hello,
        };
        let subject = self.subject("head", &self.settings.host);
        // Nobody waits for this one; the next comes soon.
        let _ = client.publish(subject, write(&Word::Head(head)).into()).await;
    }

    /// Hears what the others tell of themselves.
    pub(super) async fn hear_heads(&self, client: &Client) {
        loop {
            connected(client).await;
            let subscribed = client.subscribe(self.subject("head", "*")).await;
            let Ok(mut words) = subscribed else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Some(message) = words.next().await {
                let host = message.subject.rsplit('.').next().unwrap_or_default();
                if host == self.settings.host {
                    self.look_for_a_twin(&message.payload);
                    continue;
                }
                match read(&message.payload) {
                    Ok(Word::Head(head)) => self.hear(client, host, head).await,
                    Ok(Word::Tokens(tokens)) => self.tokens.learn(&tokens),
                    Err(error) => self.set_aside(host, &error.to_string()),
                }
            }
        }
    }

    /// What is heard under our own name is our own, unless it is of another life.
    fn look_for_a_twin(&self, payload: &[u8]) {
        let Ok(Word::Head(head)) = read(payload) else { return };
        if head.life != self.life().number {
            self.sight().hear_twin(&self.settings.host, clock::now());
        }
    }

    async fn hear(&self, client: &Client, host: &str, head: Head) {
        self.hear_clock(Time::from_nanos(head.clock, 9));
        let hello = head.hello;
        self.pass(&head);
        self.sight().hear(host, head, clock::now());
        self.heard.notify_waiters();
        self.compare_life().await;
        if hello {
            self.show_head(client, false).await;
        }
    }

    /// What could not be known when this host settled: all others were away.
    async fn compare_life(&self) {
        let life = *self.life();
        let known = self.sight().known_of(&self.settings.host, life.number);
        if life.unsettled.is_none() && self.is_put_back(known) {
            self.begin_again().await;
        }
    }

    /// Tells the others of tokens that were used here.
    pub(super) async fn share_tokens(&self, client: &Client) {
        let mut used = self.tokens.used();
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            // It ends only with the webhooks themselves.
            if used.recv_many(&mut tokens, TOKENS_TOGETHER).await == 0 {
                std::future::pending::<()>().await;
            }
            let word = write(&Word::Tokens(std::mem::take(&mut tokens)));
            if link::is_connected(client) {
                let subject = self.subject("head", &self.settings.host);
                let _ = client.publish(subject, word.into()).await;
            }
        }
    }
}
