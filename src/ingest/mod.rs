//! The one way in: hand over a submission, and be answered when it is durable.
//!
//! The committer writes and syncs what is waiting, in groups that form by themselves. Behind it the
//! applier merges the journal into the store; no answer waits, but it may not fall far behind.

mod again;
mod applier;
mod apply;
mod beginning;
mod changes;
mod chores;
mod clockwatch;
mod committer;
mod erase;
mod flow;
pub mod foresight;
mod forget;
mod hold;
mod imports;
mod lookout;
mod packing;
mod peers;
mod progress;
mod runs;
mod scrub;
mod settings;
mod trail;
mod turned;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::forgotten::Forgotten;
use crate::journal::{self, Damage, OpenError, PAYLOAD_MAX};
use crate::model::{Position, SourceName, Submission, bounds};
use crate::room::{Room, Share};
use crate::store::{Alone, Checkpoints, Reader, is_open_to_others, newest_checkpoint};
use crate::{clock, telemetry};
use committer::{Sealed, Waiting};

pub use changes::{Change, Changes};
pub use erase::{Erased, Postponed};
pub use flow::{Imports, Told};
pub use settings::{Known, Policy, Settings};
pub use trail::Lag;

/// Most submissions waiting to be committed.
const QUEUE_MAX: usize = 8_192;
/// Most bytes that are received and not yet durable, unless the configuration says so. Reading the
/// large ones may take as many again.
pub const MEMORY: usize = 16 << 20;
/// About how many bytes of elements whoever has many puts into one record: what is applied needs
/// memory for one record at a time.
pub const RECORD_BYTES: usize = 4 << 20;
/// How far the store may be behind the journal, in bytes, before intake waits for it.
const LAG_BYTES_MAX: u64 = 1 << 30;
/// Longest wait of an operator's question for what was acknowledged before it.
const LEVEL_WAIT: Duration = Duration::from_secs(2);
/// When a sender that was refused may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a submission was not taken. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is waiting.
    #[error("intake is full")]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// Nothing can be made durable: the disk is full or fails, or the journal is not in its place.
    #[error("nothing can be made durable: {why}")]
    Unwritable {
        /// What is so, and what to do.
        why: Arc<str>,
        /// When to try again.
        retry_after: Duration,
    },
    /// It is larger than a record can be, or what it would leave in the store for good is.
    #[error("the submission is too large")]
    TooLarge,
    /// The daemon is stopping.
    #[error("stopping")]
    Stopping,
}

/// Proof that a submission is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where its record is.
    pub record: Position,
    /// Where the next one is: the store has applied it when it has come this far.
    pub end: Position,
}

/// Too much is waiting.
const FULL: Refused = Refused::Full { retry_after: RETRY_AFTER };

/// A submission that was handed in.
#[derive(Debug)]
pub struct Handed(oneshot::Receiver<Result<Receipt, Refused>>);

impl Handed {
    /// Waits until it is synced to disk.
    ///
    /// # Errors
    /// When it could not be; then nothing of it was kept.
    pub async fn durable(self) -> Result<Receipt, Refused> {
        self.0.await.unwrap_or(Err(Refused::Stopping))
    }
}

/// Takes submissions. Cheap to clone; every edge that changes state has one.
#[derive(Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Message>,
    room: Room,
    shared: Arc<Shared>,
    committed: watch::Receiver<Position>,
    applied: watch::Receiver<Position>,
    forgotten: Arc<Forgotten>,
    journal: journal::Reader,
    quarantine: PathBuf,
}

enum Message {
    Submit(Waiting),
    /// Completes the segment that is being written.
    Seal(oneshot::Sender<Sealed>),
    Stop,
}

/// What the threads tell each other, and others who ask.
#[derive(Default)]
struct Shared {
    /// Bytes that are committed and not applied.
    lag: AtomicU64,
    /// The records that are, since the start.
    trail: trail::Trail,
    /// The journal is not where the next start looks for it.
    moved: AtomicBool,
    /// Nothing can be made durable at the moment.
    stopped: Mutex<Option<Arc<str>>>,
    /// The store is open and has caught up with what was there at the start.
    ready: watch::Sender<bool>,
    stopping: AtomicBool,
    /// The store was believed, and cannot be read.
    rotten: AtomicBool,
    /// Where a record is that only a newer version can apply, and the number of its form.
    halted: OnceLock<(Position, u8)>,
    /// What went into the store since the start.
    flow: flow::Flow,
    /// The journal tells of another rule for masses than that which holds.
    hold_differs: AtomicBool,
    /// By how many milliseconds the clock went ahead lately.
    ahead: AtomicU64,
    /// How many have something to do before anything is erased.
    postponed: AtomicUsize,
    /// Somebody waits for it.
    asked: AtomicBool,
    /// Wakes the applier: there is something to erase.
    wake: Notify,
    /// What was erased last, or why it was not.
    erased: watch::Sender<Option<Result<Erased, String>>>,
}

impl Shared {
    /// Why nothing can be made durable, if that is so.
    fn stopped(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that nothing further can be applied, and says so once.
    fn halt(&self, record: Position, form: u8) {
        if self.halted.set((record, form)).is_ok() {
            telemetry::ingest::halted(record, form);
        }
    }
}

/// The running intake.
pub struct Running {
    /// The way in.
    pub ingest: Ingest,
    /// The way to look.
    pub reader: Reader,
    /// Where every change of a verdict is told.
    pub changes: Changes,
    /// What may be exchanged.
    pub policy: Policy,
    /// The checkpoints.
    pub checkpoints: Arc<Checkpoints>,
    committer: oneshot::Receiver<()>,
    applier: oneshot::Receiver<()>,
}

/// An intake that has its journal, and has promised nothing yet.
pub struct Opened {
    alone: Alone,
    settings: Settings,
    writer: journal::Writer,
    reader: journal::Reader,
    forgotten: Arc<Forgotten>,
}

/// Opens the journal and starts. Submissions are taken at once; the store opens behind them.
///
/// # Errors
/// When the journal cannot be opened.
pub fn start(settings: Settings, runtime: &Handle) -> Result<Running, OpenError> {
    open(settings)?.start(runtime)
}

/// Opens the journal, and keeps every other process out. Nothing is made of the store before the
/// intake is started.
///
/// # Errors
/// When the journal cannot be opened.
pub fn open(settings: Settings) -> Result<Opened, OpenError> {
    let alone = Alone::take(&settings.state)?;
    let mut opened = journal::open(&settings.state.join("journal"), &settings.quarantine())?;
    if is_open_to_others(&settings.state) {
        telemetry::ingest::state_open_to_others(&settings.state);
    }
    let lost = number_on(&mut opened.writer, &settings)?;
    if opened.recovery.torn > 0 {
        telemetry::ingest::journal_torn(opened.recovery.torn);
    }
    opened.recovery.damage.iter().chain(&lost).for_each(Damage::tell);
    let journal::Journal { writer, reader, .. } = opened;
    let forgotten = Forgotten::open(&settings.state);
    let of_state = |error| OpenError::Io { path: settings.state.clone(), error };
    let forgotten = Arc::new(forgotten.map_err(of_state)?);
    Ok(Opened { alone, settings, writer, reader, forgotten })
}

impl Opened {
    /// Starts.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(self, runtime: &Handle) -> Result<Running, OpenError> {
        let Opened { alone, settings, writer, reader: journal, forgotten } = self;
        let end = writer.end();
        let (shared, room) = (Arc::new(Shared::default()), Room::new(settings.memory));
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (committed_tx, committed) = watch::channel(end);
        let (applied_tx, applied_rx) = watch::channel(Position::default());
        let (changes, policy) = (Changes::default(), settings.policy.clone());
        let reader = Reader::new(journal.clone(), Arc::clone(&policy.reading))
            .with_forgotten(Arc::clone(&forgotten));
        let (committer_done, committer) = oneshot::channel();
        let (applier_done, applier) = oneshot::channel();
        let (folder, now) = (settings.store().checkpoint, Instant::now());
        let (clock, wrong) = clockwatch::ClockWatch::start(&folder, end, clock::now(), now);
        let mut commit = committer::Committer {
            writer,
            waiting,
            committed: committed_tx,
            shared: Arc::clone(&shared),
            runtime: runtime.clone(),
            waits: false,
            clock,
            wrong,
            hold: Arc::clone(&policy.hold),
            told_hold: *policy.hold.get(),
        };
        commit.look();
        let checkpoints = Arc::new(Checkpoints::new(&settings.store()));
        let ingest = Ingest {
            queue: queue.clone(),
            room,
            shared: Arc::clone(&shared),
            committed: committed.clone(),
            applied: applied_rx,
            forgotten: Arc::clone(&forgotten),
            journal: journal.clone(),
            quarantine: settings.quarantine(),
        };
        let apply = applier::Applier {
            _alone: alone,
            forgotten,
            queue: queue.downgrade(),
            pace: erase::Pace::new(),
            attached: false,
            checkpoints: Arc::clone(&checkpoints),
            settings,
            journal,
            reader: reader.clone(),
            committed,
            applied: applied_tx,
            changes: changes.clone(),
            shared: Arc::clone(&shared),
            runtime: runtime.clone(),
            scrub: None,
            rotten: false,
        };
        spawn("committer", move || {
            commit.run();
            let _ = committer_done.send(());
        })?;
        spawn("applier", move || {
            apply.run();
            let _ = applier_done.send(());
        })?;
        Ok(Running { ingest, reader, changes, policy, checkpoints, committer, applier })
    }
}

/// Should segments be lost that a checkpoint stands for: notes it, and lets no new one stand before
/// the checkpoint, or a rebuild from it would pass over what is told from now on.
fn number_on(
    writer: &mut journal::Writer,
    settings: &Settings,
) -> Result<Option<Damage>, OpenError> {
    let mut work = || -> io::Result<Option<Damage>> {
        let end = writer.end();
        let newest = newest_checkpoint(&settings.store().checkpoint)?;
        let Some(newest) = newest.filter(|newest| *newest > end) else { return Ok(None) };
        writer.number_from(newest.segment + 1);
        let text = format!("A checkpoint stands for it up to {newest}; it now ends at {end}.\n");
        journal::note_loss(&settings.quarantine(), end, &text).map(Some)
    };
    work().map_err(|error| OpenError::Io { path: settings.state.clone(), error })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    let error = |error| OpenError::Io { path: PathBuf::from(format!("thread {name}")), error };
    thread.map(drop).map_err(error)
}

impl Ingest {
    /// Appends a submission to the journal. The answer comes when it is synced to disk. Once this
    /// was polled, dropping it does not take the submission back.
    ///
    /// # Errors
    /// When it was not taken; then nothing of it was kept.
    pub async fn submit(&self, submission: &Submission) -> Result<Receipt, Refused> {
        if !is_within_bounds(submission) {
            return Err(Refused::TooLarge);
        }
        let payload = submission.encode();
        // One that is larger than all the room takes all of it.
        let share = self.room.take(payload.len()).map_err(|_| FULL)?;
        self.hand_in(&submission.source, payload, share)?.durable().await
    }

    /// Hands in an encoded submission, with what its body holds of the room so far. It is not taken
    /// back when the answer is not waited for.
    ///
    /// # Errors
    /// When it was not taken; then nothing of it was kept.
    pub fn hand_in(
        &self,
        source: &SourceName,
        payload: Vec<u8>,
        mut share: Share,
    ) -> Result<Handed, Refused> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(Refused::Stopping);
        }
        self.keeps_up()?;
        if payload.len() > PAYLOAD_MAX {
            return Err(Refused::TooLarge);
        }
        share.settle(payload.len()).map_err(|_| FULL)?;
        let (reply, answer) = oneshot::channel();
        let waiting =
            Waiting { source: source.clone(), since: Instant::now(), payload, reply, share };
        let waiting = Message::Submit(waiting);
        self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => FULL,
            mpsc::error::TrySendError::Closed(_) => Refused::Stopping,
        })?;
        Ok(Handed(answer))
    }

    /// Whether the store keeps up: else nothing more is taken, and need not be received.
    ///
    /// # Errors
    /// When it does not.
    pub fn keeps_up(&self) -> Result<(), Refused> {
        let lags = self.shared.lag.load(Ordering::Relaxed) > LAG_BYTES_MAX;
        if lags { Err(FULL) } else { Ok(()) }
    }

    /// The room for all that is received and not yet durable.
    pub fn room(&self) -> Room {
        self.room.clone()
    }

    /// Waits until the store has applied what a receipt stands for.
    pub async fn applied(&self, receipt: Receipt) {
        let mut applied = self.applied.clone();
        // It fails only when the applier has ended; then there is nothing to wait for.
        let _ = applied.wait_for(|position| *position >= receipt.end).await;
    }

    /// Waits until the store has applied all that is acknowledged now, but not long: a store that
    /// is being opened says so itself.
    pub async fn level(&self) {
        let committed = *self.committed.borrow();
        let mut applied = self.applied.clone();
        let level = applied.wait_for(|position| *position >= committed);
        let _ = tokio::time::timeout(LEVEL_WAIT, level).await;
    }

    /// The end of what is committed.
    pub fn committed(&self) -> Position {
        *self.committed.borrow()
    }

    /// How far the store has come; changes with every batch.
    pub fn progress(&self) -> watch::Receiver<Position> {
        self.applied.clone()
    }

    /// Bytes that are committed and not applied.
    pub fn lag_bytes(&self) -> u64 {
        self.shared.lag.load(Ordering::Relaxed)
    }

    /// How far the store is behind what was acknowledged since the start, at this moment.
    pub fn lag(&self) -> Lag {
        self.shared.trail.lag(Instant::now())
    }

    /// The events that went into the store since the start.
    pub fn told(&self) -> Vec<Told> {
        self.shared.flow.so_far()
    }

    /// What became of the rows that were imported for a source since the start.
    pub fn imports(&self, source: &SourceName) -> Imports {
        self.shared.flow.imports(source)
    }

    /// Submissions that wait to be committed, and how many may.
    pub fn waiting(&self) -> (usize, usize) {
        (QUEUE_MAX - self.queue.capacity(), QUEUE_MAX)
    }

    /// Why nothing can be made durable, if that is so.
    pub fn obstacle(&self) -> Option<Arc<str>> {
        let stopping = self.shared.stopping.load(Ordering::Relaxed);
        stopping.then(|| "suppressd is stopping".into()).or_else(|| self.shared.stopped().clone())
    }

    /// Where a record is that only a newer version can apply, and the number of its form.
    pub fn halted(&self) -> Option<(Position, u8)> {
        self.shared.halted.get().copied()
    }

    /// Whether the store is open and has caught up with what was there at the start.
    pub fn is_ready(&self) -> bool {
        *self.shared.ready.borrow()
    }

    /// Waits until it is.
    pub async fn ready(&self) {
        // The sender lives as long as we do.
        let _ = self.shared.ready.subscribe().wait_for(|ready| *ready).await;
    }
}

/// Whether what is kept of a submission for good, beside what its elements say, is short enough.
fn is_within_bounds(submission: &Submission) -> bool {
    let cursor = submission.cursor.as_ref();
    submission.feed.len() <= bounds::FEED_BYTES_MAX
        && cursor.is_none_or(|cursor| cursor.feed.len() <= bounds::FEED_BYTES_MAX)
        && cursor.is_none_or(|cursor| cursor.state.len() <= bounds::CURSOR_BYTES_MAX)
}

impl Running {
    /// Takes nothing more, commits and applies what was taken, and syncs the store. Each part is
    /// given until `limit` has passed; says which did not end.
    pub async fn stop(self, limit: Duration) -> Vec<&'static str> {
        self.ingest.shared.stopping.store(true, Ordering::Release);
        let _ = self.ingest.queue.send(Message::Stop).await;
        let deadline = tokio::time::Instant::now() + limit;
        let mut stragglers = Vec::new();
        for (name, done) in [("committer", self.committer), ("applier", self.applier)] {
            if tokio::time::timeout_at(deadline, done).await.is_err() {
                if name == "applier" && !*self.ingest.shared.ready.borrow() {
                    telemetry::ingest::rebuild_left("it was being opened");
                    continue;
                }
                stragglers.push(name);
            }
        }
        stragglers
    }
}
