//! Out: what this host was told itself is told to all, in its order, from a durable place on.
//!
//! Nothing is sent while there is no connection, and no place moves before the servers have
//! acknowledged all before it. Sent twice is taken once: by the servers by its id, and by the
//! others by its place.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::{Client, HeaderMap, header};
use tokio::time::Instant;

use super::letter::{Letter, write};
use super::{Fleet, PAUSE, connected, link, read};
use crate::model::Position;
use crate::telemetry;

/// How long others have, once we are connected, to say what they know of us.
const SETTLE: Duration = Duration::from_secs(2);
/// How often it is looked for something to tell that nobody has woken us for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the place is noted on disk. What was told since is told again after a crash.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// The least time from one batch to the next: under load each group that is committed would else be
/// a message of its own, which costs more than what is in it.
const PACE: Duration = Duration::from_millis(10);
/// Room in a message for what stands around the records.
const AROUND: usize = 8 << 10;

impl Fleet {
    /// Tells the others, for as long as this host lives.
    pub(super) async fn tell(&self, client: &Client) {
        let context = link::context(client);
        self.settle(client, &context).await;
        let mut durable = self.ingest.durable();
        let mut noted = Instant::now();
        loop {
            connected(client).await;
            let begun = Instant::now();
            match self.tell_some(client, &context).await {
                Ok(true) => {
                    self.sight().works("telling");
                    tokio::time::sleep_until(begun + PACE).await;
                }
                Ok(false) => {
                    self.sight().works("telling");
                    let more = tokio::time::timeout(LOOK_EVERY, durable.changed()).await;
                    if matches!(more, Ok(Err(_))) {
                        // Nothing comes any more: it is stopping.
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                }
                Err(problem) => {
                    self.sight().fails("telling", problem);
                    tokio::time::sleep(PAUSE).await;
                    if let Err(problem) = self.stream(&context).await {
                        self.sight().fails("telling", problem);
                    }
                }
            }
            self.note_lag();
            if noted.elapsed() >= NOTE_EVERY {
                self.note_life();
                noted = Instant::now();
            }
        }
    }

    /// Before anything is told, finds out whether others know of more in this life than there is:
    /// then the state directory is an older one that was put back.
    async fn settle(&self, client: &Client, context: &Context) {
        loop {
            connected(client).await;
            match self.told_by_stream(context).await {
                Ok(last) => {
                    tokio::time::sleep(SETTLE).await;
                    let life = self.life().number;
                    let by_heads = self.sight().known_of(&self.settings.host, life);
                    if self.is_put_back(last.max(by_heads)) {
                        self.begin_again().await;
                    }
                    self.life().unsettled = None;
                    return self.note_life();
                }
                Err(problem) => self.sight().fails("telling", problem),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The last record of this life that the stream has.
    async fn told_by_stream(&self, context: &Context) -> Result<Option<Position>, String> {
        let stream = self.stream(context).await?;
        let subject = self.subject("facts", &self.settings.host);
        let Ok(last) = stream.get_last_raw_message_by_subject(&subject).await else {
            return Ok(None);
        };
        let letter: Option<Letter> = super::letter::read(&last.payload).ok();
        let letter = letter.filter(|letter| letter.life == self.life().number);
        Ok(letter.and_then(|letter| letter.items.last().map(|item| item.at)))
    }

    /// Tells what there is, as far as one batch goes; says whether there was anything.
    async fn tell_some(&self, client: &Client, context: &Context) -> Result<bool, String> {
        let (life, end) = (*self.life(), self.ingest.committed());
        if life.read >= end {
            return Ok(false);
        }
        let limit = link::MESSAGE_BYTES_MAX as usize;
        let most = client.max_payload().min(limit).saturating_sub(AROUND).max(AROUND);
        let reader = self.reader.clone();
        let batch = tokio::task::spawn_blocking(move || read::own(&reader, life, end, most));
        let batch = batch.await.map_err(|error| error.to_string())?;
        let batch = batch.map_err(|error| error.to_string())?;
        let mut sent = Vec::with_capacity(batch.letters.len());
        for (letter, whole) in batch.letters {
            if let Some(at) = whole {
                *self.sent() = at;
            }
            sent.push((self.send(context, &letter).await?, whole, letter.items.len()));
        }
        for (acknowledged, whole, records) in sent {
            acknowledged.await.map_err(|error| error.to_string())?;
            if let Some(at) = whole {
                let mut life_now = self.life();
                if life_now.number != life.number {
                    return Ok(true);
                }
                life_now.told = at;
                telemetry::fleet::told(records);
            }
        }
        let mut life_now = self.life();
        if life_now.number == life.number {
            life_now.read = batch.read;
        }
        Ok(true)
    }

    async fn send(
        &self,
        context: &Context,
        letter: &Letter,
    ) -> Result<async_nats::jetstream::context::PublishAckFuture, String> {
        let host = &self.settings.host;
        let last = letter.items.last().map_or((0, 0), |item| (item.at.as_u64(), item.part));
        let id = format!("{host}.{:016x}.{}.{}", letter.life, last.0, last.1);
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, id.as_str());
        headers.insert(header::NATS_EXPECTED_STREAM, self.settings.stream.as_str());
        let subject = self.subject("facts", host);
        let sent = context.publish_with_headers(subject, headers, write(letter).into()).await;
        sent.map_err(|error| error.to_string())
    }

    /// How many bytes of the journal are still to be looked through.
    pub(super) fn lag(&self) -> u64 {
        let (read, end) = (self.life().read, self.ingest.committed());
        if read >= end { 0 } else { self.reader.journal_bytes(read, end).unwrap_or(0) }
    }

    fn note_lag(&self) {
        telemetry::fleet::lag(self.lag());
    }
}
