//! `suppressd backup`: the state in one file, from a running daemon or a stopped one.
//!
//! The daemon is only asked how far its journal is durable: the files are read here, by whoever
//! may.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind::{NotADirectory, NotFound, QuotaExceeded, StorageFull};
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
    /// The file to write, which is replaced when it is whole; `-` writes to standard output, and a
    /// device or FIFO takes it as it comes
    file: PathBuf,
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Asks where the journal ends, and copies.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let (state, end) = source(context)?;
        let to = To::of(&self.file)?;
        let now = clock::now();
        let copy = |out: &mut Watched| {
            let progress = |done: u64, all: u64| {
                let part = done as f64 / all.max(1) as f64;
                context.out.progress("backup", 0, 0, Some(part));
            };
            let made = backup::make(&state, end, now, &mut *out, |out| out.sync(), progress);
            made.and_then(|(out, held)| out.flush().map(|()| held))
        };
        let made = match &to {
            To::Stdout => {
                let out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
                Watched::new(Box::new(out)).made("standard output".as_ref(), &state, copy)
            }
            To::Stream(path) => {
                let file = OpenOptions::new().write(true).open(path);
                let file = file.map_err(|error| failed(&error, path))?;
                let out = BufWriter::with_capacity(1 << 20, file);
                Watched::new(Box::new(out)).made(path, &state, copy)
            }
            To::File(path) => write(path, &state, copy),
        };
        let held = made?;
        let row = row(&held);
        if matches!(to, To::Stdout) {
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

/// Where a backup goes.
enum To {
    Stdout,
    /// A device, a FIFO: what stays, and takes what is written.
    Stream(PathBuf),
    /// A file, which is replaced.
    File(PathBuf),
}

impl To {
    /// What a path names, behind links.
    fn of(path: &Path) -> Result<To, Failure> {
        let unfit = |why: &str| Err(Failure::Failed(format!("{}: {why}", path.display())));
        if path == Path::new("-") {
            return Ok(To::Stdout);
        }
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => unfit("it is a directory: name a file in it"),
            Ok(meta) if meta.is_file() => {
                Ok(To::File(fs::canonicalize(path).map_err(|error| failed(&error, path))?))
            }
            Ok(_) => Ok(To::Stream(path.to_owned())),
            Err(_) if path.is_symlink() => unfit("it is a link that leads to no file"),
            // Whatever else is wrong is told of the folder.
            Err(_) => Ok(To::File(path.to_owned())),
        }
    }
}

/// What is written to, and whether a failure was one of writing, and not of reading the state.
struct Watched {
    out: Box<dyn Write>,
    /// What has to be synced, of a file.
    file: Option<File>,
    has_failed: Cell<bool>,
}

impl Watched {
    fn new(out: Box<dyn Write>) -> Watched {
        Watched { out, file: None, has_failed: Cell::new(false) }
    }

    /// What `make` makes of it; a failure names the path, or the state.
    fn made(
        mut self,
        path: &Path,
        state: &Path,
        make: impl FnOnce(&mut Watched) -> io::Result<Held>,
    ) -> Result<Held, Failure> {
        let made = make(&mut self);
        made.map_err(|error| failed(&error, if self.has_failed.get() { path } else { state }))
    }

    fn sync(&self) -> io::Result<()> {
        self.seen(self.file.as_ref().map_or(Ok(()), File::sync_data))
    }

    fn seen<T>(&self, done: io::Result<T>) -> io::Result<T> {
        self.has_failed.set(self.has_failed.get() || done.is_err());
        done
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.seen(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.seen(flushed)
    }
}

/// Writes a file beside, and puts it in its place when it is whole and durable.
fn write(
    path: &Path,
    state: &Path,
    make: impl FnOnce(&mut Watched) -> io::Result<Held>,
) -> Result<Held, Failure> {
    let no_name = || Failure::Usage(format!("{}: it is no name of a file", path.display()));
    let name = path.file_name().ok_or_else(no_name)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let draft = folder.join(format!(".{}.suppressd-new", name.to_string_lossy()));
    let (file, _held) = begin(&draft).map_err(|error| failed(&error, folder))?;
    let out = file.try_clone().map_err(|error| failed(&error, folder))?;
    let synced = file.try_clone().map_err(|error| failed(&error, folder))?;
    let out = Watched { file: Some(synced), ..Watched::new(Box::new(out)) };
    let made = out.made(folder, state, make).and_then(|held| {
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

/// A new file that no other process writes; one that was killed may have left its own.
fn begin(draft: &Path) -> io::Result<(File, store::Hold)> {
    let busy = || io::Error::other(format!("another backup writes {}", draft.display()));
    if fs::symlink_metadata(draft).is_ok_and(|meta| meta.is_file()) {
        let _held = store::hold(File::open(draft)?)?.ok_or_else(busy)?;
        fs::remove_file(draft)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    let held = store::hold(file.try_clone()?)?.ok_or_else(busy)?;
    Ok((file, held))
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
