//! The applier: a replay that never ends. It reads the journal behind the committer, merges it
//! into the store in batches, each of which may end within a record.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::again::begin_of;
use super::apply::{BATCH_TIME, Merge};
use super::chores::Chores;
use super::erase::{Pace, Stage};
use super::flow::Passed;
use super::lookout::{LOOK_EVERY, Lookout};
use super::progress::{DEFECT, Progress, STRANGE, Step};
use super::{Change, Changes, Message, Settings, Shared, scrub};
use crate::clock;
use crate::forgotten::Forgotten;
use crate::journal;
use crate::model::{Position, QuarantineId, Stretch};
use crate::niceness::give_way;
use crate::store::{self, Alone, Attempt, Batch, Checkpoints, Place, Reader, StoreError, Writer};
use crate::telemetry;

/// The wait before a store that failed is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(2);
/// How often a pause looks whether it is time to stop.
const PAUSE_PART: Duration = Duration::from_millis(50);
/// The shortest wait for more.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// The least time from one batch to the next, while nobody waits for the store: under load each
/// group that is committed would else be a batch of its own, which costs more than what is in it.
const PACE: Duration = Duration::from_millis(3);
/// How much this thread gives way to those that answer senders, while cores are short: it still
/// gets a quarter of one that is all busy, so that an MTA knows within a second.
const NICENESS: i32 = 5;

pub(super) struct Applier {
    /// Until the last is written.
    pub(super) _alone: Alone,
    pub(super) settings: Settings,
    pub(super) journal: journal::Reader,
    pub(super) reader: Reader,
    pub(super) committed: watch::Receiver<Position>,
    pub(super) applied: watch::Sender<Position>,
    pub(super) changes: Changes,
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
    pub(super) checkpoints: Arc<Checkpoints>,
    /// What looks through the old part of the journal, once.
    pub(super) scrub: Option<scrub::Scrub>,
    /// The store that was open last cannot be read.
    pub(super) rotten: bool,
    pub(super) forgotten: Arc<Forgotten>,
    /// Only as long as somebody else hands anything in.
    pub(super) queue: mpsc::WeakSender<Message>,
    /// When people are erased of whom something came later.
    pub(super) pace: Pace,
    /// Readers look into the store that is applied to, and not into one of before.
    pub(super) attached: bool,
}

/// Why a session ended.
enum Ended {
    /// It is time to stop.
    Stops,
    /// The store is to be made again of its checkpoint.
    Erased,
}

/// A store that is open, and what applies to it.
pub(super) struct Session {
    pub(super) writer: Writer,
    progress: Progress,
    attempt: Attempt,
    /// There may be a stretch that has to be merged again.
    again: bool,
    /// What comes of erasing who was forgotten.
    pub(super) stage: Stage,
    pub(super) lookout: Lookout,
}

impl Session {
    /// Of a store that is open, and goes on there: at a record, and an element of it.
    pub(super) fn new(
        (writer, attempt): (Writer, Attempt),
        journal: &journal::Reader,
        (record, within): (Position, u32),
    ) -> Session {
        let progress = Progress::new(journal, record, within);
        let (stage, lookout) = (Stage::None, Lookout::new());
        Session { writer, progress, attempt, again: true, stage, lookout }
    }

    /// How far it has come: a record, and how many of its elements.
    pub(super) fn reached(&self) -> (Position, u32) {
        self.progress.reached()
    }

    /// Goes back to where the store is. Nothing was taken.
    fn start_over(&mut self, journal: &journal::Reader) -> u64 {
        let (record, within) = (self.writer.applied(), self.writer.applied_within());
        self.progress = Progress::new(journal, record, within);
        0
    }

    /// Whether a record has just ended.
    pub(super) fn is_between_records(&self) -> bool {
        self.reached().1 == 0 && self.writer.applied_within() == 0
    }
}

/// What came of filling a batch.
enum Filled {
    /// It is as full as it gets.
    Full,
    /// The last in it is that this was set aside, and why.
    Aside(QuarantineId, &'static str),
    /// This step panicked: nothing in it counts.
    Panicked(Place),
}

impl Applier {
    /// Applies until the committer has ended and all of its work is applied. A store that fails
    /// is opened, or made, again: the journal has everything.
    pub(super) fn run(mut self) {
        give_way(NICENESS);
        self.sessions();
        if let Some(scrub) = self.scrub {
            scrub.end();
        }
    }

    fn sessions(&mut self) {
        let (mut last, mut erased) = (None, false);
        loop {
            // sled panics on some failures. The session keeps nothing that outlives it.
            let error = match catch_unwind(AssertUnwindSafe(|| self.session(erased))) {
                Ok(Ok(Ended::Erased)) => {
                    erased = true;
                    continue;
                }
                Ok(Ok(Ended::Stops)) => return,
                Ok(Err(error)) => error,
                Err(_) => StoreError::Damaged("sled gave up".to_owned()),
            };
            if self.shared.stopping.load(Ordering::Acquire) && !*self.shared.ready.borrow() {
                telemetry::ingest::rebuild_left(&error);
                return;
            }
            erased = false;
            let was_ready = self.shared.ready.send_replace(false);
            // The same is told once, until the store was open in between.
            telemetry::ingest::store_failed(&error, was_ready || last.as_ref() != Some(&error));
            last = Some(error.clone());
            self.reader.fail(error);
            if self.shared.stopping.load(Ordering::Acquire) {
                return;
            }
            // In the place of a state directory that was moved, no other is made.
            while self.pause(REOPEN_AFTER) && self.is_moved() {}
            if self.shared.stopping.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Opens the store and applies to it. `erased`: it was removed to be made again, and readers
    /// look into the one of before until then.
    fn session(&mut self, erased: bool) -> Result<Ended, StoreError> {
        let started = Instant::now();
        let end = *self.committed.borrow();
        let (mut session, view, believed) = self.open_store(end, erased)?;
        let mut chores = Chores::new(&self.settings, &self.checkpoints, &session.writer)?;
        if !*self.shared.ready.borrow() {
            self.reader.attach_behind(&view);
        }
        if self.lacks_start(self.journal.start()?)? {
            chores.want_checkpoint(&self.settings);
        }
        loop {
            let stopping = self.committed.has_changed().is_err();
            let committed = *self.committed.borrow_and_update();
            // What is left of a rebuild the next start does: nobody looks at half of it, and a stop
            // does not take as long.
            if self.shared.stopping.load(Ordering::Acquire) && !*self.shared.ready.borrow() {
                telemetry::ingest::rebuild_left(session.writer.applied());
                chores.finish(&self.settings, &session.writer, false)?;
                return Ok(Ended::Stops);
            }
            if session.writer.is_level() && !self.again(&mut session)? {
                chores.finish(&self.settings, &session.writer, false)?;
                return Ok(Ended::Stops);
            }
            let begun = Instant::now();
            let bytes = match self.batch(&mut session, committed) {
                // What it has is kept until the journal is back.
                Err(_) if self.is_moved() => session.start_over(&self.journal),
                bytes => bytes?,
            };
            chores.note(bytes, begun.elapsed());
            let (reached, _) = session.progress.reached();
            if reached >= end && !self.attached {
                let told = session.writer.hold(&mut Batch::default())?.flatten();
                let differs = told != *self.settings.policy.hold.get();
                self.shared.hold_differs.store(differs, Ordering::Relaxed);
                self.become_ready(&view, reached, believed);
                telemetry::ingest::store_ready(started.elapsed().as_secs_f64());
            }
            let is_rotten = self.shared.rotten.swap(false, Ordering::Relaxed);
            if is_rotten || session.writer.base().check().is_err() {
                self.rotten = true;
                return Err(StoreError::Damaged("a part of it cannot be read".to_owned()));
            }
            self.look_out(&mut session, &mut chores)?;
            let is_moved = self.is_moved();
            let journal = Some(&self.journal).filter(|_| !is_moved);
            chores.work(&self.settings, journal, &mut session.writer, self.attached)?;
            if !is_moved && self.erase(&mut session, &mut chores)? {
                return Ok(Ended::Erased);
            }
            if bytes > 0 {
                self.keep_pace(begun);
                continue;
            }
            if stopping {
                self.end(session, chores)?;
                return Ok(Ended::Stops);
            }
            let is_idle = chores.is_idle();
            self.wait(is_idle, self.erase_in(&session.stage));
        }
    }

    /// Lets everyone look, and wakes those who export.
    fn become_ready(&mut self, view: &Arc<store::View>, applied: Position, believed: bool) {
        self.reader.attach(view);
        self.attached = true;
        self.shared.ready.send_replace(true);
        self.tell_applied(applied);
        // The store may have been made anew: whoever exports looks at all of it.
        self.changes.tell_all();
        if self.scrub.is_none() {
            let (journal, shared) = (self.journal.clone(), Arc::clone(&self.shared));
            let store = believed.then(|| self.reader.clone());
            self.scrub = Some(scrub::Scrub::start(journal, applied, store, shared));
        }
    }

    /// Applies one batch; says how many bytes of the journal it took.
    fn batch(&self, session: &mut Session, end: Position) -> Result<u64, StoreError> {
        let Session { writer, progress, attempt, again, .. } = session;
        let (start, first, taken) = (progress.reached(), progress.place(), progress.taken());
        let mut merge = self.merge(writer, None)?;
        let aside = match self.fill(&mut merge, progress, attempt, end)? {
            Filled::Full => None,
            Filled::Aside(id, why) => Some((id, why)),
            Filled::Panicked(place) => {
                attempt.failed(place);
                progress.rewind(&self.journal, start.0, start.1);
                return Ok(1);
            }
        };
        if progress.place() == first {
            attempt.done();
            return Ok(0);
        }
        let bytes = progress.taken() - taken;
        let Merge { batch, changed, unreadable, passed, found, told, .. } = merge;
        let (record, within) = progress.reached();
        if writer.is_applied(record, within) {
            // The index has more of what it lacked: nobody waits for that.
            writer.commit_within(batch, record, within)?;
            attempt.done();
            return Ok(bytes.max(1));
        }
        if !told.is_empty() {
            // First: what is told of who was forgotten is erased, whatever happens.
            self.forgotten.tell(told)?;
        }
        *again |= found;
        writer.commit_within(batch, record, within)?;
        attempt.done();
        self.shared.flow.add(passed, clock::now(), *self.shared.ready.borrow());
        for (source, elements) in unreadable {
            telemetry::ingest::quarantined(source.as_str(), elements);
        }
        if let Some((id, why)) = aside {
            // So that nothing has to be tried again after a crash.
            writer.sync()?;
            telemetry::ingest::set_aside(id, why);
        }
        self.publish(record, changed, bytes);
        Ok(bytes.max(1))
    }

    /// Merges stretches again that were received while the clock was wrong. What is recorded
    /// behind them waits, so that it finds their lifts where they belong. Says whether it came to
    /// an end: when it is time to stop, the next start begins with it.
    fn again(&self, session: &mut Session) -> Result<bool, StoreError> {
        let Session { writer, attempt, again, .. } = session;
        while *again {
            let Some((record, stretch)) = writer.stretch()? else {
                *again = false;
                break;
            };
            let from = begin_of(&stretch, &self.journal, record)?;
            let mut progress = Progress::new(&self.journal, from, 0);
            while progress.has_more(record) {
                if self.shared.stopping.load(Ordering::Acquire) {
                    return Ok(false);
                }
                self.batch_again(writer, &mut progress, attempt, (record, &stretch))?;
            }
            let mut batch = Batch::default();
            writer.end_stretch(&mut batch, record)?;
            writer.commit_beside(batch)?;
        }
        Ok(true)
    }

    /// Merges one batch again, up to the record that tells of the stretch.
    fn batch_again(
        &self,
        writer: &mut Writer,
        progress: &mut Progress,
        attempt: &mut Attempt,
        (end, stretch): (Position, &Stretch),
    ) -> Result<(), StoreError> {
        let (record, within) = progress.reached();
        let mut merge = self.merge(writer, Some(stretch))?;
        if let Filled::Panicked(place) = self.fill(&mut merge, progress, attempt, end)? {
            attempt.failed(place);
            progress.rewind(&self.journal, record, within);
            return Ok(());
        }
        let Merge { batch, changed, .. } = merge;
        writer.commit_beside(batch)?;
        attempt.done();
        self.changes.tell(changed);
        Ok(())
    }

    /// Fills a batch: with one step alone if that may be one that goes wrong.
    fn fill(
        &self,
        merge: &mut Merge<'_>,
        progress: &mut Progress,
        attempt: &mut Attempt,
        end: Position,
    ) -> Result<Filled, StoreError> {
        let (mut has_begun, begun) = (false, Instant::now());
        while !merge.is_full() && progress.has_more(end) {
            let place = progress.place();
            let alone = attempt.is_alone(place);
            // The index can be put down between two records only.
            let wants_end = place.step == 0 && merge.writer.index().is_full();
            let ends = alone || wants_end || begun.elapsed() >= BATCH_TIME;
            if ends && has_begun {
                break;
            }
            if std::mem::replace(&mut has_begun, true) {
                attempt.next();
            } else {
                if let Some(pause) = attempt.pause(place) {
                    telemetry::ingest::suspected(place.record, pause);
                    self.pause(pause);
                }
                attempt.begin(place);
            }
            if attempt.is_given_up(place) {
                return Ok(Filled::Aside(progress.set_aside(merge, end, DEFECT)?, DEFECT));
            }
            // A defect costs one element, not the daemon: the journal would bring the same bytes
            // again at every start. sled's own panics are errors by now.
            let step = || progress.step(merge, end);
            let Ok(step) = catch_unwind(AssertUnwindSafe(step)) else {
                return Ok(Filled::Panicked(place));
            };
            match step? {
                Step::Done if alone => break,
                Step::Done => {}
                Step::Newer(form) => {
                    self.shared.halt(place.record, form);
                    break;
                }
                Step::Strange => {
                    return Ok(Filled::Aside(progress.set_aside(merge, end, STRANGE)?, STRANGE));
                }
            }
        }
        Ok(Filled::Full)
    }

    fn merge<'a>(
        &self,
        writer: &'a Writer,
        again: Option<&'a Stretch>,
    ) -> Result<Merge<'a>, StoreError> {
        let policy = &self.settings.policy;
        let mut batch = Batch::default();
        let hold = writer.hold(&mut batch)?;
        Ok(Merge {
            writer,
            rules: policy.rules.get(),
            reading: policy.reading.get(),
            // Of what earlier versions have recorded, the journal does not say.
            hold: hold.unwrap_or(*policy.hold.get()),
            batch,
            now: clock::now(),
            changed: Vec::new(),
            unreadable: BTreeMap::new(),
            turns: policy.turns.get(),
            place: QuarantineId { record: Position::default(), element: 0 },
            passed: Passed::default(),
            elements: 0,
            fresh: false,
            again,
            found: false,
            is_copy: false,
            forgotten: Arc::clone(&self.forgotten),
            told: Vec::new(),
        })
    }

    /// Tells everyone who waits how far the store is.
    fn publish(&self, applied: Position, changed: Vec<Change>, bytes: u64) {
        // The bytes are those of payloads alone: being level is what sets the rest right.
        let level = applied >= *self.committed.borrow();
        let less = |lag: u64| Some(if level { 0 } else { lag.saturating_sub(bytes) });
        let lag = self.shared.lag.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        telemetry::ingest::lag(lag.ok().and_then(less).unwrap_or(0));
        self.changes.tell(changed);
        // Whoever waits for it looks then: not before all can.
        if self.attached {
            self.tell_applied(applied);
        }
    }

    /// Tells how far the store has come, for all who look into it.
    fn tell_applied(&self, applied: Position) {
        self.shared.trail.applied(applied);
        self.applied.send_replace(applied);
    }

    /// Lets more come before the next batch, where nobody waits for the store.
    #[expect(clippy::disallowed_methods, reason = "a pace: there is no condition to wait for")]
    fn keep_pace(&self, begun: Instant) {
        if self.attached {
            std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
        }
    }

    /// Waits, but not when it is time to stop; says whether it is not.
    fn pause(&self, pause: Duration) -> bool {
        // Made inside: a timer needs the runtime around it.
        let stopping = async {
            while !self.shared.stopping.load(Ordering::Acquire) {
                tokio::time::sleep(PAUSE_PART).await;
            }
        };
        let waited = async { tokio::time::timeout(pause, stopping).await };
        self.runtime.block_on(waited).is_err()
    }

    /// Waits for more to be committed; not at all long while there are chores, nor much longer than
    /// `most`.
    fn wait(&mut self, idle: bool, most: Duration) {
        let limit = if idle { LOOK_EVERY.min(most) } else { Duration::ZERO };
        let limit = limit.min(self.settings.sync_every).max(WAIT_MIN);
        let (committed, shared) = (&mut self.committed, &self.shared);
        self.runtime.block_on(async {
            tokio::select! {
                _ = tokio::time::timeout(limit, committed.changed()) => {}
                () = shared.wake.notified() => {}
            }
        });
    }
}
