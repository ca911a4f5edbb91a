//! Looking whether the store and its checkpoints are what they must be, without changing anything.
//! A store that is not open is looked at in a copy: sled writes as it opens.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::alone::hold;
use super::base::Base;
use super::checkpoint::{self, Flaw};
use super::checkpoints::{list, path};
use super::codec::{Layout, Meta, is_newer};
use super::disk::free_bytes;
use super::keys::{META, STANDING};
use super::open::{base_of, clean_mark, is_newer_mark, sled_at};
use super::reader::{Standings, visit};
use super::{Paths, Reach, Reader, StoreError};
use crate::model::{Checked, Position};

const JOURNAL: &str = "journal";
const CHECKPOINT: &str = "checkpoint";
const MARK: &str = "mark";
const STORE: &str = "store";

/// How often a store that changes meanwhile is summed up again.
const TRIES: usize = 3;
/// How the names of copies begin; a number follows.
const COPY: &str = "suppressd-verify-";
/// Room that a copy leaves to others, in bytes.
const ROOM: u64 = 64 << 20;

const UPGRADE: &str = "start the version of suppressd that wrote it";
const REBUILT: &str = "the next start makes the store again from a checkpoint and the journal";
const PUT_BACK: &str = "put back the journal's missing segments, if there is a copy of them";
const NO_HAND: &str =
    "start suppressd: it does that by itself, and keeps the old one in quarantine/";

/// Reads every checkpoint to its end. `start` and `end` are those of the journal in `journal`,
/// what is before which one of them must stand for.
///
/// # Errors
/// When the folder cannot be read.
pub fn verify_checkpoints(
    paths: &Paths,
    journal: &Path,
    start: Position,
    end: &dyn Fn() -> Position,
) -> io::Result<Vec<Checked>> {
    let mut rows = Vec::new();
    let mut covered = start.segment <= 1;
    for position in list(&paths.checkpoint)? {
        let file = path(&paths.checkpoint, position);
        match checkpoint::verify(&file, position) {
            // It was removed meanwhile.
            Err(Flaw::Closed(error)) if error.kind() == io::ErrorKind::NotFound => {}
            found => {
                covered |= found.is_ok() && position.segment >= start.segment;
                rows.push(checkpoint_row(&file, position, found, (start, end())));
            }
        }
    }
    if !covered {
        rows.push(uncovered(journal, start));
    }
    if rows.is_empty() {
        let detail = "there is none yet: the journal alone has everything";
        rows.push(Checked::well(CHECKPOINT, &paths.checkpoint, detail));
    }
    Ok(rows)
}

/// The journal is only trimmed behind a checkpoint: without one something was taken away.
fn uncovered(journal: &Path, start: Position) -> Checked {
    let first = start.segment;
    Checked::ill(
        JOURNAL,
        journal,
        format!("the journal begins at segment {first} and no checkpoint covers what is before"),
        "a store that is made again is without what was told there",
        PUT_BACK,
    )
}

fn checkpoint_row(
    file: &Path,
    position: Position,
    found: Result<u64, Flaw>,
    (start, end): (Position, Position),
) -> Checked {
    let ill = |problem: String, consequence, hint| {
        Checked::ill(CHECKPOINT, file, problem, consequence, hint)
    };
    match found {
        Ok(_) if position > end => ill(
            format!("it stands for the journal up to {position}, which ends at {end}"),
            "the end of the journal is lost; the store may have it, a provider may tell it again",
            PUT_BACK,
        ),
        Ok(_) if position < start => ill(
            format!("it stands for the journal up to {position}, which begins at {start}"),
            "a store that is made of it is without what was told between",
            PUT_BACK,
        ),
        Ok(keys) => {
            Checked::well(CHECKPOINT, file, format!("whole, {keys} keys, up to {position}"))
        }
        Err(Flaw::Newer) => {
            ill(Flaw::Newer.to_string(), "this version makes no store of it", UPGRADE)
        }
        Err(flaw) => ill(
            flaw.to_string(),
            "no store can be made of it; the one before it counts",
            "start suppressd: it sets it aside, keeps the journal, and writes another in time",
        ),
    }
}

impl Reader {
    /// Looks at the open store, beside a journal that begins at `start`, and ends at `end` when
    /// that is asked. Blocking, and as long as the store is large.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn verify(
        &self,
        paths: &Paths,
        start: Position,
        end: &dyn Fn() -> Position,
    ) -> Result<Checked, StoreError> {
        let view = self.view()?;
        match store_row(&paths.sled, &view.tree, &view.base, start, end) {
            Err(StoreError::Damaged(why)) => {
                let hint = "none is needed: it is made again at once, and the old one is kept in \
                            quarantine/";
                Ok(Checked::ill(STORE, &paths.sled, why, REBUILT, hint))
            }
            row => row,
        }
    }
}

/// Looks at a store that nobody has open, and at the mark of the last stop. sled is opened in a
/// copy below `scratch`, which is removed again. What is whole and has taken all of the journal is
/// handed to `look`, for what is made of it.
pub fn verify_stopped(
    paths: &Paths,
    reach: Reach,
    scratch: &Path,
    look: &mut dyn FnMut(&Standings<'_>),
) -> Vec<Checked> {
    let (mark, clean) = clean_mark(paths);
    let mut rows = Vec::new();
    match clean {
        _ if is_newer_mark(&mark) => rows.push(Checked::ill(
            MARK,
            &mark,
            "it was written by a newer version of suppressd",
            "this version looks through the whole store instead",
            UPGRADE,
        )),
        Some(true) => rows.push(Checked::well(MARK, &mark, "sled is as the last stop left it")),
        // As in every copy; the store itself is summed up here in any case.
        Some(false) => rows.push(Checked::well(
            MARK,
            &mark,
            "not of this file, as in a copy: the next start looks through the whole store",
        )),
        None => {}
    }
    if !paths.sled.exists() {
        rows.push(missing(paths, reach.1));
        return rows;
    }
    remove_left(scratch);
    let copy = scratch.join(format!("{COPY}{}", std::process::id()));
    let looked = in_copy(paths, reach, clean == Some(true), &copy, look);
    // It is a copy; what cannot be removed is below a folder for what nobody needs.
    let _ = fs::remove_dir_all(&copy);
    rows.push(looked);
    rows
}

/// Removes the copies of those that were killed. Nobody holds them.
fn remove_left(scratch: &Path) {
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(COPY))
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_ours {
            continue;
        }
        let held = fs::File::open(entry.path()).and_then(hold);
        if matches!(held, Ok(Some(_))) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn missing(paths: &Paths, end: Position) -> Checked {
    // As a restore leaves it: a start makes both of these before all else.
    if !paths.base.exists() && !paths.index.exists() {
        let detail = "there is none yet: the next start makes it";
        return Checked::well(STORE, &paths.sled, detail);
    }
    if end.as_u64() <= (Position { segment: 1, offset: u32::MAX }).as_u64()
        && list(&paths.checkpoint).is_ok_and(|there| there.is_empty())
    {
        return Checked::well(STORE, &paths.sled, "there is none yet");
    }
    Checked::ill(STORE, &paths.sled, "it is missing", REBUILT, "start suppressd")
}

fn in_copy(
    paths: &Paths,
    reach: Reach,
    clean: bool,
    copy: &Path,
    look: &mut dyn FnMut(&Standings<'_>),
) -> Checked {
    let sled = &paths.sled;
    let made = DirBuilder::new().mode(0o700).create(copy);
    let held = made.and_then(|()| fs::File::open(copy)).and_then(hold);
    let copied = held.and_then(|held| Ok((copy_sled(sled, copy)?, held)));
    let _held = match copied {
        Ok((true, held)) => held,
        Ok((false, _)) => {
            let detail = format!("not looked at: no room for a copy in {}", copy.display());
            return Checked::well(STORE, sled, detail);
        }
        Err(error) => {
            let problem = format!("it cannot be copied to {}: {error}", copy.display());
            let hint = "look at the disk; TMPDIR names another folder for the copy";
            return Checked::ill(STORE, sled, problem, "it was not looked at", hint);
        }
    };
    // sled panics on some damage.
    let work = || -> Result<Checked, StoreError> {
        let db = sled_at(copy)?;
        let Meta { applied, part, layout, .. } = meta(&db)?;
        if layout < Layout::Based {
            let detail = "of an earlier version: the next start brings it over";
            return Ok(Checked::well(STORE, sled, detail));
        }
        let base = Arc::new(base_of(&db, &paths.base, false)?);
        let store = store_row(sled, &db, &base, reach.0, &|| reach.1)?;
        // Behind the last record there may be the end of its segment alone.
        let is_level = clean || applied == reach.1 && part == 0;
        if store.problem.is_none() && is_level {
            look(&|each| visit(&base, each));
        }
        Ok(store)
    };
    let looked = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Damaged("sled gave up on opening it".to_owned())));
    looked.unwrap_or_else(|error| match error {
        StoreError::Newer(_) => {
            let consequence = "this version does not open it";
            Checked::ill(STORE, sled, error.to_string(), consequence, UPGRADE)
        }
        error => Checked::ill(STORE, sled, error.to_string(), REBUILT, NO_HAND),
    })
}

/// Copies what is in sled's folder. `false`: there is not enough room.
fn copy_sled(from: &Path, to: &Path) -> io::Result<bool> {
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut bytes = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_file() {
            bytes += entry.metadata()?.len();
            files.push((entry.path(), target));
            continue;
        }
        // Blobs, of which there are none: no value is large enough.
        DirBuilder::new().mode(0o700).create(&target)?;
        for blob in fs::read_dir(entry.path())? {
            let blob = blob?;
            bytes += blob.metadata()?.len();
            files.push((blob.path(), target.join(blob.file_name())));
        }
    }
    if free_bytes(to)? < bytes + ROOM {
        return Ok(false);
    }
    for (from, to) in files {
        fs::copy(from, to)?;
    }
    Ok(true)
}

fn meta(tree: &sled::Tree) -> Result<Meta, StoreError> {
    match tree.get(META)? {
        Some(bytes) => Meta::decode(&bytes),
        None => Err(StoreError::Damaged("it is empty".to_owned())),
    }
}

/// Sums the store up, as a start does that finds no mark.
fn store_row(
    file: &Path,
    tree: &sled::Tree,
    base: &Arc<Base>,
    start: Position,
    end: &dyn Fn() -> Position,
) -> Result<Checked, StoreError> {
    for _ in 0..TRIES {
        let (before, mut found) = (meta(tree)?, Meta::default());
        for pair in tree {
            let (key, value) = pair?;
            if let (Some(prefix), Some(form)) = (key.first(), value.first())
                && is_newer(*prefix, *form)
            {
                return Err(StoreError::Newer("a value of the store".to_owned()));
            }
            if key != META {
                found.account(&key, None, Some(&value));
            }
        }
        let mut scan = base.scan_prefix(STANDING);
        while scan.advance()? {
            found.count(scan.key(), false, true);
        }
        if meta(tree)? != before {
            continue;
        }
        if !found.is_as(&before) || found.standings != before.standings {
            let problem = "its content does not add up";
            return Ok(Checked::ill(STORE, file, problem, REBUILT, NO_HAND));
        }
        // Later than the store was read: it goes on meanwhile.
        let end = end();
        if before.applied > end {
            let problem =
                format!("it has taken the journal up to {}, which ends at {end}", before.applied);
            let consequence = "the end of the journal is lost; the store has what it told";
            return Ok(Checked::ill(STORE, file, problem, consequence, PUT_BACK));
        }
        if before.applied.segment < start.segment && start.segment > 1 {
            let problem = format!(
                "it has taken the journal up to {}, which begins at {start}",
                before.applied
            );
            let consequence = "what was told between is not in the store";
            return Ok(Checked::ill(STORE, file, problem, consequence, PUT_BACK));
        }
        let Meta { keys, standings, applied, .. } = before;
        let detail = format!("adds up: {keys} keys, {standings} standings, up to {applied}");
        return Ok(Checked::well(STORE, file, detail));
    }
    let detail = "not summed up: it changed all the while. Stop suppressd to have it summed up";
    Ok(Checked::well(STORE, file, detail))
}
