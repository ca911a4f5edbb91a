//! The one writer: merges into a batch, and commits it with the journal position in it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::checkpoint::Earlier;
use super::codec::{Counts, EventRef, Meta, checksum, decode, encode};
use super::image::{Images, NextImage};
use super::keys::{self, EVENT, HELD, MESSAGE, META, QUARANTINE, QUIET, STANDING};
use super::known::Known;
use super::open::leave_clean_mark;
use super::{Snapshot, StoreError, View};
use crate::model::{
    Event, EventId, EventKind, Origin, Position, QuarantineId, Scope, SourceName, Standing, Time,
};

/// Writes to the store. There is one.
pub struct Writer {
    pub(super) tree: sled::Tree,
    db: sled::Db,
    meta: Meta,
    /// sled's own file, synced by us: its `flush` does not reach the disk on Linux.
    file: PathBuf,
    /// Which standings there may be.
    known: Arc<Known>,
    images: Arc<Images>,
    /// Of the snapshot that was taken last, while it is being written.
    earlier: Weak<Earlier>,
}

/// Changes that become visible together.
#[derive(Default)]
pub struct Batch {
    /// The value of each key that was looked at or changed: as it was, and as it will be.
    values: BTreeMap<Vec<u8>, Value>,
    counts: HashMap<SourceName, Counts>,
    bytes: usize,
}

impl Batch {
    /// How many keys it has looked at.
    pub fn keys(&self) -> usize {
        self.values.len()
    }

    /// About how many bytes of keys and values it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

struct Value {
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

/// By how many seconds the times of one event may differ between a webhook and the API.
const TOLERANCE: u64 = 2;

/// Whether an event was known, and by whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Whether it was known.
    pub seen: Seen,
    /// It was told first with a time that was not believed: then it keeps ours for good, even
    /// should the provider's be believed by now.
    pub dated_by_us: bool,
}

/// Whether an event was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new.
    First,
    /// It was known, but not in this way.
    NewOrigin,
    /// It was known in this way.
    Again,
}

/// The time itself, and those within [`TOLERANCE`] of it, the nearest first.
fn nearby(at: Time) -> impl Iterator<Item = Time> {
    let around = (1..=TOLERANCE).map(Duration::from_secs);
    std::iter::once(at).chain(around.flat_map(move |span| [at.minus(span), at.plus(span)]))
}

impl Writer {
    pub(super) fn new(db: sled::Db, meta: Meta, file: PathBuf, view: &View) -> Writer {
        let (known, images) = (Arc::clone(&view.known), Arc::clone(&view.images));
        Writer { tree: view.tree.clone(), db, meta, file, known, images, earlier: Weak::new() }
    }

    /// The end of what is applied.
    pub fn applied(&self) -> Position {
        self.meta.applied
    }

    /// How many elements of the record that starts there are applied already.
    pub fn applied_within(&self) -> u32 {
        self.meta.part
    }

    /// Notes an event that the element at `place` tells.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn note_event(
        &self,
        batch: &mut Batch,
        event: &Event,
        id: EventId,
        place: QuarantineId,
    ) -> Result<Noted, StoreError> {
        let address = keys::hash(event.address.key());
        let key = keys::event(address, id);
        let disbelieved = event.told_at.is_some_and(|told| told != Time::END);
        let by_us = if disbelieved { EventRef::DATED_BY_US } else { 0 };
        let bit = EventRef::bit(event.origin);
        let value = self.value(batch, key)?;
        let known = value.after.as_deref().map(decode::<EventRef>).transpose()?;
        let (entry, seen) = match known {
            Some(known) if known.origins & bit != 0 => (known, Seen::Again),
            Some(known) => (EventRef { origins: known.origins | bit, ..known }, Seen::NewOrigin),
            None => {
                let (record, element, origins) = (place.record, place.element, bit | by_us);
                (EventRef { record, element, origins }, Seen::First)
            }
        };
        if seen != Seen::Again {
            value.after = Some(encode(&entry));
        }
        let looked_up = !matches!(event.kind, EventKind::Opened | EventKind::Clicked);
        if let Some(message) = event.message_id.as_deref().filter(|_| looked_up) {
            let key = keys::message(keys::hash(message), address);
            let value = self.value(batch, key)?;
            if value.after.is_none() {
                value.after = Some(encode(&place.record));
            }
        }
        self.count(batch, event, seen)?;
        Ok(Noted { seen, dated_by_us: (entry.origins | by_us) & EventRef::DATED_BY_US != 0 })
    }

    /// The time under which an event is known that the provider's other way has told with a time
    /// that differs a little. `None`: it has no such twin, or is known by its own time.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn twin(&self, batch: &mut Batch, event: &Event) -> Result<Option<Time>, StoreError> {
        if !event.loose || !matches!(event.origin, Origin::Webhook | Origin::Poll) {
            return Ok(None);
        }
        let address = keys::hash(event.address.key());
        let own = EventRef::bit(event.origin);
        let mut told_by_both = None;
        for at in nearby(event.at) {
            let key = keys::event(address, event.id_at(at));
            let Some(known) = self.get(batch, key)? else { continue };
            let known: EventRef = decode(known)?;
            if at == event.at {
                return Ok(None);
            }
            if known.origins & own == 0 {
                return Ok(Some(at));
            }
            // One that only this way has told is another event.
            if !known.is_only_by(event.origin) {
                told_by_both = told_by_both.or(Some(at));
            }
        }
        Ok(told_by_both)
    }

    fn count(&self, batch: &mut Batch, event: &Event, seen: Seen) -> Result<(), StoreError> {
        let counts = self.counts_mut(batch, &event.source)?;
        match (seen, event.origin) {
            (Seen::First, Origin::Poll) if event.kind == EventKind::Listed => counts.listed += 1,
            (Seen::First, Origin::Webhook) => counts.webhook_only += 1,
            (Seen::First, Origin::Poll) => counts.poll_only += 1,
            (Seen::NewOrigin, Origin::Webhook) => {
                counts.poll_only = counts.poll_only.saturating_sub(1);
                counts.both += 1;
            }
            (Seen::NewOrigin, Origin::Poll) => {
                counts.webhook_only = counts.webhook_only.saturating_sub(1);
                counts.both += 1;
            }
            (Seen::Again, _) => counts.repeated += 1,
            (Seen::First | Seen::NewOrigin, Origin::Operator | Origin::Import) => {}
        }
        if seen == Seen::First && event.kind == EventKind::Blocked {
            counts.blocked += 1;
        }
        Ok(())
    }

    /// Notes that a submission of a source came in this way at this time.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn note_arrival(
        &self,
        batch: &mut Batch,
        source: &SourceName,
        origin: Origin,
        at: Time,
    ) -> Result<(), StoreError> {
        let counts = self.counts_mut(batch, source)?;
        match origin {
            // In the journal's order: the greatest could be of a clock that was ahead.
            Origin::Webhook => counts.last_webhook = Some(at),
            Origin::Poll => counts.last_poll = Some(at),
            Origin::Operator | Origin::Import => {}
        }
        Ok(())
    }

    /// The standing of an address in a scope; an empty one if nothing is known.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn standing(
        &self,
        batch: &mut Batch,
        address: &str,
        scope: &Scope,
    ) -> Result<Standing, StoreError> {
        let quiet = keys::standing(QUIET, address, scope);
        if let Some(bytes) = self.get(batch, keys::standing(STANDING, address, scope))? {
            let standing = decode(bytes)?;
            // A checkpoint that was written while the one became the other has both. What made it
            // so is applied again after it, and comes through here.
            self.put(batch, quiet, None)?;
            return Ok(standing);
        }
        match self.get(batch, quiet)? {
            Some(bytes) => decode(bytes).map(Standing::quiet),
            None => Ok(Standing::default()),
        }
    }

    /// Puts a standing back.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_standing(
        &self,
        batch: &mut Batch,
        address: &str,
        scope: &Scope,
        standing: &Standing,
    ) -> Result<(), StoreError> {
        let quiet = keys::standing(QUIET, address, scope);
        match standing.as_quiet() {
            Some(delivered) => self.put(batch, quiet, Some(encode(delivered))),
            None => {
                self.put(batch, quiet, None)?;
                let key = keys::standing(STANDING, address, scope);
                self.put(batch, key, Some(encode(standing)))
            }
        }
    }

    /// Notes how far a feed was read.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_cursor(
        &self,
        batch: &mut Batch,
        source: &SourceName,
        feed: &str,
        state: &str,
    ) -> Result<(), StoreError> {
        self.put(batch, keys::cursor(source, feed), Some(state.as_bytes().to_vec()))
    }

    /// Makes a batch visible, as the state after everything before `applied`.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn commit(&mut self, batch: Batch, applied: Position) -> Result<(), StoreError> {
        self.commit_within(batch, applied, 0)
    }

    /// The same, as the state after that many elements of the record that starts at `applied`.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn commit_within(
        &mut self,
        mut batch: Batch,
        applied: Position,
        part: u32,
    ) -> Result<(), StoreError> {
        for (source, counts) in std::mem::take(&mut batch.counts) {
            self.put(&mut batch, keys::counts(&source), Some(encode(&counts)))?;
        }
        let mut meta = Meta { applied, part, ..self.meta };
        let mut changes = sled::Batch::default();
        let earlier = self.earlier.upgrade();
        let changed = batch.values.iter().filter(|(_, value)| value.before != value.after);
        self.images.note(changed.map(|(key, value)| (&**key, value.after.as_deref())))?;
        for (key, value) in batch.values {
            if value.before == value.after {
                continue;
            }
            if let (Some(earlier), Some(before)) = (&earlier, &value.before) {
                earlier.note(&key, before);
            }
            meta.account(&key, value.before.as_deref(), value.after.as_deref());
            if value.before.is_none() {
                self.known.insert(&key);
            }
            match value.after {
                Some(bytes) => changes.insert(key, bytes),
                None => changes.remove(key),
            }
        }
        changes.insert(META, meta.encode());
        self.tree.apply_batch(changes)?;
        self.meta = meta;
        Ok(())
    }

    /// Forgets where events are that lie before `start`: the journal no longer has them. Looks at
    /// `limit` keys from `after` on; says where to go on, or `None` at the end.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn forget(
        &self,
        batch: &mut Batch,
        start: Position,
        after: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let from = (Bound::Excluded(after.to_vec()), Bound::Excluded(vec![MESSAGE + 1]));
        let mut last = None;
        for pair in self.tree.range::<Vec<u8>, _>(from).take(limit) {
            let (key, value) = pair?;
            let record = match key.first() {
                Some(&EVENT) => Some(decode::<EventRef>(&value)?.record),
                Some(&HELD | &MESSAGE) => Some(decode::<Position>(&value)?),
                _ => None,
            };
            if record.is_some_and(|record| record < start) {
                self.put(batch, key.to_vec(), None)?;
            }
            last = Some(key.to_vec());
        }
        if last.is_none() {
            self.forget_quarantine(batch, start)?;
        }
        Ok(last)
    }

    /// An image of the standings to write beside, if one is wanted.
    pub fn next_image(&self) -> Option<NextImage> {
        Images::next(&self.images, &self.tree)
    }

    /// Notes that everything is synced and nothing follows, so that the next start is quick.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn leave_clean_mark(&self, checkpoint: &Path) -> io::Result<()> {
        // Without it, the next start makes another image.
        let _ = self.images.leave(self.meta.applied);
        leave_clean_mark(checkpoint, &self.file)
    }

    /// Makes everything that is committed durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        Ok(File::open(&self.file).and_then(|file| file.sync_all())?)
    }

    /// What a checkpoint starts from: the position, and the counts as they are there.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let snapshot = Snapshot::take(&self.tree, self.meta.applied)?;
        self.earlier = snapshot.earlier();
        Ok(snapshot)
    }

    pub(super) fn counts_mut<'b>(
        &self,
        batch: &'b mut Batch,
        source: &SourceName,
    ) -> Result<&'b mut Counts, StoreError> {
        if !batch.counts.contains_key(source) {
            let stored = guarded(|| self.tree.get(keys::counts(source)))?;
            let counts = stored.map(|bytes| decode(&bytes)).transpose()?.unwrap_or_default();
            batch.counts.insert(source.clone(), counts);
        }
        Ok(batch.counts.entry(source.clone()).or_default())
    }

    pub(super) fn get<'b>(
        &self,
        batch: &'b mut Batch,
        key: Vec<u8>,
    ) -> Result<Option<&'b [u8]>, StoreError> {
        Ok(self.value(batch, key)?.after.as_deref())
    }

    pub(super) fn put(
        &self,
        batch: &mut Batch,
        key: Vec<u8>,
        bytes: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        batch.bytes += bytes.as_ref().map_or(0, Vec::len);
        self.value(batch, key)?.after = bytes;
        Ok(())
    }

    fn value<'b>(&self, batch: &'b mut Batch, key: Vec<u8>) -> Result<&'b mut Value, StoreError> {
        match batch.values.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let before = guarded(|| self.known.get(&self.tree, vacant.key()))?;
                let before = before.map(|bytes| bytes.to_vec());
                batch.bytes += vacant.key().len() + 2 * before.as_ref().map_or(0, Vec::len);
                Ok(vacant.insert(Value { after: before.clone(), before }))
            }
        }
    }
}

/// Reads of sled, which panics on some damage. That is an error from here on: so it passes for no
/// other panic, which is about what is merged.
pub(super) fn guarded<T>(read: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let gave_up = |_| StoreError::Damaged("sled gave up on reading".to_owned());
    Ok(catch_unwind(AssertUnwindSafe(read)).map_err(gave_up)??)
}

impl Meta {
    /// Accounts for the change of one key.
    pub(super) fn account(&mut self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        let kind = match key.first() {
            Some(&STANDING) => Some(&mut self.standings),
            Some(&QUARANTINE) => Some(&mut self.quarantined),
            _ => None,
        };
        let gone = u64::from(before.is_some());
        let come = u64::from(after.is_some());
        if let Some(number) = kind {
            *number = number.wrapping_add(come).wrapping_sub(gone);
        }
        self.keys = self.keys.wrapping_add(come).wrapping_sub(gone);
        let old = before.map_or(0, |value| checksum(key, value));
        let new = after.map_or(0, |value| checksum(key, value));
        self.sum = self.sum.wrapping_add(new).wrapping_sub(old);
    }
}
