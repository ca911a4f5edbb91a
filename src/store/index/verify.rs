//! Looking whether the runs are what was written, without changing anything.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::run::Run;
use super::{Index, files};
use crate::model::Checked;
use crate::store::sealed::{Flaw, bad};

const INDEX: &str = "index";

/// Reads every run to its end. What is damaged is told again by the journal.
///
/// # Errors
/// When the folder cannot be read.
pub fn verify_index(dir: &Path) -> io::Result<Vec<Checked>> {
    let files = match files(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        files => files?,
    };
    if files.is_empty() {
        let detail = "there is none yet: a start makes it of the journal";
        return Ok(vec![Checked::well(INDEX, dir, detail)]);
    }
    let rows = files.iter().filter_map(|(from, to, path)| {
        let looked = Run::open(path).and_then(|run| {
            let is_named = (run.from, run.to) == (*from, *to);
            if is_named {
                run.verify()?
            } else {
                return Err(bad().into());
            }
            Ok(run)
        });
        match looked {
            Ok(run) => {
                let detail = format!("whole, {} events, from {from} to {to}", run.rows);
                Some(Checked::well(INDEX, path, detail))
            }
            // It became part of another meanwhile, or what it tells was trimmed.
            Err(Flaw::Bad(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(flaw) => Some(ill(path, &flaw)),
        }
    });
    Ok(rows.collect())
}

impl Index {
    /// A run that is not where the next start looks for it, or not as long as it was.
    pub(in crate::store) fn missing(&self) -> Option<PathBuf> {
        let runs = self.read().runs.clone();
        let missing = runs.iter().find(|run| !run.is_in_place())?;
        // It may have become part of another meanwhile.
        let counts = self.read().runs.iter().any(|run| Arc::ptr_eq(run, missing));
        counts.then(|| missing.path.clone())
    }
}

fn ill(path: &Path, flaw: &Flaw) -> Checked {
    let (problem, hint) =
        flaw.told("restart suppressd: it makes it again of the journal; look at the disk");
    let consequence = "what was told there is not found, or the store is opened anew";
    Checked::ill(INDEX, path, problem, consequence, hint)
}
