//! Notices that the clock was wrong for a while, once it is right again: it fell, and one leap
//! made up for it, so what was received meanwhile is dated too early by as much; or it leapt, and
//! one fall undid that, so lifts are dated ahead of what came after them. Each step is remembered
//! until another undoes it, or it and those after it together.
//!
//! While the daemon runs, a step is what the wall clock shows beyond the time that passed by the
//! monotonic one. Over a restart there is only what the wall clock showed last, which is noted
//! beside the store, with the steps that nothing has undone yet.
//!
//! Nobody sees a leap while the daemon is down, but it cannot have been larger than what the clock
//! showed to have passed. So a fall that undoes nothing is the end of a clock that was ahead since
//! the last start before which it can have leapt as far; or the beginning of one that is behind. It
//! is taken for both. Over a restart only after a while: a host that has no clock of its own begins
//! with one that is behind, and sets it soon.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::STEP_MIN;
use crate::journal::{create_private, open_regular, private_dir};
use crate::model::trust::SKEW;
use crate::model::{Position, Stretch, Time};

/// The note's name, among the checkpoints, and the number of its form, its first word.
const NAME: &str = "clock";
const FORM: &str = "3";
/// The form before: steps alone.
const FORM_OF_STEPS: &str = "2";
/// The form before that: a step at most, and that a fall.
const FORM_OF_ONE: &str = "1";
const FORMS: [&str; 3] = [FORM, FORM_OF_STEPS, FORM_OF_ONE];
/// Longer than any note, in bytes.
const NOTE_BYTES_MAX: u64 = 4_096;
/// How often the time is noted: a start may not know better what the clock has shown last.
const NOTE_EVERY: Duration = Duration::from_secs(10 * 60);
/// A receipt is dated so much before or after the clock was looked at, at most.
const SLACK: Duration = Duration::from_secs(2);
/// Most steps that are remembered: the oldest are forgotten first.
const STEPS_MAX: usize = 8;
/// Most starts that are remembered.
const STARTS_MAX: usize = 8;
/// How long a fall over a restart may turn out to be the beginning of a clock that is behind.
const DOUBT: Duration = Duration::from_secs(10 * 60);
/// How far back a clock is taken to have been ahead, if nobody saw since when: all of that is
/// merged again. A small step comes more often, and matters less.
const REACH: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const SMALL_REACH: Duration = Duration::from_secs(60 * 60);
/// How long it is told that the clock went ahead, and the least time that is told of a stop.
const TOLD_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Stands in a note for no time.
const NONE: i64 = i64::MIN;

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
    /// Those before which it may have leapt, each less far than before the one that came first.
    starts: Vec<Start>,
    begun: Instant,
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
    /// It may have been ahead since then, which is still to be told.
    ahead: Option<Time>,
}

/// A start before which the clock may have leapt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    /// All before this was recorded before it.
    from: Position,
    /// What the clock showed.
    since: Time,
    /// How many nanoseconds later that was than what it had shown last.
    gap: i64,
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
        let is_ours = form.is_none_or(|form| FORMS.contains(&form));
        let (last, steps, mut starts) = parse(&text).unwrap_or((wall, Vec::new(), Vec::new()));
        if starts.is_empty() {
            // Of what was before, nothing is known.
            starts.push(Start { from: end, since: wall, gap: i64::MAX });
        }
        let (note, noted, begun) = (is_ours.then_some(path), monotonic, monotonic);
        let mut watch =
            ClockWatch { note, noted, wall: last, monotonic, end, steps, starts, begun };
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
        let wrong = wrong.or_else(|| self.beyond_doubt(monotonic));
        (self.wall, self.monotonic, self.end) = (wall, monotonic, end);
        let late = monotonic.saturating_duration_since(self.noted) >= NOTE_EVERY;
        if wrong.is_none() && (late || stepped || before != self.steps.len()) {
            self.note(monotonic);
        }
        wrong
    }

    /// By how much the clock went ahead lately, if nothing has undone that: as it was looked at, or
    /// over a start, where it may be time that passed.
    pub(super) fn ahead(&self) -> Option<Duration> {
        let leaps = self.steps.iter().map(|step| (step.since, step.by));
        let leaps = leaps.filter(|(_, by)| *by > 0);
        let starts = self.starts.iter().map(|start| (start.since, start.gap));
        // Before the first start nothing is known.
        let starts = starts.filter(|(_, gap)| (nanos(TOLD_FOR)..i64::MAX).contains(gap));
        let told = |since: &Time| (*since..=since.plus(TOLD_FOR)).contains(&self.wall);
        let lately = leaps.chain(starts).filter(|(since, _)| told(since));
        lately.map(|(_, by)| Duration::from_nanos(by.unsigned_abs())).max()
    }

    /// Compares the clock with what it should show; `passed`: since the last look, if that is
    /// known.
    fn compare(&mut self, expected: Time, wall: Time, passed: Option<Duration>) -> Option<Stretch> {
        let by = wall.nanos().saturating_sub(expected.nanos());
        let unsure = passed.unwrap_or_default() + SLACK;
        let step =
            Step { from: self.end, top: expected, since: wall.minus(unsure), by, ahead: None };
        if by < -nanos(SKEW) {
            if passed.is_none() {
                let right = self.right_over_a_restart(by, expected.plus(NOTE_EVERY + SLACK));
                let ahead = right.is_none().then(|| self.ahead_since(&step, REACH));
                self.remember(Step { ahead, ..step });
                return right;
            }
            let Some((first, _)) = self.undone(by, nanos(SKEW)) else {
                let right = self.right_at(&step, REACH, unsure);
                self.remember(step);
                return Some(right);
            };
            return self.right_since(first, expected.plus(unsure), by, true);
        }
        // Terms that are too short by less do no harm: only what it may hide is told.
        if by <= -nanos(STEP_MIN) && passed.is_some() {
            return Some(self.right_at(&step, SMALL_REACH, unsure));
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
        if passed.is_none() && by >= nanos(STEP_MIN) {
            self.remember_start(Start { from: self.end, since: wall, gap: by });
        }
        // A fall that time has made up for: the clock was ahead before, and is right since.
        let is_open = |step: &Step| step.by > 0 || step.ahead.is_some();
        self.steps.retain(|step| is_open(step) || wall <= step.top.plus(SKEW));
        None
    }

    /// Since when the clock was ahead that fell now, if it was: since it leapt as far, or may have.
    /// What was received later than it shows now says so itself, if it is right.
    fn ahead_since(&self, fall: &Step, reach: Duration) -> Time {
        let least = fall.by.saturating_abs().saturating_sub(nanos(SKEW.min(fall_by(fall) / 2)));
        let starts = self.starts.iter().map(|start| (start.from, start.since, start.gap));
        let leaps = self.steps.iter().map(|step| (step.from, step.since, step.by));
        let leapt = starts.chain(leaps).filter(|(_, _, by)| *by >= least);
        let since = leapt.max_by_key(|(from, ..)| *from).map(|(_, since, _)| since);
        since.unwrap_or(fall.since).min(fall.since).max(fall.top.minus(reach))
    }

    /// The stretch of a clock that was ahead, of which only the fall was seen.
    fn right_at(&self, fall: &Step, reach: Duration, unsure: Duration) -> Stretch {
        let since = self.ahead_since(fall, reach);
        Stretch::found(since, fall.top.plus(unsure), fall_by(fall))
    }

    /// Tells of a clock that was ahead before a restart, once nothing says that it is behind since.
    fn beyond_doubt(&mut self, monotonic: Instant) -> Option<Stretch> {
        if monotonic.saturating_duration_since(self.begun) < DOUBT {
            return None;
        }
        let mut steps = self.steps.iter_mut();
        let (fall, since) = steps.find_map(|step| step.ahead.take().map(|since| (*step, since)))?;
        // It was not seen while it was down, nor for a while before that.
        let unseen = NOTE_EVERY + SLACK;
        Some(Stretch::found(since, fall.top.plus(unseen), fall_by(&fall) + unseen))
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

    /// The clock can have leapt last, at most as far, before the last start behind a gap as long:
    /// one behind a shorter gap that was earlier says nothing more.
    fn remember_start(&mut self, start: Start) {
        self.starts.retain(|earlier| earlier.gap > start.gap);
        // Without that of the shortest gap one that was earlier stands in for it.
        self.starts.truncate(STARTS_MAX - 1);
        self.starts.push(start);
    }

    /// Notes what the clock shows. Without a note all goes well but over a restart.
    pub(super) fn note(&mut self, monotonic: Instant) {
        self.noted = monotonic;
        if let Some(path) = &self.note {
            let _ = write(path, &show(self.wall, &self.steps, &self.starts));
        }
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// By how much the clock fell.
fn fall_by(fall: &Step) -> Duration {
    Duration::from_nanos(fall.by.unsigned_abs())
}

fn show(wall: Time, steps: &[Step], starts: &[Start]) -> String {
    let mut text = format!("{FORM} {} {}", wall.nanos(), steps.len());
    for Step { from, top, since, by, ahead } in steps {
        let (top, since) = (top.nanos(), since.nanos());
        let ahead = ahead.map_or(NONE, Time::nanos);
        // Into a string nothing fails.
        let _ = write!(text, " {} {} {top} {since} {by} {ahead}", from.segment, from.offset);
    }
    for Start { from, since, gap } in starts {
        let _ = write!(text, " {} {} {} {gap}", from.segment, from.offset, since.nanos());
    }
    text.push('\n');
    text
}

fn parse(text: &str) -> Option<(Time, Vec<Step>, Vec<Start>)> {
    let mut words = text.split_whitespace();
    let form = words.next()?;
    let numbers: Vec<i64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let (wall, rest) = numbers.split_first()?;
    let (steps, starts) = match form {
        FORM => {
            let (count, rest) = rest.split_first()?;
            let length = usize::try_from(*count).ok()?.checked_mul(6)?;
            let (steps, starts) = rest.split_at_checked(length)?;
            let steps = steps.chunks(6).map(|words| parse_step(&words[..5], words[5]));
            (steps.collect::<Option<_>>()?, starts.chunks(4).map(parse_start).collect())
        }
        FORM_OF_STEPS => {
            let steps = rest.chunks(5).map(|words| parse_step(words, NONE));
            (steps.collect::<Option<_>>()?, Some(Vec::new()))
        }
        FORM_OF_ONE => {
            let fell = |step: Step| (step.by >= 0).then_some(Step { by: -step.by, ..step });
            let steps = rest.chunks(5).map(|words| parse_step(words, NONE).and_then(fell));
            (steps.collect::<Option<_>>()?, Some(Vec::new()))
        }
        _ => return None,
    };
    Some((Time::from_nanos(*wall, 9), steps, starts?))
}

fn parse_step(words: &[i64], ahead: i64) -> Option<Step> {
    let [segment, offset, top, since, by] = *words else { return None };
    let time = |nanos| Time::from_nanos(nanos, 9);
    let ahead = Some(ahead).filter(|nanos| *nanos != NONE).map(time);
    Some(Step { from: place(segment, offset)?, top: time(top), since: time(since), by, ahead })
}

fn parse_start(words: &[i64]) -> Option<Start> {
    let [segment, offset, since, gap] = *words else { return None };
    Some(Start { from: place(segment, offset)?, since: Time::from_nanos(since, 9), gap })
}

fn place(segment: i64, offset: i64) -> Option<Position> {
    Some(Position { segment: u32::try_from(segment).ok()?, offset: u32::try_from(offset).ok()? })
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

    /// Runs through it; says by how many seconds the clock was ahead, or, below zero, behind; and
    /// of what nobody saw the beginning: by how many, and since when, from the start.
    fn run(steps: &[Do]) -> (Vec<i64>, Vec<(i64, i64)>) {
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
        let (mut seen, mut found) = (Vec::new(), Vec::new());
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
                match stretch.is_found() {
                    true => found.push((by, stretch.since.second() - START)),
                    false => seen.push(if stretch.was_ahead { by } else { -by }),
                }
            }
        }
        (seen, found)
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
            assert_eq!(run(steps).0, wrong, "{case}");
        }
    }

    #[test]
    fn a_clock_that_went_ahead_is_told_for_a_day_or_until_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let (begun, end) = (Instant::now(), Position::default());
        let (right, by) = (Time::from_seconds(1_780_000_000), Duration::from_secs(7 * 86_400));
        let (mut watch, _) = ClockWatch::start(folder.path(), end, right, begun);
        assert_eq!(watch.ahead(), None);
        let look = |watch: &mut ClockWatch, passed: u64, wrong: Duration| {
            let passed = Duration::from_secs(passed);
            watch.look(right.plus(passed + wrong), begun + passed, end);
            watch.ahead()
        };
        assert_eq!(look(&mut watch, 1, Duration::ZERO), None);
        assert_eq!(look(&mut watch, 2, by), Some(by));
        assert_eq!(look(&mut watch, 3_600, by), Some(by));
        assert_eq!(look(&mut watch, 3_601, Duration::ZERO), None, "it is right");
        assert_eq!(look(&mut watch, 3_602, by), Some(by));
        assert_eq!(look(&mut watch, 3_603 + 86_400, by), None, "nobody has set it back");
        // Over a restart it may be time that has passed.
        let stopped = right.plus(by + Duration::from_secs(90_003));
        let (watch, _) = ClockWatch::start(folder.path(), end, stopped.plus(by), begun);
        assert!(watch.ahead().is_some_and(|ahead| ahead >= by));
    }

    #[test]
    fn a_fall_that_undoes_nothing_may_be_the_end_of_a_clock_that_was_ahead() {
        let unseen = (NOTE_EVERY + SLACK).as_secs() as i64;
        let (day, reach) = (24 * HOUR, REACH.as_secs() as i64);
        let steps = |steps: &[Do]| run(steps).1;
        for (case, found, told) in [
            ("since the first start", steps(&[Pass(3 * HOUR), Off(-HOUR)]), vec![(HOUR, 0)]),
            (
                "since an earlier one",
                steps(&[Pass(3 * HOUR), Restart(0), Pass(60), Off(-HOUR)]),
                vec![(HOUR, 0)],
            ),
            (
                "since it may have leapt",
                steps(&[
                    Pass(60),
                    Restart(2 * HOUR),
                    Pass(9),
                    Restart(2 * HOUR),
                    Pass(day),
                    Off(0),
                ]),
                vec![(2 * HOUR, 2 * HOUR + 61)],
            ),
            (
                "since before it may have leapt by less",
                steps(&[Pass(60), Restart(HOUR), Pass(day), Off(-HOUR)]),
                vec![(2 * HOUR, 0)],
            ),
            (
                "what is later than the present says so",
                steps(&[Pass(60), Restart(3 * HOUR), Pass(60), Off(HOUR)]),
                vec![(2 * HOUR, HOUR + 119)],
            ),
            (
                "but not for ever",
                steps(&[Pass(30 * day), Off(-HOUR)]),
                vec![(HOUR, 30 * day + 1 - reach)],
            ),
            ("nor by whatever it shows", steps(&[Pass(60), Off(-YEAR)]), vec![(YEAR, 61 - reach)]),
            ("by a minute", steps(&[Pass(day), Off(-60)]), vec![(60, day + 1 - HOUR)]),
            ("adjusted", steps(&[Pass(day), Off(-3), Restart(-60), Pass(day)]), vec![]),
            (
                "until a stop",
                steps(&[Pass(3 * HOUR), Restart(-HOUR), Pass(599), Pass(1), Pass(60)]),
                vec![(HOUR - 1 + unseen, 0)],
            ),
            (
                "until one of two stops",
                steps(&[Pass(day), Restart(-HOUR), Pass(60), Restart(-HOUR), Pass(60), Pass(day)]),
                vec![(HOUR - 1 + unseen, 0)],
            ),
            ("behind", steps(&[Pass(day), Restart(-HOUR), Pass(60), Off(0), Pass(day)]), vec![]),
        ] {
            assert_eq!(found, told, "{case}");
        }
    }

    #[test]
    fn starts_behind_the_longest_gaps_are_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut shown = START;
        let start = |shown: i64, offset: i64| {
            let end = Position { segment: 1, offset: offset as u32 };
            ClockWatch::start(directory.path(), end, Time::from_seconds(shown), now).0
        };
        start(shown, 0);
        let mut last = Vec::new();
        for (number, gap) in [100, 50, 70, 60, 3, 40, 30, 20, 15, 12].into_iter().enumerate() {
            shown += gap;
            last = start(shown, 1 + number as i64).starts;
        }
        let gaps: Vec<i64> = last.iter().map(|start| start.gap / 1_000_000_000).collect();
        assert_eq!(gaps, [i64::MAX / 1_000_000_000, 100, 70, 60, 40, 30, 20, 12]);
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let wall = Time::from_nanos(-5, 9);
        let from = Position { segment: 7, offset: 4_096 };
        let (top, since) = (Time::from_nanos(9, 9), Time::from_nanos(3, 9));
        let step = Step { from, top, since, by: i64::MIN, ahead: Some(wall) };
        let widest = Position { segment: u32::MAX, offset: u32::MAX };
        let (top, since) = (Time::from_nanos(i64::MIN, 9), Time::from_nanos(i64::MIN, 9));
        let longest = Step { from: widest, top, since, by: i64::MIN, ahead: Some(wall) };
        let unseen = Start { from: widest, since: Time::from_nanos(i64::MIN, 9), gap: i64::MIN };
        for (steps, starts) in [
            (vec![], vec![]),
            (vec![step], vec![]),
            (vec![Step { ahead: None, ..step }], vec![unseen]),
            (vec![longest; STEPS_MAX], vec![unseen; STARTS_MAX]),
        ] {
            let text = show(wall, &steps, &starts);
            assert!(text.len() as u64 <= NOTE_BYTES_MAX);
            assert_eq!(parse(&text), Some((wall, steps, starts)));
        }
        let fall = Step { by: -8, ahead: None, ..step };
        for text in ["1 -5 7 4096 9 3 8", "2 -5 7 4096 9 3 -8"] {
            assert_eq!(parse(text), Some((wall, vec![fall], vec![])), "{text:?}");
        }
        assert_eq!(parse("1 -5"), Some((wall, vec![], vec![])));
        for text in ["", "1", "2", "4 5 0", "2 x", "2 5 6", "2 5 -1 0 0 0 0", "1 5 1 0 0 0 -1"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        for text in ["3 5", "3 5 1", "3 5 -1", "3 5 1 1 0 0 0 0", "3 5 0 1 0 0", "3 5 0 -1 0 0 0"] {
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
        fs::write(&path, "4 something else\n").unwrap();
        let (now, end) = (Instant::now(), Position::default());
        let (mut watch, _) =
            ClockWatch::start(directory.path(), end, Time::from_seconds(START), now);
        watch.note(now);
        assert_eq!(fs::read_to_string(&path).unwrap(), "4 something else\n");
    }
}
