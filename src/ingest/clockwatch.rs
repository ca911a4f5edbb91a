//! Notices that the clock was wrong for a while, once it is right again: it fell, and one leap
//! made up for it, so what was received meanwhile is dated too early by as much; or it leapt, and
//! one fall undid that, so lifts are dated ahead of what came after them. Each step is remembered
//! until another undoes it, or it and those after it together.
//!
//! While the daemon runs, a step is what the wall clock shows beyond the time that passed by the
//! monotonic one. Over a restart there is only what the wall clock showed last, which is noted
//! beside the store, with the steps that nothing has undone yet.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::journal::{create_private, open_regular, private_dir};
use crate::model::trust::SKEW;
use crate::model::{Position, Stretch, Time};

/// The note's name, among the checkpoints, and the number of its form, its first word.
const NAME: &str = "clock";
const FORM: &str = "2";
/// The form before: a step at most, and that a fall.
const FORM_OF_ONE: &str = "1";
/// Longer than any note, in bytes.
const NOTE_BYTES_MAX: u64 = 4_096;
/// How often the time is noted: a start may not know better what the clock has shown last.
const NOTE_EVERY: Duration = Duration::from_secs(10 * 60);
/// A receipt is dated so much before or after the clock was looked at, at most.
const SLACK: Duration = Duration::from_secs(2);
/// Most steps that are remembered: the oldest are forgotten first.
const STEPS_MAX: usize = 8;

/// Looks at the clock.
pub(super) struct ClockWatch {
    /// Where it is noted; `None`: a newer version's note is there, which is left alone.
    note: Option<PathBuf>,
    noted: Instant,
    wall: Time,
    monotonic: Instant,
    /// The end of the journal at the last look.
    end: Position,
    /// Those that nothing has undone yet, in their order.
    steps: Vec<Step>,
}

/// A step of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// What was recorded before this was received before it.
    from: Position,
    /// What the clock had come to.
    top: Time,
    /// What it has shown since, at the least.
    since: Time,
    /// By how many nanoseconds it was set ahead, or, below zero, back.
    by: i64,
}

impl ClockWatch {
    /// Looks from now on. There may be a stretch already, that ended while nobody looked.
    pub(super) fn start(
        checkpoint: &Path,
        end: Position,
        wall: Time,
        monotonic: Instant,
    ) -> (ClockWatch, Option<Stretch>) {
        // Whatever is wrong with the directory is told by those who cannot do without it.
        let _ = private_dir(checkpoint);
        let path = checkpoint.join(NAME);
        let text = read(&path).unwrap_or_default();
        let form = text.split_whitespace().next();
        let is_ours = form.is_none_or(|form| [FORM, FORM_OF_ONE].contains(&form));
        let (last, steps) = parse(&text).unwrap_or((wall, Vec::new()));
        let note = is_ours.then_some(path);
        let mut watch = ClockWatch { note, noted: monotonic, wall: last, monotonic, end, steps };
        let wrong = watch.compare(last, wall, None);
        watch.wall = wall;
        if wrong.is_none() {
            watch.note(monotonic);
        }
        (watch, wrong)
    }

    /// Looks at the clock: tells of a stretch if it ends now. That has to be in the journal before
    /// the next look.
    pub(super) fn look(
        &mut self,
        wall: Time,
        monotonic: Instant,
        end: Position,
    ) -> Option<Stretch> {
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let expected = self.wall.plus(passed);
        let before = self.steps.len();
        let stepped = wall.since(expected).max(expected.since(wall)) > SKEW;
        let wrong = self.compare(expected, wall, Some(passed));
        (self.wall, self.monotonic, self.end) = (wall, monotonic, end);
        let late = monotonic.saturating_duration_since(self.noted) >= NOTE_EVERY;
        if wrong.is_none() && (late || stepped || before != self.steps.len()) {
            self.note(monotonic);
        }
        wrong
    }

    /// Compares the clock with what it should show; `passed`: since the last look, if that is
    /// known.
    fn compare(&mut self, expected: Time, wall: Time, passed: Option<Duration>) -> Option<Stretch> {
        let by = wall.nanos().saturating_sub(expected.nanos());
        let unsure = passed.unwrap_or_default() + SLACK;
        let step = Step { from: self.end, top: expected, since: wall.minus(unsure), by };
        if by < -nanos(SKEW) {
            if passed.is_none() {
                let until = expected.plus(NOTE_EVERY + SLACK);
                let right = self.right_over_a_restart(by, until);
                self.remember(step);
                return right;
            }
            let Some((first, _)) = self.undone(by, nanos(SKEW)) else {
                self.remember(step);
                return None;
            };
            return self.right_since(first, expected.plus(unsure), by, true);
        }
        if by > nanos(SKEW) {
            // What passed over a restart counts for a leap then, and against a fall.
            let over = if passed.is_some() { by / 2 + nanos(SKEW) } else { i64::MAX };
            let undone = self.undone(by, over);
            if let Some((first, fell)) = undone {
                let (by, unsure) = match passed {
                    Some(_) => (by, unsure),
                    None => (fell, NOTE_EVERY + SLACK),
                };
                return self.right_since(first, expected.plus(unsure), by, false);
            }
            // While nobody looked, time has only passed.
            if passed.is_some() {
                self.remember(step);
            }
        }
        // A fall that time has made up for: the clock was ahead before, and is right since.
        self.steps.retain(|step| step.by > 0 || wall <= step.top.plus(SKEW));
        None
    }

    /// Tells of a stretch of a clock that was ahead, if a leap is remembered that a fall over a
    /// restart may have undone: what is seen of it is less by the time that passed, not by half.
    /// Both are remembered still, since the clock may be behind instead.
    fn right_over_a_restart(&self, fall: i64, until: Time) -> Option<Stretch> {
        let undoes = |step: &&Step| {
            step.by > 0 && (step.by / 2..=step.by.saturating_add(nanos(SKEW))).contains(&-fall)
        };
        let Step { from, since, by, .. } = *self.steps.iter().rev().find(undoes)?;
        let by = Duration::from_nanos(by.unsigned_abs());
        Some(Stretch { from, since, until, by, was_ahead: true })
    }

    /// Forgets the steps from that one on, which one more has undone; tells of the stretch.
    fn right_since(
        &mut self,
        first: usize,
        until: Time,
        by: i64,
        was_ahead: bool,
    ) -> Option<Stretch> {
        let undone = self.steps.split_off(first);
        let from = undone.first()?.from;
        let since = undone.iter().map(|step| step.since).min()?;
        // Of several falls, the first was from the most that was shown.
        let tops = undone.iter().map(|step| step.top).filter(|_| was_ahead);
        let until = tops.fold(until, Time::max);
        let by = Duration::from_nanos(by.unsigned_abs());
        Some(Stretch { from, since, until, by, was_ahead })
    }

    /// From which step on those that are remembered are undone by one more, which may be too large
    /// by `over`; and what they come to, the other way round. What comes nearest is meant.
    fn undone(&self, by: i64, over: i64) -> Option<(usize, i64)> {
        let mut sum = 0_i64;
        let sums = self.steps.iter().enumerate().rev().map(|(first, step)| {
            sum = sum.saturating_sub(step.by);
            (first, sum)
        });
        let near = sums.filter(|(_, sum)| {
            let more = by.saturating_abs().saturating_sub(sum.saturating_abs());
            sum.signum() == by.signum() && more >= -nanos(SKEW) && more <= over
        });
        near.min_by_key(|(_, sum)| by.saturating_sub(*sum).saturating_abs())
    }

    fn remember(&mut self, step: Step) {
        if self.steps.len() == STEPS_MAX {
            self.steps.remove(0);
        }
        self.steps.push(step);
    }

    /// Notes what the clock shows. Without a note all goes well but over a restart.
    pub(super) fn note(&mut self, monotonic: Instant) {
        self.noted = monotonic;
        if let Some(path) = &self.note {
            let _ = write(path, &show(self.wall, &self.steps));
        }
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

fn show(wall: Time, steps: &[Step]) -> String {
    let mut text = format!("{FORM} {}", wall.nanos());
    for Step { from, top, since, by } in steps {
        let (top, since) = (top.nanos(), since.nanos());
        // Into a string nothing fails.
        let _ = write!(text, " {} {} {top} {since} {by}", from.segment, from.offset);
    }
    text.push('\n');
    text
}

fn parse(text: &str) -> Option<(Time, Vec<Step>)> {
    let mut words = text.split_whitespace();
    let form = words.next()?;
    let numbers: Vec<i64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let (wall, rest) = numbers.split_first()?;
    let time = |nanos| Time::from_nanos(nanos, 9);
    let steps = rest.chunks(5).map(|numbers| {
        let [segment, offset, top, since, by] = *numbers else { return None };
        let segment = u32::try_from(segment).ok()?;
        let from = Position { segment, offset: u32::try_from(offset).ok()? };
        let by = match form {
            FORM => by,
            FORM_OF_ONE if by >= 0 => -by,
            _ => return None,
        };
        Some(Step { from, top: time(top), since: time(since), by })
    });
    let is_known = [FORM, FORM_OF_ONE].contains(&form);
    let steps = steps.collect::<Option<_>>().filter(|_| is_known)?;
    Some((time(*wall), steps))
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
    /// is stopped or killed, the clock is off by so much, and it is started.
    enum Do {
        Pass(i64),
        Off(i64),
        Restart(i64),
    }
    use Do::{Off, Pass, Restart};

    /// Runs through it; says by how many seconds the clock was ahead, or, below zero, behind, as it
    /// was found.
    fn run(steps: &[Do]) -> Vec<i64> {
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
            let wrong = match step {
                Pass(seconds) => {
                    real += seconds;
                    watch.look(wall(real, off), instant(real), end(real))
                }
                Off(by) => {
                    off = *by;
                    real += 1;
                    watch.look(wall(real, off), instant(real), end(real))
                }
                Restart(by) => {
                    off = *by;
                    real += 1;
                    let (again, wrong) = start(real, off);
                    watch = again;
                    wrong
                }
            };
            if let Some(stretch) = wrong {
                watch.note(instant(real));
                assert!(stretch.since < stretch.until, "{stretch:?}");
                let by = stretch.by.as_secs() as i64;
                found.push(if stretch.was_ahead { by } else { -by });
            }
        }
        found
    }

    #[test]
    fn only_steps_that_one_more_undoes_were_wrong() {
        for (case, steps, wrong) in [
            ("it was right", &[Pass(60), Restart(0), Pass(YEAR), Restart(0)][..], &[][..]),
            ("behind", &[Off(-YEAR), Pass(HOUR), Off(0)], &[-YEAR]),
            ("by minutes", &[Off(-290), Pass(HOUR), Off(0)], &[]),
            ("twice", &[Off(-YEAR), Off(0), Pass(9), Off(-YEAR), Off(0)], &[-YEAR, -YEAR]),
            ("ahead", &[Off(YEAR), Pass(HOUR), Off(0), Pass(HOUR)], &[YEAR]),
            ("it came there itself", &[Off(-HOUR), Pass(2 * HOUR), Off(0)], &[]),
            ("by too little", &[Off(-YEAR), Off(-HOUR), Pass(60)], &[]),
            ("by too much", &[Off(-HOUR), Off(YEAR)], &[]),
            ("in two falls", &[Off(-HOUR), Off(-YEAR), Off(0)], &[-YEAR]),
            ("a stop in between", &[Off(-YEAR), Restart(-YEAR), Pass(HOUR), Off(0)], &[-YEAR]),
            (
                "ahead, right, behind",
                &[Off(YEAR), Off(0), Off(-HOUR), Pass(60), Off(0)],
                &[YEAR, -HOUR],
            ),
            ("ahead at the start", &[Off(0), Off(-YEAR), Off(-YEAR - HOUR), Off(-YEAR)], &[-HOUR]),
            ("ahead, then behind at once", &[Off(YEAR), Off(-HOUR), Off(0)], &[-HOUR]),
            ("ahead twice", &[Off(YEAR), Off(0), Pass(60), Off(YEAR), Off(0)], &[YEAR, YEAR]),
            (
                "right in two falls",
                &[Off(YEAR), Off(HOUR), Off(0), Off(-HOUR), Off(0)],
                &[HOUR, -HOUR],
            ),
            (
                "stops while ahead",
                &[Off(YEAR), Restart(YEAR), Off(0), Off(-HOUR), Off(0)],
                &[YEAR, -HOUR],
            ),
            (
                "stops when right",
                &[Off(YEAR), Off(0), Restart(0), Off(-HOUR), Off(0)],
                &[YEAR, -HOUR],
            ),
            (
                "stops while behind",
                &[Off(YEAR), Off(0), Off(-HOUR), Restart(-HOUR), Off(0)],
                &[YEAR, -HOUR],
            ),
            (
                "right over a stop",
                &[Off(YEAR), Pass(60), Restart(0), Pass(60), Restart(0)],
                &[YEAR],
            ),
            (
                "and behind then",
                &[Off(YEAR), Restart(0), Off(-HOUR), Pass(60), Off(0)],
                &[YEAR, -HOUR],
            ),
            ("behind over a stop", &[Off(YEAR), Off(0), Restart(-HOUR), Off(0)], &[YEAR, -HOUR]),
            ("set once, behind over a stop", &[Off(YEAR), Restart(YEAR - HOUR)], &[]),
            ("asleep before", &[Off(HOUR), Pass(60), Off(-YEAR), Off(HOUR)], &[-YEAR - HOUR]),
        ] {
            assert_eq!(run(steps), wrong, "{case}");
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let wall = Time::from_nanos(-5, 9);
        let from = Position { segment: 7, offset: 4_096 };
        let (top, since) = (Time::from_nanos(9, 9), Time::from_nanos(3, 9));
        let step = Step { from, top, since, by: i64::MIN };
        let widest = Position { segment: u32::MAX, offset: u32::MAX };
        let (top, since) = (Time::from_nanos(i64::MIN, 9), Time::from_nanos(i64::MIN, 9));
        let longest = Step { from: widest, top, since, by: i64::MIN };
        for steps in [vec![], vec![step], vec![longest; STEPS_MAX]] {
            let text = show(wall, &steps);
            assert!(text.len() as u64 <= NOTE_BYTES_MAX);
            assert_eq!(parse(&text), Some((wall, steps)));
        }
        let fall = Step { by: -8, ..step };
        assert_eq!(parse("1 -5 7 4096 9 3 8"), Some((wall, vec![fall])));
        assert_eq!(parse("1 -5"), Some((wall, vec![])));
        for text in ["", "1", "2", "3 5", "2 x", "2 5 6", "2 5 -1 0 0 0 0", "1 5 1 0 0 0 -1"] {
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
        fs::write(&path, "3 something else\n").unwrap();
        let (now, end) = (Instant::now(), Position::default());
        let (mut watch, _) =
            ClockWatch::start(directory.path(), end, Time::from_seconds(START), now);
        watch.note(now);
        assert_eq!(fs::read_to_string(&path).unwrap(), "3 something else\n");
    }
}
