//! The applier: a replay that never ends. It reads the journal behind the committer, merges it
//! into the store in batches, and sees to checkpoints and retention.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::apply::Merge;
use super::{Changes, Recent, Settings, Shared, report, scrub};
use crate::clock::{self, Step, Steps};
use crate::journal::{self, Entry, Tail};
use crate::model::{Position, Submission};
use crate::store::{self, Batch, Reader, StoreError, Writer};
use crate::telemetry;

/// A batch is closed when it has this many elements or bytes.
const BATCH_ELEMENTS: usize = 4_096;
const BATCH_BYTES: usize = 8 << 20;
/// Keys looked at in one go when old events are forgotten.
const FORGET_KEYS: usize = 5_000;
/// The wait before a store that failed is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(2);
/// The wait before another image of the standings is tried.
const IMAGE_AGAIN: Duration = Duration::from_secs(10 * 60);
/// How much this thread gives way to those that answer senders, while cores are short.
const NICENESS: i32 = 19;
/// Nothing is trimmed while the two checkpoints that are kept are older: they are written daily,
/// so the clock is ahead then, or the daemon was not running.
const CLOCK_TRUST: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// How often retention is looked at.
const TRIM_EVERY: Duration = Duration::from_secs(60 * 60);

pub(super) struct Applier {
    pub(super) settings: Settings,
    pub(super) journal: journal::Reader,
    pub(super) reader: Reader,
    pub(super) committed: watch::Receiver<Position>,
    pub(super) applied: watch::Sender<Position>,
    pub(super) changes: watch::Sender<Changes>,
    pub(super) recent: Arc<Recent>,
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
    /// The old part of the journal was, or is being, looked through.
    pub(super) scrubbed: bool,
}

/// What the loop keeps beside the store.
struct Chores {
    synced: Instant,
    dirty: bool,
    checkpointed: Instant,
    /// Bytes applied since the last checkpoint.
    bytes: u64,
    writing: Option<JoinHandle<io::Result<()>>>,
    imaging: Option<JoinHandle<Result<(), StoreError>>>,
    /// An image could not be written: none is begun before.
    image_after: Instant,
    trimmed: Option<Instant>,
    steps: Steps,
    /// Where forgetting goes on, while it does.
    forgetting: Option<(Position, Vec<u8>)>,
}

impl Applier {
    /// Applies until the committer has ended and all of its work is applied. A store that fails
    /// is opened, or made, again: the journal has everything.
    pub(super) fn run(mut self) {
        // Where it is not allowed, both take turns as equals.
        let _ = rustix::process::nice(NICENESS);
        loop {
            // sled panics on some failures. The session keeps nothing that outlives it.
            let error = match catch_unwind(AssertUnwindSafe(|| self.session())) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(_) => StoreError::Damaged("sled gave up".to_owned()),
            };
            telemetry::ingest::store_failed(&error);
            self.shared.ready.send_replace(false);
            self.reader.fail(error);
            if self.shared.stopping.load(Ordering::Acquire) {
                return;
            }
            // Made inside: a timer needs the runtime around it.
            self.runtime.block_on(async { tokio::time::sleep(REOPEN_AFTER).await });
        }
    }

    /// Opens the store and applies to it.
    fn session(&mut self) -> Result<(), StoreError> {
        let started = Instant::now();
        let opened = store::open(&self.settings.store())?;
        if let Some(rebuilt) = &opened.rebuilt {
            let aside = rebuilt.aside.as_deref();
            telemetry::ingest::store_rebuilt(&rebuilt.why, rebuilt.checkpoint, aside);
        }
        let end = *self.committed.borrow();
        let behind = self.journal.bytes_between(opened.writer.applied(), end)?;
        self.shared.lag.store(behind, Ordering::Relaxed);
        let from = self.starting_point(opened.writer.applied(), end)?;
        let store::Opened { mut writer, view, .. } = opened;
        let mut tail = self.journal.tail(from);
        let mut chores = Chores::new();
        loop {
            let stopping = self.committed.has_changed().is_err();
            let committed = *self.committed.borrow_and_update();
            let bytes = self.batch(&mut writer, &mut tail, committed)?;
            chores.note(bytes);
            if tail.position() >= end && !*self.shared.ready.borrow() {
                self.become_ready(&view, tail.position());
                telemetry::ingest::store_ready(started.elapsed().as_secs_f64());
            }
            chores.work(&self.settings, &self.journal, &mut writer)?;
            if bytes > 0 {
                continue;
            }
            if stopping {
                return self.finish(&writer, chores);
            }
            chores.image(&writer)?;
            self.wait(chores.is_idle());
        }
    }

    /// Lets everyone look, and wakes those who export.
    fn become_ready(&mut self, view: &Arc<store::View>, applied: Position) {
        self.reader.attach(view);
        self.applied.send_replace(applied);
        self.shared.ready.send_replace(true);
        // The store may have been made anew: whoever exports looks at all of it.
        let next = self.changes.borrow().verdicts + 1;
        self.recent.note(Vec::new(), next);
        self.changes.send_modify(|changes| changes.verdicts = next);
        if !std::mem::replace(&mut self.scrubbed, true) {
            let (journal, shared) = (self.journal.clone(), Arc::clone(&self.shared));
            scrub::start(journal, applied, shared);
        }
    }

    /// Where to go on: behind what is applied, but no further than there is anything.
    fn starting_point(&self, applied: Position, end: Position) -> Result<Position, StoreError> {
        let start = self.journal.start()?;
        if applied > end {
            let text = format!("The store had taken it up to {applied}; it now ends at {end}.\n");
            self.note_loss(end, &text)?;
            // What is there may not be what the store has seen, and twice does no harm.
            return Ok(start.min(end));
        }
        if applied.segment < start.segment && start.segment > 1 {
            let text = format!("The store has taken it up to {applied}; it starts at {start}.\n");
            self.note_loss(applied, &text)?;
        }
        Ok(applied.max(start).min(end))
    }

    fn note_loss(&self, from: Position, text: &str) -> Result<(), StoreError> {
        let note = journal::note_loss(&self.settings.quarantine(), from, text);
        report(&note?);
        Ok(())
    }

    /// Applies one batch; says how many bytes of the journal it took.
    fn batch(
        &mut self,
        writer: &mut Writer,
        tail: &mut Tail,
        committed: Position,
    ) -> Result<u64, StoreError> {
        let mut merge = Merge {
            writer,
            rules: &self.settings.rules,
            reading: &self.settings.reading,
            batch: Batch::default(),
            now: clock::now(),
            changes: Changes::default(),
            changed: Vec::new(),
            unreadable: BTreeMap::new(),
            elements: 0,
        };
        let start = tail.position();
        let mut bytes = 0;
        while merge.elements < BATCH_ELEMENTS && bytes < BATCH_BYTES {
            match tail.next(committed)? {
                Some(Entry::Record { position, payload }) => {
                    bytes += payload.len();
                    match Submission::decode(&payload) {
                        Ok(submission) => merge.record(position, &submission)?,
                        Err(_) => telemetry::ingest::record_strange(position),
                    }
                }
                Some(Entry::Damage(damage)) => report(&damage),
                None => break,
            }
        }
        if tail.position() == start {
            return Ok(0);
        }
        let Merge { batch, changes, changed, unreadable, .. } = merge;
        writer.commit(batch, tail.position())?;
        for (source, elements) in unreadable {
            telemetry::ingest::quarantined(source.as_str(), elements);
        }
        self.publish(tail.position(), changes, changed, bytes as u64);
        Ok(bytes.max(1) as u64)
    }

    /// Tells everyone who waits how far the store is.
    fn publish(&self, applied: Position, changes: Changes, changed: Vec<Box<str>>, bytes: u64) {
        // The bytes are those of payloads alone: being level is what sets the rest right.
        let level = applied >= *self.committed.borrow();
        let less = |lag: u64| Some(if level { 0 } else { lag.saturating_sub(bytes) });
        let lag = self.shared.lag.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        telemetry::ingest::lag(lag.ok().and_then(less).unwrap_or(0));
        if changes != Changes::default() {
            // First, so that whoever is woken finds them.
            let verdicts = self.changes.borrow().verdicts;
            self.recent.note(changed, verdicts + changes.verdicts);
            self.changes.send_modify(|all| {
                all.verdicts += changes.verdicts;
                all.released += changes.released;
            });
        }
        self.applied.send_replace(applied);
    }

    /// Waits for more to be committed; not at all long while there are chores.
    fn wait(&mut self, idle: bool) {
        let limit = if idle { self.settings.sync_every } else { Duration::from_millis(100) };
        let committed = &mut self.committed;
        let _ =
            self.runtime.block_on(async { tokio::time::timeout(limit, committed.changed()).await });
    }

    fn finish(&self, writer: &Writer, chores: Chores) -> Result<(), StoreError> {
        if let Some(writing) = chores.writing {
            let _ = writing.join();
        }
        writer.sync()?;
        writer.leave_clean_mark(&self.settings.store().checkpoint)?;
        if let Some(imaging) = chores.imaging {
            // It has found out by now that nobody wants it.
            let _ = imaging.join();
        }
        Ok(())
    }
}

impl Chores {
    fn new() -> Chores {
        let now = Instant::now();
        Chores {
            synced: now,
            dirty: false,
            checkpointed: now,
            bytes: 0,
            writing: None,
            imaging: None,
            image_after: now,
            trimmed: None,
            steps: Steps::new(clock::now(), now),
            forgetting: None,
        }
    }

    fn note(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.dirty |= bytes > 0;
    }

    fn is_idle(&self) -> bool {
        self.forgetting.is_none() && self.writing.is_none()
    }

    /// Syncs, writes checkpoints, trims and forgets, each when it is due.
    fn work(
        &mut self,
        settings: &Settings,
        journal: &journal::Reader,
        writer: &mut Writer,
    ) -> Result<(), StoreError> {
        if let Some(step) = self.steps.look(clock::now(), Instant::now()) {
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
        self.checkpoint(settings, writer)?;
        if self.trimmed.is_none_or(|last| last.elapsed() >= TRIM_EVERY) {
            self.trimmed = Some(Instant::now());
            self.trim(settings, journal)?;
        }
        if let Some((start, after)) = self.forgetting.take() {
            let mut batch = Batch::default();
            let next = writer.forget(&mut batch, start, &after, FORGET_KEYS)?;
            writer.commit(batch, writer.applied())?;
            self.forgetting = next.map(|after| (start, after));
        }
        Ok(())
    }

    /// Starts a checkpoint when one is due, and looks after the one that is being written.
    fn checkpoint(&mut self, settings: &Settings, writer: &mut Writer) -> Result<(), StoreError> {
        match ended(&mut self.writing) {
            Some(Ok(())) => self.trimmed = None,
            Some(Err(error)) => telemetry::ingest::checkpoint_failed(error),
            None => {}
        }
        let late = self.checkpointed.elapsed() >= settings.checkpoint_every && self.bytes > 0;
        let due = self.bytes >= settings.checkpoint_bytes || late;
        if !due || self.writing.is_some() {
            return Ok(());
        }
        // What a checkpoint stands for is synced before anything is trimmed on its word.
        writer.sync()?;
        let snapshot = writer.snapshot()?;
        let dir = settings.store().checkpoint;
        self.bytes = 0;
        self.checkpointed = Instant::now();
        let thread = Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let started = Instant::now();
            snapshot.write(&dir)?;
            telemetry::ingest::checkpoint_written(snapshot.applied(), started.elapsed());
            Ok(())
        });
        self.writing = Some(thread?);
        Ok(())
    }

    /// Starts an image of the standings when one is wanted: now, as nothing else is to be done.
    fn image(&mut self, writer: &Writer) -> Result<(), StoreError> {
        if let Some(Err(error)) = ended(&mut self.imaging) {
            telemetry::ingest::image_failed(error);
            self.image_after = Instant::now() + IMAGE_AGAIN;
        }
        if self.imaging.is_some() || Instant::now() < self.image_after {
            return Ok(());
        }
        if let Some(image) = writer.next_image() {
            let thread = Builder::new().name("image".to_owned()).spawn(move || image.write());
            self.imaging = Some(thread?);
        }
        Ok(())
    }

    /// Removes segments beyond the retention, never past the older checkpoint, nor on the word of
    /// a clock by which no two checkpoints were written yet.
    fn trim(&mut self, settings: &Settings, journal: &journal::Reader) -> Result<(), StoreError> {
        let (dir, now) = (settings.store().checkpoint, clock::now());
        let Some(point) = store::trim_point(&dir, now.minus(CLOCK_TRUST))? else { return Ok(()) };
        let cutoff = now.minus(settings.retention);
        let removed = journal.trim(point, cutoff)?;
        if removed > 0 {
            telemetry::ingest::journal_trimmed(removed);
            self.forgetting = Some((journal.start()?, vec![b'e']));
        }
        Ok(())
    }
}

/// What came of a thread, if it has ended.
fn ended<E: Display>(thread: &mut Option<JoinHandle<Result<(), E>>>) -> Option<Result<(), String>> {
    let thread = thread.take_if(|thread| thread.is_finished())?;
    Some(match thread.join() {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the thread panicked".to_owned()),
    })
}
