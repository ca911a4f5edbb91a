//! Looking whether the runs are what was written, without changing anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Base;
use super::draft::SUFFIX;
use super::run::Run;
use crate::model::Checked;
use crate::store::sealed::Flaw;

const BASE: &str = "base";

/// Reads every run to its end. Whether those are there that count, the store says.
///
/// # Errors
/// When the folder cannot be read.
pub fn verify_base(dir: &Path) -> io::Result<Vec<Checked>> {
    let files = match files(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        files => files?,
    };
    if files.is_empty() {
        let detail = "there is none yet: what has changed is all there is";
        return Ok(vec![Checked::well(BASE, dir, detail)]);
    }
    let rows = files.iter().filter_map(|path| {
        match Run::open(path).and_then(|run| run.verify()) {
            Ok(entries) => Some(Checked::well(BASE, path, format!("whole, {entries} standings"))),
            // It became part of another meanwhile.
            Err(Flaw::Bad(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(flaw) => Some(ill(path, &flaw)),
        }
    });
    Ok(rows.collect())
}

impl Base {
    /// A run that counts, and is not where the next start looks for it, or not as long as it was.
    pub(in crate::store) fn missing(&self) -> Option<PathBuf> {
        let runs = self.runs();
        let missing = runs.iter().find(|run| !run.is_in_place())?;
        // It may have become part of another meanwhile.
        let counts = self.runs().iter().any(|run| Arc::ptr_eq(run, missing));
        counts.then(|| missing.path.clone())
    }
}

fn ill(path: &Path, flaw: &Flaw) -> Checked {
    let (problem, hint) = flaw.told(
        "restart suppressd: it makes the store again as soon as it reads there; look at the \
                 disk",
    );
    let consequence = "who is suppressed by what it has is not told, until the store is made again";
    Checked::ill(BASE, path, problem, consequence, hint)
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == SUFFIX) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
