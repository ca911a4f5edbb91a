//! What the host whose turn it is has forwarded, so that the next one goes on from there.
//!
//! Positions of one host's journal say nothing on another. So a host says how much of every life it
//! knew when its journal ended where its forward has come to; and another passes over as much of
//! its own journal as was no more than that.

use std::collections::VecDeque;

use super::Fleet;
use super::letter::Head;
use crate::model::{Known, Position, SourceName};

/// Most moments that are remembered: one each time that a head is shown.
const MOMENTS_MAX: usize = 64;

/// What was known at a moment.
struct Moment {
    /// How much of every life.
    seen: Vec<Known>,
    /// All of that is before here in our journal.
    all_before: Position,
    /// At the moment after it, all that is before here was known.
    only_before: Position,
}

/// The moments of late, in their order.
#[derive(Default)]
pub(super) struct Passings(VecDeque<Moment>);

impl Passings {
    /// Notes a moment.
    fn note(&mut self, seen: Vec<Known>, all_before: Position, only_before: Position) {
        if self.0.len() == MOMENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Moment { seen, all_before, only_before });
    }

    /// What is told of what was known, if all before a position of our journal is.
    fn told(&self, before: Position) -> Option<&[Known]> {
        let is_told = |moment: &&Moment| moment.all_before <= before;
        self.0.iter().rev().find(is_told).map(|moment| &*moment.seen)
    }

    /// All before this position of our journal is told, if all that is known so is.
    fn passed(&self, told: &[Known]) -> Option<Position> {
        let of = |known: &Known| {
            let same = |it: &&Known| (&it.host, it.life) == (&known.host, known.life);
            told.iter().find(same).map_or_else(Position::default, |it| it.upto)
        };
        let is_told = |moment: &Moment| moment.seen.iter().all(|known| known.upto <= of(known));
        let mut moments = self.0.iter().zip(self.0.iter().skip(1));
        moments.rfind(|(_, after)| is_told(after)).map(|(moment, _)| moment.only_before)
    }
}

impl Fleet {
    /// Notes what is known now, and says how much of it was forwarded by this host, by forward.
    pub(super) fn forwarded(&self) -> Vec<(String, Vec<Known>)> {
        if self.settings.forwards.is_empty() {
            return Vec::new();
        }
        // In this order: what is known is in the journal by then.
        let (seen, read) = (self.seen(), self.life().read);
        let mut passings = self.passings();
        passings.note(seen, self.ingest.committed(), read);
        let ours = self.settings.forwards.iter().filter(|it| self.tellers.turns.is_ours(it));
        let told = |forward: &SourceName| {
            let told = passings.told(self.tellers.told_here(forward))?;
            Some((forward.to_string(), told.to_vec()))
        };
        ours.filter_map(told).collect()
    }

    /// Notes what another host has forwarded.
    pub(super) fn pass(&self, head: &Head) {
        for (forward, told) in &head.forwarded {
            let known = self.settings.forwards.iter().find(|it| it.as_str() == forward);
            let passed = self.passings().passed(told);
            if let (Some(forward), Some(passed)) = (known, passed) {
                self.tellers.others_have_told(forward, passed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u32) -> Position {
        Position { segment: 1, offset }
    }

    fn known(host: &str, upto: u32) -> Known {
        Known { host: host.into(), life: 7, upto: at(upto) }
    }

    #[test]
    fn what_was_told_elsewhere_is_passed_over_and_nothing_else() {
        let (mut one, mut other) = (Passings::default(), Passings::default());
        // The journals are in step, and each has other positions.
        for step in 1..=4 {
            let seen = || vec![known("mx1", 10 * step), known("mx2", 5 * step)];
            one.note(seen(), at(100 * step), at(100 * step));
            other.note(seen(), at(1_000 * step), at(1_000 * step));
        }
        assert_eq!(one.told(at(99)), None);
        assert_eq!(one.told(at(299)), Some(&[known("mx1", 20), known("mx2", 10)][..]));
        // All of the second moment is told: so is what was in the journal at the first.
        assert_eq!(other.passed(one.told(at(299)).unwrap()), Some(at(1_000)));
        assert_eq!(other.passed(one.told(at(400)).unwrap()), Some(at(3_000)));
        for less in [&[known("mx1", 90)][..], &[known("mx1", 90), known("mx2", 9)], &[]] {
            assert_eq!(other.passed(less), None, "{less:?}");
        }
    }

    #[test]
    fn moments_do_not_pile_up() {
        let mut passings = Passings::default();
        (1..1_000).for_each(|step| passings.note(Vec::new(), at(step), at(step)));
        assert_eq!(passings.0.len(), MOMENTS_MAX);
        assert_eq!(passings.told(at(900)), None);
        assert!(passings.told(at(999)).is_some());
    }
}
