//! When suppressions end by themselves, for whoever has to do something about it then.

use std::collections::BTreeSet;

use crate::model::Time;

/// Most ends that are known.
const ENDS_MAX: usize = 65_536;

/// The next ends of suppressions, and whose they are. One that has moved since is harmless: its
/// address is looked at, and found as it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ends {
    known: BTreeSet<(i64, Box<str>)>,
    /// From this instant on, there may be more than is known.
    horizon: Option<i64>,
}

impl Ends {
    /// Adds one.
    pub fn add(&mut self, end: Time, key: &str) {
        let at = end.nanos();
        if self.horizon.is_some_and(|horizon| at >= horizon) {
            return;
        }
        self.known.insert((at, key.into()));
        if self.known.len() > ENDS_MAX {
            self.horizon = self.known.pop_last().map(|(at, _)| at).or(self.horizon);
        }
    }

    /// From this instant on, there may be more than is known.
    pub fn more_from(&mut self, end: Time) {
        let at = end.nanos();
        self.horizon = Some(self.horizon.map_or(at, |horizon| horizon.min(at)));
    }

    /// The next instant at which an address may have to be looked at.
    pub fn next(&self) -> Option<Time> {
        let first = self.known.first().map(|(at, _)| *at);
        first.into_iter().chain(self.horizon).min().map(|at| Time::from_nanos(at, 9))
    }

    /// Takes the addresses of the ends that have come. `None`: there may be more than are known.
    pub fn take_due(&mut self, now: Time) -> Option<Vec<Box<str>>> {
        if self.horizon.is_some_and(|horizon| horizon <= now.nanos()) {
            return None;
        }
        let mut due = Vec::new();
        while let Some((at, _)) = self.known.first()
            && *at <= now.nanos()
        {
            due.extend(self.known.pop_first().map(|(_, key)| key));
        }
        Some(due)
    }

    /// Adds those of another.
    pub fn join(&mut self, other: Ends) {
        for (at, key) in other.known {
            self.add(Time::from_nanos(at, 9), &key);
        }
        other.horizon.into_iter().for_each(|at| self.more_from(Time::from_nanos(at, 9)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_in_their_order_and_what_is_too_much_is_known_to_be_missing() {
        let at = |second: usize| Time::from_seconds(second as i64);
        let mut ends = Ends::default();
        for second in [30, 10, 20] {
            ends.add(at(second), &format!("{second}@x.test"));
        }
        assert_eq!(ends.next().map(Time::nanos), Some(at(10).nanos()));
        let due = ends.take_due(at(20)).unwrap();
        assert_eq!(due, ["10@x.test".into(), "20@x.test".into()]);
        (100..=100 + ENDS_MAX).for_each(|second| ends.add(at(second), "a@x.test"));
        let last = at(99 + ENDS_MAX);
        assert_eq!(ends.take_due(last.just_before()).map(|due| due.len()), Some(ENDS_MAX));
        assert_eq!(ends.next().map(Time::nanos), Some(last.nanos()));
        assert_eq!(ends.take_due(last), None);
        let (mut ends, mut more) = (Ends::default(), Ends::default());
        ends.add(at(30), "a@x.test");
        more.more_from(at(20));
        ends.join(more);
        assert_eq!(ends.next().map(Time::nanos), Some(at(20).nanos()));
        assert_eq!(ends.take_due(at(19)), Some(vec![]));
        assert_eq!(ends.take_due(at(20)), None);
    }
}
