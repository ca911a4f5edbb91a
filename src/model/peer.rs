//! What one mail host knows of the others: whose record it was told, and which it still lacks.
//!
//! A host's name does not identify a journal: one that was wiped or restored uses positions again.
//! Its `life` does, a number drawn at random for each journal. Positions are not contiguous, so a
//! record is told with the position of the one before it, and a hole is what lies between.

use serde::{Deserialize, Serialize};

use super::Position;

/// Most stretches beyond the first hole that are remembered. What lies behind more holes than that
/// is asked for again.
const ISLANDS_MAX: usize = 256;

/// Where a message stands in the fleet's stream. Its number alone says nothing: a stream that was
/// made again counts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPlace {
    /// When the stream was made, in nanoseconds since 1970.
    pub created: i64,
    /// The number of the message.
    pub sequence: u64,
}

/// Which record of another host this is a copy of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The host's name.
    pub host: Box<str>,
    /// The life of its journal.
    pub life: u64,
    /// Where the record before it is there, of those that it tells others.
    pub before: Position,
    /// Where it is there.
    pub at: Position,
    /// The message of the stream that brought it. `None`: it was asked for.
    pub place: Option<StreamPlace>,
}

impl Peer {
    /// A copy of no record: what a peer knows beside the journals.
    pub fn of_no_record(host: &str) -> Peer {
        let (before, at) = (Position::default(), Position::default());
        Peer { host: host.into(), life: 0, before, at, place: None }
    }

    /// Whether it is one.
    pub fn is_of_no_record(&self) -> bool {
        self.at == Position::default()
    }
}

/// One life of a host, and up to where something is known of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Known {
    /// The host's name.
    pub host: Box<str>,
    /// The life of its journal.
    pub life: u64,
    /// All up to this position.
    pub upto: Position,
}

/// How much is known of one life of a host: all up to a position, and stretches beyond it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    upto: Position,
    /// What is known beyond the first hole: behind the one position, up to the other. In order, and
    /// none touches the next.
    islands: Vec<(Position, Position)>,
}

impl Reach {
    /// All up to here is known.
    pub fn upto(&self) -> Position {
        self.upto
    }

    /// Whether the record at that position is known.
    pub fn has(&self, at: Position) -> bool {
        at <= self.upto || self.islands.iter().any(|(before, end)| *before < at && at <= *end)
    }

    /// Adds a stretch; says whether it brought anything new.
    pub fn add(&mut self, before: Position, at: Position) -> bool {
        if before >= at || self.covers(before, at) {
            return false;
        }
        let touches = |island: &(Position, Position)| island.0 <= at && before <= island.1;
        let (mut from, mut end) = (before, at);
        for island in self.islands.iter().filter(|island| touches(island)) {
            (from, end) = (from.min(island.0), end.max(island.1));
        }
        self.islands.retain(|island| !touches(island));
        let place = self.islands.partition_point(|island| *island < (from, end));
        self.islands.insert(place, (from, end));
        self.settle();
        true
    }

    /// All up to here is known, however that came.
    pub fn raise(&mut self, upto: Position) {
        self.upto = self.upto.max(upto);
        self.settle();
    }

    /// The first hole: what lies behind the one position, up to the other.
    pub fn hole(&self) -> Option<(Position, Position)> {
        self.islands.first().map(|(before, _)| (self.upto, *before))
    }

    fn covers(&self, before: Position, at: Position) -> bool {
        at <= self.upto || self.islands.iter().any(|(from, end)| *from <= before && at <= *end)
    }

    fn settle(&mut self) {
        while let Some(&(before, end)) = self.islands.first()
            && before <= self.upto
        {
            self.upto = self.upto.max(end);
            self.islands.remove(0);
        }
        self.islands.truncate(ISLANDS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u32) -> Position {
        Position { segment: 1, offset }
    }

    /// Records at these places, each told with the place of the one before it.
    fn chain(places: &[u32]) -> Vec<(Position, Position)> {
        let before = std::iter::once(Position::default()).chain(places.iter().map(|p| at(*p)));
        before.zip(places.iter().map(|place| at(*place))).collect()
    }

    #[test]
    fn a_hole_is_what_no_record_has_told() {
        let links = chain(&[10, 20, 30, 40, 50]);
        let mut reach = Reach::default();
        assert!(reach.add(links[0].0, links[0].1));
        assert!(reach.add(links[3].0, links[3].1));
        assert_eq!((reach.upto(), reach.hole()), (at(10), Some((at(10), at(30)))));
        assert!(reach.has(at(40)) && !reach.has(at(30)) && !reach.has(at(20)));
        assert!(!reach.add(links[3].0, links[3].1), "told again");
        assert!(reach.add(links[2].0, links[2].1));
        assert_eq!(reach.hole(), Some((at(10), at(20))));
        assert!(reach.add(links[1].0, links[1].1));
        assert_eq!((reach.upto(), reach.hole()), (at(40), None));
        reach.raise(at(50));
        assert!(!reach.add(links[4].0, links[4].1));
    }

    #[test]
    fn in_every_order_all_of_it_is_known_in_the_end() {
        let links = chain(&[1, 2, 3, 4, 5, 6, 7]);
        for seed in 0..5_040_usize {
            let (mut left, mut rest, mut reach) = (links.clone(), seed, Reach::default());
            while !left.is_empty() {
                let (before, at) = left.remove(rest % left.len());
                rest /= left.len() + 1;
                assert!(reach.add(before, at), "{seed}");
                assert!(reach.has(at) && !reach.add(before, at), "{seed}");
            }
            assert_eq!((reach.upto(), reach.hole()), (at(7), None), "{seed}");
        }
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let mut reach = Reach::default();
        for number in 1..1_000 {
            reach.add(at(10 * number), at(10 * number + 1));
        }
        assert_eq!(reach.islands.len(), ISLANDS_MAX);
        assert_eq!(reach.hole(), Some((Position::default(), at(10))));
        assert!(!reach.has(at(9_991)));
    }
}
