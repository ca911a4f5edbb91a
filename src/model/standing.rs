//! What is known of one address in one scope: grounds, failures, deliveries, lifts.
//!
//! Merging a fact is commutative, associative and idempotent, so any order, any repetition and any
//! split of the same facts end in the same standing. Nothing is ever erased by merging; verdicts
//! are derived elsewhere, from a standing and a time. Where dates contradict the journal, since a
//! clock was wrong, its order counts: see [`Cuts`].

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    Bounce, Class, Cuts, EventId, Held, Lifts, MassId, MessageKey, Reason, Sole, SourceName,
    Spread, Tally, Telling, Time, Until,
};

/// One thing to merge into a standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A refusal for good that nothing explains.
    Unexplained(MessageKey, Bounce),
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
    /// Why it failed, if a failure says so.
    pub class: Option<Class>,
    /// An operator's note.
    pub note: Option<Box<str>>,
}

impl Ord for Latest {
    fn cmp(&self, other: &Latest) -> Ordering {
        // The instant alone comes first: how precisely it was told must not outweigh the term.
        let rank = |l: &Latest| (l.at.nanos(), l.until, l.at, l.evidence, l.class);
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
    /// What of the evidence stands despite lifts that are dated after it.
    pub despite: Option<Box<Despite>>,
}

/// Evidence that stands despite lifts that cover it by their dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Despite {
    /// The lifts before this record of the journal take nothing from it.
    pub record: u64,
    /// The latest of it.
    pub latest: Latest,
}

/// A dated end: covers what happened at or before `through`, and nothing later, and nothing that
/// was recorded after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lift {
    /// What is lifted.
    pub covers: Lifts,
    /// The last instant that is covered.
    pub through: Time,
    /// That is by a provider's clock.
    pub theirs: bool,
}

/// What is known of one address in one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The address as received; of several spellings the greatest, so that order does not matter.
    pub(super) spelling: Box<str>,
    /// In the order of their reasons and sources: one, nearly always.
    pub(super) grounds: Vec<((Reason, SourceName), Ground)>,
    pub(super) soft: Tally,
    pub(super) blocked: Tally,
    pub(super) delivered: Cuts,
    pub(super) lifts: BTreeMap<Lifts, Cuts>,
    pub(super) unexplained: Spread,
    /// What of all this suppresses nobody yet.
    pub(super) held: Vec<Held>,
}

impl Standing {
    /// A standing of which only a delivery is known.
    pub fn quiet(delivered: Cuts) -> Standing {
        Standing { delivered, ..Standing::default() }
    }

    /// The last delivery, if that is all that is known.
    pub fn as_quiet(&self) -> Option<&Cuts> {
        let only = self.spelling.is_empty()
            && self.grounds.is_empty()
            && self.soft.is_empty()
            && self.blocked.is_empty()
            && self.unexplained.is_empty()
            && self.lifts.is_empty()
            && !self.delivered.is_empty();
        only.then_some(&self.delivered)
    }

    /// Merges one fact about the address spelled `spelling`; says whether anything changed.
    pub fn merge(&mut self, spelling: &str, fact: Fact, telling: &Telling) -> bool {
        let respelled = !matches!(fact, Fact::Delivered(_)) && *self.spelling < *spelling;
        if respelled {
            self.spelling = spelling.into();
        }
        let changed = match fact {
            Fact::Ground { reason, source, latest } => {
                self.add_ground(reason, source, latest, telling)
            }
            Fact::SoftBounce(message, bounce) => {
                let bounce = self.placed(bounce, telling);
                self.soft.add(message, bounce)
            }
            Fact::Blocked(message, bounce) => {
                let bounce = self.placed(bounce, telling);
                self.blocked.add(message, bounce)
            }
            Fact::Unexplained(message, bounce) => {
                let bounce = self.placed(bounce, telling);
                self.unexplained.add(message, bounce)
            }
            Fact::Delivered(at) => {
                let since = self.delivered.since_last(telling.record);
                let needed = self.stands_despite(&since, at.just_before());
                self.delivered.add(at, true, needed, telling)
            }
            Fact::Lift(Lift { covers, through, theirs }) => {
                let last = self.lifts.get(&covers);
                let since = last.map(|cuts| cuts.since_last(telling.record));
                let needed = since.is_some_and(|since| self.stands_despite(&since, through));
                self.lifts.entry(covers).or_default().add(through, theirs, needed, telling)
            }
        };
        changed || respelled
    }

    /// Merges a fact that must shorten nothing: the ground ends no earlier for it than it did, and
    /// no earlier than the fact says, unless that was lifted. A fact without a date of its own has
    /// that of the ground.
    pub fn merge_lasting(
        &mut self,
        spelling: &str,
        fact: Fact,
        is_undated: bool,
        telling: &Telling,
    ) -> bool {
        let Fact::Ground { reason, source, mut latest } = fact else {
            return self.merge(spelling, fact, telling);
        };
        let known = self.place_of_ground(reason, &source).ok();
        let known = known
            .map(|place| (self.grounds[place].1.latest.at, self.grounds[place].1.latest.until));
        if let Some((at, _)) = known.filter(|_| is_undated) {
            latest.at = at;
        }
        let ground = |latest| Fact::Ground { reason, source: source.clone(), latest };
        let stands = |at| self.lifted(reason, &source, at, None).is_none();
        let longer = known.filter(|(at, _)| stands(*at) && stands(latest.at)).map(|(at, until)| {
            Latest { at: at.max(latest.at), until: until.max(latest.until), ..latest.clone() }
        });
        let changed = self.merge(spelling, ground(latest), telling);
        longer.is_some_and(|longer| self.merge(spelling, ground(longer), telling)) || changed
    }

    fn add_ground(
        &mut self,
        reason: Reason,
        source: SourceName,
        latest: Latest,
        telling: &Telling,
    ) -> bool {
        let despite = self.despite(reason, &source, &latest, telling);
        let place = match self.place_of_ground(reason, &source) {
            Ok(place) => place,
            Err(place) => {
                let ground = Ground { first: latest.at, latest, despite };
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
        if despite.is_some() && despite != ground.despite {
            ground.despite = despite;
            changed = true;
        }
        changed
    }

    /// Whether anything that is dated up to then was told in these records, and stands despite an
    /// end.
    fn stands_despite(&self, records: &Range<u64>, through: Time) -> bool {
        let told =
            |record: u64, at: Time| records.contains(&record) && at.nanos() <= through.nanos();
        let grounds = self.grounds.iter().filter_map(|(_, ground)| ground.despite.as_ref());
        let failures = self.soft.iter().chain(self.blocked.iter()).chain(self.unexplained.iter());
        grounds
            .map(|despite| (despite.record, despite.latest.at))
            .any(|(record, at)| told(record, at))
            || failures
                .filter_map(|bounce| Some((bounce.despite?, bounce.at)))
                .any(|(record, at)| told(record, at))
    }

    /// What stands despite lifts when this is told, if it does itself.
    fn despite(
        &self,
        reason: Reason,
        source: &SourceName,
        latest: &Latest,
        telling: &Telling,
    ) -> Option<Box<Despite>> {
        let lifts = || self.lifts_of(reason, source);
        if !lifts().any(|cuts| cuts.contradict(latest.at, telling)) {
            return None;
        }
        let (record, mut latest) = (telling.record, latest.clone());
        let known = self.place_of_ground(reason, source).ok();
        if let Some(known) = known.and_then(|place| self.grounds[place].1.despite.as_ref()) {
            // Then this was merged before.
            if known.record > record {
                return None;
            }
            let (at, behind) = (known.latest.at, known.record);
            if !lifts().any(|cuts| cuts.between(at, behind, record)) {
                latest = latest.max(known.latest.clone());
            }
        }
        Some(Box::new(Despite { record, latest }))
    }

    /// A failure with its place in the journal, if that counts.
    fn placed(&self, bounce: Bounce, telling: &Telling) -> Bounce {
        let lifted = |cuts: &Cuts| cuts.contradict(bounce.at, telling);
        let stands = self.lifts_of(Reason::SoftBounces, &bounce.source).any(lifted)
            || self.delivered.contradict(bounce.at.just_after(), telling);
        Bounce { despite: stands.then_some(telling.record), ..bounce }
    }

    /// Where a ground is, or would be.
    pub(super) fn place_of_ground(
        &self,
        reason: Reason,
        source: &SourceName,
    ) -> Result<usize, usize> {
        self.grounds.binary_search_by(|((r, s), _)| (r, s).cmp(&(&reason, source)))
    }

    /// The ground, if there is one, and nothing that takes anything from it.
    pub fn sole(&self) -> Option<Sole<'_>> {
        let tallies = self.soft.is_empty() && self.blocked.is_empty();
        let rest = tallies && self.unexplained.is_empty() && self.lifts.is_empty();
        let [((reason, source), ground)] = &self.grounds[..] else { return None };
        let Ground { first, latest: Latest { at, until, .. }, despite: None } = *ground else {
            return None;
        };
        let (spelling, source) = (self.spelling(), source.as_str());
        let rest = rest && self.held.is_empty();
        rest.then_some(Sole { spelling, reason: *reason, source, first, at, until })
    }

    /// What of the grounds and failures is held back.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// The mass with which what a source says for a reason is held back, if it is.
    pub fn held_with(&self, reason: Reason, source: &SourceName) -> Option<MassId> {
        let same = |held: &&Held| held.reason == reason && held.source == *source;
        self.held.iter().find(same).map(|held| held.mass)
    }

    /// Holds back what a source says for a reason. With which mass stays as it was.
    pub fn hold(&mut self, held: Held) {
        if self.held_with(held.reason, &held.source).is_none() {
            self.held.push(held);
            self.held.sort_unstable_by(|a, b| (a.reason, &a.source).cmp(&(b.reason, &b.source)));
        }
    }

    /// Holds back nothing of a mass any more; says whether it did.
    pub fn free(&mut self, mass: MassId) -> bool {
        let before = self.held.len();
        self.held.retain(|held| held.mass != mass);
        self.held.len() < before
    }

    /// Holds back only what still stands.
    pub fn free_unless(&mut self, stands: impl Fn(Reason, &SourceName) -> bool) {
        self.held.retain(|held| stands(held.reason, &held.source));
    }

    /// Drops what is held of that which is not there any more.
    pub(super) fn free_what_is_gone(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.retain(|Held { reason, source, .. }| match reason {
            Reason::SoftBounces => {
                let counted = self.soft.iter().chain(self.blocked.iter());
                counted.chain(self.unexplained.iter()).any(|bounce| bounce.source == *source)
            }
            _ => self.place_of_ground(*reason, source).is_ok(),
        });
        self.held = held;
    }

    /// Puts what is left in the place of a ground, if this is its latest evidence.
    pub(super) fn replace_ground(
        &mut self,
        reason: Reason,
        source: &SourceName,
        evidence: EventId,
        left: Option<&Ground>,
    ) {
        let Ok(place) = self.place_of_ground(reason, source) else { return };
        if self.grounds[place].1.latest.evidence != evidence {
            return;
        }
        match left {
            Some(left) => self.grounds[place].1 = left.clone(),
            None => drop(self.grounds.remove(place)),
        }
    }

    /// Why what a source says failed, the latest for one of these reasons, where that is known.
    pub fn class_of(&self, reasons: &[Reason], source: &SourceName) -> Option<Class> {
        let grounds =
            self.grounds().filter(|(reason, of, _)| reasons.contains(reason) && *of == source);
        let counted = self.soft.iter().chain(self.blocked.iter()).chain(self.unexplained.iter());
        let counted = counted
            .filter(|bounce| reasons.contains(&Reason::SoftBounces) && bounce.source == *source);
        let grounds = grounds.map(|(_, _, ground)| (ground.latest.at, ground.latest.class));
        grounds.chain(counted.map(|bounce| (bounce.at, bounce.class))).max()?.1
    }

    /// What counts of a message as a soft bounce, as the sender's fault, and as unexplained.
    pub(super) fn counted(&self, message: MessageKey) -> [Option<&Bounce>; 3] {
        [self.soft.get(message), self.blocked.get(message), self.unexplained.get(message)]
    }

    /// Counts a message no longer.
    pub(super) fn forget_message(&mut self, message: MessageKey) {
        self.soft.remove(message);
        self.blocked.remove(message);
        self.unexplained.remove(message);
    }

    /// The address as received.
    pub fn spelling(&self) -> &str {
        &self.spelling
    }

    /// The same, or the address's key where that is all that is known.
    pub fn spelled<'a>(&'a self, key: &'a str) -> &'a str {
        if self.spelling.is_empty() { key } else { &self.spelling }
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

    /// The refusals for good that nothing explains.
    pub fn unexplained(&self) -> &Spread {
        &self.unexplained
    }

    /// The last delivery.
    pub fn delivered(&self) -> Option<Time> {
        self.delivered.through()
    }

    /// Whether a later delivery has reset a failure.
    pub fn has_reset(&self, bounce: &Bounce) -> bool {
        self.delivered.covering(bounce.at.just_after(), bounce.despite).is_some()
    }

    /// The lifts: what each covers, and through which instant.
    pub fn lifts(&self) -> impl Iterator<Item = (&Lifts, Time)> {
        self.lifts.iter().flat_map(|(covers, cuts)| cuts.all().map(move |at| (covers, at)))
    }

    /// The last instant that is lifted, of the lifts that cover what is dated `at`, of this reason
    /// and source, and stands despite those before record `despite`.
    pub fn lifted(
        &self,
        reason: Reason,
        source: &SourceName,
        at: Time,
        despite: Option<u64>,
    ) -> Option<Time> {
        self.lifts_of(reason, source).filter_map(|cuts| cuts.covering(at, despite)).max()
    }

    /// The lifts of grounds of this reason and source.
    fn lifts_of(&self, reason: Reason, source: &SourceName) -> impl Iterator<Item = &Cuts> {
        let matches = move |covers: &Lifts| {
            covers.reason.is_none_or(|r| r == reason)
                && covers.source.as_ref().is_none_or(|s| s == source)
        };
        self.lifts.iter().filter(move |(covers, _)| matches(covers)).map(|(_, cuts)| cuts)
    }
}
