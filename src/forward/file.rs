//! Telling by a file of JSON lines, which others may move away at any time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::wire::Message;

/// Permissions of a file that is made: for us, and those who share our group.
const MODE: u32 = 0o640;

/// The file, as it is open.
pub(super) struct Lines {
    path: PathBuf,
    open: Option<File>,
}

impl Lines {
    pub(super) fn new(path: PathBuf) -> Lines {
        Lines { path, open: None }
    }

    /// Adds a line for each message, and syncs them to disk. A file that was moved away is made
    /// again: what rotates logs needs to tell us nothing.
    ///
    /// # Errors
    /// When the file cannot be written. What was written of the lines is cut off, if it can be: a
    /// full disk leaves half a line.
    pub(super) fn add(&mut self, messages: &[Message]) -> io::Result<()> {
        if !self.is_in_place() {
            self.open = Some(self.reopen()?);
        }
        let Some(file) = &mut self.open else { return Ok(()) };
        let before = file.metadata()?.len();
        let text: String = messages.iter().map(Message::line).collect();
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if written.is_err() {
            let _ = file.set_len(before);
            self.open = None;
        }
        written
    }

    fn is_in_place(&self) -> bool {
        let id = |meta: &fs::Metadata| (meta.dev(), meta.ino());
        let here = self.open.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::metadata(&self.path).ok();
        here.zip(there).is_some_and(|(here, there)| id(&here) == id(&there))
    }

    fn reopen(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // What was told to a pipe or a device would be lost.
        if fs::metadata(&self.path).is_ok_and(|meta| !meta.is_file()) {
            return Err(io::Error::other("it is no regular file: remove it, or name another"));
        }
        let mut file = options.read(true).append(true).create(true).mode(MODE).open(&self.path)?;
        // A write that was cut short leaves a line without its end: what follows is told again.
        if file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    fn message(id: &str) -> Message {
        let (about, at) = ("a@x.test".into(), Time::from_seconds(1));
        Message { id: id.to_owned(), about, at, body: "{\"type\":\"t\"}".to_owned() }
    }

    #[test]
    fn lines_are_added_whoever_moves_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        fs::write(&path, "{\"cut").unwrap();
        let mut lines = Lines::new(path.clone());
        lines.add(&[message("1"), message("2")]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"cut\n{\"id\":\"1\",\"type\":\"t\"}\n{\"id\":\"2\",\"type\":\"t\"}\n");
        fs::rename(&path, dir.path().join("events.jsonl.1")).unwrap();
        lines.add(&[message("3")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"3\",\"type\":\"t\"}\n");
        assert!(Lines::new("/dev/null".into()).add(&[message("4")]).is_err(), "nobody reads it");
        let mut nowhere = Lines::new(dir.path().join("none/events.jsonl"));
        assert!(nowhere.add(&[message("4")]).is_err());
    }
}
