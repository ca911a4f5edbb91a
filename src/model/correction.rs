//! What the present rules make of facts that were concluded by earlier ones.
//!
//! Merging never takes anything back. A correction does, and of nothing but what the journal still
//! tells: a ground whose evidence is not there any more stays as it is. It names what it takes by
//! the evidence, so it may be applied again, and over what came later.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::standing::Ground;
use super::{
    Bounce, Event, EventId, EventKind, Fact, Held, Latest, MessageKey, Reason, Scope, SourceName,
    Standing, Telling, Time,
};

/// An event of the journal as it reads by the present rules.
#[derive(Clone, Debug)]
pub struct Reread {
    /// The event.
    pub event: Event,
    /// Its identity when it was applied.
    pub id: EventId,
    /// The record that told it first.
    pub record: u64,
}

/// What a standing has to lose and to gain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The key of the address.
    pub address: Box<str>,
    /// The scope.
    pub scope: Scope,
    grounds: Vec<Replaced>,
    /// Messages that count otherwise, or no longer.
    messages: Vec<MessageKey>,
    facts: Vec<Again>,
    /// Every failure reads as when it was applied first: nothing of it is new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    restores: bool,
}

/// A ground that rests on this evidence, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Replaced {
    reason: Reason,
    source: SourceName,
    evidence: EventId,
    left: Option<Ground>,
}

/// A fact, told as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Again {
    spelling: Box<str>,
    record: u64,
    received: Time,
    fact: Fact,
}

impl Correction {
    /// What the events of an address and a scope, in the journal's order, have to change of its
    /// standing. `None`: nothing.
    pub fn of(standing: &Standing, address: &str, scope: &Scope, told: &[Reread]) -> Option<Self> {
        let told: Vec<&Reread> = told.iter().filter(|told| told.event.scope == *scope).collect();
        let facts = Facts::of(&told);
        let grounds: Vec<Replaced> = facts.replaced(standing).collect();
        let gone = |ground: &Replaced| {
            let place = standing
                .grounds()
                .find(|(reason, source, _)| *reason == ground.reason && **source == ground.source);
            Some((ground.evidence, place?.2.latest.at))
        };
        let gone: BTreeMap<EventId, Time> = grounds.iter().filter_map(gone).collect();
        let messages: Vec<MessageKey> = facts.moved(standing).collect();
        let facts = told.iter().filter_map(|told| told.again(&gone)).collect();
        let mut judged = told.iter().filter(|told| told.event.failure.is_some());
        let restores = judged.all(|told| told.id == told.event.id());
        let (address, scope) = (address.into(), scope.clone());
        let correction = Correction { address, scope, grounds, messages, facts, restores };
        let mut corrected = standing.clone();
        correction.apply(&mut corrected).then_some(correction)
    }

    /// Whether it brings back what earlier rules had concluded first, as after a row that was added
    /// is taken out.
    pub fn restores(&self) -> bool {
        self.restores
    }

    /// Applies it; says whether anything changed.
    pub fn apply(&self, standing: &mut Standing) -> bool {
        let before = standing.clone();
        for Replaced { reason, source, evidence, left } in &self.grounds {
            standing.replace_ground(*reason, source, *evidence, left.as_ref());
        }
        for message in &self.messages {
            standing.forget_message(*message);
        }
        for Again { spelling, record, received, fact } in &self.facts {
            let telling = Telling { record: *record, received: *received, is_new: true };
            standing.merge(spelling, fact.clone(), &telling);
        }
        standing.free_what_is_gone();
        *standing != before
    }
}

impl Reread {
    /// The fact to merge again. What a list says is merged by its own rules, and only moves from
    /// one reason to another.
    fn again(&self, gone: &BTreeMap<EventId, Time>) -> Option<Again> {
        let event = &self.event;
        let mut fact = event.fact()?;
        let of_a_list = matches!(event.kind, EventKind::Listed | EventKind::Rejected);
        let wanted = match &mut fact {
            Fact::Ground { reason, latest, .. } if of_a_list => {
                let stood_at = gone.get(&latest.evidence);
                // A row that had gone and is back stands from then on, whatever it means.
                latest.at = stood_at.map_or(latest.at, |at| latest.at.max(*at));
                stood_at.is_some() && Held::may_be(*reason)
            }
            Fact::Ground { reason, .. } => Held::may_be(*reason),
            Fact::SoftBounce(..) | Fact::Blocked(..) | Fact::Unexplained(..) => true,
            Fact::Delivered(_) | Fact::Lift(_) => false,
        };
        let (spelling, record) = (event.address.received().into(), self.record);
        wanted.then_some(Again { spelling, record, received: event.received_at, fact })
    }
}

/// What the journal says of one address and scope.
#[derive(Default)]
struct Facts {
    /// Every identity that an event had, has, or has had by other rules meanwhile.
    ids: BTreeSet<EventId>,
    /// When each source's events happened.
    times: BTreeSet<(SourceName, i64)>,
    grounds: BTreeMap<(Reason, SourceName), Vec<Latest>>,
    messages: BTreeMap<MessageKey, Counted>,
}

/// What the journal says of one message.
#[derive(Default)]
struct Counted {
    /// When its failures happened, in nanoseconds.
    times: BTreeSet<i64>,
    /// The latest in each of the tallies.
    latest: [Option<Bounce>; 3],
}

impl Facts {
    fn of(told: &[&Reread]) -> Facts {
        let mut facts = Facts::default();
        for Reread { event, id, .. } in told.iter().copied() {
            facts.ids.extend(event.ids().chain([*id]));
            facts.times.insert((event.source.clone(), event.at.nanos()));
            let fact = event.fact();
            let counted = match &fact {
                Some(Fact::SoftBounce(_, bounce)) => Some((0, bounce)),
                Some(Fact::Blocked(_, bounce)) => Some((1, bounce)),
                Some(Fact::Unexplained(_, bounce)) => Some((2, bounce)),
                _ => None,
            };
            if event.failure.is_some() || counted.is_some() {
                let of_message = facts.messages.entry(event.message_key()).or_default();
                of_message.times.insert(event.at.nanos());
                if let Some((tally, bounce)) = counted {
                    let latest = &mut of_message.latest[tally];
                    *latest = latest.take().max(Some(bounce.clone()));
                }
            }
            if let Some(Fact::Ground { reason, source, latest }) = fact {
                facts.grounds.entry((reason, source)).or_default().push(latest);
            }
        }
        facts
    }

    /// The grounds that begin otherwise by now, or whose latest evidence says something else.
    fn replaced(&self, standing: &Standing) -> impl Iterator<Item = Replaced> {
        let ours = |(reason, _, ground): &(Reason, &SourceName, &Ground)| {
            Held::may_be(*reason) && self.ids.contains(&ground.latest.evidence)
        };
        standing.grounds().filter(ours).filter_map(|(reason, source, ground)| {
            let mut left = self.left_of(reason, source, ground);
            if self.stands(reason, source, ground) {
                // Only the first may be another; the date of what stands need not be the event's.
                let first = left.as_ref().map_or(ground.first, |left| left.first);
                if first <= ground.first || ground.first == ground.latest.at {
                    return None;
                }
                left = Some(Ground { first, ..ground.clone() });
            }
            let (source, evidence) = (source.clone(), ground.latest.evidence);
            Some(Replaced { reason, source, evidence, left })
        })
    }

    /// Whether the latest evidence of a ground still says so.
    fn stands(&self, reason: Reason, source: &SourceName, ground: &Ground) -> bool {
        let known = self.grounds.get(&(reason, source.clone()));
        let same = |latest: &Latest| {
            latest.evidence == ground.latest.evidence && latest.class == ground.latest.class
        };
        known.is_some_and(|known| known.iter().any(same))
    }

    /// What is left of a ground whose latest evidence is none: what the journal still tells, and
    /// what was told before the journal begins.
    fn left_of(&self, reason: Reason, source: &SourceName, ground: &Ground) -> Option<Ground> {
        let told = self.grounds.get(&(reason, source.clone())).into_iter().flatten();
        let latest = told.clone().max().cloned();
        let first = told.map(|latest| latest.at).min();
        let is_older = !self.times.contains(&(source.clone(), ground.first.nanos()));
        let older = is_older.then_some(ground.first);
        let first = first.into_iter().chain(older).min()?;
        let latest =
            latest.unwrap_or_else(|| Latest { at: first, class: None, ..ground.latest.clone() });
        Some(Ground { first, latest, despite: None })
    }

    /// The messages that count in other tallies than they did, or otherwise.
    fn moved(&self, standing: &Standing) -> impl Iterator<Item = MessageKey> {
        let moved = |(message, now): &(&MessageKey, &Counted)| {
            let counted = standing.counted(**message);
            let differs = |(was, now_is): (&Option<&Bounce>, &Option<Bounce>)| match (was, now_is) {
                // What is known of another telling alone stays.
                (Some(was), Some(now_is)) => {
                    let same = was.at == now_is.at && was.class == now_is.class;
                    !same && now.times.contains(&was.at.nanos())
                }
                (was, now_is) => was.is_some() != now_is.is_some(),
            };
            counted.iter().any(Option::is_some) && counted.iter().zip(&now.latest).any(differs)
        };
        self.messages.iter().filter(moved).map(|(message, _)| *message)
    }
}
