//! What was acknowledged and is not applied yet: how far the store is behind at this moment.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::Position;

/// Most groups that are known one by one. Beyond, every two become one.
const GROUPS_MAX: usize = 4_096;

/// How far the store is behind what was acknowledged since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records that are not applied to their end.
    pub records: u64,
    /// For how long the oldest of them has been acknowledged; zero without one.
    pub age: Duration,
}

/// The groups that were acknowledged and are not applied, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Trail(Mutex<VecDeque<Group>>);

#[derive(Debug)]
struct Group {
    end: Position,
    records: u64,
    since: Instant,
}

impl Trail {
    /// A group that ends there is about to be acknowledged.
    pub(super) fn add(&self, end: Position, records: usize, now: Instant) {
        let mut groups = self.groups();
        groups.push_back(Group { end, records: records as u64, since: now });
        if groups.len() > GROUPS_MAX {
            *groups = halved(std::mem::take(&mut *groups));
        }
    }

    /// All before a position is applied.
    pub(super) fn applied(&self, to: Position) {
        let mut groups = self.groups();
        while groups.front().is_some_and(|first| first.end <= to) {
            groups.pop_front();
        }
    }

    /// How far the store is behind.
    pub(super) fn lag(&self, now: Instant) -> Lag {
        let groups = self.groups();
        let records = groups.iter().map(|group| group.records).sum();
        let since = groups.front().map(|first| now.saturating_duration_since(first.since));
        Lag { records, age: since.unwrap_or_default() }
    }

    fn groups(&self) -> MutexGuard<'_, VecDeque<Group>> {
        // A panic while holding it leaves the list as good as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every two as one: as old as the older, and applied when both are.
fn halved(groups: VecDeque<Group>) -> VecDeque<Group> {
    let (mut halved, mut groups) = (VecDeque::with_capacity(GROUPS_MAX), groups.into_iter());
    while let Some(first) = groups.next() {
        let both = groups.next().map(|second| {
            let records = first.records + second.records;
            Group { end: second.end, records, since: first.since }
        });
        halved.push_back(both.unwrap_or(first));
    }
    halved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u32) -> Position {
        Position { segment: 1, offset }
    }

    #[test]
    fn a_record_counts_until_the_end_of_its_group_is_applied() {
        let (trail, start) = (Trail::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(trail.lag(start), Lag::default());
        trail.add(at(10), 2, start);
        trail.add(at(30), 3, after(4));
        for (applied, seconds, records, age) in
            [(0, 5, 5, 5), (9, 6, 5, 6), (10, 6, 3, 2), (29, 9, 3, 5), (30, 9, 0, 0)]
        {
            trail.applied(at(applied));
            let expected = Lag { records, age: Duration::from_secs(age) };
            assert_eq!(trail.lag(after(seconds)), expected, "{applied}");
        }
    }

    #[test]
    fn many_groups_take_no_more_room_and_none_is_younger_or_applied_earlier() {
        let (trail, start) = (Trail::default(), Instant::now());
        let groups = 3 * GROUPS_MAX as u32;
        for group in 1..=groups {
            trail.add(at(group), 1, start + Duration::from_secs(u64::from(group)));
        }
        assert!(trail.groups().len() <= GROUPS_MAX);
        let now = start + Duration::from_secs(u64::from(groups));
        assert_eq!(trail.lag(now).records, u64::from(groups));
        for applied in (0..=groups).step_by(97) {
            trail.applied(at(applied));
            let (left, lag) = (u64::from(groups - applied), trail.lag(now));
            assert!(lag.records >= left && lag.age.as_secs() + 1 >= left, "{applied}: {lag:?}");
        }
        trail.applied(at(groups));
        assert_eq!(trail.lag(now), Lag::default());
    }
}
