//! Reading the journal: one record by its position, or all from a position on.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::format::{Header, Kind, SEGMENT_HEADER, record_size};
use super::recover::{Repair, fill_gap, set_aside};
use super::scan::{Ahead, Head, Record, Segment};
use super::watch::Known;
use super::{Damage, segment};
use crate::model::{Position, Time};

/// Most segment files kept open.
const OPEN_MAX: usize = 16;

/// Reads the journal. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    /// A path to the directory that was opened, whatever its own leads to by then: so nothing of
    /// another one that was put there is read, mended or trimmed.
    dir: PathBuf,
    /// What that path goes by.
    handle: Arc<File>,
    /// Its own path.
    place: PathBuf,
    quarantine: PathBuf,
    files: Arc<Mutex<Files>>,
    /// Held while damage is kept aside and mended, for several may come upon it at once, and while
    /// another file takes the place of a segment or one is removed.
    mending: Arc<Mutex<()>>,
}

/// The segment files that are open.
#[derive(Default)]
pub(super) struct Files {
    /// The one that is being written, by the writer's own handle: what it has acknowledged is read
    /// where it was written, whatever its path leads to by then.
    pub(super) live: Option<Arc<Segment>>,
    others: VecDeque<Arc<Segment>>,
    pub(super) known: Known,
}

impl Files {
    /// Notes which one is written from now on.
    pub(super) fn go_live(&mut self, segment: Segment) {
        self.others.retain(|other| other.number != segment.number);
        if let Some(before) = self.live.replace(Arc::new(segment)) {
            self.add(before);
        }
    }

    fn add(&mut self, segment: Arc<Segment>) {
        self.others.push_back(segment);
        if self.others.len() > OPEN_MAX {
            self.others.pop_front();
        }
    }

    fn find(&self, number: u32) -> Option<Arc<Segment>> {
        let mut all = self.live.iter().chain(&self.others);
        all.find(|segment| segment.number == number).map(Arc::clone)
    }
}

/// What comes next in the journal.
#[derive(Debug)]
pub enum Entry {
    /// A record's payload.
    Record {
        /// Where it is.
        position: Position,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// Something that could not be read, and was kept aside.
    Damage(Damage),
    /// A whole record that a newer version wrote. It is not stepped over.
    Newer {
        /// Where it is.
        position: Position,
        /// The number of its form.
        form: u8,
    },
}

/// Reads on from a position.
pub struct Tail {
    reader: Reader,
    at: Position,
    ahead: Ahead,
    /// How long a segment is that is no more written.
    length: Option<(u32, u64)>,
    /// Nothing of what it reads can have been trimmed.
    is_whole: bool,
}

impl Reader {
    pub(super) fn new(dir: &Path, quarantine: &Path) -> io::Result<Reader> {
        let handle = Arc::new(File::open(dir)?);
        let open = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        // Without /proc, its own path is as good as there is.
        let place = dir.to_owned();
        let dir = if open.is_dir() { open } else { place.clone() };
        let quarantine = quarantine.to_owned();
        let (files, mending) = (Arc::default(), Arc::default());
        Ok(Reader { dir, handle, place, quarantine, files, mending })
    }

    /// The payload of the record at `position`. `None`: it is no more, or cannot be read.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&self, position: Position) -> io::Result<Option<Vec<u8>>> {
        let Some(segment) = self.segment(position.segment)? else { return Ok(None) };
        let Some(record) = segment.record(position.offset, segment.length()?)? else {
            self.look_through(position.segment)?;
            return Ok(None);
        };
        Ok(Some(record).filter(|record| record.header.kind == Kind::Data).map(|it| it.payload))
    }

    /// Tells what of a segment cannot be read, and keeps it aside. The one that is being written is
    /// looked through at the next start.
    pub(super) fn look_through(&self, number: u32) -> io::Result<()> {
        if self.files().live.as_ref().is_some_and(|live| live.number == number) {
            return Ok(());
        }
        self.look_through_all(self.tail(Position { segment: number, offset: SEGMENT_HEADER }))
    }

    /// The same of the segment that a tail begins with.
    pub(super) fn look_through_all(&self, mut tail: Tail) -> io::Result<()> {
        let end = Position { segment: tail.at.segment + 1, offset: SEGMENT_HEADER };
        while let Some(entry) = tail.next(end)? {
            match entry {
                Entry::Record { .. } => {}
                Entry::Damage(damage) => damage.tell(),
                Entry::Newer { .. } => break,
            }
        }
        Ok(())
    }

    /// Where the segment ends that `position` is in, if that is before it: something was cut off.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn ends_before(&self, position: Position) -> io::Result<Option<Position>> {
        let Some(segment) = self.segment(position.segment)? else { return Ok(None) };
        // A segment that is no more written ends with a seal.
        let end = segment.length()?.saturating_sub(record_size(0));
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        let is_short = end < position.offset;
        Ok(is_short.then_some(Position { segment: position.segment, offset: end }))
    }

    /// Whether the next start finds the directory, and the segment that is being written.
    pub fn is_in_place(&self) -> bool {
        let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let open = self.handle.metadata().map(identity);
        let live = self.files().live.as_ref().map(|live| segment::path(&self.place, live.number));
        open.is_ok_and(|open| fs::metadata(&self.place).map(identity).is_ok_and(|at| at == open))
            && live.is_none_or(|live| live.exists())
    }

    /// Reads on from `position`.
    pub fn tail(&self, position: Position) -> Tail {
        let (reader, ahead) = (self.clone(), Ahead::default());
        Tail { reader, at: position, ahead, length: None, is_whole: false }
    }

    /// Where the oldest record that is still there may start.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn start(&self) -> io::Result<Position> {
        let first = segment::list(&self.dir)?.first().copied().unwrap_or(1);
        Ok(Position { segment: first, offset: SEGMENT_HEADER })
    }

    /// The bytes between two positions, packed or not.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn bytes_between(&self, from: Position, end: Position) -> io::Result<u64> {
        let mut bytes = u64::from(end.offset);
        for number in segment::list(&self.dir)? {
            if (from.segment..end.segment).contains(&number) {
                let length = Segment::at(&self.dir, number).and_then(|it| it.length());
                bytes += length.unwrap_or(0);
            }
        }
        Ok(bytes.saturating_sub(u64::from(from.offset)))
    }

    /// Removes the segments that end before `checkpoint` and were last written before `cutoff`,
    /// oldest first. Says how many. One that is dated later than those that follow it was written
    /// while the clock was ahead, and before them.
    ///
    /// # Errors
    /// When the directory cannot be read or changed.
    pub fn trim(&self, checkpoint: Position, cutoff: Time) -> io::Result<usize> {
        let _alone = self.mending();
        let mut written = Vec::new();
        for number in segment::list(&self.dir)?.into_iter().rev() {
            let mtime = fs::metadata(segment::path(&self.dir, number))?.mtime();
            let later = written.last().map_or(i64::MAX, |(_, later)| *later);
            written.push((number, mtime.min(later)));
        }
        let mut removed = 0;
        for (number, written) in written.into_iter().rev() {
            if number >= checkpoint.segment || written >= cutoff.second() {
                break;
            }
            fs::remove_file(segment::path(&self.dir, number))?;
            self.close(number);
            removed += 1;
        }
        if removed > 0 {
            segment::sync_dir(&self.dir)?;
        }
        Ok(removed)
    }

    /// The directory, as it was opened.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens a segment anew when it is read next: another file has taken its place.
    pub(super) fn close(&self, number: u32) {
        let mut files = self.files();
        files.others.retain(|segment| segment.number != number);
        files.live.take_if(|live| live.number == number);
        files.known.forget(number);
    }

    fn segment(&self, number: u32) -> io::Result<Option<Arc<Segment>>> {
        if let Some(segment) = self.files().find(number) {
            return Ok(Some(segment));
        }
        let Some(segment) = self.opened(number)? else { return Ok(None) };
        if segment.head()? == Head::Damaged {
            return self.mend_head(number);
        }
        Ok(Some(segment))
    }

    /// A segment by the file that is open or, if none is, by the one that is there now.
    fn opened(&self, number: u32) -> io::Result<Option<Arc<Segment>>> {
        let mut files = self.files();
        if let Some(segment) = files.find(number) {
            return Ok(Some(segment));
        }
        let segment = match Segment::at(&self.dir, number) {
            Ok(segment) => Arc::new(segment),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        files.add(Arc::clone(&segment));
        Ok(Some(segment))
    }

    /// A segment by the file that is there now, unless it is the one that is being written.
    fn opened_anew(&self, number: u32) -> io::Result<Option<Arc<Segment>>> {
        let mut files = self.files();
        files.others.retain(|segment| segment.number != number);
        // It may have been mended.
        files.known.forget(number);
        drop(files);
        self.opened(number)
    }

    fn mend_head(&self, number: u32) -> io::Result<Option<Arc<Segment>>> {
        let _alone = self.mending();
        // Another reader may have been quicker.
        let found = self.opened_anew(number)?;
        if let Some(segment) = &found
            && segment.head()? == Head::Damaged
        {
            let from = Position { segment: number, offset: 0 };
            set_aside(&self.dir, &self.quarantine, from, Repair::Head).tell();
            return self.opened_anew(number);
        }
        Ok(found)
    }

    /// Nobody else mends, trims, or has a file take the place of another until it is dropped.
    pub(super) fn mending(&self) -> MutexGuard<'_, ()> {
        self.mending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn files(&self) -> MutexGuard<'_, Files> {
        // A panic while holding it leaves the list as good as it was.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// Where the next entry starts.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next entry that starts before `end`, the end of what is committed. `None`: there is
    /// none yet.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn next(&mut self, end: Position) -> io::Result<Option<Entry>> {
        while self.at < end {
            let Some(segment) = self.reader.segment(self.at.segment)? else {
                match self.over_a_gap(end)? {
                    Some(damage) => return Ok(Some(Entry::Damage(damage))),
                    None => continue,
                }
            };
            let live = self.at.segment == end.segment;
            let limit = if live { u64::from(end.offset) } else { self.length_of(&segment)? };
            match segment.record_ahead(&mut self.ahead, self.at.offset, limit)? {
                Some(record) if record.header.kind == Kind::Data => {
                    let position = self.at;
                    self.at.offset = record.end;
                    return Ok(Some(Entry::Record { position, payload: record.payload }));
                }
                Some(record) if record.header.kind == Kind::Seal => self.next_segment(),
                Some(Record { header: Header { kind: Kind::Newer(form, _), .. }, .. }) => {
                    return Ok(Some(Entry::Newer { position: self.at, form }));
                }
                Some(record) => self.at.offset = record.end,
                None => {
                    if let Some(damage) = self.over_damage(limit, live)? {
                        return Ok(Some(Entry::Damage(damage)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The same, of which nothing can have been trimmed: what is not there is missing.
    #[must_use]
    pub fn whole(self) -> Tail {
        Tail { is_whole: true, ..self }
    }

    /// Reads on from another position.
    pub fn at(&self, position: Position) -> Tail {
        Tail { is_whole: self.is_whole, ..self.reader.tail(position) }
    }

    /// Steps over the next record without reading it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn pass_over(&mut self, end: Position) -> io::Result<()> {
        if let Some(segment) = self.reader.segment(self.at.segment)?
            && let Some((Header { kind: Kind::Data, .. }, end)) =
                segment.header(self.at.offset, segment.length()?)?
        {
            self.at.offset = end;
            return Ok(());
        }
        // It is no record that could be stepped over.
        self.next(end).map(drop)
    }

    fn length_of(&mut self, segment: &Segment) -> io::Result<u64> {
        match self.length {
            Some((number, length)) if number == segment.number => Ok(length),
            _ => {
                let length = segment.length()?;
                self.length = Some((segment.number, length));
                Ok(length)
            }
        }
    }

    fn next_segment(&mut self) {
        self.at = Position { segment: self.at.segment + 1, offset: SEGMENT_HEADER };
    }

    /// Steps over bytes that are no record, keeping them aside. `None`: another reader was quicker
    /// to mend them.
    fn over_damage(&mut self, limit: u64, live: bool) -> io::Result<Option<Damage>> {
        let reader = self.reader.clone();
        let _alone = reader.mending();
        let from = self.at;
        self.length = None;
        let Some(segment) = reader.opened_anew(from.segment)? else { return Ok(None) };
        if segment.record(from.offset, limit.min(segment.length()?))?.is_some() {
            return Ok(None);
        }
        let next = segment.next_record(from.offset, limit)?;
        // What is committed ends at a record's end, so the limit of the live segment is one.
        let next = next.or(u32::try_from(limit).ok().filter(|_| live));
        let repair = match next {
            Some(offset) => {
                self.at.offset = offset;
                Repair::Skip { bytes: u64::from(offset - from.offset) }
            }
            None => {
                self.next_segment();
                Repair::Seal
            }
        };
        let damage = set_aside(&reader.dir, &reader.quarantine, from, repair);
        // One that was packed is another file now.
        reader.opened_anew(from.segment)?;
        Ok(Some(damage))
    }

    /// Steps over segments that are not there. `None`: they were trimmed, or another reader has
    /// filled the gap.
    fn over_a_gap(&mut self, end: Position) -> io::Result<Option<Damage>> {
        let reader = self.reader.clone();
        let _alone = reader.mending();
        let from = self.at;
        let numbers = segment::list(&self.reader.dir)?;
        if numbers.is_empty() && reader.handle.metadata()?.nlink() == 0 {
            // Nothing in it was trimmed.
            return Err(io::Error::other("the journal's directory was removed"));
        }
        if numbers.contains(&from.segment) {
            return Ok(None);
        }
        let next = numbers.iter().copied().find(|number| *number > from.segment);
        let next = next.unwrap_or(end.segment).min(end.segment).max(from.segment + 1);
        self.at = Position { segment: next, offset: SEGMENT_HEADER };
        let is_before = |first: &u32| *first > from.segment && !self.is_whole;
        let trimmed = numbers.first().is_none_or(is_before);
        let fill = || fill_gap(&self.reader.dir, &self.reader.quarantine, from, next);
        Ok((!trimmed).then(fill))
    }
}
