//! In: what other hosts were told goes through `Ingest`, as a copy that says whose record it is.
//!
//! What is known already is left out; what is no letter of ours, or damaged, is set aside and
//! told, and what follows goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Fleet;
use super::letter::{Item, Letter, PARTS_MAX};
use crate::clock;
use crate::ingest::{Handed, Refused};
use crate::model::{
    Element, Known, Payload, Peer, Position, SourceName, StreamPlace, Submission, Time,
};
use crate::provider::{OWN, Reached, reached_element};
use crate::telemetry;

/// Most bytes of records that wait for their other parts.
const PARTS_BYTES: usize = 64 << 20;
/// How long is waited when intake is full.
const FULL: Duration = Duration::from_millis(200);

/// What is heard is noted with so much room, so that it need not be noted often.
const HEARD_ROOM: Duration = Duration::from_secs(10);

/// What came of a host, to be handed in.
pub(super) struct Came {
    pub(super) host: Box<str>,
    pub(super) letter: Letter,
    /// The message of the stream that it came with.
    pub(super) place: Option<StreamPlace>,
}

/// The parts of a record, as far as they are there.
type Pieces = Vec<Option<Vec<u8>>>;

/// Records of which parts are there.
#[derive(Default)]
pub(super) struct Parts {
    waiting: BTreeMap<(Box<str>, u64, Position), Pieces>,
    bytes: usize,
}

/// A record that was handed in.
struct Pending {
    peer: Peer,
    source: SourceName,
    payload: Vec<u8>,
    handed: Result<Handed, Refused>,
}

impl Parts {
    /// Adds a part; gives the whole record once all are there.
    fn add(&mut self, host: &str, life: u64, item: Item) -> Option<Vec<u8>> {
        if item.parts <= 1 {
            return Some(item.body);
        }
        if item.parts > PARTS_MAX || item.part >= item.parts {
            return None;
        }
        let key = (Box::from(host), life, item.at);
        let parts =
            self.waiting.entry(key.clone()).or_insert_with(|| vec![None; item.parts.into()]);
        let slot = parts.get_mut(usize::from(item.part))?;
        self.bytes += item.body.len();
        self.bytes -= slot.replace(item.body).map_or(0, |before| before.len());
        if parts.iter().all(Option::is_some) {
            let whole: Vec<u8> =
                self.waiting.remove(&key)?.into_iter().flatten().flatten().collect();
            self.bytes -= whole.len();
            return Some(whole);
        }
        while self.bytes > PARTS_BYTES {
            // It is a hole then, and asked for.
            let (_, parts) = self.waiting.pop_first()?;
            self.bytes -= parts.iter().flatten().map(Vec::len).sum::<usize>();
        }
        None
    }
}

impl Fleet {
    /// Hands in what came, and waits until all that was new of it is durable. Says how many
    /// records that were.
    pub(super) async fn hand_in(&self, all: Vec<Came>, parts: &mut Parts) -> usize {
        let (mut pending, mut records) = (Vec::new(), 0);
        for Came { host, letter, place } in all {
            let Letter { life, mut before, items } = letter;
            if self.is_us(&host, life) {
                continue;
            }
            for item in items {
                let (at, crc, is_last) = (item.at, item.crc, item.part + 1 >= item.parts);
                let known = self.reaches().get(&(host.clone(), life)).is_some_and(|r| r.has(at));
                let record = if known { None } else { parts.add(&host, life, item) };
                let from = before;
                if is_last {
                    before = at;
                }
                let Some(record) = record else { continue };
                let peer = Peer { host: host.clone(), life, before: from, at, place };
                match copy_of(&peer, &record, crc) {
                    Ok(copy) => {
                        let (source, told) = (copy.head().source.clone(), copy.head().received_at);
                        self.hear_clock(told);
                        let begun = self.begin_in(peer, source, copy.into_bytes());
                        let is_full = begun.handed.is_err();
                        pending.push(begun);
                        if is_full {
                            records += self.all_durable(&mut pending).await;
                        }
                    }
                    Err(problem) => self.set_aside(&host, &problem),
                }
            }
        }
        records + self.all_durable(&mut pending).await
    }

    /// Waits until all that was handed in is durable; says how many records that were.
    async fn all_durable(&self, pending: &mut Vec<Pending>) -> usize {
        let records = pending.len();
        for waiting in pending.drain(..) {
            self.make_durable(waiting).await;
        }
        records
    }

    /// Hears at what time another host was told something, or what its clock shows. Where that is
    /// ahead of ours it is noted first, so that what is told after a crash is dated behind it.
    pub(super) fn hear_clock(&self, told: Time) {
        let is_noted = !clock::outlasts_a_start(told) || told <= self.life().heard;
        if !is_noted {
            self.life().heard = told.plus(HEARD_ROOM);
            self.note_life();
        }
        clock::hear(told);
    }

    fn begin_in(&self, peer: Peer, source: SourceName, payload: Vec<u8>) -> Pending {
        let handed = self.try_in(&source, &payload);
        Pending { peer, source, payload, handed }
    }

    fn try_in(&self, source: &SourceName, payload: &[u8]) -> Result<Handed, Refused> {
        let share = self.ingest.room().take(payload.len());
        let share = share.map_err(|_| Refused::Full { retry_after: FULL })?;
        self.ingest.hand_in(source, payload.to_vec(), share)
    }

    /// Tries until it is durable. Intake that is full, or a full disk, is waited for: the stream
    /// keeps what comes meanwhile.
    async fn make_durable(&self, Pending { peer, source, payload, mut handed }: Pending) {
        // What was handed in before it is durable by now, which may have made the room.
        let mut pause = Duration::ZERO;
        loop {
            let done = match handed {
                Ok(handed) => handed.durable().await.map(drop),
                Err(refused) => Err(refused),
            };
            match done {
                Ok(()) => break,
                Err(Refused::TooLarge) => {
                    self.set_aside(&peer.host, "a record is too large");
                    break;
                }
                Err(_) => tokio::time::sleep(std::mem::replace(&mut pause, FULL)).await,
            }
            handed = self.try_in(&source, &payload);
        }
        if peer.is_of_no_record() {
            return;
        }
        let mut reaches = self.reaches();
        reaches.entry((peer.host, peer.life)).or_default().add(peer.before, peer.at);
        telemetry::fleet::heard(1);
    }

    /// Tells of a message that is not taken. If it was a record, that stays a hole.
    pub(super) fn set_aside(&self, host: &str, problem: &str) {
        self.sight().set_aside(clock::now());
        telemetry::fleet::set_aside(host, problem);
    }

    /// Notes that all up to there is known, and hands in what a peer knows beside the journals.
    pub(super) async fn adopt(&self, reached: Vec<Known>, place: Option<StreamPlace>) {
        let element = reached_element(&Reached { reached: reached.clone(), place });
        self.hand_in_beside(vec![element]).await;
        let mut reaches = self.reaches();
        for Known { host, life, upto } in reached {
            reaches.entry((host, life)).or_default().raise(upto);
        }
    }

    /// Hands in elements of ours that are no record of any host.
    pub(super) async fn hand_in_beside(&self, elements: Vec<Element>) {
        let source = SourceName::operator();
        let submission = Submission::ours(source, OWN, elements, clock::receipt());
        self.hand_in_own(&submission).await;
    }

    /// Hands in a submission that the others have to be told nothing of.
    pub(super) async fn hand_in_own(&self, submission: &Submission) {
        let peer = Peer::of_no_record(&self.settings.host);
        if let Ok(payload) = Submission::encode_copy(&peer, &submission.encode()) {
            let pending = self.begin_in(peer, submission.source.clone(), payload);
            self.make_durable(pending).await;
        }
    }
}

/// The record for our journal.
fn copy_of(peer: &Peer, record: &[u8], crc: u32) -> Result<Payload, String> {
    if crc32fast::hash(record) != crc {
        return Err("a record is damaged".to_owned());
    }
    let Ok(copy) = Submission::encode_copy(peer, record) else {
        let form = record.first().copied().unwrap_or_default();
        return Err(format!("a record is in form {form}, which this version does not take"));
    };
    Payload::open(copy).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_when_all_its_parts_are_there() {
        let at = Position { segment: 1, offset: 64 };
        let record: Vec<u8> = (0..100).collect();
        let mut items = Item::cut(at, &record, 30);
        items.reverse();
        let mut parts = Parts::default();
        let last = items.pop().unwrap();
        for item in items {
            assert_eq!(parts.add("mx1", 7, item.clone()), None);
            assert_eq!(parts.add("mx1", 7, item), None, "told again");
        }
        assert_eq!(parts.add("mx2", 7, last.clone()), None, "of another host");
        assert_eq!(parts.add("mx1", 7, last), Some(record));
        assert_eq!(parts.bytes, 30, "the other host's");
    }
}
