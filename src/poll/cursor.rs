//! How far a feed has been read, in the notation that the journal keeps with each page.
//!
//! Compact JSON with a version, so that a later one can tell its own from an older one's. Times in
//! it are our clock's, never the provider's. One ahead of the present shows that the clock was
//! wrong when it was made: it is void, and the feed is read again from where it is safe.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Time, trust};
use crate::provider::Window;

/// The version of the notation. A change of its form takes the next number.
const VERSION: u32 = 1;

/// A mark that moves on by more than this keeps where it was: the clock may have been set wrong
/// between. And what was not asked for so long is read again from so much earlier, since the clock
/// may have been as wrong as this when the mark was made.
pub(super) const LEAP: Duration = Duration::from_secs(25 * 60 * 60);

/// Most such places that are kept, the latest.
const LEAPS_MAX: usize = 4;

/// How far back a feed is read for which no mark can be believed, at least.
pub(super) const VOID_REACH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How far a feed has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Everything before this has been read.
    pub complete_until: Option<Time>,
    /// A window that is being read.
    pub open: Option<Open>,
    /// For an operator's own window: where it began.
    pub from: Option<Time>,
    /// Where it was before each time that it moved on by far, the latest last.
    pub leaps: Vec<Time>,
    /// It was ahead of the present: what it says now is what is left that can be believed. Never
    /// stored.
    pub is_void: bool,
}

/// A window that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The window.
    pub window: Window,
    /// What leads to the page that is to be read now.
    pub next: String,
    /// How many of its pages have been read.
    pub pages: u64,
    /// Where pages are counted: the keys of the rows that the last page ended with, of which the
    /// next one begins with some. Empty where it shares none.
    pub tail: Option<Vec<u64>>,
}

/// The notation is damaged, or another version's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not in a form that this version reads")]
pub struct MarkError;

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<WireOpen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leaps: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WireOpen {
    since: String,
    until: String,
    next: String,
    pages: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<Vec<u64>>,
}

impl Mark {
    /// The notation for the journal.
    pub fn encode(&self) -> String {
        let open = self.open.as_ref().map(|open| WireOpen {
            since: open.window.since.to_string(),
            until: open.window.until.to_string(),
            next: open.next.clone(),
            pages: open.pages,
            tail: open.tail.clone(),
        });
        let until = self.complete_until.map(|time| time.to_string());
        let from = self.from.map(|time| time.to_string());
        let leaps = self.leaps.iter().map(ToString::to_string).collect();
        #[expect(clippy::expect_used, reason = "numbers and texts always have a JSON form")]
        serde_json::to_string(&Wire { v: VERSION, until, open, from, leaps }).expect("plain values")
    }

    /// From the notation in the journal.
    ///
    /// # Errors
    /// When it is damaged, or of another version.
    pub fn decode(text: &str) -> Result<Mark, MarkError> {
        let wire: Wire = serde_json::from_str(text).map_err(|_| MarkError)?;
        if wire.v != VERSION {
            return Err(MarkError);
        }
        let time = |text: &str| Time::parse(text).ok_or(MarkError);
        let open = match wire.open {
            None => None,
            Some(open) => {
                let window = Window { since: time(&open.since)?, until: time(&open.until)? };
                Some(Open { window, next: open.next, pages: open.pages, tail: open.tail })
            }
        };
        let complete_until = wire.until.as_deref().map(time).transpose()?;
        let from = wire.from.as_deref().map(time).transpose()?;
        let leaps = wire.leaps.iter().map(|text| time(text)).collect::<Result<_, _>>()?;
        Ok(Mark { complete_until, open, from, leaps, is_void: false })
    }

    /// The same, with everything before `until` read and no window open. Never moves backwards:
    /// what is ahead of the present was taken away before.
    #[must_use]
    pub(super) fn completed(&self, until: Time) -> Mark {
        let mut leaps = self.leaps.clone();
        leaps.retain(|leap| until.since(*leap) < VOID_REACH);
        leaps.extend(self.complete_until.filter(|known| until.since(*known) > LEAP));
        let excess = leaps.len().saturating_sub(LEAPS_MAX);
        leaps.drain(..excess);
        let complete_until = self.complete_until.map_or(until, |known| known.max(until));
        let complete_until = Some(complete_until);
        Mark { complete_until, open: None, from: self.from, leaps, is_void: false }
    }

    /// What is left of a mark of which a part lies ahead of the present. `None`: none does.
    ///
    /// The clock was wrong then. Had it been set by more than a [`LEAP`], the place before is kept;
    /// else what was read lies no further back than that.
    pub(super) fn believed(&self, now: Time) -> Option<Mark> {
        let is_good = |time: &Time| !trust::is_ahead(*time, now);
        let is_whole = |open: &Open| is_good(&open.window.until);
        let good = self.complete_until.is_none_or(|until| is_good(&until))
            && self.open.as_ref().is_none_or(is_whole)
            && self.from.is_none_or(|from| is_good(&from));
        if good {
            return None;
        }
        let leaps: Vec<Time> = self.leaps.iter().copied().filter(is_good).collect();
        let safe = |until: Time| {
            let near = Some(until.minus(LEAP)).filter(is_good);
            leaps.last().copied().into_iter().chain(near).min()
        };
        let complete_until = match self.complete_until {
            Some(until) if !is_good(&until) => safe(until),
            known => known,
        };
        let open = self.open.clone().filter(is_whole);
        let from = self.from.filter(is_good);
        Some(Mark { complete_until, open, from, leaps, is_void: true })
    }

    /// Whether an operator's window from `since` on is read on where an earlier run was cut: one
    /// that began no later, and has come as far or is reading a window with `since` in it. So a
    /// span that reaches less far back each time it is asked for (`--since 5d`) goes on, too.
    pub(super) fn resumes(&self, since: Time) -> bool {
        let reached = self.open.as_ref().map(|open| open.window.until).max(self.complete_until);
        self.from.is_some_and(|from| from <= since) && reached.is_some_and(|at| since <= at)
    }

    /// Whether a window from `since` to the present leaves nothing unread before it. `reach` is how
    /// far back a first poll would go.
    pub(super) fn joins(&self, since: Time, reach: Time) -> bool {
        let begun = self.open.as_ref().map_or(reach, |open| open.window.since.min(reach));
        since <= self.complete_until.unwrap_or(begun)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    #[test]
    fn the_notation_is_this() {
        let window =
            Window { since: time("2026-06-15T10:00:00Z"), until: time("2026-06-15T10:05:00.25Z") };
        let open =
            Some(Open { window, next: "https://a.test/?p=\"2\"".to_owned(), pages: 3, tail: None });
        let until = Some(time("2026-06-15T10:15:00Z"));
        for (mark, text) in [
            (Mark::default(), r#"{"v":1}"#),
            (
                Mark { complete_until: until, open: None, ..Mark::default() },
                r#"{"v":1,"until":"2026-06-15T10:15:00Z"}"#,
            ),
            (
                Mark { complete_until: until, open: None, from: until, ..Mark::default() },
                r#"{"v":1,"until":"2026-06-15T10:15:00Z","from":"2026-06-15T10:15:00Z"}"#,
            ),
            (
                Mark { open, ..Mark::default() },
                concat!(
                    r#"{"v":1,"open":{"since":"2026-06-15T10:00:00Z","#,
                    r#""until":"2026-06-15T10:05:00.25Z","#,
                    r#""next":"https://a.test/?p=\"2\"","pages":3}}"#
                ),
            ),
        ] {
            assert_eq!(mark.encode(), text);
            assert_eq!(Mark::decode(text), Ok(mark));
        }
    }

    #[test]
    fn what_is_damaged_or_newer_is_refused() {
        for text in [
            "",
            "{}",
            "null",
            r#"{"v":2}"#,
            r#"{"v":1"#,
            r#"{"v":1,"until":"yesterday"}"#,
            r#"{"v":1,"until":5}"#,
            r#"{"v":1,"open":{"since":"2026-06-15T10:00:00Z"}}"#,
        ] {
            assert_eq!(Mark::decode(text), Err(MarkError), "{text}");
        }
    }

    #[test]
    fn an_operators_window_joins_only_without_a_gap() {
        let at = Time::from_seconds;
        let window = Window { since: at(50), until: at(90) };
        let open = Open { window, next: "n".to_owned(), pages: 1, tail: None };
        let begun = Mark { open: Some(open), ..Mark::default() };
        let complete = Mark { complete_until: Some(at(70)), ..begun.clone() };
        let reach = at(60);
        for (mark, since, joins) in [
            (&complete, 70, true),
            (&complete, 71, false),
            (&begun, 50, true),
            (&begun, 51, false),
            (&Mark::default(), 60, true),
            (&Mark::default(), 61, false),
        ] {
            assert_eq!(mark.joins(at(since), reach), joins, "{mark:?} from {since}");
        }
    }

    #[test]
    fn a_cut_window_of_an_operator_is_read_on_where_it_was_cut() {
        let at = Time::from_seconds;
        let window = Window { since: at(60), until: at(90) };
        let open = Some(Open { window, next: "n".to_owned(), pages: 1, tail: None });
        let cut =
            Mark { from: Some(at(50)), complete_until: Some(at(60)), open, ..Mark::default() };
        let between = Mark { open: None, ..cut.clone() };
        for (mark, since, resumes) in [
            (&cut, 49, false),
            (&cut, 50, true),
            (&cut, 60, true),
            (&cut, 61, true),
            (&cut, 90, true),
            (&cut, 91, false),
            (&between, 55, true),
            (&Mark::default(), 55, false),
        ] {
            assert_eq!(mark.resumes(at(since)), resumes, "{mark:?} from {since}");
        }
    }

    #[test]
    fn completing_moves_backwards_only_from_what_is_ahead_of_the_present() {
        let at = Time::from_seconds;
        let mark = Mark { complete_until: Some(at(70)), ..Mark::default() };
        assert_eq!(mark.completed(at(60)).complete_until, Some(at(70)));
        assert_eq!(mark.completed(at(80)).complete_until, Some(at(80)));
        assert_eq!(Mark::default().completed(at(5)).complete_until, Some(at(5)));
        let ahead = mark.completed(at(100_000_000));
        assert_eq!(ahead.believed(at(100_000_000)), None);
        let believed = ahead.believed(at(2_000)).unwrap();
        assert!(believed.is_void);
        assert_eq!(believed.complete_until, Some(at(70)), "where it was before the clock was set");
        assert_eq!(believed.completed(at(2_000)).complete_until, Some(at(2_000)));
    }

    #[test]
    fn a_mark_ahead_of_the_present_is_void() {
        let at = |hours: i64| Time::from_seconds(hours * 3_600);
        let mark = |until, leaps: &[i64]| Mark {
            complete_until: Some(at(until)),
            leaps: leaps.iter().map(|leap| at(*leap)).collect(),
            ..Mark::default()
        };
        for (case, mark, since) in [
            ("by hours: no further back than a leap", mark(1_002, &[]), Some(977)),
            ("by hours, after an outage", mark(1_002, &[700]), Some(700)),
            ("by a year", mark(9_000, &[900]), Some(900)),
            ("by a year, twice", mark(19_000, &[900, 9_000]), Some(900)),
            ("by a year, and nothing is kept", mark(9_000, &[]), None),
            ("by a year for so long that nothing is", mark(9_000, &[8_000]), None),
        ] {
            let believed = mark.believed(at(1_000)).unwrap();
            assert_eq!(believed.complete_until, since.map(at), "{case}");
            assert_eq!(Mark::decode(&mark.encode()), Ok(mark), "{case}");
        }
        let window = |until| Window { since: at(990), until: at(until) };
        let open = |until| {
            Some(Open { window: window(until), next: "n".to_owned(), pages: 1, tail: None })
        };
        let begun = Mark { open: open(9_000), ..mark(990, &[]) };
        let believed = begun.believed(at(1_000)).unwrap();
        assert_eq!((believed.open, believed.complete_until), (None, Some(at(990))));
        assert_eq!(Mark { open: open(1_000), ..mark(990, &[]) }.believed(at(1_000)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            until in proptest::option::of((any::<i64>(), Just(9_u8))),
            open in proptest::option::of((any::<i64>(), any::<i64>(), ".*", any::<u64>())),
        ) {
            let time = |nanos| Time::from_nanos(nanos, 9);
            let mark = Mark {
                complete_until: until.map(|(nanos, _)| time(nanos)),
                from: until.map(|(nanos, _)| time(nanos)),
                leaps: until.into_iter().map(|(nanos, _)| time(nanos)).collect(),
                is_void: false,
                open: open.map(|(since, until, next, pages)| Open {
                    window: Window { since: time(since), until: time(until) },
                    next,
                    pages,
                    tail: (pages % 2 == 0).then(|| vec![pages, u64::MAX]),
                }),
            };
            prop_assert_eq!(Mark::decode(&mark.encode()), Ok(mark));
        }
    }
}
