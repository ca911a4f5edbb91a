//! Erasing who was forgotten: from the journal where it lies, and with it all that was made of it.
//!
//! What is still to be erased is durable before anything changes, and gone from there only when all
//! is done: so a crash in between is made up for by the next start, and twice does no harm. The
//! journal and the index are gone through in a thread, while the applier goes on.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::applier::{Applier, Session};
use super::chores::{Chores, beside, ended};
use super::committer::Sealed;
use super::{Ingest, Message, Shared};
use crate::clock;
use crate::forgotten::{Forgotten, KeptGround, Pending};
use crate::journal::{self, Blanked, blank_files};
use crate::model::{Address, Element, Spellings, Submission};
use crate::provider::{Reading, read_element};
use crate::store::{self, Index, StoreError};
use crate::telemetry;

/// What comes of people who were forgotten is erased after this time, and then after twice that of
/// before, up to the most: each time, a segment of the journal ends early.
const PACE_MIN: Duration = Duration::from_secs(1);
const PACE_MAX: Duration = Duration::from_secs(15 * 60);
/// The wait before what failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How often whoever waits for it looks whether it is time to stop.
const STOP_LOOK: Duration = Duration::from_millis(200);
/// How much the thread gives way to all others.
const NICENESS: i32 = 10;

/// While there is one, nothing is erased.
pub struct Postponed(Arc<Shared>);

impl Drop for Postponed {
    fn drop(&mut self) {
        self.0.postponed.fetch_sub(1, Ordering::AcqRel);
        self.0.asked.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

/// What was erased, or is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Segments of the journal that were written again.
    pub segments: u64,
    /// Elements in them that named an address.
    pub elements: u64,
    /// Files in quarantine that were written again.
    pub quarantined: u64,
    /// Keys of the store.
    pub keys: u64,
}

/// Addresses, and how each may be spelled.
struct People(Vec<(Address, Spellings)>);

/// What an erasing has come to.
#[derive(Default)]
pub(super) enum Stage {
    /// There is none.
    #[default]
    None,
    /// The segments are complete, and not all in them is applied.
    Sealed(BTreeMap<String, Pending>, Sealed),
    /// A thread goes through them.
    Working(Work),
}

/// What a thread is at.
pub(super) struct Work {
    pending: BTreeMap<String, Pending>,
    below: u32,
    people: Arc<People>,
    given_up: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Erased>>>,
}

impl Drop for Work {
    /// Nobody changes segments any more when the store is opened again.
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// When people are erased of whom something came later.
pub(super) struct Pace {
    last: Instant,
    wait: Duration,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { last: Instant::now(), wait: Duration::ZERO }
    }

    fn left(&self) -> Duration {
        self.wait.saturating_sub(self.last.elapsed())
    }

    fn again_in(&mut self, wait: Duration) {
        (self.last, self.wait) = (Instant::now(), wait);
    }

    /// One more was done.
    fn done(&mut self) {
        let is_calm = self.last.elapsed() >= 2 * PACE_MAX;
        let wait = if is_calm { PACE_MIN } else { (2 * self.wait).clamp(PACE_MIN, PACE_MAX) };
        self.again_in(wait);
    }
}

impl People {
    fn of(addresses: impl Iterator<Item = Address>) -> People {
        People(addresses.map(|address| (address.clone(), Spellings::of(&address))).collect())
    }

    fn addresses(&self) -> Vec<Address> {
        self.0.iter().map(|(address, _)| address.clone()).collect()
    }

    fn may_be_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|(_, spellings)| spellings.may_be_in(bytes))
    }

    /// Blanks them; says how often they were there.
    fn blank(&self, bytes: &mut [u8]) -> usize {
        self.0.iter().map(|(_, spellings)| spellings.blank(bytes)).sum()
    }

    fn blank_text(&self, text: &mut String) -> usize {
        let mut bytes = std::mem::take(text).into_bytes();
        let times = self.blank(&mut bytes);
        // What takes the place of a character is ASCII, and so is what stays.
        *text = String::from_utf8_lossy(&bytes).into_owned();
        times
    }

    /// Blanks them in a record; says in how many parts of it they were.
    fn blank_record(&self, bytes: &mut Vec<u8>, reading: &Reading) -> usize {
        if !self.may_be_in(bytes) {
            return 0;
        }
        let copy = Submission::original(bytes);
        let read = Submission::decode(copy.as_ref().map_or(&bytes[..], |(_, original)| original));
        let Ok(mut submission) = read else { return self.blank(bytes) };
        let mut parts = 0;
        let head = Submission { elements: Vec::new(), cursor: None, ..submission.clone() };
        for element in &mut submission.elements {
            parts += usize::from(self.blank_element(&head, element, reading));
        }
        if let Some(cursor) = &mut submission.cursor {
            parts += usize::from(self.blank_text(&mut cursor.state) > 0);
        }
        let blanked = submission.encode();
        let blanked = match copy {
            Some((peer, _)) => Submission::encode_copy(&peer, &blanked),
            None => Ok(blanked),
        };
        match blanked {
            Ok(blanked) if blanked.len() == bytes.len() => *bytes = blanked,
            _ => return self.blank(bytes),
        }
        parts
    }

    /// Leaves nothing of an element that tells of nobody else, and of another all but the address.
    fn blank_element(&self, head: &Submission, element: &mut Element, reading: &Reading) -> bool {
        let mut blanked = element.clone();
        if self.blank_text(&mut blanked.context) + self.blank(&mut blanked.body) == 0 {
            return false;
        }
        let is_theirs = |address: &Address| self.0.iter().any(|(theirs, _)| theirs == address);
        let events = read_element(reading, head, element).unwrap_or_default();
        if !events.is_empty() && events.iter().all(|event| is_theirs(&event.address)) {
            blanked.blank();
        }
        *element = blanked;
        true
    }
}

/// Erases people from segments and from what is in quarantine; or, with `keep`, only counts.
fn erase_told(
    (journal, quarantine, reading): (&journal::Reader, &Path, &Reading),
    people: &People,
    segments: (u32, u32),
    keep: bool,
    given_up: &AtomicBool,
) -> io::Result<Erased> {
    let mut raw = |bytes: &mut [u8]| people.blank(bytes);
    let mut record = |bytes: &mut Vec<u8>| people.blank_record(bytes, reading);
    let go_on = || !given_up.load(Ordering::Relaxed);
    let Blanked { files, elements } =
        journal.blank(segments, keep, &mut record, &mut raw, &go_on)?;
    let quarantined = blank_files(quarantine, keep, &mut raw)?;
    Ok(Erased { segments: files, elements, quarantined, keys: 0 })
}

impl Applier {
    /// Goes on with erasing who was forgotten, if it is time. Says whether the store is to be made
    /// again, from a checkpoint that is without them.
    pub(super) fn erase(
        &mut self,
        session: &mut Session,
        chores: &mut Chores,
    ) -> Result<bool, StoreError> {
        let erased = match std::mem::take(&mut session.stage) {
            Stage::None => {
                session.stage =
                    self.seal_if_due().map_or(Stage::None, |(of, at)| Stage::Sealed(of, at));
                return Ok(false);
            }
            Stage::Sealed(pending, sealed) => {
                if session.reached() < (sealed.end, 0) || !session.is_between_records() {
                    session.stage = Stage::Sealed(pending, sealed);
                    return Ok(false);
                }
                let begun = self.begin(session, chores, pending, sealed.below);
                begun.map(|work| session.stage = Stage::Working(work)).map(|()| false)
            }
            Stage::Working(mut work) => {
                let is_between = session.is_between_records();
                match ended(&mut work.thread).filter(|_| is_between) {
                    Some(Ok(erased)) => self.finish(session, chores, &work, erased),
                    Some(Err(error)) => Err(StoreError::from(io::Error::other(error))),
                    None => {
                        session.stage = Stage::Working(work);
                        return Ok(false);
                    }
                }
            }
        };
        if let Err(error) = &erased {
            self.pace.again_in(AGAIN_AFTER);
            telemetry::ingest::erase_failed(error);
            self.shared.erased.send_replace(Some(Err(error.to_string())));
        }
        if !matches!(session.stage, Stage::Working(_)) {
            chores.leave_files(false);
        }
        Ok(erased.unwrap_or(false))
    }

    /// How long it may wait for something to be done.
    pub(super) fn erase_in(&self, stage: &Stage) -> Duration {
        match stage {
            Stage::None if self.forgotten.pending().is_empty() => Duration::MAX,
            Stage::None => self.pace.left(),
            _ => Duration::ZERO,
        }
    }

    /// Has the segments completed that are to be erased from, if that is due.
    fn seal_if_due(&mut self) -> Option<(BTreeMap<String, Pending>, Sealed)> {
        let is_postponed = self.shared.postponed.load(Ordering::Acquire) > 0;
        if is_postponed || !*self.shared.ready.borrow() || !self.attached {
            return None;
        }
        let pending = self.forgotten.pending();
        let is_asked = self.shared.asked.swap(false, Ordering::AcqRel);
        if pending.is_empty() || !(is_asked || self.pace.left().is_zero()) {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        // Where it stops, the next start does it.
        self.queue.upgrade()?.blocking_send(Message::Seal(reply)).ok()?;
        Some((pending, answer.blocking_recv().ok()?))
    }

    /// Starts the thread.
    fn begin(
        &self,
        session: &Session,
        chores: &mut Chores,
        pending: BTreeMap<String, Pending>,
        below: u32,
    ) -> Result<Work, StoreError> {
        chores.leave_files(true);
        session.writer.flush_index()?;
        let parsed = pending.keys().filter_map(|key| Address::parse(key).ok());
        let people = Arc::new(People::of(parsed));
        let from = pending.values().map(|pending| pending.from).min().unwrap_or(0);
        let index = is_everywhere(&pending).then(|| Arc::clone(session.writer.index()));
        let given_up = Arc::new(AtomicBool::new(false));
        let work = {
            let (people, given_up) = (Arc::clone(&people), Arc::clone(&given_up));
            let (journal, quarantine) = (self.journal.clone(), self.settings.quarantine());
            let reading = self.settings.policy.reading.get();
            move || {
                let of = (&journal, &*quarantine, &*reading);
                let erased = erase_told(of, &people, (from, below), false, &given_up)?;
                index.map_or(Ok(()), |index: Arc<Index>| index.erase(&people.addresses()))?;
                Ok(erased)
            }
        };
        let thread = Some(beside("erase", NICENESS, work)?);
        Ok(Work { pending, below, people, given_up, thread })
    }

    /// Erases what was concluded, once all that was told is erased.
    fn finish(
        &mut self,
        session: &mut Session,
        chores: &mut Chores,
        work: &Work,
        mut erased: Erased,
    ) -> Result<bool, StoreError> {
        let is_everywhere = is_everywhere(&work.pending);
        if is_everywhere {
            let writer = &mut session.writer;
            chores.pause(writer)?;
            self.keep_grounds(work)?;
            erased.keys = writer.erase(&work.people.0)?;
            writer.sync()?;
            writer.flush_index()?;
            let snapshot = writer.snapshot()?;
            self.checkpoints.write(&snapshot)?;
            self.checkpoints.keep_only(snapshot.applied())?;
            store::remove_made(&self.settings.store())?;
        }
        self.forgotten.erased(&work.pending, work.below)?;
        self.pace.done();
        let Erased { segments, elements, quarantined, keys } = erased;
        let people = work.pending.len();
        telemetry::ingest::erased(people, segments, elements, quarantined, keys);
        self.shared.erased.send_replace(Some(Ok(erased)));
        Ok(is_everywhere)
    }

    /// Notes why those are suppressed whose standings go: what was told while they were forgotten
    /// is among it.
    fn keep_grounds(&self, work: &Work) -> Result<(), StoreError> {
        let (rules, now) = (self.settings.policy.rules.get(), clock::now());
        let mut grounds = Vec::new();
        for (address, _) in &work.people.0 {
            for (scope, standing) in self.reader.standings_of(address)? {
                let live = rules.live(address.key(), &standing, now).into_iter();
                let kept = |it| KeptGround::standing(scope.clone(), &it, &standing, now);
                grounds.extend(live.map(|found| (address, kept(found))));
            }
        }
        Ok(self.forgotten.add(grounds)?)
    }
}

fn is_everywhere(pending: &BTreeMap<String, Pending>) -> bool {
    pending.values().any(|pending| pending.everywhere)
}

impl Ingest {
    /// Who was forgotten.
    pub fn forgotten(&self) -> &Arc<Forgotten> {
        &self.forgotten
    }

    /// Has nothing erased until it is dropped.
    pub fn postpone_erasing(&self) -> Postponed {
        self.shared.postponed.fetch_add(1, Ordering::AcqRel);
        Postponed(Arc::clone(&self.shared))
    }

    /// Counts what there is to erase of addresses, and changes nothing.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn erasable(&self, people: &[Address], reading: &Reading) -> io::Result<Erased> {
        let (of, people) =
            ((&self.journal, &*self.quarantine, reading), People::of(people.iter().cloned()));
        erase_told(of, &people, (0, u32::MAX), true, &AtomicBool::new(false))
    }

    /// Waits until all is erased that is not postponed.
    ///
    /// # Errors
    /// When it is not: it could not be, and is tried again, or it is time to stop.
    pub async fn erased(&self) -> Result<Erased, String> {
        let mut erased = self.shared.erased.subscribe();
        while self.forgotten.is_erasing() {
            if self.shared.stopping.load(Ordering::Acquire) {
                return Err("suppressd is stopping: the next start erases what is left".to_owned());
            }
            // The applier tells; a stop does not.
            let is_told = tokio::time::timeout(STOP_LOOK, erased.changed()).await.is_ok();
            if let (true, Some(Err(why))) = (is_told, &*erased.borrow_and_update()) {
                return Err(format!("not all is erased yet ({why}): it is tried again by itself"));
            }
        }
        let erased = erased.borrow().clone();
        Ok(erased.and_then(Result::ok).unwrap_or_default())
    }
}
