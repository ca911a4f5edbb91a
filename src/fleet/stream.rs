//! Reading the stream on from where it was read up to.
//!
//! A number in the stream is no place by itself: a stream that was made again, or put back to an
//! older one, counts anew without a word. So when it was made, and that it reaches as far as it was
//! read, is compared at each connection and every few seconds; else it is read from its start.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::{Info, Stream};
use futures_util::StreamExt;

use super::hand_in::{Came, Parts};
use super::letter::read;
use super::{Fleet, PAUSE, connected, link};
use crate::model::{Known, StreamPlace};
use crate::telemetry;

/// How often the stream is compared with what was noted of it.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// Most messages that are handed in at once.
const TOGETHER: usize = 256;
/// After so many messages that brought nothing new, how far the stream is read is noted anyway.
const NOTE_AFTER: u64 = 20_000;

/// What is noted while the stream is read.
#[derive(Default)]
struct Reading {
    place: Option<StreamPlace>,
    /// What the store has.
    noted: Option<StreamPlace>,
    /// How many messages are in the stream behind the place, and the place, when that was compared
    /// last.
    before: Option<(u64, u64)>,
    parts: Parts,
}

impl Fleet {
    /// Takes what comes by the stream, for as long as this host lives.
    pub(super) async fn follow(&self, client: &Client) {
        let place = self.reader.stream_place().ok().flatten();
        let mut reading = Reading { place, noted: place, ..Reading::default() };
        loop {
            connected(client).await;
            let problem = self.follow_stream(client, &mut reading).await;
            self.sight().fails("stream", problem);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads until something is wrong; says what.
    async fn follow_stream(&self, client: &Client, reading: &mut Reading) -> String {
        match self.read_stream(client, reading).await {
            Ok(()) => "it has ended".to_owned(),
            Err(problem) => problem,
        }
    }

    async fn read_stream(&self, client: &Client, reading: &mut Reading) -> Result<(), String> {
        let stream = self.stream(&link::context(client)).await?;
        let info = stream.get_info().await.map_err(|error| error.to_string())?;
        let created = made_at(&info);
        let start = self.starting_at(&info, reading.place, &stream).await?;
        if start == 1 {
            reading.place = None;
        }
        let config = pull::OrderedConfig {
            filter_subject: self.subject("facts", "*"),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start },
            ..pull::OrderedConfig::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| error.to_string())?;
        let messages = consumer.messages().await.map_err(|error| error.to_string())?;
        let mut chunks = messages.ready_chunks(TOGETHER);
        let mut compare = tokio::time::interval(COMPARE_EVERY);
        reading.before = None;
        self.sight().works("stream");
        loop {
            tokio::select! {
                chunk = chunks.next() => {
                    let Some(chunk) = chunk else { return Ok(()) };
                    self.take(chunk, created, reading).await?;
                }
                _ = compare.tick() => self.compare(&stream, created, reading).await?,
            }
        }
    }

    /// The first message to ask for.
    async fn starting_at(
        &self,
        info: &Info,
        place: Option<StreamPlace>,
        stream: &Stream,
    ) -> Result<u64, String> {
        let Some(place) = place else { return Ok(1) };
        let fits = |info: &Info| {
            made_at(info) == place.created && info.state.last_sequence >= place.sequence
        };
        if fits(info) {
            return Ok(place.sequence + 1);
        }
        // A server that was a leader may not know yet that it is none.
        tokio::time::sleep(2 * PAUSE).await;
        let info = stream.get_info().await.map_err(|error| error.to_string())?;
        if fits(&info) {
            return Ok(place.sequence + 1);
        }
        telemetry::fleet::stream_is_another(&self.settings.stream);
        Ok(1)
    }

    /// Hands in messages, and notes how far the stream is read.
    async fn take<E: ToString>(
        &self,
        chunk: Vec<Result<Message, E>>,
        created: i64,
        reading: &mut Reading,
    ) -> Result<(), String> {
        let (mut came, mut last, mut ended) = (Vec::new(), None, Ok(()));
        for message in chunk {
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    ended = Err(error.to_string());
                    break;
                }
            };
            let Ok(info) = message.info() else { continue };
            let place = StreamPlace { created, sequence: info.stream_sequence };
            last = Some(place);
            let host = message.subject.rsplit('.').next().unwrap_or_default();
            match read(&message.payload) {
                Ok(letter) => came.push(Came { host: host.into(), letter, place: Some(place) }),
                Err(error) => self.set_aside(host, &error.to_string()),
            }
        }
        let records = self.hand_in(came, &mut reading.parts).await;
        let Some(place) = last else { return ended };
        reading.place = Some(place);
        if records > 0 {
            reading.noted = Some(place);
        }
        let noted = reading.noted.filter(|noted| noted.created == created);
        if place.sequence - noted.map_or(0, |noted| noted.sequence).min(place.sequence) > NOTE_AFTER
        {
            self.adopt(Vec::<Known>::new(), Some(place)).await;
            reading.noted = Some(place);
        }
        ended
    }

    /// Compares the stream with what was noted of it.
    async fn compare(
        &self,
        stream: &Stream,
        created: i64,
        reading: &mut Reading,
    ) -> Result<(), String> {
        let info = stream.get_info().await.map_err(|error| error.to_string())?;
        if made_at(&info) != created {
            return Err("it was made again".to_owned());
        }
        let last = info.state.last_sequence;
        let place = reading.place.filter(|place| place.created == created);
        let place = place.map_or(0, |place| place.sequence);
        if last < place {
            return Err("it ends before what was read of it".to_owned());
        }
        self.sight().stream = Some((last, last - place));
        let before = reading.before.replace((last, place));
        // Messages that stand in it and do not come: the consumer has stalled.
        if before.is_some_and(|(last, before)| {
            before == place && last > place && info.state.messages > 0
        }) {
            return Err("what is in it does not come".to_owned());
        }
        Ok(())
    }
}

/// When a stream was made, in nanoseconds since 1970.
fn made_at(info: &Info) -> i64 {
    i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or_default()
}
