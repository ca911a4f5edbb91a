//! How far a feed has been read, in the notation that the journal keeps with each page.
//!
//! Compact JSON with a version, so that a later one can tell its own from an older one's. Times in
//! it are our clock's, never the provider's.

use serde::{Deserialize, Serialize};

use crate::model::Time;
use crate::provider::Window;

/// The version of the notation. A change of its form takes the next number.
const VERSION: u32 = 1;

/// How far a feed has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Everything before this has been read.
    pub complete_until: Option<Time>,
    /// A window that is being read.
    pub open: Option<Open>,
    /// For an operator's own window: where it began.
    pub from: Option<Time>,
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
        #[expect(clippy::expect_used, reason = "numbers and texts always have a JSON form")]
        serde_json::to_string(&Wire { v: VERSION, until, open, from }).expect("plain values")
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
        Ok(Mark { complete_until, open, from: wire.from.as_deref().map(time).transpose()? })
    }

    /// The same, with everything before `until` read and no window open. Never moves backwards.
    #[must_use]
    pub(super) fn completed(&self, until: Time) -> Mark {
        let complete_until = self.complete_until.map_or(until, |known| known.max(until));
        Mark { complete_until: Some(complete_until), open: None, ..*self }
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
                Mark { complete_until: until, open: None, from: None },
                r#"{"v":1,"until":"2026-06-15T10:15:00Z"}"#,
            ),
            (
                Mark { complete_until: until, open: None, from: until },
                r#"{"v":1,"until":"2026-06-15T10:15:00Z","from":"2026-06-15T10:15:00Z"}"#,
            ),
            (
                Mark { complete_until: None, open, from: None },
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
        let complete = Mark { complete_until: Some(at(70)), open: Some(open.clone()), from: None };
        let begun = Mark { complete_until: None, open: Some(open), from: None };
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
        let cut = Mark { from: Some(at(50)), complete_until: Some(at(60)), open };
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
    fn completing_never_moves_backwards() {
        let at = Time::from_seconds;
        let mark = Mark { complete_until: Some(at(70)), ..Mark::default() };
        assert_eq!(mark.completed(at(60)).complete_until, Some(at(70)));
        assert_eq!(mark.completed(at(80)).complete_until, Some(at(80)));
        assert_eq!(Mark::default().completed(at(5)).complete_until, Some(at(5)));
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
