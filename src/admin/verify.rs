//! `verify`: the parts of a state directory against each other.
//!
//! Changes nothing. The command line does it by itself where no daemon is running.

use std::path::Path;
use std::sync::Arc;

use super::{Admin, Failure, Replies, row};
use crate::forgotten::Forgotten;
use crate::model::{Checked, Position, Submission};
use crate::rules::Rules;
use crate::store::{self, Paths, Standings};
use crate::{clock, export, journal};

fn decodes(payload: &[u8]) -> bool {
    Submission::decode(payload).is_ok()
}

/// What makes an export's file of a store that nobody has open.
pub struct Configured<'a> {
    /// The exports.
    pub exports: &'a [export::Settings],
    /// The rules.
    pub rules: &'a Rules,
}

/// Looks at a state directory that nobody has open, and at the exports that were made of it, or
/// says why it does not. sled is opened in a copy below `scratch`.
///
/// # Errors
/// When a folder cannot be read.
pub fn verify_stopped(
    state: &Path,
    configured: Result<Configured<'_>, &str>,
    scratch: &Path,
) -> std::io::Result<Vec<Checked>> {
    let paths = Paths::of(state);
    let folder = state.join("journal");
    let looked = journal::verify(&folder, None, &decodes)?;
    let (start, end) = (looked.start, looked.end);
    let mut rows = looked.rows;
    rows.extend(store::verify_checkpoints(&paths, &folder, start, &|| end)?);
    rows.extend(store::verify_base(&paths.base)?);
    rows.extend(store::verify_index(&paths.index)?);
    let behind = "the store is not whole, or not level with the journal: start suppressd";
    let (forgotten, row) = forgotten(state);
    rows.extend(row);
    let none = |why: &str| vec![export::not_compared(state, why)];
    let mut exports = none(configured.as_ref().err().unwrap_or(&behind));
    let mut look = |standings: &Standings<'_>| {
        if let Ok(Configured { exports: settings, rules }) = &configured {
            let by = (*rules, &forgotten);
            exports = export::verify_stopped(settings, by, clock::now(), standings);
        }
    };
    rows.extend(store::verify_stopped(&paths, (start, end), scratch, &mut look));
    rows.extend(kept(&paths.quarantine)?);
    rows.extend(exports);
    Ok(rows)
}

const FORGOTTEN: &str = "forgotten";

/// Who was forgotten, and what is told of that.
fn forgotten(state: &Path) -> (Forgotten, Option<Checked>) {
    let path = state.join(FORGOTTEN);
    match Forgotten::look(state) {
        Ok(known) => {
            let detail = || format!("whole, {} addresses", known.count());
            let row = path.exists().then(|| Checked::well(FORGOTTEN, &path, detail()));
            (known, row)
        }
        Err(error) => {
            let consequence = "suppressd does not start: whoever was forgotten would be mailed";
            let hint = "put back the file of a backup; moved away, nobody is known to be forgotten";
            let row = Checked::ill(FORGOTTEN, &path, error.to_string(), consequence, hint);
            (Forgotten::nobody(), Some(row))
        }
    }
}

const QUARANTINE: &str = "quarantine";
/// Most files of a kind that are told one by one.
const KEPT_MAX: usize = 1_000;

/// What is kept of damage: problems until somebody has looked, and moved it away.
fn kept(quarantine: &Path) -> std::io::Result<Vec<Checked>> {
    if !quarantine.is_dir() {
        return Ok(Vec::new());
    }
    let [rotten, broken] = store::set_aside_stores(quarantine);
    let kinds = [
        (
            journal::damaged_files(quarantine)?,
            "a copy of a damaged segment of the journal, or a note that one is missing",
            "what was told there may be lost, and health is degraded",
            "look at the disk, poll again from before that time, then move it away",
        ),
        (
            store::set_aside_checkpoints(quarantine)?,
            "a checkpoint that was refused when it was read",
            "no store can be made of it, and health is degraded; the one before it counts",
            "look at the disk, then move it away",
        ),
        (
            rotten.into_iter().collect(),
            "a store that was whole until the disk changed it, and was made again",
            "none, if the journal and the checkpoints are whole; health is degraded",
            "look at the disk, then delete it",
        ),
        (
            broken.into_iter().collect(),
            "a store that could not be used, and was made again",
            "none, if the journal and the checkpoints are whole",
            "look at the disk, then delete it",
        ),
    ];
    let told = kinds.into_iter().flat_map(|(files, problem, consequence, hint)| {
        let files = files.into_iter().take(KEPT_MAX);
        files.map(move |file| Checked::ill(QUARANTINE, &file, problem, consequence, hint))
    });
    let rows: Vec<Checked> = told.collect();
    if rows.is_empty() {
        return Ok(vec![Checked::well(QUARANTINE, quarantine, "no damage is kept there")]);
    }
    Ok(rows)
}

impl Admin {
    /// Where a backup finds the state, and up to where it must have the journal.
    pub(super) fn durable(&self) -> serde_json::Value {
        let Position { segment, offset } = self.ingest.committed();
        // The command line may stand in another folder than we do.
        let state = self.state.canonicalize().unwrap_or_else(|_| self.state.clone());
        serde_json::json!({ "state": state, "segment": segment, "offset": offset })
    }

    pub(super) async fn verify(self: &Arc<Self>, to: &Replies) -> Result<(), Failure> {
        let admin = Arc::clone(self);
        let mut rows = super::blocking(move || admin.look()).await?;
        rows.extend(self.exports.verify().await);
        for checked in rows {
            row(to, serde_json::to_value(&checked).map_err(Failure::failed)?).await?;
        }
        Ok(())
    }

    /// Blocking, and as long as everything is large.
    fn look(&self) -> Result<Vec<Checked>, Failure> {
        let paths = Paths::of(&self.state);
        let end = || self.ingest.committed();
        let folder = self.state.join("journal");
        let unread = |error| Failure::failed(format!("{}: {error}", self.state.display()));
        let looked = journal::verify(&folder, Some(end()), &decodes).map_err(unread)?;
        let mut rows = looked.rows;
        let checkpoints = store::verify_checkpoints(&paths, &folder, looked.start, &end);
        rows.extend(checkpoints.map_err(unread)?);
        rows.extend(store::verify_base(&paths.base).map_err(unread)?);
        rows.extend(store::verify_index(&paths.index).map_err(unread)?);
        rows.push(self.reader.verify(&paths, looked.start, &end)?);
        rows.extend(forgotten(&self.state).1);
        rows.extend(kept(&self.quarantine).map_err(unread)?);
        Ok(rows)
    }
}
