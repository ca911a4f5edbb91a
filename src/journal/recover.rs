//! Opening the journal after any kind of stop, and keeping aside what cannot be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};

use super::format::{Place, SEGMENT_HEADER, segment_header, skip_header};
use super::pack::PACKING;
use super::packed::Packed;
use super::scan::{Head, Segment};
use super::segment::Draft;
use super::writer::{is_full, write_seal};
use super::{Damage, Reader, Writer, segment};
use crate::model::Position;
use crate::telemetry;

/// The ending of a file in quarantine that holds damage. While there is one, the daemon is not
/// ready: an operator has to look, and to take it away.
const DAMAGED: &str = "damaged";
/// What the names of all of them begin with.
const NAMED: &[u8] = b"journal-";
/// The ending of a file that holds a torn tail, as a crash leaves it.
const TORN: &str = "torn";
/// The ending of a plain segment that has not taken the place of the packed one.
const UNPACKING: &str = "plain";
/// Bytes that are copied at a time.
const COPY_CHUNK: usize = 1 << 20;

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{0} is in use by another suppressd: stop it first, or give this one its own store.path"
    )]
    InUse(PathBuf),
    /// A newer version wrote a segment. Nothing of it is touched.
    #[error("{0} was written by a newer version of suppressd: start that version again")]
    Newer(PathBuf),
    /// A restore broke off before all of it was there.
    #[error(
        "{0}: a restore broke off, so that there is no state: restore the backup again, or remove \
         that folder to begin with an empty one"
    )]
    HalfRestored(PathBuf),
    /// The disk fails, or does not let us.
    #[error("{path}: {error} (store.path must be a directory that suppressd may write to)")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// An open journal.
pub struct Journal {
    /// Appends to it.
    pub writer: Writer,
    /// Reads it.
    pub reader: Reader,
    /// What was found at opening.
    pub recovery: Recovery,
}

/// What was found at opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of an unfinished write that were cut off.
    pub torn: u64,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

/// Opens the journal in `dir`, making it if it is not there. What cannot be read goes to
/// `quarantine`.
///
/// # Errors
/// When another process has it, or the disk fails.
pub fn open(dir: &Path, quarantine: &Path) -> Result<Journal, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io { path, error }
    };
    for path in [dir, quarantine] {
        if !segment::private_dir(path).map_err(io(path))? {
            telemetry::ingest::open_to_others(path);
        }
    }
    let handle = File::open(dir).map_err(io(dir))?;
    let lock = Flock::lock(handle, FlockArg::LockExclusiveNonblock)
        .map_err(|_| OpenError::InUse(dir.to_owned()))?;
    let mut recovery = Recovery::default();
    segment::remove_drafts(dir, &[PACKING, UNPACKING]).map_err(io(dir))?;
    let numbers = segment::list(dir).map_err(io(dir))?;
    let Heads { damaged, is_last_packed } = heads(dir, &numbers)?;
    for number in damaged {
        let from = Position { segment: number, offset: 0 };
        recovery.damage.push(set_aside(dir, quarantine, from, Repair::Head));
    }
    let last = numbers.last().copied();
    if let Some(number) = last {
        let last = (number, is_last_packed);
        recover((dir, quarantine), last, &mut recovery).map_err(io(&segment::path(dir, number)))?;
    }
    let reader = Reader::new(dir, quarantine).map_err(io(dir))?;
    reader.note_all(&numbers).map_err(io(dir))?;
    let writer = Writer::new(dir, last.unwrap_or(0) + 1, lock, reader.clone());
    Ok(Journal { writer, reader, recovery })
}

/// What the heads of all segments say.
struct Heads {
    /// The segments whose headers are damaged.
    damaged: Vec<u32>,
    is_last_packed: bool,
}

/// Looks at the heads of all segments. What a newer version wrote is no damage: then nothing is
/// touched.
fn heads(dir: &Path, numbers: &[u32]) -> Result<Heads, OpenError> {
    let mut heads = Heads { damaged: Vec::new(), is_last_packed: false };
    for number in numbers.iter().copied() {
        let look = || -> io::Result<(Head, bool, bool)> {
            let segment = Segment::at(dir, number)?;
            let head = segment.head()?;
            let is_packed = segment.packed.is_some();
            // As a crash leaves it that came before the header.
            let is_new = head == Head::Damaged
                && Some(&number) == numbers.last()
                && !is_packed
                && segment.is_blank(0, segment.length()?)?;
            Ok((head, is_new, is_packed))
        };
        let path = segment::path(dir, number);
        let (head, is_new, is_packed) =
            look().map_err(|error| OpenError::Io { path: path.clone(), error })?;
        heads.is_last_packed = is_packed;
        match head {
            Head::Newer => return Err(OpenError::Newer(path)),
            Head::Damaged if !is_new => heads.damaged.push(number),
            // One that is too short for a header is met as a segment that was cut.
            _ => {}
        }
    }
    Ok(heads)
}

/// The files in quarantine that hold damage.
///
/// # Errors
/// When the directory cannot be read.
pub fn damaged_files(quarantine: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(quarantine)? {
        let path = entry?.path();
        let of_journal = path.file_stem().is_some_and(|name| name.as_bytes().starts_with(NAMED));
        if of_journal && path.extension().is_some_and(|ending| ending == DAMAGED) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Brings the newest segment into the form of a complete one. One that was packed was complete, so
/// what it lacks is no torn write.
fn recover(
    (dir, quarantine): (&Path, &Path),
    (number, was_packed): (u32, bool),
    recovery: &mut Recovery,
) -> io::Result<()> {
    let path = segment::path(dir, number);
    let segment = Segment::open(number, segment::open_regular(&path, true)?)?;
    let survey = segment.survey()?;
    // A hole before the newest group was synced once: that is damage. One in it is a torn write.
    let torn_from = if was_packed { u32::MAX } else { survey.newest_group };
    let torn_at = survey.holes.iter().find(|(from, _)| *from >= torn_from);
    let end = torn_at.map_or(survey.end, |(from, _)| *from);
    for (from, to) in survey.holes.iter().filter(|(from, _)| *from < torn_from) {
        let from_position = Position { segment: number, offset: *from };
        recovery.damage.push(set_aside(
            dir,
            quarantine,
            from_position,
            Repair::Skip { bytes: u64::from(to - from) },
        ));
    }
    let length = segment.length()?;
    if survey.sealed {
        return Ok(());
    }
    let place = Position { segment: number, offset: end };
    if was_packed || segment.is_cut(end, length)? {
        recovery.damage.push(set_aside(dir, quarantine, place, Repair::Seal));
    } else {
        if !segment.is_blank(end, length)? {
            let aside = quarantine.join(format!("journal-{number}-{end}.{TORN}"));
            recovery.torn = match copy_from(&segment.file, u64::from(end), &aside) {
                // A full disk must not keep us from starting for the sake of what nobody was told
                // that we have.
                Err(error) if is_full(&error) => {
                    fs::remove_file(&aside)?;
                    length - u64::from(end)
                }
                copied => copied?,
            };
        }
        end_with_seal(&segment.file, place)?;
    }
    Ok(())
}

/// How a segment is made readable again, once a copy of it is safe.
#[derive(Clone, Copy, Debug)]
pub(super) enum Repair {
    /// A skip is laid over this many bytes: whole records follow.
    Skip {
        /// The bytes.
        bytes: u64,
    },
    /// The segment ends here: nothing follows.
    Seal,
    /// Its header is written again.
    Head,
}

/// Copies the segment that is damaged at `from` into quarantine, then repairs it. Without a copy
/// there is no repair, and the damage is met again.
pub(super) fn set_aside(dir: &Path, quarantine: &Path, from: Position, repair: Repair) -> Damage {
    let name = format!("journal-{}-{}.{DAMAGED}", from.segment, from.offset);
    let aside = quarantine.join(name);
    let path = segment::path(dir, from.segment);
    let work = || -> io::Result<u64> {
        let file = segment::open_regular(&path, true)?;
        copy_from(&file, 0, &aside)?;
        segment::sync_dir(quarantine)?;
        let file = match Segment::open(from.segment, file)? {
            Segment { packed: Some(packed), .. } => unpack(&path, from.segment, &packed)?,
            plain => plain.file,
        };
        match repair {
            Repair::Skip { bytes } => {
                let place = Place { segment: from.segment, offset: from.offset };
                file.write_all_at(&skip_header(place, bytes), u64::from(from.offset))?;
                file.sync_all()?;
                Ok(bytes)
            }
            Repair::Seal => {
                let bytes = file.metadata()?.len().saturating_sub(u64::from(from.offset));
                end_with_seal(&file, from)?;
                Ok(bytes)
            }
            Repair::Head => {
                file.write_all_at(&segment_header(from.segment), 0)?;
                file.sync_all()?;
                Ok(u64::from(SEGMENT_HEADER))
            }
        }
    };
    let lost = matches!(repair, Repair::Seal).then(|| {
        let whole = "without the seal of a whole one: it was cut, or its end is damaged";
        format!("The segment {} ends at byte {}, {whole}.", from.segment, from.offset)
    });
    match work() {
        Ok(bytes) => Damage { from, bytes, aside: Some(aside), lost },
        Err(_) => Damage { from, bytes: 0, aside: None, lost },
    }
}

/// Has the plain segment take the place of a packed one, with zeros for records that cannot be
/// read.
fn unpack(path: &Path, number: u32, packed: &Packed) -> io::Result<Arc<File>> {
    let before = fs::metadata(path)?;
    let draft = Draft::begin(path, UNPACKING)?;
    packed.write_plain(&draft.file)?;
    if packed.length() > 0 {
        draft.file.write_all_at(&segment_header(number), 0)?;
    }
    draft.sync(&before)?;
    draft.place()?;
    Ok(Arc::new(segment::open_regular(path, true)?))
}

/// Ends a segment with a seal; one without any record may have no header.
fn end_with_seal(file: &File, at: Position) -> io::Result<()> {
    if at.offset == SEGMENT_HEADER {
        file.write_all_at(&segment_header(at.segment), 0)?;
    }
    write_seal(file, Place { segment: at.segment, offset: at.offset })
}

/// Makes empty segments from `from.segment` on, up to `until`, in place of those that are missing,
/// and notes that in quarantine. Without the note they stay missing, and the gap is met again.
pub(super) fn fill_gap(dir: &Path, quarantine: &Path, from: Position, until: u32) -> Damage {
    let last = until - 1;
    let text = format!("The journal's segments from {} to {last} are missing.\n", from.segment);
    let work = || -> io::Result<Damage> {
        let damage = note_loss(quarantine, from, &text)?;
        for number in from.segment..until {
            let path = segment::path(dir, number);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all_at(&segment_header(number), 0)?;
            write_seal(&file, Place { segment: number, offset: SEGMENT_HEADER })?;
        }
        segment::sync_dir(dir)?;
        Ok(damage)
    };
    work().unwrap_or_else(|_| lost(from, None, &text))
}

/// Notes in quarantine that a part of the journal is not there.
///
/// # Errors
/// When the note cannot be written.
pub fn note_loss(quarantine: &Path, from: Position, text: &str) -> io::Result<Damage> {
    // Not the name of a copy: there may be one of the same place.
    let name = format!("journal-{}-{}-lost.{DAMAGED}", from.segment, from.offset);
    let aside = quarantine.join(name);
    let mut note = segment::create_private(&aside)?;
    note.write_all(text.as_bytes())?;
    note.sync_all()?;
    segment::sync_dir(quarantine)?;
    Ok(lost(from, Some(aside), text))
}

fn lost(from: Position, aside: Option<PathBuf>, text: &str) -> Damage {
    Damage { from, bytes: 0, aside, lost: Some(text.trim_end().to_owned()) }
}

/// Copies what `file` holds from `offset` on, up to its last byte that is not zero.
/// Says how many bytes that are.
fn copy_from(file: &File, offset: u64, to: &Path) -> io::Result<u64> {
    let copy = segment::create_private(to)?;
    let mut chunk = vec![0; COPY_CHUNK];
    let (mut at, mut used) = (0, 0);
    loop {
        let got = file.read_at(&mut chunk, offset + at)?;
        if got == 0 {
            break;
        }
        if let Some(last) = chunk[..got].iter().rposition(|byte| *byte != 0) {
            copy.write_all_at(&chunk[..=last], at)?;
            used = at + last as u64 + 1;
        }
        at += got as u64;
    }
    copy.sync_all()?;
    Ok(used)
}
