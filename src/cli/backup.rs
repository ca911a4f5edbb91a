//! `suppressd backup`: the state in one file, from a running daemon or a stopped one.
//!
//! The daemon is only asked how far its journal is durable: the files are read here, by whoever
//! may.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind::{FileTooLarge, NotADirectory, NotFound, QuotaExceeded, StorageFull};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use crate::admin::Command;
use crate::backup::{self, Held};
use crate::model::{Position, Time};
use crate::{clock, store};

/// The arguments of `backup`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to write, which is replaced when it is whole; `-` writes to standard output
    file: PathBuf,
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Asks where the journal ends, and copies.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let (state, end) = source(context)?;
        let is_stdout = self.file == Path::new("-");
        let now = clock::now();
        let progress = |context: &mut Context, done: u64, all: u64| {
            let part = done as f64 / all.max(1) as f64;
            context.out.progress("backup", 0, 0, Some(part));
        };
        let made = if is_stdout {
            let out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
            let made = backup::make(
                &state,
                end,
                now,
                out,
                |_| Ok(()),
                |done, all| {
                    progress(context, done, all);
                },
            );
            let made = made.and_then(|(mut out, held)| out.flush().map(|()| held));
            made.map_err(|error| failed(&error, &state))
        } else {
            write(&self.file, &state, |out| {
                let sync = File::sync_data;
                backup::make(&state, end, now, out, sync, |done, all| progress(context, done, all))
            })
        };
        let held = made?;
        let row = row(&held);
        if is_stdout {
            context.out.note(&shown("Made", &held));
        } else if self.json {
            context.out.json(&row)?;
        } else {
            context.out.line(&shown("Made", &held))?;
        }
        Ok(0)
    }
}

/// The state directory, and where its journal ends if a daemon has it.
fn source(context: &mut Context) -> Result<(PathBuf, Option<Position>), Failure> {
    let state = configuration::state_directory(context.config.as_deref())?;
    let folder = state.join("journal");
    let is_in_use = store::is_in_use(&state).map_err(|error| failed(&error, &state))?;
    if !is_in_use {
        if folder.is_dir() {
            return Ok((state, None));
        }
        let why = "there is no journal in it, so there is nothing to keep";
        return Err(Failure::Failed(format!("{}: {why}", state.display())));
    }
    let row = context.ask_one(&Command::Backup)?;
    let number = |key: &str| row[key].as_u64().and_then(|number| u32::try_from(number).ok());
    match (row["state"].as_str(), number("segment"), number("offset")) {
        (Some(state), Some(segment), Some(offset)) => {
            Ok((state.into(), Some(Position { segment, offset })))
        }
        _ => Err(Failure::Failed("suppressd did not say where its journal ends".to_owned())),
    }
}

/// Writes a file beside, and puts it in its place when it is whole and durable. A failure is that
/// of the target, unless it is one of reading the state.
fn write(
    path: &Path,
    state: &Path,
    make: impl FnOnce(File) -> io::Result<(File, Held)>,
) -> Result<Held, Failure> {
    let no_name = || Failure::Usage(format!("{}: it is no name of a file", path.display()));
    let name = path.file_name().ok_or_else(no_name)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let draft = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let file = file.map_err(|error| failed(&error, folder))?;
    let of_part = |error: io::Error| {
        let of_target = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge);
        failed(&error, if of_target { folder } else { state })
    };
    let made = make(file).map_err(of_part).and_then(|(file, held)| {
        let placed = file.sync_all().and_then(|()| fs::rename(&draft, path));
        placed.map_err(|error| failed(&error, path))?;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(&error, folder))?;
        Ok(held)
    });
    if made.is_err() {
        let _ = fs::remove_file(&draft);
    }
    made
}

fn failed(error: &io::Error, path: &Path) -> Failure {
    let hint = match error.kind() {
        NotFound | NotADirectory => "; make the directory, or name another",
        StorageFull | QuotaExceeded => "; free some space, or name another place",
        io::ErrorKind::PermissionDenied => "; run this as root, or as the user of the daemon",
        _ => "",
    };
    Failure::Failed(format!("{}: {error}{hint}", path.display()))
}

/// What a backup holds, as JSON.
pub(super) fn row(held: &Held) -> Value {
    json!({
        "files": held.files,
        "bytes": held.bytes,
        "made": Time::from_seconds(held.about.made).to_string(),
        "version": held.about.version,
        "journal_until": held.about.end.to_string(),
    })
}

/// And in a line.
pub(super) fn shown(what: &str, held: &Held) -> String {
    let Held { about, files, bytes } = held;
    let made = Time::from_seconds(about.made);
    format!(
        "{what} a backup of {made} by suppressd {}: {files} files, {bytes} bytes, the journal up \
         to {}.",
        about.version, about.end
    )
}
