//! Folds log lines that repeat, so that nobody can fill a disk by repeating what makes us log.
//!
//! The first line of its kind is written at once. What follows within a second is counted, and the
//! count is written as one line when the second ends: by [`flush`], which the daemon calls each
//! second, or by the next repetition. A kind is a message, whom it is about, and a reason.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Level, debug, error, info, warn};

/// How often a line of one kind is written.
const WINDOW: Duration = Duration::from_secs(1);
/// Most kinds that are told apart; the rest share one.
const KINDS_MAX: usize = 128;
/// Longest text that tells kinds apart, in characters.
const TEXT_MAX: usize = 256;
/// The message of the kind that is shared.
const OTHERS: &str = "lines of many other kinds are left out";

static LINES: LazyLock<Mutex<Fold>> = LazyLock::new(Mutex::default);

/// What makes two lines the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    level: Level,
    message: &'static str,
    about: String,
    reason: String,
}

/// How one kind stands.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    more: u64,
}

/// A line that stands for several.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Summary {
    kind: Kind,
    more: u64,
}

/// What becomes of an occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Write,
    Summarise(Summary),
    Counted,
}

/// The kinds that were written within the last second.
#[derive(Debug, Default)]
struct Fold {
    kinds: HashMap<Kind, Window>,
}

/// Whether this line must be written now. If not, it is counted, and a summary follows.
///
/// `about` is a source or a component, and `reason` one of few: neither may hold what a stranger
/// has chosen. The reason's numbers make no difference.
pub fn first(level: Level, message: &'static str, about: &str, reason: &str) -> bool {
    let kind = Kind { level, message, about: cut(about), reason: cut(&numberless(reason)) };
    let outcome = LINES.lock().unwrap_or_else(PoisonError::into_inner).occur(kind, Instant::now());
    match outcome {
        Outcome::Write => true,
        Outcome::Summarise(summary) => {
            summary.write();
            false
        }
        Outcome::Counted => false,
    }
}

/// Writes the summaries whose second is over. To be called each second.
pub fn flush() {
    write_due(WINDOW);
}

/// Writes all that was counted, at the end.
pub fn finish() {
    write_due(Duration::ZERO);
}

fn write_due(age: Duration) {
    let now = Instant::now();
    let due = LINES.lock().unwrap_or_else(PoisonError::into_inner).due(now, age);
    due.iter().for_each(Summary::write);
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// The text with `#` for each number.
fn numberless(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_ascii_digit() {
            true if short.ends_with('#') => {}
            true => short.push('#'),
            false => short.push(character),
        }
    }
    short
}

impl Fold {
    fn occur(&mut self, kind: Kind, now: Instant) -> Outcome {
        let kind = match self.kinds.len() {
            KINDS_MAX.. if !self.kinds.contains_key(&kind) => Kind::others(),
            _ => kind,
        };
        let Some(window) = self.kinds.get_mut(&kind) else {
            let is_shared = kind.message == OTHERS;
            let more = u64::from(is_shared);
            self.kinds.insert(kind, Window { since: now, more });
            return if is_shared { Outcome::Counted } else { Outcome::Write };
        };
        window.more += 1;
        if now.saturating_duration_since(window.since) < WINDOW {
            return Outcome::Counted;
        }
        let more = std::mem::take(&mut window.more);
        window.since = now;
        // One alone is as well told in full.
        match more {
            1 if kind.message != OTHERS => Outcome::Write,
            _ => Outcome::Summarise(Summary { kind, more }),
        }
    }

    /// The summaries of windows that are as old as `age`; what was quiet since is forgotten.
    fn due(&mut self, now: Instant, age: Duration) -> Vec<Summary> {
        let mut due = Vec::new();
        self.kinds.retain(|kind, window| {
            if now.saturating_duration_since(window.since) < age {
                return true;
            }
            let more = std::mem::take(&mut window.more);
            window.since = now;
            if more > 0 {
                due.push(Summary { kind: kind.clone(), more });
            }
            more > 0
        });
        due
    }
}

impl Kind {
    fn others() -> Kind {
        Kind { level: Level::WARN, message: OTHERS, about: String::new(), reason: String::new() }
    }
}

impl Summary {
    fn text(&self) -> String {
        format!("{} … and {} more in the last second", self.kind.message, grouped(self.more))
    }

    fn write(&self) {
        let text = self.text();
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (about, reason) = (some(&self.kind.about), some(&self.kind.reason));
        match self.kind.level {
            Level::ERROR => error!(about, reason, "{text}"),
            Level::WARN => warn!(about, reason, "{text}"),
            Level::INFO => info!(about, reason, "{text}"),
            _ => debug!(about, reason, "{text}"),
        }
    }
}

/// A number with a comma between each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(about: &str) -> Kind {
        Kind {
            level: Level::WARN,
            message: "no",
            about: about.to_owned(),
            reason: "why".to_owned(),
        }
    }

    #[test]
    fn a_storm_is_a_line_a_second_and_none_of_it_is_lost() {
        let (mut fold, start) = (Fold::default(), Instant::now());
        let (mut written, mut told) = (0, 0);
        for milliseconds in 0..10_000 {
            let now = start + Duration::from_millis(milliseconds);
            match fold.occur(kind("a"), now) {
                Outcome::Write => (written, told) = (written + 1, told + 1),
                Outcome::Summarise(summary) => (written, told) = (written + 1, told + summary.more),
                Outcome::Counted => {}
            }
        }
        assert_eq!(written, 10);
        let end = start + Duration::from_millis(10_000);
        let rest = fold.due(end, WINDOW);
        assert_eq!(rest.len(), 1, "the storm has stopped, and the rest is told all the same");
        assert_eq!(told + rest[0].more, 10_000);
        assert_eq!(fold.due(end + WINDOW, WINDOW), []);
        assert!(fold.kinds.is_empty(), "what is quiet is forgotten");
        assert_eq!(fold.occur(kind("a"), end + WINDOW), Outcome::Write);
    }

    #[test]
    fn what_is_rare_is_always_told_in_full() {
        let (mut fold, start) = (Fold::default(), Instant::now());
        for seconds in 0..5 {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(fold.occur(kind("a"), now), Outcome::Write, "{seconds} s");
            assert_eq!(fold.occur(kind(&format!("b{seconds}")), now), Outcome::Write);
        }
    }

    #[test]
    fn a_summary_is_not_due_before_its_second_is_over_but_at_the_end() {
        let (mut fold, start) = (Fold::default(), Instant::now());
        fold.occur(kind("a"), start);
        fold.occur(kind("a"), start);
        assert_eq!(fold.due(start + WINDOW / 2, WINDOW), []);
        let summary = Summary { kind: kind("a"), more: 1 };
        assert_eq!(fold.due(start + WINDOW / 2, Duration::ZERO), [summary]);
    }

    #[test]
    fn the_kinds_are_bounded_and_what_is_beyond_is_counted() {
        let (mut fold, start) = (Fold::default(), Instant::now());
        for number in 0..KINDS_MAX + 1_000 {
            let expected = if number < KINDS_MAX { Outcome::Write } else { Outcome::Counted };
            assert_eq!(fold.occur(kind(&number.to_string()), start), expected);
        }
        assert_eq!(fold.kinds.len(), KINDS_MAX + 1);
        let others = Summary { kind: Kind::others(), more: 1_000 };
        assert_eq!(fold.due(start + WINDOW, WINDOW), [others]);
    }

    #[test]
    fn a_summary_has_its_number() {
        let summary = Summary { kind: kind("a"), more: 105_666 };
        assert_eq!(summary.text(), "no … and 105,666 more in the last second");
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(numberless("7 s, 1024 of 9"), "# s, # of #");
        assert_eq!(cut(&"ä".repeat(2 * TEXT_MAX)).chars().count(), TEXT_MAX);
    }
}
