//! How events and suppressions went over the last day, since the start.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Admin;
use super::census::Counted;
use crate::clock;
use crate::ingest::Told;
use crate::model::{EventKind, Reason, Time};

/// The span of one point, and how many points there are.
const SPAN: Duration = Duration::from_secs(10 * 60);
const POINTS: usize = 144;

/// The last day. In memory only: it begins with the process.
#[derive(Debug, Default)]
pub(super) struct Trends(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    points: VecDeque<Point>,
    known: Vec<Told>,
}

/// What one span brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// When it began; `None` before the first.
    pub since: Option<Time>,
    /// New events, in the order of [`EventKind::ALL`].
    pub kinds: [u64; EventKind::ALL.len()],
    /// New events of each source that told any.
    pub sources: BTreeMap<String, u64>,
    /// Suppressions in force at its end, in the order of [`Reason::ALL`].
    pub reasons: [u64; Reason::ALL.len()],
}

impl Trends {
    /// The points, oldest first.
    pub(super) fn points(&self) -> Vec<Point> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.points.iter().cloned().collect()
    }

    fn note(&self, now: Time, told: Vec<Told>, counted: &Counted) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { points, known } = &mut *inner;
        let began = points.back().and_then(|point| point.since);
        if began.is_none_or(|began| now.since(began) >= SPAN || began.nanos() > now.nanos()) {
            points.push_back(Point { since: Some(now), ..Point::default() });
            if points.len() > POINTS {
                points.pop_front();
            }
        }
        let Some(point) = points.back_mut() else { return };
        for now in &told {
            let same = |old: &&Told| old.source == now.source && old.origin == now.origin;
            let before = known.iter().find(same).map_or([0; EventKind::ALL.len()], |old| old.new);
            let sum = point.sources.entry(now.source.to_string()).or_default();
            for (index, (new, old)) in now.new.iter().zip(before).enumerate() {
                point.kinds[index] += new - old;
                *sum += new - old;
            }
        }
        *known = told;
        point.reasons = Default::default();
        for ((reason, _), number) in counted {
            point.reasons[*reason as usize] += number;
        }
    }
}

impl Admin {
    /// Notes how events and suppressions stand now.
    pub(super) fn note_trends(&self) {
        self.census.trends.note(clock::now(), self.ingest.told(), &self.census.counted());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Origin, SourceName};

    #[test]
    fn what_came_is_told_by_its_span_and_the_last_day_is_kept() {
        let trends = Trends::default();
        let at = |spans: u64| Time::from_seconds(0).plus(SPAN * u32::try_from(spans).unwrap());
        let told = |number: u64| {
            let mut new = [0; EventKind::ALL.len()];
            new[EventKind::Complaint as usize] = number;
            let (source, origin) = (SourceName::parse("a").unwrap(), Origin::Webhook);
            vec![Told { source, origin, new, again: 0 }]
        };
        let counted: Counted = [((Reason::Complaint, "a".into()), 7)].into();
        for (time, number) in [(0, 2), (0, 3), (1, 3), (2, 9)] {
            trends.note(at(time), told(number), &counted);
        }
        let points = trends.points();
        let complaints: Vec<u64> =
            points.iter().map(|point| point.kinds[EventKind::Complaint as usize]).collect();
        assert_eq!(complaints, [3, 0, 6]);
        assert_eq!(points[2].sources["a"], 6);
        assert_eq!(points[0].reasons[Reason::Complaint as usize], 7);
        for time in 3..500 {
            trends.note(at(time), told(9), &counted);
        }
        assert_eq!(trends.points().len(), POINTS);
    }
}
