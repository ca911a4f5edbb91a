//! What is kept of one person: why they are suppressed, and which lifts ended that.
//!
//! A lift ends what was told before it, in whichever order the two are learned: so hosts that are
//! told the same come to the same.

use super::HashRows;
use crate::model::{
    Event, EventKind, Filter, Lifts, Reason, Scope, SourceName, Standing, Time, Until,
};
use crate::rules::Finding;

/// What is still known of somebody who was forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Why the address is suppressed; for each scope and reason one.
    pub grounds: Vec<KeptGround>,
    /// What was lifted; for each scope, reason and source the latest.
    pub lifts: Vec<KeptLift>,
    /// When they were forgotten.
    pub since: Time,
    /// When something was last told of them, behind that.
    pub last: Option<Time>,
    /// How often something was told of them behind that.
    pub told: u64,
    /// Their rows in exports of hashes, by what makes the hash.
    pub rows: HashRows,
}

/// Why somebody is suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptGround {
    /// Where.
    pub scope: Scope,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Until,
    /// When it was told last: a lift behind that ends it.
    pub told: Time,
    /// Who told it, so that it ends with a source that is retired. None: it is not known, as of
    /// those that an earlier version has kept.
    pub sources: Vec<SourceName>,
}

/// A lift of somebody who was forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLift {
    /// Where.
    pub scope: Scope,
    /// What it covers.
    pub covers: Lifts,
    /// It ends what was told no later than that.
    pub at: Time,
}

impl KeptGround {
    /// What is found to suppress in a scope, which was told last then.
    pub fn of(scope: Scope, found: &Finding, told: Time) -> KeptGround {
        let Finding { reason, since, until, ref sources, .. } = *found;
        KeptGround { scope, reason, since, until, told, sources: sources.clone() }
    }

    /// The same of what stands in the store at present.
    pub fn standing(scope: Scope, found: &Finding, standing: &Standing, now: Time) -> KeptGround {
        let of_it = standing.grounds().filter(|(reason, ..)| *reason == found.reason);
        let bounces = standing.soft().iter().chain(standing.blocked().iter());
        let bounces = bounces.chain(standing.unexplained().iter());
        let told = of_it.map(|(_, _, ground)| ground.latest.at).max();
        let told = told.or_else(|| bounces.map(|bounce| bounce.at).max());
        // A lift covers what a fast clock has dated ahead too.
        KeptGround::of(scope, found, told.map_or(now, |told| told.min(now)))
    }

    /// Adds who else told it.
    fn told_by(&mut self, sources: &[SourceName]) {
        if self.sources.is_empty() || sources.is_empty() {
            self.sources.clear();
            return;
        }
        self.sources.extend_from_slice(sources);
        self.sources.sort();
        self.sources.dedup();
    }

    /// Whether a filter admits it, whichever source told it: of some it is not known.
    pub fn is_admitted(&self, filter: &Filter) -> bool {
        let admits = filter.reasons.is_empty() || filter.reasons.contains(&self.reason);
        admits && filter.admits_scope(&self.scope)
    }

    /// Ends what a lift covers; says whether something is left.
    fn outlasts(&mut self, KeptLift { scope, covers, at }: &KeptLift) -> bool {
        let is_meant = covers.reason.is_none_or(|reason| reason == self.reason);
        if self.scope != *scope || !is_meant || self.told > *at {
            return true;
        }
        let Some(source) = &covers.source else { return false };
        let was_known = !self.sources.is_empty();
        self.sources.retain(|of| of != source);
        !(was_known && self.sources.is_empty())
    }
}

impl KeptLift {
    /// That of an event, if it is an operator's.
    pub fn of(event: &Event) -> Option<KeptLift> {
        let covers = event.lifts.clone().filter(|_| event.kind == EventKind::Unlisted)?;
        Some(KeptLift { scope: event.scope.clone(), covers, at: event.received_at })
    }
}

impl Person {
    pub(super) fn new(since: Time) -> Person {
        let (grounds, lifts, rows) = (Vec::new(), Vec::new(), HashRows::new());
        Person { grounds, lifts, since, last: None, told: 0, rows }
    }

    /// Of two of one scope and reason, the earlier beginning and the later end count.
    pub(super) fn add(&mut self, mut ground: KeptGround) {
        if !self.lifts.iter().all(|lift| ground.outlasts(lift)) {
            return;
        }
        let same = |known: &&mut KeptGround| {
            (&known.scope, known.reason) == (&ground.scope, ground.reason)
        };
        match self.grounds.iter_mut().find(same) {
            Some(known) => {
                known.since = known.since.min(ground.since);
                known.until = known.until.max(ground.until);
                known.told = known.told.max(ground.told);
                known.told_by(&ground.sources);
            }
            None => self.grounds.push(ground),
        }
    }

    /// Ends what a lift covers, and what it covers of all that is learned later.
    pub fn lift(&mut self, lift: KeptLift) {
        self.grounds.retain_mut(|ground| ground.outlasts(&lift));
        let same =
            |known: &&mut KeptLift| (&known.scope, &known.covers) == (&lift.scope, &lift.covers);
        match self.lifts.iter_mut().find(same) {
            Some(known) => known.at = known.at.max(lift.at),
            None => self.lifts.push(lift),
        }
    }

    /// With what another host knows of the same person.
    pub(super) fn with(mut self, other: Person) -> Person {
        let Person { grounds, lifts, since, last, told, rows } = other;
        grounds.into_iter().for_each(|ground| self.add(ground));
        lifts.into_iter().for_each(|lift| self.lift(lift));
        self.rows.extend(rows);
        let (since, last) = (self.since.min(since), self.last.max(last));
        Person { since, last, told: self.told.max(told), ..self }
    }

    /// Takes a source out, and what it alone has told; says whether it told anything.
    pub(super) fn retire(&mut self, source: &SourceName) -> bool {
        let is_of_it = |ground: &KeptGround| ground.sources.contains(source);
        let told = self.grounds.iter().any(is_of_it);
        self.grounds.retain(|ground| ground.sources != [source.clone()]);
        self.grounds.iter_mut().for_each(|ground| ground.sources.retain(|of| of != source));
        told
    }

    /// The weightiest reason that suppresses in a scope.
    pub fn reason_in(&self, scope: &Scope, now: Time) -> Option<Reason> {
        let filter = Filter { scopes: vec![scope.clone()], ..Filter::default() };
        self.live(&filter, now).map(|ground| ground.reason).min()
    }

    pub(super) fn live(&self, filter: &Filter, now: Time) -> impl Iterator<Item = &KeptGround> {
        let is_live =
            move |ground: &&KeptGround| ground.is_admitted(filter) && ground.until.holds_at(now);
        self.grounds.iter().filter(is_live)
    }

    pub(super) fn live_rows(&self, hash: &str, filter: &Filter, now: Time) -> &[String] {
        let is_live = self.live(filter, now).next().is_some();
        self.rows.get(hash).filter(|_| is_live).map_or(&[], Vec::as_slice)
    }
}
