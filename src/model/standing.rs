//! What is known of one address in one scope: grounds, failures, deliveries, lifts.
//!
//! Merging a fact is commutative, associative and idempotent, so any order, any repetition and any
//! split of the same facts end in the same standing. Nothing is ever erased by merging; verdicts
//! are derived elsewhere, from a standing and a time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bounce, EventId, Lifts, MessageKey, Reason, Sole, SourceName, Tally, Time, Until};

/// One thing to merge into a standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A reason to suppress, from a source.
    Ground {
        /// The reason.
        reason: Reason,
        /// Who told it.
        source: SourceName,
        /// When, until when, and by which event.
        latest: Latest,
    },
    /// A transient failure of a message.
    SoftBounce(MessageKey, Bounce),
    /// A failure by the sender's fault.
    Blocked(MessageKey, Bounce),
    /// A delivery at this time.
    Delivered(Time),
    /// An end of grounds.
    Lift(Lift),
}

/// The latest evidence of a ground. The greatest wins; at one instant the longer term does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// When it happened.
    pub at: Time,
    /// When it ends by itself, where the teller said so.
    pub until: Until,
    /// Which event says so.
    pub evidence: EventId,
    /// An operator's note.
    pub note: Option<Box<str>>,
}

impl Ord for Latest {
    fn cmp(&self, other: &Latest) -> Ordering {
        // The instant alone comes first: how precisely it was told must not outweigh the term.
        let rank = |l: &Latest| (l.at.nanos(), l.until, l.at, l.evidence);
        rank(self).cmp(&rank(other)).then_with(|| self.note.cmp(&other.note))
    }
}

impl PartialOrd for Latest {
    fn partial_cmp(&self, other: &Latest) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One reason to suppress, from one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// When it was first so.
    pub first: Time,
    /// The latest evidence.
    pub latest: Latest,
}

/// A dated end: covers what happened at or before `through`, and nothing later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    /// What is lifted.
    pub covers: Lifts,
    /// The last instant that is covered.
    pub through: Time,
}

/// What is known of one address in one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The address as received; of several spellings the greatest, so that order does not matter.
    spelling: Box<str>,
    /// In the order of their reasons and sources: one, nearly always.
    grounds: Vec<((Reason, SourceName), Ground)>,
    soft: Tally,
    blocked: Tally,
    delivered: Option<Time>,
    lifts: BTreeMap<Lifts, Time>,
}

impl Standing {
    /// A standing of which only a delivery is known.
    pub fn quiet(delivered: Time) -> Standing {
        Standing { delivered: Some(delivered), ..Standing::default() }
    }

    /// The last delivery, if that is all that is known.
    pub fn as_quiet(&self) -> Option<Time> {
        let rest = Standing { delivered: None, ..Standing::default() };
        let delivered = self.delivered?;
        let only = self.spelling == rest.spelling
            && self.grounds.is_empty()
            && self.soft.is_empty()
            && self.blocked.is_empty()
            && self.lifts.is_empty();
        only.then_some(delivered)
    }

    /// Merges one fact about the address spelled `spelling`; says whether anything changed.
    pub fn merge(&mut self, spelling: &str, fact: Fact) -> bool {
        let respelled = !matches!(fact, Fact::Delivered(_)) && *self.spelling < *spelling;
        if respelled {
            self.spelling = spelling.into();
        }
        let changed = match fact {
            Fact::Ground { reason, source, latest } => self.add_ground(reason, source, latest),
            Fact::SoftBounce(message, bounce) => self.soft.add(message, bounce),
            Fact::Blocked(message, bounce) => self.blocked.add(message, bounce),
            Fact::Delivered(at) => raise(&mut self.delivered, at),
            Fact::Lift(lift) => self.add_lift(lift),
        };
        changed || respelled
    }

    fn add_ground(&mut self, reason: Reason, source: SourceName, latest: Latest) -> bool {
        let place = match self.place_of_ground(reason, &source) {
            Ok(place) => place,
            Err(place) => {
                let ground = Ground { first: latest.at, latest };
                self.grounds.insert(place, ((reason, source), ground));
                return true;
            }
        };
        let (_, ground) = &mut self.grounds[place];
        let mut changed = false;
        if latest.at < ground.first {
            ground.first = latest.at;
            changed = true;
        }
        if latest > ground.latest {
            ground.latest = latest;
            changed = true;
        }
        changed
    }

    /// Where a ground is, or would be.
    fn place_of_ground(&self, reason: Reason, source: &SourceName) -> Result<usize, usize> {
        self.grounds.binary_search_by(|((r, s), _)| (r, s).cmp(&(&reason, source)))
    }

    fn add_lift(&mut self, lift: Lift) -> bool {
        match self.lifts.get_mut(&lift.covers) {
            Some(known) if *known >= lift.through => return false,
            Some(known) => *known = lift.through,
            None => {
                self.lifts.insert(lift.covers, lift.through);
            }
        }
        true
    }

    /// The ground, if there is one, and nothing that takes anything from it.
    pub fn sole(&self) -> Option<Sole<'_>> {
        let rest = self.soft.is_empty() && self.blocked.is_empty() && self.lifts.is_empty();
        let [((reason, source), ground)] = &self.grounds[..] else { return None };
        let Ground { first, latest: Latest { at, until, .. } } = *ground;
        let (spelling, source) = (self.spelling(), source.as_str());
        rest.then_some(Sole { spelling, reason: *reason, source, first, at, until })
    }

    /// The address as received.
    pub fn spelling(&self) -> &str {
        &self.spelling
    }

    /// Whether there is a ground already of a fact's reason and source, lifted or not.
    pub fn has_ground_of(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Ground { reason, source, .. } => self.place_of_ground(*reason, source).is_ok(),
            _ => false,
        }
    }

    /// The grounds, whether lifted or not.
    pub fn grounds(&self) -> impl Iterator<Item = (Reason, &SourceName, &Ground)> {
        self.grounds.iter().map(|((reason, source), ground)| (*reason, source, ground))
    }

    /// The soft bounces.
    pub fn soft(&self) -> &Tally {
        &self.soft
    }

    /// The failures by the sender's fault.
    pub fn blocked(&self) -> &Tally {
        &self.blocked
    }

    /// The last delivery.
    pub fn delivered(&self) -> Option<Time> {
        self.delivered
    }

    /// The lifts: what each covers, and through which instant.
    pub fn lifts(&self) -> impl Iterator<Item = (&Lifts, Time)> {
        self.lifts.iter().map(|(covers, through)| (covers, *through))
    }

    /// The last instant through which grounds of this reason and source are lifted.
    pub fn lifted_through(&self, reason: Reason, source: &SourceName) -> Option<Time> {
        let matches = |covers: &Lifts| {
            covers.reason.is_none_or(|r| r == reason)
                && covers.source.as_ref().is_none_or(|s| s == source)
        };
        self.lifts.iter().filter(|(covers, _)| matches(covers)).map(|(_, through)| *through).max()
    }
}

/// Raises `known` to `at`; says whether that changed it.
fn raise(known: &mut Option<Time>, at: Time) -> bool {
    let raised = known.is_none_or(|k| k < at);
    if raised {
        *known = Some(at);
    }
    raised
}
