//! Notices that the clock was behind for a while, once it is right again: it fell, and one leap
//! made up for it. What was received meanwhile is dated too early by as much.
//!
//! While the daemon runs, a step is what the wall clock shows beyond the time that passed by the
//! monotonic one. Over a restart there is only what the wall clock showed last, which is noted
//! beside the store, with a fall that nothing has made up for yet.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::journal::{create_private, open_regular, private_dir};
use crate::model::trust::SKEW;
use crate::model::{Behind, Position, Time};

/// The note's name, among the checkpoints, and the number of its form, its first word.
const NAME: &str = "clock";
const FORM: &str = "1";
/// Longer than any note, in bytes.
const NOTE_BYTES_MAX: u64 = 4_096;
/// How often the time is noted: a start may not know better what the clock has shown last.
const NOTE_EVERY: Duration = Duration::from_secs(10 * 60);
/// A receipt is dated so much before or after the clock was looked at, at most.
const SLACK: Duration = Duration::from_secs(2);

/// Looks at the clock.
pub(super) struct ClockWatch {
    /// Where it is noted; `None`: a newer version's note is there, which is left alone.
    note: Option<PathBuf>,
    noted: Instant,
    wall: Time,
    monotonic: Instant,
    /// The end of the journal at the last look.
    end: Position,
    fall: Option<Fall>,
}

/// A step back that nothing has made up for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fall {
    /// What was recorded before this was received before it.
    from: Position,
    /// What the clock had come to.
    top: Time,
    /// What it has shown since.
    since: Time,
    by: Duration,
}

impl ClockWatch {
    /// Looks from now on. There may be a stretch already, that ended while nobody looked.
    pub(super) fn start(
        checkpoint: &Path,
        end: Position,
        wall: Time,
        monotonic: Instant,
    ) -> (ClockWatch, Option<Behind>) {
        // Whatever is wrong with the directory is told by those who cannot do without it.
        let _ = private_dir(checkpoint);
        let path = checkpoint.join(NAME);
        let text = read(&path).unwrap_or_default();
        let is_ours = text.split_whitespace().next().is_none_or(|form| form == FORM);
        let (last, fall) = parse(&text).map_or((wall, None), |(last, fall)| (last, fall));
        let note = is_ours.then_some(path);
        let mut watch = ClockWatch { note, noted: monotonic, wall: last, monotonic, end, fall };
        let behind = watch.compare(last, wall, None);
        watch.wall = wall;
        if behind.is_none() {
            watch.note(monotonic);
        }
        (watch, behind)
    }

    /// Looks at the clock: tells of a stretch if it ends now. That has to be in the journal before
    /// the next look.
    pub(super) fn look(&mut self, wall: Time, monotonic: Instant, end: Position) -> Option<Behind> {
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let (expected, before) = (self.wall.plus(passed), self.fall);
        let behind = self.compare(expected, wall, Some(passed));
        (self.wall, self.monotonic, self.end) = (wall, monotonic, end);
        let late = monotonic.saturating_duration_since(self.noted) >= NOTE_EVERY;
        if behind.is_none() && (late || before != self.fall) {
            self.note(monotonic);
        }
        behind
    }

    /// Compares the clock with what it should show; `passed`: since the last look, if that is
    /// known.
    fn compare(&mut self, expected: Time, wall: Time, passed: Option<Duration>) -> Option<Behind> {
        let (ahead, back) = (wall.since(expected), expected.since(wall));
        let unsure = passed.unwrap_or_default() + SLACK;
        if back > SKEW {
            let (from, since) = (self.end, wall.minus(unsure));
            let fall = Fall { from, top: expected, since, by: Duration::ZERO };
            let fall = self.fall.get_or_insert(fall);
            fall.by += back;
            fall.since = fall.since.min(since);
            return None;
        }
        let fall = self.fall?;
        // What passed over a restart counts for a leap then, and against a fall.
        let most = if passed.is_some() { 2 * fall.by + SKEW } else { Duration::MAX };
        if ahead > SKEW && ahead + SKEW >= fall.by && ahead <= most {
            self.fall = None;
            let (by, unsure) = match passed {
                Some(_) => (ahead, unsure),
                None => (fall.by, NOTE_EVERY + SLACK),
            };
            let until = expected.plus(unsure);
            return Some(Behind { from: fall.from, since: fall.since, until, by });
        }
        // It came there by itself: so it was ahead before, and right since.
        self.fall = Some(fall).filter(|fall| wall <= fall.top.plus(SKEW));
        None
    }

    /// Notes what the clock shows. Without a note all goes well but over a restart.
    pub(super) fn note(&mut self, monotonic: Instant) {
        self.noted = monotonic;
        if let Some(path) = &self.note {
            let _ = write(path, &show(self.wall, self.fall));
        }
    }
}

fn show(wall: Time, fall: Option<Fall>) -> String {
    let mut text = format!("{FORM} {}", wall.nanos());
    if let Some(Fall { from, top, since, by }) = fall {
        let (top, since, by) = (top.nanos(), since.nanos(), by.as_nanos());
        // Into a string nothing fails.
        let _ = write!(text, " {} {} {top} {since} {by}", from.segment, from.offset);
    }
    text.push('\n');
    text
}

fn parse(text: &str) -> Option<(Time, Option<Fall>)> {
    let mut words = text.split_whitespace();
    if words.next()? != FORM {
        return None;
    }
    let numbers: Vec<i64> = words.map_while(|word| word.parse().ok()).collect();
    let time = |nanos| Time::from_nanos(nanos, 9);
    match *numbers.as_slice() {
        [wall] => Some((time(wall), None)),
        [wall, segment, offset, top, since, by] => {
            let segment = u32::try_from(segment).ok()?;
            let from = Position { segment, offset: u32::try_from(offset).ok()? };
            let by = Duration::from_nanos(u64::try_from(by).ok()?);
            let fall = Fall { from, top: time(top), since: time(since), by };
            Some((time(wall), Some(fall)))
        }
        _ => None,
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path, false)?.take(NOTE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = create_private(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;
    const YEAR: i64 = 365 * 24 * HOUR;
    /// The real time at the beginning.
    const START: i64 = 1_700_000_000;

    /// What happens: time passes, in seconds; the clock is off by so much from then on; the daemon
    /// is stopped or killed, and started.
    enum Do {
        Pass(i64),
        Off(i64),
        Restart,
    }
    use Do::{Off, Pass, Restart};

    /// Runs through it; says by how many seconds which stretches were found to be behind.
    fn run(steps: &[Do]) -> Vec<u64> {
        let directory = tempfile::tempdir().unwrap();
        let (begun, mut real, mut off) = (Instant::now(), START, 0);
        let wall = |real: i64, off: i64| Time::from_seconds(real + off);
        let instant = |real: i64| begun + Duration::from_secs((real - START) as u64);
        let end = |real: i64| Position { segment: 1, offset: (real - START) as u32 };
        let start = |real, off| {
            ClockWatch::start(directory.path(), end(real), wall(real, off), instant(real))
        };
        let (mut watch, none) = start(real, off);
        assert_eq!(none, None);
        let mut found = Vec::new();
        for step in steps {
            let behind = match step {
                Pass(seconds) => {
                    real += seconds;
                    watch.look(wall(real, off), instant(real), end(real))
                }
                Off(by) => {
                    off = *by;
                    real += 1;
                    watch.look(wall(real, off), instant(real), end(real))
                }
                Restart => {
                    let (again, behind) = start(real, off);
                    watch = again;
                    behind
                }
            };
            if let Some(behind) = behind {
                watch.note(instant(real));
                assert!(behind.since < behind.until, "{behind:?}");
                found.push(behind.by.as_secs());
            }
        }
        found
    }

    #[test]
    fn only_a_fall_that_one_leap_makes_up_for_was_behind() {
        let year = YEAR as u64;
        for (case, steps, behind) in [
            ("it was right", &[Pass(60), Restart, Pass(YEAR), Restart][..], &[][..]),
            ("behind", &[Off(-YEAR), Pass(HOUR), Off(0)], &[year]),
            ("by minutes", &[Off(-290), Pass(HOUR), Off(0)], &[]),
            ("twice", &[Off(-YEAR), Off(0), Pass(9), Off(-YEAR), Off(0)], &[year, year]),
            ("ahead", &[Off(YEAR), Pass(HOUR), Off(0), Pass(HOUR)], &[]),
            ("it came there itself", &[Off(-HOUR), Pass(2 * HOUR), Off(0)], &[]),
            ("by too little", &[Off(-YEAR), Off(-HOUR), Pass(60)], &[]),
            ("by too much", &[Off(-HOUR), Off(YEAR)], &[]),
            ("in two falls", &[Off(-HOUR), Off(-YEAR), Off(0)], &[year]),
            ("a stop in between", &[Off(-YEAR), Restart, Pass(HOUR), Off(0)], &[year]),
        ] {
            assert_eq!(run(steps), behind, "{case}");
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let wall = Time::from_nanos(-5, 9);
        let from = Position { segment: 7, offset: 4_096 };
        let (top, since) = (Time::from_seconds(9), Time::from_nanos(3, 9));
        let fall = Fall { from, top, since, by: Duration::from_nanos(u64::MAX >> 2) };
        for fall in [None, Some(fall)] {
            let (read, again) = parse(&show(wall, fall)).unwrap();
            assert_eq!(read.nanos(), wall.nanos());
            assert_eq!(again.map(|f| show(wall, Some(f))), fall.map(|f| show(wall, Some(f))));
        }
        for text in ["", "1", "2 5", "1 x", "1 5 6", "1 5 -1 0 0 0 0"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    /// Over a restart the clock may be set before the daemon looks: neither step is seen by it.
    #[test]
    fn steps_over_a_restart_are_seen_by_what_was_noted() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let start = |seconds: i64, offset| {
            let end = Position { segment: 1, offset };
            ClockWatch::start(directory.path(), end, Time::from_seconds(seconds), now).1
        };
        assert_eq!(start(START, 16), None);
        assert_eq!(start(START - YEAR, 32), None);
        let behind = start(START + 60, 48).unwrap();
        assert_eq!((behind.from.offset, behind.by.as_secs()), (32, YEAR as u64));
        assert!(behind.covers(Time::from_seconds(START - YEAR)));
        assert!(!behind.covers(Time::from_seconds(START)));
        // Until it is in the journal, it is told again.
        assert!(start(START + 61, 48).is_some());
    }

    #[test]
    fn the_note_of_a_newer_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        fs::write(&path, "2 something else\n").unwrap();
        let (now, end) = (Instant::now(), Position::default());
        let (mut watch, _) =
            ClockWatch::start(directory.path(), end, Time::from_seconds(START), now);
        watch.note(now);
        assert_eq!(fs::read_to_string(&path).unwrap(), "2 something else\n");
    }
}
