//! What is being applied, noted beside the store: should the process die of it, the next start
//! knows of what.
//!
//! A death is first known to be of a batch. Each of its steps is then applied alone, and one in
//! which one process after another died is not tried again. A kill from outside looks the same,
//! but comes at any time: so there is a pause before a suspect is tried again, which is long next
//! to the step and of another length each time, and a life that ends in it says nothing of the
//! suspect. All pauses together are short: a daemon that is killed each second still comes further.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use crate::journal::open_regular;
use crate::model::{Position, QuarantineId};

/// The file's name, among the checkpoints.
const NAME: &str = "attempt";
/// The length of a note, in bytes: the same for all, so that one is written over another.
const NOTE_BYTES: usize = 48;
/// Deaths within one step that was applied alone, one life after the other, before it is not tried
/// again.
const DEATHS_MAX: u32 = 5;
/// The pause before what the process may have died of is tried again, by the deaths within it
/// alone. A kill that has nothing to do with the step hits the pause, all but a hundredth of them.
const PAUSES: [Duration; DEATHS_MAX as usize - 1] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(400),
    Duration::from_millis(150),
];
/// Most steps of a batch.
const STEPS_MAX: u32 = 3 * 4_096;

/// A step of applying: a record as a whole, or an element of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The record.
    pub record: Position,
    /// 0: reading the record; from 1 on: its elements; behind the last one: what ends it.
    pub step: u32,
}

impl Place {
    /// What is set aside if this step cannot be done, of a record with that many elements.
    pub fn id(self, elements: u32) -> QuarantineId {
        let element = self.step.checked_sub(1).filter(|element| *element < elements);
        QuarantineId { record: self.record, element: element.unwrap_or(QuarantineId::WHOLE) }
    }
}

/// A step at which it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    place: Place,
    /// How often the process died of it alone.
    deaths: u32,
    /// It is not tried again.
    given_up: bool,
}

/// The note, and what the one of the last life said.
pub struct Attempt {
    file: File,
    suspect: Option<Suspect>,
    /// How many steps are still done alone, from the suspect on.
    alone: u32,
    /// What is being done: the batch that begins with this step.
    current: Option<Place>,
    /// How many steps of it there are, and for how many the note is good.
    steps: (u32, u32),
}

impl Attempt {
    /// Opens the note in the directory of the checkpoints; one that a process left behind as it
    /// died counts.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(checkpoint: &Path) -> io::Result<Attempt> {
        let path = checkpoint.join(NAME);
        let file = match open_regular(&path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create_new(true).mode(0o600).open(&path)?
            }
            opened => opened?,
        };
        let mut note = [0; NOTE_BYTES];
        let read = file.read_at(&mut note, 0)?;
        let (suspect, alone) = parse(&note[..read]).unzip();
        Ok(Attempt { file, suspect, alone: alone.unwrap_or(0), current: None, steps: (0, 0) })
    }

    /// Whether a step has to be done in a batch of its own.
    pub fn is_alone(&self, place: Place) -> bool {
        self.alone > 0 && self.suspect.is_some_and(|suspect| suspect.place <= place)
    }

    /// Whether a step is not to be tried again.
    pub fn is_given_up(&self, place: Place) -> bool {
        self.suspect.is_some_and(|suspect| suspect.place == place && suspect.given_up)
    }

    /// How long to wait before a step, if the process may have died of it alone.
    pub fn pause(&self, place: Place) -> Option<Duration> {
        let suspect = self.suspect.filter(|suspect| suspect.place == place)?;
        PAUSES.get(suspect.deaths.checked_sub(1)? as usize).copied()
    }

    /// Notes that a batch begins with this step, which may be all of it.
    pub fn begin(&mut self, place: Place) {
        self.current = Some(place);
        self.steps = (0, 0);
        if self.is_alone(place) {
            let known = self.suspect.filter(|suspect| suspect.place == place);
            self.note("alone", place, known.map_or(0, |suspect| suspect.deaths));
        } else {
            self.next();
        }
    }

    /// Notes that a further step of the batch begins.
    pub fn next(&mut self) {
        let Some(place) = self.current.filter(|place| !self.is_alone(*place)) else { return };
        self.steps.0 += 1;
        if self.steps.0 > self.steps.1 {
            // Of so few steps, so that few have to be done alone; and written seldom.
            self.steps.1 = self.steps.0.next_power_of_two();
            self.note("steps", place, self.steps.1);
        }
    }

    /// Notes that what was begun is done.
    pub fn done(&mut self) {
        let Some(place) = self.current.take() else { return };
        if self.is_alone(place) {
            self.alone -= 1;
            self.suspect.take_if(|suspect| self.alone == 0 || suspect.given_up);
            // Whatever it was, it was not this one.
            if let Some(suspect) = &mut self.suspect
                && suspect.place == place
            {
                suspect.deaths = 0;
            }
        }
        match self.suspect.filter(|suspect| !suspect.given_up && suspect.place > place) {
            // Still to come: a life that ends before it says nothing of it, and forgets nothing.
            Some(Suspect { place, deaths, .. }) => self.note_left(place, deaths),
            None => self.write(""),
        }
    }

    /// Notes that a step went wrong in a way that could be caught: it is tried alone, or no more
    /// if it was.
    pub fn failed(&mut self, place: Place) {
        let given_up = self.current == Some(place) && self.is_alone(place);
        self.suspect = Some(Suspect { place, deaths: 0, given_up });
        self.alone = self.alone.max(1);
    }

    /// Notes what is still to be done alone.
    fn note_left(&self, place: Place, deaths: u32) {
        match deaths {
            0 => self.note("steps", place, self.alone),
            _ => self.note("suspect", place, deaths),
        }
    }

    fn note(&self, kind: &str, place: Place, number: u32) {
        let Place { record: Position { segment, offset }, step } = place;
        self.write(&format!("{kind} {segment} {offset} {step} {number}"));
    }

    fn write(&self, text: &str) {
        let note = format!("{text:<width$}\n", width = NOTE_BYTES - 1);
        // Not synced: what has to survive is the death of a process, not of the machine. Without a
        // note everything goes as well, as long as nobody dies.
        let _ = self.file.write_all_at(note.as_bytes(), 0);
    }
}

impl Drop for Attempt {
    /// A store that fails, or sled that panics, is no death.
    fn drop(&mut self) {
        self.write("");
    }
}

/// What a note says: the suspect, and how many steps are done alone from there on.
fn parse(note: &[u8]) -> Option<(Suspect, u32)> {
    let mut words = std::str::from_utf8(note).ok()?.split_whitespace();
    let kind = words.next()?;
    let numbers: Vec<u32> = words.map_while(|word| word.parse().ok()).collect();
    let &[segment, offset, step, number] = numbers.as_slice() else { return None };
    let (deaths, alone) = match kind {
        "steps" => (0, number.min(STEPS_MAX)),
        // What is behind it is a batch again, which is known should it be that.
        "alone" => (number.saturating_add(1), 1),
        "suspect" => (number, 1),
        // Of an earlier version, which did not say of how many steps.
        "batch" => (0, STEPS_MAX),
        _ => return None,
    };
    let place = Place { record: Position { segment, offset }, step };
    Some((Suspect { place, deaths, given_up: deaths >= DEATHS_MAX }, alone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(step: u32) -> Place {
        Place { record: Position { segment: 1, offset: 16 }, step }
    }

    /// Dies, as a process does: nothing is tidied up.
    fn die(attempt: Attempt) {
        std::mem::forget(attempt);
    }

    /// Begins a batch of so many steps.
    fn batch(attempt: &mut Attempt, place: Place, steps: u32) {
        attempt.begin(place);
        (1..steps).for_each(|_| attempt.next());
    }

    #[test]
    fn what_kills_again_and_again_is_not_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Attempt::open(directory.path()).unwrap();
        // A batch of which nobody knows what it was.
        let mut first = open();
        assert!(!first.is_alone(place(1)));
        batch(&mut first, place(1), 3);
        die(first);
        let mut second = open();
        assert!(!second.is_alone(place(0)) && second.is_alone(place(1)));
        second.begin(place(1));
        second.done();
        assert!(second.is_alone(place(2)));
        assert_eq!(second.pause(place(2)), None);
        second.begin(place(2));
        die(second);
        for pause in PAUSES {
            let mut next = open();
            assert!(!next.is_alone(place(1)) && next.is_alone(place(2)));
            assert!(!next.is_given_up(place(2)));
            assert_eq!((next.pause(place(2)), next.pause(place(3))), (Some(pause), None));
            next.begin(place(2));
            die(next);
        }
        let mut last = open();
        assert!(last.is_given_up(place(2)) && !last.is_given_up(place(1)));
        assert_eq!(last.pause(place(2)), None);
        assert!(last.is_alone(place(2)));
        last.begin(place(2));
        last.done();
        assert!(!last.is_given_up(place(2)));
        die(last);
        assert!(!open().is_alone(place(3)), "what was done is no suspect");
    }

    #[test]
    fn all_of_a_batch_is_done_alone_after_a_death_in_it_and_little_more() {
        for (steps, alone) in [(1, 1), (2, 2), (5, 8), (100, 128), (100_000, STEPS_MAX)] {
            let directory = tempfile::tempdir().unwrap();
            let mut life = Attempt::open(directory.path()).unwrap();
            batch(&mut life, place(1), steps);
            die(life);
            let mut next = Attempt::open(directory.path()).unwrap();
            let mut done = 0;
            while next.is_alone(place(1 + done)) {
                next.begin(place(1 + done));
                next.done();
                done += 1;
            }
            assert_eq!(done, alone, "{steps}");
        }
    }

    /// Lives of any length, each of which applies from where the last has come to: a step takes a
    /// few milliseconds, and kills come at any time.
    #[test]
    fn kills_that_come_by_chance_blame_nothing_and_all_goes_on() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            (seed >> 33) % below
        };
        let directory = tempfile::tempdir().unwrap();
        let mut reached = 1;
        for life in 0..2_000 {
            let before = reached;
            let mut attempt = Attempt::open(directory.path()).unwrap();
            let mut left = 700 + random(2_000);
            loop {
                assert!(!attempt.is_given_up(place(reached)), "life {life}");
                let pause = attempt.pause(place(reached)).map_or(0, |p| p.as_millis() as u64);
                let alone = attempt.is_alone(place(reached));
                let steps = if alone { 1 } else { 40 };
                let takes = u64::from(steps) * (1 + random(5));
                if left < pause {
                    break;
                }
                batch(&mut attempt, place(reached), steps);
                if left < pause + takes {
                    break;
                }
                left -= pause + takes;
                attempt.done();
                reached += steps;
            }
            die(attempt);
            assert!(reached > before + 50, "life {life}: no further than {}", reached - before);
        }
    }

    #[test]
    fn deaths_of_different_elements_do_not_add_up() {
        let directory = tempfile::tempdir().unwrap();
        for step in 1..20 {
            let mut life = Attempt::open(directory.path()).unwrap();
            assert!((0..20).all(|step| !life.is_given_up(place(step))), "{step}");
            if step > 1 {
                life.begin(place(step - 1));
                life.done();
            }
            life.begin(place(step));
            die(life);
        }
        drop(Attempt::open(directory.path()).unwrap());
        let next = Attempt::open(directory.path()).unwrap();
        assert!(!next.is_alone(place(19)), "a store that failed is no death");
    }

    #[test]
    fn a_life_that_ends_before_the_suspect_is_tried_says_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Attempt::open(directory.path()).unwrap();
        for _ in 0..2 {
            let mut life = open();
            life.begin(place(1));
            die(life);
        }
        for _ in 0..10 {
            let life = open();
            assert_eq!(life.pause(place(1)), Some(PAUSES[0]));
            die(life);
        }
    }

    #[test]
    fn what_fails_is_tried_alone_and_then_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut attempt = Attempt::open(directory.path()).unwrap();
        attempt.begin(place(1));
        attempt.failed(place(5));
        assert!(!attempt.is_alone(place(4)));
        assert!(attempt.is_alone(place(5)) && !attempt.is_given_up(place(5)));
        attempt.begin(place(1));
        attempt.done();
        attempt.begin(place(5));
        attempt.failed(place(5));
        assert!(attempt.is_given_up(place(5)));
        attempt.begin(place(5));
        attempt.done();
        assert!(!attempt.is_alone(place(6)) && !attempt.is_given_up(place(5)));
    }

    #[test]
    fn any_bytes_are_no_note() {
        for bytes in [&b""[..], b"\n", b"alone 1 2", b"batch 1 2 3 x", b"other 1 2 3 4", b"\xff"] {
            assert_eq!(parse(bytes), None);
        }
        let suspect = |deaths| Suspect { place: place(3), deaths, given_up: false };
        assert_eq!(parse(b"alone 1 16 3 0        \n"), Some((suspect(1), 1)));
        assert_eq!(
            parse(b"batch 1 16 3 0"),
            Some((suspect(0), STEPS_MAX)),
            "of an earlier version"
        );
    }
}
