//! Group commit: all that is waiting goes into the journal with one write and one sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::clockwatch::ClockWatch;
use super::{Ingest, Message, RETRY_AFTER, Receipt, Refused, Shared};
use crate::clock;
use crate::current::Current;
use crate::journal::{AppendError, Placed, Writer};
use crate::model::{Element, Hold, Position, SourceName, Stretch, Submission};
use crate::provider::{self, OWN};
use crate::room::Share;
use crate::telemetry;

/// A group is closed when it has this many bytes; what is left waits for the next.
const GROUP_BYTES: usize = 8 << 20;
/// How often it is looked whether the journal is in its place, while nothing comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Committer {
    pub(super) writer: Writer,
    pub(super) waiting: mpsc::Receiver<Message>,
    pub(super) committed: watch::Sender<Position>,
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
    /// The journal is not as it was, or the disk is full: that is seen without writing.
    pub(super) waits: bool,
    pub(super) clock: ClockWatch,
    /// The clock was wrong, and the journal does not say so yet.
    pub(super) wrong: Option<Stretch>,
    /// By which rule masses are held, and which of them the journal tells of, as far as we know.
    pub(super) hold: Arc<Current<Option<Hold>>>,
    pub(super) told_hold: Option<Hold>,
}

/// What is answered when a segment is complete.
pub(super) type Seal = oneshot::Sender<Sealed>;

/// Segments are complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    /// Where what is in them ends.
    pub(super) end: Position,
    /// The number that theirs are below.
    pub(super) below: u32,
}

/// A submission that waits to be committed, and who waits for it.
pub(super) struct Waiting {
    pub(super) source: SourceName,
    pub(super) since: Instant,
    pub(super) payload: Vec<u8>,
    pub(super) reply: oneshot::Sender<Result<Receipt, Refused>>,
    /// What it holds of the room for all that is not durable.
    pub(super) share: Share,
}

impl Waiting {
    /// Answers whoever asked, who may be gone. Its room is free by then for what comes next.
    fn answer(self, answer: Result<Receipt, Refused>) {
        drop(self.share);
        if answer.is_ok() {
            telemetry::ingest::durable(self.source.as_str(), self.since.elapsed());
        }
        let _ = self.reply.send(answer);
    }
}

impl Ingest {
    /// By how much the clock went ahead lately, if nothing has undone that.
    pub fn clock_ahead(&self) -> Option<Duration> {
        let ahead = self.shared.ahead.load(Ordering::Relaxed);
        (ahead > 0).then(|| Duration::from_millis(ahead))
    }
}

impl Committer {
    /// Commits until it is told to stop, and then what is still waiting.
    pub(super) fn run(mut self) {
        while let Some(message) = self.next() {
            let (group, seals, stop) = self.gather(message);
            if !group.is_empty() {
                self.commit(group);
            }
            seals.into_iter().for_each(|reply| self.seal(reply));
            if stop {
                self.waiting.close();
            }
        }
        // What is applied has to be kept otherwise, where the journal is gone.
        self.look();
        self.clock.note(Instant::now());
        if let Err(error) = self.writer.seal() {
            telemetry::ingest::intake_stopped(error);
        }
    }

    /// The next message. While there is none, looks now and then whether the journal is in its
    /// place, and has room.
    fn next(&mut self) -> Option<Message> {
        loop {
            let waiting = &mut self.waiting;
            // Made inside: a timer needs the runtime around it.
            let next = async { tokio::time::timeout(LOOK_EVERY, waiting.recv()).await };
            match self.runtime.block_on(next) {
                Ok(message) => return message,
                Err(_) => self.look(),
            }
        }
    }

    /// Looks whether what comes could be committed, so that nobody is told otherwise.
    pub(super) fn look(&mut self) {
        self.watch_clock();
        self.watch_hold();
        self.writer.leave_room(self.shared.lag.load(Ordering::Relaxed));
        match self.writer.check() {
            Ok(()) if std::mem::take(&mut self.waits) => self.resume(),
            Ok(()) => {}
            Err(error) => self.refuse(Vec::new(), &error),
        }
    }

    /// Takes everything that is waiting, up to the size of a group.
    fn gather(&mut self, first: Message) -> (Vec<Waiting>, Vec<Seal>, bool) {
        let (mut group, mut seals) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Submit(waiting) => {
                    bytes += waiting.payload.len();
                    group.push(waiting);
                }
                Message::Seal(reply) => seals.push(reply),
                Message::Stop => return (group, seals, true),
            }
            next = if bytes < GROUP_BYTES { self.waiting.try_recv().ok() } else { None };
        }
        (group, seals, false)
    }

    /// Completes the segment that is being written, for whoever wants to change it.
    fn seal(&mut self, reply: Seal) {
        // Of a segment that has no record yet nobody comes to the end.
        let end = *self.committed.borrow();
        match self.writer.seal() {
            // Nobody may wait any more.
            Ok(()) => drop(reply.send(Sealed { end, below: self.writer.end().segment })),
            Err(error) => self.refuse(Vec::new(), &error),
        }
    }

    /// Looks at the clock. Should it have been wrong, the journal says so before anything else.
    fn watch_clock(&mut self) {
        let (now, end) = (Instant::now(), self.writer.end());
        if self.wrong.is_none() {
            self.wrong = self.clock.look(clock::now(), now, end);
            let ahead = self.clock.ahead().map_or(0, |by| by.as_millis() as u64);
            self.shared.ahead.store(ahead, Ordering::Relaxed);
        }
        let Some(stretch) = self.wrong else { return };
        if self.append_own(provider::stretch_element(&stretch)) {
            self.wrong = None;
            self.clock.note(now);
            telemetry::health::clock_was_wrong(&stretch);
        }
    }

    /// Has the journal say by which rule masses are held from here on, if that is another one.
    fn watch_hold(&mut self) {
        let hold = *self.hold.get();
        let differs = self.shared.hold_differs.load(Ordering::Relaxed);
        if (differs || hold != self.told_hold) && self.append_own(provider::hold_element(hold)) {
            self.shared.hold_differs.store(false, Ordering::Relaxed);
            self.told_hold = hold;
        }
    }

    /// Writes an element of our own, before all that waits; says whether it could.
    fn append_own(&mut self, element: Element) -> bool {
        let source = SourceName::operator();
        let submission = Submission::ours(source, OWN, vec![element], clock::now());
        let payload = submission.encode();
        let bytes = payload.len() as u64;
        let appended = self.writer.append(&[payload]);
        match &appended {
            Ok(placed) => self.acknowledge(Vec::new(), placed, bytes),
            Err(error) => self.refuse(Vec::new(), error),
        }
        appended.is_ok()
    }

    fn commit(&mut self, mut group: Vec<Waiting>) {
        self.watch_clock();
        self.watch_hold();
        let payloads: Vec<Vec<u8>> =
            group.iter_mut().map(|waiting| std::mem::take(&mut waiting.payload)).collect();
        let bytes = payloads.iter().map(Vec::len).sum::<usize>();
        let started = Instant::now();
        self.writer.leave_room(self.shared.lag.load(Ordering::Relaxed));
        match self.writer.append(&payloads) {
            Ok(placed) => {
                telemetry::ingest::group_committed(payloads.len(), bytes, started.elapsed());
                self.acknowledge(group, &placed, bytes as u64);
            }
            Err(error) => self.refuse(group, &error),
        }
    }

    fn acknowledge(&mut self, group: Vec<Waiting>, placed: &[Placed], bytes: u64) {
        self.resume();
        self.shared.lag.fetch_add(bytes, Ordering::Relaxed);
        self.shared.trail.add(self.writer.end(), placed.len(), Instant::now());
        // Before the answers: who asks after one finds what it was about.
        self.committed.send_replace(self.writer.end());
        for (waiting, placed) in group.into_iter().zip(placed) {
            waiting.answer(Ok(Receipt { record: placed.record, end: placed.end }));
        }
    }

    fn resume(&mut self) {
        self.waits = false;
        self.shared.moved.store(false, Ordering::Release);
        if self.shared.stopped().take().is_some() {
            telemetry::ingest::intake_resumed();
        }
    }

    fn refuse(&mut self, group: Vec<Waiting>, error: &AppendError) {
        self.waits = error.is_of_a_hand() || matches!(error, AppendError::Full);
        self.shared.moved.store(error.is_of_a_hand(), Ordering::Release);
        let why: Arc<str> = error.to_string().into();
        // The same is told once.
        if self.shared.stopped().replace(Arc::clone(&why)).as_ref() != Some(&why) {
            telemetry::ingest::intake_stopped(error);
        }
        for waiting in group {
            let why = Arc::clone(&why);
            waiting.answer(Err(Refused::Unwritable { why, retry_after: RETRY_AFTER }));
        }
    }
}
