//! What the applier sees to beside applying: syncing, checkpoints, the base, the index, packing,
//! and retention.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::Settings;
use super::packing::Packing;
use super::runs::Runs;
use crate::clock::{self, Step, Steps};
use crate::journal;
use crate::model::{Position, Time};
use crate::niceness::give_way;
use crate::store::{Batch, Checkpoints, StoreError, Writer};
use crate::telemetry;

/// Keys looked at in one go when old events are forgotten.
const FORGET_KEYS: usize = 5_000;
/// Nothing is trimmed before a clock was believed for so long: by which both checkpoints that are
/// kept were written, or that has not been set while this process runs. Without anything new there
/// are no new checkpoints, and what is old goes all the same.
const CLOCK_TRUST: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// A run of the index is made after so many bytes of journal at the latest: so much has to be gone
/// through again after a crash.
const INDEX_BYTES: u64 = 64 << 20;
/// What was done is kept where a death of the process does not reach it after so much work at the
/// latest: a daemon that never lives longer than a second comes further with each life.
const KEEP_AFTER: Duration = Duration::from_secs(1);
/// The same while everyone waits for the store; the first batch of a life is kept at once.
const KEEP_SOON: Duration = Duration::from_millis(250);
/// The wait before another run is tried.
const INDEX_AGAIN: Duration = Duration::from_secs(10);
/// How much a checkpoint that is being written gives way to all others, the applier among them.
const NICENESS: i32 = 10;
/// A checkpoint of more bytes is put off until as many are applied, or so many times those after
/// which one is due.
const SMALL: u64 = 1 << 20;
const PUT_OFF: u64 = 4;
/// How often retention is looked at.
const TRIM_EVERY: Duration = Duration::from_secs(60 * 60);

/// What the loop keeps beside the store.
pub(super) struct Chores {
    synced: Instant,
    dirty: bool,
    checkpointed: Instant,
    /// Bytes applied since the last checkpoint.
    bytes: u64,
    checkpoints: Arc<Checkpoints>,
    writing: Option<JoinHandle<io::Result<()>>>,
    /// Those that were there at the start are being read.
    verifying: Option<JoinHandle<io::Result<()>>>,
    runs: Runs,
    /// Bytes applied since the last run of the index.
    unindexed: u64,
    /// Time that applying took since all was kept last.
    unkept: Duration,
    /// Something was kept since the start.
    has_kept: bool,
    merging: Option<JoinHandle<io::Result<()>>>,
    /// A run could not be written: none is tried before.
    index_after: Instant,
    packing: Packing,
    trimmed: Option<Instant>,
    /// Somebody else changes the journal's segments and the index's runs.
    leaves_files: bool,
    steps: Steps,
    /// Since when the clock was not set.
    steady: Instant,
    /// Where forgetting goes on, while it does.
    forgetting: Option<(Position, Vec<u8>)>,
}

impl Chores {
    /// Begins with having read what checkpoints there are: nothing is trimmed on their word before.
    pub(super) fn new(
        settings: &Settings,
        checkpoints: &Arc<Checkpoints>,
        writer: &Writer,
    ) -> io::Result<Chores> {
        let now = Instant::now();
        let there = Arc::clone(checkpoints);
        let verifying = Builder::new().name("verify".to_owned()).spawn(move || there.verify())?;
        Ok(Chores {
            synced: now,
            dirty: false,
            checkpointed: now,
            bytes: 0,
            checkpoints: Arc::clone(checkpoints),
            writing: None,
            verifying: Some(verifying),
            runs: Runs::new(settings.base_keys, writer),
            unindexed: 0,
            unkept: Duration::ZERO,
            has_kept: false,
            merging: None,
            index_after: now,
            packing: Packing::default(),
            trimmed: None,
            leaves_files: false,
            steps: Steps::new(clock::now(), now),
            steady: now,
            forgetting: None,
        })
    }

    /// Notes what a batch took, in bytes of the journal and in time.
    pub(super) fn note(&mut self, bytes: u64, took: Duration) {
        if bytes > 0 {
            self.unkept += took;
        }
        self.bytes += bytes;
        self.unindexed += bytes;
        self.dirty |= bytes > 0;
    }

    /// Has a checkpoint written as soon as possible: the journal alone does not give the store.
    pub(super) fn want_checkpoint(&mut self, settings: &Settings) {
        self.bytes = self.bytes.max(PUT_OFF * settings.checkpoint_bytes);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_idle() && self.forgetting.is_none() && self.writing.is_none()
    }

    /// Syncs, writes checkpoints, packs, trims and forgets, each when it is due. Without a journal
    /// only what needs none. `ready`: nobody waits for the store.
    pub(super) fn work(
        &mut self,
        settings: &Settings,
        journal: Option<&journal::Reader>,
        writer: &mut Writer,
        ready: bool,
    ) -> Result<(), StoreError> {
        if let Some(step) = self.steps.look(clock::now(), Instant::now()) {
            self.steady = Instant::now();
            match step {
                Step::Ahead(by) => telemetry::health::clock_ahead(by),
                Step::Back(by) => telemetry::health::clock_back(by),
            }
        }
        if self.dirty && self.synced.elapsed() >= settings.sync_every {
            writer.sync()?;
            self.dirty = false;
            self.synced = Instant::now();
        }
        let is_first = !ready && !self.has_kept && !self.unkept.is_zero();
        if is_first || self.unkept >= if ready { KEEP_AFTER } else { KEEP_SOON } {
            writer.flush()?;
            (self.unkept, self.has_kept) = (Duration::ZERO, true);
            // As soon as a record ends.
            self.unindexed = INDEX_BYTES;
            self.keep_index(writer);
        }
        self.index(writer)?;
        self.runs.work(writer)?;
        self.checkpoint(settings, writer)?;
        let journal = journal.filter(|_| !self.leaves_files);
        if let Some(journal) = journal.filter(|_| ready) {
            // Those that end before it are complete, and nothing there is still to be applied.
            self.packing.work(journal, writer.applied().segment)?;
        }
        let is_late = self.trimmed.is_none_or(|last| last.elapsed() >= TRIM_EVERY);
        if let Some(journal) = journal.filter(|_| is_late) {
            self.trimmed = Some(Instant::now());
            self.trim(settings, journal, writer)?;
            let mut batch = Batch::default();
            let horizon = settings.policy.hold.get().unwrap_or_default().horizon(clock::now());
            writer.forget_rates(&mut batch, horizon)?;
            writer.commit_beside(batch)?;
        }
        if let Some((start, after)) = self.forgetting.take() {
            let mut batch = Batch::default();
            let next = writer.forget(&mut batch, start, &after, FORGET_KEYS)?;
            writer.commit_beside(batch)?;
            self.forgetting = next.map(|after| (start, after));
        }
        Ok(())
    }

    /// Makes runs of the index when there is enough for one, and one of several in a thread.
    fn index(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        if let Some(Err(error)) = ended(&mut self.merging) {
            telemetry::ingest::index_failed(error);
            self.index_after = Instant::now() + INDEX_AGAIN;
        }
        let may = Instant::now() >= self.index_after;
        if may && (self.unindexed >= INDEX_BYTES || writer.index().is_full()) {
            self.flush_index(writer);
        }
        writer.check_index()?;
        let may = may && !self.leaves_files;
        if may && self.merging.is_none() && writer.index().is_merge_due() {
            let index = Arc::clone(writer.index());
            let thread = Builder::new().name("index".to_owned()).spawn(move || index.merge());
            self.merging = Some(thread?);
        }
        Ok(())
    }

    /// Keeps what the index has in memory, within a record.
    fn keep_index(&mut self, writer: &Writer) {
        if Instant::now() >= self.index_after
            && let Err(error) = writer.keep_index()
        {
            telemetry::ingest::index_failed(error);
            self.index_after = Instant::now() + INDEX_AGAIN;
        }
    }

    /// Makes a run of what the index has in memory. Where that fails, it stays there.
    fn flush_index(&mut self, writer: &Writer) {
        match writer.flush_index() {
            Ok(true) => self.unindexed = 0,
            Ok(false) => {}
            Err(error) => {
                telemetry::ingest::index_failed(error);
                self.index_after = Instant::now() + INDEX_AGAIN;
            }
        }
    }

    /// Starts a checkpoint when one is due, and looks after the one that is being written.
    fn checkpoint(&mut self, settings: &Settings, writer: &mut Writer) -> Result<(), StoreError> {
        match ended(&mut self.verifying) {
            Some(Ok(())) => self.trimmed = None,
            Some(Err(error)) => telemetry::ingest::checkpoints_unread(error),
            None => {}
        }
        match ended(&mut self.writing) {
            Some(Ok(())) => self.trimmed = None,
            Some(Err(error)) => telemetry::ingest::checkpoint_failed(error),
            None => {}
        }
        let late = self.checkpointed.elapsed() >= settings.checkpoint_every && self.bytes > 0;
        // Counts are exact only between two records.
        if self.writing.is_some() || writer.applied_within() > 0 {
            return Ok(());
        }
        // It has all standings, however few have changed: a large one is put off.
        let much = self.bytes >= settings.checkpoint_bytes
            && (self.bytes >= PUT_OFF * settings.checkpoint_bytes
                || self.bytes.max(SMALL) >= self.checkpoints.newest_bytes()?);
        if !late && !much {
            return Ok(());
        }
        // What a checkpoint stands for is synced before anything is trimmed on its word.
        writer.sync()?;
        self.flush_index(writer);
        let snapshot = writer.snapshot()?;
        let checkpoints = Arc::clone(&self.checkpoints);
        self.bytes = 0;
        self.checkpointed = Instant::now();
        let thread = beside("checkpoint", NICENESS, move || {
            let started = Instant::now();
            checkpoints.write(&snapshot)?;
            telemetry::ingest::checkpoint_written(snapshot.applied(), started.elapsed());
            Ok(())
        });
        self.writing = Some(thread?);
        Ok(())
    }

    /// Waits for what was begun, syncs, and leaves everything so that the next start is quick:
    /// where all is applied, with a mark that says so.
    pub(super) fn finish(
        mut self,
        settings: &Settings,
        writer: &Writer,
        all: bool,
    ) -> Result<(), StoreError> {
        if let Some(writing) = self.writing.take() {
            let _ = writing.join();
        }
        if let Some(merging) = self.merging.take() {
            // What it has not come to do, the next start does.
            let _ = merging.join();
        }
        self.flush_index(writer);
        self.keep_index(writer);
        writer.sync()?;
        if all && writer.is_where_it_was() {
            writer.leave_clean_mark(&settings.store().checkpoint)?;
        }
        Ok(())
    }

    /// Whether somebody else changes the journal's segments and the index's runs.
    pub(super) fn are_files_left(&self) -> bool {
        self.leaves_files
    }

    /// Leaves the journal's segments and the index's runs to somebody else, or has them back.
    pub(super) fn leave_files(&mut self, leave: bool) {
        self.leaves_files = leave;
        if leave {
            // What fails here is done again when it is due.
            let _ = joined(&mut self.merging);
            self.packing.stop();
        }
    }

    /// Waits for what was begun, which may hold what is to be erased.
    ///
    /// # Errors
    /// When the store is damaged.
    pub(super) fn pause(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        let _ = (joined(&mut self.writing), joined(&mut self.verifying));
        self.runs.pause(writer)
    }

    /// Removes segments beyond the retention, never past the older checkpoint, nor on the word of
    /// a clock by which no two checkpoints were written yet.
    fn trim(
        &mut self,
        settings: &Settings,
        journal: &journal::Reader,
        writer: &Writer,
    ) -> Result<(), StoreError> {
        let now = clock::now();
        let is_steady = self.steady.elapsed() >= CLOCK_TRUST;
        let since = if is_steady { Time::from_seconds(0) } else { now.minus(CLOCK_TRUST) };
        let Some(point) = self.checkpoints.trim_point(since)? else { return Ok(()) };
        let cutoff = now.minus(*settings.policy.retention.get());
        let removed = journal.trim(point, cutoff)?;
        if removed > 0 {
            telemetry::ingest::journal_trimmed(removed);
            let start = journal.start()?;
            writer.index().trim(start)?;
            self.forgetting = Some((start, Vec::new()));
        }
        Ok(())
    }
}

/// Starts a thread that gives way to others by so much.
pub(super) fn beside<T: Send + 'static>(
    name: &str,
    niceness: i32,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        give_way(niceness);
        work()
    })
}

/// What came of a thread, if it has ended.
pub(super) fn ended<T, E: Display>(
    thread: &mut Option<JoinHandle<Result<T, E>>>,
) -> Option<Result<T, String>> {
    let has_ended = thread.as_ref().is_some_and(JoinHandle::is_finished);
    has_ended.then(|| joined(thread)).flatten()
}

/// What comes of a thread; waits until it has ended.
pub(super) fn joined<T, E: Display>(
    thread: &mut Option<JoinHandle<Result<T, E>>>,
) -> Option<Result<T, String>> {
    Some(match thread.take()?.join() {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the thread panicked".to_owned()),
    })
}
