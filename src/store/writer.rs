//! The one writer: merges into a batch, and commits it with the journal position in it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::base::{self, Base, Made, Next, Settling};
use super::codec::{Counts, Meta, checksum, decode, encode};
use super::index::{Index, Name, Row};
use super::keys::{self, CHANGED, HELD, META, QUARANTINE, QUIET, RUNS, STANDING, TURN};
use super::open::leave_clean_mark;
use super::place::Places;
use super::{Paths, Snapshot, StoreError, View};
use crate::model::{Origin, Position, Scope, SourceName, Standing, Time};

/// Blocks of changes that are taken out of sled in one go.
const SETTLED: usize = 512;

/// Writes to the store. There is one.
pub struct Writer {
    pub(super) tree: sled::Tree,
    db: sled::Db,
    meta: Meta,
    /// sled's own file, synced by us: its `flush` does not reach the disk on Linux. The one that
    /// was opened, whatever its path leads to by then.
    file: File,
    pub(super) places: Places,
    base: Arc<Base>,
    /// What a run of the base has, and the changes too.
    settling: Option<Settling>,
    /// The last block of changes.
    block: u64,
    /// Where events were told.
    pub(super) index: Arc<Index>,
    /// The end of what was gone through last, and so many elements of the record there: what was
    /// applied long ago is gone through again where the index lacks it.
    pub(super) reached: (Position, u32),
}

/// Changes that become visible together.
#[derive(Default)]
pub struct Batch {
    /// The value of each key that was looked at or changed: as it was, and as it will be.
    values: BTreeMap<Vec<u8>, Value>,
    counts: HashMap<SourceName, Counts>,
    /// What is to be in the index.
    pub(super) told: BTreeMap<Row, u8>,
    pub(super) names: BTreeSet<Name>,
    pub(super) bytes: usize,
}

impl Batch {
    /// How many keys it has looked at.
    pub fn keys(&self) -> usize {
        self.values.len() + self.told.len()
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

impl Writer {
    pub(super) fn new(
        db: sled::Db,
        meta: Meta,
        paths: &Paths,
        view: &View,
    ) -> Result<Writer, StoreError> {
        let places = Places::of(paths)?;
        let file = File::open(places.file())?;
        let (base, index) = (Arc::clone(&view.base), Arc::clone(&view.index));
        let (tree, reached) = (view.tree.clone(), (meta.applied, meta.part));
        let block = base::last(&tree)?;
        let settling = None;
        Ok(Writer { tree, db, meta, file, places, base, settling, block, index, reached })
    }

    /// The end of what is applied.
    pub fn applied(&self) -> Position {
        self.meta.applied
    }

    /// How many elements of the record that starts there are applied already.
    pub fn applied_within(&self) -> u32 {
        self.meta.part
    }

    /// Whether an element, or with 0 the beginning of a record, is applied already: then only the
    /// index lacks it.
    pub fn is_applied(&self, record: Position, element: u32) -> bool {
        (record, element) < (self.meta.applied, self.meta.part)
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
            Origin::Operator | Origin::Import | Origin::Fleet => {}
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

    /// The same, as the state after that many elements of the record that starts at `applied`. Of
    /// what was applied already only the index gets anything.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn commit_within(
        &mut self,
        batch: Batch,
        applied: Position,
        part: u32,
    ) -> Result<(), StoreError> {
        self.reached = (applied, part);
        let is_new = !self.is_applied(applied, part);
        let (applied, part) = if is_new { (applied, part) } else { self.at() };
        self.apply(batch, Meta { applied, part, ..self.meta })
    }

    /// Makes a batch visible that is beside what the journal tells.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn commit_beside(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.apply(batch, self.meta)
    }

    /// Goes back to where all is applied again: the journal is not what was applied.
    pub fn go_back(&mut self, to: Position) {
        (self.meta.applied, self.meta.part) = (to, 0);
        self.reached = (to, 0);
    }

    pub(super) fn at(&self) -> (Position, u32) {
        (self.meta.applied, self.meta.part)
    }

    fn apply(&mut self, mut batch: Batch, mut meta: Meta) -> Result<(), StoreError> {
        for (source, counts) in std::mem::take(&mut batch.counts) {
            self.put(&mut batch, keys::counts(&source), Some(encode(&counts)))?;
        }
        let (mut changes, mut any) = (sled::Batch::default(), meta != self.meta);
        let mut of_base = Vec::new();
        // First: whoever sees how far all is applied finds it there, and in the base.
        self.index.add(batch.told, batch.names);
        for (key, Value { before, after }) in batch.values {
            if before == after {
                continue;
            }
            any = true;
            if Base::has(&key) {
                meta.count(&key, before.is_some(), after.is_some());
                // A run may have it, or get it: so what is gone is noted.
                of_base.push((key.into(), after.unwrap_or_default().into()));
            } else {
                meta.account(&key, before.as_deref(), after.as_deref());
                match after {
                    Some(bytes) => changes.insert(key, bytes),
                    None => changes.remove(key),
                }
            }
        }
        for block in base::blocks(&of_base) {
            self.block += 1;
            let key = keys::changed(self.block);
            meta.account(&key, None, Some(&block));
            changes.insert(key, block);
        }
        self.base.change(of_base);
        if any {
            changes.insert(META, meta.encode());
            self.places.write();
            self.tree.apply_batch(changes)?;
            self.meta = meta;
        }
        Ok(())
    }

    /// The standings, in the base and beside it.
    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// The run that is to be made of what has changed, if that is so many keys and none of them is
    /// in a run already.
    pub fn next_run(&self, keys: usize) -> Option<Next> {
        if self.settling.is_some() { None } else { self.base.next(keys, self.block) }
    }

    /// The run that is to be made of several, where one of so many keys is of the smallest size.
    pub fn next_merge(&self, keys: usize) -> Option<Next> {
        self.base.next_merge(keys)
    }

    /// Lets a run count that was made.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn adopt(&mut self, made: &Made) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.put(&mut batch, RUNS.to_vec(), Some(encode(&self.base.listed_with(made))))?;
        self.commit_beside(batch)?;
        self.base.adopt(made);
        if made.is_merge() {
            // What sled says after a power cut must still be there.
            self.sync()?;
            made.remove_replaced();
        } else {
            self.settling = Some(made.settling()?);
        }
        Ok(())
    }

    /// Takes some of what a run has by now out of memory, and then out of sled; says whether there
    /// can be more.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn settle(&mut self) -> Result<bool, StoreError> {
        let Some(settling) = &mut self.settling else { return Ok(false) };
        if settling.go_on(&self.base)? {
            return Ok(true);
        }
        let end = keys::changed(settling.block + 1);
        let (mut changes, mut meta, mut blocks) = (sled::Batch::default(), self.meta, 0);
        for pair in self.tree.range([CHANGED].as_slice()..end.as_slice()).take(SETTLED) {
            let (key, block) = pair?;
            meta.account(&key, Some(&block), None);
            changes.remove(key);
            blocks += 1;
        }
        if blocks == 0 {
            self.settling = None;
            return Ok(false);
        }
        changes.insert(META, meta.encode());
        self.places.write();
        self.tree.apply_batch(changes)?;
        self.meta = meta;
        Ok(true)
    }

    /// Whether the base can be looked into, and takes more: of what has changed, so many keys may
    /// be kept.
    ///
    /// # Errors
    /// When a run of it is damaged, or none could be written.
    pub fn check_base(&self, keys: usize) -> Result<(), StoreError> {
        self.base.check()?;
        if self.base.changes() > keys {
            return Err(StoreError::Full("no run of its base can be written".to_owned()));
        }
        Ok(())
    }

    /// Forgets what turned, what was held in quarantine, and where copies were, before `start`:
    /// that is in the journal no longer. Looks at `limit` keys from `after` on; says where to go
    /// on, or `None` at the end.
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
        let from = Bound::Excluded(if after.is_empty() { vec![TURN] } else { after.to_vec() });
        let to = Bound::Excluded(vec![HELD + 1]);
        let mut last = None;
        for pair in self.tree.range::<Vec<u8>, _>((from, to)).take(limit) {
            let (key, value) = pair?;
            let record = match keys::turn_place(&key).filter(|_| key.first() == Some(&TURN)) {
                Some(place) => place.record,
                None => decode::<Position>(&value)?,
            };
            if record < start {
                self.put(batch, key.to_vec(), None)?;
            }
            last = Some(key.to_vec());
        }
        if last.is_none() {
            self.forget_quarantine(batch, start)?;
            self.forget_copies(batch, start)?;
        }
        Ok(last)
    }

    /// Notes that everything is synced and nothing follows, so that the next start is quick.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn leave_clean_mark(&self, checkpoint: &Path) -> io::Result<()> {
        leave_clean_mark(checkpoint, self.places.file())
    }

    /// Has the system keep everything that is committed: the death of this process loses nothing.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.places.write();
        self.db.flush()?;
        self.places.measure();
        Ok(())
    }

    /// Makes everything that is committed durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.flush()?;
        Ok(self.file.sync_all()?)
    }

    /// What a checkpoint starts from: the position, and the counts as they are there.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::take(&self.tree, &self.base, self.meta.applied)
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
                let before = if Base::has(vacant.key()) {
                    self.base.get(vacant.key())?
                } else {
                    guarded(|| self.tree.get(vacant.key()))?.map(|bytes| bytes.to_vec())
                };
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
    /// Whether sled's content is as another says.
    pub(super) fn is_as(&self, other: &Meta) -> bool {
        let content = |meta: &Meta| (meta.keys, meta.sum, meta.quarantined);
        content(self) == content(other)
    }

    /// Counts what changes of one key of the base.
    pub(super) fn count(&mut self, key: &[u8], was_there: bool, is_there: bool) {
        if key.first() == Some(&STANDING) {
            let (come, gone) = (u64::from(is_there), u64::from(was_there));
            self.standings = self.standings.wrapping_add(come).wrapping_sub(gone);
        }
    }

    /// Accounts for the change of one key in sled.
    pub(super) fn account(&mut self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        let gone = u64::from(before.is_some());
        let come = u64::from(after.is_some());
        if key.first() == Some(&QUARANTINE) {
            self.quarantined = self.quarantined.wrapping_add(come).wrapping_sub(gone);
        }
        self.keys = self.keys.wrapping_add(come).wrapping_sub(gone);
        let old = before.map_or(0, |value| checksum(key, value));
        let new = after.map_or(0, |value| checksum(key, value));
        self.sum = self.sum.wrapping_add(new).wrapping_sub(old);
    }
}
