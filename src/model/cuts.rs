//! Dated ends, of grounds by a lift or of failures by a delivery, ordered by the journal where
//! dates contradict it.
//!
//! An end covers what is dated before it, however late that is told. But what was recorded after
//! it, and received at a time that it is dated after, shows that a clock was wrong: ahead when the
//! end was made, or behind now. Such a fact *stands despite* the end, and is covered only by one
//! that is recorded behind it; so does one that is dated by the whole second that the end lies in.
//! Only earlier places in the journal count, so merging a record again over what later ones have
//! made changes nothing.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Time;

/// Most ends that are kept beside each other: one, unless a clock was wrong.
const CUTS_MAX: usize = 8;

/// When, and as which record, something was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Where its record is in the journal, as a number.
    pub record: u64,
    /// When it was received, by our clock.
    pub received: Time,
    /// Whether it says something new: another telling of what was known proves nothing of when.
    pub is_new: bool,
}

impl Telling {
    /// Of what is ordered by its dates alone, as where no clock was ever wrong.
    pub const BY_DATE: Telling = Telling { record: 0, received: Time::END, is_new: false };
}

/// One dated end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cut {
    /// The instant that it covers up to.
    through: Time,
    /// Where its record is in the journal.
    record: u64,
    /// Our clock had come to this when it was recorded, if that is not `through`.
    known: Option<Time>,
}

impl Cut {
    fn known(&self) -> Time {
        self.known.unwrap_or(self.through)
    }

    fn raise(&mut self, through: Time, known: Time) {
        let known = self.known().max(known);
        self.through = self.through.max(through);
        self.known = Some(known).filter(|known| *known != self.through);
    }
}

/// The ends of one kind: each recorded later than the one before it, and dated before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts(Vec<Cut>);

impl Cuts {
    /// One end of which the place in the journal is not known.
    pub fn of(through: Time) -> Cuts {
        Cuts(vec![Cut { through, record: 0, known: None }])
    }

    /// The records behind the last end and before this one.
    pub(super) fn since_last(&self, record: u64) -> Range<u64> {
        self.0.last().map_or(0, |last| last.record + 1)..record
    }

    /// Adds an end; says whether anything changed. `theirs`: it is dated by a provider's clock,
    /// which may be ahead of ours as far as it is believed. `needed`: something that it covers was
    /// recorded since the last one, and stands despite that.
    pub(super) fn add(
        &mut self,
        through: Time,
        theirs: bool,
        needed: bool,
        telling: &Telling,
    ) -> bool {
        let Telling { record, received, .. } = *telling;
        let known = if theirs { through.min(received) } else { through };
        let cut = Cut { through, record, known: Some(known).filter(|known| *known != through) };
        match self.0.last_mut() {
            Some(last) if last.record > record => return false,
            Some(last) if last.record == record => {
                let before = *last;
                last.raise(through, known);
                if before == *last {
                    return false;
                }
            }
            // It covers nothing that the last one does not, unless a clock was wrong between them.
            Some(last) if !needed && through <= last.through && last.known() <= received => {
                return false;
            }
            _ => self.0.push(cut),
        }
        self.settle();
        true
    }

    /// Drops the ends that the last one stands for too.
    fn settle(&mut self) {
        let Some(mut last) = self.0.pop() else { return };
        while let Some(covered) = self.0.pop_if(|cut| cut.through <= last.through) {
            last.raise(covered.through, covered.known());
        }
        self.0.push(last);
        if self.0.len() > CUTS_MAX {
            // What stood between the two is covered by neither: it suppresses, which is safer.
            self.0.remove(CUTS_MAX - 1);
        }
    }

    /// Whether a fact that is dated `at` stands despite an end that covers it by date.
    pub(super) fn contradict(&self, at: Time, telling: &Telling) -> bool {
        let Telling { record, received, is_new } = *telling;
        let contradicts = |cut: &Cut| {
            let was_ahead = cut.known().nanos() > received.nanos();
            cut.record < record
                && at.nanos() <= cut.through.nanos()
                && (was_ahead || is_in_the_second_of(cut.through, at))
        };
        is_new && self.0.iter().any(contradicts)
    }

    /// The last instant that is covered, of the ends that cover what is dated `at`, or before
    /// that, and stands despite those before record `despite`.
    pub fn covering(&self, at: Time, despite: Option<u64>) -> Option<Time> {
        let covers = |cut: &&Cut| {
            at.nanos() <= cut.through.nanos() && despite.is_none_or(|record| record < cut.record)
        };
        self.0.iter().find(covers).map(|cut| cut.through)
    }

    /// Whether a record behind that one, but before another, has an end that covers `at`.
    pub(super) fn between(&self, at: Time, behind: u64, before: u64) -> bool {
        let covers = |cut: &Cut| at.nanos() <= cut.through.nanos();
        let records = behind + 1..before;
        self.0.iter().any(|cut| records.contains(&cut.record) && covers(cut))
    }

    /// The latest of the instants.
    pub fn through(&self) -> Option<Time> {
        self.0.first().map(|cut| cut.through)
    }

    /// All of the instants, the latest first.
    pub fn all(&self) -> impl Iterator<Item = Time> {
        self.0.iter().map(|cut| cut.through)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a date of whole seconds lies in the second of an end, which knows more of it: then the
/// order of the journal says which came first. An end that covers all before a whole second, as a
/// resubscription does, knows no more than that second.
fn is_in_the_second_of(end: Time, at: Time) -> bool {
    at.nanos() < end.nanos() && at.nanos() == end.just_after().floor_second().nanos()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_end_of_whole_seconds_covers_the_second_before_it() {
        let at = Time::from_seconds;
        let mut cuts = Cuts::default();
        let resubscribed = Telling { record: 5, received: at(60), is_new: true };
        assert!(cuts.add(at(41).just_before(), true, false, &resubscribed));
        let late = Telling { record: 6, received: at(61), is_new: true };
        assert!(!cuts.contradict(at(40), &late), "unsubscribed a second before");
    }

    #[test]
    fn within_a_second_the_journal_says_which_came_first() {
        let at = |millis| Time::from_seconds(0).plus(Duration::from_millis(millis));
        let mut cuts = Cuts::default();
        let lift = Telling { record: 5, received: at(10_960), is_new: true };
        assert!(cuts.add(at(10_960), false, false, &lift));
        for (date, record, is_new, stands) in [
            (10_000, 6, true, true),
            (10_000, 4, true, false),
            (10_000, 6, false, false),
            (10_500, 6, true, false),
            (9_000, 6, true, false),
        ] {
            let telling = Telling { record, received: at(11_200), is_new };
            assert_eq!(cuts.contradict(at(date), &telling), stands, "{date} in record {record}");
        }
    }
}
