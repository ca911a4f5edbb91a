//! Which life of this host's journal it is, and how far others were told of it: one small file.
//!
//! A host's name does not identify its journal. Where the file is missing or does not fit the
//! journal, a new life begins, so that no position ever means two records.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use crate::model::{Position, Time};

/// The form of the file: its first word.
const FORM: &str = "1";

/// A life, and how far it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// Its number.
    pub(super) number: u64,
    /// What stands for the record before its first. Unless that is none, others lack what was
    /// before.
    pub(super) root: Position,
    /// No record of it lies before this.
    pub(super) first: Position,
    /// The last record that others were told; before any, the root.
    pub(super) told: Position,
    /// Up to where the journal was looked through for what others are to be told.
    pub(super) read: Position,
    /// Where the journal ended when it was begun with last, until it is known from the others
    /// whether that was an older one, put back: what is told to this host since is told by no life
    /// before.
    pub(super) unsettled: Option<Position>,
    /// What is told now is dated behind this, whatever our clock shows.
    pub(super) heard: Time,
}

/// Where the file is.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join("checkpoint").join("fleet")
}

impl Life {
    /// A new one, which tells from `start` on. What was before that is a hole to others unless the
    /// journal has it all.
    pub(super) fn begin(start: Position, has_all: bool) -> Life {
        let mut bytes = [0; 8];
        // Without randomness there would be no TLS either; the clock is a poor last resort.
        if SystemRandom::new().fill(&mut bytes).is_err() {
            bytes = crate::clock::now().nanos().to_le_bytes();
        }
        let root = if has_all { Position::default() } else { start };
        let number = u64::from_le_bytes(bytes).max(1);
        let (unsettled, heard) = (None, Time::from_nanos(0, 9));
        Life { number, root, first: start, told: root, read: start, unsettled, heard }
    }

    /// The one that the file names, if it fits a journal that ends there.
    pub(super) fn load(file: &Path, end: Position) -> Option<Life> {
        let text = fs::read_to_string(file).ok()?;
        let life = Life::parse(&text)?;
        (life.told <= end && life.read <= end).then_some(life)
    }

    /// Notes it.
    pub(super) fn store(&self, file: &Path) -> io::Result<()> {
        let places = [self.root, self.first, self.told, self.read];
        let [root, first, told, read] = places.map(Position::as_u64);
        let unsettled = self.unsettled.map_or("-".to_owned(), |at| at.as_u64().to_string());
        let (number, heard) = (self.number, self.heard.nanos());
        let text =
            format!("{FORM} {number:016x} {root} {first} {told} {read} {unsettled} {heard}\n");
        // The store removes what is left of drafts of its own, also while this one is written.
        let draft = file.with_extension("next");
        let mut new = File::create(&draft)?;
        new.write_all(text.as_bytes())?;
        new.sync_data()?;
        fs::rename(draft, file)
    }

    fn parse(text: &str) -> Option<Life> {
        let mut words = text.split_whitespace();
        if words.next() != Some(FORM) {
            return None;
        }
        let number = u64::from_str_radix(words.next()?, 16).ok()?;
        let mut place = || words.next()?.parse().ok().map(Position::from_u64);
        let (root, first, told, read) = (place()?, place()?, place()?, place()?);
        let unsettled = match words.next()? {
            "-" => None,
            word => Some(Position::from_u64(word.parse().ok()?)),
        };
        let heard = Time::from_nanos(words.next()?.parse().ok()?, 9);
        let life = Life { number, root, first, told, read, unsettled, heard };
        words.next().is_none().then_some(life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_lasts_as_long_as_its_journal() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fleet");
        let at = |offset| Position { segment: 2, offset };
        assert_eq!(Life::load(&file, at(900)), None, "there is none");
        let life = Life { told: at(100), read: at(200), ..Life::begin(at(16), true) };
        for unsettled in [None, Some(at(150))] {
            let life = Life { unsettled, heard: Time::from_nanos(-7, 9), ..life };
            life.store(&file).unwrap();
            assert_eq!(Life::load(&file, at(200)), Some(life));
            assert_eq!(Life::load(&file, at(199)), None, "the journal ends before");
        }
        // What the store takes for its own is in nobody's way.
        fs::create_dir(file.with_extension("draft")).unwrap();
        life.store(&file).unwrap();
        for text in [
            "",
            "2 00 0 1 2 3 - 0",
            "1 xyz 0 1 2 3 - 0",
            "1 00 0 1 2 3",
            "1 00 0 1 2 3 x 0",
            "1 00 0 1 2 3 - 0 0",
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(Life::load(&file, at(200)), None, "{text:?}");
        }
    }

    #[test]
    fn no_two_lives_are_the_same() {
        let start = Position { segment: 5, offset: 64 };
        let (one, other) = (Life::begin(start, true), Life::begin(start, false));
        assert_ne!(one.number, other.number);
        assert_eq!((one.root, other.root), (Position::default(), start));
    }
}
